/* What can be done inside callbacks, and on which threads they run. */
#include "support/event.h"
#include "support/feed.h"
#include "support/sockets.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

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

/* --- the same in functions of the host's own source and channel, and in the log callback --- */

/* How often one of them was called, and how many of the calls in it were refused. */
struct visits {
    unsigned visits, refused;
};

struct inside {
    struct event event;
    nxf_runner *runner;
    nxf_channel *inner;
    struct visits next, release, send, receive, close, log;
};

static struct inside inside;

#define CALLS_THAT_WAIT 5

static void visit(struct visits *visits)
{
    nxf_ack acks[1];
    size_t count;
    const nxf_status statuses[CALLS_THAT_WAIT] = {
        nxf_runner_stop(inside.runner, -1, NULL),
        nxf_runner_stop(inside.runner, 1000, NULL),
        nxf_runner_free(inside.runner),
        nxf_runner_wait_acked(inside.runner, 1000, -1, NULL),
        nxf_runner_poll_acks(inside.runner, acks, 1, -1, &count, NULL),
    };
    event_lock(&inside.event);
    visits->visits++;
    for (size_t at = 0; at < CALLS_THAT_WAIT; at++)
        visits->refused += statuses[at] == NXF_E_INSIDE_CALLBACK;
    event_unlock(&inside.event);
}

static void assert_all_refused(const char *where, const struct visits *visits)
{
    if (visits->visits == 0 || visits->refused != visits->visits * CALLS_THAT_WAIT)
        fail_with("%s: called %u times, %u calls in it refused", where, visits->visits, visits->refused);
}

static nxf_status next_that_waits(void *context, uint64_t from_vlsn, nxf_entry *entry)
{
    (void)context;
    visit(&inside.next);
    if (from_vlsn > 3)
        return NXF_AGAIN;
    memset(entry, 0, sizeof *entry);
    entry->vlsn = from_vlsn;
    return NXF_OK;
}

static void release_that_waits(void *context, const nxf_entry *entry)
{
    (void)context;
    (void)entry;
    visit(&inside.release);
}

static nxf_status send_that_waits(void *context, const uint8_t *message, size_t len)
{
    (void)context;
    visit(&inside.send);
    return nxf_channel_send(inside.inner, message, len, NULL);
}

static nxf_status receive_that_waits(void *context, uint8_t *buf, size_t capacity, size_t *len, int timeout_ms)
{
    (void)context;
    visit(&inside.receive);
    return nxf_channel_receive(inside.inner, buf, capacity, len, timeout_ms, NULL);
}

static void close_that_waits(void *context)
{
    (void)context;
    visit(&inside.close);
    nxf_channel_close(inside.inner, NULL);
}

static void drop_inner(void *context)
{
    (void)context;
    nxf_channel_free(inside.inner);
}

static void log_that_waits(void *context, uint32_t level, const char *target, const char *message)
{
    (void)context;
    (void)level;
    (void)target;
    (void)message;
    if (inside.runner != NULL)
        visit(&inside.log);
}

/* Acknowledges the frames that arrive at the other end. */
static void *acknowledge(void *context)
{
    const int fd = *(const int *)context;
    uint8_t frame[4 + NXF_FRAME_HEADER_LEN], ack[ACK_MESSAGE_LEN];
    while (receive_all(fd, frame, sizeof frame)) {
        encode_ack(ack, frame[4]);
        if (!send_all(fd, ack, sizeof ack))
            break;
    }
    return NULL;
}

static void what_would_wait_is_refused_in_a_source_a_channel_and_a_log_callback(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_source_vtable source;
    nxf_channel_vtable channel;
    pthread_t replica;
    static int fds[2];
    memset(&inside, 0, sizeof inside);
    event_init(&inside.event);
    memset(&source, 0, sizeof source);
    source.struct_size = sizeof source;
    source.next = next_that_waits;
    source.release = release_that_waits;
    memset(&channel, 0, sizeof channel);
    channel.struct_size = sizeof channel;
    channel.send = send_that_waits;
    channel.receive = receive_that_waits;
    channel.close = close_that_waits;
    channel.drop = drop_inner;
    unix_pair(fds);
    pthread_create(&replica, NULL, acknowledge, &fds[1]);
    assert_ok(nxf_options_set_log_callback, feed->options, NXF_LEVEL_DEBUG, log_that_waits, NULL, NULL);
    assert_ok(nxf_channel_from_fd, fds[0], NULL, &inside.inner);
    assert_ok(nxf_channel_from_callbacks, &channel, NULL, feed->options, &feed->channel);
    assert_ok(nxf_scanner_from_callbacks, &source, NULL, feed->options, &feed->scanner);
    feed_make_runner(feed, 1);
    inside.runner = feed->runner;
    assert_ok(nxf_runner_start, feed->runner, feed->scanner);
    feed->scanner = NULL;
    feed_wait_acked(feed, 3);
    feed_free_runner(feed);
    pthread_join(replica, NULL);
    close(fds[1]);
    assert_all_refused("next", &inside.next);
    assert_all_refused("release", &inside.release);
    assert_all_refused("send", &inside.send);
    assert_all_refused("receive", &inside.receive);
    assert_all_refused("close", &inside.close);
    assert_all_refused("log callback", &inside.log); /* that the run has ended */
    event_destroy(&inside.event);
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
    record_add(feed->record, "known: %llu", (unsigned long long)nxf_runner_known_replica_vlsn(feed->runner));
    record_call(feed, "stop", nxf_runner_stop(feed->runner, 0, NULL));
}

static void what_does_not_wait_is_allowed_and_a_run_can_end_itself(void **state)
{
    struct feed *feed = feed_with_ack_callback(state, ack_that_calls_all_else);
    feed_start(feed);
    assert_int_equal(feed_wait_ended(feed, NULL), NXF_OK);
    assert_record(feed->record, "stats: NXF_OK\nresult: NXF_AGAIN\nnotify: NXF_OK\nfd: NXF_OK\nwait: NXF_OK\n"
                                "poll: NXF_TIMEOUT\nknown: 1\nstop: NXF_TIMEOUT\n");
    assert_int_equal(feed_stats(feed).run_state, NXF_RUN_STOPPED);
}

static void end_that_calls_all_else(void *context, const char *replica_name, nxf_status how, const nxf_error *why)
{
    (void)how;
    (void)why;
    ack_that_calls_all_else(context, replica_name, 1);
}

static void what_does_not_wait_is_allowed_in_an_end_callback_too(void **state)
{
    struct feed *feed = feed_of(state);
    feed_connect(feed, REPLICA_ACKS);
    feed_make_runner(feed, 1);
    assert_ok(nxf_runner_set_end_callback, feed->runner, end_that_calls_all_else, feed, NULL);
    feed_start(feed);
    assert_ok(nxf_runner_stop, feed->runner, -1);
    assert_record(feed->record, "stats: NXF_OK\nresult: NXF_OK\nnotify: NXF_OK\nfd: NXF_OK\nwait: NXF_CLOSED\n"
                                "poll: NXF_CLOSED\nknown: 0\nstop: NXF_TIMEOUT\n");
}

struct with_log {
    struct feed *feed;
    nxf_log *log;
};

static void ack_that_uses_the_log(void *context, const char *replica_name, uint64_t vlsn)
{
    const struct with_log *with = (const struct with_log *)context;
    nxf_scanner *scanner = NULL;
    uint64_t first = 0, last = 0;
    (void)replica_name;
    (void)vlsn;
    record_call(with->feed, "notify", nxf_log_notify(with->log));
    record_call(with->feed, "limit", nxf_log_set_send_limit(with->log, UINT64_MAX));
    record_call(with->feed, "range", nxf_log_vlsn_range(with->log, &first, &last, NULL));
    record_call(with->feed, "scanner", nxf_scanner_from_log(with->log, NXF_LSN_FIRST, &scanner, NULL));
    nxf_scanner_free(scanner);
    record_add(with->feed->record, "%llu to %llu", (unsigned long long)first, (unsigned long long)last);
}

static void the_log_that_is_read_can_be_used_in_a_callback(void **state)
{
    struct feed *feed = feed_of(state);
    struct with_log with = { feed, NULL };
    log_add(feed->log, 1);
    assert_ok(nxf_log_open, log_dir(feed->log), feed->options, &with.log);
    feed_connect(feed, REPLICA_ACKS);
    feed_make_runner(feed, 1);
    assert_ok(nxf_runner_set_ack_callback, feed->runner, ack_that_uses_the_log, &with, NULL);
    assert_ok(nxf_scanner_from_log, with.log, NXF_LSN_FIRST, &feed->scanner);
    assert_ok(nxf_runner_start, feed->runner, feed->scanner);
    feed->scanner = NULL;
    record_wait(feed->record, "1 to 1");
    feed_free_runner(feed);
    nxf_log_free(with.log);
    assert_record(feed->record, "notify: NXF_OK\nlimit: NXF_OK\nrange: NXF_OK\nscanner: NXF_OK\n1 to 1\n");
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

/* --- large locals --- */

#define MIB (1024 * 1024)

/* Has this many MiB of locals, and uses them. In frames of one MiB: valgrind takes a larger step for another stack. */
static unsigned use_stack(unsigned mib);

static unsigned use_a_mib(unsigned mib)
{
    volatile unsigned char locals[MIB];
    for (size_t at = 0; at < sizeof locals; at += 512)
        locals[at] = (unsigned char)mib;
    return use_stack(mib - 1) + locals[MIB / 2];
}

static unsigned (*volatile use_one)(unsigned mib) = use_a_mib; /* so that it is not inlined */

static unsigned use_stack(unsigned mib)
{
    return mib > 0 ? use_one(mib) : 0;
}

struct with_locals {
    struct record *record;
    nxf_channel *inner;
    unsigned mib;
};

static void ack_with_large_locals(void *context, const char *replica_name, uint64_t vlsn)
{
    const struct with_locals *with = (const struct with_locals *)context;
    use_stack(with->mib);
    record_ack(with->record, replica_name, vlsn);
}

static void end_with_large_locals(void *context, const char *replica_name, nxf_status how, const nxf_error *why)
{
    const struct with_locals *with = (const struct with_locals *)context;
    use_stack(with->mib);
    record_end(with->record, replica_name, how, why);
}

static nxf_status send_with_large_locals(void *context, const uint8_t *message, size_t len)
{
    const struct with_locals *with = (const struct with_locals *)context;
    use_stack(with->mib);
    return nxf_channel_send(with->inner, message, len, NULL);
}

static nxf_status receive_with_large_locals(void *context, uint8_t *buf, size_t capacity, size_t *len, int timeout_ms)
{
    const struct with_locals *with = (const struct with_locals *)context;
    use_stack(with->mib);
    return nxf_channel_receive(with->inner, buf, capacity, len, timeout_ms, NULL);
}

static void close_with_large_locals(void *context)
{
    const struct with_locals *with = (const struct with_locals *)context;
    use_stack(with->mib);
    nxf_channel_close(with->inner, NULL);
}

/* A run over a channel of the host's own, in which every function of the host's has so much. */
static void run_with_large_locals(struct feed *feed, unsigned mib)
{
    static struct with_locals with;
    nxf_channel_vtable vtable;
    int fds[2];
    memset(&vtable, 0, sizeof vtable);
    vtable.struct_size = sizeof vtable;
    vtable.send = send_with_large_locals;
    vtable.receive = receive_with_large_locals;
    vtable.close = close_with_large_locals;
    with.record = feed->record;
    with.mib = mib;
    unix_pair(fds);
    feed->replica = replica_new(fds[1], REPLICA_ACKS);
    assert_ok(nxf_channel_from_fd, fds[0], NULL, &with.inner);
    assert_ok(nxf_channel_from_callbacks, &vtable, &with, feed->options, &feed->channel);
    log_add(feed->log, 1);
    feed_make_runner(feed, 1);
    assert_ok(nxf_runner_set_ack_callback, feed->runner, ack_with_large_locals, &with, NULL);
    assert_ok(nxf_runner_set_end_callback, feed->runner, end_with_large_locals, &with, NULL);
    feed_start(feed);
    record_wait(feed->record, "r1 acked 1");
    feed_free_runner(feed);
    nxf_channel_free(with.inner);
    assert_record(feed->record, "r1 acked 1\nr1 ended NXF_OK\n");
}

static void the_hosts_functions_have_megabytes_of_stack(void **state)
{
    run_with_large_locals(feed_of(state), 5);
}

static void how_much_stack_they_have_is_an_option(void **state)
{
    feed_set(feed_of(state), "runner.stack_bytes", "33554432");
    run_with_large_locals(feed_of(state), 28);
}

static void the_smallest_stack_is_enough_for_a_run(void **state)
{
    feed_set(feed_of(state), "runner.stack_bytes", "262144");
    run_with_large_locals(feed_of(state), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        feed_test(what_would_wait_for_an_ack_callback_is_refused_in_it),
        feed_test(what_would_wait_for_an_end_callback_is_refused_in_it),
        feed_test(the_same_holds_on_the_callers_thread),
        feed_test(what_would_wait_is_refused_in_a_source_a_channel_and_a_log_callback),
        feed_test(what_does_not_wait_is_allowed_and_a_run_can_end_itself),
        feed_test(what_does_not_wait_is_allowed_in_an_end_callback_too),
        feed_test(the_log_that_is_read_can_be_used_in_a_callback),
        feed_test(a_context_that_is_replaced_is_dropped_with_no_lock_held),
        feed_test(stopping_while_the_context_is_dropped_does_not_wait_for_itself),
        feed_test(other_runners_can_be_waited_for_in_a_callback),
        feed_test(the_runners_thread_takes_no_signals_of_the_hosts),
        feed_test(a_run_on_the_callers_thread_leaves_it_its_signals),
        feed_test(the_hosts_functions_have_megabytes_of_stack),
        feed_test(how_much_stack_they_have_is_an_option),
        feed_test(the_smallest_stack_is_enough_for_a_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
