/* noxu_feeder_test.h: the mock replica and the log maker, as users' tests use them; and what the library makes of it
   when the mock misbehaves. */
#include "support/check.h"
#include "support/mock_elsewhere.h"

#include <noxu_feeder_test.h>

#include <sys/stat.h>

/* --- what the tests share --- */

#define assert_done(call) check_done(call, #call, __FILE__, __LINE__)
#define assert_error(word, call) check_error(call, word, #call, __FILE__, __LINE__)

static void check_done(const char *error, const char *call, const char *file, int line)
{
    if (error != NULL) {
        print_error("%s: %s\n", call, error);
        _fail(file, line);
    }
}

static void check_error(const char *error, const char *word, const char *call, const char *file, int line)
{
    if (error == NULL || strstr(error, word) == NULL) {
        print_error("%s: \"%s\" instead of one with \"%s\"\n", call, error != NULL ? error : "", word);
        _fail(file, line);
    }
}

/* A log and a replica, and a runner between them. */
struct mock {
    nxft_log *log;
    nxft_replica *replica;
    nxf_options *options;
    nxf_channel *channel;
    nxf_runner *runner;
};

static int set_up(void **state)
{
    struct mock *mock = (struct mock *)calloc(1, sizeof *mock);
    *state = mock;
    return nxft_log_new(NULL, &mock->log) != NULL || nxft_replica_new(&mock->replica) != NULL
        || nxf_options_new(&mock->options, NULL) != NXF_OK;
}

static int tear_down(void **state)
{
    struct mock *mock = (struct mock *)*state;
    nxf_runner_free(mock->runner);
    nxf_channel_free(mock->channel);
    nxf_options_free(mock->options);
    nxft_replica_free(mock->replica);
    nxft_log_free(mock->log);
    free(mock);
    return 0;
}

#define mock_test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

static void set(struct mock *mock, const char *key, const char *value)
{
    assert_ok(nxf_options_set, mock->options, key, value);
}

static void run(struct mock *mock)
{
    nxf_log *log = NULL;
    nxf_scanner *scanner = NULL;
    assert_ok(nxf_runner_new, mock->channel, "mock", 0, mock->options, &mock->runner);
    mock->channel = NULL;
    assert_ok(nxf_log_open, nxft_log_dir(mock->log), mock->options, &log);
    assert_ok(nxf_scanner_from_log, log, NXF_LSN_FIRST, &scanner);
    nxf_log_free(log);
    assert_ok(nxf_runner_start, mock->runner, scanner);
}

/* By TCP. */
static void connect_to(struct mock *mock)
{
    uint16_t port;
    assert_done(nxft_replica_listen(mock->replica, &port));
    assert_ok(nxf_channel_tcp_connect, "127.0.0.1", port, mock->options, &mock->channel);
    assert_done(nxft_replica_wait_connected(mock->replica, PATIENCE_MS));
}

static void connect_by_pair(struct mock *mock)
{
    int fd;
    assert_done(nxft_replica_pair(mock->replica, &fd));
    assert_ok(nxf_channel_from_fd, fd, mock->options, &mock->channel);
}

/* It is fed with this many entries, and has received all. */
static void feed(struct mock *mock, uint64_t count)
{
    assert_done(nxft_log_append_many(mock->log, count, 100));
    run(mock);
    assert_done(nxft_replica_wait_vlsn(mock->replica, count, PATIENCE_MS));
}

static void wait_acked(struct mock *mock, uint64_t vlsn)
{
    assert_ok(nxf_runner_wait_acked, mock->runner, vlsn, PATIENCE_MS);
}

/* How the run ends. The VLSN waited for is never acknowledged. */
static nxf_status wait_ended(struct mock *mock)
{
    if (nxf_runner_wait_acked(mock->runner, UINT64_MAX, PATIENCE_MS, NULL) == NXF_TIMEOUT)
        fail_with("the run does not end");
    return nxf_runner_result(mock->runner, NULL);
}

static uint32_t run_state(struct mock *mock)
{
    nxf_runner_stats_t stats;
    stats.struct_size = sizeof stats;
    assert_ok(nxf_runner_stats, mock->runner, &stats);
    return stats.run_state;
}

/* --- what it receives --- */

static void a_replica_counts_and_acknowledges_each_frame(void **state)
{
    struct mock *mock = (struct mock *)*state;
    connect_to(mock);
    feed(mock, 100);
    wait_acked(mock, 100);
    assert_int_equal(nxft_replica_count(mock->replica), 100);
    assert_int_equal(nxft_replica_last_vlsn(mock->replica), 100);
    assert_int_equal(nxft_replica_acks_sent(mock->replica), 100);
    assert_null(nxft_replica_fault(mock->replica));
    assert_ok(nxf_runner_stop, mock->runner, PATIENCE_MS);
    assert_done(nxft_replica_wait_closed(mock->replica, PATIENCE_MS));
    assert_int_equal(wait_ended(mock), NXF_OK);
    assert_int_equal(run_state(mock), NXF_RUN_STOPPED);
}

static void a_replica_keeps_payloads(void **state)
{
    struct mock *mock = (struct mock *)*state;
    nxft_frame frame;
    uint8_t payload[100];
    nxft_replica_keep(mock->replica, NXFT_KEEP_PAYLOADS);
    connect_by_pair(mock);
    assert_done(nxft_log_append(mock->log, 30, "", 0, NULL));
    feed(mock, 2);
    assert_done(nxft_replica_wait_vlsn(mock->replica, 3, PATIENCE_MS));
    assert_done(nxft_replica_frame(mock->replica, 0, &frame));
    assert_int_equal(frame.entry_type, 30);
    assert_int_equal(frame.payload_len, 0);
    assert_done(nxft_replica_frame(mock->replica, 2, &frame));
    nxft_log_payload(3, payload, sizeof payload);
    assert_int_equal(frame.vlsn, 3);
    assert_int_equal(frame.entry_type, 10);
    assert_int_equal(frame.payload_len, sizeof payload);
    assert_memory_equal(frame.payload, payload, sizeof payload);
    assert_int_equal(frame.payload_crc, nxft_crc32(payload, sizeof payload));
    assert_error("3 frames", nxft_replica_frame(mock->replica, 3, &frame));
}

static void a_replica_keeps_checksums_alone(void **state)
{
    struct mock *mock = (struct mock *)*state;
    nxft_frame frame;
    uint8_t payload[100];
    nxft_replica_keep(mock->replica, NXFT_KEEP_FRAMES);
    connect_by_pair(mock);
    feed(mock, 1);
    assert_done(nxft_replica_frame(mock->replica, 0, &frame));
    nxft_log_payload(1, payload, sizeof payload);
    assert_null(frame.payload);
    assert_int_equal(frame.payload_crc, nxft_crc32(payload, sizeof payload));
}

static void a_replica_takes_frames_of_any_size(void **state)
{
    struct mock *mock = (struct mock *)*state;
    const size_t large = 3 * 1024 * 1024;
    nxft_replica_buffer_bytes(mock->replica, 4096);
    connect_to(mock);
    assert_done(nxft_log_append_many(mock->log, 1, large));
    assert_done(nxft_log_append_many(mock->log, 1, 0));
    run(mock);
    wait_acked(mock, 2);
}

static void a_replica_is_attached_to_a_socket_of_the_tests(void **state)
{
    struct mock *mock = (struct mock *)*state;
    int fds[2], none[2];
    assert_int_equal(pipe(none), 0);
    assert_error("no connected stream socket", nxft_replica_attach(mock->replica, none[0]));
    close(none[0]);
    close(none[1]);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_done(nxft_replica_attach(mock->replica, fds[0]));
    assert_ok(nxf_channel_from_fd, fds[1], NULL, &mock->channel);
    feed(mock, 5);
    wait_acked(mock, 5);
}

static void a_replica_starts_once(void **state)
{
    struct mock *mock = (struct mock *)*state;
    uint16_t port;
    int fd;
    assert_done(nxft_replica_listen(mock->replica, &port));
    assert_error("started before", nxft_replica_listen(mock->replica, &port));
    assert_error("started before", nxft_replica_pair(mock->replica, &fd));
    assert_error("started before", nxft_replica_attach(mock->replica, 0));
}

static void a_second_feeder_is_refused(void **state)
{
    struct mock *mock = (struct mock *)*state;
    uint16_t port;
    nxf_channel *second = NULL;
    assert_done(nxft_replica_listen(mock->replica, &port));
    assert_ok(nxf_channel_tcp_connect, "127.0.0.1", port, NULL, &mock->channel);
    feed(mock, 1);
    assert_status(NXF_E_CONNECT, nxf_channel_tcp_connect, "127.0.0.1", port, NULL, &second);
}

static void a_feed_may_begin_in_the_middle_unless_the_replica_minds(void **state)
{
    struct mock *mock = (struct mock *)*state;
    nxft_log_set_next_vlsn(mock->log, 50);
    connect_by_pair(mock);
    assert_done(nxft_log_append_many(mock->log, 3, 10));
    run(mock);
    wait_acked(mock, 52);
    assert_int_equal(nxft_replica_count(mock->replica), 3);
}

/* --- how it acknowledges --- */

static void a_replica_acknowledges_every_nth_frame(void **state)
{
    struct mock *mock = (struct mock *)*state;
    nxft_replica_ack_every(mock->replica, 10);
    connect_by_pair(mock);
    feed(mock, 25);
    wait_acked(mock, 20);
    assert_int_equal(nxft_replica_acks_sent(mock->replica), 2);
    assert_done(nxft_replica_send_ack(mock->replica, 25));
    wait_acked(mock, 25);
    assert_int_equal(nxft_replica_acks_sent(mock->replica), 2);
}

static void a_replica_that_acknowledges_nothing_keeps_its_feeder_waiting(void **state)
{
    struct mock *mock = (struct mock *)*state;
    nxft_replica_ack_every(mock->replica, 0);
    connect_by_pair(mock);
    feed(mock, 25);
    assert_int_equal(nxft_replica_acks_sent(mock->replica), 0);
    assert_status(NXF_TIMEOUT, nxf_runner_wait_acked, mock->runner, 1, 1);
    assert_int_equal(nxf_runner_known_replica_vlsn(mock->runner), 0);
}

static void a_delayed_ack_comes_later_and_not_sooner(void **state)
{
    struct mock *mock = (struct mock *)*state;
    const long long begin = now_ms();
    nxft_replica_ack_delay(mock->replica, 30);
    connect_by_pair(mock);
    feed(mock, 3);
    wait_acked(mock, 3);
    assert_true(now_ms() - begin >= 90);
}

static void a_delay_does_not_hold_up_the_end(void **state)
{
    struct mock *mock = (struct mock *)*state;
    nxft_replica_ack_delay(mock->replica, 3600 * 1000);
    set(mock, "runner.linger_ms", "10");
    connect_by_pair(mock);
    feed(mock, 1); /* and freed by the test's end, which otherwise would not come */
}

static void a_lower_ack_does_not_count(void **state)
{
    struct mock *mock = (struct mock *)*state;
    nxf_ack acks[3];
    size_t count = 0, all = 0;
    nxft_replica_ack_every(mock->replica, 0);
    connect_by_pair(mock);
    feed(mock, 9);
    assert_done(nxft_replica_send_ack(mock->replica, 7));
    assert_done(nxft_replica_send_ack(mock->replica, 3));
    while (all < 2) {
        assert_ok(nxf_runner_poll_acks, mock->runner, acks + all, 3 - all, PATIENCE_MS, &count);
        all += count;
    }
    assert_int_equal(acks[0].vlsn, 7);
    assert_int_equal(acks[1].vlsn, 3);
    assert_int_equal(nxf_runner_known_replica_vlsn(mock->runner), 7);
}

/* --- how it misbehaves, and what the library says --- */

static void a_short_ack_is_ignored(void **state)
{
    struct mock *mock = (struct mock *)*state;
    nxft_replica_ack_every(mock->replica, 0);
    connect_by_pair(mock);
    feed(mock, 2);
    assert_done(nxft_replica_send_short_ack(mock->replica));
    assert_done(nxft_replica_send_message(mock->replica, "", 0));
    assert_done(nxft_replica_send_ack(mock->replica, 2));
    wait_acked(mock, 2);
    assert_int_equal(nxf_runner_result(mock->runner, NULL), NXF_AGAIN);
}

static void an_ack_beyond_what_was_sent_ends_the_run(void **state)
{
    struct mock *mock = (struct mock *)*state;
    connect_by_pair(mock);
    feed(mock, 2);
    assert_done(nxft_replica_send_ack_beyond_sent(mock->replica));
    assert_int_equal(wait_ended(mock), NXF_E_ACK_BEYOND_SENT);
    assert_int_equal(run_state(mock), NXF_RUN_FAILED);
    assert_done(nxft_replica_wait_closed(mock->replica, PATIENCE_MS));
}

static void garbage_ends_the_run(void **state)
{
    struct mock *mock = (struct mock *)*state;
    connect_by_pair(mock);
    feed(mock, 2);
    assert_done(nxft_replica_send_garbage(mock->replica));
    assert_int_equal(wait_ended(mock), NXF_E_PROTOCOL);
}

static void an_oversized_length_ends_the_run(void **state)
{
    struct mock *mock = (struct mock *)*state;
    connect_by_pair(mock);
    feed(mock, 2);
    assert_done(nxft_replica_send_oversized_length(mock->replica));
    assert_int_equal(wait_ended(mock), NXF_E_PROTOCOL);
}

static void an_ack_in_pieces_is_one_ack(void **state)
{
    struct mock *mock = (struct mock *)*state;
    nxft_replica_ack_every(mock->replica, 0);
    connect_by_pair(mock);
    feed(mock, 2);
    assert_done(nxft_replica_send_bytes(mock->replica, "\10\0\0\0\2", 5));
    assert_done(nxft_replica_send_bytes(mock->replica, "\0\0\0\0\0\0\0", 7));
    wait_acked(mock, 2);
}

static void a_replica_that_stops_reading_is_given_up(void **state)
{
    struct mock *mock = (struct mock *)*state;
    nxft_replica_buffer_bytes(mock->replica, 4096);
    set(mock, "runner.write_timeout_ms", "50");
    connect_to(mock);
    nxft_replica_stop_reading(mock->replica);
    assert_done(nxft_log_append_many(mock->log, 20, 1024 * 1024));
    run(mock);
    assert_int_equal(wait_ended(mock), NXF_E_WRITE_TIMEOUT);
    assert_error("does not read", nxft_replica_wait_closed(mock->replica, 1));
    assert_int_equal(nxft_replica_count(mock->replica), 0);
}

static void a_replica_that_reads_again_gets_all(void **state)
{
    struct mock *mock = (struct mock *)*state;
    connect_by_pair(mock);
    feed(mock, 10);
    nxft_replica_stop_reading(mock->replica);
    assert_done(nxft_log_append_many(mock->log, 10000, 100));
    assert_error("VLSN 10 was received, and 20 not yet", nxft_replica_wait_vlsn(mock->replica, 20, 1));
    nxft_replica_resume_reading(mock->replica);
    wait_acked(mock, 10010);
}

static void a_replica_that_closes_ends_the_run_in_order(void **state)
{
    struct mock *mock = (struct mock *)*state;
    connect_to(mock);
    feed(mock, 10);
    nxft_replica_stop_reading(mock->replica);
    assert_done(nxft_log_append_many(mock->log, 1000, 100)); /* unread: what it drops makes no reset of it */
    assert_done(nxft_replica_close(mock->replica));
    assert_int_equal(wait_ended(mock), NXF_OK);
    assert_int_equal(run_state(mock), NXF_RUN_CLOSED_BY_REPLICA);
    assert_done(nxft_replica_wait_closed(mock->replica, PATIENCE_MS));
    assert_int_equal(nxft_replica_count(mock->replica), 10);
    assert_error("not connected", nxft_replica_send_ack(mock->replica, 10));
}

static void a_replica_that_resets_ends_the_run_by_a_reset(void **state)
{
    struct mock *mock = (struct mock *)*state;
    connect_to(mock);
    feed(mock, 10);
    assert_done(nxft_replica_reset(mock->replica));
    assert_done(nxft_replica_wait_closed(mock->replica, 0));
    assert_int_equal(wait_ended(mock), NXF_OK);
    assert_int_equal(run_state(mock), NXF_RUN_RESET_BY_REPLICA);
    assert_error("has ended with VLSN 10, before 11", nxft_replica_wait_vlsn(mock->replica, 11, -1));
}

static void only_tcp_is_reset(void **state)
{
    struct mock *mock = (struct mock *)*state;
    connect_by_pair(mock);
    assert_error("needs TCP", nxft_replica_reset(mock->replica));
    feed(mock, 1);
}

static void a_replica_does_nothing_without_a_connection(void **state)
{
    struct mock *mock = (struct mock *)*state;
    uint16_t port;
    assert_done(nxft_replica_listen(mock->replica, &port));
    assert_error("no feeder has connected", nxft_replica_wait_connected(mock->replica, 1));
    assert_error("no feeder has connected", nxft_replica_wait_vlsn(mock->replica, 1, 1));
    assert_error("has not ended", nxft_replica_wait_closed(mock->replica, 1));
    assert_error("not connected", nxft_replica_send_ack(mock->replica, 1));
    assert_error("not connected", nxft_replica_close(mock->replica));
    assert_error("not connected", nxft_replica_reset(mock->replica));
}

/* --- how it finds out a feeder that misbehaves --- */

static void send_frame(struct mock *mock, uint64_t vlsn)
{
    uint8_t message[64];
    size_t len;
    nxf_entry entry;
    memset(&entry, 0, sizeof entry);
    entry.vlsn = vlsn;
    entry.entry_type = 10;
    entry.payload = (const uint8_t *)"payload";
    entry.payload_len = 7;
    assert_ok(nxf_frame_encode, &entry, message, sizeof message, &len);
    assert_ok(nxf_channel_send, mock->channel, message, len);
}

static void assert_found_out(struct mock *mock, const char *word)
{
    assert_error(word, nxft_replica_wait_vlsn(mock->replica, 1000, PATIENCE_MS));
    assert_contains(nxft_replica_fault(mock->replica), word);
    /* It closes, as real ones do. */
    uint8_t buf[64];
    size_t len;
    nxf_status status;
    do
        status = nxf_channel_receive(mock->channel, buf, sizeof buf, &len, PATIENCE_MS, NULL);
    while (status == NXF_OK);
    assert_int_equal(status, NXF_CLOSED);
    nxf_channel_free(mock->channel);
    mock->channel = NULL;
    assert_error(word, nxft_replica_wait_closed(mock->replica, PATIENCE_MS));
}

static void a_gap_is_found_out(void **state)
{
    struct mock *mock = (struct mock *)*state;
    connect_by_pair(mock);
    send_frame(mock, 1);
    send_frame(mock, 3);
    assert_found_out(mock, "VLSN 3 where 2 was to come, behind 1 frames");
    assert_int_equal(nxft_replica_count(mock->replica), 1);
}

static void a_repeated_frame_is_found_out(void **state)
{
    struct mock *mock = (struct mock *)*state;
    connect_by_pair(mock);
    send_frame(mock, 4);
    send_frame(mock, 4);
    assert_found_out(mock, "VLSN 4 where 5 was to come");
}

static void another_first_frame_is_found_out(void **state)
{
    struct mock *mock = (struct mock *)*state;
    nxft_replica_first_vlsn(mock->replica, 1);
    connect_by_pair(mock);
    send_frame(mock, 2);
    assert_found_out(mock, "VLSN 2 where 1 was to come");
}

static void a_wrong_checksum_is_found_out(void **state)
{
    struct mock *mock = (struct mock *)*state;
    static const uint8_t frame[18] = { 1, 0, 0, 0, 0, 0, 0, 0, 10, 1, 0, 0, 0, 1, 2, 3, 4, 'x' };
    connect_by_pair(mock);
    assert_ok(nxf_channel_send, mock->channel, frame, sizeof frame);
    assert_found_out(mock, "checksum");
}

static void a_short_frame_is_found_out(void **state)
{
    struct mock *mock = (struct mock *)*state;
    connect_by_pair(mock);
    assert_ok(nxf_channel_send, mock->channel, (const uint8_t *)"abc", 3);
    assert_found_out(mock, "behind 0 frames");
}

static void a_length_that_no_frame_has_is_found_out(void **state)
{
    struct mock *mock = (struct mock *)*state;
    int fd;
    assert_done(nxft_replica_pair(mock->replica, &fd));
    assert_int_equal(write(fd, "\1\0\0\4", 4), 4);
    assert_error("more than 64 MiB", nxft_replica_wait_vlsn(mock->replica, 1, PATIENCE_MS));
    close(fd);
    assert_error("more than 64 MiB", nxft_replica_wait_closed(mock->replica, PATIENCE_MS));
}

/* --- the log --- */

static void a_log_has_several_files_and_is_fed_while_it_grows(void **state)
{
    struct mock *mock = (struct mock *)*state;
    connect_by_pair(mock);
    run(mock);
    for (uint64_t file = 0; file < 5; file++) {
        assert_done(nxft_log_next_file(mock->log));
        assert_done(nxft_log_append_many(mock->log, 20, 100));
        assert_done(nxft_log_append_untagged(mock->log, 30));
        assert_int_equal(nxft_log_last_vlsn(mock->log), 20 * (file + 1));
        wait_acked(mock, 20 * (file + 1));
    }
    assert_int_equal(nxft_log_end_lsn(mock->log) >> 32, 4);
}

static void a_log_is_read_as_it_was_written(void **state)
{
    struct mock *mock = (struct mock *)*state;
    nxf_scanner *scanner = NULL;
    nxf_entry entry;
    uint64_t lsn = 0;
    assert_done(nxft_log_append(mock->log, 13, "first", 5, &lsn));
    assert_int_equal(lsn, 36);
    assert_done(nxft_log_next_file(mock->log));
    assert_done(nxft_log_append(mock->log, 30, "second", 6, &lsn));
    assert_int_equal(lsn, ((uint64_t)1 << 32) + 36);
    assert_ok(nxf_scanner_open, nxft_log_dir(mock->log), NXF_LSN_FIRST, NULL, &scanner);
    assert_ok(nxf_scanner_next, scanner, 0, &entry);
    assert_int_equal(entry.entry_type, 13);
    assert_memory_equal(entry.payload, "first", 5);
    assert_ok(nxf_scanner_next, scanner, 0, &entry);
    assert_int_equal(entry.vlsn, 2);
    assert_int_equal(entry.lsn, lsn);
    assert_memory_equal(entry.payload, "second", 6);
    assert_status(NXF_AGAIN, nxf_scanner_next, scanner, 0, &entry);
    nxf_scanner_free(scanner);
}

static void a_gap_in_the_log_ends_the_run(void **state)
{
    struct mock *mock = (struct mock *)*state;
    set(mock, "log.gap_patience_ms", "50");
    set(mock, "log.settle_ms", "50");
    assert_done(nxft_log_append_many(mock->log, 3, 10));
    nxft_log_set_next_vlsn(mock->log, 5);
    assert_done(nxft_log_append_many(mock->log, 1, 10));
    connect_by_pair(mock);
    run(mock);
    assert_int_equal(wait_ended(mock), NXF_E_LOG_GAP);
    assert_int_equal(nxft_replica_last_vlsn(mock->replica), 3);
}

static void the_end_of_the_log_is_a_send_limit(void **state)
{
    struct mock *mock = (struct mock *)*state;
    nxf_log *log = NULL;
    nxf_scanner *scanner = NULL;
    assert_done(nxft_log_append_many(mock->log, 3, 10));
    const uint64_t durable = nxft_log_end_lsn(mock->log);
    assert_done(nxft_log_append_many(mock->log, 1, 10));
    connect_by_pair(mock);
    assert_ok(nxf_runner_new, mock->channel, "mock", 1, NULL, &mock->runner);
    mock->channel = NULL;
    assert_ok(nxf_log_open, nxft_log_dir(mock->log), NULL, &log);
    assert_int_equal(nxf_log_set_send_limit(log, durable), NXF_OK);
    assert_ok(nxf_scanner_from_log, log, NXF_LSN_FIRST, &scanner);
    assert_ok(nxf_runner_start, mock->runner, scanner);
    wait_acked(mock, 3);
    assert_status(NXF_TIMEOUT, nxf_runner_wait_acked, mock->runner, 4, 20);
    assert_int_equal(nxf_log_set_send_limit(log, nxft_log_end_lsn(mock->log)), NXF_OK);
    wait_acked(mock, 4);
    nxf_log_free(log);
}

static void a_log_removes_only_the_directory_that_it_made(void **state)
{
    struct mock *mock = (struct mock *)*state;
    nxft_log *log = NULL;
    struct stat found;
    char made[300], mine[] = "mine";
    snprintf(made, sizeof made, "%s", nxft_log_dir(mock->log));
    assert_done(nxft_log_append_many(mock->log, 1, 10));
    nxft_log_free(mock->log);
    mock->log = NULL;
    assert_int_equal(stat(made, &found), -1);

    mkdir(mine, 0777);
    unlink("mine/00000000.ndb");
    assert_done(nxft_log_new(mine, &log));
    assert_string_equal(nxft_log_dir(log), mine);
    assert_done(nxft_log_append_many(log, 1, 10));
    nxft_log_free(log);
    assert_int_equal(stat("mine/00000000.ndb", &found), 0);
    /* A log that is there is not written over. */
    assert_done(nxft_log_new(mine, &log));
    assert_error("File exists", nxft_log_append_many(log, 1, 10));
    nxft_log_free(log);
}

static void what_cannot_be_written_is_refused(void **state)
{
    struct mock *mock = (struct mock *)*state;
    nxft_log *log = NULL;
    assert_error("type 0", nxft_log_append(mock->log, 0, "x", 1, NULL));
    assert_error("not there", nxft_log_append(mock->log, 10, NULL, 1, NULL));
    assert_error("100 MiB", nxft_log_append_untagged(mock->log, (size_t)100 * 1024 * 1024 + 1));
    assert_done(nxft_log_new("no/such/directory", &log));
    assert_error("No such file", nxft_log_next_file(log));
    nxft_log_free(log);
}

/* --- the header itself --- */

static void source_files_of_one_program_share_a_replica(void **state)
{
    struct mock *mock = (struct mock *)*state;
    connect_by_pair(mock);
    feed(mock, 4);
    assert_int_equal(last_vlsn_as_seen_elsewhere(mock->replica), 4);
}

static void releasing_nothing_is_fine(void **state)
{
    (void)state;
    nxft_replica_free(NULL);
    nxft_log_free(NULL);
    NXFT_MUST(NULL);
}

static void what_never_started_is_released(void **state)
{
    (void)state; /* by the test's end */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        mock_test(a_replica_counts_and_acknowledges_each_frame),
        mock_test(a_replica_keeps_payloads),
        mock_test(a_replica_keeps_checksums_alone),
        mock_test(a_replica_takes_frames_of_any_size),
        mock_test(a_replica_is_attached_to_a_socket_of_the_tests),
        mock_test(a_replica_starts_once),
        mock_test(a_second_feeder_is_refused),
        mock_test(a_feed_may_begin_in_the_middle_unless_the_replica_minds),
        mock_test(a_replica_acknowledges_every_nth_frame),
        mock_test(a_replica_that_acknowledges_nothing_keeps_its_feeder_waiting),
        mock_test(a_delayed_ack_comes_later_and_not_sooner),
        mock_test(a_delay_does_not_hold_up_the_end),
        mock_test(a_lower_ack_does_not_count),
        mock_test(a_short_ack_is_ignored),
        mock_test(an_ack_beyond_what_was_sent_ends_the_run),
        mock_test(garbage_ends_the_run),
        mock_test(an_oversized_length_ends_the_run),
        mock_test(an_ack_in_pieces_is_one_ack),
        mock_test(a_replica_that_stops_reading_is_given_up),
        mock_test(a_replica_that_reads_again_gets_all),
        mock_test(a_replica_that_closes_ends_the_run_in_order),
        mock_test(a_replica_that_resets_ends_the_run_by_a_reset),
        mock_test(only_tcp_is_reset),
        mock_test(a_replica_does_nothing_without_a_connection),
        mock_test(a_gap_is_found_out),
        mock_test(a_repeated_frame_is_found_out),
        mock_test(another_first_frame_is_found_out),
        mock_test(a_wrong_checksum_is_found_out),
        mock_test(a_short_frame_is_found_out),
        mock_test(a_length_that_no_frame_has_is_found_out),
        mock_test(a_log_has_several_files_and_is_fed_while_it_grows),
        mock_test(a_log_is_read_as_it_was_written),
        mock_test(a_gap_in_the_log_ends_the_run),
        mock_test(the_end_of_the_log_is_a_send_limit),
        mock_test(a_log_removes_only_the_directory_that_it_made),
        mock_test(what_cannot_be_written_is_refused),
        mock_test(source_files_of_one_program_share_a_replica),
        cmocka_unit_test(releasing_nothing_is_fine),
        mock_test(what_never_started_is_released),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
