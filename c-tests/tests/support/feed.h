/*
 * What most tests begin with: a log, and a replica that is fed from it. Each part is made when a test asks for it; the
 * teardown releases what is left, also when a test has failed.
 */
#ifndef NXF_TEST_FEED_H
#define NXF_TEST_FEED_H

#include "support/logmaker.h"
#include "support/record.h"
#include "support/replica.h"

#ifdef __cplusplus
extern "C" {
#endif

#define REPLICA_NAME "r1"

struct feed {
    struct logmaker *log; /* with one file, of version 3, and no entry */
    struct record *record;
    /* log.settle_ms and log.gap_patience_ms are 1, a start ahead of the log is waited for, and runs look at the log only
       when something tells them to. */
    nxf_options *options;
    nxf_scanner *scanner;
    nxf_channel *channel;
    nxf_runner *runner;
    struct replica *replica;
};

#define feed_test(function) cmocka_unit_test_setup_teardown(function, feed_setup, feed_teardown)
int feed_setup(void **state);
int feed_teardown(void **state);

/* The feed of the test that runs. */
static inline struct feed *feed_of(void **state)
{
    return (struct feed *)*state;
}

void feed_set(struct feed *, const char *key, const char *value);

/* A replica, and a channel to it: over a Unix domain pair, or over TCP with buffers of that size (0: as they are). */
void feed_connect(struct feed *, unsigned ways);
void feed_connect_tcp(struct feed *, unsigned ways, int buffer_bytes);
/* A scanner over the log, from the first entry on. */
void feed_scan(struct feed *);
/* A runner over the channel. */
void feed_make_runner(struct feed *, uint64_t start_vlsn);
/* Has acks and the end recorded. */
void feed_record_acks(struct feed *);
void feed_record_end(struct feed *);
/* Starts the runner with a new scanner. */
void feed_start(struct feed *);
/* All of it, from VLSN 1, over a Unix domain pair; nothing is recorded. */
void feed_up(struct feed *, unsigned ways);

/* Waits until the run has ended, and returns how; *err, if asked for, is the caller's. */
nxf_status feed_wait_ended(struct feed *, nxf_error **err);
nxf_runner_stats_t feed_stats(struct feed *);
/* Waits until the replica is known to have acknowledged it. */
void feed_wait_acked(struct feed *, uint64_t vlsn);
/* Releases the runner: its record is complete then. */
void feed_free_runner(struct feed *);

#ifdef __cplusplus
}
#endif

#endif
