/* Runners used wrongly: what is refused, and whose everything stays. */
#include "support/feed.h"
#include "support/sockets.h"

#include <pthread.h>
#include <unistd.h>

/* --- making one --- */

/* The channel is still the caller's, and works. */
static void assert_channel_works(struct feed *feed)
{
    assert_true(nxf_channel_is_open(feed->channel));
    feed_make_runner(feed, 1);
    log_add(feed->log, 1);
    feed_start(feed);
    replica_wait_frames(feed->replica, 1);
}

static void null_and_nonsense_make_no_runner_and_leave_the_channel(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_runner *runner = NULL;
    feed_connect(feed, 0);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`channel`", nxf_runner_new, NULL, "r1", 1, NULL, &runner);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`replica_name`", nxf_runner_new, feed->channel, NULL, 1, NULL, &runner);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`replica_name`", nxf_runner_new, feed->channel, "\xff", 1, NULL, &runner);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`runner`", nxf_runner_new, feed->channel, "r1", 1, NULL, NULL);
    assert_null(runner);
    assert_channel_works(feed);
}

static void a_closed_channel_makes_no_runner_and_stays_the_callers(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_runner *runner = NULL;
    feed_connect(feed, 0);
    assert_ok(nxf_channel_close, feed->channel);
    assert_status(NXF_CLOSED, nxf_runner_new, feed->channel, "r1", 1, NULL, &runner);
    assert_null(runner);
    assert_false(nxf_channel_is_open(feed->channel));
}

static void *receive(void *context)
{
    uint8_t buf[1];
    size_t len;
    nxf_channel_receive((nxf_channel *)context, buf, sizeof buf, &len, -1, NULL);
    return NULL;
}

static bool is_taken(void *fd)
{
    return !has_bytes_to_receive(*(int *)fd);
}

static void a_channel_that_another_thread_uses_cannot_be_handed_over(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_runner *runner = NULL;
    pthread_t thread;
    int fds[2];
    unix_pair(fds);
    assert_ok(nxf_channel_from_fd, fds[0], NULL, &feed->channel);
    pthread_create(&thread, NULL, receive, feed->channel);
    /* It is surely receiving when it has taken the beginning of a message. */
    assert_true(send_all(fds[1], "\1", 1));
    assert_soon(is_taken, &fds[0]);
    assert_refused(NXF_E_WRONG_STATE, "channel", nxf_runner_new, feed->channel, "r1", 1, NULL, &runner);
    assert_null(runner);
    assert_ok(nxf_channel_close, feed->channel);
    pthread_join(thread, NULL);
    close(fds[1]);
}

/* --- callbacks --- */

static void callbacks_cannot_be_null(void **state)
{
    struct feed *feed = feed_of(state);
    feed_connect(feed, 0);
    feed_make_runner(feed, 1);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`callback`", nxf_runner_set_ack_callback, feed->runner, NULL, feed->record,
                   record_drop_ack);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`callback`", nxf_runner_set_end_callback, feed->runner, NULL, feed->record,
                   record_drop_end);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`runner`", nxf_runner_set_ack_callback, NULL, record_ack, feed->record,
                   record_drop_ack);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`runner`", nxf_runner_set_end_callback, NULL, record_end, feed->record,
                   record_drop_end);
    feed_free_runner(feed);
    assert_record(feed->record, ""); /* the contexts stayed the caller's */
}

static void callbacks_cannot_be_set_after_the_start(void **state)
{
    struct feed *feed = feed_of(state);
    feed_up(feed, 0);
    assert_refused(NXF_E_WRONG_STATE, "started", nxf_runner_set_ack_callback, feed->runner, record_ack, feed->record,
                   record_drop_ack);
    assert_refused(NXF_E_WRONG_STATE, "started", nxf_runner_set_end_callback, feed->runner, record_end, feed->record,
                   record_drop_end);
    feed_free_runner(feed);
    assert_record(feed->record, "");
}

/* --- starting --- */

/* The scanner is still the caller's, and works. */
static void assert_scanner_works(struct feed *feed)
{
    nxf_entry entry;
    log_add(feed->log, 7);
    assert_ok(nxf_scanner_next, feed->scanner, 7, &entry);
    assert_int_equal(entry.vlsn, 7);
}

static void nothing_starts_without_a_scanner_or_a_runner(void **state)
{
    struct feed *feed = feed_of(state);
    feed_connect(feed, 0);
    feed_make_runner(feed, 1);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`scanner`", nxf_runner_start, feed->runner, NULL);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`scanner`", nxf_runner_run, feed->runner, NULL);
    feed_scan(feed);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`runner`", nxf_runner_start, NULL, feed->scanner);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`runner`", nxf_runner_run, NULL, feed->scanner);
    assert_scanner_works(feed);
    /* And the runner can still be started. */
    assert_int_equal(feed_stats(feed).run_state, NXF_RUN_NEW);
    assert_ok(nxf_runner_start, feed->runner, feed->scanner);
    feed->scanner = NULL;
}

static void a_runner_starts_once(void **state)
{
    struct feed *feed = feed_of(state);
    feed_up(feed, 0);
    feed_scan(feed);
    assert_refused(NXF_E_WRONG_STATE, "started", nxf_runner_start, feed->runner, feed->scanner);
    assert_refused(NXF_E_WRONG_STATE, "started", nxf_runner_run, feed->runner, feed->scanner);
    assert_ok(nxf_runner_stop, feed->runner, -1);
    assert_refused(NXF_E_WRONG_STATE, "", nxf_runner_start, feed->runner, feed->scanner);
    assert_refused(NXF_E_WRONG_STATE, "", nxf_runner_run, feed->runner, feed->scanner);
    assert_scanner_works(feed);
}

static void a_runner_that_was_stopped_before_it_started_cannot_be_started(void **state)
{
    struct feed *feed = feed_of(state);
    feed_connect(feed, 0);
    feed_make_runner(feed, 1);
    feed_record_end(feed);
    assert_ok(nxf_runner_stop, feed->runner, -1);
    feed_scan(feed);
    assert_refused(NXF_E_WRONG_STATE, "stopped", nxf_runner_start, feed->runner, feed->scanner);
    assert_refused(NXF_E_WRONG_STATE, "stopped", nxf_runner_run, feed->runner, feed->scanner);
    assert_scanner_works(feed);
    feed_free_runner(feed);
    assert_record(feed->record, "end context dropped\n");
}

static void what_waits_for_a_runner_that_was_stopped_before_it_started_ends(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_ack acks[1];
    size_t count;
    int fd;
    feed_connect(feed, 0);
    feed_make_runner(feed, 1);
    assert_ok(nxf_runner_stop, feed->runner, -1);
    assert_status(NXF_CLOSED, nxf_runner_wait_acked, feed->runner, 1, -1);
    assert_status(NXF_CLOSED, nxf_runner_poll_acks, feed->runner, acks, 1, -1, &count);
    assert_status(NXF_OK, nxf_runner_result, feed->runner);
    assert_int_equal(feed_stats(feed).run_state, NXF_RUN_STOPPED);
    assert_ok(nxf_runner_event_fd, feed->runner, &fd);
    wait_readable(fd);
}

static void what_was_read_from_a_scanner_before_is_not_left_out_in_silence(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_entry entry;
    log_add_range(feed->log, 1, 10);
    feed_connect(feed, 0);
    feed_make_runner(feed, 1);
    feed_scan(feed);
    for (uint64_t vlsn = 1; vlsn <= 5; vlsn++)
        assert_ok(nxf_scanner_next, feed->scanner, vlsn, &entry);
    assert_ok(nxf_runner_start, feed->runner, feed->scanner);
    feed->scanner = NULL;
    assert_int_equal(feed_wait_ended(feed, NULL), NXF_E_LOG_GAP);
    assert_frames(feed->replica, 1, 0);
}

static void a_scanner_can_be_read_up_to_the_start(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_entry entry;
    log_add_range(feed->log, 1, 10);
    feed_connect(feed, REPLICA_ACKS);
    feed_make_runner(feed, 6);
    feed_scan(feed);
    for (uint64_t vlsn = 1; vlsn <= 5; vlsn++)
        assert_ok(nxf_scanner_next, feed->scanner, vlsn, &entry);
    assert_ok(nxf_runner_start, feed->runner, feed->scanner);
    feed->scanner = NULL;
    feed_wait_acked(feed, 10);
    assert_frames(feed->replica, 6, 10);
}

/* --- asking --- */

static void null_is_refused_by_name(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_runner_stats_t stats;
    nxf_ack acks[1];
    size_t count;
    int fd;
    stats.struct_size = sizeof stats;
    assert_refused(NXF_E_INVALID_ARGUMENT, "`runner`", nxf_runner_poll_acks, NULL, acks, 1, 0, &count);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`runner`", nxf_runner_event_fd, NULL, &fd);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`runner`", nxf_runner_wait_acked, NULL, 1, 0);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`runner`", nxf_runner_stats, NULL, &stats);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`runner`", nxf_runner_stop, NULL, 0);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`runner`", nxf_runner_result, NULL);
    assert_int_equal(nxf_runner_notify(NULL), NXF_E_INVALID_ARGUMENT);
    assert_int_equal(nxf_runner_known_replica_vlsn(NULL), 0);

    feed_up(feed, 0);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`acks`", nxf_runner_poll_acks, feed->runner, NULL, 1, 0, &count);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`acks`", nxf_runner_poll_acks, feed->runner, acks, SIZE_MAX, 0, &count);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`capacity`", nxf_runner_poll_acks, feed->runner, acks, 0, 0, &count);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`count`", nxf_runner_poll_acks, feed->runner, acks, 1, 0, NULL);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`fd`", nxf_runner_event_fd, feed->runner, NULL);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`stats`", nxf_runner_stats, feed->runner, NULL);
    assert_int_equal(feed_stats(feed).run_state, NXF_RUN_RUNNING);
}

static void a_runner_that_was_not_started_can_be_asked(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_ack acks[1];
    size_t count;
    feed_connect(feed, 0);
    feed_make_runner(feed, 10);
    assert_status(NXF_AGAIN, nxf_runner_result, feed->runner);
    assert_status(NXF_TIMEOUT, nxf_runner_poll_acks, feed->runner, acks, 1, 0, &count);
    assert_status(NXF_TIMEOUT, nxf_runner_wait_acked, feed->runner, 10, 0);
    assert_int_equal(nxf_runner_known_replica_vlsn(feed->runner), 0);
    assert_int_equal(nxf_runner_notify(feed->runner), NXF_OK);
    const nxf_runner_stats_t stats = feed_stats(feed);
    assert_int_equal(stats.run_state, NXF_RUN_NEW);
    assert_int_equal(stats.start_vlsn, 10);
    assert_int_equal(stats.read_vlsn, 9);
    assert_int_equal(stats.sent_vlsn, 9);
}

/* --- figures for hosts of other versions --- */

static void stats_are_written_as_far_as_the_struct_goes(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_runner_stats_t stats;
    feed_connect(feed, 0);
    feed_make_runner(feed, 10);
    memset(&stats, 0xee, sizeof stats);
    stats.struct_size = offsetof(nxf_runner_stats_t, read_vlsn);
    assert_ok(nxf_runner_stats, feed->runner, &stats);
    assert_int_equal(stats.start_vlsn, 10);
    assert_int_equal(stats.read_vlsn, 0xeeeeeeeeeeeeeeeeu);
    assert_int_equal(stats.callback_longest_ns, 0xeeeeeeeeeeeeeeeeu);
}

static void stats_of_a_larger_struct_are_left_as_they_are_behind_those_known(void **state)
{
    struct feed *feed = feed_of(state);
    struct {
        nxf_runner_stats_t stats;
        uint64_t of_a_later_version;
    } larger;
    feed_connect(feed, 0);
    feed_make_runner(feed, 10);
    memset(&larger, 0xee, sizeof larger);
    larger.stats.struct_size = sizeof larger;
    assert_ok(nxf_runner_stats, feed->runner, &larger.stats);
    assert_int_equal(larger.stats.read_vlsn, 9);
    assert_int_equal(larger.stats.callback_longest_ns, 0);
    assert_int_equal(larger.of_a_later_version, 0xeeeeeeeeeeeeeeeeu);
}

static void stats_without_a_size_are_refused(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_runner_stats_t stats;
    memset(&stats, 0, sizeof stats);
    feed_connect(feed, 0);
    feed_make_runner(feed, 10);
    assert_refused(NXF_E_INVALID_ARGUMENT, "struct_size", nxf_runner_stats, feed->runner, &stats);
    stats.struct_size = sizeof stats.struct_size - 1;
    assert_refused(NXF_E_INVALID_ARGUMENT, "struct_size", nxf_runner_stats, feed->runner, &stats);
    assert_int_equal(stats.start_vlsn, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        feed_test(null_and_nonsense_make_no_runner_and_leave_the_channel),
        feed_test(a_closed_channel_makes_no_runner_and_stays_the_callers),
        feed_test(a_channel_that_another_thread_uses_cannot_be_handed_over),
        feed_test(callbacks_cannot_be_null),
        feed_test(callbacks_cannot_be_set_after_the_start),
        feed_test(nothing_starts_without_a_scanner_or_a_runner),
        feed_test(a_runner_starts_once),
        feed_test(a_runner_that_was_stopped_before_it_started_cannot_be_started),
        feed_test(what_waits_for_a_runner_that_was_stopped_before_it_started_ends),
        feed_test(what_was_read_from_a_scanner_before_is_not_left_out_in_silence),
        feed_test(a_scanner_can_be_read_up_to_the_start),
        feed_test(null_is_refused_by_name),
        feed_test(a_runner_that_was_not_started_can_be_asked),
        feed_test(stats_are_written_as_far_as_the_struct_goes),
        feed_test(stats_of_a_larger_struct_are_left_as_they_are_behind_those_known),
        feed_test(stats_without_a_size_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
