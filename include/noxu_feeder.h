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
 * - Statuses: what a function that can fail returns
 * - Versions: of this header, and of the library that is loaded
 * - Errors: what went wrong, in words and in facts
 * - Options, and the log callback: what the library says to people
 * - Logs: the directory that is read
 * - Scanners: the entries of a log, in order
 * - Sources of the host's own: entries from elsewhere than a log, by callbacks
 * - Channels: whole messages, to and from one peer
 * - Channels of the host's own: another transport than sockets, by callbacks
 * - Runners: feed one replica each, and know what it has acknowledged
 * - Trackers: what is known of a replica, for hosts that move the bytes themselves
 * - The bytes of the protocol: for hosts that write the other end, and for tests
 *
 * Most hosts need no more than the error, the log, a scanner, a channel and a runner. In C++, noxu_feeder.hpp is the
 * same with owning types, exceptions and lambdas.
 *
 * Statuses and errors. What can fail returns an nxf_status: NXF_OK is 0, a negative value is an error, and a positive
 * one means that nothing is wrong and nothing is there (NXF_AGAIN, NXF_CLOSED, NXF_TIMEOUT). The numbers never change;
 * new ones may be added. Results go to out-parameters, which are written on NXF_OK only, unless the function says
 * otherwise. The last parameter is an nxf_error **, and may be NULL: on an error, and only then, it receives an object
 * that describes what happened, which the caller releases with nxf_error_free(). Every function can fail with
 * NXF_E_INVALID_ARGUMENT (a NULL where a handle or a place for a result is needed, a string that is not UTF-8),
 * NXF_E_FORKED and NXF_E_PANIC; what else is to be expected, its comment says.
 *
 * Ownership. What a function named _new, _open, _connect, _pair or _from_... hands out belongs to the caller, until a
 * function whose comment says so takes it over, and is released by the _free function of its type. Every _free accepts
 * NULL. A call that fails takes nothing over, unless its comment says otherwise. Strings that go in are NUL-terminated
 * UTF-8 and are copied; a pointer that comes out is valid for as long as the function's comment says, and is not the
 * caller's to free. Callbacks come as a function, a context, and a function that drops the context: it runs exactly
 * once, last. Structs with a struct_size are filled in with their size, and may grow at their end.
 *
 * Threads. A handle that is passed as a pointer to const may be used by any number of threads at once; one that is
 * not, by one thread at a time, unless the comment says otherwise. Different handles never disturb each other. A _free
 * function needs its handle for itself. Callbacks run on the thread that does the library's work, with no lock held,
 * and must not block for long. Times are milliseconds; a timeout of 0 tries, and -1 waits for as long as it takes.
 *
 * Processes. Nothing is printed, no signal is raised or handled, and descriptors are close-on-exec; those that stay
 * open keep off the numbers of standard input, output and error, also where the host has closed these. After fork()
 * the child can only release what it inherited: everything else is NXF_E_FORKED there, and the parent does not notice.
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

/* --- Statuses: what a function that can fail returns -------------------------------------------------------------- */

/**
 * What a function that can fail returns: NXF_OK, a positive status (nothing wrong, nothing there), or a negative
 * one (an error). The numbers are never changed and never used again, only added to.
 */
typedef int32_t nxf_status;

/**
 * Releases the context of a callback. Called exactly once, after the callback's last call, when the library has no
 * more use for it; on any thread, with no lock held. It may call back in, but with nothing that is being released: what
 * would wait for the runner that lets go of it is refused with NXF_E_INSIDE_CALLBACK. NULL where there is nothing to
 * release.
 */
typedef void (*nxf_drop_callback)(void *context);

/** Done. */
#define NXF_OK 0
/** Nothing there yet: ask again later. */
#define NXF_AGAIN 1
/** The channel is closed, or the run has ended: nothing more will come. */
#define NXF_CLOSED 2
/** It did not happen within the time given. */
#define NXF_TIMEOUT 3

/** A parameter cannot be what it is; the message names it. */
#define NXF_E_INVALID_ARGUMENT (-1)
/** There is no such option, or it does not take the value; the message lists what is allowed. */
#define NXF_E_INVALID_OPTION (-2)
/** The call does not fit what happened to the handle before. */
#define NXF_E_WRONG_STATE (-3)
/** The call would wait for the callback that it is made from. */
#define NXF_E_INSIDE_CALLBACK (-4)
/** The buffer given is too small; nothing is lost. */
#define NXF_E_BUFFER_TOO_SMALL (-5)
/** A defect of this library; the handle cannot be used any more, only freed. */
#define NXF_E_PANIC (-6)
/** The handle was made by the parent of this process; it can only be freed. */
#define NXF_E_FORKED (-7)
/** The operating system refused something: nxf_error_errno() has its number. */
#define NXF_E_OS (-8)
/** A function that the host gave failed, or returned what cannot be; the message says which and how. */
#define NXF_E_CALLBACK (-9)
/**
 * Memory that was needed for what a log, a peer or an option made large cannot be had; the message says how much, and
 * what for. Nothing is lost: the same can be tried again.
 */
#define NXF_E_NO_MEMORY (-10)
/** The log directory cannot be listed, or a log file cannot be opened or read. */
#define NXF_E_LOG_IO (-20)
/** A file in the log directory has no header that can be used, or is no regular file: a directory, a FIFO, a device. */
#define NXF_E_LOG_FILE_HEADER (-21)
/** The log is damaged: a checksum fails, an entry is torn, or the like. Nothing at or behind it is sent. */
#define NXF_E_LOG_DAMAGED (-22)
/** A VLSN is missing in the log. The replica needs a network restore. */
#define NXF_E_LOG_GAP (-23)
/** The log was cut, or written anew, below what had been read. The replica needs a network restore. */
#define NXF_E_LOG_TRUNCATED (-24)
/** A log file that is still needed is gone. The replica needs a network restore. */
#define NXF_E_LOG_FILE_GONE (-25)
/**
 * The log holds another entry at a VLSN that was already sent. What the replica has is not the master's history any
 * more: it must sync up again, or be restored.
 */
#define NXF_E_LOG_HISTORY_CHANGED (-26)
/** An entry is larger than a frame can be (64 MiB). */
#define NXF_E_ENTRY_TOO_LARGE (-27)
/**
 * The log ends more than one below the VLSN to begin with. What the replica has was lost here, or this is not its
 * master's log: it must sync up again, or be restored.
 */
#define NXF_E_LOG_AHEAD (-28)
/** The replica acknowledged a VLSN that it was not sent. The ack was not believed and not delivered. */
#define NXF_E_ACK_BEYOND_SENT (-40)
/** The peer sent something that is not in the protocol, or a message was too long for it. */
#define NXF_E_PROTOCOL (-41)
/** No connection could be made. */
#define NXF_E_CONNECT (-42)
/** The replica took no byte for the write timeout. */
#define NXF_E_WRITE_TIMEOUT (-43)
/** The connection failed, other than by being closed. */
#define NXF_E_CONNECTION (-44)

/**
 * The name of a status: "NXF_OK", "NXF_E_LOG_GAP" ... A number that is none has the name "NXF_UNKNOWN". Never NULL;
 * valid for as long as the library is loaded. Any thread.
 */
const char *nxf_status_name(nxf_status status);

/* --- Versions: of this header, and of the library that is loaded -------------------------------------------------- */

/** The version that this header belongs to. While this is 0, a new minor version may take something away. */
#define NXF_VERSION_MAJOR 0
/** The version that this header belongs to: grows when something was added. */
#define NXF_VERSION_MINOR 1
/** The version that this header belongs to: grows when something was repaired. */
#define NXF_VERSION_PATCH 0

/** The version of the library that is loaded, as "major.minor.patch". Valid for as long as it is. Any thread. */
const char *nxf_version(void);

/**
 * The number of the binary interface. A program that was compiled with a header of the same number runs with this
 * library; functions are only ever added under one number. Any thread.
 */
uint32_t nxf_abi_version(void);

/* --- Errors: what went wrong, in words and in facts --------------------------------------------------------------- */

/**
 * What went wrong. Made by the function that failed, never changed afterwards: any number of threads may read it.
 * It belongs to who received it, until nxf_error_free(); the one that an end callback is given belongs to the
 * library, and is valid during the callback. It is independent of the handle that the function was called with.
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
 * The name of the replica concerned: of the runner or tracker that the failed function was called with, or was to
 * make. Valid until the error is freed. "" if there is none, and for NULL.
 */
const char *nxf_error_replica(const nxf_error *err);

/** The operating system's error number (an errno); 0 if it gave none, and for NULL. */
int32_t nxf_error_errno(const nxf_error *err);

/** Writes the number of the log file concerned to *file. False, and nothing written, if there is none. */
bool nxf_error_file(const nxf_error *err, uint32_t *file);

/** Writes the offset in that file, in bytes, to *offset. False, and nothing written, if there is none. */
bool nxf_error_offset(const nxf_error *err, uint64_t *offset);

/**
 * Writes the VLSN concerned, the one missing, damaged, too large or acknowledged, to *vlsn. False, and nothing
 * written, if there is none.
 */
bool nxf_error_vlsn(const nxf_error *err, uint64_t *vlsn);

/**
 * Whether the same thing tried again may succeed with nothing repaired: after a network failure, say. False for NULL.
 */
bool nxf_error_is_retriable(const nxf_error *err);

/**
 * Whether the replica being fed can only be helped by a network restore: what it needs next is not in the log. False
 * for NULL.
 */
bool nxf_error_needs_restore(const nxf_error *err);

/** Releases an error, and its message with it. NULL is fine. */
void nxf_error_free(nxf_error *err);

/* --- Options, and the log callback: what the library says to people ----------------------------------------------- */

/** A whole number, in the unit that the key's last part names. */
#define NXF_OPTION_NUMBER 1
/** One of some words. */
#define NXF_OPTION_WORD 2

/** Something failed: a run has ended with an error, say. */
#define NXF_LEVEL_ERROR 1
/** Something is not as it should be, and the library goes on. */
#define NXF_LEVEL_WARN 2
/** Something of note happened: a run has ended in order, the log goes on after a stall. */
#define NXF_LEVEL_INFO 3
/** For finding faults. */
#define NXF_LEVEL_DEBUG 4

/**
 * A set of options, as keys and values. Whoever is given options copies them: they can be changed and freed at any
 * time, and what was made with them stays as it is. Where options are asked for, NULL means the defaults, and keys
 * that do not concern what is made are passed over. docs/options.md has every key, with its range and its default.
 */
typedef struct nxf_options nxf_options;

/**
 * What there is to know of an option. The texts are the library's, never NULL, and valid for as long as it is loaded.
 * Members may be added at its end.
 */
typedef struct nxf_option {
    /** To be set to sizeof(nxf_option) by the caller: only so much is written. */
    size_t struct_size;
    /** Its key, as "log.settle_ms". */
    const char *key;
    /** What it does, for people. */
    const char *meaning;
    /** The value when nothing is set. */
    const char *default_value;
    /** The words that it takes, as "error, accept"; "" for a number. */
    const char *words;
    /** The smallest number that it takes; 0 for a word. */
    uint64_t min;
    /** The largest number that it takes; 0 for a word. */
    uint64_t max;
    /** NXF_OPTION_...: what it takes. */
    uint32_t kind;
} nxf_option;

/**
 * Receives what the library has to say to people. On the thread that does the library's work, and on several at once
 * when several runners have it; with no lock held: it must not block for long, nor throw. It may call back in, as an ack
 * callback may; a scanner that speaks is in use, which is NXF_E_WRONG_STATE. level: NXF_LEVEL_...;
 * target: the part of the library that speaks, as "noxu_feeder::log". Both strings are valid during the call.
 */
typedef void (*nxf_log_callback)(void *context, uint32_t level, const char *target, const char *message);

/** Makes a set of options, all at their defaults. It belongs to the caller: to be released with nxf_options_free(). */
nxf_status nxf_options_new(nxf_options **options, nxf_error **err);

/**
 * Sets the option of this key. Both strings are copied; numbers are decimal. NXF_E_INVALID_OPTION, with the allowed
 * keys or values in the message and nothing changed, if there is no such option or it does not take this value.
 */
nxf_status nxf_options_set(nxf_options *options, const char *key, const char *value, nxf_error **err);

/**
 * Writes the value of the option of this key to buf, NUL-terminated, as it would be set; its length without the NUL goes
 * to *len. options NULL: the default. NXF_E_INVALID_OPTION: there is no such option. NXF_E_BUFFER_TOO_SMALL: *len says
 * how long the value is; buf may be NULL if capacity is 0.
 */
nxf_status nxf_options_get(const nxf_options *options, const char *key, char *buf, size_t capacity, size_t *len,
                           nxf_error **err);

/**
 * Writes what there is to know of an option to *option, as much as option->struct_size says, which the caller has set to
 * sizeof(nxf_option). at counts the options from 0 on, in the order of docs/options.md, which may be another one in
 * another version. NXF_CLOSED, and nothing written: there are no more. Any thread.
 *
 * @code{.c}
 * nxf_option option = {.struct_size = sizeof option};
 * for (size_t at = 0; nxf_options_describe(at, &option, NULL) == NXF_OK; at++)
 *     printf("%s (default %s): %s\n", option.key, option.default_value, option.meaning);
 * @endcode
 */
nxf_status nxf_options_describe(size_t at, nxf_option *option, nxf_error **err);

/**
 * Has everything of level_max (NXF_LEVEL_...) and more urgent handed to callback, by all that is made with these
 * options from now on. Without a callback nothing is said anywhere. It takes the place of the one before; callback
 * NULL: silence again, and context is dropped at once.
 *
 * On NXF_OK context is the library's: drop, which may be NULL, releases it when these options and all that was made
 * with them are gone or have another callback. On an error it stays the caller's.
 */
nxf_status nxf_options_set_log_callback(nxf_options *options, uint32_t level_max, nxf_log_callback callback,
                                        void *context, nxf_drop_callback drop, nxf_error **err);

/** Releases a set of options. What was made with them goes on. NULL is fine. */
void nxf_options_free(nxf_options *options);

/* --- Logs: the directory that is read ----------------------------------------------------------------------------- */

/**
 * A log directory, open for reading: nothing in it is created, written or locked. Opened once, it is shared by any
 * number of scanners and runners, which keep what they need of it when it is freed.
 */
typedef struct nxf_log nxf_log;

/**
 * Opens the log in the directory env_dir, the environment of a Noxu database. It has to be there, and may be empty:
 * files are looked for when something is read. A path is bytes, and need not be UTF-8. Reads the options log.*. The
 * log is the caller's: to be released with nxf_log_free().
 *
 * NXF_E_LOG_IO: the directory is not there, or cannot be opened.
 */
nxf_status nxf_log_open(const char *env_dir, const nxf_options *options, nxf_log **log, nxf_error **err);

/**
 * "I appended": what reads this log looks again. Never needed for correctness, where the system notifies of changes
 * in directories; it saves the system's notification some microseconds. Any thread, cheap, never blocks. Fails for
 * NULL and after a fork only.
 */
nxf_status nxf_log_notify(const nxf_log *log);

/**
 * From now on only entries that begin below this LSN are read, by every scanner and runner of this log: for a host
 * that wants replicas to have only what is durable here. UINT64_MAX lifts the limit, and is the default. What was
 * read already is not called back. Any thread, cheap, never blocks. Fails for NULL and after a fork only.
 */
nxf_status nxf_log_set_send_limit(const nxf_log *log, uint64_t lsn);

/**
 * The lowest VLSN that the log holds without a hole behind it, and the highest up to which it is complete: of this
 * moment, as the log grows. From then on the lag in the statistics of this log's runners is counted up to there. Reads files, at the beginning and at the end of the log, not what is between. Any thread.
 *
 * NXF_OK: both are written. NXF_AGAIN, and nothing written: the log has no replicated entry yet. Otherwise what a
 * scanner would find there: NXF_E_LOG_IO and the like.
 */
nxf_status nxf_log_vlsn_range(const nxf_log *log, uint64_t *first, uint64_t *last, nxf_error **err);

/** Releases a log, which no other thread may be using. Scanners and runners that read it go on. NULL is fine. */
void nxf_log_free(nxf_log *log);

/* --- Scanners: the entries of a log, in order --------------------------------------------------------------------- */

/** The LSN to start at for "the first entry that the log has". 0 means the same. */
#define NXF_LSN_FIRST UINT64_MAX

/**
 * Reads the replicated entries of a log in VLSN order: each once, none left out, all checked. Used directly with
 * nxf_scanner_next(), or given to a runner, which takes it over. One thread at a time.
 */
typedef struct nxf_scanner nxf_scanner;

/** An entry of the log. This struct is final: it never grows. */
typedef struct nxf_entry {
    /** Its VLSN, 1 or above. */
    uint64_t vlsn;
    /** Its position: the file number in the high 32 bits, the offset in bytes in the low 32. */
    uint64_t lsn;
    /**
     * Its payload, as it stands on disk. How long it is valid is said where an entry is handed out. NULL only if
     * empty.
     */
    const uint8_t *payload;
    /** The payload's length in bytes. */
    size_t payload_len;
    /** Its type, as it stands on disk. */
    uint8_t entry_type;
} nxf_entry;

/**
 * Opens a scanner over the log in env_dir, from the entry at start_lsn on. NXF_LSN_FIRST or 0: from the first entry
 * there is. A start whose file does not exist yet is waited for; if the log has only later files, reading begins with
 * the first of these. The files are looked at by nxf_scanner_next(), not here. Reads the options log.*.
 *
 * The scanner is the caller's: to be released with nxf_scanner_free(), or to be given to a runner. Several over one
 * log share more when made by nxf_scanner_from_log(). Fails as nxf_log_open() does.
 */
nxf_status nxf_scanner_open(const char *env_dir, uint64_t start_lsn, const nxf_options *options, nxf_scanner **scanner,
                            nxf_error **err);

/**
 * As nxf_scanner_open(), over a log that is open already, with the options that it was opened with. The log may be
 * freed before the scanner. Any number of threads may make scanners of one log at once.
 */
nxf_status nxf_scanner_from_log(nxf_log *log, uint64_t start_lsn, nxf_scanner **scanner, nxf_error **err);

/**
 * The next entry whose VLSN is at least from_vlsn, and that this scanner has not returned before. from_vlsn 0: at
 * the first call, the lowest VLSN that the log holds without a hole behind it; later, the next.
 *
 * Reads files, and waits for nothing: a host that follows the log by itself asks again after a while.
 *
 * NXF_OK: *entry is written; its payload is valid until the next call on this scanner. NXF_AGAIN: nothing yet. An
 * error (NXF_E_LOG_...) stays: the same comes at every further call, and nothing behind the place it names is
 * returned. The one exception is damage at the log's end that the writer's recovery has cut off since: then reading
 * goes on. NXF_E_NO_MEMORY does not stay: the next call tries again, and nothing is left out. NXF_E_WRONG_STATE:
 * another thread is in this function with this scanner.
 */
nxf_status nxf_scanner_next(nxf_scanner *scanner, uint64_t from_vlsn, nxf_entry *entry, nxf_error **err);

/** Releases a scanner that no runner has taken over. NULL is fine. */
void nxf_scanner_free(nxf_scanner *scanner);

/* --- Sources of the host's own: entries from elsewhere than a log, by callbacks ----------------------------------- */

/**
 * A source of entries of the host's own. All functions get the context, and are called one at a time, on the thread
 * that drives the runner or calls nxf_scanner_next(). They must neither wait nor throw. They may call back in, but not
 * free the scanner: what would wait for the runner that has it is refused with NXF_E_INSIDE_CALLBACK, and the scanner
 * is in use, which is NXF_E_WRONG_STATE. To be zeroed before it is filled, as members may be added at its end.
 */
typedef struct nxf_source_vtable {
    /** sizeof(nxf_source_vtable). */
    size_t struct_size;
    /**
     * Needed. Writes the next entry whose VLSN is at least from_vlsn to *entry (from_vlsn 0: the lowest there is) and
     * returns NXF_OK; or NXF_AGAIN: none yet, and nxf_runner_notify() will be called when there is. Any other status
     * ends the run with NXF_E_CALLBACK. The payload must stay valid until release, or, without one, until the next
     * call.
     */
    nxf_status (*next)(void *context, uint64_t from_vlsn, nxf_entry *entry);
    /**
     * May be NULL. The entry's payload is not used any more. Called once for every entry, before the next one is
     * asked for or the source is dropped.
     */
    void (*release)(void *context, const nxf_entry *entry);
    /** May be NULL. Releases the context, after the last call. */
    nxf_drop_callback drop;
} nxf_source_vtable;

/**
 * Makes a scanner over a source of the host's own. Its VLSNs are held to the same rule as a log's, that each is one
 * more than the one before, unless the option source.order says "rising": one that is missing is NXF_E_LOG_GAP, and
 * one below what was asked for NXF_E_CALLBACK. Reads the options source.*. The vtable is copied. On NXF_OK the
 * context is the scanner's, until drop; on an error it stays the caller's. To be released with nxf_scanner_free(), or
 * to be given to a runner.
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
 * Connects to a replica that listens at host and port. host is a name, or an IPv4 or IPv6 address; every address that
 * a name has is tried. Waits for at most the option channel.connect_timeout_ms, and for the resolver if host is a
 * name. Reads the options channel.*. The channel is the caller's: to be released with nxf_channel_free(), or to be
 * given to a runner.
 *
 * NXF_E_CONNECT: the name is not known, or no address took the connection.
 */
nxf_status nxf_channel_tcp_connect(const char *host, uint16_t port, const nxf_options *options, nxf_channel **channel,
                                   nxf_error **err);

/**
 * Makes a channel of a connected stream socket, TCP or Unix domain: one that the host has accepted, say. It is made
 * non-blocking and close-on-exec. Reads the options channel.*. On NXF_OK the descriptor is the channel's, which
 * closes it; on an error it stays the caller's. NXF_E_INVALID_ARGUMENT: it is no connected stream socket.
 * NXF_E_CONNECTION: the connection has failed already.
 */
nxf_status nxf_channel_from_fd(int fd, const nxf_options *options, nxf_channel **channel, nxf_error **err);

/**
 * Makes two channels that are connected with each other, in memory: what one sends the other receives, in order.
 * Reads the options channel.local_queue_bytes_max and channel.write_timeout_ms. Both are the caller's: each is to be
 * released with nxf_channel_free(), or to be given to a runner.
 */
nxf_status nxf_channel_local_pair(const nxf_options *options, nxf_channel **a, nxf_channel **b, nxf_error **err);

/**
 * Sends a message of at most 64 MiB, whole. Waits while the peer does not read, at most for the option
 * channel.write_timeout_ms. The message is the caller's, and not used any more when this returns. One thread may send
 * while another receives.
 *
 * NXF_OK: it was handed over whole. NXF_CLOSED: the channel is closed. NXF_AGAIN: an in-memory pair is still full
 * after that time, and nothing was sent. NXF_E_WRITE_TIMEOUT, NXF_E_CONNECTION: part of it may have been sent, and
 * the channel is of no use any more. NXF_E_PROTOCOL: it is too long. NXF_E_NO_MEMORY: an in-memory pair has none to
 * hold it, and nothing was sent.
 */
nxf_status nxf_channel_send(nxf_channel *channel, const uint8_t *message, size_t len, nxf_error **err);

/**
 * Receives a message into buf, and writes its length to *len. timeout_ms: 0 tries, -1 waits for as long as it takes.
 *
 * NXF_OK: a message. NXF_AGAIN: none came in time. NXF_CLOSED: the channel is closed, and every message that came
 * before was received. NXF_E_BUFFER_TOO_SMALL: *len says how much is needed, and the message stays to be received.
 * NXF_E_PROTOCOL: the peer announces a message of more than 64 MiB. NXF_E_CONNECTION: the connection failed.
 * NXF_E_NO_MEMORY: there is none for more of the message, of which nothing is lost: it can be received when there is.
 */
nxf_status nxf_channel_receive(nxf_channel *channel, uint8_t *buf, size_t capacity, size_t *len, int timeout_ms,
                               nxf_error **err);

/**
 * Closes a channel. Calls that wait on it, in any thread, end with NXF_CLOSED. Closing twice is fine. The channel is
 * still to be released. Any thread, also while others send and receive.
 */
nxf_status nxf_channel_close(nxf_channel *channel, nxf_error **err);

/**
 * Whether neither side has closed the channel, as far as is known without asking the network. False for NULL. Any
 * thread.
 */
bool nxf_channel_is_open(const nxf_channel *channel);

/** Closes and releases a channel that no runner has taken over, and that no other thread is using. NULL is fine. */
void nxf_channel_free(nxf_channel *channel);

/* --- Channels of the host's own: another transport than sockets, by callbacks ------------------------------------- */

/**
 * A transport of the host's own: whole messages, both ways. All functions get the context. send and receive are
 * called on two threads of their own (whose stacks may grow to the option runner.stack_bytes), at the same time as each
 * other and as close and is_open, and may wait within their limits. None may throw. All are called with no lock held, and may call back in, but not free the channel: what
 * would wait for the runner that has it is refused with NXF_E_INSIDE_CALLBACK, and while nxf_runner_new() asks is_open
 * the channel is in use, which is NXF_E_WRONG_STATE. To be zeroed before it is filled, as members may be added at its
 * end.
 */
typedef struct nxf_channel_vtable {
    /** sizeof(nxf_channel_vtable). */
    size_t struct_size;
    /**
     * Needed. Sends a message whole; may wait while the peer does not read. NXF_OK; NXF_AGAIN: no room, and nothing
     * was sent; NXF_CLOSED; any other status ends the run with NXF_E_CALLBACK. The message is valid during the call.
     */
    nxf_status (*send)(void *context, const uint8_t *message, size_t len);
    /**
     * Needed. Receives a message into buf and writes its length to *len; waits for one for at most timeout_ms (-1: as
     * long as it takes). NXF_OK; NXF_AGAIN: none came; NXF_CLOSED; NXF_E_BUFFER_TOO_SMALL with the length needed in
     * *len, and the message is asked for again; any other status ends the run with NXF_E_CALLBACK.
     */
    nxf_status (*receive)(void *context, uint8_t *buf, size_t capacity, size_t *len, int timeout_ms);
    /**
     * Needed. Closes: send and receive that wait in other threads return, as soon as they can, with NXF_CLOSED. May
     * be called more than once.
     */
    void (*close)(void *context);
    /** May be NULL: the channel is open until it was closed here. Whether it is open; must not wait. */
    bool (*is_open)(void *context);
    /** May be NULL. Releases the context, after the last call. */
    nxf_drop_callback drop;
} nxf_channel_vtable;

/**
 * Makes a channel of functions of the host's own. Reads no options so far. The vtable is copied. On NXF_OK the
 * context is the channel's, which closes before it drops it; on an error it stays the caller's. The channel is the
 * caller's: to be released with nxf_channel_free(), or to be given to a runner. nxf_channel_send() and
 * nxf_channel_receive() call the functions on the caller's thread.
 */
nxf_status nxf_channel_from_callbacks(const nxf_channel_vtable *vtable, void *context, const nxf_options *options,
                                      nxf_channel **channel, nxf_error **err);

/* --- Runners: feed one replica each, and know what it has acknowledged -------------------------------------------- */

/** The runner was not started. */
#define NXF_RUN_NEW 0
/** The run goes on. */
#define NXF_RUN_RUNNING 1
/** It was ended by nxf_runner_stop() or nxf_runner_free(). */
#define NXF_RUN_STOPPED 2
/** The replica closed the connection, in order. */
#define NXF_RUN_CLOSED_BY_REPLICA 3
/** The replica broke the connection off. */
#define NXF_RUN_RESET_BY_REPLICA 4
/** It failed: nxf_runner_result() says why. */
#define NXF_RUN_FAILED 5

/** There is more to read in the log, or the run has ended. */
#define NXF_LOG_READING 0
/** All that the log has was read. */
#define NXF_LOG_AT_END 1
/** The log has no file yet, or not the one to start in. */
#define NXF_LOG_NO_FILE 2
/** A file's header is still being written. */
#define NXF_LOG_UNFINISHED_HEADER 3
/** Zeros with more behind them: the writer is to fill them. */
#define NXF_LOG_HOLE 4
/** An entry whose end is not there yet. */
#define NXF_LOG_TORN 5
/** Bytes that are no entry; perhaps they are being written. */
#define NXF_LOG_UNREADABLE 6
/** The next file is there and has no entry yet. */
#define NXF_LOG_NEXT_FILE_EMPTY 7
/** The next file names an entry as the last of this one that is not here yet. */
#define NXF_LOG_LAST_ENTRY_MISSING 8
/** The send limit is reached. */
#define NXF_LOG_SEND_LIMIT 9
/** The log ends more than one below the VLSN to begin with: the replica has what this log has not. */
#define NXF_LOG_AHEAD 10

/**
 * Feeds one replica: a run, which begins once, and ends when it is stopped, when the replica closes, or with an
 * error.
 */
typedef struct nxf_runner nxf_runner;

/**
 * Called for every acknowledgement in the order received, lower ones too, after the known VLSN has risen. On the
 * runner's thread, with no lock held: it must not block for long, nor throw. It may call every function that takes
 * the runner as a pointer to const; those that would wait for it are refused with NXF_E_INSIDE_CALLBACK. replica_name
 * is valid during the call.
 */
typedef void (*nxf_ack_callback)(void *context, const char *replica_name, uint64_t vlsn);

/**
 * Called once, when the run has ended, as the last callback: how is what nxf_runner_result() returns from now on. why
 * is NULL unless how is an error, and valid during the call only, as is replica_name. On the runner's thread; what an
 * ack callback must not do it must not do either.
 *
 * NXF_OK is three ends in one: nxf_runner_state() says which, and has its last answer already. To be asked, the runner
 * has to be the context, or in it:
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
 * An acknowledgement, or several merged into one because nobody took them in time. This struct is final: it never
 * grows.
 */
typedef struct nxf_ack {
    /** The VLSN acknowledged; of several, the highest. */
    uint64_t vlsn;
    /** How many more acknowledgements it stands for. */
    uint64_t merged;
} nxf_ack;

/**
 * What a runner is doing, for people and for monitoring. Consistent in itself, a moment old. Members may be added at
 * its end.
 */
typedef struct nxf_runner_stats_t {
    /** To be set to sizeof(nxf_runner_stats_t) by the caller: only so much is written. */
    size_t struct_size;
    /** NXF_RUN_... */
    uint32_t run_state;
    /** NXF_LOG_...: why there is nothing to read, if that is so. */
    uint32_t log_state;
    /** Where in the log that is, as an LSN. */
    uint64_t log_state_lsn;
    /** Whether it has lasted for longer than the settle time: no error, but worth a look. */
    bool is_stalled;
    /** Whether the system notifies of changes in the log; if not, it is looked at every now and then. */
    bool is_notified;
    /** A VLSN that was not found although later ones were; 0 for none. */
    uint64_t missing_vlsn;
    /** The VLSN that the run starts with. For a start at 0 the one that was found to be the lowest; 0 before that. */
    uint64_t start_vlsn;
    /** The highest VLSN read from the log; one below the start before the first. */
    uint64_t read_vlsn;
    /** The highest VLSN whose frame was wholly handed to the system; one below the start before the first. */
    uint64_t sent_vlsn;
    /** The highest VLSN acknowledged; 0 before the first. */
    uint64_t acked_vlsn;
    /** Frames wholly handed to the system. */
    uint64_t frames_sent;
    /** Bytes handed to the system. */
    uint64_t bytes_sent;
    /** Bytes read from the log that wait to be sent. */
    uint64_t queued_bytes;
    /** Acknowledgements received. */
    uint64_t acks_received;
    /** Acknowledgements merged into others because nobody polled. */
    uint64_t acks_merged;
    /** Entries of the log without a VLSN, which are not sent. */
    uint64_t entries_untagged;
    /** Entries that a rollback took back, which are not sent. */
    uint64_t entries_invisible;
    /** Entries below the start. */
    uint64_t entries_below;
    /** Entries that the log holds a second time, which are not sent again. */
    uint64_t entries_repeated;
    /** Entries whose VLSN field holds no VLSN although a flag announces one; they are not sent. */
    uint64_t entries_bad_vlsn;
    /** Entries that stood in the log before one of a lower VLSN. */
    uint64_t entries_early;
    /** Of these, how many are held back now. */
    uint64_t entries_held;
    /** Holes in log files that were crossed, because what is behind them proves that nothing is missing. */
    uint64_t holes_crossed;
    /** How often the log directory was listed. */
    uint64_t listings;
    /** How often the run went to sleep. */
    uint64_t sleeps;
    /** The longest time that the host took for one delivery of acknowledgements, in nanoseconds. */
    uint64_t callback_longest_ns;
    /**
     * The highest VLSN known to be in the log: seen by this run or by another over the same nxf_log, and be it held
     * back or behind the send limit, or found by nxf_log_vlsn_range(). A run with a slow replica does not read far
     * ahead, so there may be more: unread_bytes says how much. Of a source of the host's own, the highest read. One
     * below the start before any is known.
     */
    uint64_t last_known_vlsn;
    /**
     * How many entries the replica is behind: last_known_vlsn minus acked_vlsn or, where nothing at or above
     * start_vlsn is acknowledged yet, minus what is below it. Goes on after the run has ended, as all that follows
     * here in bytes, and tells what a new run will have to send.
     */
    uint64_t lag_entries;
    /** How many bytes the replica is behind: unacked_bytes and unread_bytes. */
    uint64_t lag_bytes;
    /**
     * Bytes of frames that were read from the log and not acknowledged: queued_bytes, and what was sent. Of what was
     * sent at once, and acknowledged in part, a part in proportion.
     */
    uint64_t unacked_bytes;
    /**
     * Bytes of log files that were not read yet, or are of entries held back: up to the end of the newest file, with
     * headers, holes and what is not sent. The file system is asked for it, by this function, and the first time for
     * each file that was not read yet. 0 before the first file was opened, for a source of the host's own, and where
     * the file system does not tell.
     */
    uint64_t unread_bytes;
    /**
     * For how many milliseconds the oldest frame that was sent and is not acknowledged has been out; 0 if there is
     * none. Never less than that, and more by a thirtieth of the longest time that frames have been out, at most. When
     * the run has ended, this and last_ack_ms are what they were then.
     */
    uint64_t oldest_unacked_ms;
    /** For how many milliseconds no acknowledgement has come; before the first, since the run began. */
    uint64_t last_ack_ms;
    /**
     * Whether the run goes on to its end only: it was stopped, or the log cannot be read on. What was read before that
     * is still sent in the second case, and acknowledgements are taken in both. False when it has ended.
     */
    bool is_ending;
} nxf_runner_stats_t;

/**
 * The name of an NXF_RUN_...: "NXF_RUN_STOPPED" ... A number that is none has the name "NXF_UNKNOWN". Never NULL;
 * valid for as long as the library is loaded. Any thread.
 */
const char *nxf_run_state_name(uint32_t run_state);

/** The name of an NXF_LOG_...: "NXF_LOG_AT_END" ... As nxf_run_state_name(). */
const char *nxf_log_state_name(uint32_t log_state);

/**
 * Makes a runner that will feed the replica of this name over channel, from start_vlsn on; 0: from the lowest VLSN
 * that the source holds without a hole. Nothing below start_vlsn is ever sent. replica_name is for callbacks and
 * messages, and is copied. Reads the options runner.* and ack.*.
 *
 * On NXF_OK the channel is the runner's, and its pointer must not be used any more; the runner is the caller's: to be
 * released with nxf_runner_free(). Otherwise the channel stays the caller's. NXF_CLOSED: the channel is closed, and
 * there is no runner.
 */
nxf_status nxf_runner_new(nxf_channel *channel, const char *replica_name, uint64_t start_vlsn,
                          const nxf_options *options, nxf_runner **runner, nxf_error **err);

/**
 * Has every acknowledgement handed to callback, instead of kept for nxf_runner_poll_acks(). Before the start only,
 * else NXF_E_WRONG_STATE. Takes the place of the one set before, whose context is dropped.
 *
 * On NXF_OK context is the library's: it goes to every call, and drop, which may be NULL, releases it when the last
 * call is over, at the latest when nxf_runner_free() returns. On an error it stays the caller's.
 */
nxf_status nxf_runner_set_ack_callback(nxf_runner *runner, nxf_ack_callback callback, void *context,
                                       nxf_drop_callback drop, nxf_error **err);

/**
 * Has callback called when the run has ended. Never for a runner that was not started. Before the start only. context
 * and drop as for nxf_runner_set_ack_callback().
 */
nxf_status nxf_runner_set_end_callback(nxf_runner *runner, nxf_end_callback callback, void *context,
                                       nxf_drop_callback drop, nxf_error **err);

/**
 * Starts the run on a thread of its own, whose stack may grow to the option runner.stack_bytes (8 MiB), and returns at
 * once. A runner starts once.
 *
 * On NXF_OK the scanner is the runner's, and its pointer must not be used any more; on an error it stays the
 * caller's, and nothing has started. NXF_E_WRONG_STATE: the runner was started or stopped before.
 */
nxf_status nxf_runner_start(nxf_runner *runner, nxf_scanner *scanner, nxf_error **err);

/**
 * Runs on the caller's thread until the run ends, and returns what nxf_runner_result() returns from then on. To have it
 * end, stop the runner: a thread that is cancelled (pthread_cancel) goes on until this returns, as in every function.
 *
 * The scanner is the runner's from the moment the run begins: that is, unless the status is NXF_E_INVALID_ARGUMENT,
 * NXF_E_WRONG_STATE or NXF_E_FORKED, which no run ends with.
 */
nxf_status nxf_runner_run(nxf_runner *runner, nxf_scanner *scanner, nxf_error **err);

/**
 * Takes up to capacity acknowledgements, in the order received, and writes their number to *count. Waits for the
 * first: timeout_ms 0 tries, -1 waits for as long as it takes. Any number of threads.
 *
 * NXF_OK: there are some. NXF_TIMEOUT: none came in time. NXF_CLOSED: the run has ended and all were taken
 * (nxf_runner_result() says how); then and on NXF_TIMEOUT *count is 0. With an ack callback set, acknowledgements go
 * there and never come here. NXF_E_INSIDE_CALLBACK: it would wait, inside a callback of this runner.
 */
nxf_status nxf_runner_poll_acks(const nxf_runner *runner, nxf_ack *acks, size_t capacity, int timeout_ms, size_t *count,
                                nxf_error **err);

/**
 * A descriptor that is readable while acknowledgements wait to be polled, or the run has ended. It belongs to the
 * runner: watch it with poll, select or epoll, and never read, write or close it. The same each time; valid until the
 * runner is freed. Any thread. NXF_E_OS: no descriptor could be made.
 */
nxf_status nxf_runner_event_fd(const nxf_runner *runner, int *fd, nxf_error **err);

/**
 * Waits until the replica has acknowledged vlsn or more: timeout_ms 0 tries, -1 waits for as long as it takes. Any
 * number of threads, also before the start.
 *
 * NXF_OK: it has. NXF_TIMEOUT: not in time. NXF_CLOSED: the run was closed before; or the error that it ended with.
 * A vlsn below the start, which this run never sends, is NXF_E_INVALID_ARGUMENT, as is 0. NXF_E_INSIDE_CALLBACK: it
 * would wait, inside a callback of this runner.
 */
nxf_status nxf_runner_wait_acked(const nxf_runner *runner, uint64_t vlsn, int timeout_ms, nxf_error **err);

/**
 * "There is more": nxf_log_notify() for the log that this runner reads, or, for a source of the host's own, has it
 * asked again. Any thread, cheap, never blocks. Fails for NULL and after a fork only.
 */
nxf_status nxf_runner_notify(const nxf_runner *runner);

/** The highest VLSN that the replica has acknowledged; 0 before the first, and for NULL. Never falls. Any thread. */
uint64_t nxf_runner_known_replica_vlsn(const nxf_runner *runner);

/**
 * What the run is doing, or how it ended: an NXF_RUN_...; NXF_RUN_NEW for NULL. What has ended stays as it is: inside
 * the end callback this is the last answer already. Any thread. Never waits.
 */
uint32_t nxf_runner_state(const nxf_runner *runner);

/**
 * The replica's name, as it was given to nxf_runner_new(). Valid until the runner is freed. "" for NULL. Any thread.
 */
const char *nxf_runner_replica_name(const nxf_runner *runner);

/**
 * Keeps a pointer for the host: to what it has for this replica, say. Nothing is done with it but to give it back.
 * NULL at first. Any thread, at any time, also inside a callback. Fails for NULL and after a fork only.
 */
nxf_status nxf_runner_set_user_pointer(const nxf_runner *runner, void *user);

/** The pointer that was kept last; NULL at first, and for NULL. Any thread. */
void *nxf_runner_user_pointer(const nxf_runner *runner);

/**
 * Writes the run's figures to *stats, as much as stats->struct_size says, which the caller has set to
 * sizeof(nxf_runner_stats_t). Any thread, before the start and after the end too. Waits for nothing, but for the file
 * system, which is asked for lengths if lag_bytes is among what is to be written.
 */
nxf_status nxf_runner_stats(const nxf_runner *runner, nxf_runner_stats_t *stats, nxf_error **err);

/**
 * Ends the run: what is queued is not sent any more, and the replica's last acknowledgements are still taken for the
 * option runner.linger_ms. Waits until that is over: timeout_ms 0 only begins it, -1 waits for as long as it takes.
 * Any thread, any number of times. A runner that is stopped before its start has ended, without an end callback, and
 * cannot be started.
 *
 * NXF_OK: the run has ended, no callback runs any more, and none starts. NXF_TIMEOUT: it is still ending.
 * NXF_E_INSIDE_CALLBACK: called from a callback of this runner, which it would wait for. With timeout_ms 0 it does
 * not wait, and can be called there, too.
 */
nxf_status nxf_runner_stop(const nxf_runner *runner, int timeout_ms, nxf_error **err);

/**
 * Ends count runs at once, as nxf_runner_stop() ends one: all are told to before any is waited for, so that it takes as
 * long as the slowest, and nxf_runner_free() has nothing left to wait for. One that has ended, never started or stands
 * there twice is no error, and NULL is passed over. They stay the caller's, each to be released.
 *
 * NXF_OK: all have ended, no callback of theirs runs any more, and none starts. NXF_TIMEOUT: some are still ending,
 * timeout_ms after the call. NXF_E_INSIDE_CALLBACK: called from a callback of one of them; then, and with NXF_E_FORKED
 * for one that the parent of this process made, none was told to end. With timeout_ms 0 it does not wait, and can be
 * called there, too.
 */
nxf_status nxf_runner_stop_all(nxf_runner *const *runners, size_t count, int timeout_ms, nxf_error **err);

/**
 * How the run ended. NXF_OK: it was stopped, or the replica closed the connection; nxf_runner_stats() says which.
 * NXF_AGAIN: it has not ended. Otherwise the error that it ended with, each time. Any thread.
 */
nxf_status nxf_runner_result(const nxf_runner *runner, nxf_error **err);

/**
 * Ends the run like nxf_runner_stop(runner, -1), and releases the runner. No other thread may use the runner any
 * more, but for one that is in nxf_runner_run(). NULL is fine. From inside a callback of this runner:
 * NXF_E_INSIDE_CALLBACK, and nothing is released. When it returns NXF_OK, channel and scanner are closed, no thread
 * of the run is left, and the callbacks' contexts have been dropped.
 */
nxf_status nxf_runner_free(nxf_runner *runner);

/* --- Trackers: what is known of a replica, for hosts that move the bytes themselves ------------------------------- */

/** Nothing has begun. */
#define NXF_FEEDER_IDLE 0
/** Agreeing where to start. */
#define NXF_FEEDER_HANDSHAKING 1
/** Frames and acknowledgements flow. */
#define NXF_FEEDER_STREAMING 2
/** It has ended. */
#define NXF_FEEDER_SHUTDOWN 3

/**
 * What a master remembers of one replica, for hosts that move the bytes themselves: plain arithmetic, which believes
 * what it is told. A runner needs none. Any thread.
 */
typedef struct nxf_feeder nxf_feeder;

/** Called with each message taken out of a tracker's queue; the message is valid during the call. It must not throw. */
typedef void (*nxf_message_callback)(void *context, const uint8_t *message, size_t len);

/**
 * Makes a tracker for the replica of this name, which is copied: idle, with nothing queued, sent or acknowledged.
 * Reads the options feeder.*. It is the caller's: to be released with nxf_feeder_free().
 */
nxf_status nxf_feeder_new(const char *replica_name, const nxf_options *options, nxf_feeder **feeder, nxf_error **err);

/** Its state, an NXF_FEEDER_...; NXF_FEEDER_IDLE for NULL. */
uint32_t nxf_feeder_state(const nxf_feeder *feeder);

/**
 * Sets the state, an NXF_FEEDER_...: any from any. That is no activity. NXF_E_INVALID_ARGUMENT: there is no such
 * state.
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
 * feeder.queue_bytes_max). NXF_E_NO_MEMORY, and nothing queued: there is no memory for it.
 */
nxf_status nxf_feeder_queue_entry(const nxf_feeder *feeder, uint64_t vlsn, uint8_t entry_type, const uint8_t *data,
                                  size_t len, nxf_error **err);

/**
 * Takes all messages that are queued now out of the queue, the oldest first, and hands each to callback, on this
 * thread. Their number goes to *count, which may be NULL. No lock is held during the calls: the callback may use the
 * tracker, and what it queues stays for the next time.
 */
nxf_status nxf_feeder_drain(const nxf_feeder *feeder, nxf_message_callback callback, void *context, size_t *count,
                            nxf_error **err);

/**
 * Notes an acknowledgement. A lower one than before is activity, and nothing else. Fails for NULL and after a fork
 * only.
 */
nxf_status nxf_feeder_record_ack(const nxf_feeder *feeder, uint64_t vlsn);

/** Notes activity of another kind. Fails for NULL and after a fork only. */
nxf_status nxf_feeder_touch(const nxf_feeder *feeder);

/**
 * Whether more than timeout_ms milliseconds have passed since the last activity: queueing, an acknowledgement, or a
 * touch. Always, if it is 0 or less; false for NULL.
 */
bool nxf_feeder_is_timed_out(const nxf_feeder *feeder, int timeout_ms);

/**
 * Writes a text to buf, NUL-terminated, that shows the replica's name, state, current and acknowledged VLSN and lag,
 * for people; its length without the NUL goes to *len. NXF_E_BUFFER_TOO_SMALL: *len says how long it is; buf may be
 * NULL if capacity is 0.
 */
nxf_status nxf_feeder_debug_text(const nxf_feeder *feeder, char *buf, size_t capacity, size_t *len, nxf_error **err);

/**
 * Writes the replica's name to buf, NUL-terminated; its length without the NUL goes to *len. NXF_E_BUFFER_TOO_SMALL:
 * *len says how long it is; buf may be NULL if capacity is 0.
 */
nxf_status nxf_feeder_replica_name(const nxf_feeder *feeder, char *buf, size_t capacity, size_t *len, nxf_error **err);

/** Releases a tracker, which no other thread may be using, and what it has queued. NULL is fine. */
void nxf_feeder_free(nxf_feeder *feeder);

/* --- The bytes of the protocol: for hosts that write the other end, and for tests --------------------------------- */

/** Length in bytes of a frame without its payload. */
#define NXF_FRAME_HEADER_LEN 17

/** Length in bytes of an acknowledgement. */
#define NXF_ACK_LEN 8

/**
 * Writes the frame of an entry to buf, and its length to *len: NXF_FRAME_HEADER_LEN bytes and the payload. Of the
 * entry its vlsn, entry_type and payload are read. It is the message that nxf_channel_send() takes; on a byte stream
 * its length, 4 bytes, little-endian, goes before it. NXF_E_BUFFER_TOO_SMALL: *len says what is needed; buf may be
 * NULL if capacity is 0. NXF_E_ENTRY_TOO_LARGE: no frame can hold it.
 */
nxf_status nxf_frame_encode(const nxf_entry *entry, uint8_t *buf, size_t capacity, size_t *len, nxf_error **err);

/**
 * Takes a frame apart and checks its lengths and its checksum. The payload of *entry points into the message, and is
 * valid for as long as that; its lsn is 0. NXF_E_PROTOCOL, with the fault in the error's message: it is no frame.
 */
nxf_status nxf_frame_decode(const uint8_t *message, size_t len, nxf_entry *entry, nxf_error **err);

/** Writes the acknowledgement of a VLSN to buf: NXF_ACK_LEN bytes. NXF_E_BUFFER_TOO_SMALL: capacity is less. */
nxf_status nxf_ack_encode(uint64_t vlsn, uint8_t *buf, size_t capacity, nxf_error **err);

/**
 * Reads the VLSN of an acknowledgement. Bytes behind the first NXF_ACK_LEN are ignored. NXF_E_PROTOCOL: it is
 * shorter, which the protocol says is to be ignored.
 */
nxf_status nxf_ack_decode(const uint8_t *message, size_t len, uint64_t *vlsn, nxf_error **err);

#ifdef __cplusplus
}
#endif

#endif /* NOXU_FEEDER_H */
