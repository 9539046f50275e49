/*
 * No memory left for this process: what cannot be had is a status, nothing is printed, and all goes on when there is some
 * again. What has its own ideas of memory is left out: valgrind and the sanitizers reserve it in advance.
 */
#include "support/bytes.h"
#include "support/feed.h"
#include "support/sockets.h"

#include <fcntl.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <pthread.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB ((size_t)1024 * 1024)
/* What the test wants to have no memory for. More than the C library keeps for later use. */
#define LARGE (60 * MIB)
/* So much is left for everything else, threads' stacks included. */
#define LEFT (40 * MIB)

static struct rlimit limit_before;
static int printed = -1, out_before, err_before;

/* Bytes of address space that this process has; 0 if the system does not say. */
static size_t address_space(void)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL)
        return 0;
    if (fscanf(file, "%lu", &pages) != 1)
        pages = 0;
    fclose(file);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static bool take_memory(void)
{
    struct rlimit limit = limit_before;
    limit.rlim_cur = address_space() + LEFT;
    if (limit.rlim_cur == LEFT || setrlimit(RLIMIT_AS, &limit) != 0)
        return false;
    void *volatile probe = malloc(LARGE); /* volatile: it is really asked for */
    const bool is_refused = probe == NULL;
    free(probe);
    return is_refused;
}

static void give_memory(void)
{
    assert_int_equal(setrlimit(RLIMIT_AS, &limit_before), 0);
}

/* From now on the test sees everything that is printed. */
static int set_up(void **state)
{
    if (getrlimit(RLIMIT_AS, &limit_before) != 0 || feed_setup(state) != 0)
        return -1;
    printed = open("printed", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    fflush(stdout);
    fflush(stderr);
    out_before = fcntl(1, F_DUPFD_CLOEXEC, 10);
    err_before = fcntl(2, F_DUPFD_CLOEXEC, 10);
    return dup2(printed, 1) == 1 && dup2(printed, 2) == 2 ? 0 : -1;
}

static int tear_down(void **state)
{
    struct stat said;
    setrlimit(RLIMIT_AS, &limit_before);
    fflush(stdout);
    fflush(stderr);
    dup2(out_before, 1);
    dup2(err_before, 2);
    close(out_before);
    close(err_before);
    const bool is_silent = fstat(printed, &said) == 0 && said.st_size == 0;
    close(printed);
    if (!is_silent)
        print_error("something was printed\n");
    return feed_teardown(state) == 0 && is_silent ? 0 : -1;
}

/* VLSNs 1 to 5, of which the fourth is large; returns where that stands. */
static uint64_t log_with_a_large_entry(struct feed *feed)
{
    log_add_range(feed->log, 1, 3);
    const uint64_t large = log_add_sized(feed->log, 4, LARGE);
    log_add(feed->log, 5);
    return large;
}

static void assert_names_the_large_entry(nxf_error *err, uint64_t large)
{
    uint32_t file = 99;
    uint64_t offset = 0, vlsn = 0;
    assert_int_equal(nxf_error_status(err), NXF_E_NO_MEMORY);
    assert_true(nxf_error_file(err, &file) && nxf_error_offset(err, &offset) && nxf_error_vlsn(err, &vlsn));
    assert_int_equal(file, 0);
    assert_int_equal(offset, large);
    assert_int_equal(vlsn, 4);
    assert_contains(nxf_error_message(err), "00000000.ndb");
    assert_true(nxf_error_is_retriable(err));
    assert_false(nxf_error_needs_restore(err));
    nxf_error_free(err);
}

static void an_entry_without_memory_is_a_status_and_is_read_when_there_is_some(void **state)
{
    struct feed *feed = feed_of(state);
    const uint64_t large = log_with_a_large_entry(feed);
    nxf_scanner *another = NULL;
    nxf_entry entry;
    feed_scan(feed);
    if (!take_memory())
        skip();
    for (uint64_t vlsn = 1; vlsn <= 3; vlsn++)
        assert_ok(nxf_scanner_next, feed->scanner, vlsn, &entry);
    for (int times = 0; times < 3; times++) {
        nxf_error *err = NULL;
        assert_int_equal(nxf_scanner_next(feed->scanner, 4, &entry, &err), NXF_E_NO_MEMORY);
        assert_names_the_large_entry(err, large);
    }
    give_memory();
    assert_ok(nxf_scanner_open, log_dir(feed->log), 0, NULL, &another);
    assert_ok(nxf_scanner_next, another, 4, &entry);
    assert_int_equal(entry.payload_len, LARGE);
    nxf_scanner_free(another);
    /* The one that had none goes on, too. */
    for (uint64_t vlsn = 4; vlsn <= 5; vlsn++) {
        assert_ok(nxf_scanner_next, feed->scanner, vlsn, &entry);
        assert_true(log_is_payload(vlsn, entry.payload, entry.payload_len));
    }
}

static void a_run_without_memory_sends_what_came_before_and_a_new_one_goes_on(void **state)
{
    struct feed *feed = feed_of(state);
    const uint64_t large = log_with_a_large_entry(feed);
    nxf_error *err = NULL;
    feed_connect(feed, REPLICA_ACKS);
    feed_make_runner(feed, 1);
    feed_record_end(feed);
    if (!take_memory())
        skip();
    feed_start(feed);
    assert_int_equal(feed_wait_ended(feed, &err), NXF_E_NO_MEMORY);
    assert_names_the_large_entry(err, large);
    record_wait(feed->record, "r1 ended NXF_E_NO_MEMORY");
    assert_int_equal(nxf_runner_known_replica_vlsn(feed->runner), 3);
    feed_free_runner(feed);
    replica_wait_finished(feed->replica);
    assert_frames(feed->replica, 1, 3);
    replica_free(feed->replica);

    give_memory();
    feed_connect(feed, REPLICA_ACKS);
    feed_make_runner(feed, 4);
    feed_start(feed);
    feed_wait_acked(feed, 5);
    assert_int_equal(replica_count(feed->replica), 2);
    for (uint64_t vlsn = 4; vlsn <= 5; vlsn++) {
        const struct frame frame = replica_frame(feed->replica, (size_t)vlsn - 4);
        assert_int_equal(frame.vlsn, vlsn);
        assert_true(log_is_payload(vlsn, frame.payload, frame.payload_len));
    }
}

struct sending {
    int fd;
    const uint8_t *message;
    bool is_sent;
};

static void *send_large(void *context)
{
    struct sending *sending = (struct sending *)context;
    uint8_t prefix[4];
    put_le(prefix, LARGE, sizeof prefix);
    sending->is_sent = send_all(sending->fd, prefix, sizeof prefix) && send_all(sending->fd, sending->message, LARGE);
    return NULL;
}

static uint8_t *large_message(void)
{
    uint8_t *message = (uint8_t *)malloc(LARGE);
    assert_non_null(message);
    for (size_t at = 0; at < LARGE; at++)
        message[at] = (uint8_t)(at % 251);
    return message;
}

static void a_message_without_memory_is_received_when_there_is_some(void **state)
{
    struct feed *feed = feed_of(state);
    uint8_t *message = large_message(), *buf = (uint8_t *)malloc(LARGE);
    struct sending sending = { -1, message, false };
    pthread_t thread;
    size_t len = 0;
    int fds[2];
    unix_pair(fds);
    assert_ok(nxf_channel_from_fd, fds[0], NULL, &feed->channel);
    sending.fd = fds[1];
    assert_int_equal(pthread_create(&thread, NULL, send_large, &sending), 0);
    const bool is_taken = take_memory();
    for (int times = 0; times < 3 && is_taken; times++)
        assert_refused(NXF_E_NO_MEMORY, "message", nxf_channel_receive, feed->channel, buf, LARGE, &len, -1);
    give_memory();
    assert_ok(nxf_channel_receive, feed->channel, buf, LARGE, &len, -1);
    assert_int_equal(len, LARGE);
    assert_memory_equal(buf, message, LARGE);
    pthread_join(thread, NULL);
    assert_true(sending.is_sent);
    close(fds[1]);
    free(message);
    free(buf);
    if (!is_taken)
        skip();
}

struct receiving {
    nxf_channel *channel;
    uint8_t *buf;
    size_t len;
    nxf_status status;
};

static void *receive_large(void *context)
{
    struct receiving *receiving = (struct receiving *)context;
    receiving->status =
        nxf_channel_receive(receiving->channel, receiving->buf, LARGE, &receiving->len, PATIENCE_MS, NULL);
    return NULL;
}

/* Over a socket a message is sent from where it is; an in-memory pair has to hold it until it is received. */
static void sending_without_memory_is_a_status_where_it_takes_some(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_channel *one = NULL, *other = NULL, *far_end = NULL;
    uint8_t *message = large_message();
    struct receiving receiving = { NULL, (uint8_t *)malloc(LARGE), 0, NXF_E_OS };
    pthread_t thread;
    int fds[2];
    size_t len = 0;
    unix_pair(fds);
    assert_ok(nxf_channel_from_fd, fds[0], NULL, &feed->channel);
    assert_ok(nxf_channel_from_fd, fds[1], NULL, &far_end);
    assert_ok(nxf_channel_local_pair, NULL, &one, &other);
    const bool is_taken = take_memory();
    if (is_taken)
        assert_refused(NXF_E_NO_MEMORY, "message", nxf_channel_send, one, message, LARGE);
    assert_ok(nxf_channel_send, one, message, 100);
    give_memory();
    assert_ok(nxf_channel_receive, other, receiving.buf, LARGE, &len, -1);
    assert_int_equal(len, 100);
    assert_ok(nxf_channel_send, one, message, LARGE);
    assert_ok(nxf_channel_receive, other, receiving.buf, LARGE, &len, -1);
    assert_int_equal(len, LARGE);

    receiving.channel = far_end;
    assert_int_equal(pthread_create(&thread, NULL, receive_large, &receiving), 0);
    assert_ok(nxf_channel_send, feed->channel, message, LARGE);
    pthread_join(thread, NULL);
    assert_int_equal(receiving.status, NXF_OK);
    assert_memory_equal(receiving.buf, message, LARGE);
    nxf_channel_free(one);
    nxf_channel_free(other);
    nxf_channel_free(far_end);
    free(receiving.buf);
    free(message);
    if (!is_taken)
        skip();
}

static void a_tracker_without_memory_queues_nothing(void **state)
{
    nxf_feeder *feeder = NULL;
    uint8_t *message = large_message();
    (void)state;
    assert_ok(nxf_feeder_new, "r1", NULL, &feeder);
    const bool is_taken = take_memory();
    if (is_taken)
        assert_refused(NXF_E_NO_MEMORY, "VLSN 7", nxf_feeder_queue_entry, feeder, 7, 13, message, LARGE);
    give_memory();
    assert_int_equal(nxf_feeder_current_vlsn(feeder), 0);
    assert_ok(nxf_feeder_queue_entry, feeder, 7, 13, message, LARGE);
    nxf_feeder_free(feeder);
    free(message);
    if (!is_taken)
        skip();
}

#define memory_test(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        memory_test(an_entry_without_memory_is_a_status_and_is_read_when_there_is_some),
        memory_test(a_run_without_memory_sends_what_came_before_and_a_new_one_goes_on),
        memory_test(a_message_without_memory_is_received_when_there_is_some),
        memory_test(sending_without_memory_is_a_status_where_it_takes_some),
        memory_test(a_tracker_without_memory_queues_nothing),
    };
#ifdef M_ARENA_MAX
    /* The GNU C library reserves address space for each thread, which is then there when there should be none. */
    mallopt(M_ARENA_MAX, 1);
#endif
    return cmocka_run_group_tests(tests, NULL, NULL);
}
