/* How runs end: who ends them, for which reasons, what the host is told, and when objects are released. */
#include "support/feed.h"

#include <pthread.h>

/* A feed with a log of these VLSNs whose replica acknowledges all, with acks and the end recorded. */
static struct feed *feed_recorded(void **state, uint64_t last, unsigned ways)
{
    struct feed *feed = feed_of(state);
    log_add_range(feed->log, 1, last);
    feed_connect(feed, ways);
    feed_make_runner(feed, 1);
    feed_record_acks(feed);
    feed_record_end(feed);
    return feed;
}

static uint32_t run_state(struct feed *feed)
{
    return feed_stats(feed).run_state;
}

/* --- by the replica --- */

static void a_replica_that_closes_ends_the_run_without_an_error(void **state)
{
    struct feed *feed = feed_recorded(state, 2, REPLICA_ACKS);
    feed_start(feed);
    feed_wait_acked(feed, 2);
    assert_status(NXF_AGAIN, nxf_runner_result, feed->runner);
    assert_int_equal(run_state(feed), NXF_RUN_RUNNING);
    replica_close(feed->replica);
    record_wait(feed->record, "r1 ended NXF_OK");
    assert_status(NXF_OK, nxf_runner_result, feed->runner);
    assert_int_equal(run_state(feed), NXF_RUN_CLOSED_BY_REPLICA);
    feed_free_runner(feed);
    assert_record(feed->record, "r1 acked 1\nr1 acked 2\nr1 ended NXF_OK\nack context dropped\nend context dropped\n");
}

static void a_replica_that_breaks_off_ends_the_run_without_an_error(void **state)
{
    struct feed *feed = feed_of(state);
    log_add_range(feed->log, 1, 2);
    feed_connect_tcp(feed, REPLICA_ACKS, 0);
    feed_make_runner(feed, 1);
    feed_start(feed);
    feed_wait_acked(feed, 2);
    replica_reset(feed->replica);
    assert_int_equal(feed_wait_ended(feed, NULL), NXF_OK);
    assert_int_equal(run_state(feed), NXF_RUN_RESET_BY_REPLICA);
}

static void a_replica_that_closed_before_the_start_has_closed(void **state)
{
    struct feed *feed = feed_recorded(state, 2, 0);
    replica_close(feed->replica);
    feed_start(feed);
    record_wait(feed->record, "r1 ended NXF_OK");
    feed_free_runner(feed);
    assert_record(feed->record, "r1 ended NXF_OK\nack context dropped\nend context dropped\n");
}

static void what_a_replica_acked_before_it_closed_is_delivered(void **state)
{
    struct feed *feed = feed_recorded(state, 3, 0);
    feed_start(feed);
    replica_wait_frames(feed->replica, 3);
    replica_ack(feed->replica, 3);
    replica_close(feed->replica);
    record_wait(feed->record, "r1 ended NXF_OK");
    feed_free_runner(feed);
    assert_record(feed->record, "r1 acked 3\nr1 ended NXF_OK\nack context dropped\nend context dropped\n");
}

/* --- by the host --- */

static void a_run_can_be_stopped_any_number_of_times(void **state)
{
    struct feed *feed = feed_recorded(state, 2, REPLICA_ACKS);
    feed_start(feed);
    feed_wait_acked(feed, 2);
    assert_ok(nxf_runner_stop, feed->runner, -1);
    /* Nothing runs any more, and everything has been told. */
    assert_record(feed->record, "r1 acked 1\nr1 acked 2\nr1 ended NXF_OK\nack context dropped\nend context dropped\n");
    assert_ok(nxf_runner_stop, feed->runner, -1);
    assert_ok(nxf_runner_stop, feed->runner, 0);
    assert_status(NXF_OK, nxf_runner_result, feed->runner);
    assert_int_equal(run_state(feed), NXF_RUN_STOPPED);
    replica_wait_finished(feed->replica);
}

static void stopping_without_waiting_only_begins_it(void **state)
{
    struct feed *feed = feed_of(state);
    feed_set(feed, "runner.linger_ms", "60000");
    log_add(feed->log, 1);
    feed_up(feed, REPLICA_STAYS);
    replica_wait_frames(feed->replica, 1); /* and does not acknowledge it */
    assert_status(NXF_TIMEOUT, nxf_runner_stop, feed->runner, 0);
    assert_status(NXF_TIMEOUT, nxf_runner_stop, feed->runner, 1);
    replica_close(feed->replica);
    assert_ok(nxf_runner_stop, feed->runner, PATIENCE_MS);
}

static void the_last_acks_are_still_taken_when_a_run_is_stopped(void **state)
{
    feed_set(feed_of(state), "runner.linger_ms", "60000");
    struct feed *feed = feed_recorded(state, 2, REPLICA_STAYS);
    feed_start(feed);
    replica_wait_frames(feed->replica, 2);
    assert_status(NXF_TIMEOUT, nxf_runner_stop, feed->runner, 0);
    replica_wait_finished(feed->replica);
    replica_ack(feed->replica, 2);
    record_wait(feed->record, "r1 acked 2");
    replica_close(feed->replica);
    assert_ok(nxf_runner_stop, feed->runner, -1);
    assert_record(feed->record, "r1 acked 2\nr1 ended NXF_OK\nack context dropped\nend context dropped\n");
}

static void a_replica_that_never_closes_is_waited_for_only_so_long(void **state)
{
    struct feed *feed = feed_of(state);
    feed_set(feed, "runner.linger_ms", "20");
    feed_up(feed, REPLICA_STAYS);
    assert_ok(nxf_runner_stop, feed->runner, -1);
    assert_int_equal(run_state(feed), NXF_RUN_STOPPED);
}

static void freeing_ends_the_run_and_drops_the_contexts(void **state)
{
    struct feed *feed = feed_recorded(state, 2, REPLICA_ACKS);
    feed_start(feed);
    feed_wait_acked(feed, 2);
    feed_free_runner(feed);
    assert_record(feed->record, "r1 acked 1\nr1 acked 2\nr1 ended NXF_OK\nack context dropped\nend context dropped\n");
    replica_wait_finished(feed->replica);
}

static void freeing_what_never_ran_drops_the_contexts_and_closes(void **state)
{
    struct feed *feed = feed_recorded(state, 2, 0);
    feed_free_runner(feed);
    assert_record(feed->record, "ack context dropped\nend context dropped\n");
    replica_wait_finished(feed->replica);
    assert_int_equal(replica_count(feed->replica), 0);
    assert_int_equal(nxf_runner_free(NULL), NXF_OK);
}

static void contexts_need_no_drop(void **state)
{
    struct feed *feed = feed_of(state);
    log_add(feed->log, 1);
    feed_connect(feed, REPLICA_ACKS);
    feed_make_runner(feed, 1);
    assert_ok(nxf_runner_set_ack_callback, feed->runner, record_ack, feed->record, NULL);
    assert_ok(nxf_runner_set_end_callback, feed->runner, record_end, feed->record, NULL);
    feed_start(feed);
    feed_wait_acked(feed, 1);
    feed_free_runner(feed);
    assert_record(feed->record, "r1 acked 1\nr1 ended NXF_OK\n");
}

static void a_context_that_is_replaced_is_dropped(void **state)
{
    struct feed *feed = feed_recorded(state, 1, REPLICA_ACKS);
    assert_ok(nxf_runner_set_ack_callback, feed->runner, record_ack, feed->record, NULL);
    assert_record(feed->record, "ack context dropped\n");
    assert_ok(nxf_runner_set_end_callback, feed->runner, record_end, feed->record, NULL);
    feed_start(feed);
    feed_wait_acked(feed, 1);
    feed_free_runner(feed);
    assert_record(feed->record, "ack context dropped\nend context dropped\nr1 acked 1\nr1 ended NXF_OK\n");
}

/* --- on the caller's thread --- */

static void *stop_when_acked(void *context)
{
    const nxf_runner *runner = (const nxf_runner *)context;
    nxf_runner_wait_acked(runner, 2, -1, NULL);
    nxf_runner_stop(runner, -1, NULL);
    return NULL;
}

static void a_run_on_the_callers_thread_is_stopped_from_another(void **state)
{
    struct feed *feed = feed_recorded(state, 2, REPLICA_ACKS);
    pthread_t thread;
    pthread_create(&thread, NULL, stop_when_acked, feed->runner);
    feed_scan(feed);
    assert_ok(nxf_runner_run, feed->runner, feed->scanner);
    feed->scanner = NULL;
    pthread_join(thread, NULL);
    assert_record(feed->record, "r1 acked 1\nr1 acked 2\nr1 ended NXF_OK\nack context dropped\nend context dropped\n");
    assert_int_equal(run_state(feed), NXF_RUN_STOPPED);
}

static void a_run_on_the_callers_thread_returns_what_it_ended_with(void **state)
{
    struct feed *feed = feed_of(state);
    const uint64_t damaged = log_add(feed->log, 1);
    log_add(feed->log, 2);
    log_damage(feed->log, damaged, LOG_PAYLOAD_AT);
    feed_connect(feed, 0);
    feed_make_runner(feed, 1);
    feed_scan(feed);
    assert_refused(NXF_E_LOG_DAMAGED, "00000000.ndb", nxf_runner_run, feed->runner, feed->scanner);
    feed->scanner = NULL;
    assert_refused(NXF_E_LOG_DAMAGED, "00000000.ndb", nxf_runner_result, feed->runner);
}

static void *run(void *context)
{
    struct feed *feed = (struct feed *)context;
    const nxf_status status = nxf_runner_run(feed->runner, feed->scanner, NULL);
    record_add(feed->record, "run returned %s", nxf_status_name(status));
    return NULL;
}

static void a_run_on_another_thread_can_be_freed(void **state)
{
    struct feed *feed = feed_of(state);
    pthread_t thread;
    log_add(feed->log, 1);
    feed_connect(feed, REPLICA_ACKS);
    feed_make_runner(feed, 1);
    feed_scan(feed);
    pthread_create(&thread, NULL, run, feed);
    feed_wait_acked(feed, 1);
    assert_int_equal(nxf_runner_free(feed->runner), NXF_OK);
    pthread_join(thread, NULL);
    feed->runner = NULL;
    feed->scanner = NULL;
    assert_record(feed->record, "run returned NXF_OK\n");
}

/* --- by an error --- */

static void what_stands_before_damage_is_sent_before_the_run_ends(void **state)
{
    struct feed *feed = feed_recorded(state, 100, REPLICA_ACKS);
    const uint64_t damaged = log_add(feed->log, 101);
    log_add(feed->log, 102);
    log_damage(feed->log, damaged, LOG_PAYLOAD_AT);
    feed_start(feed);
    record_wait(feed->record, "r1 ended NXF_E_LOG_DAMAGED");
    replica_wait_finished(feed->replica);
    assert_frames(feed->replica, 1, 100);
    assert_int_equal(nxf_runner_known_replica_vlsn(feed->runner), 100);
    assert_int_equal(run_state(feed), NXF_RUN_FAILED);
}

static void the_result_is_the_same_error_each_time(void **state)
{
    struct feed *feed = feed_recorded(state, 3, REPLICA_ACKS);
    uint64_t vlsn = 0;
    nxf_error *err = NULL;
    log_add(feed->log, 5);
    feed_start(feed);
    record_wait(feed->record, "r1 ended NXF_E_LOG_GAP");
    assert_int_equal(nxf_runner_result(feed->runner, &err), NXF_E_LOG_GAP);
    assert_true(nxf_error_vlsn(err, &vlsn));
    assert_int_equal(vlsn, 4);
    assert_true(nxf_error_needs_restore(err));
    assert_refused(NXF_E_LOG_GAP, nxf_error_message(err), nxf_runner_result, feed->runner);
    nxf_error_free(err);
    /* To stop and to free a run that has failed is not a failure. */
    assert_ok(nxf_runner_stop, feed->runner, -1);
    feed_free_runner(feed);
}

static void a_replica_that_takes_nothing_is_given_up(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_error *err = NULL;
    log_add_sized(feed->log, 1, 4 * 1024 * 1024);
    feed_set(feed, "runner.write_timeout_ms", "30");
    feed_up(feed, REPLICA_READS_NOTHING);
    assert_int_equal(feed_wait_ended(feed, &err), NXF_E_WRITE_TIMEOUT);
    assert_contains(nxf_error_message(err), "30 ms");
    assert_true(nxf_error_is_retriable(err));
    nxf_error_free(err);
}

static void a_replica_that_acknowledges_nothing_is_given_up(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_error *err = NULL;
    log_add_range(feed->log, 1, 3);
    feed_set(feed, "runner.ack_timeout_ms", "30");
    feed_up(feed, REPLICA_STAYS);
    assert_int_equal(feed_wait_ended(feed, &err), NXF_E_ACK_TIMEOUT);
    assert_contains(nxf_error_message(err), "30 ms, with 3 frames");
    assert_true(nxf_error_is_retriable(err));
    nxf_error_free(err);
    replica_wait_frames(feed->replica, 3);
}

static void an_entry_too_large_for_a_frame_ends_the_run(void **state)
{
    struct feed *feed = feed_of(state);
    uint64_t vlsn = 0;
    nxf_error *err = NULL;
    if (is_slow())
        skip();
    log_add_range(feed->log, 1, 3);
    log_add_sized(feed->log, 4, 64 * 1024 * 1024);
    feed_up(feed, REPLICA_ACKS);
    assert_int_equal(feed_wait_ended(feed, &err), NXF_E_ENTRY_TOO_LARGE);
    assert_true(nxf_error_vlsn(err, &vlsn));
    assert_int_equal(vlsn, 4);
    nxf_error_free(err);
    replica_wait_finished(feed->replica);
    assert_frames(feed->replica, 1, 3);
}

static void record_end_with_words(void *context, const char *replica_name, nxf_status how, const nxf_error *why)
{
    struct feed *feed = (struct feed *)context;
    const nxf_status result = nxf_runner_result(feed->runner, NULL);
    const bool explained = strstr(nxf_error_message(why), "VLSN 4") != NULL;
    record_add(feed->record, "%s ended %s, result %s, %s", replica_name, nxf_status_name(how), nxf_status_name(result),
               explained ? "explained" : "not explained");
}

static void who_is_told_of_the_end_is_told_why(void **state)
{
    struct feed *feed = feed_of(state);
    log_add_range(feed->log, 1, 3);
    log_add(feed->log, 5);
    feed_connect(feed, REPLICA_ACKS);
    feed_make_runner(feed, 1);
    assert_ok(nxf_runner_set_end_callback, feed->runner, record_end_with_words, feed, NULL);
    feed_start(feed);
    assert_int_equal(feed_wait_ended(feed, NULL), NXF_E_LOG_GAP);
    assert_ok(nxf_runner_stop, feed->runner, -1);
    assert_record(feed->record, "r1 ended NXF_E_LOG_GAP, result NXF_E_LOG_GAP, explained\n");
}

/* --- many at once --- */

#define MANY 8

/* Static, because a failing test leaves them to the end of the program. */
static nxf_runner *many[MANY];
static struct replica *replicas[MANY];

/* Runs whose replicas read, do not acknowledge, and do not close; and that linger for a day. */
static void start_many(struct feed *feed, size_t count)
{
    log_add(feed->log, 1);
    feed_set(feed, "runner.linger_ms", "86400000");
    for (size_t at = 0; at < count; at++) {
        feed_connect(feed, REPLICA_STAYS);
        feed_make_runner(feed, 1);
        feed_record_end(feed);
        feed_start(feed);
        many[at] = feed->runner;
        replicas[at] = feed->replica;
        feed->runner = NULL;
        feed->replica = NULL;
        replica_wait_frames(replicas[at], 1);
    }
}

static void free_many(void)
{
    for (size_t at = 0; at < MANY; at++) {
        assert_int_equal(nxf_runner_free(many[at]), NXF_OK);
        replica_free(replicas[at]);
    }
}

static void *stop_many(void *status)
{
    *(nxf_status *)status = nxf_runner_stop_all(many, MANY, -1, NULL);
    return NULL;
}

/* One after the other, the second would not be told before the first has lingered, for a day. */
static void many_that_end_at_once_linger_at_once(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_status status = NXF_AGAIN;
    pthread_t stopping;
    start_many(feed, MANY);
    pthread_create(&stopping, NULL, stop_many, &status);
    for (size_t at = 0; at < MANY; at++)
        replica_wait_finished(replicas[at]);
    for (size_t at = 0; at < MANY; at++)
        assert_status(NXF_AGAIN, nxf_runner_result, many[at]);
    assert_status(NXF_TIMEOUT, nxf_runner_stop_all, many, MANY, 1);
    /* One after the other, so that what happens has an order. */
    for (size_t at = 0; at < MANY; at++) {
        replica_ack(replicas[at], 1);
        assert_ok(nxf_runner_stop, many[at], PATIENCE_MS);
    }
    pthread_join(stopping, NULL);
    assert_int_equal(status, NXF_OK);
    /* All have ended before the first is freed: to free them is to wait for nothing. */
    assert_record(feed->record, "r1 ended NXF_OK\nend context dropped\nr1 ended NXF_OK\nend context dropped\n"
                                "r1 ended NXF_OK\nend context dropped\nr1 ended NXF_OK\nend context dropped\n"
                                "r1 ended NXF_OK\nend context dropped\nr1 ended NXF_OK\nend context dropped\n"
                                "r1 ended NXF_OK\nend context dropped\nr1 ended NXF_OK\nend context dropped\n");
    free_many();
}

static void many_can_be_told_to_end_without_waiting(void **state)
{
    struct feed *feed = feed_of(state);
    start_many(feed, MANY);
    assert_status(NXF_TIMEOUT, nxf_runner_stop_all, many, MANY, 0);
    for (size_t at = 0; at < MANY; at++)
        replica_wait_finished(replicas[at]);
    for (size_t at = 1; at < MANY; at++)
        replica_ack(replicas[at], 1);
    assert_ok(nxf_runner_stop_all, many + 1, MANY - 1, -1);
    assert_status(NXF_TIMEOUT, nxf_runner_stop_all, many, MANY, 20); /* the first still lingers */
    replica_ack(replicas[0], 1);
    assert_ok(nxf_runner_stop_all, many, MANY, PATIENCE_MS);
    free_many();
}

static void whatever_has_become_of_them_many_can_be_ended(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_runner *all[6] = { NULL };
    log_add(feed->log, 1);
    log_add(feed->log, 3);
    feed_connect(feed, 0);
    feed_make_runner(feed, 1);
    all[1] = all[2] = feed->runner; /* never started, and twice */
    struct replica *first = feed->replica;
    feed_up(feed, REPLICA_ACKS);
    assert_int_equal(feed_wait_ended(feed, NULL), NXF_E_LOG_GAP);
    all[3] = feed->runner; /* failed */
    struct replica *second = feed->replica;
    feed_up(feed, REPLICA_ACKS);
    replica_close(feed->replica);
    feed_wait_ended(feed, NULL);
    all[4] = feed->runner; /* closed, or failed */
    feed->runner = NULL;
    assert_ok(nxf_runner_stop_all, all, 6, -1);
    assert_ok(nxf_runner_stop_all, all, 6, 0);
    assert_int_equal(nxf_runner_state(all[1]), NXF_RUN_STOPPED);
    assert_int_equal(nxf_runner_state(all[3]), NXF_RUN_FAILED);
    for (size_t at = 0; at < 6; at++) {
        if (at != 2)
            assert_int_equal(nxf_runner_free(all[at]), NXF_OK);
    }
    replica_free(first);
    replica_free(second);
}

/* The acks callback of the last of many runs. */
static void ack_that_stops_many(void *context, const char *replica_name, uint64_t vlsn)
{
    struct feed *feed = (struct feed *)context;
    nxf_error *err = NULL;
    (void)replica_name;
    (void)vlsn;
    const nxf_status status = nxf_runner_stop_all(many, MANY, -1, &err);
    record_add(feed->record, "%s for %s", nxf_status_name(status), nxf_error_replica(err));
    nxf_error_free(err);
}

static void where_one_of_them_would_wait_for_itself_none_is_ended(void **state)
{
    struct feed *feed = feed_of(state);
    start_many(feed, MANY - 1);
    feed_connect(feed, REPLICA_ACKS);
    assert_ok(nxf_runner_new, feed->channel, "the last", 1, feed->options, &many[MANY - 1]);
    feed->channel = NULL;
    assert_ok(nxf_runner_set_ack_callback, many[MANY - 1], ack_that_stops_many, feed, NULL);
    feed_scan(feed);
    assert_ok(nxf_runner_start, many[MANY - 1], feed->scanner);
    feed->scanner = NULL;
    replicas[MANY - 1] = feed->replica;
    feed->replica = NULL;
    record_wait(feed->record, "NXF_E_INSIDE_CALLBACK for the last");
    for (size_t at = 0; at < MANY; at++) {
        assert_status(NXF_AGAIN, nxf_runner_result, many[at]);
        assert_int_equal(nxf_runner_state(many[at]), NXF_RUN_RUNNING);
    }
    for (size_t at = 0; at < MANY - 1; at++)
        replica_ack(replicas[at], 1);
    assert_ok(nxf_runner_stop_all, many, MANY, -1);
    free_many();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        feed_test(a_replica_that_closes_ends_the_run_without_an_error),
        feed_test(a_replica_that_breaks_off_ends_the_run_without_an_error),
        feed_test(a_replica_that_closed_before_the_start_has_closed),
        feed_test(what_a_replica_acked_before_it_closed_is_delivered),
        feed_test(a_run_can_be_stopped_any_number_of_times),
        feed_test(stopping_without_waiting_only_begins_it),
        feed_test(the_last_acks_are_still_taken_when_a_run_is_stopped),
        feed_test(a_replica_that_never_closes_is_waited_for_only_so_long),
        feed_test(freeing_ends_the_run_and_drops_the_contexts),
        feed_test(freeing_what_never_ran_drops_the_contexts_and_closes),
        feed_test(contexts_need_no_drop),
        feed_test(a_context_that_is_replaced_is_dropped),
        feed_test(a_run_on_the_callers_thread_is_stopped_from_another),
        feed_test(a_run_on_the_callers_thread_returns_what_it_ended_with),
        feed_test(a_run_on_another_thread_can_be_freed),
        feed_test(what_stands_before_damage_is_sent_before_the_run_ends),
        feed_test(the_result_is_the_same_error_each_time),
        feed_test(a_replica_that_takes_nothing_is_given_up),
        feed_test(a_replica_that_acknowledges_nothing_is_given_up),
        feed_test(an_entry_too_large_for_a_frame_ends_the_run),
        feed_test(who_is_told_of_the_end_is_told_why),
        feed_test(many_that_end_at_once_linger_at_once),
        feed_test(many_can_be_told_to_end_without_waiting),
        feed_test(whatever_has_become_of_them_many_can_be_ended),
        feed_test(where_one_of_them_would_wait_for_itself_none_is_ended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
