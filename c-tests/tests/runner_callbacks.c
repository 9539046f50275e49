/* What can be done inside callbacks, and on which threads they run. */
#include "support/feed.h"

#include <pthread.h>
#include <signal.h>

static void record_call(struct feed *feed, const char *call, nxf_status status)
{
    record_add(feed->record, "%s: %s", call, nxf_status_name(status));
}

/* --- what would wait for the callback itself --- */

static void call_what_waits(struct feed *feed)
{
    nxf_ack acks[1];
    size_t count;
    record_call(feed, "stop", nxf_runner_stop(feed->runner, -1, NULL));
    record_call(feed, "stop soon", nxf_runner_stop(feed->runner, 1000, NULL));
    record_call(feed, "free", nxf_runner_free(feed->runner));
    record_call(feed, "wait", nxf_runner_wait_acked(feed->runner, 1000, -1, NULL));
    record_call(feed, "poll", nxf_runner_poll_acks(feed->runner, acks, 1, -1, &count, NULL));
}

#define WAITING_REFUSED                                                                                    \
    "stop: NXF_E_INSIDE_CALLBACK\nstop soon: NXF_E_INSIDE_CALLBACK\nfree: NXF_E_INSIDE_CALLBACK\n"         \
    "wait: NXF_E_INSIDE_CALLBACK\npoll: NXF_E_INSIDE_CALLBACK\n"

static void ack_that_waits(void *context, const char *replica_name, uint64_t vlsn)
{
    (void)replica_name;
    (void)vlsn;
    call_what_waits((struct feed *)context);
}

static void end_that_waits(void *context, const char *replica_name, nxf_status how, const nxf_error *why)
{
    (void)replica_name;
    (void)how;
    (void)why;
    call_what_waits((struct feed *)context);
}

static struct feed *feed_with_ack_callback(void **state, nxf_ack_callback callback)
{
    struct feed *feed = feed_of(state);
    log_add(feed->log, 1);
    feed_connect(feed, REPLICA_ACKS);
    feed_make_runner(feed, 1);
    assert_ok(nxf_runner_set_ack_callback, feed->runner, callback, feed, NULL);
    return feed;
}

static void what_would_wait_for_an_ack_callback_is_refused_in_it(void **state)
{
    struct feed *feed = feed_with_ack_callback(state, ack_that_waits);
    feed_start(feed);
    record_wait(feed->record, "poll: NXF_E_INSIDE_CALLBACK");
    assert_status(NXF_AGAIN, nxf_runner_result, feed->runner);
    assert_ok(nxf_runner_stop, feed->runner, -1);
    assert_record(feed->record, WAITING_REFUSED);
}

static void what_would_wait_for_an_end_callback_is_refused_in_it(void **state)
{
    struct feed *feed = feed_of(state);
    feed_connect(feed, 0);
    feed_make_runner(feed, 1);
    assert_ok(nxf_runner_set_end_callback, feed->runner, end_that_waits, feed, NULL);
    feed_start(feed);
    assert_ok(nxf_runner_stop, feed->runner, -1);
    assert_record(feed->record, WAITING_REFUSED);
}

static void the_same_holds_on_the_callers_thread(void **state)
{
    struct feed *feed = feed_of(state);
    feed_connect(feed, 0);
    feed_make_runner(feed, 1);
    assert_ok(nxf_runner_set_end_callback, feed->runner, end_that_waits, feed, NULL);
    feed_scan(feed);
    replica_close(feed->replica);
    assert_ok(nxf_runner_run, feed->runner, feed->scanner);
    feed->scanner = NULL;
    assert_record(feed->record, WAITING_REFUSED);
}

/* --- what does not wait --- */

static void ack_that_calls_all_else(void *context, const char *replica_name, uint64_t vlsn)
{
    struct feed *feed = (struct feed *)context;
    nxf_runner_stats_t stats;
    nxf_ack acks[1];
    size_t count;
    int fd;
    (void)replica_name;
    stats.struct_size = sizeof stats;
    record_call(feed, "stats", nxf_runner_stats(feed->runner, &stats, NULL));
    record_call(feed, "result", nxf_runner_result(feed->runner, NULL));
    record_call(feed, "notify", nxf_runner_notify(feed->runner));
    record_call(feed, "fd", nxf_runner_event_fd(feed->runner, &fd, NULL));
    record_call(feed, "wait", nxf_runner_wait_acked(feed->runner, vlsn, 0, NULL));
    record_call(feed, "poll", nxf_runner_poll_acks(feed->runner, acks, 1, 0, &count, NULL));
    record_call(feed, "stop", nxf_runner_stop(feed->runner, 0, NULL));
}


static void what_does_not_wait_is_allowed_and_a_run_can_end_itself(void **state)
{
    struct feed *feed = feed_with_ack_callback(state, ack_that_calls_all_else);
    feed_start(feed);
    assert_int_equal(feed_wait_ended(feed, NULL), NXF_OK);
    assert_record(feed->record, "stats: NXF_OK\nresult: NXF_AGAIN\nnotify: NXF_OK\nfd: NXF_OK\nwait: NXF_OK\n"
                                "poll: NXF_TIMEOUT\nstop: NXF_TIMEOUT\n");
    assert_int_equal(feed_stats(feed).run_state, NXF_RUN_STOPPED);
}

/* --- while contexts are dropped --- */

static void drop_that_asks(void *context)
{
    struct feed *feed = (struct feed *)context;
    nxf_runner_stats_t stats;
    stats.struct_size = sizeof stats;
    record_call(feed, "stats", nxf_runner_stats(feed->runner, &stats, NULL));
}

static void a_context_that_is_replaced_is_dropped_with_no_lock_held(void **state)
{
    struct feed *feed = feed_of(state);
    feed_connect(feed, 0);
    feed_make_runner(feed, 1);
    assert_ok(nxf_runner_set_ack_callback, feed->runner, record_ack, feed, drop_that_asks);
    assert_ok(nxf_runner_set_ack_callback, feed->runner, record_ack, feed, NULL);
    assert_ok(nxf_runner_set_end_callback, feed->runner, record_end, feed, drop_that_asks);
    assert_ok(nxf_runner_set_end_callback, feed->runner, record_end, feed->record, NULL);
    assert_record(feed->record, "stats: NXF_OK\nstats: NXF_OK\n");
}

static void drop_that_stops(void *context)
{
    struct feed *feed = (struct feed *)context;
    nxf_runner_stop(feed->runner, -1, NULL);
    record_add(feed->record, "stop returned");
}

static void stopping_while_the_context_is_dropped_does_not_wait_for_itself(void **state)
{
    struct feed *feed = feed_of(state);
    for (int started = 0; started < 2; started++) {
        feed_connect(feed, 0);
        feed_make_runner(feed, 1);
        assert_ok(nxf_runner_set_ack_callback, feed->runner, record_ack, feed, drop_that_stops);
        if (started)
            feed_start(feed);
        feed_free_runner(feed);
        replica_free(feed->replica);
        feed->replica = NULL;
    }
    assert_record(feed->record, "stop returned\nstop returned\n");
}

/* --- other runners --- */

struct other {
    struct feed *feed;
    nxf_runner *runner;
};

/* Frees another runner than the one that calls. */
static void ack_that_frees_another(void *context, const char *replica_name, uint64_t vlsn)
{
    struct other *other = (struct other *)context;
    (void)replica_name;
    (void)vlsn;
    record_call(other->feed, "free", nxf_runner_free(other->runner));
}

static void other_runners_can_be_waited_for_in_a_callback(void **state)
{
    struct feed *feed = feed_of(state);
    struct other other = { feed, NULL };
    log_add(feed->log, 1);
    feed_up(feed, REPLICA_ACKS);
    other.runner = feed->runner;
    struct replica *first_replica = feed->replica;
    feed->runner = NULL;

    feed_connect(feed, REPLICA_ACKS);
    feed_make_runner(feed, 1);
    assert_ok(nxf_runner_set_ack_callback, feed->runner, ack_that_frees_another, &other, NULL);
    feed_start(feed);
    record_wait(feed->record, "free: NXF_OK");
    feed_free_runner(feed);
    replica_free(first_replica);
}

/* --- threads and signals --- */

struct seen {
    struct record *record;
    pthread_t thread;
    sigset_t mask;
};

static void look_around(void *context, const char *replica_name, uint64_t vlsn)
{
    struct seen *seen = (struct seen *)context;
    seen->thread = pthread_self();
    pthread_sigmask(SIG_SETMASK, NULL, &seen->mask);
    record_ack(seen->record, replica_name, vlsn);
}

static void the_runners_thread_takes_no_signals_of_the_hosts(void **state)
{
    static const int signals[] = { SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGCHLD, SIGALRM, SIGPIPE, SIGQUIT };
    struct feed *feed = feed_of(state);
    static struct seen seen;
    sigset_t before, after;
    seen.record = feed->record;
    log_add(feed->log, 1);
    feed_connect(feed, REPLICA_ACKS);
    feed_make_runner(feed, 1);
    assert_ok(nxf_runner_set_ack_callback, feed->runner, look_around, &seen, NULL);
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    feed_start(feed);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    record_wait(feed->record, "r1 acked 1");
    assert_false(pthread_equal(seen.thread, pthread_self()));
    for (size_t at = 0; at < sizeof signals / sizeof signals[0]; at++) {
        assert_int_equal(sigismember(&seen.mask, signals[at]), 1);
        assert_int_equal(sigismember(&after, signals[at]), sigismember(&before, signals[at]));
    }
}

static void a_run_on_the_callers_thread_leaves_it_its_signals(void **state)
{
    struct feed *feed = feed_of(state);
    static struct seen seen;
    seen.record = feed->record;
    log_add(feed->log, 1);
    feed_connect(feed, 0);
    feed_make_runner(feed, 2);
    assert_ok(nxf_runner_set_ack_callback, feed->runner, look_around, &seen, NULL);
    feed_scan(feed);
    replica_ack(feed->replica, 1);
    replica_close(feed->replica);
    assert_ok(nxf_runner_run, feed->runner, feed->scanner);
    feed->scanner = NULL;
    assert_record(feed->record, "r1 acked 1\n");
    assert_true(pthread_equal(seen.thread, pthread_self()));
    assert_int_equal(sigismember(&seen.mask, SIGUSR1), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        feed_test(what_would_wait_for_an_ack_callback_is_refused_in_it),
        feed_test(what_would_wait_for_an_end_callback_is_refused_in_it),
        feed_test(the_same_holds_on_the_callers_thread),
        feed_test(what_does_not_wait_is_allowed_and_a_run_can_end_itself),
        feed_test(a_context_that_is_replaced_is_dropped_with_no_lock_held),
        feed_test(stopping_while_the_context_is_dropped_does_not_wait_for_itself),
        feed_test(other_runners_can_be_waited_for_in_a_callback),
        feed_test(the_runners_thread_takes_no_signals_of_the_hosts),
        feed_test(a_run_on_the_callers_thread_leaves_it_its_signals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
