/* What a host is told about a run, and under which names: how it ended, whom an error is about, what is whose. */
#include "support/feed.h"

/* --- names --- */

static void states_have_names(void **state)
{
    (void)state;
    assert_string_equal(nxf_run_state_name(NXF_RUN_NEW), "NXF_RUN_NEW");
    assert_string_equal(nxf_run_state_name(NXF_RUN_RUNNING), "NXF_RUN_RUNNING");
    assert_string_equal(nxf_run_state_name(NXF_RUN_STOPPED), "NXF_RUN_STOPPED");
    assert_string_equal(nxf_run_state_name(NXF_RUN_CLOSED_BY_REPLICA), "NXF_RUN_CLOSED_BY_REPLICA");
    assert_string_equal(nxf_run_state_name(NXF_RUN_RESET_BY_REPLICA), "NXF_RUN_RESET_BY_REPLICA");
    assert_string_equal(nxf_run_state_name(NXF_RUN_FAILED), "NXF_RUN_FAILED");
    assert_string_equal(nxf_log_state_name(NXF_LOG_READING), "NXF_LOG_READING");
    assert_string_equal(nxf_log_state_name(NXF_LOG_AT_END), "NXF_LOG_AT_END");
    assert_string_equal(nxf_log_state_name(NXF_LOG_SEND_LIMIT), "NXF_LOG_SEND_LIMIT");
    assert_string_equal(nxf_run_state_name(1000), "NXF_UNKNOWN");
    assert_string_equal(nxf_log_state_name(1000), "NXF_UNKNOWN");
}

/* --- the end --- */

struct ended {
    struct feed *feed;
    nxf_status how;
    uint32_t run_state, state_in_stats;
    char replica[16];
};

static void note_end(void *context, const char *replica_name, nxf_status how, const nxf_error *why)
{
    struct ended *ended = (struct ended *)context;
    nxf_runner_stats_t stats;
    stats.struct_size = sizeof stats;
    ended->how = how;
    ended->run_state = nxf_runner_state(ended->feed->runner);
    ended->state_in_stats = nxf_runner_stats(ended->feed->runner, &stats, NULL) == NXF_OK ? stats.run_state : 1000;
    snprintf(ended->replica, sizeof ended->replica, "%s/%s", replica_name, nxf_error_replica(why));
}

/* Starts a run over a log of these VLSNs whose end is noted. */
static struct ended begin(void **state, bool is_tcp, uint64_t last)
{
    struct ended ended;
    memset(&ended, 0, sizeof ended);
    ended.feed = feed_of(state);
    log_add_range(ended.feed->log, 1, last);
    if (is_tcp)
        feed_connect_tcp(ended.feed, REPLICA_ACKS, 0);
    else
        feed_connect(ended.feed, REPLICA_ACKS);
    feed_make_runner(ended.feed, 1);
    assert_int_equal(nxf_runner_state(ended.feed->runner), NXF_RUN_NEW);
    return ended;
}

static void start(struct ended *ended)
{
    assert_ok(nxf_runner_set_end_callback, ended->feed->runner, note_end, ended, NULL);
    feed_start(ended->feed);
    feed_wait_acked(ended->feed, 2);
    assert_int_equal(nxf_runner_state(ended->feed->runner), NXF_RUN_RUNNING);
}

/* The callback has run, and the facts that it was told stay the same. */
static void assert_end(struct ended *ended, nxf_status how, uint32_t run_state, const char *replica)
{
    nxf_status status;
    assert_int_equal(feed_wait_ended(ended->feed, NULL), how);
    status = nxf_runner_stop(ended->feed->runner, PATIENCE_MS, NULL);
    assert_int_equal(status, NXF_OK);
    assert_int_equal(ended->how, how);
    assert_int_equal(ended->run_state, run_state);
    assert_int_equal(ended->state_in_stats, run_state);
    assert_int_equal(nxf_runner_state(ended->feed->runner), run_state);
    assert_string_equal(ended->replica, replica);
}

static void in_the_end_callback_stopped_is_stopped(void **state)
{
    struct ended ended = begin(state, false, 2);
    start(&ended);
    assert_ok(nxf_runner_stop, ended.feed->runner, -1);
    assert_end(&ended, NXF_OK, NXF_RUN_STOPPED, "r1/");
}

static void in_the_end_callback_closed_is_closed(void **state)
{
    struct ended ended = begin(state, false, 2);
    start(&ended);
    replica_close(ended.feed->replica);
    assert_end(&ended, NXF_OK, NXF_RUN_CLOSED_BY_REPLICA, "r1/");
}

static void in_the_end_callback_reset_is_reset(void **state)
{
    struct ended ended = begin(state, true, 2);
    start(&ended);
    replica_reset(ended.feed->replica);
    assert_end(&ended, NXF_OK, NXF_RUN_RESET_BY_REPLICA, "r1/");
}

static void in_the_end_callback_failed_is_failed(void **state)
{
    struct ended ended = begin(state, false, 2);
    start(&ended);
    replica_ack(ended.feed->replica, 3);
    assert_end(&ended, NXF_E_ACK_BEYOND_SENT, NXF_RUN_FAILED, "r1/r1");
}

static void a_runner_that_is_stopped_before_its_start_is_stopped(void **state)
{
    struct ended ended = begin(state, false, 0);
    assert_ok(nxf_runner_stop, ended.feed->runner, -1);
    assert_int_equal(nxf_runner_state(ended.feed->runner), NXF_RUN_STOPPED);
}

/* --- whose it is --- */

static void an_error_about_a_replica_names_it(void **state)
{
    struct ended ended = begin(state, false, 2);
    nxf_error *err = NULL;
    assert_int_equal(nxf_runner_wait_acked(ended.feed->runner, 0, 0, &err), NXF_E_INVALID_ARGUMENT);
    assert_string_equal(nxf_error_replica(err), "r1");
    assert_contains(nxf_error_message(err), "replica 'r1': ");
    assert_contains(nxf_error_message(err), "`vlsn`");
    nxf_error_free(err);

    start(&ended);
    replica_ack(ended.feed->replica, 3);
    assert_int_equal(feed_wait_ended(ended.feed, &err), NXF_E_ACK_BEYOND_SENT);
    assert_string_equal(nxf_error_replica(err), "r1");
    assert_string_equal(nxf_error_message(err),
                        "replica 'r1': the replica acknowledged VLSN 3, but the highest sent is 2");
    nxf_error_free(err);
    assert_int_equal(nxf_runner_wait_acked(ended.feed->runner, 3, 0, &err), NXF_E_ACK_BEYOND_SENT);
    assert_string_equal(nxf_error_replica(err), "r1");
    nxf_error_free(err);
    /* The end callback has run: what it writes to is about to go. */
    assert_ok(nxf_runner_stop, ended.feed->runner, PATIENCE_MS);
}

static void so_does_one_of_a_run_on_the_callers_thread(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_error *err = NULL;
    log_add(feed->log, 1);
    log_add(feed->log, 3);
    feed_connect(feed, REPLICA_ACKS);
    feed_make_runner(feed, 1);
    feed_scan(feed);
    assert_int_equal(nxf_runner_run(feed->runner, feed->scanner, &err), NXF_E_LOG_GAP);
    feed->scanner = NULL;
    assert_string_equal(nxf_error_replica(err), "r1");
    nxf_error_free(err);
}

static void so_does_one_of_what_is_to_be_made_for_it(void **state)
{
    nxf_runner *runner = NULL;
    nxf_error *err = NULL;
    (void)state;
    assert_int_equal(nxf_runner_new(NULL, "r2", 1, NULL, &runner, &err), NXF_E_INVALID_ARGUMENT);
    assert_string_equal(nxf_error_replica(err), "r2");
    nxf_error_free(err);
    assert_int_equal(nxf_feeder_new("r3", NULL, NULL, &err), NXF_E_INVALID_ARGUMENT);
    assert_string_equal(nxf_error_replica(err), "r3");
    nxf_error_free(err);
}

static void so_does_one_of_its_tracker(void **state)
{
    nxf_feeder *feeder = NULL;
    nxf_error *err = NULL;
    (void)state;
    assert_ok(nxf_feeder_new, "r4", NULL, &feeder);
    assert_int_equal(nxf_feeder_set_state(feeder, 1000, &err), NXF_E_INVALID_ARGUMENT);
    assert_string_equal(nxf_error_replica(err), "r4");
    nxf_error_free(err);
    nxf_feeder_free(feeder);
}

static void an_error_about_none_names_none(void **state)
{
    nxf_log *log = NULL;
    nxf_error *err = NULL;
    (void)state;
    assert_int_equal(nxf_log_open("no-such-directory", NULL, &log, &err), NXF_E_LOG_IO);
    assert_string_equal(nxf_error_replica(err), "");
    assert_null(strstr(nxf_error_message(err), "replica"));
    nxf_error_free(err);
    assert_int_equal(nxf_runner_result(NULL, &err), NXF_E_INVALID_ARGUMENT);
    assert_string_equal(nxf_error_replica(err), "");
    nxf_error_free(err);
    assert_string_equal(nxf_error_replica(NULL), "");
}

static void a_runner_knows_its_replicas_name_and_keeps_a_pointer(void **state)
{
    struct ended ended = begin(state, false, 2);
    nxf_runner *runner = ended.feed->runner;
    int one = 1, other = 2;
    assert_string_equal(nxf_runner_replica_name(runner), "r1");
    assert_null(nxf_runner_user_pointer(runner));
    assert_int_equal(nxf_runner_set_user_pointer(runner, &one), NXF_OK);
    start(&ended);
    assert_ptr_equal(nxf_runner_user_pointer(runner), &one);
    assert_int_equal(nxf_runner_set_user_pointer(runner, &other), NXF_OK);
    assert_ok(nxf_runner_stop, runner, -1);
    assert_ptr_equal(nxf_runner_user_pointer(runner), &other);
    assert_int_equal(nxf_runner_set_user_pointer(runner, NULL), NXF_OK);
    assert_null(nxf_runner_user_pointer(runner));
    assert_string_equal(nxf_runner_replica_name(runner), "r1");
}

/* --- how far behind --- */

static bool is_all_sent(void *context)
{
    const nxf_runner_stats_t stats = feed_stats((struct feed *)context);
    return stats.log_state == NXF_LOG_AT_END && stats.queued_bytes == 0;
}

static bool is_all_acked(void *context)
{
    return feed_stats((struct feed *)context).unacked_bytes == 0;
}

static void the_lag_is_what_is_in_the_log_and_not_acknowledged(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_runner_stats_t stats;
    log_add_range(feed->log, 1, 20);
    feed_connect(feed, 0);
    feed_make_runner(feed, 11);
    stats = feed_stats(feed);
    assert_true(stats.last_known_vlsn == 10 && stats.lag_entries == 0 && stats.lag_bytes == 0);
    feed_start(feed);
    assert_soon(is_all_sent, feed);
    stats = feed_stats(feed);
    assert_int_equal(stats.last_known_vlsn, 20);
    assert_int_equal(stats.lag_entries, 10);
    assert_int_equal(stats.unacked_bytes, stats.bytes_sent);
    assert_int_equal(stats.unread_bytes, 0);
    assert_int_equal(stats.lag_bytes, stats.bytes_sent);

    replica_ack(feed->replica, 17);
    feed_wait_acked(feed, 17);
    assert_int_equal(feed_stats(feed).lag_entries, 3);

    replica_ack(feed->replica, 20);
    feed_wait_acked(feed, 20);
    assert_soon(is_all_acked, feed);
    stats = feed_stats(feed);
    assert_true(stats.lag_entries == 0 && stats.lag_bytes == 0 && stats.unacked_bytes == 0);

    /* What the log gets is behind, also when nobody feeds it any more. */
    assert_ok(nxf_runner_stop, feed->runner, -1);
    log_add_sized(feed->log, 21, 100);
    stats = feed_stats(feed);
    assert_int_equal(stats.unread_bytes, LOG_PAYLOAD_AT + 100);
    assert_int_equal(stats.lag_bytes, LOG_PAYLOAD_AT + 100);
}

static void what_is_held_back_is_known_and_behind(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_runner_stats_t stats;
    feed_set(feed, "log.gap_patience_ms", "86400000");
    feed_set(feed, "log.settle_ms", "86400000");
    log_add(feed->log, 1);
    log_add_sized(feed->log, 3, 50);
    log_add_sized(feed->log, 4, 50);
    feed_up(feed, REPLICA_ACKS);
    feed_wait_acked(feed, 1);
    assert_soon(is_all_sent, feed);
    stats = feed_stats(feed);
    assert_int_equal(stats.missing_vlsn, 2);
    assert_int_equal(stats.last_known_vlsn, 4);
    assert_int_equal(stats.lag_entries, 3);
    assert_int_equal(stats.unread_bytes, 2 * (LOG_PAYLOAD_AT + 50));
}

static void a_start_at_0_is_known_once_it_is_found(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_runner_stats_t stats;
    log_add_range(feed->log, 5, 8);
    feed_connect(feed, 0);
    feed_make_runner(feed, 0);
    assert_int_equal(feed_stats(feed).start_vlsn, 0);
    feed_start(feed);
    assert_soon(is_all_sent, feed);
    stats = feed_stats(feed);
    assert_int_equal(stats.start_vlsn, 5);
    assert_int_equal(stats.sent_vlsn, 8);
    assert_int_equal(stats.lag_entries, 4);
}

static bool has_read_its_fill(void *context)
{
    const nxf_runner_stats_t stats = feed_stats((struct feed *)context);
    return stats.queued_bytes >= 4096 && stats.log_state == NXF_LOG_READING;
}

/* A runner that has begun to feed a replica which takes nothing, and has read a small part of a log of two files. */
static nxf_log *feed_a_replica_that_hangs(struct feed *feed, uint64_t last)
{
    nxf_log *log = NULL;
    feed_set(feed, "runner.write_timeout_ms", "86400000");
    feed_set(feed, "runner.queue_bytes_max", "4096");
    feed_set(feed, "runner.chunk_bytes", "4096");
    feed_set(feed, "log.read_bytes", "65536");
    for (uint64_t vlsn = 1; vlsn <= last; vlsn++) {
        if (vlsn == last / 2)
            log_begin(feed->log, 1, 3);
        log_add_sized(feed->log, vlsn, 1000);
    }
    assert_ok(nxf_log_open, log_dir(feed->log), feed->options, &log);
    feed_connect_tcp(feed, REPLICA_READS_NOTHING, 4096);
    feed_make_runner(feed, 1);
    assert_ok(nxf_scanner_from_log, log, NXF_LSN_FIRST, &feed->scanner);
    assert_ok(nxf_runner_start, feed->runner, feed->scanner);
    feed->scanner = NULL;
    assert_soon(has_read_its_fill, feed);
    return log;
}

static void what_is_not_read_yet_is_behind_in_bytes_and_can_be_had_in_entries(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_log *log = feed_a_replica_that_hangs(feed, 1000);
    const uint64_t all = 1000 * (LOG_PAYLOAD_AT + 1000);
    nxf_runner_stats_t stats = feed_stats(feed);
    uint64_t first = 0, last = 0, added;
    const uint64_t before = stats.unread_bytes;
    assert_true(stats.read_vlsn < 1000);
    assert_int_equal(stats.last_known_vlsn, stats.read_vlsn);
    assert_int_equal(stats.lag_entries, stats.read_vlsn);
    assert_true(before > (1000 - stats.read_vlsn - 70) * (LOG_PAYLOAD_AT + 1000)); /* of 65536 bytes that it has */
    assert_true(before < all);
    assert_int_equal(stats.lag_bytes, stats.unacked_bytes + before);

    /* The log grows, and what of it is read meanwhile, if any, are whole entries. */
    log_add_sized(feed->log, 1001, 500);
    added = LOG_PAYLOAD_AT + 500;
    assert_int_equal((before + added - feed_stats(feed).unread_bytes) % (LOG_PAYLOAD_AT + 1000), 0);
    log_begin(feed->log, 2, 3);
    log_add_sized(feed->log, 1002, 10);
    added += LOG_FIRST_AT_V3 + LOG_PAYLOAD_AT + 10;
    assert_int_equal((before + added - feed_stats(feed).unread_bytes) % (LOG_PAYLOAD_AT + 1000), 0);

    assert_ok(nxf_log_vlsn_range, log, &first, &last);
    stats = feed_stats(feed);
    assert_int_equal(stats.last_known_vlsn, 1002);
    assert_int_equal(stats.lag_entries, 1002);
    nxf_log_free(log);
}

static void what_one_run_has_seen_every_run_of_the_log_knows(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_log *log = feed_a_replica_that_hangs(feed, 300);
    nxf_runner *hangs = feed->runner;
    struct replica *other = feed->replica;
    assert_true(feed_stats(feed).last_known_vlsn < 300);

    feed->replica = NULL;
    feed_connect(feed, REPLICA_ACKS);
    feed_make_runner(feed, 290);
    assert_ok(nxf_scanner_from_log, log, NXF_LSN_FIRST, &feed->scanner);
    assert_ok(nxf_runner_start, feed->runner, feed->scanner);
    feed->scanner = NULL;
    feed_wait_acked(feed, 300);
    feed_free_runner(feed);
    replica_free(feed->replica);
    feed->replica = other;
    feed->runner = hangs;
    assert_int_equal(feed_stats(feed).last_known_vlsn, 300);
    assert_int_equal(feed_stats(feed).lag_entries, 300);
    nxf_log_free(log);
}

/* --- since when --- */

static bool is_out_for_a_while(void *context)
{
    return feed_stats((struct feed *)context).oldest_unacked_ms >= 20;
}

static bool has_been_silent_for_a_while(void *context)
{
    return feed_stats((struct feed *)context).last_ack_ms >= 20;
}

static bool has_been_silent_for_long(void *context)
{
    return feed_stats((struct feed *)context).last_ack_ms >= 300;
}

static bool is_nothing_out(void *context)
{
    return feed_stats((struct feed *)context).oldest_unacked_ms == 0;
}

static void what_is_out_ages_until_it_is_acknowledged(void **state)
{
    struct feed *feed = feed_of(state);
    const long long begin = now_ms();
    nxf_runner_stats_t stats;
    log_add_range(feed->log, 1, 2);
    feed_up(feed, 0);
    assert_soon(is_out_for_a_while, feed);
    assert_soon(has_been_silent_for_a_while, feed);
    stats = feed_stats(feed);
    assert_true((long long)stats.oldest_unacked_ms <= now_ms() - begin);
    assert_true((long long)stats.last_ack_ms <= now_ms() - begin);
    replica_ack(feed->replica, 1);
    feed_wait_acked(feed, 1);
    assert_true(feed_stats(feed).oldest_unacked_ms >= 20); /* the other one went out with it */
    replica_ack(feed->replica, 2);
    feed_wait_acked(feed, 2);
    assert_soon(is_nothing_out, feed);
    assert_soon(has_been_silent_for_a_while, feed);
}

/* Asked for as often as it takes: the test's thread may sleep between an ack and a look. */
static bool is_heard_of_after_an_ack(void *context)
{
    struct feed *feed = (struct feed *)context;
    replica_ack(feed->replica, 1);
    nap();
    return !has_been_silent_for_long(feed);
}

static void an_ack_ends_the_silence_also_one_that_repeats(void **state)
{
    struct feed *feed = feed_of(state);
    log_add(feed->log, 1);
    feed_up(feed, REPLICA_ACKS);
    feed_wait_acked(feed, 1);
    assert_soon(has_been_silent_for_long, feed);
    assert_soon(is_heard_of_after_an_ack, feed);
}

static void after_the_end_it_is_as_it_was_then(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_runner_stats_t then;
    long long begin;
    log_add_range(feed->log, 1, 2);
    feed_up(feed, 0);
    assert_soon(is_out_for_a_while, feed);
    replica_close(feed->replica);
    assert_int_equal(feed_wait_ended(feed, NULL), NXF_OK);
    then = feed_stats(feed);
    assert_true(then.oldest_unacked_ms >= 20 && then.last_ack_ms >= 20);
    begin = now_ms();
    while (now_ms() < begin + 5)
        nap();
    assert_int_equal(feed_stats(feed).oldest_unacked_ms, then.oldest_unacked_ms);
    assert_int_equal(feed_stats(feed).last_ack_ms, then.last_ack_ms);
}

/* --- that it will end --- */

static bool is_ending(void *context)
{
    return feed_stats((struct feed *)context).is_ending;
}

static void a_log_that_cannot_be_read_on_is_known_before_all_is_sent(void **state)
{
    struct feed *feed = feed_of(state);
    feed_set(feed, "runner.write_timeout_ms", "86400000");
    for (uint64_t vlsn = 1; vlsn <= 3000; vlsn++)
        log_add_sized(feed->log, vlsn, 1000);
    log_add(feed->log, 3002);
    feed_set(feed, "runner.queue_bytes_max", "1073741824");
    feed_connect_tcp(feed, REPLICA_READS_NOTHING, 4096);
    feed_make_runner(feed, 1);
    assert_false(is_ending(feed));
    feed_start(feed);
    assert_soon(is_ending, feed);
    assert_int_equal(nxf_runner_state(feed->runner), NXF_RUN_RUNNING);
    assert_status(NXF_AGAIN, nxf_runner_result, feed->runner);
    replica_reset(feed->replica);
    assert_int_equal(feed_wait_ended(feed, NULL), NXF_E_LOG_GAP);
    assert_false(is_ending(feed));
}

static void a_run_that_is_being_stopped_is_ending(void **state)
{
    struct feed *feed = feed_of(state);
    feed_set(feed, "runner.linger_ms", "60000");
    log_add(feed->log, 1);
    feed_up(feed, REPLICA_STAYS);
    replica_wait_frames(feed->replica, 1);
    assert_status(NXF_TIMEOUT, nxf_runner_stop, feed->runner, 0);
    assert_soon(is_ending, feed);
    assert_int_equal(nxf_runner_state(feed->runner), NXF_RUN_RUNNING);
    replica_close(feed->replica);
    assert_ok(nxf_runner_stop, feed->runner, PATIENCE_MS);
    assert_false(is_ending(feed));
    assert_int_equal(nxf_runner_state(feed->runner), NXF_RUN_STOPPED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(states_have_names),
        feed_test(in_the_end_callback_stopped_is_stopped),
        feed_test(in_the_end_callback_closed_is_closed),
        feed_test(in_the_end_callback_reset_is_reset),
        feed_test(in_the_end_callback_failed_is_failed),
        feed_test(a_runner_that_is_stopped_before_its_start_is_stopped),
        feed_test(an_error_about_a_replica_names_it),
        feed_test(so_does_one_of_a_run_on_the_callers_thread),
        cmocka_unit_test(so_does_one_of_what_is_to_be_made_for_it),
        cmocka_unit_test(so_does_one_of_its_tracker),
        cmocka_unit_test(an_error_about_none_names_none),
        feed_test(a_runner_knows_its_replicas_name_and_keeps_a_pointer),
        feed_test(the_lag_is_what_is_in_the_log_and_not_acknowledged),
        feed_test(what_is_held_back_is_known_and_behind),
        feed_test(a_start_at_0_is_known_once_it_is_found),
        feed_test(what_is_not_read_yet_is_behind_in_bytes_and_can_be_had_in_entries),
        feed_test(what_one_run_has_seen_every_run_of_the_log_knows),
        feed_test(what_is_out_ages_until_it_is_acknowledged),
        feed_test(an_ack_ends_the_silence_also_one_that_repeats),
        feed_test(after_the_end_it_is_as_it_was_then),
        feed_test(a_log_that_cannot_be_read_on_is_known_before_all_is_sent),
        feed_test(a_run_that_is_being_stopped_is_ending),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
