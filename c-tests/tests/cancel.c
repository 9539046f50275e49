/*
 * Threads of the host's that are cancelled while they are in the library: nothing is cut off in the middle. The call
 * goes on to its end, and the thread ends when the host's own code comes to a place for it.
 */
#include "support/event.h"
#include "support/feed.h"
#include "support/sockets.h"

#include <unistd.h>

/* A thread that calls, and how it ended. */
struct caller {
    struct feed *feed;
    struct event event;
    pthread_t thread;
    nxf_status status;
    bool calls, returned, went_on;
    int state; /* whether it can be cancelled, after the call */
    char message[8];
    uint16_t port; /* where somebody listens */
};

static struct caller caller; /* static, because a failing test leaves it to the teardown */

/* On the thread that calls: from now on it may be cancelled, and comes to no place for it but in the library. */
static void note_call(void)
{
    event_lock(&caller.event);
    caller.calls = true;
    event_unlock(&caller.event);
}

static bool is_calling(void *unused)
{
    (void)unused;
    return caller.calls;
}

/* On the thread that calls: the cancel state as it was, and then a cancellation point. */
static void note_return(nxf_status status)
{
    event_lock(&caller.event);
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &caller.state);
    caller.status = status;
    caller.returned = true;
    event_unlock(&caller.event);
    pthread_setcancelstate(caller.state, NULL);
    pthread_testcancel();
    caller.went_on = true;
}

static void begin(struct feed *feed, void *(*body)(void *unused))
{
    caller.calls = caller.returned = caller.went_on = false;
    memset(caller.message, 0, sizeof caller.message);
    caller.feed = feed;
    event_init(&caller.event);
    assert_int_equal(pthread_create(&caller.thread, NULL, body, NULL), 0);
    event_lock(&caller.event);
    event_wait(&caller.event, is_calling, NULL);
    event_unlock(&caller.event);
}

/* It was cancelled, but not before its call had returned that. */
static void assert_cancelled_after(nxf_status status)
{
    void *result = NULL;
    assert_int_equal(pthread_join(caller.thread, &result), 0);
    assert_true(result == PTHREAD_CANCELED);
    assert_true(caller.returned && !caller.went_on);
    assert_int_equal(caller.state, PTHREAD_CANCEL_ENABLE);
    if (caller.status != status)
        fail_with("%s and not %s", nxf_status_name(caller.status), nxf_status_name(status));
    event_destroy(&caller.event);
}

/* --- in a run on the caller's thread --- */

static void *run(void *unused)
{
    note_call();
    note_return(nxf_runner_run(caller.feed->runner, caller.feed->scanner, NULL));
    return unused;
}

static void a_run_on_a_thread_that_is_cancelled_goes_on(void **state)
{
    struct feed *feed = feed_of(state);
    log_add(feed->log, 1);
    feed_connect(feed, REPLICA_ACKS);
    feed_make_runner(feed, 1);
    feed_scan(feed);
    begin(feed, run);
    feed_wait_acked(feed, 1);
    assert_int_equal(pthread_cancel(caller.thread), 0);
    log_add(feed->log, 2);
    feed_wait_acked(feed, 2);
    assert_ok(nxf_runner_stop, feed->runner, -1);
    assert_cancelled_after(NXF_OK);
    feed->scanner = NULL;
    assert_frames(feed->replica, 1, 2);
}

/* --- in calls that wait --- */

static void *wait_for_an_ack(void *unused)
{
    note_call();
    note_return(nxf_runner_wait_acked(caller.feed->runner, 1, -1, NULL));
    return unused;
}

static void *poll_for_an_ack(void *unused)
{
    nxf_ack acks[1];
    size_t count;
    note_call();
    pthread_cancel(pthread_self()); /* before, as the acknowledgement is there */
    note_return(nxf_runner_poll_acks(caller.feed->runner, acks, 1, -1, &count, NULL));
    return unused;
}

static void a_wait_for_acks_is_not_cut_off(void **state)
{
    struct feed *feed = feed_of(state);
    log_add(feed->log, 1);
    feed_up(feed, 0);
    replica_wait_frames(feed->replica, 1);
    begin(feed, wait_for_an_ack);
    pthread_cancel(caller.thread);
    replica_ack(feed->replica, 1);
    assert_cancelled_after(NXF_OK);
    begin(feed, poll_for_an_ack);
    assert_cancelled_after(NXF_OK);
}

static void *receive(void *unused)
{
    size_t len = 0;
    note_call();
    note_return(nxf_channel_receive(caller.feed->channel, (uint8_t *)caller.message, sizeof caller.message, &len, -1,
                                    NULL));
    return unused;
}

/* Whether it is cancelled before, in the middle of or after its call, which nobody can tell. */
static void a_receive_is_not_cut_off(void **state)
{
    static const uint8_t message[] = { 5, 0, 0, 0, 'h', 'e', 'l', 'l', 'o' };
    struct feed *feed = feed_of(state);
    int fds[2];
    unix_pair(fds);
    assert_ok(nxf_channel_from_fd, fds[0], NULL, &feed->channel);
    begin(feed, receive);
    assert_true(send_all(fds[1], message, 6)); /* a part, which it has to wait for the rest of */
    pthread_cancel(caller.thread);
    assert_true(send_all(fds[1], message + 6, sizeof message - 6));
    assert_cancelled_after(NXF_OK);
    assert_string_equal(caller.message, "hello");
    close(fds[1]);
}

/* --- in every kind of call, cancelled before the first --- */

static nxf_status use_everything(struct feed *feed)
{
    nxf_log *log = NULL;
    nxf_scanner *scanner = NULL;
    nxf_channel *channel = NULL;
    nxf_runner *runner = NULL;
    nxf_entry entry;
    uint64_t first, last;
    nxf_status status = nxf_log_open(log_dir(feed->log), NULL, &log, NULL);
    if (status == NXF_OK)
        status = nxf_log_vlsn_range(log, &first, &last, NULL);
    if (status == NXF_OK)
        status = nxf_scanner_from_log(log, NXF_LSN_FIRST, &scanner, NULL);
    if (status == NXF_OK)
        status = nxf_scanner_next(scanner, 1, &entry, NULL);
    nxf_scanner_free(scanner);
    scanner = NULL;
    if (status == NXF_OK)
        status = nxf_channel_tcp_connect("127.0.0.1", caller.port, NULL, &channel, NULL);
    if (status == NXF_OK)
        status = nxf_channel_send(channel, (const uint8_t *)"hello", 5, NULL);
    if (status == NXF_OK)
        status = nxf_scanner_open(log_dir(feed->log), NXF_LSN_FIRST, NULL, &scanner, NULL);
    if (status == NXF_OK)
        status = nxf_runner_new(channel, "r2", 1, NULL, &runner, NULL);
    if (status == NXF_OK)
        status = nxf_runner_start(runner, scanner, NULL);
    if (status == NXF_OK)
        status = nxf_log_notify(log);
    if (status == NXF_OK)
        status = nxf_runner_free(runner);
    nxf_log_free(log);
    return status;
}

/* The pending cancellation would take effect at the first place for it. Here are all calls, and none of the host's own. */
static void *call_everything(void *unused)
{
    note_call();
    pthread_cancel(pthread_self());
    note_return(use_everything(caller.feed));
    return unused;
}

static void no_call_is_cut_off_by_what_was_pending_before(void **state)
{
    struct feed *feed = feed_of(state);
    uint16_t port;
    const int listener = listen_on_loopback(&port);
    log_add(feed->log, 1);
    caller.port = port;
    begin(feed, call_everything);
    assert_cancelled_after(NXF_OK);
    close(listener);
}

/* --- where the library and the host take turns --- */

static nxf_status next_with_a_place_for_it(void *context, uint64_t from_vlsn, nxf_entry *entry)
{
    (void)context;
    pthread_testcancel();
    memset(entry, 0, sizeof *entry);
    entry->vlsn = from_vlsn;
    return NXF_OK;
}

static void say_with_a_place_for_it(void *context, uint32_t level, const char *target, const char *message)
{
    (void)level;
    (void)target;
    pthread_testcancel();
    record_add((struct record *)context, "%s", message);
}

static nxf_status read_everything(struct feed *feed)
{
    nxf_scanner *own = NULL;
    nxf_source_vtable vtable;
    nxf_entry entry;
    nxf_status status = nxf_options_set_log_callback(feed->options, NXF_LEVEL_DEBUG, say_with_a_place_for_it,
                                                     feed->record, NULL, NULL);
    memset(&vtable, 0, sizeof vtable);
    vtable.struct_size = sizeof vtable;
    vtable.next = next_with_a_place_for_it;
    if (status == NXF_OK)
        status = nxf_scanner_from_callbacks(&vtable, NULL, NULL, &own, NULL);
    for (uint64_t vlsn = 1; vlsn < 10 && status == NXF_OK; vlsn++)
        status = nxf_scanner_next(own, vlsn, &entry, NULL);
    nxf_scanner_free(own);
    if (status == NXF_OK)
        status = nxf_scanner_open(log_dir(feed->log), NXF_LSN_FIRST, feed->options, &feed->scanner, NULL);
    for (uint64_t vlsn = 1; status == NXF_OK; vlsn++)
        status = nxf_scanner_next(feed->scanner, vlsn, &entry, NULL);
    return status;
}

static void *call_to_read(void *unused)
{
    note_call();
    pthread_cancel(pthread_self());
    note_return(read_everything(caller.feed));
    return unused;
}

/* Many entries are there without a system call: there it is not held off, and there is no place for it. */
static void a_scanner_that_the_host_reads_is_not_cut_off(void **state)
{
    struct feed *feed = feed_of(state);
    char line[200];
    log_add_range(feed->log, 1, 300);
    log_begin(feed->log, 1, 3);
    log_add_range(feed->log, 301, 600);
    const uint64_t again = log_add(feed->log, 590); /* of which is spoken */
    begin(feed, call_to_read);
    assert_cancelled_after(NXF_AGAIN);
    snprintf(line, sizeof line, "VLSN 590 stands in the log again, at 00000001.ndb offset %u; repeats are not sent",
             (unsigned)(uint32_t)again);
    record_wait(feed->record, line);
}

/* --- in callbacks --- */

/* Whatever thread it is on. */
static void ack_that_cancels_its_thread(void *context, const char *replica_name, uint64_t vlsn)
{
    if (vlsn == 1)
        pthread_cancel(pthread_self());
    record_ack(context, replica_name, vlsn);
    pthread_testcancel();
}

static void a_library_thread_cannot_be_cancelled(void **state)
{
    struct feed *feed = feed_of(state);
    log_add_range(feed->log, 1, 2);
    feed_connect(feed, REPLICA_ACKS);
    feed_make_runner(feed, 1);
    assert_ok(nxf_runner_set_ack_callback, feed->runner, ack_that_cancels_its_thread, feed->record, record_drop_ack);
    feed_start(feed);
    record_wait(feed->record, "r1 acked 2");
    feed_free_runner(feed);
    assert_record(feed->record, "r1 acked 1\nr1 acked 2\nack context dropped\n");
}

/* --- */

/* A thread has the same cancel state before and after a call. */
static void a_call_leaves_the_cancel_state_as_it_was(void **state)
{
    struct feed *feed = feed_of(state);
    int before = -1;
    feed_scan(feed);
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    assert_int_equal(before, PTHREAD_CANCEL_ENABLE);
    nxf_scanner_free(feed->scanner);
    feed->scanner = NULL;
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &before);
    assert_int_equal(before, PTHREAD_CANCEL_DISABLE);
    feed_scan(feed);
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &before);
    assert_int_equal(before, PTHREAD_CANCEL_ENABLE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        feed_test(a_run_on_a_thread_that_is_cancelled_goes_on),
        feed_test(a_wait_for_acks_is_not_cut_off),
        feed_test(a_receive_is_not_cut_off),
        feed_test(no_call_is_cut_off_by_what_was_pending_before),
        feed_test(a_scanner_that_the_host_reads_is_not_cut_off),
        feed_test(a_library_thread_cannot_be_cancelled),
        feed_test(a_call_leaves_the_cancel_state_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
