/**
 * @file
 * A mock replica and a log maker, for the tests of programs that use noxu-feeder.
 *
 * UNSTABLE: unlike noxu_feeder.h, what is in here may change with every release. It is for tests, and for nothing
 * that is shipped.
 *
 * All of it is in this header: nothing but noxu-feeder, POSIX and pthreads is linked (CMake: NoxuFeeder::Testing
 * brings the header and the threads). C11 or C++17, in any number of source files of one program. A compiler in
 * strict mode (-std=c11) hides POSIX: define _POSIX_C_SOURCE as 200809L before anything is included, or use -std=gnu11.
 *
 * Errors. What can fail returns a text that says what happened, and NULL when nothing did. The text is valid until
 * the same thread makes another call that fails. Two ways to use it:
 *
 *     const char *error = nxft_replica_wait_vlsn(replica, 100, 5000);   // for the assertions of your framework
 *     NXFT_MUST(nxft_replica_wait_vlsn(replica, 100, 5000));            // prints the text and exits with 1
 *
 * Time. A timeout_ms of 0 tries, -1 waits for as long as it takes. Nothing in here sleeps: everything waits for what
 * happens, on a condition or on a descriptor.
 *
 * Threads. A replica works on a thread of its own. The functions may be called by any thread, new, start and free by
 * one at a time. A log is for one thread at a time; it may be read meanwhile.
 */

#ifndef NOXU_FEEDER_TEST_H
#define NOXU_FEEDER_TEST_H

#include "noxu_feeder.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#ifndef CLOCK_MONOTONIC
#error "noxu_feeder_test.h needs POSIX: define _POSIX_C_SOURCE as 200809L before the first #include, or use -std=gnu11"
#endif

/* ---------------------------------------------------------------------------------------------------------------
 * What there is
 * ------------------------------------------------------------------------------------------------------------ */

/**
 * Ends the program with status 1, after printing file, line, call and text to standard error, unless the call
 * succeeds. For tests without a framework.
 */
#define NXFT_MUST(call) nxft_x_must(call, #call, __FILE__, __LINE__)

/**
 * A replica that believes nothing: it accepts one feeder, takes every frame apart, checks that it is whole and that
 * its VLSN is the next, and acknowledges it as it is told to. When the feeder breaks the protocol it closes the
 * connection, and every wait returns the fault.
 *
 * It has no log and looks into no payload, and takes any entry type; a real replica drops the connection for types
 * that it does not know.
 */
typedef struct nxft_replica nxft_replica;

/** A frame that a replica has received. */
typedef struct nxft_frame {
    /** Its VLSN. */
    uint64_t vlsn;
    /** The length of the payload in bytes. */
    size_t payload_len;
    /** The payload, with NXFT_KEEP_PAYLOADS; otherwise NULL. Valid until the replica is freed. */
    const uint8_t *payload;
    /** The CRC-32 of the payload. */
    uint32_t payload_crc;
    /** The type of the entry. */
    uint8_t entry_type;
} nxft_frame;

/** A replica counts frames and keeps none. What it does unless told otherwise. */
#define NXFT_KEEP_NOTHING 0
/** A replica keeps all frames without their payloads. */
#define NXFT_KEEP_FRAMES 1
/** A replica keeps all frames with their payloads. */
#define NXFT_KEEP_PAYLOADS 2

/* --- a replica: making, setting, starting --- */

/** Makes a replica that does nothing yet. To be released with nxft_replica_free(). */
static inline const char *nxft_replica_new(nxft_replica **replica);

/**
 * Closes the connection, if there still is one, ends the thread, and releases the replica and the frames that it
 * kept. NULL is fine.
 */
static inline void nxft_replica_free(nxft_replica *replica);

/**
 * From now on every n-th frame is acknowledged, counted from the first of the connection: 1 each (what it does
 * unless told otherwise), 0 none. At any time.
 */
static inline void nxft_replica_ack_every(nxft_replica *replica, uint64_t n);

/**
 * From now on the replica waits for so long before each ack, and takes no frame meanwhile: as one with a slow disk.
 * At any time; an ack that is being delayed already is not affected.
 */
static inline void nxft_replica_ack_delay(nxft_replica *replica, int delay_ms);

/** From now on it keeps what it receives: NXFT_KEEP_... At any time. */
static inline void nxft_replica_keep(nxft_replica *replica, int what);

/**
 * The VLSN that the first frame must have, as a real replica wants 1. 0, which it is unless told otherwise: any.
 * Before the start.
 */
static inline void nxft_replica_first_vlsn(nxft_replica *replica, uint64_t vlsn);

/**
 * The size of the socket's buffers, for tests that want to fill them: 0, which it is unless told otherwise, leaves
 * them to the system (several megabytes). Before the start.
 */
static inline void nxft_replica_buffer_bytes(nxft_replica *replica, int bytes);

/** Starts: listens on 127.0.0.1, on a port that goes to *port, for nxf_channel_tcp_connect(). Accepts one feeder. */
static inline const char *nxft_replica_listen(nxft_replica *replica, uint16_t *port);

/**
 * Starts on one end of a pair of Unix sockets. The other goes to *fd, and is the caller's: for
 * nxf_channel_from_fd(), say.
 */
static inline const char *nxft_replica_pair(nxft_replica *replica, int *fd);

/** Starts on a connected stream socket, which is the replica's from now on, if this succeeds. */
static inline const char *nxft_replica_attach(nxft_replica *replica, int fd);

/* --- a replica: what it is made to do. All need a connection --- */

/** Acknowledges this VLSN, whatever was received. */
static inline const char *nxft_replica_send_ack(nxft_replica *replica, uint64_t vlsn);

/** Sends an ack that is too short, which feeders ignore. */
static inline const char *nxft_replica_send_short_ack(nxft_replica *replica);

/**
 * Acknowledges the highest VLSN that there can be (2^63 - 1), which nobody has sent. The run ends with
 * NXF_E_ACK_BEYOND_SENT, unless the option ack.beyond_sent is "accept".
 */
static inline const char *nxft_replica_send_ack_beyond_sent(nxft_replica *replica);

/** Sends what a peer answers that speaks another protocol. The run ends with NXF_E_PROTOCOL. */
static inline const char *nxft_replica_send_garbage(nxft_replica *replica);

/** Announces a message of one byte above 64 MiB. The run ends with NXF_E_PROTOCOL. */
static inline const char *nxft_replica_send_oversized_length(nxft_replica *replica);

/** Sends a message of these bytes: their length goes before them. */
static inline const char *nxft_replica_send_message(nxft_replica *replica, const void *bytes, size_t len);

/** Sends these bytes, and nothing else. */
static inline const char *nxft_replica_send_bytes(nxft_replica *replica, const void *bytes, size_t len);

/**
 * Takes no frame any more: when it returns, no other is counted. (The last one may still be acknowledged.) Once the
 * buffers are full the run ends with NXF_E_WRITE_TIMEOUT, after the option runner.write_timeout_ms. While nothing is
 * read it is not noticed either that the feeder closes.
 */
static inline void nxft_replica_stop_reading(nxft_replica *replica);

/** Takes frames again. */
static inline void nxft_replica_resume_reading(nxft_replica *replica);

/**
 * Closes the connection in order. What the feeder still sends is read, so that it is no reset, and neither counted
 * nor checked. The run ends with NXF_OK, and its run_state is NXF_RUN_CLOSED_BY_REPLICA.
 */
static inline const char *nxft_replica_close(nxft_replica *replica);

/**
 * Breaks the connection off, by a reset; when this returns it is gone. TCP only. The run ends with NXF_OK, and its
 * run_state is NXF_RUN_RESET_BY_REPLICA.
 */
static inline const char *nxft_replica_reset(nxft_replica *replica);

/* --- a replica: what has happened --- */

/** Waits until a feeder has connected. */
static inline const char *nxft_replica_wait_connected(nxft_replica *replica, int timeout_ms);

/**
 * Waits until the frame of this VLSN was received. Also returns when that cannot come true any more: the connection
 * has ended, or the feeder has broken the protocol, before or behind it.
 */
static inline const char *nxft_replica_wait_vlsn(nxft_replica *replica, uint64_t vlsn, int timeout_ms);

/** Waits until the connection has ended, by either side, and the feeder has kept to the protocol all the time. */
static inline const char *nxft_replica_wait_closed(nxft_replica *replica, int timeout_ms);

/** How the feeder has broken the protocol; NULL: it has not. Valid until the replica is freed. */
static inline const char *nxft_replica_fault(nxft_replica *replica);

/** How many frames were received. */
static inline uint64_t nxft_replica_count(nxft_replica *replica);

/** The VLSN of the last frame received; 0 before the first. */
static inline uint64_t nxft_replica_last_vlsn(nxft_replica *replica);

/** How many acks of frames were sent; those sent on command do not count. */
static inline uint64_t nxft_replica_acks_sent(nxft_replica *replica);

/** The frame that was kept as number at, from 0. */
static inline const char *nxft_replica_frame(nxft_replica *replica, size_t at, nxft_frame *frame);

/* --- a log --- */

/**
 * Writes a log as the database does, in files of version 3: to be fed, also while it is being written. Every append is
 * one write, and is there for readers when the function returns.
 */
typedef struct nxft_log nxft_log;

/**
 * Makes a log without a file, in the directory dir, which has to be there; its files stay. dir NULL: in a directory of
 * its own, in $TMPDIR or /tmp, which is removed with the log. To be released with nxft_log_free().
 */
static inline const char *nxft_log_new(const char *dir, nxft_log **log);

/** Releases a log, and removes the directory that was made for it. NULL is fine. */
static inline void nxft_log_free(nxft_log *log);

/** The directory, for nxf_log_open(). Valid until the log is freed. */
static inline const char *nxft_log_dir(const nxft_log *log);

/** Begins the next file; the first is 00000000.ndb, and is begun by the first append if not before. */
static inline const char *nxft_log_next_file(nxft_log *log);

/**
 * Appends a replicated entry, with the next VLSN (the first is 1). lsn, which may be NULL, receives its LSN. An
 * entry type that replicas know: 10, an insert.
 */
static inline const char *nxft_log_append(nxft_log *log, uint8_t entry_type, const void *payload, size_t len,
                                          uint64_t *lsn);

/** Appends count inserts, each with a payload of payload_len bytes, which nxft_log_payload() knows. */
static inline const char *nxft_log_append_many(nxft_log *log, uint64_t count, size_t payload_len);

/** Appends an entry without a VLSN, as the database's own housekeeping does. It is not fed. */
static inline const char *nxft_log_append_untagged(nxft_log *log, size_t payload_len);

/** Gives the next entry this VLSN: to begin above 1, or to leave a gap. */
static inline void nxft_log_set_next_vlsn(nxft_log *log, uint64_t vlsn);

/** The VLSN of the last entry appended; 0 before the first. */
static inline uint64_t nxft_log_last_vlsn(const nxft_log *log);

/** The LSN behind the last entry: a send limit, for nxf_log_set_send_limit(), that lets all of them through. */
static inline uint64_t nxft_log_end_lsn(const nxft_log *log);

/** The payload that nxft_log_append_many() gives to the entry of a VLSN. */
static inline void nxft_log_payload(uint64_t vlsn, void *payload, size_t len);

/** The CRC-32 (IEEE, as in zlib) of some bytes: that of log, frames and nxft_frame. */
static inline uint32_t nxft_crc32(const void *bytes, size_t len);

/* ---------------------------------------------------------------------------------------------------------------
 * How it is done. Nothing below is for use: not the names with nxft_x_, not the members of the structs.
 * ------------------------------------------------------------------------------------------------------------ */

/** @cond */

#ifdef __cplusplus
#define NXFT_X_THREAD_LOCAL thread_local
#else
#define NXFT_X_THREAD_LOCAL _Thread_local
#endif

#if defined(__GNUC__)
#define NXFT_X_FORMAT __attribute__((format(printf, 1, 2)))
#else
#define NXFT_X_FORMAT
#endif

/* The clock of deadlines: not that of the wall, where the system lets conditions wait for another. */
#if defined(__APPLE__)
#define NXFT_X_CLOCK CLOCK_REALTIME
#else
#define NXFT_X_CLOCK CLOCK_MONOTONIC
#endif

#ifdef MSG_NOSIGNAL
#define NXFT_X_NO_SIGNAL MSG_NOSIGNAL
#else
#define NXFT_X_NO_SIGNAL 0
#endif

#define NXFT_X_MESSAGE_LEN_MAX ((size_t)64 * 1024 * 1024)
#define NXFT_X_PREFIX_LEN ((size_t)4)
/* How long a feeder may leave what a command sends unread. */
#define NXFT_X_SEND_PATIENCE_MS 10000

struct nxft_replica {
    /* Held while a message is sent, so that none gets into another; and while fd changes. Taken before lock. */
    pthread_mutex_t sending;
    /* Held for everything below but what is the thread's own. */
    pthread_mutex_t lock;
    pthread_cond_t changed;

    pthread_t thread;
    bool is_started;
    /* A byte for the thread to notice that something was commanded. */
    int wake[2];
    int listener;
    int fd;

    uint64_t ack_every;
    int ack_delay_ms;
    int keep;
    uint64_t first_vlsn;
    int buffer_bytes;

    bool is_reading;
    bool is_closing;
    bool is_resetting;
    bool is_quitting;

    bool is_connected;
    bool has_ended;
    uint64_t count;
    uint64_t last_vlsn;
    uint64_t acks_sent;
    nxft_frame *frames;
    size_t frames_len, frames_room;
    char fault[300];

    /* The thread's own: what was received and not taken yet. */
    uint8_t *bytes;
    size_t bytes_len, bytes_room;
};

struct nxft_log {
    char *dir;
    bool is_dir_made;
    /* The file that is appended to; -1 before the first. */
    int fd;
    uint32_t file;
    uint32_t end;
    /* Where the last entry in it begins; 0: there is none. */
    uint32_t last_entry;
    uint64_t next_vlsn;
    uint64_t last_vlsn;
};

/* --- errors, numbers, time --- */

static inline const char *nxft_x_error(const char *format, ...) NXFT_X_FORMAT;

static inline const char *nxft_x_error(const char *format, ...)
{
    static NXFT_X_THREAD_LOCAL char text[512];
    va_list values;
    va_start(values, format);
    vsnprintf(text, sizeof text, format, values);
    va_end(values);
    return text;
}

static inline void nxft_x_must(const char *error, const char *call, const char *file, int line)
{
    if (error == NULL)
        return;
    fprintf(stderr, "%s:%d: %s: %s\n", file, line, call, error);
    exit(1);
}

static inline void nxft_x_put_le(uint8_t *at, uint64_t value, size_t len)
{
    for (size_t i = 0; i < len; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

static inline void nxft_x_put_be(uint8_t *at, uint64_t value, size_t len)
{
    for (size_t i = 0; i < len; i++)
        at[i] = (uint8_t)(value >> (8 * (len - 1 - i)));
}

static inline uint32_t nxft_x_u32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static inline uint32_t nxft_crc32(const void *bytes, size_t len)
{
    /* Of every half byte: small, and quick enough for tests. */
    static const uint32_t halves[16] = { 0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4,
                                         0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
                                         0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c };
    const uint8_t *at = (const uint8_t *)bytes;
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < len; i++) {
        crc ^= at[i];
        crc = halves[crc & 15] ^ crc >> 4;
        crc = halves[crc & 15] ^ crc >> 4;
    }
    return ~crc;
}

static inline struct timespec nxft_x_deadline(int timeout_ms)
{
    struct timespec at;
    clock_gettime(NXFT_X_CLOCK, &at);
    at.tv_sec += timeout_ms / 1000;
    at.tv_nsec += (timeout_ms % 1000) * 1000000L;
    if (at.tv_nsec >= 1000000000L) {
        at.tv_sec += 1;
        at.tv_nsec -= 1000000000L;
    }
    return at;
}

/* Locked. Waits until is_so, and says whether it is. */
static inline bool nxft_x_wait(nxft_replica *replica, bool (*is_so)(const nxft_replica *, uint64_t), uint64_t value,
                               int timeout_ms)
{
    const struct timespec deadline = nxft_x_deadline(timeout_ms < 0 ? 0 : timeout_ms);
    int result = 0;
    while (!is_so(replica, value) && result == 0) {
        if (timeout_ms < 0)
            pthread_cond_wait(&replica->changed, &replica->lock);
        else
            result = pthread_cond_timedwait(&replica->changed, &replica->lock, &deadline);
    }
    return is_so(replica, value);
}

static inline void nxft_x_changed(nxft_replica *replica)
{
    pthread_cond_broadcast(&replica->changed);
    pthread_mutex_unlock(&replica->lock);
}

/* Locked; unlocks. For what the thread has to notice. */
static inline void nxft_x_commanded(nxft_replica *replica)
{
    /* A full pipe is as good as a byte more in it. */
    const ssize_t written = write(replica->wake[1], "", 1);
    (void)written;
    nxft_x_changed(replica);
}

/* --- sockets --- */

static inline bool nxft_x_set_flags(int fd)
{
    const int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0 && fcntl(fd, F_SETFD, FD_CLOEXEC) == 0;
}

static inline bool nxft_x_would_block(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

static inline void nxft_x_limit_buffers(int fd, int bytes)
{
    if (bytes > 0) {
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    }
}

static inline bool nxft_x_is_tcp(int fd)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    return getsockname(fd, (struct sockaddr *)&address, &len) == 0
        && (address.ss_family == AF_INET || address.ss_family == AF_INET6);
}

static inline void nxft_x_connected(nxft_replica *replica, int fd)
{
    const int on = 1;
#ifdef SO_NOSIGPIPE
    setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof on);
#endif
    if (nxft_x_is_tcp(fd))
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    pthread_mutex_lock(&replica->lock);
    replica->fd = fd;
    replica->is_connected = true;
    nxft_x_changed(replica);
}

static inline int nxft_x_close(int fd)
{
    return fd >= 0 ? close(fd) : 0;
}

/* --- the replica's thread --- */

/* Waits for the descriptor, if it is one, or for a command. */
static inline bool nxft_x_is_ready(nxft_replica *replica, int fd, short what)
{
    struct pollfd both[2];
    char commands[64];
    both[0].fd = replica->wake[0];
    both[0].events = POLLIN;
    both[1].fd = fd;
    both[1].events = what;
    both[0].revents = both[1].revents = 0;
    if (poll(both, 2, -1) < 0)
        return false;
    if (both[0].revents != 0) {
        while (read(replica->wake[0], commands, sizeof commands) > 0)
            ;
    }
    return both[1].revents != 0;
}

/* What was commanded. */
static inline bool nxft_x_is_to_leave(nxft_replica *replica)
{
    pthread_mutex_lock(&replica->lock);
    const bool is_so = replica->is_quitting || replica->is_resetting;
    pthread_mutex_unlock(&replica->lock);
    return is_so;
}

static inline bool nxft_x_is_to_drain(nxft_replica *replica)
{
    pthread_mutex_lock(&replica->lock);
    const bool is_so = replica->is_closing;
    pthread_mutex_unlock(&replica->lock);
    return is_so;
}

static inline bool nxft_x_is_to_take(nxft_replica *replica)
{
    pthread_mutex_lock(&replica->lock);
    const bool is_so =
        replica->is_reading && !replica->is_closing && !replica->is_quitting && !replica->is_resetting;
    pthread_mutex_unlock(&replica->lock);
    return is_so;
}

/* Sends all of it. For a command waits only so long; for the thread, until it is commanded to do something else. */
static inline const char *nxft_x_send(nxft_replica *replica, const uint8_t *bytes, size_t len, bool is_command)
{
    const char *error = NULL;
    pthread_mutex_lock(&replica->sending);
    pthread_mutex_lock(&replica->lock);
    const int fd = replica->is_closing ? -1 : replica->fd;
    pthread_mutex_unlock(&replica->lock);
    if (fd < 0)
        error = nxft_x_error("the replica cannot send: it is not connected");
    while (error == NULL && len > 0) {
        const ssize_t sent = send(fd, bytes, len, NXFT_X_NO_SIGNAL);
        if (sent >= 0) {
            bytes += sent;
            len -= (size_t)sent;
        } else if (!nxft_x_would_block()) {
            error = nxft_x_error("the replica cannot send: %s", strerror(errno));
        } else if (is_command) {
            struct pollfd room;
            room.fd = fd;
            room.events = POLLOUT;
            if (poll(&room, 1, NXFT_X_SEND_PATIENCE_MS) == 0)
                error = nxft_x_error("the replica cannot send: for %d ms the feeder has taken nothing",
                                     NXFT_X_SEND_PATIENCE_MS);
        } else if (!nxft_x_is_ready(replica, fd, POLLOUT)
                   && (nxft_x_is_to_leave(replica) || nxft_x_is_to_drain(replica))) {
            error = nxft_x_error("the replica cannot send: it is to close");
        }
    }
    pthread_mutex_unlock(&replica->sending);
    return error;
}

/* Says how the feeder has broken the protocol, and begins to close. Returns false. */
static inline bool nxft_x_fault(nxft_replica *replica, const char *fault)
{
    pthread_mutex_lock(&replica->lock);
    if (replica->fault[0] == '\0')
        snprintf(replica->fault, sizeof replica->fault, "%s, behind %llu frames, the last of VLSN %llu", fault,
                 (unsigned long long)replica->count, (unsigned long long)replica->last_vlsn);
    replica->is_closing = true;
    shutdown(replica->fd, SHUT_WR);
    nxft_x_changed(replica);
    return false;
}

/* Locked. */
static inline bool nxft_x_keep(nxft_replica *replica, const nxf_entry *entry, uint32_t crc)
{
    nxft_frame frame;
    uint8_t *payload = NULL;
    if (replica->frames_len == replica->frames_room) {
        const size_t room = replica->frames_room * 2 + 64;
        nxft_frame *frames = (nxft_frame *)realloc(replica->frames, room * sizeof *frames);
        if (frames == NULL)
            return false;
        replica->frames = frames;
        replica->frames_room = room;
    }
    if (replica->keep == NXFT_KEEP_PAYLOADS) {
        payload = (uint8_t *)malloc(entry->payload_len + 1);
        if (payload == NULL)
            return false;
        if (entry->payload_len > 0)
            memcpy(payload, entry->payload, entry->payload_len);
    }
    frame.vlsn = entry->vlsn;
    frame.payload_len = entry->payload_len;
    frame.payload = payload;
    frame.payload_crc = crc;
    frame.entry_type = entry->entry_type;
    replica->frames[replica->frames_len++] = frame;
    return true;
}

static inline bool nxft_x_is_to_hurry(const nxft_replica *replica, uint64_t unused)
{
    (void)unused;
    return replica->is_quitting || replica->is_resetting || replica->is_closing;
}

static inline void nxft_x_ack(nxft_replica *replica, uint64_t vlsn)
{
    uint8_t ack[NXFT_X_PREFIX_LEN + NXF_ACK_LEN];
    pthread_mutex_lock(&replica->lock);
    const bool is_wanted = replica->ack_every > 0 && replica->count % replica->ack_every == 0;
    if (is_wanted && replica->ack_delay_ms > 0)
        nxft_x_wait(replica, nxft_x_is_to_hurry, 0, replica->ack_delay_ms);
    pthread_mutex_unlock(&replica->lock);
    nxft_x_put_le(ack, NXF_ACK_LEN, NXFT_X_PREFIX_LEN);
    nxft_x_put_le(ack + NXFT_X_PREFIX_LEN, vlsn, NXF_ACK_LEN);
    /* Counted before it is sent: who has the ack sees it counted. */
    if (is_wanted) {
        pthread_mutex_lock(&replica->lock);
        replica->acks_sent += 1;
        nxft_x_changed(replica);
    }
    /* That it cannot be sent is no fault: the feeder may close when it likes. */
    if (is_wanted && nxft_x_send(replica, ack, sizeof ack, false) != NULL) {
        pthread_mutex_lock(&replica->lock);
        replica->acks_sent -= 1;
        nxft_x_changed(replica);
    }
}

/* Checks a frame and counts it. */
static inline bool nxft_x_take(nxft_replica *replica, const uint8_t *message, size_t len)
{
    nxf_entry entry;
    nxf_error *err = NULL;
    bool is_kept = true;
    if (nxf_frame_decode(message, len, &entry, &err) != NXF_OK) {
        nxft_x_fault(replica, nxf_error_message(err));
        nxf_error_free(err);
        return false;
    }
    pthread_mutex_lock(&replica->lock);
    const uint64_t next = replica->count > 0 ? replica->last_vlsn + 1 : replica->first_vlsn;
    if (entry.vlsn == 0 || (next > 0 && entry.vlsn != next)) {
        pthread_mutex_unlock(&replica->lock);
        return nxft_x_fault(replica, nxft_x_error("a frame of VLSN %llu where %llu was to come",
                                                  (unsigned long long)entry.vlsn, (unsigned long long)next));
    }
    if (replica->keep != NXFT_KEEP_NOTHING)
        is_kept = nxft_x_keep(replica, &entry, nxft_x_u32(message + 13));
    replica->last_vlsn = entry.vlsn;
    replica->count += 1;
    nxft_x_changed(replica);
    if (!is_kept)
        return nxft_x_fault(replica, "the replica has no memory to keep a frame");
    nxft_x_ack(replica, entry.vlsn);
    return true;
}

/* Takes the whole frames that were received. */
static inline void nxft_x_take_all(nxft_replica *replica)
{
    size_t begin = 0;
    while (replica->bytes_len - begin >= NXFT_X_PREFIX_LEN && nxft_x_is_to_take(replica)) {
        const size_t len = nxft_x_u32(replica->bytes + begin);
        if (len > NXFT_X_MESSAGE_LEN_MAX) {
            nxft_x_fault(replica, nxft_x_error("a message of %zu bytes, more than 64 MiB", len));
            break;
        }
        if (replica->bytes_len - begin - NXFT_X_PREFIX_LEN < len
            || !nxft_x_take(replica, replica->bytes + begin + NXFT_X_PREFIX_LEN, len))
            break;
        begin += NXFT_X_PREFIX_LEN + len;
    }
    replica->bytes_len -= begin;
    if (begin > 0)
        memmove(replica->bytes, replica->bytes + begin, replica->bytes_len);
}

/* False: nothing more will come. */
static inline bool nxft_x_receive(nxft_replica *replica, bool is_draining)
{
    const size_t most = (size_t)64 * 1024;
    if (is_draining)
        replica->bytes_len = 0;
    if (replica->bytes_room < replica->bytes_len + most) {
        const size_t room = replica->bytes_room * 2 + most;
        uint8_t *bytes = (uint8_t *)realloc(replica->bytes, room);
        if (bytes == NULL)
            return nxft_x_fault(replica, "the replica has no memory to receive into");
        replica->bytes = bytes;
        replica->bytes_room = room;
    }
    const ssize_t len = recv(replica->fd, replica->bytes + replica->bytes_len, most, 0);
    if (len > 0 && !is_draining)
        replica->bytes_len += (size_t)len;
    return len > 0 || (len < 0 && nxft_x_would_block());
}

static inline bool nxft_x_accept(nxft_replica *replica)
{
    while (replica->fd < 0 && !nxft_x_is_to_leave(replica)) {
        if (nxft_x_is_ready(replica, replica->listener, POLLIN)) {
            const int fd = accept(replica->listener, NULL, NULL);
            if (fd >= 0 && nxft_x_set_flags(fd))
                nxft_x_connected(replica, fd);
            else
                nxft_x_close(fd);
        }
    }
    /* One feeder and no other: whoever comes next is refused. */
    nxft_x_close(replica->listener);
    replica->listener = -1;
    return replica->fd >= 0;
}

static inline void nxft_x_end(nxft_replica *replica)
{
    pthread_mutex_lock(&replica->sending);
    pthread_mutex_lock(&replica->lock);
    if (replica->is_resetting) {
        struct linger at_once;
        at_once.l_onoff = 1;
        at_once.l_linger = 0;
        setsockopt(replica->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    }
    nxft_x_close(replica->fd);
    replica->fd = -1;
    replica->has_ended = true;
    nxft_x_changed(replica);
    pthread_mutex_unlock(&replica->sending);
}

static inline void *nxft_x_run(void *context)
{
    nxft_replica *replica = (nxft_replica *)context;
    bool goes_on = nxft_x_accept(replica);
    while (goes_on && !nxft_x_is_to_leave(replica)) {
        nxft_x_take_all(replica);
        const bool is_draining = nxft_x_is_to_drain(replica);
        const bool is_taking = nxft_x_is_to_take(replica);
        if (nxft_x_is_ready(replica, is_draining || is_taking ? replica->fd : -1, POLLIN))
            goes_on = nxft_x_receive(replica, is_draining);
    }
    nxft_x_end(replica);
    return NULL;
}

/* --- the replica, as seen from outside --- */

static inline const char *nxft_replica_new(nxft_replica **replica)
{
    nxft_replica *made = (nxft_replica *)calloc(1, sizeof *made);
    pthread_condattr_t attributes;
    *replica = NULL;
    if (made == NULL)
        return nxft_x_error("no memory for a replica");
    made->listener = made->fd = -1;
    made->ack_every = 1;
    made->is_reading = true;
    if (pipe(made->wake) != 0) {
        free(made);
        return nxft_x_error("no pipe for a replica: %s", strerror(errno));
    }
    nxft_x_set_flags(made->wake[0]);
    nxft_x_set_flags(made->wake[1]);
    pthread_mutex_init(&made->sending, NULL);
    pthread_mutex_init(&made->lock, NULL);
    pthread_condattr_init(&attributes);
#if !defined(__APPLE__)
    pthread_condattr_setclock(&attributes, NXFT_X_CLOCK);
#endif
    pthread_cond_init(&made->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    *replica = made;
    return NULL;
}

static inline void nxft_replica_free(nxft_replica *replica)
{
    if (replica == NULL)
        return;
    if (replica->is_started) {
        pthread_mutex_lock(&replica->lock);
        replica->is_quitting = true;
        nxft_x_commanded(replica);
        pthread_join(replica->thread, NULL);
    }
    close(replica->wake[0]);
    close(replica->wake[1]);
    pthread_cond_destroy(&replica->changed);
    pthread_mutex_destroy(&replica->lock);
    pthread_mutex_destroy(&replica->sending);
    for (size_t at = 0; at < replica->frames_len; at++)
        free((void *)(uintptr_t)replica->frames[at].payload);
    free(replica->frames);
    free(replica->bytes);
    free(replica);
}

static inline void nxft_replica_ack_every(nxft_replica *replica, uint64_t n)
{
    pthread_mutex_lock(&replica->lock);
    replica->ack_every = n;
    pthread_mutex_unlock(&replica->lock);
}

static inline void nxft_replica_ack_delay(nxft_replica *replica, int delay_ms)
{
    pthread_mutex_lock(&replica->lock);
    replica->ack_delay_ms = delay_ms;
    pthread_mutex_unlock(&replica->lock);
}

static inline void nxft_replica_keep(nxft_replica *replica, int what)
{
    pthread_mutex_lock(&replica->lock);
    replica->keep = what;
    pthread_mutex_unlock(&replica->lock);
}

static inline void nxft_replica_first_vlsn(nxft_replica *replica, uint64_t vlsn)
{
    pthread_mutex_lock(&replica->lock);
    replica->first_vlsn = vlsn;
    pthread_mutex_unlock(&replica->lock);
}

static inline void nxft_replica_buffer_bytes(nxft_replica *replica, int bytes)
{
    pthread_mutex_lock(&replica->lock);
    replica->buffer_bytes = bytes;
    pthread_mutex_unlock(&replica->lock);
}

static inline const char *nxft_x_start(nxft_replica *replica)
{
    const int result = pthread_create(&replica->thread, NULL, nxft_x_run, replica);
    if (result != 0)
        return nxft_x_error("no thread for a replica: %s", strerror(result));
    replica->is_started = true;
    return NULL;
}

static inline const char *nxft_replica_listen(nxft_replica *replica, uint16_t *port)
{
    struct sockaddr_in address;
    socklen_t len = sizeof address;
    const char *error = NULL;
    *port = 0;
    if (replica->is_started)
        return nxft_x_error("the replica was started before");
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int listener = socket(AF_INET, SOCK_STREAM, 0);
    /* What is accepted inherits the buffers: they have to be set before there is a connection. */
    nxft_x_limit_buffers(listener, replica->buffer_bytes);
    if (listener < 0 || !nxft_x_set_flags(listener) || bind(listener, (struct sockaddr *)&address, len) != 0
        || listen(listener, 1) != 0 || getsockname(listener, (struct sockaddr *)&address, &len) != 0) {
        error = nxft_x_error("the replica cannot listen: %s", strerror(errno));
    } else {
        replica->listener = listener;
        *port = ntohs(address.sin_port);
        error = nxft_x_start(replica);
    }
    if (error != NULL) {
        replica->listener = -1;
        nxft_x_close(listener);
    }
    return error;
}

static inline const char *nxft_replica_attach(nxft_replica *replica, int fd)
{
    int type = 0;
    socklen_t len = sizeof type;
    struct sockaddr_storage peer;
    socklen_t peer_len = sizeof peer;
    if (replica->is_started)
        return nxft_x_error("the replica was started before");
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) != 0 || type != SOCK_STREAM
        || getpeername(fd, (struct sockaddr *)&peer, &peer_len) != 0)
        return nxft_x_error("descriptor %d is no connected stream socket", fd);
    if (!nxft_x_set_flags(fd))
        return nxft_x_error("descriptor %d cannot be made non-blocking: %s", fd, strerror(errno));
    nxft_x_limit_buffers(fd, replica->buffer_bytes);
    nxft_x_connected(replica, fd);
    const char *error = nxft_x_start(replica);
    if (error != NULL) {
        replica->fd = -1;
        replica->is_connected = false;
    }
    return error;
}

static inline const char *nxft_replica_pair(nxft_replica *replica, int *fd)
{
    int fds[2];
    *fd = -1;
    if (replica->is_started)
        return nxft_x_error("the replica was started before");
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) != 0)
        return nxft_x_error("no pair of sockets: %s", strerror(errno));
    fcntl(fds[1], F_SETFD, FD_CLOEXEC);
    nxft_x_limit_buffers(fds[1], replica->buffer_bytes);
    const char *error = nxft_replica_attach(replica, fds[0]);
    if (error != NULL) {
        close(fds[0]);
        close(fds[1]);
        return error;
    }
    *fd = fds[1];
    return NULL;
}

static inline const char *nxft_replica_send_bytes(nxft_replica *replica, const void *bytes, size_t len)
{
    return nxft_x_send(replica, (const uint8_t *)bytes, len, true);
}

static inline const char *nxft_replica_send_message(nxft_replica *replica, const void *bytes, size_t len)
{
    uint8_t *message = (uint8_t *)malloc(NXFT_X_PREFIX_LEN + len);
    if (message == NULL)
        return nxft_x_error("no memory for a message of %zu bytes", len);
    nxft_x_put_le(message, len, NXFT_X_PREFIX_LEN);
    if (len > 0)
        memcpy(message + NXFT_X_PREFIX_LEN, bytes, len);
    const char *error = nxft_replica_send_bytes(replica, message, NXFT_X_PREFIX_LEN + len);
    free(message);
    return error;
}

static inline const char *nxft_replica_send_ack(nxft_replica *replica, uint64_t vlsn)
{
    uint8_t ack[NXF_ACK_LEN];
    nxft_x_put_le(ack, vlsn, sizeof ack);
    return nxft_replica_send_message(replica, ack, sizeof ack);
}

static inline const char *nxft_replica_send_short_ack(nxft_replica *replica)
{
    /* As an ack it would be beyond everything: who takes it for one is found out. */
    return nxft_replica_send_message(replica, "\xff\xff\xff\xff\xff\xff\xff", NXF_ACK_LEN - 1);
}

static inline const char *nxft_replica_send_ack_beyond_sent(nxft_replica *replica)
{
    return nxft_replica_send_ack(replica, INT64_MAX);
}

static inline const char *nxft_replica_send_garbage(nxft_replica *replica)
{
    static const char answer[] = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";
    return nxft_replica_send_bytes(replica, answer, sizeof answer - 1);
}

static inline const char *nxft_replica_send_oversized_length(nxft_replica *replica)
{
    uint8_t prefix[NXFT_X_PREFIX_LEN];
    nxft_x_put_le(prefix, NXFT_X_MESSAGE_LEN_MAX + 1, sizeof prefix);
    return nxft_replica_send_bytes(replica, prefix, sizeof prefix);
}

static inline void nxft_replica_stop_reading(nxft_replica *replica)
{
    pthread_mutex_lock(&replica->lock);
    replica->is_reading = false;
    nxft_x_commanded(replica);
}

static inline void nxft_replica_resume_reading(nxft_replica *replica)
{
    pthread_mutex_lock(&replica->lock);
    replica->is_reading = true;
    nxft_x_commanded(replica);
}

static inline const char *nxft_replica_close(nxft_replica *replica)
{
    const char *error = NULL;
    pthread_mutex_lock(&replica->lock);
    if (!replica->is_connected)
        error = nxft_x_error("the replica cannot close: it is not connected");
    else
        replica->is_closing = true;
    nxft_x_commanded(replica);
    /* Behind the ack that is being sent, if the feeder takes it. */
    pthread_mutex_lock(&replica->sending);
    if (error == NULL && replica->fd >= 0)
        shutdown(replica->fd, SHUT_WR);
    pthread_mutex_unlock(&replica->sending);
    return error;
}

static inline bool nxft_x_has_ended(const nxft_replica *replica, uint64_t unused)
{
    (void)unused;
    return replica->has_ended;
}

static inline const char *nxft_replica_reset(nxft_replica *replica)
{
    const char *error = NULL;
    pthread_mutex_lock(&replica->lock);
    if (replica->fd < 0)
        error = nxft_x_error("the replica cannot break off: it is not connected");
    else if (!nxft_x_is_tcp(replica->fd))
        error = nxft_x_error("the replica cannot break off: that needs TCP");
    else
        replica->is_resetting = true;
    nxft_x_commanded(replica);
    if (error == NULL) {
        pthread_mutex_lock(&replica->lock);
        nxft_x_wait(replica, nxft_x_has_ended, 0, -1);
        pthread_mutex_unlock(&replica->lock);
    }
    return error;
}

static inline bool nxft_x_has_connected(const nxft_replica *replica, uint64_t unused)
{
    (void)unused;
    return replica->is_connected || replica->has_ended;
}

static inline const char *nxft_replica_wait_connected(nxft_replica *replica, int timeout_ms)
{
    const char *error = NULL;
    pthread_mutex_lock(&replica->lock);
    if (!nxft_x_wait(replica, nxft_x_has_connected, 0, timeout_ms))
        error = nxft_x_error("after %d ms no feeder has connected", timeout_ms);
    pthread_mutex_unlock(&replica->lock);
    return error;
}

static inline bool nxft_x_has_vlsn(const nxft_replica *replica, uint64_t vlsn)
{
    return (replica->count > 0 && replica->last_vlsn >= vlsn) || replica->has_ended || replica->fault[0] != '\0';
}

/* Locked. The fault, if there is one, as an error. */
static inline const char *nxft_x_faulty(const nxft_replica *replica)
{
    return replica->fault[0] != '\0' ? nxft_x_error("%s", replica->fault) : NULL;
}

static inline const char *nxft_replica_wait_vlsn(nxft_replica *replica, uint64_t vlsn, int timeout_ms)
{
    pthread_mutex_lock(&replica->lock);
    const bool is_over = nxft_x_wait(replica, nxft_x_has_vlsn, vlsn, timeout_ms);
    const char *error = nxft_x_faulty(replica);
    if (error == NULL && (replica->count == 0 || replica->last_vlsn < vlsn)) {
        error = is_over
            ? nxft_x_error("the connection has ended with VLSN %llu, before %llu was received",
                           (unsigned long long)replica->last_vlsn, (unsigned long long)vlsn)
            : nxft_x_error("after %d ms VLSN %llu was received, and %llu not yet%s", timeout_ms,
                           (unsigned long long)replica->last_vlsn, (unsigned long long)vlsn,
                           replica->is_connected ? "" : ": no feeder has connected");
    }
    pthread_mutex_unlock(&replica->lock);
    return error;
}

static inline const char *nxft_replica_wait_closed(nxft_replica *replica, int timeout_ms)
{
    pthread_mutex_lock(&replica->lock);
    const bool is_over = nxft_x_wait(replica, nxft_x_has_ended, 0, timeout_ms);
    const char *error = nxft_x_faulty(replica);
    if (error == NULL && !is_over)
        error = nxft_x_error("after %d ms the connection has not ended%s", timeout_ms,
                             replica->is_reading ? "" : "; the replica does not read, and would not notice");
    pthread_mutex_unlock(&replica->lock);
    return error;
}

static inline const char *nxft_replica_fault(nxft_replica *replica)
{
    pthread_mutex_lock(&replica->lock);
    const bool is_faulty = replica->fault[0] != '\0';
    pthread_mutex_unlock(&replica->lock);
    return is_faulty ? replica->fault : NULL; /* written once */
}

static inline uint64_t nxft_replica_count(nxft_replica *replica)
{
    pthread_mutex_lock(&replica->lock);
    const uint64_t count = replica->count;
    pthread_mutex_unlock(&replica->lock);
    return count;
}

static inline uint64_t nxft_replica_last_vlsn(nxft_replica *replica)
{
    pthread_mutex_lock(&replica->lock);
    const uint64_t vlsn = replica->last_vlsn;
    pthread_mutex_unlock(&replica->lock);
    return vlsn;
}

static inline uint64_t nxft_replica_acks_sent(nxft_replica *replica)
{
    pthread_mutex_lock(&replica->lock);
    const uint64_t acks = replica->acks_sent;
    pthread_mutex_unlock(&replica->lock);
    return acks;
}

static inline const char *nxft_replica_frame(nxft_replica *replica, size_t at, nxft_frame *frame)
{
    const char *error = NULL;
    memset(frame, 0, sizeof *frame);
    pthread_mutex_lock(&replica->lock);
    if (at < replica->frames_len)
        *frame = replica->frames[at];
    else
        error = nxft_x_error("the replica has kept %zu frames, and none as number %zu", replica->frames_len, at);
    pthread_mutex_unlock(&replica->lock);
    return error;
}

/* --- the log --- */

static inline const char *nxft_log_new(const char *dir, nxft_log **log)
{
    const char *parent = getenv("TMPDIR");
    const char *error = NULL;
    nxft_log *made = (nxft_log *)calloc(1, sizeof *made);
    *log = NULL;
    if (parent == NULL || parent[0] == '\0')
        parent = "/tmp";
    const size_t room = strlen(dir != NULL ? dir : parent) + sizeof "/noxu-feeder-test-XXXXXX";
    if (made != NULL)
        made->dir = (char *)malloc(room);
    if (made == NULL || made->dir == NULL) {
        free(made);
        return nxft_x_error("no memory for a log");
    }
    if (dir != NULL) {
        strcpy(made->dir, dir);
    } else {
        snprintf(made->dir, room, "%s/noxu-feeder-test-XXXXXX", parent);
        made->is_dir_made = mkdtemp(made->dir) != NULL;
        if (!made->is_dir_made)
            error = nxft_x_error("no directory for a log in %s: %s", parent, strerror(errno));
    }
    made->fd = -1;
    made->next_vlsn = 1;
    if (error != NULL)
        nxft_log_free(made);
    else
        *log = made;
    return error;
}

/* The path of a file, to be freed; NULL: no memory. */
static inline char *nxft_x_log_path(const nxft_log *log, uint32_t file)
{
    const size_t room = strlen(log->dir) + sizeof "/00000000.ndb";
    char *path = (char *)malloc(room);
    if (path != NULL)
        snprintf(path, room, "%s/%08x.ndb", log->dir, (unsigned)file);
    return path;
}

static inline void nxft_log_free(nxft_log *log)
{
    if (log == NULL)
        return;
    if (log->is_dir_made) {
        for (uint32_t file = 0; log->fd >= 0 && file <= log->file; file++) {
            char *path = nxft_x_log_path(log, file);
            if (path != NULL)
                unlink(path);
            free(path);
        }
        rmdir(log->dir);
    }
    nxft_x_close(log->fd);
    free(log->dir);
    free(log);
}

static inline const char *nxft_log_dir(const nxft_log *log)
{
    return log->dir;
}

static inline const char *nxft_x_log_write(nxft_log *log, const uint8_t *bytes, size_t len)
{
    const ssize_t written = write(log->fd, bytes, len);
    if (written < 0)
        return nxft_x_error("cannot write to file %08x of the log: %s", (unsigned)log->file, strerror(errno));
    log->end += (uint32_t)written;
    if ((size_t)written < len)
        return nxft_x_error("file %08x of the log took %zd of %zu bytes", (unsigned)log->file, written, len);
    return NULL;
}

static inline const char *nxft_log_next_file(nxft_log *log)
{
    uint8_t header[36] = { 'N', 'O', 'X', 'U', 'D', 'B' };
    const uint32_t file = log->fd < 0 ? 0 : log->file + 1;
    char *path = nxft_x_log_path(log, file);
    if (path == NULL)
        return nxft_x_error("no memory for a path");
    const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND, 0666);
    const int reason = errno;
    free(path);
    if (fd < 0)
        return nxft_x_error("cannot create file %08x of the log in %s: %s", (unsigned)file, log->dir, strerror(reason));
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    nxft_x_put_be(header + 8, 3, 4);
    nxft_x_put_be(header + 16, (uint64_t)time(NULL) * 1000, 8);
    nxft_x_put_be(header + 24, file, 4);
    nxft_x_put_be(header + 28, log->last_entry, 4);
    nxft_x_put_be(header + 32, nxft_crc32(header, 32), 4);
    nxft_x_close(log->fd);
    log->fd = fd;
    log->file = file;
    log->end = log->last_entry = 0;
    return nxft_x_log_write(log, header, sizeof header);
}

/* vlsn 0: an entry without one. */
static inline const char *nxft_x_log_add(nxft_log *log, uint8_t entry_type, uint64_t vlsn, const void *payload,
                                         size_t len, uint64_t *lsn)
{
    const size_t header_len = vlsn > 0 ? 22 : 14;
    const char *error = log->fd < 0 ? nxft_log_next_file(log) : NULL;
    if (error != NULL)
        return error;
    if (len > (size_t)100 * 1024 * 1024)
        return nxft_x_error("a payload of %zu bytes: an entry holds 100 MiB at most", len);
    if (len + header_len > UINT32_MAX - log->end)
        return nxft_x_error("file %08x of the log is full: begin the next", (unsigned)log->file);
    uint8_t *entry = (uint8_t *)calloc(1, header_len + len);
    if (entry == NULL)
        return nxft_x_error("no memory for an entry of %zu bytes", len);
    entry[4] = entry_type;
    entry[5] = vlsn > 0 ? 0x28 : 0; /* replicated, and has a VLSN */
    nxft_x_put_le(entry + 6, log->last_entry, 4);
    nxft_x_put_le(entry + 10, len, 4);
    if (vlsn > 0)
        nxft_x_put_le(entry + 14, vlsn, 8);
    if (payload != NULL && len > 0)
        memcpy(entry + header_len, payload, len);
    nxft_x_put_le(entry, nxft_crc32(entry + 4, header_len + len - 4), 4);

    const uint32_t begin = log->end;
    error = nxft_x_log_write(log, entry, header_len + len);
    free(entry);
    if (error != NULL)
        return error;
    log->last_entry = begin;
    if (vlsn > 0) {
        log->last_vlsn = vlsn;
        log->next_vlsn = vlsn + 1;
    }
    if (lsn != NULL)
        *lsn = (uint64_t)log->file << 32 | begin;
    return NULL;
}

static inline const char *nxft_log_append(nxft_log *log, uint8_t entry_type, const void *payload, size_t len,
                                          uint64_t *lsn)
{
    if (entry_type == 0 || (payload == NULL && len > 0))
        return nxft_x_error("no entry has the type 0, or a payload that is not there");
    return nxft_x_log_add(log, entry_type, log->next_vlsn, payload, len, lsn);
}

static inline const char *nxft_log_append_many(nxft_log *log, uint64_t count, size_t payload_len)
{
    const char *error = NULL;
    uint8_t *payload = (uint8_t *)malloc(payload_len + 1);
    if (payload == NULL)
        return nxft_x_error("no memory for a payload of %zu bytes", payload_len);
    for (uint64_t i = 0; i < count && error == NULL; i++) {
        nxft_log_payload(log->next_vlsn, payload, payload_len);
        error = nxft_log_append(log, 10, payload, payload_len, NULL);
    }
    free(payload);
    return error;
}

static inline const char *nxft_log_append_untagged(nxft_log *log, size_t payload_len)
{
    return nxft_x_log_add(log, 2, 0, NULL, payload_len, NULL);
}

static inline void nxft_log_set_next_vlsn(nxft_log *log, uint64_t vlsn)
{
    log->next_vlsn = vlsn;
}

static inline uint64_t nxft_log_last_vlsn(const nxft_log *log)
{
    return log->last_vlsn;
}

static inline uint64_t nxft_log_end_lsn(const nxft_log *log)
{
    return (uint64_t)log->file << 32 | log->end;
}

static inline void nxft_log_payload(uint64_t vlsn, void *payload, size_t len)
{
    uint8_t *at = (uint8_t *)payload;
    for (size_t i = 0; i < len; i++)
        at[i] = (uint8_t)(vlsn + i * 7);
}

/** @endcond */

#endif /* NOXU_FEEDER_TEST_H */
