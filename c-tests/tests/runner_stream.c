/* What a replica is sent: all of the log, once, in order, while it grows and however the replica reads. */
#include "support/feed.h"

static void all_entries_are_sent_over_files_of_both_versions(void **state)
{
    struct feed *feed = feed_of(state);
    log_add_range(feed->log, 1, 300);
    log_begin(feed->log, 1, 2);
    log_add_untagged(feed->log);
    log_add_range(feed->log, 301, 600);
    log_begin(feed->log, 2, 3);
    log_add_invisible(feed->log, 601);
    log_add_range(feed->log, 601, 900);
    feed_up(feed, REPLICA_ACKS);
    feed_wait_acked(feed, 900);
    assert_frames(feed->replica, 1, 900);
}

static void a_log_that_grows_is_sent_as_it_grows(void **state)
{
    struct feed *feed = feed_of(state);
    feed_up(feed, REPLICA_ACKS);
    for (uint64_t vlsn = 1; vlsn <= 200; vlsn++) {
        log_add(feed->log, vlsn);
        if (vlsn % 50 == 0)
            log_begin(feed->log, (uint32_t)(vlsn / 50), 2 + (int)(vlsn / 50) % 2);
        if (vlsn % 10 == 0)
            feed_wait_acked(feed, vlsn);
    }
    assert_frames(feed->replica, 1, 200);
}

static void a_host_can_say_that_it_has_appended(void **state)
{
    struct feed *feed = feed_of(state);
    feed_up(feed, REPLICA_ACKS);
    for (uint64_t vlsn = 1; vlsn <= 20; vlsn++) {
        log_add(feed->log, vlsn);
        assert_int_equal(nxf_runner_notify(feed->runner), NXF_OK);
        feed_wait_acked(feed, vlsn);
    }
}

static void a_log_that_begins_later_is_waited_for(void **state)
{
    struct feed *feed = feed_of(state);
    log_remove(feed->log, 0);
    feed_up(feed, REPLICA_ACKS);
    log_begin(feed->log, 3, 3);
    log_add_range(feed->log, 1, 3);
    feed_wait_acked(feed, 3);
    assert_frames(feed->replica, 1, 3);
}

static void entries_of_all_sizes_are_sent_whole(void **state)
{
    static const size_t lens[] = { 0, 1, 4095, 4096, 4097, 65535, 70000, 262144, 1000000, 3 };
    const size_t count = sizeof lens / sizeof lens[0];
    struct feed *feed = feed_of(state);
    for (size_t at = 0; at < count; at++)
        log_add_sized(feed->log, at + 1, lens[at]);
    feed_up(feed, REPLICA_ACKS);
    feed_wait_acked(feed, count);
    for (size_t at = 0; at < count; at++)
        assert_int_equal(replica_frame(feed->replica, at).payload_len, lens[at]);
}

static void entries_larger_than_every_limit_are_sent_whole(void **state)
{
    struct feed *feed = feed_of(state);
    feed_set(feed, "log.read_bytes", "65536");
    feed_set(feed, "runner.chunk_bytes", "4096");
    feed_set(feed, "runner.queue_bytes_max", "4096");
    feed_set(feed, "runner.share_from_bytes", "0");
    feed_set(feed, "channel.send_buffer_bytes", "4096");
    for (uint64_t vlsn = 1; vlsn <= 20; vlsn++)
        log_add_sized(feed->log, vlsn, (size_t)vlsn * 10000);
    feed_up(feed, REPLICA_ACKS);
    feed_wait_acked(feed, 20);
    assert_int_equal(replica_frame(feed->replica, 19).payload_len, 200000);
}

static void a_hole_is_crossed_when_nothing_is_missing_behind_it(void **state)
{
    struct feed *feed = feed_of(state);
    log_add_range(feed->log, 1, 3);
    log_add_hole(feed->log, 1000);
    log_add_range(feed->log, 4, 6);
    feed_up(feed, REPLICA_ACKS);
    feed_wait_acked(feed, 6);
    assert_frames(feed->replica, 1, 6);
    assert_ok(nxf_runner_stop, feed->runner, -1);
    assert_int_equal(feed_stats(feed).holes_crossed, 1);
}

#define REPLICAS 4

static void any_number_of_replicas_are_fed_from_one_log(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_log *log = NULL;
    nxf_runner *runners[REPLICAS];
    struct replica *replicas[REPLICAS];
    log_add_range(feed->log, 1, 100);
    assert_ok(nxf_log_open, log_dir(feed->log), feed->options, &log);
    for (size_t at = 0; at < REPLICAS; at++) {
        feed_connect(feed, REPLICA_ACKS);
        feed_make_runner(feed, 1);
        assert_ok(nxf_scanner_from_log, log, 0, &feed->scanner);
        assert_ok(nxf_runner_start, feed->runner, feed->scanner);
        runners[at] = feed->runner;
        replicas[at] = feed->replica;
    }
    feed->scanner = NULL;
    feed->runner = NULL;
    feed->replica = NULL;
    nxf_log_free(log);
    log_add_range(feed->log, 101, 200);
    for (size_t at = 0; at < REPLICAS; at++) {
        assert_ok(nxf_runner_wait_acked, runners[at], 200, PATIENCE_MS);
        assert_frames(replicas[at], 1, 200);
        assert_int_equal(nxf_runner_free(runners[at]), NXF_OK);
        replica_free(replicas[at]);
    }
}

/* --- where to begin --- */

static void nothing_below_the_start_is_sent(void **state)
{
    struct feed *feed = feed_of(state);
    log_add_range(feed->log, 1, 100);
    feed_connect(feed, REPLICA_ACKS);
    feed_make_runner(feed, 60);
    feed_start(feed);
    feed_wait_acked(feed, 100);
    assert_frames(feed->replica, 60, 100);
}

static void a_new_runner_goes_on_where_the_last_one_was(void **state)
{
    struct feed *feed = feed_of(state);
    log_add_range(feed->log, 1, 50);
    feed_up(feed, REPLICA_ACKS);
    feed_wait_acked(feed, 50);
    feed_free_runner(feed);
    replica_free(feed->replica);
    feed->replica = NULL;

    log_add_range(feed->log, 51, 80);
    feed_connect(feed, REPLICA_ACKS);
    feed_make_runner(feed, 51);
    feed_start(feed);
    feed_wait_acked(feed, 80);
    assert_frames(feed->replica, 51, 80);
}

static void a_start_above_the_log_is_waited_for(void **state)
{
    struct feed *feed = feed_of(state);
    log_add_range(feed->log, 1, 5);
    feed_connect(feed, REPLICA_ACKS);
    feed_make_runner(feed, 8);
    feed_start(feed);
    log_add_range(feed->log, 6, 9);
    feed_wait_acked(feed, 9);
    assert_frames(feed->replica, 8, 9);
}

static void start_vlsn_0_is_the_lowest_there_is(void **state)
{
    struct feed *feed = feed_of(state);
    log_add_range(feed->log, 40, 49);
    feed_connect(feed, REPLICA_ACKS);
    feed_make_runner(feed, 0);
    feed_start(feed);
    feed_wait_acked(feed, 49);
    assert_frames(feed->replica, 40, 49);
}

/* --- however the replica reads --- */

static void a_replica_that_acks_each_frame_while_it_reads_slowly_gets_all(void **state)
{
    struct feed *feed = feed_of(state);
    const uint64_t last = is_slow() ? 2000 : 20000;
    for (uint64_t vlsn = 1; vlsn <= last; vlsn++)
        log_add_sized(feed->log, vlsn, 1000);
    feed_set(feed, "channel.send_buffer_bytes", "4096");
    feed_connect_tcp(feed, REPLICA_ACKS | REPLICA_READS_SLOWLY, 4096);
    feed_make_runner(feed, 1);
    feed_start(feed);
    feed_wait_acked(feed, last);
    assert_int_equal(replica_count(feed->replica), last);
    assert_ok(nxf_runner_stop, feed->runner, -1);
    assert_int_equal(feed_stats(feed).acks_received, last);
}

/* --- figures --- */

/* Figures are a moment old. */
static bool is_at_end_with_13_acks(void *context)
{
    const nxf_runner_stats_t stats = feed_stats((struct feed *)context);
    return stats.log_state == NXF_LOG_AT_END && stats.acks_received == 13;
}

static bool has_slept(void *context)
{
    struct feed *feed = (struct feed *)context;
    return nxf_runner_notify(feed->runner) == NXF_OK && feed_stats(feed).sleeps > 0;
}

static void the_figures_say_what_happened(void **state)
{
    struct feed *feed = feed_of(state);
    size_t payload_bytes = 0;
    log_add_range(feed->log, 1, 20);
    log_add_untagged(feed->log);
    log_add_invisible(feed->log, 21);
    log_add(feed->log, 22);
    log_add(feed->log, 21);
    log_add_range(feed->log, 20, 22);
    const uint64_t last = log_add(feed->log, 23);
    for (uint64_t vlsn = 11; vlsn <= 23; vlsn++)
        payload_bytes += log_payload_len(vlsn);
    feed_connect(feed, REPLICA_ACKS);
    feed_make_runner(feed, 11);
    feed_start(feed);
    assert_soon(is_at_end_with_13_acks, feed);

    const nxf_runner_stats_t stats = feed_stats(feed);
    assert_int_equal(stats.struct_size, sizeof stats);
    assert_int_equal(stats.run_state, NXF_RUN_RUNNING);
    assert_int_equal(stats.log_state_lsn, last + LOG_PAYLOAD_AT + log_payload_len(23));
    assert_false(stats.is_stalled);
    assert_int_equal(stats.missing_vlsn, 0);
    assert_int_equal(stats.start_vlsn, 11);
    assert_int_equal(stats.read_vlsn, 23);
    assert_int_equal(stats.sent_vlsn, 23);
    assert_int_equal(stats.acked_vlsn, 23);
    assert_int_equal(stats.frames_sent, 13);
    assert_int_equal(stats.bytes_sent, 13 * 21 + payload_bytes);
    assert_int_equal(stats.queued_bytes, 0);
    assert_int_equal(stats.entries_untagged, 1);
    assert_int_equal(stats.entries_invisible, 1);
    assert_int_equal(stats.entries_below, 10);
    assert_int_equal(stats.entries_repeated, 3);
    assert_int_equal(stats.entries_early, 1);
    assert_int_equal(stats.entries_held, 0);
    assert_int_equal(stats.holes_crossed, 0);
    assert_true(stats.listings > 0);
    assert_soon(has_slept, feed);
}

static bool is_stalled(void *context)
{
    const nxf_runner_stats_t stats = feed_stats((struct feed *)context);
    return stats.is_stalled && stats.log_state == NXF_LOG_TORN;
}

static void an_entry_that_stays_torn_is_seen_as_a_stall_and_no_error(void **state)
{
    struct feed *feed = feed_of(state);
    log_add_range(feed->log, 1, 2);
    const uint64_t torn = log_add_torn(feed->log, 3, 12);
    feed_up(feed, REPLICA_ACKS);
    feed_wait_acked(feed, 2);
    assert_soon(is_stalled, feed);
    assert_int_equal(feed_stats(feed).log_state_lsn, torn);
    assert_status(NXF_AGAIN, nxf_runner_result, feed->runner);
    log_complete(feed->log);
    feed_wait_acked(feed, 3);
}

static bool misses_2(void *context)
{
    return feed_stats((struct feed *)context).missing_vlsn == 2;
}

static void a_vlsn_that_comes_late_is_missing_and_then_sent(void **state)
{
    struct feed *feed = feed_of(state);
    feed_set(feed, "log.gap_patience_ms", "60000");
    feed_up(feed, REPLICA_ACKS);
    log_add(feed->log, 1);
    log_add(feed->log, 3);
    assert_soon(misses_2, feed);
    assert_int_equal(feed_stats(feed).entries_held, 1);
    log_add(feed->log, 2);
    feed_wait_acked(feed, 3);
    assert_frames(feed->replica, 1, 3);
}

static bool is_ahead(void *context)
{
    const nxf_runner_stats_t stats = feed_stats((struct feed *)context);
    return stats.is_stalled && stats.log_state == NXF_LOG_AHEAD;
}

static bool has_failed(void *context)
{
    return feed_stats((struct feed *)context).run_state == NXF_RUN_FAILED;
}

static void a_replica_that_is_ahead_of_the_log_is_shown(void **state)
{
    struct feed *feed = feed_of(state);
    log_add_range(feed->log, 1, 10);
    feed_connect(feed, REPLICA_ACKS);
    feed_make_runner(feed, 13);
    feed_start(feed);
    assert_soon(is_ahead, feed);
    log_add_range(feed->log, 11, 13);
    feed_wait_acked(feed, 13);
}

static void a_replica_that_stays_ahead_of_the_log_is_an_error(void **state)
{
    struct feed *feed = feed_of(state);
    feed_set(feed, "log.ahead", "error");
    log_add_range(feed->log, 1, 10);
    feed_connect(feed, REPLICA_ACKS);
    feed_make_runner(feed, 13);
    feed_start(feed);
    assert_soon(has_failed, feed);
    nxf_error *err = NULL;
    uint64_t vlsn = 0;
    assert_int_equal(nxf_runner_result(feed->runner, &err), NXF_E_LOG_AHEAD);
    assert_true(nxf_error_vlsn(err, &vlsn));
    assert_int_equal(vlsn, 13);
    assert_true(nxf_error_needs_restore(err));
    nxf_error_free(err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        feed_test(a_replica_that_is_ahead_of_the_log_is_shown),
        feed_test(a_replica_that_stays_ahead_of_the_log_is_an_error),
        feed_test(all_entries_are_sent_over_files_of_both_versions),
        feed_test(a_log_that_grows_is_sent_as_it_grows),
        feed_test(a_host_can_say_that_it_has_appended),
        feed_test(a_log_that_begins_later_is_waited_for),
        feed_test(entries_of_all_sizes_are_sent_whole),
        feed_test(entries_larger_than_every_limit_are_sent_whole),
        feed_test(a_hole_is_crossed_when_nothing_is_missing_behind_it),
        feed_test(any_number_of_replicas_are_fed_from_one_log),
        feed_test(nothing_below_the_start_is_sent),
        feed_test(a_new_runner_goes_on_where_the_last_one_was),
        feed_test(a_start_above_the_log_is_waited_for),
        feed_test(start_vlsn_0_is_the_lowest_there_is),
        feed_test(a_replica_that_acks_each_frame_while_it_reads_slowly_gets_all),
        feed_test(the_figures_say_what_happened),
        feed_test(an_entry_that_stays_torn_is_seen_as_a_stall_and_no_error),
        feed_test(a_vlsn_that_comes_late_is_missing_and_then_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
