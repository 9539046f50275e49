/* The library in its host's process: no signals, no descriptors for others, nothing said, nothing left. */
#include "support/feed.h"
#include "support/sockets.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

/* --- signals of the library's --- */

static volatile sig_atomic_t sigpipes;

static void count_sigpipe(int number)
{
    (void)number;
    sigpipes++;
}

static void count_sigpipes(void)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = count_sigpipe;
    sigaction(SIGPIPE, &action, NULL);
    sigpipes = 0;
}

static void a_channel_raises_no_sigpipe(void **state)
{
    int fds[2];
    nxf_channel *channel = NULL;
    (void)state;
    count_sigpipes();
    unix_pair(fds);
    assert_ok(nxf_channel_from_fd, fds[0], NULL, &channel);
    close(fds[1]);
    assert_status(NXF_CLOSED, nxf_channel_send, channel, (const uint8_t *)"x", 1);
    nxf_channel_free(channel);
    assert_int_equal(sigpipes, 0);
}

static void a_run_on_the_callers_thread_raises_no_sigpipe(void **state)
{
    struct feed *feed = feed_of(state);
    count_sigpipes();
    log_add_sized(feed->log, 1, 4 * 1024 * 1024);
    feed_connect_tcp(feed, REPLICA_READS_NOTHING, 4096);
    feed_make_runner(feed, 1);
    feed_scan(feed);
    replica_reset(feed->replica);
    assert_ok(nxf_runner_run, feed->runner, feed->scanner);
    feed->scanner = NULL;
    assert_int_equal(sigpipes, 0);
}

/* --- signals of the host's --- */

static void ignore(int number)
{
    (void)number;
}

/* So that a signal interrupts what the thread waits in. */
static void interrupt_by_sigusr1(void)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = ignore;
    sigaction(SIGUSR1, &action, NULL);
}

struct bothered {
    pthread_t thread;
    struct feed *feed;
};

/* Sends a thread many signals, then lets the run do its work, and end. */
static void *bother(void *context)
{
    struct bothered *bothered = (struct bothered *)context;
    for (int times = 0; times < 50; times++) {
        pthread_kill(bothered->thread, SIGUSR1);
        nap();
    }
    log_add(bothered->feed->log, 1);
    nxf_runner_wait_acked(bothered->feed->runner, 1, -1, NULL);
    nxf_runner_stop(bothered->feed->runner, -1, NULL);
    return NULL;
}

static void signals_do_not_end_a_run_on_the_callers_thread(void **state)
{
    struct feed *feed = feed_of(state);
    struct bothered bothered = { pthread_self(), feed };
    pthread_t thread;
    interrupt_by_sigusr1();
    feed_connect(feed, REPLICA_ACKS);
    feed_make_runner(feed, 1);
    feed_scan(feed);
    pthread_create(&thread, NULL, bother, &bothered);
    assert_ok(nxf_runner_run, feed->runner, feed->scanner);
    feed->scanner = NULL;
    pthread_join(thread, NULL);
    assert_frames(feed->replica, 1, 1);
}

static void *bother_and_send(void *context)
{
    struct bothered *bothered = (struct bothered *)context;
    for (int times = 0; times < 50; times++) {
        pthread_kill(bothered->thread, SIGUSR1);
        nap();
    }
    replica_ack(bothered->feed->replica, 1);
    return NULL;
}

static void signals_do_not_end_the_wait_for_a_message(void **state)
{
    struct feed *feed = feed_of(state);
    struct bothered bothered = { pthread_self(), feed };
    pthread_t thread;
    uint8_t buf[8];
    size_t len = 0;
    interrupt_by_sigusr1();
    feed_connect(feed, 0);
    pthread_create(&thread, NULL, bother_and_send, &bothered);
    assert_ok(nxf_channel_receive, feed->channel, buf, sizeof buf, &len, -1);
    assert_int_equal(len, 8);
    pthread_join(thread, NULL);
}

/* --- descriptors --- */

static bool is_open_for_programs(int fd)
{
    const int flags = fcntl(fd, F_GETFD);
    return flags >= 0 && (flags & FD_CLOEXEC) == 0;
}

#define FDS 256

static void no_descriptor_goes_to_programs_that_the_host_starts(void **state)
{
    struct feed *feed = feed_of(state);
    bool before[FDS];
    uint16_t port;
    int fd = -1;
    const int listener = listen_on_loopback(&port);
    for (int at = 0; at < FDS; at++)
        before[at] = is_open_for_programs(at);

    assert_ok(nxf_channel_tcp_connect, "127.0.0.1", port, NULL, &feed->channel);
    feed_make_runner(feed, 1);
    assert_ok(nxf_runner_event_fd, feed->runner, &fd);
    log_add(feed->log, 1);
    feed_start(feed);
    const int peer = accept_from(listener);
    wait_readable(peer); /* every file and socket is open now */
    for (int at = 0; at < FDS; at++) {
        if (at != peer && is_open_for_programs(at) && !before[at])
            fail_with("descriptor %d would stay open in another program", at);
    }
    close(peer);
    close(listener);
}

static size_t count_fds(void)
{
    size_t count = 0;
    for (int at = 0; at < FDS; at++)
        count += is_open_fd(at);
    return count;
}

static void what_is_freed_leaves_no_descriptor(void **state)
{
    struct feed *feed = feed_of(state);
    const size_t before = count_fds();
    int fd = -1;
    feed_connect(feed, REPLICA_ACKS);
    feed_make_runner(feed, 1);
    assert_ok(nxf_runner_event_fd, feed->runner, &fd);
    log_add(feed->log, 1);
    feed_start(feed);
    feed_wait_acked(feed, 1);
    feed_free_runner(feed);
    replica_close(feed->replica);
    assert_int_equal(count_fds(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_channel_raises_no_sigpipe),
        feed_test(a_run_on_the_callers_thread_raises_no_sigpipe),
        feed_test(signals_do_not_end_a_run_on_the_callers_thread),
        feed_test(signals_do_not_end_the_wait_for_a_message),
        feed_test(no_descriptor_goes_to_programs_that_the_host_starts),
        feed_test(what_is_freed_leaves_no_descriptor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
