/*
 * A small replica, on a thread of its own: reads frames, checks each, keeps it, and acknowledges it or not. What
 * else it does, the test has it do.
 */
#ifndef NXF_TEST_REPLICA_H
#define NXF_TEST_REPLICA_H

#include "support/check.h"

#ifdef __cplusplus
extern "C" {
#endif

enum replica_ways {
    REPLICA_ACKS = 1,        /* acknowledges every frame, and reads nothing while it cannot send that */
    REPLICA_READS_SLOWLY = 2, /* in small pieces, and lets others run between them */
    REPLICA_READS_NOTHING = 4,
    REPLICA_STAYS = 8 /* does not close when the other side has finished */
};

struct frame {
    uint64_t vlsn;
    uint8_t entry_type;
    uint8_t *payload;
    size_t payload_len;
};

struct replica;

/* The descriptor is the replica's from now on. ways: of enum replica_ways, added up. */
struct replica *replica_new(int fd, unsigned ways);
/* Closes its connection, and releases it. */
void replica_free(struct replica *);

/* Wait, and fail unless the bytes that came are a stream of frames with dense VLSNs and the right payloads. */
void replica_wait_frames(struct replica *, size_t count);
void replica_wait_finished(struct replica *); /* until the other side has closed or finished */

/* The frames so far. */
size_t replica_count(struct replica *);
struct frame replica_frame(struct replica *, size_t at);
/* All frames so far are those of these VLSNs, with the payloads of log_add; (1, 0) for none. */
void assert_frames(struct replica *, uint64_t first, uint64_t last);

/* From the test's thread. */
void replica_ack(struct replica *, uint64_t vlsn);
void replica_send(struct replica *, const void *bytes, size_t len);
void replica_close(struct replica *);
void replica_reset(struct replica *);

/* An ack as it is sent. */
#define ACK_MESSAGE_LEN 12
void encode_ack(uint8_t ack[ACK_MESSAGE_LEN], uint64_t vlsn);

#ifdef __cplusplus
}
#endif

#endif
