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

/* The callback has run, and what it was told stays. */
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
