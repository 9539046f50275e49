/* Acknowledgements: which are believed, and the ways in which a host learns of them. */
#include "support/bytes.h"
#include "support/feed.h"

#include <poll.h>
#include <pthread.h>

/* A feed of VLSNs 1 to last that has sent them all to a replica that acknowledges what the test has it acknowledge. */
static struct feed *feed_sent(void **state, uint64_t last)
{
    struct feed *feed = feed_of(state);
    log_add_range(feed->log, 1, last);
    feed_up(feed, 0);
    replica_wait_frames(feed->replica, (size_t)last);
    return feed;
}

/* The same with acks and the end recorded. */
static struct feed *feed_sent_recorded(void **state, uint64_t last)
{
    struct feed *feed = feed_of(state);
    log_add_range(feed->log, 1, last);
    feed_connect(feed, 0);
    feed_make_runner(feed, 1);
    feed_record_acks(feed);
    feed_record_end(feed);
    feed_start(feed);
    replica_wait_frames(feed->replica, (size_t)last);
    return feed;
}

static void ack(struct feed *feed, uint64_t vlsn)
{
    replica_ack(feed->replica, vlsn);
}

/* In one piece, so that the run cannot end in between. */
static void ack_all(struct feed *feed, const uint64_t *vlsns, size_t count)
{
    uint8_t bytes[10 * ACK_MESSAGE_LEN];
    for (size_t at = 0; at < count; at++)
        encode_ack(bytes + at * ACK_MESSAGE_LEN, vlsns[at]);
    replica_send(feed->replica, bytes, count * ACK_MESSAGE_LEN);
}

struct received {
    struct feed *feed;
    uint64_t acks;
};

static bool has_received(void *context)
{
    const struct received *received = (const struct received *)context;
    return feed_stats(received->feed).acks_received == received->acks;
}

/* Waits until this many acks are ready to be polled. */
static void wait_received(struct feed *feed, uint64_t acks)
{
    struct received received = { feed, acks };
    assert_soon(has_received, &received);
}

static void assert_polls(struct feed *feed, uint64_t vlsn, uint64_t merged)
{
    nxf_ack acks[1];
    size_t count = 0;
    assert_ok(nxf_runner_poll_acks, feed->runner, acks, 1, PATIENCE_MS, &count);
    assert_int_equal(count, 1);
    assert_int_equal(acks[0].vlsn, vlsn);
    assert_int_equal(acks[0].merged, merged);
}

static void assert_polls_status(struct feed *feed, nxf_status status, int timeout_ms)
{
    nxf_ack acks[4];
    size_t count = 0;
    assert_status(status, nxf_runner_poll_acks, feed->runner, acks, 4, timeout_ms, &count);
}

/* --- by callback --- */

static void every_ack_is_handed_over_in_order_lower_ones_too(void **state)
{
    struct feed *feed = feed_sent_recorded(state, 50);
    ack(feed, 42);
    ack(feed, 10);
    ack(feed, 42);
    ack(feed, 43);
    record_wait(feed->record, "r1 acked 43");
    assert_record(feed->record, "r1 acked 42\nr1 acked 10\nr1 acked 42\nr1 acked 43\n");
}

static void record_known(void *context, const char *replica_name, uint64_t vlsn)
{
    struct feed *feed = (struct feed *)context;
    const unsigned long long known = nxf_runner_known_replica_vlsn(feed->runner);
    record_add(feed->record, "%s acked %llu, known %llu", replica_name, (unsigned long long)vlsn, known);
}

static void the_known_vlsn_has_risen_before_the_callback_and_never_falls(void **state)
{
    struct feed *feed = feed_of(state);
    log_add_range(feed->log, 1, 50);
    feed_connect(feed, 0);
    feed_make_runner(feed, 1);
    assert_ok(nxf_runner_set_ack_callback, feed->runner, record_known, feed, NULL);
    feed_start(feed);
    replica_wait_frames(feed->replica, 50);
    ack(feed, 42);
    ack(feed, 10);
    record_wait(feed->record, "r1 acked 10, known 42");
    assert_record(feed->record, "r1 acked 42, known 42\nr1 acked 10, known 42\n");
}

static void with_a_callback_nothing_comes_to_who_polls(void **state)
{
    struct feed *feed = feed_sent_recorded(state, 3);
    ack(feed, 3);
    record_wait(feed->record, "r1 acked 3");
    assert_polls_status(feed, NXF_TIMEOUT, 0);
    assert_ok(nxf_runner_stop, feed->runner, -1);
    assert_polls_status(feed, NXF_CLOSED, -1);
}

/* --- by polling --- */

static void acks_are_polled_in_order_as_many_as_asked_for(void **state)
{
    struct feed *feed = feed_sent(state, 5);
    nxf_ack acks[3];
    size_t count = 0;
    static const uint64_t sent[] = { 2, 1, 4, 3, 5 };
    ack_all(feed, sent, 5);
    wait_received(feed, 5);
    assert_ok(nxf_runner_poll_acks, feed->runner, acks, 3, 0, &count);
    assert_int_equal(count, 3);
    for (size_t at = 0; at < 3; at++)
        assert_true(acks[at].vlsn == sent[at] && acks[at].merged == 0);
    assert_polls(feed, 3, 0);
    assert_polls(feed, 5, 0);
    assert_polls_status(feed, NXF_TIMEOUT, 0);
}

static void without_acks_a_poll_times_out(void **state)
{
    struct feed *feed = feed_sent(state, 1);
    const long long before = now_ms();
    assert_polls_status(feed, NXF_TIMEOUT, 0);
    assert_polls_status(feed, NXF_TIMEOUT, 20);
    assert_true(now_ms() - before >= 19);
}

static void what_was_acked_can_be_polled_after_the_end(void **state)
{
    struct feed *feed = feed_sent(state, 2);
    ack(feed, 1);
    ack(feed, 2);
    feed_wait_acked(feed, 2);
    assert_ok(nxf_runner_stop, feed->runner, -1);
    assert_polls(feed, 1, 0);
    assert_polls(feed, 2, 0);
    assert_polls_status(feed, NXF_CLOSED, 0);
    assert_polls_status(feed, NXF_CLOSED, -1);
}

struct polling {
    const nxf_runner *runner;
    uint64_t sum, count;
};

static void *poll_until_closed(void *context)
{
    struct polling *polling = (struct polling *)context;
    nxf_ack acks[7];
    size_t count;
    while (nxf_runner_poll_acks(polling->runner, acks, 7, -1, &count, NULL) == NXF_OK) {
        polling->count += count;
        while (count > 0)
            polling->sum += acks[--count].vlsn;
    }
    return NULL;
}

static void threads_that_poll_share_the_acks(void **state)
{
    struct feed *feed = feed_of(state);
    const uint64_t last = 1000;
    struct polling polling[3];
    pthread_t threads[3];
    feed_up(feed, REPLICA_ACKS);
    for (size_t at = 0; at < 3; at++) {
        polling[at].runner = feed->runner;
        polling[at].sum = polling[at].count = 0;
        pthread_create(&threads[at], NULL, poll_until_closed, &polling[at]);
    }
    log_add_range(feed->log, 1, last);
    feed_wait_acked(feed, last);
    assert_ok(nxf_runner_stop, feed->runner, -1);
    for (size_t at = 0; at < 3; at++)
        pthread_join(threads[at], NULL);
    assert_int_equal(polling[0].count + polling[1].count + polling[2].count, last);
    assert_int_equal(polling[0].sum + polling[1].sum + polling[2].sum, last * (last + 1) / 2);
}

static void acks_that_nobody_polls_are_merged_into_the_last(void **state)
{
    struct feed *feed = feed_of(state);
    log_add_range(feed->log, 1, 9);
    feed_set(feed, "ack.queue_max", "3");
    assert_refused(NXF_E_INVALID_OPTION, "ack.queue_max", nxf_options_set, feed->options, "ack.queue_max", "0");
    feed_up(feed, 0);
    replica_wait_frames(feed->replica, 9);
    static const uint64_t sent[] = { 1, 2, 3, 8, 4, 9 };
    ack_all(feed, sent, 6);
    wait_received(feed, 6);
    assert_int_equal(feed_stats(feed).acks_merged, 3);
    assert_polls(feed, 1, 0);
    assert_polls(feed, 2, 0);
    assert_polls(feed, 9, 3);
    /* And there is room again. */
    ack(feed, 5);
    assert_polls(feed, 5, 0);
}

/* --- by a descriptor --- */

static bool is_readable(int fd, int timeout_ms)
{
    struct pollfd waiting = { fd, POLLIN, 0 };
    return poll(&waiting, 1, timeout_ms) == 1 && (waiting.revents & POLLIN) != 0;
}

static void the_descriptor_is_readable_while_acks_wait_and_after_the_end(void **state)
{
    struct feed *feed = feed_sent(state, 3);
    int fd = -1, again = -1;
    assert_ok(nxf_runner_event_fd, feed->runner, &fd);
    assert_false(is_readable(fd, 0));
    ack(feed, 1);
    assert_true(is_readable(fd, PATIENCE_MS));
    ack(feed, 2);
    wait_received(feed, 2);
    assert_polls(feed, 1, 0);
    assert_true(is_readable(fd, 0)); /* one is left */
    assert_polls(feed, 2, 0);
    assert_false(is_readable(fd, 0));
    ack(feed, 3);
    assert_true(is_readable(fd, PATIENCE_MS));
    assert_polls(feed, 3, 0);

    replica_close(feed->replica);
    assert_true(is_readable(fd, PATIENCE_MS));
    assert_polls_status(feed, NXF_CLOSED, 0);
    assert_true(is_readable(fd, 0));
    assert_ok(nxf_runner_event_fd, feed->runner, &again);
    assert_int_equal(again, fd);
}

static void a_descriptor_asked_for_late_knows_what_was_before(void **state)
{
    struct feed *feed = feed_sent(state, 1);
    int fd = -1;
    ack(feed, 1);
    wait_received(feed, 1);
    assert_ok(nxf_runner_event_fd, feed->runner, &fd);
    assert_true(is_readable(fd, 0));
}

static void a_descriptor_can_be_had_before_the_start(void **state)
{
    struct feed *feed = feed_of(state);
    int fd = -1;
    log_add(feed->log, 1);
    feed_connect(feed, REPLICA_ACKS);
    feed_make_runner(feed, 1);
    assert_ok(nxf_runner_event_fd, feed->runner, &fd);
    assert_false(is_readable(fd, 0));
    feed_start(feed);
    assert_true(is_readable(fd, PATIENCE_MS));
}

/* --- by waiting --- */

struct waiting {
    const nxf_runner *runner;
    uint64_t vlsn;
    nxf_status status;
};

static void *wait_acked(void *context)
{
    struct waiting *waiting = (struct waiting *)context;
    waiting->status = nxf_runner_wait_acked(waiting->runner, waiting->vlsn, -1, NULL);
    return NULL;
}

static void threads_wait_each_for_its_vlsn(void **state)
{
    struct feed *feed = feed_sent(state, 5);
    struct waiting waiting[4];
    pthread_t threads[4];
    for (size_t at = 0; at < 4; at++) {
        waiting[at].runner = feed->runner;
        waiting[at].vlsn = at + 2; /* 2 to 5 */
        pthread_create(&threads[at], NULL, wait_acked, &waiting[at]);
    }
    ack(feed, 1);
    ack(feed, 3);
    ack(feed, 2);
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    ack(feed, 4);
    pthread_join(threads[2], NULL);
    assert_ok(nxf_runner_stop, feed->runner, -1);
    pthread_join(threads[3], NULL);
    for (size_t at = 0; at < 3; at++)
        assert_int_equal(waiting[at].status, NXF_OK);
    assert_int_equal(waiting[3].status, NXF_CLOSED);
}

static void what_is_acked_already_is_not_waited_for(void **state)
{
    struct feed *feed = feed_sent(state, 3);
    ack(feed, 2);
    feed_wait_acked(feed, 2);
    assert_ok(nxf_runner_wait_acked, feed->runner, 1, 0);
    assert_ok(nxf_runner_wait_acked, feed->runner, 2, -1);
    assert_status(NXF_TIMEOUT, nxf_runner_wait_acked, feed->runner, 3, 0);
    assert_status(NXF_TIMEOUT, nxf_runner_wait_acked, feed->runner, 3, 10);
    /* It stays so when the run is over. */
    assert_ok(nxf_runner_stop, feed->runner, -1);
    assert_ok(nxf_runner_wait_acked, feed->runner, 2, -1);
    assert_status(NXF_CLOSED, nxf_runner_wait_acked, feed->runner, 3, -1);
}

static void waiting_ends_with_the_error_that_the_run_ends_with(void **state)
{
    struct feed *feed = feed_sent(state, 3);
    ack(feed, 4);
    assert_refused(NXF_E_ACK_BEYOND_SENT, "4", nxf_runner_wait_acked, feed->runner, 3, -1);
}

static void what_is_below_the_start_cannot_be_waited_for(void **state)
{
    struct feed *feed = feed_of(state);
    log_add_range(feed->log, 1, 20);
    feed_connect(feed, 0);
    feed_make_runner(feed, 10);
    feed_start(feed);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`vlsn`", nxf_runner_wait_acked, feed->runner, 9, -1);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`vlsn`", nxf_runner_wait_acked, feed->runner, 0, -1);
    assert_status(NXF_TIMEOUT, nxf_runner_wait_acked, feed->runner, 10, 0);
}

/* --- which are believed --- */

static void a_short_ack_is_ignored_and_a_long_one_read_to_its_eighth_byte(void **state)
{
    struct feed *feed = feed_sent_recorded(state, 3);
    static const uint8_t empty[4] = { 0 };
    static const uint8_t short_one[4 + 7] = { 7, 0, 0, 0, 3 };
    uint8_t long_one[4 + 10] = { 10 };
    put_le(long_one + 4, 1, 8);
    long_one[12] = long_one[13] = 0xff;
    replica_send(feed->replica, empty, sizeof empty);
    replica_send(feed->replica, short_one, sizeof short_one);
    replica_send(feed->replica, long_one, sizeof long_one);
    ack(feed, 2);
    record_wait(feed->record, "r1 acked 2");
    assert_record(feed->record, "r1 acked 1\nr1 acked 2\n");
    assert_int_equal(nxf_runner_known_replica_vlsn(feed->runner), 2);
    assert_int_equal(feed_stats(feed).run_state, NXF_RUN_RUNNING);
}

static void an_ack_may_come_in_pieces(void **state)
{
    struct feed *feed = feed_sent_recorded(state, 3);
    uint8_t bytes[ACK_MESSAGE_LEN];
    encode_ack(bytes, 3);
    for (size_t at = 0; at < sizeof bytes; at++)
        replica_send(feed->replica, bytes + at, 1);
    record_wait(feed->record, "r1 acked 3");
    assert_record(feed->record, "r1 acked 3\n");
}

static void an_ack_beyond_what_was_sent_ends_the_run_and_is_not_delivered(void **state)
{
    struct feed *feed = feed_sent_recorded(state, 3);
    nxf_error *err = NULL;
    uint64_t vlsn = 0;
    static const uint64_t sent[] = { 2, 42, 3 };
    ack_all(feed, sent, 3);
    assert_int_equal(feed_wait_ended(feed, &err), NXF_E_ACK_BEYOND_SENT);
    assert_true(nxf_error_vlsn(err, &vlsn));
    assert_int_equal(vlsn, 42);
    assert_contains(nxf_error_message(err), "3"); /* the highest sent */
    assert_false(nxf_error_is_retriable(err));
    nxf_error_free(err);
    assert_int_equal(nxf_runner_known_replica_vlsn(feed->runner), 2);
    feed_free_runner(feed);
    assert_record(feed->record,
                  "r1 acked 2\nr1 ended NXF_E_ACK_BEYOND_SENT\nack context dropped\nend context dropped\n");
}

static void with_nothing_sent_every_ack_is_beyond(void **state)
{
    struct feed *feed = feed_of(state);
    feed_up(feed, 0);
    ack(feed, 42);
    assert_int_equal(feed_wait_ended(feed, NULL), NXF_E_ACK_BEYOND_SENT);
    assert_int_equal(nxf_runner_known_replica_vlsn(feed->runner), 0);
}

static void a_host_may_have_acks_beyond_what_was_sent_believed(void **state)
{
    struct feed *feed = feed_of(state);
    feed_set(feed, "ack.beyond_sent", "accept");
    feed_up(feed, 0);
    ack(feed, 42);
    assert_polls(feed, 42, 0);
    assert_int_equal(nxf_runner_known_replica_vlsn(feed->runner), 42);
    assert_int_equal(feed_stats(feed).run_state, NXF_RUN_RUNNING);
}

static void a_resumed_replica_may_repeat_its_last_ack(void **state)
{
    struct feed *feed = feed_of(state);
    log_add_range(feed->log, 1, 9);
    feed_connect(feed, 0);
    feed_make_runner(feed, 10);
    feed_start(feed);
    ack(feed, 9);
    assert_polls(feed, 9, 0);
    assert_int_equal(nxf_runner_known_replica_vlsn(feed->runner), 9);
}

static void a_message_too_long_for_the_protocol_ends_the_run(void **state)
{
    struct feed *feed = feed_sent(state, 1);
    replica_send(feed->replica, "\1\0\0\4", 4); /* 64 MiB and one */
    assert_int_equal(feed_wait_ended(feed, NULL), NXF_E_PROTOCOL);
    assert_int_equal(feed_stats(feed).run_state, NXF_RUN_FAILED);
}

static void acks_that_the_channel_had_received_already_count(void **state)
{
    struct feed *feed = feed_of(state);
    uint8_t bytes[4 + 5 + ACK_MESSAGE_LEN + ACK_MESSAGE_LEN] = { 5, 0, 0, 0, 'h', 'e', 'l', 'l', 'o' };
    uint8_t greeting[16];
    size_t len = 0;
    encode_ack(bytes + 9, 8);
    encode_ack(bytes + 9 + ACK_MESSAGE_LEN, 9);
    feed_connect(feed, 0);
    replica_send(feed->replica, bytes, sizeof bytes);
    assert_ok(nxf_channel_receive, feed->channel, greeting, sizeof greeting, &len, PATIENCE_MS);
    assert_memory_equal(greeting, "hello", 5);
    log_add_range(feed->log, 1, 9);
    feed_make_runner(feed, 10);
    feed_start(feed);
    assert_polls(feed, 8, 0);
    assert_polls(feed, 9, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        feed_test(every_ack_is_handed_over_in_order_lower_ones_too),
        feed_test(the_known_vlsn_has_risen_before_the_callback_and_never_falls),
        feed_test(with_a_callback_nothing_comes_to_who_polls),
        feed_test(acks_are_polled_in_order_as_many_as_asked_for),
        feed_test(without_acks_a_poll_times_out),
        feed_test(what_was_acked_can_be_polled_after_the_end),
        feed_test(threads_that_poll_share_the_acks),
        feed_test(acks_that_nobody_polls_are_merged_into_the_last),
        feed_test(the_descriptor_is_readable_while_acks_wait_and_after_the_end),
        feed_test(a_descriptor_asked_for_late_knows_what_was_before),
        feed_test(a_descriptor_can_be_had_before_the_start),
        feed_test(threads_wait_each_for_its_vlsn),
        feed_test(what_is_acked_already_is_not_waited_for),
        feed_test(waiting_ends_with_the_error_that_the_run_ends_with),
        feed_test(what_is_below_the_start_cannot_be_waited_for),
        feed_test(a_short_ack_is_ignored_and_a_long_one_read_to_its_eighth_byte),
        feed_test(an_ack_may_come_in_pieces),
        feed_test(an_ack_beyond_what_was_sent_ends_the_run_and_is_not_delivered),
        feed_test(with_nothing_sent_every_ack_is_beyond),
        feed_test(a_host_may_have_acks_beyond_what_was_sent_believed),
        feed_test(a_resumed_replica_may_repeat_its_last_ack),
        feed_test(a_message_too_long_for_the_protocol_ends_the_run),
        feed_test(acks_that_the_channel_had_received_already_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
