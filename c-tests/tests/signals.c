/*
 * A storm of signals over the threads that call what blocks: a handler without SA_RESTART interrupts every system call.
 * Nothing may fail by it, end before its time, or get lost.
 */
#include "support/event.h"
#include "support/feed.h"
#include "support/sockets.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* --- the storm --- */

/* Several threads are interrupted at once: a sig_atomic_t would do for one. */
static int interruptions;

static void interrupt(int number)
{
    (void)number;
    __atomic_fetch_add(&interruptions, 1, __ATOMIC_RELAXED);
}

static struct storm {
    pthread_t thread;
    pthread_t over[4];
    size_t count;
    bool rages;
    pthread_mutex_t mutex;
} storm;

static bool storm_rages(void)
{
    pthread_mutex_lock(&storm.mutex);
    const bool rages = storm.rages;
    pthread_mutex_unlock(&storm.mutex);
    return rages;
}

static void *send_signals(void *context)
{
    /* Under valgrind a thread that is interrupted at once again does not get on. */
    const struct timespec pause = { 0, is_slow() ? 3000000 : 100000 };
    (void)context;
    while (storm_rages()) {
        for (size_t at = 0; at < storm.count; at++)
            pthread_kill(storm.over[at], SIGUSR1);
        nanosleep(&pause, NULL);
    }
    return NULL;
}

/* Over this thread, and over the others. */
static void storm_begin(const pthread_t *others, size_t count)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = interrupt;
    sigaction(SIGUSR1, &action, NULL);
    storm.over[0] = pthread_self();
    for (size_t at = 0; at < count; at++)
        storm.over[at + 1] = others[at];
    storm.count = count + 1;
    storm.rages = true;
    __atomic_store_n(&interruptions, 0, __ATOMIC_RELAXED);
    if (pthread_create(&storm.thread, NULL, send_signals, NULL) != 0)
        fail_with("no storm");
}

static void storm_end(void)
{
    pthread_mutex_lock(&storm.mutex);
    const bool raged = storm.rages;
    storm.rages = false;
    pthread_mutex_unlock(&storm.mutex);
    if (raged)
        pthread_join(storm.thread, NULL);
}

static int set_up(void **state)
{
    pthread_mutex_init(&storm.mutex, NULL);
    return feed_setup(state);
}

static int tear_down(void **state)
{
    storm_end();
    pthread_mutex_destroy(&storm.mutex);
    return feed_teardown(state);
}

/* --- waits that nothing ends --- */

#define LONG_MS 300

/* Calls, expects the status, and no earlier than after LONG_MS. */
#define assert_lasts(expected, function, ...)                                     \
    do {                                                                          \
        const long long lasts_since = now_ms();                                   \
        assert_status(expected, function, __VA_ARGS__);                           \
        check_lasted(#function, now_ms() - lasts_since);                          \
    } while (0)

static void check_lasted(const char *function, long long ms)
{
    /* Both clocks are rounded down. */
    if (ms < LONG_MS - 1)
        fail_with("%s ended after %lld ms", function, ms);
    if (__atomic_exchange_n(&interruptions, 0, __ATOMIC_RELAXED) == 0)
        fail_with("%s was never interrupted", function);
}

static void signals_do_not_cut_the_waits_for_acks_short(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_ack acks[1];
    size_t count;
    log_add(feed->log, 1);
    feed_up(feed, 0);
    replica_wait_frames(feed->replica, 1);
    storm_begin(NULL, 0);
    assert_lasts(NXF_TIMEOUT, nxf_runner_poll_acks, feed->runner, acks, 1, LONG_MS, &count);
    assert_lasts(NXF_TIMEOUT, nxf_runner_wait_acked, feed->runner, 1, LONG_MS);
}

static struct event gate;
static bool gate_is_open;

static bool is_open(void *context)
{
    return *(const bool *)context;
}

static void set_gate(bool open)
{
    event_lock(&gate);
    gate_is_open = open;
    event_unlock(&gate);
}

static void end_at_the_gate(void *context, const char *replica_name, nxf_status how, const nxf_error *why)
{
    (void)context;
    (void)replica_name;
    (void)how;
    (void)why;
    event_lock(&gate);
    event_wait(&gate, is_open, &gate_is_open);
    event_unlock(&gate);
}

static void signals_do_not_cut_the_wait_for_the_end_short(void **state)
{
    struct feed *feed = feed_of(state);
    event_init(&gate);
    set_gate(false);
    feed_connect(feed, 0);
    feed_make_runner(feed, 1);
    assert_ok(nxf_runner_set_end_callback, feed->runner, end_at_the_gate, NULL, NULL);
    feed_start(feed);
    storm_begin(NULL, 0);
    const long long since = now_ms();
    const nxf_status stopped = nxf_runner_stop(feed->runner, LONG_MS, NULL);
    const long long lasted = now_ms() - since;
    set_gate(true); /* before anything can fail: the teardown waits for the run */
    assert_int_equal(stopped, NXF_TIMEOUT);
    check_lasted("nxf_runner_stop", lasted);
    assert_ok(nxf_runner_stop, feed->runner, -1);
    feed_free_runner(feed);
    event_destroy(&gate);
}

static void signals_do_not_cut_the_waits_of_channels_short(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_channel *one = NULL, *other = NULL;
    const size_t large = 8 * 1024 * 1024;
    uint8_t *message = (uint8_t *)calloc(1, large);
    uint8_t buf[8];
    size_t len;
    feed_set(feed, "channel.write_timeout_ms", "300");
    feed_set(feed, "channel.local_queue_bytes_max", "10");
    feed_connect_tcp(feed, REPLICA_READS_NOTHING, 4096);
    assert_ok(nxf_channel_local_pair, feed->options, &one, &other);
    assert_ok(nxf_channel_send, one, message, 10);
    storm_begin(NULL, 0);
    assert_lasts(NXF_AGAIN, nxf_channel_receive, feed->channel, buf, sizeof buf, &len, LONG_MS);
    assert_lasts(NXF_E_WRITE_TIMEOUT, nxf_channel_send, feed->channel, message, large);
    assert_lasts(NXF_AGAIN, nxf_channel_send, one, message, 10);
    assert_lasts(NXF_AGAIN, nxf_channel_receive, one, buf, sizeof buf, &len, LONG_MS);
    storm_end();
    nxf_channel_free(one);
    nxf_channel_free(other);
    free(message);
}

static void signals_do_not_cut_the_wait_for_a_connection_short(void **state)
{
    struct feed *feed = feed_of(state);
    uint16_t port;
    int waiting[8];
    const int listener = listen_on_loopback(&port);
    listen(listener, 0);
    feed_set(feed, "channel.connect_timeout_ms", "300");
    /* Nobody accepts: as soon as the queue is full, a connection is neither made nor refused. */
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    getsockname(listener, (struct sockaddr *)&address, &len);
    for (size_t at = 0; at < 8; at++) {
        waiting[at] = socket(AF_INET, SOCK_STREAM, 0);
        fcntl(waiting[at], F_SETFL, O_NONBLOCK);
        (void)!connect(waiting[at], (const struct sockaddr *)&address, len);
        struct pollfd made = { waiting[at], POLLOUT, 0 };
        poll(&made, 1, 20);
    }
    storm_begin(NULL, 0);
    assert_lasts(NXF_E_CONNECT, nxf_channel_tcp_connect, "127.0.0.1", port, feed->options, &feed->channel);
    storm_end();
    for (size_t at = 0; at < 8; at++)
        close(waiting[at]);
    close(listener);
}

/* --- work --- */

static void signals_fail_no_connection(void **state)
{
    const int rounds = is_slow() ? 20 : 300;
    uint16_t port;
    const int listener = listen_on_loopback(&port);
    (void)state;
    storm_begin(NULL, 0);
    for (int round = 0; round < rounds; round++) {
        nxf_channel *channel = NULL;
        assert_ok(nxf_channel_tcp_connect, round % 2 == 0 ? "127.0.0.1" : "localhost", port, NULL, &channel);
        int accepted = -1;
        while (accepted < 0)
            accepted = accept(listener, NULL, NULL);
        assert_true(nxf_channel_is_open(channel));
        nxf_channel_free(channel);
        close(accepted);
    }
    storm_end();
    close(listener);
}

#define LARGE (3 * 1024 * 1024)

struct sender {
    nxf_channel *channel;
    uint8_t *message;
    int rounds;
    nxf_status status;
};

static void *send_large(void *context)
{
    struct sender *sender = (struct sender *)context;
    for (int round = 0; round < sender->rounds && sender->status == NXF_OK; round++) {
        memset(sender->message, round + 1, LARGE);
        sender->status = nxf_channel_send(sender->channel, sender->message, LARGE, NULL);
    }
    return NULL;
}

/* Of a message larger than all buffers; both threads are in the storm. */
static void pass_large_messages(nxf_channel *from, nxf_channel *to)
{
    struct sender sender = { from, (uint8_t *)malloc(LARGE), is_slow() ? 2 : 10, NXF_OK };
    uint8_t *buf = (uint8_t *)malloc(LARGE);
    pthread_t thread;
    pthread_create(&thread, NULL, send_large, &sender);
    storm_begin(&thread, 1);
    for (int round = 0; round < sender.rounds; round++) {
        size_t len = 0;
        assert_ok(nxf_channel_receive, to, buf, LARGE, &len, PATIENCE_MS);
        assert_int_equal(len, LARGE);
        for (size_t at = 0; at < LARGE; at++) {
            if (buf[at] != round + 1)
                fail_with("message %d is damaged at %zu", round, at);
        }
    }
    storm_end();
    pthread_join(thread, NULL);
    assert_int_equal(sender.status, NXF_OK);
    free(sender.message);
    free(buf);
}

static void signals_damage_no_message_over_a_socket(void **state)
{
    (void)state;
    for (int over_tcp = 0; over_tcp < 2; over_tcp++) {
        nxf_channel *from = NULL, *to = NULL;
        int fds[2];
        /* Not smaller over TCP: with a window of few packets it waits for its timers now and then. */
        if (over_tcp)
            tcp_pair(fds, 256 * 1024);
        else
            unix_pair(fds);
        assert_ok(nxf_channel_from_fd, fds[0], NULL, &from);
        assert_ok(nxf_channel_from_fd, fds[1], NULL, &to);
        pass_large_messages(from, to);
        nxf_channel_free(from);
        nxf_channel_free(to);
    }
}

static void signals_damage_no_message_over_a_pair(void **state)
{
    nxf_channel *from = NULL, *to = NULL;
    (void)state;
    assert_ok(nxf_channel_local_pair, NULL, &from, &to);
    pass_large_messages(from, to);
    nxf_channel_free(from);
    nxf_channel_free(to);
}

#define LAST 2000

struct polling {
    const nxf_runner *runner;
    struct logmaker *log;
    uint64_t acks;
    nxf_status waited, stopped;
};

static void *poll_all(void *context)
{
    struct polling *polling = (struct polling *)context;
    nxf_ack acks[8];
    size_t count;
    while (nxf_runner_poll_acks(polling->runner, acks, 8, -1, &count, NULL) == NXF_OK)
        polling->acks += count;
    return NULL;
}

/* Writes the log, waits for the acks, and ends the run. */
static void *write_and_stop(void *context)
{
    struct polling *polling = (struct polling *)context;
    for (uint64_t vlsn = 1; vlsn <= LAST; vlsn += 50) {
        log_add_range(polling->log, vlsn, vlsn + 49);
    }
    polling->waited = nxf_runner_wait_acked(polling->runner, LAST, -1, NULL);
    polling->stopped = nxf_runner_stop(polling->runner, -1, NULL);
    return NULL;
}

static void signals_lose_nothing_of_a_run_on_the_callers_thread(void **state)
{
    struct feed *feed = feed_of(state);
    struct polling polling;
    pthread_t threads[2];
    feed_connect(feed, REPLICA_ACKS | REPLICA_READS_SLOWLY);
    feed_make_runner(feed, 1);
    feed_scan(feed);
    memset(&polling, 0, sizeof polling);
    polling.runner = feed->runner;
    polling.log = feed->log;
    pthread_create(&threads[0], NULL, poll_all, &polling);
    pthread_create(&threads[1], NULL, write_and_stop, &polling);
    storm_begin(threads, 2);
    assert_ok(nxf_runner_run, feed->runner, feed->scanner);
    feed->scanner = NULL;
    storm_end();
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    assert_int_equal(polling.waited, NXF_OK);
    assert_int_equal(polling.stopped, NXF_OK);
    assert_int_equal(polling.acks, LAST);
    assert_frames(feed->replica, 1, LAST);
}

static void signals_lose_nothing_of_a_log_that_is_read(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_log *log = NULL;
    uint64_t first = 0, last = 0;
    log_add_range(feed->log, 1, LAST / 2);
    log_begin(feed->log, 1, 3);
    log_add_range(feed->log, LAST / 2 + 1, LAST);
    storm_begin(NULL, 0);
    for (int round = 0; round < (is_slow() ? 2 : 5); round++) {
        nxf_entry entry;
        feed_scan(feed);
        for (uint64_t vlsn = 1; vlsn <= LAST; vlsn++) {
            assert_ok(nxf_scanner_next, feed->scanner, vlsn, &entry);
            assert_int_equal(entry.vlsn, vlsn);
        }
        nxf_scanner_free(feed->scanner);
        feed->scanner = NULL;
        assert_ok(nxf_log_open, log_dir(feed->log), feed->options, &log);
        assert_ok(nxf_log_vlsn_range, log, &first, &last);
        nxf_log_free(log);
        assert_true(first == 1 && last == LAST);
    }
}

#define storm_test(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        storm_test(signals_do_not_cut_the_waits_for_acks_short),
        storm_test(signals_do_not_cut_the_wait_for_the_end_short),
        storm_test(signals_do_not_cut_the_waits_of_channels_short),
        storm_test(signals_do_not_cut_the_wait_for_a_connection_short),
        storm_test(signals_fail_no_connection),
        storm_test(signals_damage_no_message_over_a_socket),
        storm_test(signals_damage_no_message_over_a_pair),
        storm_test(signals_lose_nothing_of_a_run_on_the_callers_thread),
        storm_test(signals_lose_nothing_of_a_log_that_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
