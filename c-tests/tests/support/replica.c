#include "support/replica.h"

#include "support/bytes.h"
#include "support/crc32.h"
#include "support/event.h"
#include "support/logmaker.h"
#include "support/sockets.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif

enum {
    PREFIX_LEN = 4,
    FRAME_HEADER_LEN = 17,
    FRAME_LEN_MAX = 64 * 1024 * 1024
};

struct replica {
    int fd;
    unsigned ways;
    pthread_t thread;
    /* Readable when the thread is to end. */
    int wake[2];
    /* One message at a time. */
    pthread_mutex_t sending;

    /* Bytes that came and are no whole frame yet. Of the thread alone. */
    uint8_t *bytes;
    size_t bytes_len, bytes_room;

    /* The rest is shared, under this. */
    struct event event;
    struct frame *frames;
    size_t count, room;
    bool finished;
    char fault[200];
};

/* How many frames are waited for. */
struct wanted {
    struct replica *replica;
    size_t count;
};

void encode_ack(uint8_t ack[ACK_MESSAGE_LEN], uint64_t vlsn)
{
    put_le(ack, 8, 4);
    put_le(ack + 4, vlsn, 8);
}

/* --- on its own thread --- */

/* Waits until the descriptor is ready; false when the thread is to end. */
static bool wait_ready(struct replica *replica, short what)
{
    struct pollfd both[2] = { { replica->wake[0], POLLIN, 0 }, { replica->fd, what, 0 } };
    while (poll(both, 2, -1) < 0 && errno == EINTR)
        ;
    return both[0].revents == 0;
}

static bool send_message(struct replica *replica, const uint8_t *bytes, size_t len)
{
    bool sending = true;
    pthread_mutex_lock(&replica->sending);
    while (sending && len > 0) {
        const ssize_t sent = send(replica->fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent >= 0) {
            bytes += sent;
            len -= (size_t)sent;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            sending = wait_ready(replica, POLLOUT);
        } else {
            sending = false;
        }
    }
    pthread_mutex_unlock(&replica->sending);
    return sending;
}

static void keep(struct replica *replica, const struct frame *frame)
{
    event_lock(&replica->event);
    if (replica->count == replica->room) {
        replica->room = replica->room * 2 + 64;
        replica->frames = (struct frame *)realloc(replica->frames, replica->room * sizeof *replica->frames);
    }
    replica->frames[replica->count++] = *frame;
    event_unlock(&replica->event);
}

/* Returns false, for brevity. */
static bool fault(struct replica *replica, const char *what, uint64_t vlsn)
{
    event_lock(&replica->event);
    snprintf(replica->fault, sizeof replica->fault, "%s, at VLSN %llu behind %zu frames", what,
             (unsigned long long)vlsn, replica->count);
    event_unlock(&replica->event);
    return false;
}

static bool take_frame(struct replica *replica, const uint8_t *header, size_t message_len)
{
    const uint64_t before = replica->count > 0 ? replica->frames[replica->count - 1].vlsn : 0;
    struct frame frame;
    frame.vlsn = get_le(header, 8);
    frame.entry_type = header[8];
    frame.payload_len = (size_t)get_le(header + 9, 4);
    if (frame.payload_len != message_len - FRAME_HEADER_LEN)
        return fault(replica, "lengths do not agree", frame.vlsn);
    if (crc32_of(header + FRAME_HEADER_LEN, frame.payload_len) != get_le(header + 13, 4))
        return fault(replica, "the checksum fails", frame.vlsn);
    if (frame.vlsn == 0 || (replica->count > 0 && frame.vlsn != before + 1))
        return fault(replica, "the VLSN is not the next", frame.vlsn);
    if (frame.entry_type != log_type(frame.vlsn))
        return fault(replica, "the type is another", frame.vlsn);
    if (!log_is_payload(frame.vlsn, header + FRAME_HEADER_LEN, frame.payload_len))
        return fault(replica, "the payload is another", frame.vlsn);

    frame.payload = (uint8_t *)malloc(frame.payload_len + 1);
    memcpy(frame.payload, header + FRAME_HEADER_LEN, frame.payload_len);
    keep(replica, &frame);
    return true;
}

static bool ack_frame(struct replica *replica, uint64_t vlsn)
{
    uint8_t ack[ACK_MESSAGE_LEN];
    encode_ack(ack, vlsn);
    return (replica->ways & REPLICA_ACKS) == 0 || send_message(replica, ack, sizeof ack);
}

/* Takes the whole frames off the bytes that came. */
static bool take_frames(struct replica *replica)
{
    size_t begin = 0;
    bool good = true;
    while (good && replica->bytes_len - begin >= PREFIX_LEN) {
        const uint8_t *message = replica->bytes + begin + PREFIX_LEN;
        const size_t len = (size_t)get_le(replica->bytes + begin, 4);
        if (len < FRAME_HEADER_LEN || len > FRAME_LEN_MAX)
            return fault(replica, "no length of a frame", len);
        if (replica->bytes_len - begin - PREFIX_LEN < len)
            break;
        good = take_frame(replica, message, len) && ack_frame(replica, get_le(message, 8));
        begin += PREFIX_LEN + len;
    }
    memmove(replica->bytes, replica->bytes + begin, replica->bytes_len - begin);
    replica->bytes_len -= begin;
    return good;
}

/* False when nothing more comes. */
static bool read_some(struct replica *replica)
{
    const bool slowly = (replica->ways & REPLICA_READS_SLOWLY) != 0;
    const size_t most = slowly ? 1500 : 64 * 1024;
    if (replica->bytes_room < replica->bytes_len + most) {
        replica->bytes_room = replica->bytes_room * 2 + most;
        replica->bytes = (uint8_t *)realloc(replica->bytes, replica->bytes_room);
    }
    const ssize_t len = recv(replica->fd, replica->bytes + replica->bytes_len, most, 0);
    if (len < 0 && errno == EINTR)
        return true;
    if (len <= 0)
        return false;
    if (slowly)
        sched_yield();
    replica->bytes_len += (size_t)len;
    return take_frames(replica);
}

static void *read_frames(void *context)
{
    struct replica *replica = (struct replica *)context;
    const short what = (replica->ways & REPLICA_READS_NOTHING) != 0 ? 0 : POLLIN;
    bool told_to_end = false;
    bool more = true;
    while (more && !told_to_end) {
        told_to_end = !wait_ready(replica, what);
        more = !told_to_end && what != 0 && read_some(replica);
    }
    /* As a real one does: nothing more comes, and it has nothing more to say. */
    if (!told_to_end && (replica->ways & REPLICA_STAYS) == 0)
        shutdown(replica->fd, SHUT_WR);
    event_lock(&replica->event);
    replica->finished = true;
    event_unlock(&replica->event);
    return NULL;
}

/* --- on the test's thread --- */

struct replica *replica_new(int fd, unsigned ways)
{
    struct replica *replica = (struct replica *)calloc(1, sizeof *replica);
    replica->fd = fd;
    replica->ways = ways;
    event_init(&replica->event);
    pthread_mutex_init(&replica->sending, NULL);
    if (pipe(replica->wake) != 0 || pthread_create(&replica->thread, NULL, read_frames, replica) != 0)
        fail_with("no replica");
    return replica;
}

/* Ends the thread; the connection stays. */
static void stop_reading(struct replica *replica)
{
    close(replica->wake[1]);
    pthread_join(replica->thread, NULL);
    close(replica->wake[0]);
}

void replica_close(struct replica *replica)
{
    stop_reading(replica);
    close(replica->fd);
    replica->fd = -1;
}

void replica_reset(struct replica *replica)
{
    stop_reading(replica);
    close_with_reset(replica->fd);
    replica->fd = -1;
}

void replica_free(struct replica *replica)
{
    if (replica == NULL)
        return;
    if (replica->fd >= 0)
        replica_close(replica);
    for (size_t at = 0; at < replica->count; at++)
        free(replica->frames[at].payload);
    event_destroy(&replica->event);
    pthread_mutex_destroy(&replica->sending);
    free(replica->frames);
    free(replica->bytes);
    free(replica);
}

static bool has_frames(void *context)
{
    const struct wanted *wanted = (const struct wanted *)context;
    const struct replica *replica = wanted->replica;
    return replica->count >= wanted->count || replica->finished || replica->fault[0] != '\0';
}

static bool is_finished(void *context)
{
    const struct replica *replica = (const struct replica *)context;
    return replica->finished || replica->fault[0] != '\0';
}

static void wait_for(struct replica *replica, bool (*is_so)(void *), void *context)
{
    event_lock(&replica->event);
    const bool came = event_wait(&replica->event, is_so, context);
    event_unlock(&replica->event);
    if (!came)
        fail_with("the replica has %zu frames, and waits", replica->count);
    if (replica->fault[0] != '\0')
        fail_with("the replica was sent what is no frame: %s", replica->fault);
}

void replica_wait_frames(struct replica *replica, size_t count)
{
    struct wanted wanted = { replica, count };
    wait_for(replica, has_frames, &wanted);
    if (replica_count(replica) < count)
        fail_with("the replica was sent %zu frames and no more, instead of %zu", replica_count(replica), count);
}

void replica_wait_finished(struct replica *replica)
{
    wait_for(replica, is_finished, replica);
}

size_t replica_count(struct replica *replica)
{
    event_lock(&replica->event);
    const size_t count = replica->count;
    event_unlock(&replica->event);
    return count;
}

struct frame replica_frame(struct replica *replica, size_t at)
{
    struct frame frame;
    event_lock(&replica->event);
    frame = replica->frames[at];
    event_unlock(&replica->event);
    return frame;
}

void assert_frames(struct replica *replica, uint64_t first, uint64_t last)
{
    assert_int_equal(replica_count(replica), last + 1 - first);
    for (uint64_t vlsn = first; vlsn <= last; vlsn++) {
        const struct frame frame = replica_frame(replica, (size_t)(vlsn - first));
        assert_int_equal(frame.vlsn, vlsn);
        assert_int_equal(frame.payload_len, log_payload_len(vlsn));
    }
}

void replica_send(struct replica *replica, const void *bytes, size_t len)
{
    if (!send_message(replica, (const uint8_t *)bytes, len))
        fail_with("the replica cannot send: the connection is gone");
}

void replica_ack(struct replica *replica, uint64_t vlsn)
{
    uint8_t ack[ACK_MESSAGE_LEN];
    encode_ack(ack, vlsn);
    replica_send(replica, ack, sizeof ack);
}
