/**
 * @file
 * noxu-feeder: reads a Noxu write-ahead log while it is being written, streams its replicated entries to
 * replicas, and tells the host how far each replica has acknowledged.
 *
 * @code{.c}
 * nxf_log *log = NULL; nxf_scanner *scanner = NULL; nxf_channel *channel = NULL; nxf_runner *runner = NULL;
 * nxf_error *err = NULL;
 * if (nxf_log_open("/var/lib/noxu", NULL, &log, &err) == NXF_OK &&
 *     nxf_scanner_from_log(log, NXF_LSN_FIRST, &scanner, &err) == NXF_OK &&
 *     nxf_channel_tcp_connect("replica-1.example", 5000, NULL, &channel, &err) == NXF_OK &&
 *     nxf_runner_new(channel, "replica-1", 1, NULL, &runner, &err) == NXF_OK && // the channel is the runner's now
 *     nxf_runner_start(runner, scanner, &err) == NXF_OK)                        // and so is the scanner
 *     while (nxf_runner_wait_acked(runner, nxf_runner_known_replica_vlsn(runner) + 1, -1, &err) == NXF_OK)
 *         printf("acknowledged up to VLSN %llu\n", (unsigned long long)nxf_runner_known_replica_vlsn(runner));
 * fprintf(stderr, "%s\n", err ? nxf_error_message(err) : "the replica closed the connection");
 * nxf_error_free(err); nxf_runner_free(runner); nxf_log_free(log);
 * @endcode
 *
 * In this order:
 * - Statuses: the results of functions that can fail
 * - Versions: of this header, and of the library that is loaded
 * - Errors: what went wrong, in words and in facts
 * - Options, and the log callback: settings, and the library's messages for people
 * - Logs: the directories that are read
 * - Scanners: the entries of a log, in order
 * - Sources of the host's own: entries that do not come from a log, by callbacks
 * - Channels: whole messages, to and from one peer
 * - Channels of the host's own: a transport other than sockets, by callbacks
 * - Runners: each feeds one replica, and knows what the replica has acknowledged
 * - Connections of a server: who is at the other end, and what for
 * - Events of a server: what has happened, and to whom
 * - Servers: replicas dial in, say what they want, and are served
 * - Trackers: the state of one replica, for hosts that move the bytes themselves
 * - The bytes of the protocol: for hosts that write the other end, and for tests
 *
 * Most hosts need only the error, the log, a scanner, a channel and a runner; and a host to which replicas connect, the
 * error, the log, and a server with its events. In C++, noxu_feeder.hpp offers the same with owning types, exceptions
 * and lambdas.
 *
 * Statuses and errors. A function that can fail returns an nxf_status: NXF_OK is 0, a negative value is an error, and a
 * positive value means that nothing is wrong, but nothing came (NXF_AGAIN, NXF_CLOSED, NXF_TIMEOUT). The numbers never
 * change; new numbers may be added. Results go to out-parameters, which are written only on NXF_OK, unless the function
 * says otherwise. The last parameter is an nxf_error **, and may be NULL: on an error, and only then, it receives an
 * object that describes the error, which the caller releases with nxf_error_free(). Every function can fail with
 * NXF_E_INVALID_ARGUMENT (a NULL where a handle or a place for a result is needed, a string that is not UTF-8),
 * NXF_E_FORKED and NXF_E_PANIC. Its comment names the other statuses to expect.
 *
 * Ownership. An object that a function named _new, _open, _connect, _pair or _from_... hands out belongs to the caller,
 * until a function takes it over whose comment says so. The _free function of its type releases it. Every _free accepts
 * NULL. A call that fails takes nothing over, unless its comment says otherwise. Strings that go in are NUL-terminated
 * UTF-8 and are copied. A pointer that comes out is valid for as long as the function's comment says, and the caller
 * must not free it. A callback is given as a function, a context, and a function that drops the context: it runs
 * exactly once, last. The caller sets the struct_size of a struct to its size; such structs may grow at their end.
 *
 * Threads. Any number of threads at once may use a handle that is passed as a pointer to const. Other handles may be
 * used by one thread at a time, unless the comment says otherwise. Different handles never disturb each other. While a
 * _free function runs, no other thread may use its handle. Callbacks run on the thread that does the library's work,
 * with no lock held, and must not block for long. Times are milliseconds; a timeout of 0 tries, and -1 waits for as
 * long as it takes.
 *
 * Processes. The library prints nothing, and raises and handles no signals. Its descriptors are close-on-exec, and
 * those that stay open never have the numbers of standard input, output and error, even if the host has closed these.
 * After fork() the child can only release the handles that it inherited: every other call is NXF_E_FORKED there, and
 * the parent does not notice.
 */

#ifndef NOXU_FEEDER_H
#define NOXU_FEEDER_H

/* Generated from src/ffi by scripts/header.sh. Change the sources, not this file. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* --- Statuses: the results of functions that can fail ------------------------------------------------------------- */

/**
 * The status that a function that can fail returns: NXF_OK; a positive status, if nothing is wrong but nothing came;
 * or a negative one, an error. Numbers are only added, and never changed or used again.
 */
typedef int32_t nxf_status;

/**
 * Releases the context of a callback. Called exactly once, after the callback's last call, on any thread, with no lock
 * held. It may call the library, but not with an object that is being released. A call that would wait for the runner
 * or the server that drops the context is refused with NXF_E_INSIDE_CALLBACK. NULL if there is nothing to release.
 */
typedef void (*nxf_drop_callback)(void *context);

/** Done. */
#define NXF_OK 0
/** There is nothing yet: ask again later. */
#define NXF_AGAIN 1
/** The channel is closed, or the run has ended: nothing more will come. */
#define NXF_CLOSED 2
/** It did not happen within the time given. */
#define NXF_TIMEOUT 3

/** A parameter has a value that is not allowed; the message names the parameter. */
#define NXF_E_INVALID_ARGUMENT (-1)
/** There is no such option, or it does not take the value; the message lists what is allowed. */
#define NXF_E_INVALID_OPTION (-2)
/** The call is not allowed in the handle's state. */
#define NXF_E_WRONG_STATE (-3)
/** The call would wait for the callback from which it is made. */
#define NXF_E_INSIDE_CALLBACK (-4)
/** The buffer given is too small; nothing is lost. */
#define NXF_E_BUFFER_TOO_SMALL (-5)
/** There is a defect in this library. The handle can only be freed. */
#define NXF_E_PANIC (-6)
/** The handle was made by the parent of this process; it can only be freed. */
#define NXF_E_FORKED (-7)
/** The operating system refused something: nxf_error_errno() has its number. */
#define NXF_E_OS (-8)
/**
 * A function of the host's failed, or returned a value that is not allowed; the message says which function, and what
 * it returned.
 */
#define NXF_E_CALLBACK (-9)
/**
 * There is no memory for something that a log, a peer or an option made large; the message says how much was needed,
 * and what for. Nothing is lost: the same call can be tried again.
 */
#define NXF_E_NO_MEMORY (-10)
/** The log directory cannot be listed, or a log file cannot be opened or read. */
#define NXF_E_LOG_IO (-20)
/** A file in the log directory has no usable header, or is no regular file but a directory, a FIFO or a device. */
#define NXF_E_LOG_FILE_HEADER (-21)
/** The log is damaged: a checksum fails, an entry is torn, or the like. Nothing from that place on is sent. */
#define NXF_E_LOG_DAMAGED (-22)
/** A VLSN is missing in the log. The replica needs a network restore. */
#define NXF_E_LOG_GAP (-23)
/** The log was cut or written anew at a place that was read before. The replica needs a network restore. */
#define NXF_E_LOG_TRUNCATED (-24)
/** A log file that is still needed is gone. The replica needs a network restore. */
#define NXF_E_LOG_FILE_GONE (-25)
/**
 * The log holds another entry of a VLSN that was already sent. The replica does not have the master's history any
 * more: it must sync up again, or be restored.
 */
#define NXF_E_LOG_HISTORY_CHANGED (-26)
/** An entry is larger than a frame can be (64 MiB). */
#define NXF_E_ENTRY_TOO_LARGE (-27)
/**
 * The log ends more than one below the VLSN to begin with. Entries that the replica has were lost here, or this is not
 * its master's log: it must sync up again, or be restored.
 */
#define NXF_E_LOG_AHEAD (-28)
/** The replica acknowledged a VLSN that it was not sent. The acknowledgement was neither believed nor delivered. */
#define NXF_E_ACK_BEYOND_SENT (-40)
/** The peer sent bytes that are not in the protocol, or a message was too long for it. */
#define NXF_E_PROTOCOL (-41)
/** No connection could be made. */
#define NXF_E_CONNECT (-42)
/** The replica took no byte for as long as the write timeout. */
#define NXF_E_WRITE_TIMEOUT (-43)
/** The connection failed, other than by being closed. */
#define NXF_E_CONNECTION (-44)
/** The replica has frames to acknowledge, and acknowledged nothing for as long as the ack timeout. */
#define NXF_E_ACK_TIMEOUT (-45)

/**
 * The name of a status, such as "NXF_E_LOG_GAP". Any other number has the name "NXF_UNKNOWN". Never NULL; valid for as
 * long as the library is loaded. Any thread.
 */
const char *nxf_status_name(nxf_status status);

/* --- Versions: of this header, and of the library that is loaded -------------------------------------------------- */

/** The version that this header belongs to. While this is 0, a new minor version may take something away. */
#define NXF_VERSION_MAJOR 0
/** The version that this header belongs to. It grows when something was added. */
#define NXF_VERSION_MINOR 1
/** The version that this header belongs to. It grows when something was repaired. */
#define NXF_VERSION_PATCH 0

/**
 * The version of the library that is loaded, as "major.minor.patch". Valid for as long as the library is loaded. Any
 * thread.
 */
const char *nxf_version(void);

/**
 * The number of the binary interface. A program that was compiled with a header of the same number runs with this
 * library. Under one number, functions are only ever added. Any thread.
 */
uint32_t nxf_abi_version(void);

/* --- Errors: what went wrong, in words and in facts --------------------------------------------------------------- */

/**
 * An error: what went wrong. The function that failed makes it, and nothing changes it afterwards, so any number of
 * threads may read it. It belongs to the caller, until nxf_error_free(). The error that an end callback is given
 * belongs to the library, and is valid during the callback. An error does not depend on the handle that the function
 * was called with.
 */
typedef struct nxf_error nxf_error;

/** The status that the function returned: negative. NXF_OK for NULL. */
nxf_status nxf_error_status(const nxf_error *err);

/**
 * What happened, in words, with every fact that is known; one line, never NULL. Valid until the error is freed. ""
 * for NULL.
 */
const char *nxf_error_message(const nxf_error *err);

/**
 * The name of the replica concerned: that of the runner or tracker that the failed function was called with, or was to
 * make, or that the event with this error is about. Valid until the error is freed. "" if the error concerns no
 * replica, and for NULL.
 */
const char *nxf_error_replica(const nxf_error *err);

/** The operating system's error number (an errno). 0 if there is no such number, and for NULL. */
int32_t nxf_error_errno(const nxf_error *err);

/** Writes the number of the log file concerned to *file. False, and nothing written, if the error concerns no file. */
bool nxf_error_file(const nxf_error *err, uint32_t *file);

/**
 * Writes the offset in that file, in bytes, to *offset. False, and nothing written, if the error concerns no place in
 * a file.
 */
bool nxf_error_offset(const nxf_error *err, uint64_t *offset);

/**
 * Writes the VLSN that is missing, damaged, too large or acknowledged to *vlsn. False, and nothing written, if the
 * error concerns no VLSN.
 */
bool nxf_error_vlsn(const nxf_error *err, uint64_t *vlsn);

/** Whether another attempt may succeed although nothing is repaired, as after a network failure. False for NULL. */
bool nxf_error_is_retriable(const nxf_error *err);

/**
 * Whether only a network restore can help the replica, because the log does not have what it needs next. False for
 * NULL.
 */
bool nxf_error_needs_restore(const nxf_error *err);

/** Releases an error, and its message with it. NULL is fine. */
void nxf_error_free(nxf_error *err);

/* --- Options, and the log callback: settings, and the library's messages for people ------------------------------- */

/** A whole number, in the unit that the key's last part names. */
#define NXF_OPTION_NUMBER 1
/** One word of several. */
#define NXF_OPTION_WORD 2

/** Something failed: for example, a run has ended with an error. */
#define NXF_LEVEL_ERROR 1
/** Something is not as it should be, and the library goes on. */
#define NXF_LEVEL_WARN 2
/** Something of note happened: for example, a run has ended in order, or the log goes on after a stall. */
#define NXF_LEVEL_INFO 3
/** For finding faults. */
#define NXF_LEVEL_DEBUG 4

/**
 * A set of options, as keys and values. A function that is given options copies them: you can change and free them at
 * any time, and the objects made with them stay as they are. Where a function takes options, NULL means the defaults,
 * and keys that do not concern it are passed over. docs/options.md has every key, with its range and its default.
 */
typedef struct nxf_options nxf_options;

/**
 * The description of an option. The texts belong to the library, are never NULL, and are valid for as long as it is
 * loaded. Members may be added at its end.
 */
typedef struct nxf_option {
    /** The caller sets it to sizeof(nxf_option). No more than that is written. */
    size_t struct_size;
    /** The option's key, such as "log.settle_ms". */
    const char *key;
    /** What the option does, for people. */
    const char *meaning;
    /** The value when nothing is set. */
    const char *default_value;
    /** The words that it takes, such as "error, accept"; "" for a number. */
    const char *words;
    /** The smallest number that it takes; 0 for a word. */
    uint64_t min;
    /** The largest number that it takes; 0 for a word. */
    uint64_t max;
    /** NXF_OPTION_...: the kind of value that it takes. */
    uint32_t kind;
} nxf_option;

/**
 * Receives the library's messages for people. It is called on the thread that does the library's work, and on several
 * threads at once if several runners have the same callback. No lock is held during the call. It must not block for
 * long, nor throw. It may call the library as an ack callback may. A scanner whose message this is is in use, and a
 * call with it is NXF_E_WRONG_STATE. level: NXF_LEVEL_...; target: the part of the library that the message is from,
 * such as "noxu_feeder::log". Both strings are valid during the call.
 */
typedef void (*nxf_log_callback)(void *context, uint32_t level, const char *target, const char *message);

/** Makes a set of options, all at their defaults. It belongs to the caller, who releases it with nxf_options_free(). */
nxf_status nxf_options_new(nxf_options **options, nxf_error **err);

/**
 * Sets the option of this key. Both strings are copied; numbers are decimal. NXF_E_INVALID_OPTION, and nothing
 * changed: there is no such option, or it does not take this value; the message lists the allowed keys or values.
 */
nxf_status nxf_options_set(nxf_options *options, const char *key, const char *value, nxf_error **err);

/**
 * Writes the value of the option of this key to buf, NUL-terminated, in the form in which it is set, and its length
 * without the NUL to *len. If options is NULL, writes the default. NXF_E_INVALID_OPTION: there is no such option.
 * NXF_E_BUFFER_TOO_SMALL: *len says how long the value is; buf may be NULL if capacity is 0.
 */
nxf_status nxf_options_get(const nxf_options *options, const char *key, char *buf, size_t capacity, size_t *len,
                           nxf_error **err);

/**
 * Writes the description of an option to *option. Writes at most option->struct_size bytes, which the caller has set
 * to sizeof(nxf_option). at counts the options from 0 on, in the order of docs/options.md; another version may have
 * another order. NXF_CLOSED, and nothing written: there are no more. Any thread.
 *
 * @code{.c}
 * nxf_option option = {.struct_size = sizeof option};
 * for (size_t at = 0; nxf_options_describe(at, &option, NULL) == NXF_OK; at++)
 *     printf("%s (default %s): %s\n", option.key, option.default_value, option.meaning);
 * @endcode
 */
nxf_status nxf_options_describe(size_t at, nxf_option *option, nxf_error **err);

/**
 * Sets the log callback of all objects that are made with these options from now on. It receives every message of
 * level_max (NXF_LEVEL_...) and more urgent. Without a callback the library says nothing anywhere. The new callback
 * replaces the one before. If callback is NULL, there is silence again, and context is dropped at once.
 *
 * On NXF_OK context belongs to the library: drop, which may be NULL, releases it when these options and all objects
 * made with them are gone or have another callback. On an error context stays the caller's.
 */
nxf_status nxf_options_set_log_callback(nxf_options *options, uint32_t level_max, nxf_log_callback callback,
                                        void *context, nxf_drop_callback drop, nxf_error **err);

/** Releases a set of options. The objects made with them go on. NULL is fine. */
void nxf_options_free(nxf_options *options);

/* --- Logs: the directories that are read -------------------------------------------------------------------------- */

/**
 * A log directory, open for reading: nothing in it is created, written or locked. Any number of scanners and runners
 * share a log that was opened once. They keep what they need of it when it is freed.
 */
typedef struct nxf_log nxf_log;

/**
 * Opens the log in the directory env_dir, the environment of a Noxu database. The directory must exist, and may be
 * empty: files are looked for when something is read. A path is bytes, and need not be UTF-8. Reads the options log.*.
 * The log belongs to the caller, who releases it with nxf_log_free().
 *
 * NXF_E_LOG_IO: the directory does not exist, or cannot be opened.
 */
nxf_status nxf_log_open(const char *env_dir, const nxf_options *options, nxf_log **log, nxf_error **err);

/**
 * Tells the runners of this log that the host has appended to it: they look again. Where the system notifies of
 * changes in directories, this call is never needed: it only makes them look some microseconds sooner. Any thread,
 * cheap, never blocks. Fails only for NULL and after a fork.
 */
nxf_status nxf_log_notify(const nxf_log *log);

/**
 * From now on, every scanner and runner of this log reads only entries that begin below this LSN. This is for a host
 * that wants replicas to have only what is durable on the master. UINT64_MAX lifts the limit, and is the default.
 * Entries that were read already are not called back. Any thread, cheap, never blocks. Fails only for NULL and after a
 * fork.
 */
nxf_status nxf_log_set_send_limit(const nxf_log *log, uint64_t lsn);

/**
 * Writes the lowest VLSN that the log holds without a hole behind it, and the highest VLSN up to which the log is
 * complete. Both are of this moment: the log grows. From then on the statistics of this log's runners count the lag up
 * to that highest VLSN. Reads files at the beginning and at the end of the log, and nothing in between. Any thread.
 *
 * NXF_OK: both are written. NXF_AGAIN, and nothing written: the log has no replicated entry yet. An error: the one
 * that a scanner would find there, such as NXF_E_LOG_IO.
 */
nxf_status nxf_log_vlsn_range(const nxf_log *log, uint64_t *first, uint64_t *last, nxf_error **err);

/** Releases a log. No other thread may be using it. Scanners and runners that read it go on. NULL is fine. */
void nxf_log_free(nxf_log *log);

/* --- Scanners: the entries of a log, in order --------------------------------------------------------------------- */

/** The LSN to start at for "the first entry that the log has". 0 means the same. */
#define NXF_LSN_FIRST UINT64_MAX

/**
 * A scanner reads the replicated entries of a log in VLSN order: each once, none left out, all checked. Use it
 * directly with nxf_scanner_next(), or give it to a runner, which takes it over. One thread at a time.
 */
typedef struct nxf_scanner nxf_scanner;

/** An entry of the log. This struct is final: it never grows. */
typedef struct nxf_entry {
    /** Its VLSN, 1 or above. */
    uint64_t vlsn;
    /** Its position: the file number in the high 32 bits, the offset in bytes in the low 32. */
    uint64_t lsn;
    /**
     * Its payload, as it stands on disk. The function that hands out the entry says how long the payload is valid.
     * NULL only if empty.
     */
    const uint8_t *payload;
    /** The payload's length in bytes. */
    size_t payload_len;
    /** Its type, as it stands on disk. */
    uint8_t entry_type;
} nxf_entry;

/**
 * Opens a scanner over the log in env_dir, from the entry at start_lsn on. NXF_LSN_FIRST or 0 means the first entry
 * there is. If the file of start_lsn does not exist yet, the scanner waits for it; if the log has only later files,
 * reading begins with the first of these. nxf_scanner_next() looks at the files, not this function. Reads the options
 * log.*.
 *
 * The scanner belongs to the caller, who releases it with nxf_scanner_free() or gives it to a runner. Several scanners
 * over one log share more if nxf_scanner_from_log() makes them. Fails as nxf_log_open() does.
 */
nxf_status nxf_scanner_open(const char *env_dir, uint64_t start_lsn, const nxf_options *options, nxf_scanner **scanner,
                            nxf_error **err);

/**
 * As nxf_scanner_open(), over a log that is open already, with the options that the log was opened with. The log may
 * be freed before the scanner. Any number of threads may make scanners of one log at once.
 */
nxf_status nxf_scanner_from_log(nxf_log *log, uint64_t start_lsn, nxf_scanner **scanner, nxf_error **err);

/**
 * Returns the next entry whose VLSN is at least from_vlsn, and which this scanner has not returned before. If
 * from_vlsn is 0, the first call returns the lowest VLSN that the log holds without a hole behind it, and later calls
 * the next.
 *
 * Reads files, and never waits for the writer: a host that follows the log by itself asks again after a while.
 *
 * NXF_OK: *entry is written; its payload is valid until the next call on this scanner. NXF_AGAIN: there is no such
 * entry yet. An error (NXF_E_LOG_...) stays: every further call returns the same, and no entry behind the place it
 * names is returned. The one exception is damage at the log's end that the writer's recovery has cut off since: then
 * reading goes on. NXF_E_NO_MEMORY does not stay: the next call tries again, and nothing is left out.
 * NXF_E_WRONG_STATE: another thread is in this function with this scanner.
 */
nxf_status nxf_scanner_next(nxf_scanner *scanner, uint64_t from_vlsn, nxf_entry *entry, nxf_error **err);

/** Releases a scanner that no runner has taken over. NULL is fine. */
void nxf_scanner_free(nxf_scanner *scanner);

/* --- Sources of the host's own: entries that do not come from a log, by callbacks --------------------------------- */

/**
 * A source of the host's own, which returns entries. All functions get the context, and are called one at a time, on
 * the thread that drives the runner or calls nxf_scanner_next(). They must neither wait nor throw. They may call the
 * library, but must not free the scanner. A call that would wait for the scanner's runner is refused with
 * NXF_E_INSIDE_CALLBACK. The scanner is in use meanwhile, and a call with it is NXF_E_WRONG_STATE. Zero the struct
 * before you fill it: members may be added at its end.
 */
typedef struct nxf_source_vtable {
    /** sizeof(nxf_source_vtable). */
    size_t struct_size;
    /**
     * Needed. Writes the next entry whose VLSN is at least from_vlsn to *entry and returns NXF_OK; from_vlsn 0 asks
     * for the lowest there is. Returns NXF_AGAIN if there is no such entry yet; the host then calls
     * nxf_runner_notify() when there is one. Any other status ends the run with NXF_E_CALLBACK. The payload must stay
     * valid until release is called or, if release is NULL, until the next call.
     */
    nxf_status (*next)(void *context, uint64_t from_vlsn, nxf_entry *entry);
    /**
     * May be NULL. Says that the entry's payload is not used any more. Called once for every entry, before the next
     * entry is asked for or the source is dropped.
     */
    void (*release)(void *context, const nxf_entry *entry);
    /** May be NULL. Releases the context, after the last call. */
    nxf_drop_callback drop;
} nxf_source_vtable;

/**
 * Makes a scanner over a source of the host's own. Each VLSN must be one more than the one before, as in a log, unless
 * the option source.order says "rising". A VLSN that is missing is NXF_E_LOG_GAP, and a VLSN below the one asked for
 * is NXF_E_CALLBACK. Reads the options source.*. The vtable is copied. On NXF_OK the context belongs to the scanner,
 * until drop; on an error it stays the caller's. The scanner belongs to the caller, who releases it with
 * nxf_scanner_free() or gives it to a runner.
 */
nxf_status nxf_scanner_from_callbacks(const nxf_source_vtable *vtable, void *context, const nxf_options *options,
                                      nxf_scanner **scanner, nxf_error **err);

/* --- Channels: whole messages, to and from one peer --------------------------------------------------------------- */

/**
 * Whole messages, both ways, to and from one peer. One thread may send while another receives, and any may close.
 * A runner that is given a channel takes it over.
 */
typedef struct nxf_channel nxf_channel;

/**
 * Connects to a replica that listens at host and port. host is a name, or an IPv4 or IPv6 address. If it is a name,
 * every address of it is tried. Waits for at most the option channel.connect_timeout_ms, and for the resolver if host
 * is a name. Reads the options channel.*. The channel belongs to the caller, who releases it with nxf_channel_free()
 * or gives it to a runner.
 *
 * NXF_E_CONNECT: the name is not known, or no address took the connection.
 */
nxf_status nxf_channel_tcp_connect(const char *host, uint16_t port, const nxf_options *options, nxf_channel **channel,
                                   nxf_error **err);

/**
 * Makes a channel of a connected stream socket, TCP or Unix domain, such as one that the host has accepted. Makes the
 * socket non-blocking and close-on-exec. Reads the options channel.*. On NXF_OK the descriptor belongs to the channel,
 * which closes it; on an error it stays the caller's. NXF_E_INVALID_ARGUMENT: it is no connected stream socket.
 * NXF_E_CONNECTION: the connection has failed already.
 */
nxf_status nxf_channel_from_fd(int fd, const nxf_options *options, nxf_channel **channel, nxf_error **err);

/**
 * Makes two channels that are connected with each other, in memory: each receives the messages that the other sends,
 * in order. Reads the options channel.local_queue_bytes_max and channel.write_timeout_ms. Both channels belong to the
 * caller, who releases each with nxf_channel_free() or gives it to a runner.
 */
nxf_status nxf_channel_local_pair(const nxf_options *options, nxf_channel **a, nxf_channel **b, nxf_error **err);

/**
 * Sends a message of at most 64 MiB, whole. Waits while the peer does not read, for at most the option
 * channel.write_timeout_ms. The message stays the caller's, and is not used after the call. One thread may send while
 * another receives.
 *
 * NXF_OK: it was handed over whole. NXF_CLOSED: the channel is closed. NXF_AGAIN: an in-memory pair is still full
 * after that time, and nothing was sent. NXF_E_WRITE_TIMEOUT, NXF_E_CONNECTION: part of the message may have been
 * sent, and the channel cannot be used any more. NXF_E_PROTOCOL: the message is too long. NXF_E_NO_MEMORY: an
 * in-memory pair has no memory to hold the message, and nothing was sent.
 */
nxf_status nxf_channel_send(nxf_channel *channel, const uint8_t *message, size_t len, nxf_error **err);

/**
 * Receives a message into buf, and writes its length to *len. timeout_ms: 0 tries, -1 waits for as long as it takes.
 *
 * NXF_OK: a message was received. NXF_AGAIN: no message came in time. NXF_CLOSED: the channel is closed, and every
 * message that came before was received. NXF_E_BUFFER_TOO_SMALL: *len says how much is needed, and the message can
 * still be received. NXF_E_PROTOCOL: the peer announces a message of more than 64 MiB. NXF_E_CONNECTION: the
 * connection failed. NXF_E_NO_MEMORY: there is no memory for the rest of the message. Nothing of it is lost: it can be
 * received once there is memory.
 */
nxf_status nxf_channel_receive(nxf_channel *channel, uint8_t *buf, size_t capacity, size_t *len, int timeout_ms,
                               nxf_error **err);

/**
 * Closes a channel. Calls that wait on it, in any thread, end with NXF_CLOSED. Closing twice is fine. The channel must
 * still be released. Any thread, also while others send and receive.
 */
nxf_status nxf_channel_close(nxf_channel *channel, nxf_error **err);

/**
 * Whether neither side has closed the channel, as far as is known without asking the network. False for NULL. Any
 * thread.
 */
bool nxf_channel_is_open(const nxf_channel *channel);

/** Closes and releases a channel that no runner has taken over, and that no other thread is using. NULL is fine. */
void nxf_channel_free(nxf_channel *channel);

/* --- Channels of the host's own: a transport other than sockets, by callbacks ------------------------------------- */

/**
 * A transport of the host's own: whole messages, both ways. All functions get the context. send and receive are called
 * on two threads of their own, whose stacks may grow to the option runner.stack_bytes. They are called at the same
 * time as each other and as close and is_open, and may wait within their limits. No function may throw. All are called
 * with no lock held, and may call the library, but must not free the channel. A call that would wait for the channel's
 * runner is refused with NXF_E_INSIDE_CALLBACK. While nxf_runner_new() asks is_open, the channel is in use, and a call
 * with it is NXF_E_WRONG_STATE. Zero the struct before you fill it: members may be added at its end.
 */
typedef struct nxf_channel_vtable {
    /** sizeof(nxf_channel_vtable). */
    size_t struct_size;
    /**
     * Needed. Sends a message whole; may wait while the peer does not read. Returns NXF_OK; or NXF_AGAIN: there is no
     * room, and nothing was sent; or NXF_CLOSED. Any other status ends the run with NXF_E_CALLBACK. The message is
     * valid during the call.
     */
    nxf_status (*send)(void *context, const uint8_t *message, size_t len);
    /**
     * Needed. Receives a message into buf and writes its length to *len; waits for a message for at most timeout_ms
     * (-1: as long as it takes). Returns NXF_OK; or NXF_AGAIN: no message came; or NXF_CLOSED; or
     * NXF_E_BUFFER_TOO_SMALL, with the length needed in *len, and is called again for the same message. Any other
     * status ends the run with NXF_E_CALLBACK.
     */
    nxf_status (*receive)(void *context, uint8_t *buf, size_t capacity, size_t *len, int timeout_ms);
    /**
     * Needed. Closes the channel: if send and receive wait in other threads, they return NXF_CLOSED as soon as they
     * can. May be called more than once.
     */
    void (*close)(void *context);
    /**
     * May be NULL: then the channel is open until the library closes it. Says whether the channel is open; must not
     * wait.
     */
    bool (*is_open)(void *context);
    /** May be NULL. Releases the context, after the last call. */
    nxf_drop_callback drop;
} nxf_channel_vtable;

/**
 * Makes a channel of functions of the host's own. Reads no options so far. The vtable is copied. On NXF_OK the context
 * belongs to the channel, which calls close before drop; on an error it stays the caller's. The channel belongs to the
 * caller, who releases it with nxf_channel_free() or gives it to a runner. nxf_channel_send() and
 * nxf_channel_receive() call the functions on the caller's thread.
 */
nxf_status nxf_channel_from_callbacks(const nxf_channel_vtable *vtable, void *context, const nxf_options *options,
                                      nxf_channel **channel, nxf_error **err);

/* --- Runners: each feeds one replica, and knows what the replica has acknowledged --------------------------------- */

/** The runner was not started. */
#define NXF_RUN_NEW 0
/** The run goes on. */
#define NXF_RUN_RUNNING 1
/** nxf_runner_stop() or nxf_runner_free() ended the run. */
#define NXF_RUN_STOPPED 2
/** The replica closed the connection, in order. */
#define NXF_RUN_CLOSED_BY_REPLICA 3
/** The replica broke the connection off. */
#define NXF_RUN_RESET_BY_REPLICA 4
/** The run failed: nxf_runner_result() says why. */
#define NXF_RUN_FAILED 5

/** There is more to read in the log, or the run has ended. */
#define NXF_LOG_READING 0
/** Everything in the log was read. */
#define NXF_LOG_AT_END 1
/** The log has no file yet, or not yet the file to start in. */
#define NXF_LOG_NO_FILE 2
/** A file's header is still being written. */
#define NXF_LOG_UNFINISHED_HEADER 3
/** There are zeros with more behind them: the writer has yet to fill them. */
#define NXF_LOG_HOLE 4
/** The end of an entry is not there yet. */
#define NXF_LOG_TORN 5
/** There are bytes that are not an entry; perhaps they are being written. */
#define NXF_LOG_UNREADABLE 6
/** The next file is there and has no entry yet. */
#define NXF_LOG_NEXT_FILE_EMPTY 7
/** The last entry of this file is not there yet: the next file names it. */
#define NXF_LOG_LAST_ENTRY_MISSING 8
/** The send limit is reached. */
#define NXF_LOG_SEND_LIMIT 9
/** The log ends more than one below the VLSN to begin with: the replica has entries that this log does not have. */
#define NXF_LOG_AHEAD 10

/**
 * A runner feeds one replica, in one run. The run ends when it is stopped, when the replica closes, or with an error.
 */
typedef struct nxf_runner nxf_runner;

/**
 * Called for every acknowledgement, also one lower than before, in the order received, after the known VLSN has risen.
 * It is called on the runner's thread, with no lock held. It must not block for long, nor throw. It may call every
 * function that takes the runner as a pointer to const; a function that would wait for the callback is refused with
 * NXF_E_INSIDE_CALLBACK. replica_name is valid during the call.
 */
typedef void (*nxf_ack_callback)(void *context, const char *replica_name, uint64_t vlsn);

/**
 * Called once, when the run has ended, as the last callback. how is the status that nxf_runner_result() returns from
 * now on. why is NULL unless how is an error. why and replica_name are valid only during the call. It is called on the
 * runner's thread, and the rules of an ack callback hold for it, too.
 *
 * NXF_OK stands for three ends. nxf_runner_state() says which one it was, and its answer is final already. To ask it,
 * make the runner the context, or a part of it:
 *
 * @code{.c}
 * static void on_end(void *context, const char *replica_name, nxf_status how, const nxf_error *why)
 * {
 *     const nxf_runner *runner = context;
 *     uint32_t state = nxf_runner_state(runner);
 *     if (why)
 *         log_line("%s", nxf_error_message(why));
 *     else
 *         log_line("replica '%s': %s", replica_name, nxf_run_state_name(state));
 *     if (state == NXF_RUN_CLOSED_BY_REPLICA || state == NXF_RUN_RESET_BY_REPLICA || nxf_error_is_retriable(why))
 *         reconnect_later(nxf_runner_user_pointer(runner), nxf_runner_known_replica_vlsn(runner) + 1);
 * }
 * @endcode
 */
typedef void (*nxf_end_callback)(void *context, const char *replica_name, nxf_status how, const nxf_error *why);

/**
 * An acknowledgement, or several that were merged because nobody took them in time. This struct is final: it never
 * grows.
 */
typedef struct nxf_ack {
    /** The VLSN acknowledged; for several acknowledgements, the highest. */
    uint64_t vlsn;
    /** How many more acknowledgements this one stands for. */
    uint64_t merged;
} nxf_ack;

/**
 * The figures of a run, for people and for monitoring. They agree with each other, and are a moment old. Members may
 * be added at its end.
 */
typedef struct nxf_runner_stats_t {
    /** The caller sets it to sizeof(nxf_runner_stats_t). No more than that is written. */
    size_t struct_size;
    /** NXF_RUN_... */
    uint32_t run_state;
    /** NXF_LOG_...: why there is nothing to read, if there is nothing. */
    uint32_t log_state;
    /** The place in the log that log_state is about, as an LSN. */
    uint64_t log_state_lsn;
    /** Whether log_state has lasted for longer than the settle time: not an error, but worth a look. */
    bool is_stalled;
    /** Whether the system notifies of changes in the log; if not, the run looks at the log at intervals. */
    bool is_notified;
    /** A VLSN that was not found although later ones were; 0 if there is no such VLSN. */
    uint64_t missing_vlsn;
    /** The VLSN that the run starts with. For a start at 0, the lowest VLSN in the log, and 0 until that is found. */
    uint64_t start_vlsn;
    /** The highest VLSN read from the log; one below the start before the first was read. */
    uint64_t read_vlsn;
    /** The highest VLSN whose frame was wholly handed to the system; one below the start before the first was. */
    uint64_t sent_vlsn;
    /** The highest VLSN acknowledged; 0 before the first. */
    uint64_t acked_vlsn;
    /** Frames wholly handed to the system. */
    uint64_t frames_sent;
    /** Bytes handed to the system. */
    uint64_t bytes_sent;
    /** Bytes of frames that wait to be sent. */
    uint64_t queued_bytes;
    /** Acknowledgements received. */
    uint64_t acks_received;
    /** Acknowledgements that were merged into others because nobody polled. */
    uint64_t acks_merged;
    /** Entries of the log without a VLSN, which are not sent. */
    uint64_t entries_untagged;
    /** Entries that a rollback took back, which are not sent. */
    uint64_t entries_invisible;
    /** Entries below the start, which are not sent. */
    uint64_t entries_below;
    /** Entries that the log holds a second time, which are not sent again. */
    uint64_t entries_repeated;
    /** Entries whose VLSN field holds no VLSN although a flag announces one; they are not sent. */
    uint64_t entries_bad_vlsn;
    /** Entries that stood in the log before one of a lower VLSN. */
    uint64_t entries_early;
    /** How many of these are held back now. */
    uint64_t entries_held;
    /** Holes in log files that were crossed, because the entries behind them prove that none is missing. */
    uint64_t holes_crossed;
    /** How often the log directory was listed. */
    uint64_t listings;
    /** How often the run went to sleep. */
    uint64_t sleeps;
    /** The longest time that the host's callback took for one delivery of acknowledgements, in nanoseconds. */
    uint64_t callback_longest_ns;
    /**
     * The highest VLSN known to be in the log. This run or another over the same nxf_log has seen it, even if it is
     * held back or above the send limit, or nxf_log_vlsn_range() has found it. A run with a slow replica does not read
     * far ahead, so there may be more: unread_bytes says how much. With a source of the host's own, the highest VLSN
     * read. One below the start before any is known.
     */
    uint64_t last_known_vlsn;
    /**
     * How many entries the replica is behind: last_known_vlsn minus acked_vlsn, or minus start_vlsn - 1 while no VLSN
     * from start_vlsn on is acknowledged. This figure and the figures in bytes below go on after the run has ended,
     * and then tell what a new run will have to send.
     */
    uint64_t lag_entries;
    /** How many bytes the replica is behind: unacked_bytes plus unread_bytes. */
    uint64_t lag_bytes;
    /**
     * Bytes of frames that were read from the log and are not acknowledged: queued_bytes, and the bytes sent and not
     * acknowledged. If frames that were sent together are acknowledged in part, their bytes count in proportion.
     */
    uint64_t unacked_bytes;
    /**
     * Bytes of log files that were not read yet, or that belong to entries held back: up to the end of the newest
     * file, with headers, holes and entries that are not sent. nxf_runner_stats() asks the file system for it: the
     * first time for each file that was not read yet. 0 before the first file was opened, for a source of the host's
     * own, and where the file system does not tell.
     */
    uint64_t unread_bytes;
    /**
     * The milliseconds since the oldest frame that is not acknowledged was sent; 0 if there is no such frame. Never
     * too low, and too high by at most a thirtieth of the longest time that frames have been out. When the run has
     * ended, this figure and last_ack_ms stay as they were at the end.
     */
    uint64_t oldest_unacked_ms;
    /** The milliseconds since the last acknowledgement; before the first, since the run began. */
    uint64_t last_ack_ms;
    /**
     * Whether the run is only ending: it was stopped, or the log cannot be read on. In the second case, entries that
     * were read before are still sent. In both, acknowledgements are still taken. False when the run has ended.
     */
    bool is_ending;
} nxf_runner_stats_t;

/**
 * The name of an NXF_RUN_..., such as "NXF_RUN_STOPPED". Any other number has the name "NXF_UNKNOWN". Never NULL;
 * valid for as long as the library is loaded. Any thread.
 */
const char *nxf_run_state_name(uint32_t run_state);

/** The name of an NXF_LOG_..., such as "NXF_LOG_AT_END". Otherwise as nxf_run_state_name(). */
const char *nxf_log_state_name(uint32_t log_state);

/**
 * Makes a runner that will feed the replica of this name over channel, from start_vlsn on. If start_vlsn is 0, it
 * starts with the lowest VLSN that the source holds without a hole. No entry below start_vlsn is ever sent.
 * replica_name is for callbacks and messages, and is copied. Reads the options runner.* and ack.*.
 *
 * On NXF_OK the channel belongs to the runner, and its pointer must not be used any more. The runner belongs to the
 * caller, who releases it with nxf_runner_free(). On any other status the channel stays the caller's. NXF_CLOSED: the
 * channel is closed, and there is no runner.
 */
nxf_status nxf_runner_new(nxf_channel *channel, const char *replica_name, uint64_t start_vlsn,
                          const nxf_options *options, nxf_runner **runner, nxf_error **err);

/**
 * Sets the callback that receives every acknowledgement; none is kept for nxf_runner_poll_acks() then. Only before the
 * start, else NXF_E_WRONG_STATE. Replaces the callback set before, whose context is dropped.
 *
 * On NXF_OK context belongs to the library and is passed to every call. drop, which may be NULL, releases it after the
 * last call, at the latest when nxf_runner_free() returns. On an error context stays the caller's.
 */
nxf_status nxf_runner_set_ack_callback(nxf_runner *runner, nxf_ack_callback callback, void *context,
                                       nxf_drop_callback drop, nxf_error **err);

/**
 * Sets the callback that is called when the run has ended. It is never called for a runner that was not started. Only
 * before the start, else NXF_E_WRONG_STATE. context and drop are as for nxf_runner_set_ack_callback().
 */
nxf_status nxf_runner_set_end_callback(nxf_runner *runner, nxf_end_callback callback, void *context,
                                       nxf_drop_callback drop, nxf_error **err);

/**
 * Starts the run on a thread of its own, whose stack may grow to the option runner.stack_bytes (8 MiB), and returns at
 * once. A runner starts once.
 *
 * On NXF_OK the scanner belongs to the runner, and its pointer must not be used any more. On an error the scanner
 * stays the caller's, and nothing has started. NXF_E_WRONG_STATE: the runner was started or stopped before.
 */
nxf_status nxf_runner_start(nxf_runner *runner, nxf_scanner *scanner, nxf_error **err);

/**
 * Runs on the caller's thread until the run ends. Returns the status that nxf_runner_result() returns from then on. To
 * end it, stop the runner. If the thread is cancelled (pthread_cancel), it goes on until this function returns, as in
 * every function.
 *
 * The scanner belongs to the runner from the moment the run begins. It stays the caller's if the status is
 * NXF_E_INVALID_ARGUMENT, NXF_E_WRONG_STATE or NXF_E_FORKED: no run ends with these.
 */
nxf_status nxf_runner_run(nxf_runner *runner, nxf_scanner *scanner, nxf_error **err);

/**
 * Takes up to capacity acknowledgements, in the order received, and writes their number to *count. Waits for the
 * first: timeout_ms 0 tries, -1 waits for as long as it takes. Any number of threads.
 *
 * NXF_OK: there are some. NXF_TIMEOUT: none came in time, and *count is 0. NXF_CLOSED: the run has ended, all were
 * taken, and *count is 0; nxf_runner_result() says how it ended. If an ack callback is set, it receives all
 * acknowledgements, and none come here. NXF_E_INSIDE_CALLBACK: the call would wait, inside a callback of this runner.
 */
nxf_status nxf_runner_poll_acks(const nxf_runner *runner, nxf_ack *acks, size_t capacity, int timeout_ms, size_t *count,
                                nxf_error **err);

/**
 * A descriptor that is readable while acknowledgements wait to be polled, or the run has ended. It belongs to the
 * runner: watch it with poll, select or epoll, and never read, write or close it. Every call returns the same
 * descriptor, valid until the runner is freed. Any thread. NXF_E_OS: no descriptor could be made.
 */
nxf_status nxf_runner_event_fd(const nxf_runner *runner, int *fd, nxf_error **err);

/**
 * Waits until the replica has acknowledged vlsn or more: timeout_ms 0 tries, -1 waits for as long as it takes. Any
 * number of threads, also before the start.
 *
 * NXF_OK: it has. NXF_TIMEOUT: it has not in time. NXF_CLOSED: the run ended before that. An error: the run ended with
 * it before that. NXF_E_INVALID_ARGUMENT: vlsn is 0, or below the start, and is never sent by this run.
 * NXF_E_INSIDE_CALLBACK: the call would wait, inside a callback of this runner.
 */
nxf_status nxf_runner_wait_acked(const nxf_runner *runner, uint64_t vlsn, int timeout_ms, nxf_error **err);

/**
 * Tells the runner that there is more to read. For a log, this does what nxf_log_notify() does. A source of the host's
 * own is asked again. Any thread, cheap, never blocks. Fails only for NULL and after a fork.
 */
nxf_status nxf_runner_notify(const nxf_runner *runner);

/** The highest VLSN that the replica has acknowledged; 0 before the first, and for NULL. Never falls. Any thread. */
uint64_t nxf_runner_known_replica_vlsn(const nxf_runner *runner);

/**
 * The state of the run: an NXF_RUN_...; NXF_RUN_NEW for NULL. The state of a run that has ended does not change any
 * more; inside the end callback it is final already. Any thread. Never waits.
 */
uint32_t nxf_runner_state(const nxf_runner *runner);

/**
 * The replica's name, as it was given to nxf_runner_new(). Valid until the runner is freed. "" for NULL. Any thread.
 */
const char *nxf_runner_replica_name(const nxf_runner *runner);

/**
 * Keeps a pointer for the host, such as one to the host's own object for this replica. The library only gives it back.
 * NULL at first. Any thread, at any time, also inside a callback. Fails only for NULL and after a fork.
 */
nxf_status nxf_runner_set_user_pointer(const nxf_runner *runner, void *user);

/** The pointer that was kept last; NULL at first, and for NULL. Any thread. */
void *nxf_runner_user_pointer(const nxf_runner *runner);

/**
 * Writes the run's figures to *stats. Writes at most stats->struct_size bytes, which the caller has set to
 * sizeof(nxf_runner_stats_t). Any thread, also before the start and after the end. Waits only for the file system,
 * which it asks for lengths if struct_size has room for lag_bytes.
 */
nxf_status nxf_runner_stats(const nxf_runner *runner, nxf_runner_stats_t *stats, nxf_error **err);

/**
 * Ends the run: queued frames are not sent any more, and the replica's last acknowledgements are still taken for the
 * option runner.linger_ms. Waits until the run has ended: timeout_ms 0 does not wait, -1 waits for as long as it
 * takes. Any thread, any number of times. A runner that is stopped before its start has ended, without an end
 * callback, and cannot be started.
 *
 * NXF_OK: the run has ended, no callback runs any more, and none starts. NXF_TIMEOUT: the run is still ending.
 * NXF_E_INSIDE_CALLBACK: called from a callback of this runner, for which it would wait. With timeout_ms 0 it does not
 * wait, and can be called there, too.
 */
nxf_status nxf_runner_stop(const nxf_runner *runner, int timeout_ms, nxf_error **err);

/**
 * Ends count runs at once, as nxf_runner_stop() ends one. It tells all runs to end before it waits for any, so it
 * takes as long as the slowest, and nxf_runner_free() has nothing left to wait for. A runner that has ended, was never
 * started or is in the array twice is not an error, and NULL is passed over. The runners stay the caller's, who
 * releases each.
 *
 * NXF_OK: all have ended, no callback of theirs runs any more, and none starts. NXF_TIMEOUT: some are still ending,
 * timeout_ms after the call. NXF_E_INSIDE_CALLBACK: called from a callback of one of them. NXF_E_FORKED: the parent of
 * this process made one of them. With these two, no run was told to end. With timeout_ms 0 it does not wait, and can
 * be called from a callback, too.
 */
nxf_status nxf_runner_stop_all(nxf_runner *const *runners, size_t count, int timeout_ms, nxf_error **err);

/**
 * How the run ended. NXF_OK: it was stopped, or the replica closed or broke off the connection; nxf_runner_state()
 * says which. NXF_AGAIN: it has not ended. An error: the run ended with it; every call returns the same. Any thread.
 */
nxf_status nxf_runner_result(const nxf_runner *runner, nxf_error **err);

/**
 * Ends the run like nxf_runner_stop(runner, -1), and releases the runner. No other thread may use the runner any more,
 * except one that is in nxf_runner_run(). NULL is fine. From inside a callback of this runner it is
 * NXF_E_INSIDE_CALLBACK, and releases nothing. When it returns NXF_OK, channel and scanner are closed, no thread of
 * the run is left, and the callbacks' contexts have been dropped.
 */
nxf_status nxf_runner_free(nxf_runner *runner);

/* --- Connections of a server: who is at the other end, and what for ----------------------------------------------- */

/** The replica has not said what it wants. */
#define NXF_SERVICE_UNKNOWN 0
/** It wants to be fed ("PEER_FEEDER"). */
#define NXF_SERVICE_STREAM 1
/** It asks which entries the log holds, to find one that it has, too ("REP_SYNCUP"). */
#define NXF_SERVICE_SYNCUP 2
/** It fetches the files of the log in a message ("RESTORE"). */
#define NXF_SERVICE_RESTORE 3
/** It fetches the files of the log without messages. */
#define NXF_SERVICE_RAW_RESTORE 4
/** It holds an election ("ELECTION"). */
#define NXF_SERVICE_ELECTION 5

/**
 * The connections of a server at one moment, in the order in which they came. It does not change, belongs to the
 * caller, and does not depend on the server. Any number of threads may read it.
 */
typedef struct nxf_connection_list nxf_connection_list;

/**
 * A connection of a server, as it was when the listing was made. It belongs to the listing, strings and statistics
 * included. Members may be added at its end.
 */
typedef struct nxf_connection {
    /** How many bytes of it the library has filled. */
    size_t struct_size;
    /** Its number, from 1 on. No other connection of this server has it, or had it. */
    uint64_t connection_id;
    /** The replica's name; until it has one, its address. Never NULL. */
    const char *replica_name;
    /** The replica's address and port, such as "192.0.2.1:1000"; "local" for a Unix domain socket. Never NULL. */
    const char *peer;
    /** For how many milliseconds it has been connected. */
    uint64_t connected_ms;
    /** The highest VLSN that it has acknowledged; 0 for none. */
    uint64_t acked_vlsn;
    /** How many files a restore sends; 0 if there is no restore, and as long as that is not known. */
    uint64_t restore_files;
    /** How many of them it has read to their end. */
    uint64_t restore_files_done;
    /** How many bytes the files have. */
    uint64_t restore_bytes;
    /** How many of them it has read. */
    uint64_t restore_bytes_done;
    /** The figures of a stream; NULL for any other service, and as long as the stream has not begun. */
    const nxf_runner_stats_t *stats;
    /** What it is for: NXF_SERVICE_... */
    uint32_t service;
} nxf_connection;

/**
 * Whoever has connected, and has to be named. The library makes it, and it is valid during the call that it is given
 * to, strings included. Members may be added at its end.
 */
typedef struct nxf_peer {
    /** How many bytes of it the library has filled. */
    size_t struct_size;
    /**
     * Its address and port, such as "192.0.2.1:1000" or "[2001:db8::1]:1000"; "local" for a Unix domain socket. Never
     * NULL.
     */
    const char *peer;
    /** Its address alone, such as "192.0.2.1" or "2001:db8::1"; "" for a Unix domain socket. Never NULL. */
    const char *host;
    /** Its port; 0 for a Unix domain socket. It is another for each connection. */
    uint16_t port;
    /** What it wants: NXF_SERVICE_... */
    uint32_t service;
} nxf_peer;

/**
 * The name of an NXF_SERVICE_..., such as "NXF_SERVICE_STREAM". Any other number has the name "NXF_UNKNOWN". Never
 * NULL; valid for as long as the library is loaded. Any thread.
 */
const char *nxf_service_name(uint32_t service);

/** How many connections there are in a listing. 0 for NULL. */
size_t nxf_connection_list_count(const nxf_connection_list *list);

/**
 * The connection at this place, counted from 0. NULL if there is none, and for NULL. Valid until the listing is freed.
 */
const nxf_connection *nxf_connection_list_at(const nxf_connection_list *list, size_t at);

/** Releases a listing, and its connections with it. NULL is fine. */
void nxf_connection_list_free(nxf_connection_list *list);

/* --- Events of a server: what has happened, and to whom ----------------------------------------------------------- */

/** A replica is fed from now on; vlsn is the first VLSN that it gets. If it is dialled from 0 on, vlsn is 0. */
#define NXF_EVENT_JOINED 1
/**
 * It has acknowledged up to vlsn, on this connection. Several acknowledgements that nobody has taken yet are one
 * event.
 */
#define NXF_EVENT_ACKED 2
/** It has acknowledged all that the log holds, but what was just appended. */
#define NXF_EVENT_CAUGHT_UP 3
/** It had caught up, and something has waited for too long since. It is told again when it has caught up. */
#define NXF_EVENT_FELL_BEHIND 4
/**
 * The log does not go on where it is read for this replica, and that has lasted for longer than the settle time.
 * log_state and reason say what is waited for, lsn where, and vlsn is a VLSN that was not found although later ones
 * were; 0 if there is no such VLSN.
 */
#define NXF_EVENT_STALLED 5
/** It asked for what the log has no more, and was told that it has to restore. */
#define NXF_EVENT_NEEDS_RESTORE 6
/** It fetches the files of the log: count files. */
#define NXF_EVENT_RESTORING 7
/** It was sent all files of the log: count bytes. */
#define NXF_EVENT_RESTORED 8
/** A connection came to nothing: reason and status say why. There was no stream. */
#define NXF_EVENT_REFUSED 9
/**
 * A replica is fed no longer. run_state, status and reason say why; vlsn is the highest VLSN that it has acknowledged.
 */
#define NXF_EVENT_ENDED 10
/**
 * The log cannot be read on: error says why. Nobody can be fed beyond that place. It is told once for each such error.
 */
#define NXF_EVENT_LOG_BROKEN 11
/**
 * The host did not take events in time, and count of them found no room (server.events_max). nxf_server_connections()
 * says how things are now. Acknowledgements of replicas that are connected are never lost; with the end of a stream
 * comes what was acknowledged last.
 */
#define NXF_EVENT_LOST 12
/** The log goes on, after an NXF_EVENT_STALLED. */
#define NXF_EVENT_GOES_ON 13

/**
 * Something that has happened. The library makes it, and nothing changes it afterwards; strings and error belong to
 * it. Members may be added at its end, and kinds may be added: pass over those that you do not know. The number of a
 * kind is never used again.
 */
typedef struct nxf_event {
    /** How many bytes of it the library has filled. */
    size_t struct_size;
    /** What: NXF_EVENT_... */
    uint32_t kind;
    /** What the connection is for: NXF_SERVICE_... */
    uint32_t service;
    /** The number of the connection; 0 if the event is about no connection, or about an attempt to make one. */
    uint64_t connection_id;
    /** The VLSN that the kind names; otherwise 0. */
    uint64_t vlsn;
    /** The number that the kind names; otherwise 0. */
    uint64_t count;
    /** For NXF_EVENT_STALLED the place in the log, as an LSN; otherwise 0. */
    uint64_t lsn;
    /** For NXF_EVENT_ENDED how the stream ended: an NXF_RUN_... from NXF_RUN_STOPPED on. Otherwise NXF_RUN_NEW. */
    uint32_t run_state;
    /** For NXF_EVENT_STALLED what the log is waited for: NXF_LOG_... Otherwise NXF_LOG_READING. */
    uint32_t log_state;
    /**
     * For NXF_EVENT_ENDED and NXF_EVENT_LOG_BROKEN the error, or NXF_OK. For NXF_EVENT_REFUSED the error, or:
     * NXF_E_PROTOCOL: the replica said something wrong, or asked for a service that is not offered. NXF_E_LOG_AHEAD:
     * it wants to begin above the end of the log. NXF_TIMEOUT: it, or the host that had to name it, took too long.
     * NXF_CLOSED: it closed the connection in the middle of something. NXF_AGAIN: there was no room for it. NXF_OK:
     * the host refused it, or a replica of its name is to stay. For any other kind NXF_OK.
     */
    nxf_status status;
    /** The name of the replica; while it has none, its address. "" if the event is about no connection. Never NULL. */
    const char *replica_name;
    /**
     * The address and port of the replica, as in nxf_connection. "" if the event is about no connection. Never NULL.
     */
    const char *peer;
    /**
     * Why, in words, for NXF_EVENT_REFUSED, NXF_EVENT_STALLED, NXF_EVENT_LOG_BROKEN, and NXF_EVENT_ENDED where this
     * side ended the stream or it failed. Otherwise "". Never NULL.
     */
    const char *reason;
    /** The error, if status is negative and there is more to know of it; otherwise NULL. */
    const nxf_error *error;
} nxf_event;

/**
 * The name of an NXF_EVENT_..., such as "NXF_EVENT_JOINED". Any other number has the name "NXF_UNKNOWN". Never NULL;
 * valid for as long as the library is loaded. Any thread.
 */
const char *nxf_event_kind_name(uint32_t kind);

/** Releases an event that nxf_server_next_event() has given, strings and error with it. NULL is fine. */
void nxf_event_free(nxf_event *event);

/* --- Servers: replicas dial in, say what they want, and are served ------------------------------------------------ */

/**
 * A server feeds any number of replicas from one log, by a few threads. Replicas connect to it, or it dials them.
 * Connections that replicas make begin with the name of a service: the server answers where the log begins and ends,
 * sends the files of the log to those who have to restore, and streams to those who want to be fed. Any number of
 * threads may use it.
 *
 * The server begins with the first nxf_server_listen(), nxf_server_adopt() or nxf_server_dial(). Callbacks are set
 * before that.
 */
typedef struct nxf_server nxf_server;

/**
 * Names whoever has connected, once it has said what it wants. Writes the name to name, which has room for capacity
 * bytes, at least 256, with a NUL behind it, and returns NXF_OK; any other status refuses the connection. Replicas do
 * not say who they are: there is only their address. The name stands for the replica in every event, and if it wants
 * to be fed, no other replica is fed under that name: see the option server.same_name.
 *
 * It is called on a thread of the server's, one call at a time, and never at the same time as the event callback. It
 * may take its time, up to the option server.step_timeout_ms; meanwhile others wait to be named. It must not throw. It
 * may call the library as an event callback may. peer is valid during the call.
 */
typedef nxf_status (*nxf_identify_callback)(void *context, const nxf_peer *peer, char *name, size_t capacity);

/**
 * Called for every event, in order, on a thread of the server's, one call at a time, with no lock held. If it takes
 * its time, no replica is held up: events wait for it, up to the option server.events_max. It must not throw. It may
 * call every function of this server's; a call that would wait for the callback is refused with NXF_E_INSIDE_CALLBACK.
 * event is valid during the call.
 */
typedef void (*nxf_event_callback)(void *context, const nxf_event *event);

/**
 * Makes a server over a log. It does nothing yet. Reads the options server.*, and those of channels and runners:
 * channel.*, runner.*, ack.beyond_sent. It keeps what it needs of the log, which may be freed at once. The server
 * belongs to the caller, who releases it with nxf_server_free().
 */
nxf_status nxf_server_new(nxf_log *log, const nxf_options *options, nxf_server **server, nxf_error **err);

/**
 * Sets the callback that names replicas. Without it the name of a replica is its address and port, such as
 * "192.0.2.1:1000", which is another for each connection. Only before the server begins, else NXF_E_WRONG_STATE.
 * Replaces the callback set before, whose context is dropped.
 *
 * On NXF_OK context belongs to the library and is passed to every call. drop, which may be NULL, releases it after the
 * last call, at the latest when nxf_server_free() returns. On an error context stays the caller's.
 */
nxf_status nxf_server_set_identify_callback(nxf_server *server, nxf_identify_callback callback, void *context,
                                            nxf_drop_callback drop, nxf_error **err);

/**
 * Sets the callback that receives every event; none is kept for nxf_server_next_event() then. Only before the server
 * begins, else NXF_E_WRONG_STATE. Replaces the callback set before, whose context is dropped. context and drop are as
 * for nxf_server_set_identify_callback().
 */
nxf_status nxf_server_set_event_callback(nxf_server *server, nxf_event_callback callback, void *context,
                                         nxf_drop_callback drop, nxf_error **err);

/**
 * Answers elections, as the master of this name, which must not be empty. Without this call whoever holds an election
 * is turned away, and that is what most hosts want: replicas that are told who their master is need no election. Only
 * before the server begins, else NXF_E_WRONG_STATE.
 *
 * A warning belongs to it. The server grants every election, and to itself: every node that holds one and reaches this
 * server becomes its replica, whatever the other nodes of the group say. Two servers in one group that answer
 * elections are two masters, and each has replicas with a history of its own. The library cannot notice that. The host
 * has to make sure that there is one.
 */
nxf_status nxf_server_answer_elections(nxf_server *server, const char *master_name, nxf_error **err);

/**
 * Listens for replicas at host and port. host is a name or an address of this machine; NULL stands for 127.0.0.1, and
 * "0.0.0.0" and "::" for all addresses. port 0 stands for any. Writes the port that it is to *bound_port, which may be
 * NULL. A server may listen at several places. Whoever can connect can be fed: bind the server to a network that
 * is yours.
 *
 * NXF_E_OS: the system refused it; nxf_error_errno() has its number, such as EADDRINUSE. NXF_E_WRONG_STATE: the server
 * was stopped.
 */
nxf_status nxf_server_listen(const nxf_server *server, const char *host, uint16_t port, uint16_t *bound_port,
                             nxf_error **err);

/**
 * Takes in a connected stream socket, TCP or Unix domain, that the host has accepted, and on which the replica has yet
 * to say what it wants. Makes the socket non-blocking and close-on-exec. On NXF_OK the descriptor belongs to the
 * server, which closes it; on any other status it stays the caller's.
 *
 * NXF_AGAIN: there are as many connections as there may be (server.connections_max). NXF_E_INVALID_ARGUMENT: it is no
 * connected stream socket. NXF_E_CONNECTION: the connection has failed already. NXF_E_WRONG_STATE: the server was
 * stopped.
 */
nxf_status nxf_server_adopt(const nxf_server *server, int fd, nxf_error **err);

/**
 * Dials a replica that listens at host and port, and feeds it from start_vlsn on, as a runner would; 0 stands for the
 * lowest VLSN that the log holds without a hole. It is dialled until it answers, and again when its stream has ended,
 * behind what it has acknowledged until then; the options server.redial_min_ms and server.redial_max_ms say how often.
 * nxf_server_disconnect() ends it. host is a name or an address; a name is looked up now, which may wait for the
 * resolver, and not again.
 *
 * NXF_E_CONNECT: the name is not known. That the replica does not answer is no error: an NXF_EVENT_REFUSED says so,
 * once for a row of attempts that fail. NXF_E_INVALID_ARGUMENT: a replica of that name is dialled already.
 * NXF_E_WRONG_STATE: the server was stopped.
 */
nxf_status nxf_server_dial(const nxf_server *server, const char *host, uint16_t port, const char *replica_name,
                           uint64_t start_vlsn, nxf_error **err);

/**
 * Ends the stream to the replica of this name, which lingers as if the server was stopped, and dials it no more. Does
 * not wait. A replica that connects by itself may come again. NXF_CLOSED: no replica of that name is fed or dialled.
 */
nxf_status nxf_server_disconnect(const nxf_server *server, const char *replica_name, nxf_error **err);

/**
 * Takes the next event, in the order in which they happened. Waits for it: timeout_ms 0 tries, -1 waits for as long as
 * it takes. Any number of threads, each event for one of them, also before the server begins. The event belongs to the
 * caller, who releases it with nxf_event_free(), before or after the server.
 *
 * NXF_OK: *event is written. NXF_TIMEOUT: none came in time. NXF_CLOSED: the server has ended, and all were taken.
 * NXF_E_WRONG_STATE: an event callback is set, and receives them. NXF_E_INSIDE_CALLBACK: the call would wait, inside a
 * callback of this server.
 */
nxf_status nxf_server_next_event(const nxf_server *server, int timeout_ms, nxf_event **event, nxf_error **err);

/**
 * A descriptor that is readable while events wait to be taken, or the server has ended. It belongs to the server:
 * watch it with poll, select or epoll, and never read, write or close it. Every call returns the same descriptor,
 * valid until the server is freed. Any thread. NXF_E_OS: no descriptor could be made. NXF_E_WRONG_STATE: an event
 * callback is set.
 */
nxf_status nxf_server_event_fd(const nxf_server *server, int *fd, nxf_error **err);

/**
 * Lists the connections there are. The listing belongs to the caller, who releases it with nxf_connection_list_free().
 * Waits only for the file system, which it asks for lengths, as nxf_runner_stats() does. Any thread.
 */
nxf_status nxf_server_connections(const nxf_server *server, nxf_connection_list **list, nxf_error **err);

/**
 * Ends the server: nobody is taken in or dialled any more, and all connections end, all at the same time, as runs end
 * that are stopped. Waits until the server has ended: timeout_ms 0 does not wait, -1 waits for as long as it takes.
 * Any thread, any number of times. A server that is stopped before it has begun has ended.
 *
 * NXF_OK: it has ended, no callback runs any more, and none starts; events that were not taken stay to be taken.
 * NXF_TIMEOUT: it is still ending. NXF_E_INSIDE_CALLBACK: called from a callback of this server, for which it would
 * wait. With timeout_ms 0 it does not wait, and can be called there, too.
 */
nxf_status nxf_server_stop(const nxf_server *server, int timeout_ms, nxf_error **err);

/**
 * Ends the server like nxf_server_stop(server, -1), and releases it. No other thread may use it any more. NULL is
 * fine. From inside a callback of this server it is NXF_E_INSIDE_CALLBACK, and releases nothing. When it returns
 * NXF_OK, all connections are closed, no thread of the server is left, and the callbacks' contexts have been dropped.
 */
nxf_status nxf_server_free(nxf_server *server);

/* --- Trackers: the state of one replica, for hosts that move the bytes themselves --------------------------------- */

/** Nothing has begun. */
#define NXF_FEEDER_IDLE 0
/** Agreeing where to start. */
#define NXF_FEEDER_HANDSHAKING 1
/** Frames and acknowledgements flow. */
#define NXF_FEEDER_STREAMING 2
/** It has ended. */
#define NXF_FEEDER_SHUTDOWN 3

/**
 * A tracker remembers how far one replica is, for hosts that move the bytes themselves. It does plain arithmetic, and
 * believes all that it is told. A runner needs no tracker. Any thread.
 */
typedef struct nxf_feeder nxf_feeder;

/** Called with each message taken out of a tracker's queue; the message is valid during the call. It must not throw. */
typedef void (*nxf_message_callback)(void *context, const uint8_t *message, size_t len);

/**
 * Makes a tracker for the replica of this name: idle, with nothing queued, sent or acknowledged. The name is copied.
 * Reads the options feeder.*. The tracker belongs to the caller, who releases it with nxf_feeder_free().
 */
nxf_status nxf_feeder_new(const char *replica_name, const nxf_options *options, nxf_feeder **feeder, nxf_error **err);

/** Its state, an NXF_FEEDER_...; NXF_FEEDER_IDLE for NULL. */
uint32_t nxf_feeder_state(const nxf_feeder *feeder);

/**
 * Sets the state, an NXF_FEEDER_... Any state may follow any other, and this does not count as activity.
 * NXF_E_INVALID_ARGUMENT: there is no such state.
 */
nxf_status nxf_feeder_set_state(const nxf_feeder *feeder, uint32_t state, nxf_error **err);

/** The next VLSN to send; 0 at first, and for NULL. */
uint64_t nxf_feeder_current_vlsn(const nxf_feeder *feeder);

/** The highest VLSN acknowledged; 0 at first, and for NULL. */
uint64_t nxf_feeder_acked_vlsn(const nxf_feeder *feeder);

/** How far the replica is behind: current minus acknowledged, never below 0. 0 for NULL. */
uint64_t nxf_feeder_lag(const nxf_feeder *feeder);

/**
 * Queues the message [vlsn: 8 bytes, little-endian][entry_type: 1 byte][data]. The current VLSN becomes vlsn + 1, if
 * that is more. The data is copied. NXF_AGAIN, and nothing queued: the queue has no room (the option
 * feeder.queue_bytes_max). NXF_E_NO_MEMORY, and nothing queued: there is no memory for the message.
 */
nxf_status nxf_feeder_queue_entry(const nxf_feeder *feeder, uint64_t vlsn, uint8_t entry_type, const uint8_t *data,
                                  size_t len, nxf_error **err);

/**
 * Takes all messages that are queued now out of the queue, the oldest first, and hands each to callback, on this
 * thread. Writes their number to *count, which may be NULL. No lock is held during the calls: the callback may use the
 * tracker, and messages that it queues stay for the next time.
 */
nxf_status nxf_feeder_drain(const nxf_feeder *feeder, nxf_message_callback callback, void *context, size_t *count,
                            nxf_error **err);

/**
 * Notes an acknowledgement. One that is lower than the highest counts only as activity. Fails only for NULL and after
 * a fork.
 */
nxf_status nxf_feeder_record_ack(const nxf_feeder *feeder, uint64_t vlsn);

/** Notes activity of another kind. Fails only for NULL and after a fork. */
nxf_status nxf_feeder_touch(const nxf_feeder *feeder);

/**
 * Whether more than timeout_ms milliseconds have passed since the last activity: queueing, an acknowledgement, or a
 * touch. True if timeout_ms is 0 or less; false for NULL.
 */
bool nxf_feeder_is_timed_out(const nxf_feeder *feeder, int timeout_ms);

/**
 * Writes a text for people to buf, NUL-terminated: the replica's name, state, current and acknowledged VLSN and lag.
 * Writes the text's length without the NUL to *len. NXF_E_BUFFER_TOO_SMALL: *len says how long the text is; buf may be
 * NULL if capacity is 0.
 */
nxf_status nxf_feeder_debug_text(const nxf_feeder *feeder, char *buf, size_t capacity, size_t *len, nxf_error **err);

/**
 * Writes the replica's name to buf, NUL-terminated, and its length without the NUL to *len. NXF_E_BUFFER_TOO_SMALL:
 * *len says how long the name is; buf may be NULL if capacity is 0.
 */
nxf_status nxf_feeder_replica_name(const nxf_feeder *feeder, char *buf, size_t capacity, size_t *len, nxf_error **err);

/** Releases a tracker and the messages that it has queued. No other thread may be using it. NULL is fine. */
void nxf_feeder_free(nxf_feeder *feeder);

/* --- The bytes of the protocol: for hosts that write the other end, and for tests --------------------------------- */

/** Length in bytes of a frame without its payload. */
#define NXF_FRAME_HEADER_LEN 17

/** Length in bytes of an acknowledgement. */
#define NXF_ACK_LEN 8

/**
 * Writes the frame of an entry to buf, and its length to *len: NXF_FRAME_HEADER_LEN bytes and the payload. Reads vlsn,
 * entry_type and payload of the entry. The frame is the message that nxf_channel_send() takes; on a byte stream the
 * message's length goes before it, 4 bytes, little-endian. NXF_E_BUFFER_TOO_SMALL: *len says how many bytes are
 * needed; buf may be NULL if capacity is 0. NXF_E_ENTRY_TOO_LARGE: no frame can hold the entry.
 */
nxf_status nxf_frame_encode(const nxf_entry *entry, uint8_t *buf, size_t capacity, size_t *len, nxf_error **err);

/**
 * Takes a frame apart and checks its lengths and its checksum. The payload of *entry points into the message, and is
 * valid for as long as the message; the entry's lsn is 0. NXF_E_PROTOCOL: the message is no frame, and the error's
 * text says why.
 */
nxf_status nxf_frame_decode(const uint8_t *message, size_t len, nxf_entry *entry, nxf_error **err);

/** Writes the acknowledgement of a VLSN to buf: NXF_ACK_LEN bytes. NXF_E_BUFFER_TOO_SMALL: capacity is less. */
nxf_status nxf_ack_encode(uint64_t vlsn, uint8_t *buf, size_t capacity, nxf_error **err);

/**
 * Reads the VLSN of an acknowledgement. Bytes behind the first NXF_ACK_LEN are ignored. NXF_E_PROTOCOL: the message is
 * shorter. The protocol says that such a message is ignored.
 */
nxf_status nxf_ack_decode(const uint8_t *message, size_t len, uint64_t *vlsn, nxf_error **err);

#ifdef __cplusplus
}
#endif

#endif /* NOXU_FEEDER_H */
