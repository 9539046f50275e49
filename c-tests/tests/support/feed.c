#include "support/feed.h"

#include "support/sockets.h"

int feed_setup(void **state)
{
    struct feed *feed = (struct feed *)calloc(1, sizeof *feed);
    *state = feed;
    feed->log = log_new();
    log_begin(feed->log, 0, 3);
    feed->record = record_new();
    assert_ok(nxf_options_new, &feed->options);
    feed_set(feed, "log.settle_ms", "1");
    feed_set(feed, "log.gap_patience_ms", "1");
    feed_set(feed, "log.ahead", "wait");
    feed_set(feed, "runner.safety_look_ms", "86400000");
    return 0;
}

int feed_teardown(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_runner_free(feed->runner);
    nxf_channel_free(feed->channel);
    nxf_scanner_free(feed->scanner);
    nxf_options_free(feed->options);
    replica_free(feed->replica);
    record_free(feed->record);
    log_free(feed->log);
    free(feed);
    return 0;
}

void feed_set(struct feed *feed, const char *key, const char *value)
{
    assert_ok(nxf_options_set, feed->options, key, value);
}

static void connect_pair(struct feed *feed, const int fds[2], unsigned ways)
{
    feed->replica = replica_new(fds[1], ways);
    assert_ok(nxf_channel_from_fd, fds[0], feed->options, &feed->channel);
}

void feed_connect(struct feed *feed, unsigned ways)
{
    int fds[2];
    unix_pair(fds);
    connect_pair(feed, fds, ways);
}

void feed_connect_tcp(struct feed *feed, unsigned ways, int buffer_bytes)
{
    int fds[2];
    tcp_pair(fds, buffer_bytes);
    connect_pair(feed, fds, ways);
}

void feed_scan(struct feed *feed)
{
    assert_ok(nxf_scanner_open, log_dir(feed->log), NXF_LSN_FIRST, feed->options, &feed->scanner);
}

void feed_make_runner(struct feed *feed, uint64_t start_vlsn)
{
    assert_ok(nxf_runner_new, feed->channel, REPLICA_NAME, start_vlsn, feed->options, &feed->runner);
    feed->channel = NULL;
}

void feed_record_acks(struct feed *feed)
{
    assert_ok(nxf_runner_set_ack_callback, feed->runner, record_ack, feed->record, record_drop_ack);
}

void feed_record_end(struct feed *feed)
{
    assert_ok(nxf_runner_set_end_callback, feed->runner, record_end, feed->record, record_drop_end);
}

void feed_start(struct feed *feed)
{
    feed_scan(feed);
    assert_ok(nxf_runner_start, feed->runner, feed->scanner);
    feed->scanner = NULL;
}

void feed_up(struct feed *feed, unsigned ways)
{
    feed_connect(feed, ways);
    feed_make_runner(feed, 1);
    feed_start(feed);
}

static bool has_ended(void *runner)
{
    return nxf_runner_result((const nxf_runner *)runner, NULL) != NXF_AGAIN;
}

nxf_status feed_wait_ended(struct feed *feed, nxf_error **err)
{
    assert_soon(has_ended, feed->runner);
    return nxf_runner_result(feed->runner, err);
}

nxf_runner_stats_t feed_stats(struct feed *feed)
{
    nxf_runner_stats_t stats;
    memset(&stats, 0, sizeof stats);
    stats.struct_size = sizeof stats;
    assert_ok(nxf_runner_stats, feed->runner, &stats);
    return stats;
}

void feed_wait_acked(struct feed *feed, uint64_t vlsn)
{
    assert_ok(nxf_runner_wait_acked, feed->runner, vlsn, PATIENCE_MS);
}

void feed_free_runner(struct feed *feed)
{
    assert_int_equal(nxf_runner_free(feed->runner), NXF_OK);
    feed->runner = NULL;
}
