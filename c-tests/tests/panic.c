/*
 * A defect of the library's, at places where this test can have it panic: linked with a library that was built for this
 * (src/failpoint.rs). It comes out as a status, and nothing is printed.
 */
#include "support/event.h"
#include "support/feed.h"
#include "support/sockets.h"

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#ifdef __cplusplus
extern "C" {
#endif
void nxf_fail_at(const char *name);
bool nxf_fail_is_to_come(void);
#ifdef __cplusplus
}
#endif

/* --- every test: standard output and error go to a file, which has to stay empty --- */

static int out = -1, err = -1, printed = -1;

static int set_up(void **state)
{
    fflush(stdout);
    fflush(stderr);
    out = fcntl(1, F_DUPFD_CLOEXEC, 10);
    err = fcntl(2, F_DUPFD_CLOEXEC, 10);
    printed = open("printed", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (out < 0 || err < 0 || dup2(printed, 1) < 0 || dup2(printed, 2) < 0)
        return -1;
    return feed_setup(state);
}

static int tear_down(void **state)
{
    char text[4000];
    nxf_fail_at(NULL);
    const int done = feed_teardown(state);
    fflush(stdout);
    fflush(stderr);
    dup2(out, 1);
    dup2(err, 2);
    close(out);
    close(err);
    lseek(printed, 0, SEEK_SET);
    const ssize_t len = read(printed, text, sizeof text - 1);
    close(printed);
    if (len == 0)
        return done;
    text[len < 0 ? 0 : len] = '\0';
    print_error("printed:\n%s\n", text);
    return -1;
}

/* --- calls --- */

/* The call fails by a panic at the failpoint, and the next one says that the handle is dead. */
#define assert_kills(failpoint, function, ...)                                                      \
    do {                                                                                            \
        nxf_fail_at(failpoint);                                                                     \
        assert_refused(NXF_E_PANIC, "forced at the failpoint " failpoint, function, __VA_ARGS__);   \
        assert_false(nxf_fail_is_to_come());                                                        \
        assert_refused(NXF_E_PANIC, "an earlier call failed inside the library", function, __VA_ARGS__); \
    } while (0)

static void a_panic_is_a_status_and_makes_a_log_unusable_and_no_other(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_log *dead = NULL, *other = NULL;
    nxf_scanner *scanner = NULL;
    uint64_t first = 0, last = 0;
    log_add(feed->log, 1);
    assert_ok(nxf_log_open, log_dir(feed->log), NULL, &dead);
    assert_ok(nxf_log_open, log_dir(feed->log), NULL, &other);
    assert_ok(nxf_scanner_from_log, dead, 0, &feed->scanner);
    assert_kills("log", nxf_log_vlsn_range, dead, &first, &last);
    assert_refused(NXF_E_PANIC, "", nxf_scanner_from_log, dead, 0, &scanner);
    assert_int_equal(nxf_log_notify(dead), NXF_E_PANIC);
    assert_int_equal(nxf_log_set_send_limit(dead, 0), NXF_E_PANIC);
    nxf_log_free(dead);
    assert_ok(nxf_log_vlsn_range, other, &first, &last);
    nxf_log_free(other);
    /* What was made of it before is a handle of its own. */
    nxf_entry entry;
    assert_ok(nxf_scanner_next, feed->scanner, 1, &entry);
}

static void a_panic_is_a_status_and_makes_options_unusable(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_log *log = NULL;
    assert_kills("options", nxf_options_set, feed->options, "log.settle_ms", "1");
    assert_refused(NXF_E_PANIC, "", nxf_log_open, ".", feed->options, &log);
    assert_null(log);
    assert_ok(nxf_log_open, ".", NULL, &log);
    nxf_log_free(log);
}

static void a_panic_is_a_status_and_makes_a_feeder_unusable(void **state)
{
    nxf_feeder *feeder = NULL;
    (void)state;
    assert_ok(nxf_feeder_new, "r1", NULL, &feeder);
    assert_ok(nxf_feeder_queue_entry, feeder, 7, 1, NULL, 0);
    assert_kills("feeder", nxf_feeder_queue_entry, feeder, 8, 1, NULL, 0);
    assert_int_equal(nxf_feeder_current_vlsn(feeder), 0);
    assert_int_equal(nxf_feeder_touch(feeder), NXF_E_PANIC);
    nxf_feeder_free(feeder);
}

/* It has its locks when it panics, and half a message. */
static void a_panic_in_the_middle_of_its_work_makes_a_channel_unusable(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_runner *runner = NULL;
    uint8_t buf[8];
    size_t len = 0;
    int fds[2];
    unix_pair(fds);
    assert_ok(nxf_channel_from_fd, fds[0], feed->options, &feed->channel);
    assert_true(send_all(fds[1], "\10\0\0", 3));
    assert_kills("receive", nxf_channel_receive, feed->channel, buf, sizeof buf, &len, 0);
    assert_refused(NXF_E_PANIC, "", nxf_channel_send, feed->channel, buf, 1);
    assert_refused(NXF_E_PANIC, "", nxf_channel_close, feed->channel);
    assert_false(nxf_channel_is_open(feed->channel));
    assert_refused(NXF_E_PANIC, "", nxf_runner_new, feed->channel, "r1", 1, NULL, &runner);
    assert_null(runner);
    /* Freeing closes it. */
    nxf_channel_free(feed->channel);
    feed->channel = NULL;
    assert_false(receive_all(fds[1], buf, 1));
    close(fds[1]);
}

static void a_panic_in_a_scanner_keeps_it_from_a_runner_and_the_runner_takes_another(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_entry entry;
    log_add(feed->log, 1);
    feed_scan(feed);
    assert_kills("scanner", nxf_scanner_next, feed->scanner, 1, &entry);
    feed_connect(feed, REPLICA_ACKS);
    feed_make_runner(feed, 1);
    assert_refused(NXF_E_WRONG_STATE, "failed inside the library", nxf_runner_start, feed->runner, feed->scanner);
    nxf_scanner_free(feed->scanner);
    feed->scanner = NULL;
    feed_start(feed);
    feed_wait_acked(feed, 1);
}

static void a_panic_is_a_status_and_a_runner_that_it_made_unusable_is_freed_while_it_runs(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_runner_stats_t stats;
    stats.struct_size = sizeof stats;
    log_add(feed->log, 1);
    feed_connect(feed, REPLICA_ACKS);
    feed_make_runner(feed, 1);
    feed_record_end(feed);
    feed_start(feed);
    feed_wait_acked(feed, 1);
    assert_kills("runner", nxf_runner_stats, feed->runner, &stats);
    assert_refused(NXF_E_PANIC, "", nxf_runner_stop, feed->runner, -1);
    assert_refused(NXF_E_PANIC, "", nxf_runner_result, feed->runner);
    assert_int_equal(nxf_runner_notify(feed->runner), NXF_E_PANIC);
    assert_int_equal(nxf_runner_known_replica_vlsn(feed->runner), 0);
    feed_free_runner(feed);
    assert_record(feed->record, "r1 ended NXF_OK\nend context dropped\n");
}

static void a_panic_in_a_call_without_a_handle_is_a_status_and_nothing_else(void **state)
{
    nxf_options *options = NULL;
    (void)state;
    nxf_fail_at("call");
    assert_refused(NXF_E_PANIC, "forced at the failpoint call", nxf_options_new, &options);
    assert_null(options);
    assert_ok(nxf_options_new, &options);
    nxf_options_free(options);
}

static void a_panic_while_something_is_freed_is_nobodys(void **state)
{
    struct feed *feed = feed_of(state);
    int fds[2];
    uint8_t byte;
    unix_pair(fds);
    assert_ok(nxf_channel_from_fd, fds[0], feed->options, &feed->channel);
    nxf_fail_at("free");
    nxf_channel_free(feed->channel);
    feed->channel = NULL;
    assert_false(nxf_fail_is_to_come());
    assert_false(receive_all(fds[1], &byte, 1));
    close(fds[1]);
}

/* --- runs --- */

static void record_words(void *context, uint32_t level, const char *target, const char *message)
{
    (void)target;
    record_add((struct record *)context, "%u %s", (unsigned)level, message);
}

static void record_end_with_words(void *context, const char *replica_name, nxf_status how, const nxf_error *why)
{
    record_add((struct record *)context, "%s ended %s: %s", replica_name, nxf_status_name(how), nxf_error_message(why));
}

#define WORDS "an internal error: forced at the failpoint receive; the handle cannot be used any more\n"

/* A runner that says and records everything, behind its first ack. */
static void make_runner(struct feed *feed)
{
    assert_ok(nxf_options_set_log_callback, feed->options, NXF_LEVEL_ERROR, record_words, feed->record, NULL);
    log_add(feed->log, 1);
    feed_connect(feed, REPLICA_ACKS);
    feed_make_runner(feed, 1);
    assert_ok(nxf_runner_set_ack_callback, feed->runner, record_ack, feed->record, record_drop_ack);
    assert_ok(nxf_runner_set_end_callback, feed->runner, record_end_with_words, feed->record, record_drop_end);
}

static void *wait_for_more(void *context)
{
    const struct feed *feed = (const struct feed *)context;
    record_add(feed->record, "waiting ended %s", nxf_status_name(nxf_runner_wait_acked(feed->runner, 100, -1, NULL)));
    return NULL;
}

static void a_panic_on_a_runners_thread_ends_its_run_with_an_error_and_no_other(void **state)
{
    struct feed *feed = feed_of(state);
    pthread_t waiter;
    make_runner(feed);
    feed_start(feed);
    record_wait(feed->record, "r1 acked 1");
    pthread_create(&waiter, NULL, wait_for_more, feed);
    nxf_fail_at("receive");
    log_add(feed->log, 2);
    record_wait(feed->record, "waiting ended NXF_E_PANIC");
    pthread_join(waiter, NULL);
    record_wait(feed->record, "end context dropped");
    assert_refused(NXF_E_PANIC, "forced", nxf_runner_result, feed->runner);
    assert_int_equal(feed_stats(feed).run_state, NXF_RUN_FAILED);
    assert_int_equal(nxf_runner_known_replica_vlsn(feed->runner), 1);
    assert_ok(nxf_runner_stop, feed->runner, -1);
    replica_wait_finished(feed->replica); /* the connection is closed */
    feed_free_runner(feed);
    replica_free(feed->replica);
    feed->replica = NULL;

    feed_up(feed, REPLICA_ACKS);
    feed_wait_acked(feed, 2);
}

static void a_panic_on_a_runners_thread_is_told_as_any_other_end(void **state)
{
    struct feed *feed = feed_of(state);
    make_runner(feed);
    feed_start(feed);
    record_wait(feed->record, "r1 acked 1");
    nxf_fail_at("receive");
    assert_int_equal(nxf_runner_notify(feed->runner), NXF_OK);
    assert_int_equal(feed_wait_ended(feed, NULL), NXF_E_PANIC);
    feed_free_runner(feed);
    nxf_options_free(feed->options);
    feed->options = NULL;
    assert_record(feed->record, "r1 acked 1\n1 replica 'r1': the run failed: " WORDS
                                "r1 ended NXF_E_PANIC: replica 'r1': " WORDS
                                "ack context dropped\nend context dropped\n");
}

static void a_panic_of_a_run_on_the_callers_thread_is_what_it_returns(void **state)
{
    struct feed *feed = feed_of(state);
    make_runner(feed);
    feed_scan(feed);
    nxf_fail_at("receive");
    assert_refused(NXF_E_PANIC, "forced", nxf_runner_run, feed->runner, feed->scanner);
    feed->scanner = NULL;
    feed_free_runner(feed);
    assert_record(feed->record, "1 replica 'r1': the run failed: " WORDS
                                "r1 ended NXF_E_PANIC: replica 'r1': " WORDS
                                "ack context dropped\nend context dropped\n");
}

/* There is no loop that could end the run, and still nobody waits forever. */
static void a_panic_while_a_run_begins_leaves_nobody_waiting(void **state)
{
    struct feed *feed = feed_of(state);
    for (int on_this_thread = 0; on_this_thread < 2; on_this_thread++) {
        feed_connect(feed, REPLICA_ACKS);
        feed_make_runner(feed, 1);
        feed_scan(feed);
        nxf_fail_at("prepare");
        /* The scanner stays the caller's, as this status says. */
        if (on_this_thread)
            assert_status(NXF_E_WRONG_STATE, nxf_runner_run, feed->runner, feed->scanner);
        else
            assert_status(NXF_E_WRONG_STATE, nxf_runner_start, feed->runner, feed->scanner);
        assert_false(nxf_fail_is_to_come());
        assert_refused(NXF_E_PANIC, "could not begin", nxf_runner_wait_acked, feed->runner, 1, -1);
        assert_refused(NXF_E_PANIC, "could not begin", nxf_runner_result, feed->runner);
        assert_ok(nxf_runner_stop, feed->runner, -1);
        feed_free_runner(feed);
        nxf_scanner_free(feed->scanner);
        feed->scanner = NULL;
        replica_free(feed->replica);
        feed->replica = NULL;
    }
}

#define panic_test(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        panic_test(a_panic_is_a_status_and_makes_a_log_unusable_and_no_other),
        panic_test(a_panic_is_a_status_and_makes_options_unusable),
        panic_test(a_panic_is_a_status_and_makes_a_feeder_unusable),
        panic_test(a_panic_in_the_middle_of_its_work_makes_a_channel_unusable),
        panic_test(a_panic_in_a_scanner_keeps_it_from_a_runner_and_the_runner_takes_another),
        panic_test(a_panic_is_a_status_and_a_runner_that_it_made_unusable_is_freed_while_it_runs),
        panic_test(a_panic_in_a_call_without_a_handle_is_a_status_and_nothing_else),
        panic_test(a_panic_while_something_is_freed_is_nobodys),
        panic_test(a_panic_on_a_runners_thread_ends_its_run_with_an_error_and_no_other),
        panic_test(a_panic_on_a_runners_thread_is_told_as_any_other_end),
        panic_test(a_panic_of_a_run_on_the_callers_thread_is_what_it_returns),
        panic_test(a_panic_while_a_run_begins_leaves_nobody_waiting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
