/*
 * The library in a process that is not as a library would like it: standard descriptors closed, SIGPIPE deadly, and
 * somebody who looks whether anything is printed.
 */
#include "support/feed.h"
#include "support/sockets.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- standard descriptors that are closed --- */

/* What goes wrong is told through this: nothing can be printed. */
static int told = -1;

static void tell(const char *wrong)
{
    (void)!write(told, wrong, strlen(wrong));
    _exit(1);
}

static void must(bool is_right, const char *wrong)
{
    if (!is_right)
        tell(wrong);
}

static bool standard_are_closed(void)
{
    return !is_open_fd(0) && !is_open_fd(1) && !is_open_fd(2);
}

/* Listing a directory takes a descriptor for a moment; nothing is to be kept. Whoever prints is not listened to. */
static void nothing_is_kept_there(const char *what)
{
    const long long deadline = now_ms() + PATIENCE_MS;
    (void)!write(1, "printed", 7);
    (void)!write(2, "printed", 7);
    while (!standard_are_closed()) {
        must(now_ms() < deadline, what);
        nap();
    }
}

static bool has_acked(struct feed *feed, uint64_t vlsn)
{
    return nxf_runner_wait_acked(feed->runner, vlsn, PATIENCE_MS, NULL) == NXF_OK;
}

/* In a process of its own, with its parent as the replica. Every descriptor gets the lowest number that is free. */
static void feed_with_standard_closed(struct feed *feed, uint16_t port)
{
    nxf_log *log = NULL;
    int event_fd = -1;
    for (int fd = 0; fd < 3; fd++)
        close(fd);
    must(nxf_log_open(log_dir(feed->log), feed->options, &log, NULL) == NXF_OK, "the log is not opened");
    nothing_is_kept_there("the log's watch is a standard descriptor");
    must(nxf_channel_tcp_connect("127.0.0.1", port, NULL, &feed->channel, NULL) == NXF_OK, "no connection");
    nothing_is_kept_there("the socket is a standard descriptor");
    must(nxf_runner_new(feed->channel, "r1", 1, feed->options, &feed->runner, NULL) == NXF_OK, "no runner");
    nothing_is_kept_there("the runner's bell is a standard descriptor");
    must(nxf_runner_event_fd(feed->runner, &event_fd, NULL) == NXF_OK && event_fd > 2, "no event descriptor");
    nothing_is_kept_there("the event descriptor is a standard descriptor");
    must(nxf_scanner_from_log(log, NXF_LSN_FIRST, &feed->scanner, NULL) == NXF_OK, "no scanner");
    must(nxf_runner_start(feed->runner, feed->scanner, NULL) == NXF_OK, "the run does not start");
    for (uint64_t vlsn = 1; vlsn <= 30; vlsn++) {
        log_add(feed->log, vlsn);
        must(has_acked(feed, vlsn), "the replica is not fed");
        nothing_is_kept_there("a file of the log is a standard descriptor");
    }
    nxf_runner_free(feed->runner);
    nxf_log_free(log);
    nxf_options_free(feed->options);
    nothing_is_kept_there("something is left");
}

static void nothing_is_opened_as_a_standard_descriptor_that_is_closed(void **state)
{
    struct feed *feed = feed_of(state);
    char wrong[200] = "";
    uint16_t port;
    int fds[2], status = 0;
    const int listener = listen_on_loopback(&port);
    assert_int_equal(pipe(fds), 0);
    const pid_t child = fork();
    if (child == 0) {
        told = fds[1];
        close(fds[0]);
        close(listener);
        /* Options are not inherited; what is abandoned is not to look lost. */
        static nxf_options *volatile inherited; /* kept, though nobody reads it */
        inherited = feed->options;
        must(inherited != NULL, "no options to inherit");
        must(nxf_options_new(&feed->options, NULL) == NXF_OK, "no options");
        feed_with_standard_closed(feed, port);
        _exit(0);
    }
    close(fds[1]);
    feed->replica = replica_new(accept_from(listener), REPLICA_ACKS);
    (void)!read(fds[0], wrong, sizeof wrong - 1);
    assert_int_equal(waitpid(child, &status, 0), child);
    close(fds[0]);
    close(listener);
    if (status != 0)
        fail_with("with the standard descriptors closed: %s (status %d)", wrong, status);
    assert_frames(feed->replica, 1, 30);
}

/* --- SIGPIPE --- */

/* SIGPIPE as by default: it kills the process. */
static int set_up_deadly_sigpipe(void **state)
{
    signal(SIGPIPE, SIG_DFL);
    return feed_setup(state);
}

static void messages_to_a_peer_that_is_gone_kill_nobody(void **state)
{
    (void)state;
    for (int over_tcp = 0; over_tcp < 2; over_tcp++) {
        nxf_channel *channel = NULL;
        nxf_status status = NXF_OK;
        int fds[2];
        if (over_tcp)
            tcp_pair(fds, 0);
        else
            unix_pair(fds);
        assert_ok(nxf_channel_from_fd, fds[0], NULL, &channel);
        if (over_tcp)
            close_with_reset(fds[1]);
        else
            close(fds[1]);
        for (int times = 0; times < 10; times++)
            status = nxf_channel_send(channel, (const uint8_t *)"x", 1, NULL);
        assert_int_equal(status, NXF_CLOSED);
        nxf_channel_free(channel);
    }
}

static void a_replica_that_resets_kills_nobody(void **state)
{
    struct feed *feed = feed_of(state);
    log_add_sized(feed->log, 1, 4 * 1024 * 1024);
    feed_connect_tcp(feed, REPLICA_READS_NOTHING, 4096);
    feed_make_runner(feed, 1);
    feed_start(feed);
    replica_reset(feed->replica);
    assert_int_equal(feed_wait_ended(feed, NULL), NXF_OK);
    assert_int_equal(feed_stats(feed).run_state, NXF_RUN_RESET_BY_REPLICA);
}

static void a_replica_that_resets_a_run_on_the_callers_thread_kills_nobody(void **state)
{
    struct feed *feed = feed_of(state);
    log_add_sized(feed->log, 1, 4 * 1024 * 1024);
    feed_connect_tcp(feed, REPLICA_READS_NOTHING, 4096);
    feed_make_runner(feed, 1);
    feed_scan(feed);
    replica_reset(feed->replica);
    assert_ok(nxf_runner_run, feed->runner, feed->scanner);
    feed->scanner = NULL;
    assert_int_equal(feed_stats(feed).run_state, NXF_RUN_RESET_BY_REPLICA);
}

/* --- printing --- */

/* Runs that end in every kind of way, with nobody who listens to what the library says. */
static void go_wrong(struct feed *feed)
{
    nxf_log *log = NULL;
    nxf_scanner *scanner = NULL;
    nxf_log_open("/no/such/directory", NULL, &log, NULL);
    nxf_scanner_open("/no/such/directory", 0, NULL, &scanner, NULL);
    nxf_runner_stop(NULL, -1, NULL);
    log_add(feed->log, 1);
    log_add(feed->log, 3);
    feed_up(feed, REPLICA_ACKS);
    feed_wait_ended(feed, NULL);
    feed_free_runner(feed);
    replica_free(feed->replica);
    feed_up(feed, REPLICA_STAYS);
    replica_ack(feed->replica, 77);
    feed_wait_ended(feed, NULL);
}

static void nothing_is_printed_whatever_goes_wrong(void **state)
{
    struct feed *feed = feed_of(state);
    struct stat printed;
    const int file = open("printed", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(file >= 0);
    fflush(stdout);
    fflush(stderr);
    const int out = fcntl(1, F_DUPFD_CLOEXEC, 10), err = fcntl(2, F_DUPFD_CLOEXEC, 10);
    dup2(file, 1);
    dup2(file, 2);
    go_wrong(feed);
    fflush(stdout);
    fflush(stderr);
    dup2(out, 1);
    dup2(err, 2);
    close(out);
    close(err);
    assert_int_equal(fstat(file, &printed), 0);
    close(file);
    assert_int_equal(printed.st_size, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        feed_test(nothing_is_opened_as_a_standard_descriptor_that_is_closed),
        cmocka_unit_test_setup_teardown(messages_to_a_peer_that_is_gone_kill_nobody, set_up_deadly_sigpipe,
                                        feed_teardown),
        cmocka_unit_test_setup_teardown(a_replica_that_resets_kills_nobody, set_up_deadly_sigpipe, feed_teardown),
        cmocka_unit_test_setup_teardown(a_replica_that_resets_a_run_on_the_callers_thread_kills_nobody,
                                        set_up_deadly_sigpipe, feed_teardown),
        feed_test(nothing_is_printed_whatever_goes_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
