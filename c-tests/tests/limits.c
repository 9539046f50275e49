/* No descriptor left for this process: a call that fails says so, leaves nothing behind, and works again afterwards. */
#include "support/feed.h"
#include "support/sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* The limit is lowered to so many, and all that are left are taken. */
#define LIMIT 100

static struct rlimit limit_before;
static int taken[LIMIT];
static int taken_count;

static void take_descriptors(void)
{
    int fd;
    while (taken_count < LIMIT && (fd = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
        taken[taken_count++] = fd;
    assert_int_equal(errno, EMFILE);
}

static void free_descriptors(int count)
{
    for (; count > 0 && taken_count > 0; count--)
        close(taken[--taken_count]);
}

static int set_up(void **state)
{
    struct rlimit limit;
    taken_count = 0;
    if (getrlimit(RLIMIT_NOFILE, &limit_before) != 0)
        return -1;
    limit = limit_before;
    limit.rlim_cur = LIMIT;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        return -1;
    return feed_setup(state);
}

static int tear_down(void **state)
{
    free_descriptors(LIMIT);
    const int done = feed_teardown(state);
    return setrlimit(RLIMIT_NOFILE, &limit_before) == 0 ? done : -1;
}

static int count_fds(void)
{
    int count = 0;
    for (int fd = 0; fd < LIMIT; fd++)
        count += is_open_fd(fd);
    return count;
}

/* As assert_refused, and the system's error number has to be EMFILE. */
#define assert_no_descriptor(expected, word, function, ...)                           \
    do {                                                                              \
        nxf_error *check_error = NULL;                                                \
        nxf_status check_status = function(__VA_ARGS__, &check_error);                \
        const int check_errno = nxf_error_errno(check_error);                         \
        check_call(#function, expected, check_status, check_error, word, __FILE__, __LINE__); \
        assert_int_equal(check_errno, EMFILE);                                        \
    } while (0)

static void without_a_descriptor_each_call_says_what_it_could_not_open(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_log *log = NULL, *opened = NULL;
    nxf_scanner *scanner = NULL;
    nxf_channel *channel = NULL;
    nxf_runner *runner = NULL;
    nxf_entry entry;
    uint64_t first, last;
    uint16_t port;
    int fd = -1;
    const int listener = listen_on_loopback(&port);
    log_add(feed->log, 1);
    feed_connect(feed, REPLICA_ACKS);
    feed_scan(feed);
    assert_ok(nxf_log_open, log_dir(feed->log), NULL, &opened);

    take_descriptors();
    const int before = count_fds();
    assert_no_descriptor(NXF_E_LOG_IO, log_dir(feed->log), nxf_log_open, log_dir(feed->log), NULL, &log);
    assert_no_descriptor(NXF_E_LOG_IO, log_dir(feed->log), nxf_scanner_open, log_dir(feed->log), 0, NULL, &scanner);
    assert_no_descriptor(NXF_E_LOG_IO, "log", nxf_log_vlsn_range, opened, &first, &last);
    assert_no_descriptor(NXF_E_CONNECT, "127.0.0.1", nxf_channel_tcp_connect, "127.0.0.1", port, NULL, &channel);
    assert_refused(NXF_E_CONNECT, "localhost", nxf_channel_tcp_connect, "localhost", port, NULL, &channel);
    assert_no_descriptor(NXF_E_OS, "wake-up descriptor", nxf_runner_new, feed->channel, "r1", 1, NULL, &runner);
    assert_no_descriptor(NXF_E_LOG_IO, "log", nxf_scanner_next, feed->scanner, 1, &entry);
    assert_true(log == NULL && scanner == NULL && channel == NULL && runner == NULL);
    assert_int_equal(count_fds(), before);

    /* Its bell takes the one that is free now. */
    free_descriptors(1);
    feed_make_runner(feed, 1);
    assert_no_descriptor(NXF_E_OS, "event descriptor", nxf_runner_event_fd, feed->runner, &fd);
    assert_int_equal(fd, -1);
    assert_int_equal(count_fds(), before);

    /* And everything works as if nothing had been. */
    free_descriptors(LIMIT);
    nxf_scanner_free(feed->scanner);
    assert_ok(nxf_runner_event_fd, feed->runner, &fd);
    feed_start(feed);
    feed_wait_acked(feed, 1);
    assert_ok(nxf_log_vlsn_range, opened, &first, &last);
    assert_ok(nxf_channel_tcp_connect, "localhost", port, NULL, &channel);
    nxf_channel_free(channel);
    nxf_log_free(opened);
    close(listener);
}

/* What can do without descriptors does. */
static void without_a_descriptor_what_needs_none_works(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_channel *one = NULL, *other = NULL;
    nxf_feeder *feeder = NULL;
    int fds[2];
    uint8_t buf[1] = { 7 };
    size_t len = 0;
    unix_pair(fds);
    take_descriptors();
    assert_ok(nxf_channel_from_fd, fds[0], feed->options, &feed->channel);
    assert_ok(nxf_channel_send, feed->channel, buf, 1);
    assert_ok(nxf_channel_local_pair, NULL, &one, &other);
    assert_ok(nxf_channel_send, one, buf, 1);
    assert_ok(nxf_channel_receive, other, buf, 1, &len, -1);
    assert_ok(nxf_feeder_new, "r1", NULL, &feeder);
    nxf_feeder_free(feeder);
    nxf_channel_free(one);
    nxf_channel_free(other);
    close(fds[1]);
}

/* Goes as far as the descriptors suffice: *reached 5 is all of it. Returns the error that was in the way. */
static nxf_error *go_as_far_as_possible(struct feed *feed, uint16_t port, int *reached)
{
    nxf_error *err = NULL;
    nxf_channel *other = NULL;
    int fd;
    *reached = 0;
    if (nxf_scanner_open(log_dir(feed->log), 0, feed->options, &feed->scanner, &err) != NXF_OK)
        return err;
    *reached = 1;
    if (nxf_channel_tcp_connect("127.0.0.1", port, feed->options, &other, &err) != NXF_OK)
        return err;
    nxf_channel_free(other);
    *reached = 2;
    if (nxf_runner_new(feed->channel, "r1", 1, feed->options, &feed->runner, &err) != NXF_OK)
        return err;
    feed->channel = NULL;
    *reached = 3;
    if (nxf_runner_event_fd(feed->runner, &fd, &err) != NXF_OK)
        return err;
    *reached = 4;
    if (nxf_runner_start(feed->runner, feed->scanner, &err) != NXF_OK)
        return err;
    feed->scanner = NULL;
    if (nxf_runner_wait_acked(feed->runner, 1, PATIENCE_MS, &err) == NXF_OK)
        *reached = 5;
    return err;
}

static void whatever_the_number_of_descriptors_left_nothing_is_leaked(void **state)
{
    struct feed *feed = feed_of(state);
    uint16_t port;
    int reached = 0;
    const int listener = listen_on_loopback(&port);
    log_add(feed->log, 1);
    for (int left = 0; reached < 5; left++) {
        const int reached_before = reached;
        feed_connect(feed, REPLICA_ACKS);
        const int before = count_fds() - 1; /* the channel is to be freed */
        take_descriptors();
        free_descriptors(left);
        nxf_error *err = go_as_far_as_possible(feed, port, &reached);
        if (reached < 5 && nxf_error_errno(err) != EMFILE)
            fail_with("with %d left, behind step %d: %s", left, reached, nxf_error_message(err));
        nxf_error_free(err);
        assert_true(reached >= reached_before);
        nxf_runner_free(feed->runner);
        nxf_channel_free(feed->channel);
        nxf_scanner_free(feed->scanner);
        feed->runner = NULL;
        feed->channel = NULL;
        feed->scanner = NULL;
        free_descriptors(LIMIT);
        assert_int_equal(count_fds(), before);
        replica_free(feed->replica);
        feed->replica = NULL;
        assert_true(left < LIMIT / 2);
    }
    close(listener);
}

/* Listing the directory takes no descriptor, opening its files does. */
static void a_run_that_cannot_open_the_next_file_says_so_and_a_new_one_goes_on(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_error *err = NULL;
    char aside[500], *next;
    log_add_range(feed->log, 1, 10);
    log_begin(feed->log, 1, 3);
    log_add_range(feed->log, 11, 20);
    next = strcpy((char *)malloc(500), log_path(feed->log, 1));
    snprintf(aside, sizeof aside, "%s.aside", next);
    assert_int_equal(rename(next, aside), 0);
    feed_connect(feed, REPLICA_ACKS);
    feed_make_runner(feed, 1);
    feed_record_end(feed);
    feed_start(feed);
    feed_wait_acked(feed, 10);

    take_descriptors();
    assert_int_equal(rename(aside, next), 0);
    assert_int_equal(feed_wait_ended(feed, &err), NXF_E_LOG_IO);
    assert_int_equal(nxf_error_errno(err), EMFILE);
    assert_contains(nxf_error_message(err), "00000001.ndb");
    assert_true(nxf_error_is_retriable(err));
    assert_false(nxf_error_needs_restore(err));
    nxf_error_free(err);
    record_wait(feed->record, "r1 ended NXF_E_LOG_IO");
    assert_int_equal(nxf_runner_known_replica_vlsn(feed->runner), 10);
    feed_free_runner(feed);
    replica_wait_finished(feed->replica);
    assert_frames(feed->replica, 1, 10);
    replica_free(feed->replica);

    free_descriptors(LIMIT);
    feed_connect(feed, REPLICA_ACKS);
    feed_make_runner(feed, 11);
    feed_start(feed);
    feed_wait_acked(feed, 20);
    assert_frames(feed->replica, 11, 20);
    free(next);
}

static void assert_names_the_second_file(nxf_error *err)
{
    uint32_t file = 99;
    assert_int_equal(nxf_error_errno(err), EMFILE);
    assert_true(nxf_error_file(err, &file));
    assert_int_equal(file, 1);
    assert_contains(nxf_error_message(err), "00000001.ndb");
    assert_true(nxf_error_is_retriable(err));
    assert_false(nxf_error_needs_restore(err));
    nxf_error_free(err);
}

static void a_scanner_that_cannot_open_the_next_file_names_it(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_error *err = NULL;
    nxf_entry entry;
    log_add_range(feed->log, 1, 10);
    log_begin(feed->log, 1, 3);
    log_add_range(feed->log, 11, 20);
    feed_scan(feed);
    for (uint64_t vlsn = 1; vlsn <= 10; vlsn++)
        assert_ok(nxf_scanner_next, feed->scanner, vlsn, &entry);
    take_descriptors();
    assert_int_equal(nxf_scanner_next(feed->scanner, 11, &entry, &err), NXF_E_LOG_IO);
    assert_names_the_second_file(err);
    free_descriptors(LIMIT);
    /* An error stays. Another scanner goes on. */
    assert_refused(NXF_E_LOG_IO, "00000001.ndb", nxf_scanner_next, feed->scanner, 11, &entry);
    nxf_scanner_free(feed->scanner);
    feed_scan(feed);
    assert_ok(nxf_scanner_next, feed->scanner, 11, &entry);
    assert_int_equal(entry.vlsn, 11);
}

#define limit_test(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        limit_test(without_a_descriptor_each_call_says_what_it_could_not_open),
        limit_test(without_a_descriptor_what_needs_none_works),
        limit_test(whatever_the_number_of_descriptors_left_nothing_is_leaked),
        limit_test(a_run_that_cannot_open_the_next_file_says_so_and_a_new_one_goes_on),
        limit_test(a_scanner_that_cannot_open_the_next_file_names_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
