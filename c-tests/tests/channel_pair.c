/* Pairs of channels in memory: for replicas in the same process. */
#include "support/feed.h"

#include <pthread.h>

#define KIB 1024

struct pair {
    nxf_channel *a, *b;
};

/* A pair of which an end holds at most 1 KiB for the other, and waits for room for at most 20 ms. */
static int make_pair(void **state)
{
    struct pair *pair = (struct pair *)calloc(1, sizeof *pair);
    nxf_options *options = NULL;
    *state = pair;
    assert_ok(nxf_options_new, &options);
    assert_ok(nxf_options_set, options, "channel.local_queue_bytes_max", "1024");
    assert_ok(nxf_options_set, options, "channel.write_timeout_ms", "20");
    assert_ok(nxf_channel_local_pair, options, &pair->a, &pair->b);
    nxf_options_free(options);
    return 0;
}

static int free_pair(void **state)
{
    struct pair *pair = (struct pair *)*state;
    nxf_channel_free(pair->a);
    nxf_channel_free(pair->b);
    free(pair);
    return 0;
}

static struct pair *pair_of(void **state)
{
    return (struct pair *)*state;
}

static void assert_sends(nxf_channel *channel, const char *message)
{
    assert_ok(nxf_channel_send, channel, (const uint8_t *)message, strlen(message));
}

static void assert_receives(nxf_channel *channel, const char *message)
{
    uint8_t buf[KIB];
    size_t len = 999;
    assert_ok(nxf_channel_receive, channel, buf, sizeof buf, &len, PATIENCE_MS);
    assert_int_equal(len, strlen(message));
    assert_memory_equal(buf, message, len);
}

static void assert_receives_status(nxf_channel *channel, nxf_status status, int timeout_ms)
{
    uint8_t buf[8];
    size_t len;
    assert_status(status, nxf_channel_receive, channel, buf, sizeof buf, &len, timeout_ms);
}

static void what_one_end_sends_the_other_receives_in_order(void **state)
{
    struct pair *pair = pair_of(state);
    assert_sends(pair->a, "one");
    assert_sends(pair->a, "");
    assert_sends(pair->b, "back");
    assert_sends(pair->a, "two");
    assert_receives(pair->b, "one");
    assert_receives(pair->b, "");
    assert_receives(pair->b, "two");
    assert_receives(pair->a, "back");
    assert_receives_status(pair->a, NXF_AGAIN, 0);
    assert_receives_status(pair->b, NXF_AGAIN, 5);
}

static void a_buffer_that_is_too_small_loses_nothing(void **state)
{
    struct pair *pair = pair_of(state);
    uint8_t buf[5];
    size_t len = 0;
    assert_sends(pair->a, "hello");
    assert_refused(NXF_E_BUFFER_TOO_SMALL, "5", nxf_channel_receive, pair->b, buf, 4, &len, 0);
    assert_int_equal(len, 5);
    assert_receives(pair->b, "hello");
}

static void a_full_pair_takes_nothing_until_there_is_room(void **state)
{
    struct pair *pair = pair_of(state);
    uint8_t message[KIB + 1] = { 0 };
    size_t len = 0;
    assert_ok(nxf_channel_send, pair->a, message, KIB - 1);
    assert_status(NXF_AGAIN, nxf_channel_send, pair->a, message, 2);
    assert_sends(pair->a, "x");
    assert_ok(nxf_channel_receive, pair->b, message, sizeof message, &len, 0);
    assert_receives(pair->b, "x");
    assert_receives_status(pair->b, NXF_AGAIN, 0);
    /* A single one may be larger than all the room. */
    assert_ok(nxf_channel_send, pair->a, message, sizeof message);
    assert_sends(pair->b, "the other way is not concerned");
}

static void what_was_sent_before_closing_is_received(void **state)
{
    struct pair *pair = pair_of(state);
    assert_sends(pair->a, "last");
    assert_sends(pair->b, "not read");
    assert_ok(nxf_channel_close, pair->a);
    assert_false(nxf_channel_is_open(pair->a));
    assert_false(nxf_channel_is_open(pair->b));
    assert_receives(pair->b, "last");
    assert_receives_status(pair->b, NXF_CLOSED, -1);
    assert_receives_status(pair->a, NXF_CLOSED, -1);
    assert_status(NXF_CLOSED, nxf_channel_send, pair->a, NULL, 0);
    assert_status(NXF_CLOSED, nxf_channel_send, pair->b, NULL, 0);
    assert_ok(nxf_channel_close, pair->a);
}

static void freeing_an_end_closes_it(void **state)
{
    struct pair *pair = pair_of(state);
    assert_sends(pair->a, "last");
    nxf_channel_free(pair->a);
    pair->a = NULL;
    assert_receives(pair->b, "last");
    assert_receives_status(pair->b, NXF_CLOSED, -1);
}

struct waiting {
    nxf_channel *channel;
    nxf_status status;
};

static void *receive(void *context)
{
    struct waiting *waiting = (struct waiting *)context;
    uint8_t buf[8];
    size_t len;
    waiting->status = nxf_channel_receive(waiting->channel, buf, sizeof buf, &len, -1, NULL);
    return NULL;
}

static void closing_wakes_who_receives_at_either_end(void **state)
{
    struct pair *pair = pair_of(state);
    struct waiting waiting[2] = { { pair->a, NXF_OK }, { pair->b, NXF_OK } };
    pthread_t threads[2];
    for (size_t at = 0; at < 2; at++)
        pthread_create(&threads[at], NULL, receive, &waiting[at]);
    assert_ok(nxf_channel_close, pair->a);
    for (size_t at = 0; at < 2; at++) {
        pthread_join(threads[at], NULL);
        assert_int_equal(waiting[at].status, NXF_CLOSED);
    }
}

static void a_message_above_the_limit_is_not_sent(void **state)
{
    struct pair *pair = pair_of(state);
    const size_t len = 64 * KIB * KIB + 1;
    uint8_t *message = (uint8_t *)calloc(1, len);
    assert_refused(NXF_E_PROTOCOL, "67108864", nxf_channel_send, pair->a, message, len);
    free(message);
    assert_receives_status(pair->b, NXF_AGAIN, 0);
}

static void null_is_refused_by_name(void **state)
{
    nxf_channel *channel = NULL;
    (void)state;
    assert_refused(NXF_E_INVALID_ARGUMENT, "`a`", nxf_channel_local_pair, NULL, NULL, &channel);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`b`", nxf_channel_local_pair, NULL, &channel, NULL);
    assert_null(channel);
}

/* --- a replica in the same process --- */

/* Receives a frame, and returns its VLSN. */
static uint64_t receive_frame(nxf_channel *channel)
{
    uint8_t buf[KIB];
    size_t len = 0;
    nxf_entry entry;
    assert_ok(nxf_channel_receive, channel, buf, sizeof buf, &len, PATIENCE_MS);
    assert_ok(nxf_frame_decode, buf, len, &entry);
    assert_int_equal(entry.entry_type, log_type(entry.vlsn));
    assert_true(log_is_payload(entry.vlsn, entry.payload, entry.payload_len));
    return entry.vlsn;
}

static void send_ack(nxf_channel *channel, uint64_t vlsn)
{
    uint8_t ack[NXF_ACK_LEN];
    assert_ok(nxf_ack_encode, vlsn, ack, sizeof ack);
    assert_ok(nxf_channel_send, channel, ack, sizeof ack);
}

/* A feed over a pair, whose other end is returned. */
static nxf_channel *feed_over_pair(struct feed *feed)
{
    nxf_channel *replica = NULL;
    assert_ok(nxf_channel_local_pair, feed->options, &feed->channel, &replica);
    feed_make_runner(feed, 1);
    feed_record_acks(feed);
    feed_record_end(feed);
    feed_start(feed);
    return replica;
}

static void a_replica_in_the_same_process_is_fed(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_channel *replica = feed_over_pair(feed);
    for (uint64_t vlsn = 1; vlsn <= 200; vlsn++) {
        log_add(feed->log, vlsn);
        assert_int_equal(receive_frame(replica), vlsn);
        send_ack(replica, vlsn);
        feed_wait_acked(feed, vlsn);
    }
    nxf_channel_free(replica);
    record_wait(feed->record, "r1 ended NXF_OK");
    assert_int_equal(feed_stats(feed).run_state, NXF_RUN_CLOSED_BY_REPLICA);
}

static bool has_read_all(void *context)
{
    return feed_stats((struct feed *)context).read_vlsn == 100;
}

static void a_replica_in_the_same_process_that_does_not_read_is_waited_for(void **state)
{
    struct feed *feed = feed_of(state);
    feed_set(feed, "channel.local_queue_bytes_max", "100");
    feed_set(feed, "channel.write_timeout_ms", "1");
    log_add_range(feed->log, 1, 100);
    nxf_channel *replica = feed_over_pair(feed);
    assert_soon(has_read_all, feed);
    for (uint64_t vlsn = 1; vlsn <= 100; vlsn++)
        assert_int_equal(receive_frame(replica), vlsn);
    send_ack(replica, 100);
    feed_wait_acked(feed, 100);
    nxf_channel_free(replica);
}

static void an_ack_beyond_what_was_sent_is_one_over_a_pair_too(void **state)
{
    struct feed *feed = feed_of(state);
    log_add(feed->log, 1);
    nxf_channel *replica = feed_over_pair(feed);
    assert_int_equal(receive_frame(replica), 1);
    send_ack(replica, 1);
    send_ack(replica, 2);
    assert_int_equal(feed_wait_ended(feed, NULL), NXF_E_ACK_BEYOND_SENT);
    assert_int_equal(nxf_runner_known_replica_vlsn(feed->runner), 1);
    nxf_channel_free(replica);
}

static void stopping_closes_the_pair(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_channel *replica = feed_over_pair(feed);
    assert_ok(nxf_runner_stop, feed->runner, -1);
    assert_receives_status(replica, NXF_CLOSED, -1);
    nxf_channel_free(replica);
}

static void what_stands_before_damage_arrives_before_the_close(void **state)
{
    struct feed *feed = feed_of(state);
    log_add_range(feed->log, 1, 50);
    const uint64_t damaged = log_add(feed->log, 51);
    log_add(feed->log, 52);
    log_damage(feed->log, damaged, LOG_PAYLOAD_AT);
    nxf_channel *replica = feed_over_pair(feed);
    for (uint64_t vlsn = 1; vlsn <= 50; vlsn++)
        assert_int_equal(receive_frame(replica), vlsn);
    assert_receives_status(replica, NXF_CLOSED, -1);
    assert_int_equal(feed_wait_ended(feed, NULL), NXF_E_LOG_DAMAGED);
    nxf_channel_free(replica);
}

#define pair_test(function) cmocka_unit_test_setup_teardown(function, make_pair, free_pair)

int main(void)
{
    const struct CMUnitTest tests[] = {
        pair_test(what_one_end_sends_the_other_receives_in_order),
        pair_test(a_buffer_that_is_too_small_loses_nothing),
        pair_test(a_full_pair_takes_nothing_until_there_is_room),
        pair_test(what_was_sent_before_closing_is_received),
        pair_test(freeing_an_end_closes_it),
        pair_test(closing_wakes_who_receives_at_either_end),
        pair_test(a_message_above_the_limit_is_not_sent),
        cmocka_unit_test(null_is_refused_by_name),
        feed_test(a_replica_in_the_same_process_is_fed),
        feed_test(a_replica_in_the_same_process_that_does_not_read_is_waited_for),
        feed_test(an_ack_beyond_what_was_sent_is_one_over_a_pair_too),
        feed_test(stopping_closes_the_pair),
        feed_test(what_stands_before_damage_arrives_before_the_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
