/* Channels of the host's own: a transport that its functions make. */
#include "support/feed.h"
#include "support/sockets.h"

#include <unistd.h>

/* A transport that hands everything to a channel of the library's, and can be told to behave otherwise. */
struct transport {
    nxf_channel *inner;
    struct record *record;
    int no_room;           /* send says so many times that there is none */
    nxf_status send_fails; /* if not NXF_OK, what send returns */
    nxf_status receive_fails;
    uint64_t linger_on; /* send of this VLSN takes until close was called, or some time has passed */
    volatile bool closed;
};

static nxf_status send_message(void *context, const uint8_t *message, size_t len)
{
    struct transport *transport = (struct transport *)context;
    if (transport->no_room > 0 && transport->no_room-- > 0)
        return NXF_AGAIN;
    if (transport->send_fails != NXF_OK)
        return transport->send_fails;
    for (int times = 0; transport->linger_on == message[0] && times < 100 && !transport->closed; times++)
        nap();
    return nxf_channel_send(transport->inner, message, len, NULL);
}

static nxf_status receive_message(void *context, uint8_t *buf, size_t capacity, size_t *len, int timeout_ms)
{
    struct transport *transport = (struct transport *)context;
    if (transport->receive_fails != NXF_OK)
        return transport->receive_fails;
    return nxf_channel_receive(transport->inner, buf, capacity, len, timeout_ms, NULL);
}

static void close_transport(void *context)
{
    struct transport *transport = (struct transport *)context;
    transport->closed = true;
    nxf_channel_close(transport->inner, NULL);
}

static bool is_open(void *context)
{
    return nxf_channel_is_open(((struct transport *)context)->inner);
}

static void drop_transport(void *context)
{
    struct transport *transport = (struct transport *)context;
    record_add(transport->record, "dropped, %s", transport->closed ? "closed" : "open");
    nxf_channel_free(transport->inner);
}

static nxf_channel_vtable vtable_of_all(void)
{
    nxf_channel_vtable vtable;
    vtable.struct_size = sizeof vtable;
    vtable.send = send_message;
    vtable.receive = receive_message;
    vtable.close = close_transport;
    vtable.is_open = is_open;
    vtable.drop = drop_transport;
    return vtable;
}

/* Static, because a failing test leaves it to the teardown. */
static struct transport transport;

/* The feed's channel over a transport; the descriptor of its other end is returned. */
static int open_transport(struct feed *feed)
{
    const nxf_channel_vtable vtable = vtable_of_all();
    int fds[2];
    unix_pair(fds);
    memset(&transport, 0, sizeof transport);
    transport.record = feed->record;
    assert_ok(nxf_channel_from_fd, fds[0], NULL, &transport.inner);
    assert_ok(nxf_channel_from_callbacks, &vtable, &transport, feed->options, &feed->channel);
    return fds[1];
}

/* The same with a replica at the other end, and a runner. */
static void open_feed(struct feed *feed, unsigned ways)
{
    feed->replica = replica_new(open_transport(feed), ways);
    feed_make_runner(feed, 1);
}

/* --- used by the host itself --- */

static void messages_go_through_the_hosts_functions(void **state)
{
    struct feed *feed = feed_of(state);
    const int peer = open_transport(feed);
    uint8_t buf[9];
    size_t len = 0;
    assert_ok(nxf_channel_send, feed->channel, (const uint8_t *)"hello", 5);
    assert_true(receive_all(peer, buf, 9));
    assert_true(send_all(peer, buf, 9));
    assert_refused(NXF_E_BUFFER_TOO_SMALL, "5", nxf_channel_receive, feed->channel, buf, 4, &len, PATIENCE_MS);
    assert_int_equal(len, 5);
    assert_ok(nxf_channel_receive, feed->channel, buf, sizeof buf, &len, PATIENCE_MS);
    assert_memory_equal(buf, "hello", 5);
    assert_status(NXF_AGAIN, nxf_channel_receive, feed->channel, buf, sizeof buf, &len, 1);
    close(peer);
    assert_status(NXF_CLOSED, nxf_channel_receive, feed->channel, buf, sizeof buf, &len, -1);
    assert_false(nxf_channel_is_open(feed->channel));
}

static void closing_and_freeing_reach_the_host(void **state)
{
    struct feed *feed = feed_of(state);
    const int peer = open_transport(feed);
    assert_true(nxf_channel_is_open(feed->channel));
    assert_ok(nxf_channel_close, feed->channel);
    assert_true(transport.closed);
    assert_false(nxf_channel_is_open(feed->channel));
    nxf_channel_free(feed->channel);
    feed->channel = NULL;
    assert_record(feed->record, "dropped, closed\n");
    close(peer);
}

static void freeing_closes_first(void **state)
{
    struct feed *feed = feed_of(state);
    const int peer = open_transport(feed);
    nxf_channel_free(feed->channel);
    feed->channel = NULL;
    assert_record(feed->record, "dropped, closed\n");
    close(peer);
}

static void functions_may_be_missing_but_for_three(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_channel_vtable vtable = vtable_of_all();
    nxf_channel *channel = NULL;
    memset(&transport, 0, sizeof transport);
    transport.record = feed->record;
    vtable.send = NULL;
    assert_refused(NXF_E_INVALID_ARGUMENT, "send", nxf_channel_from_callbacks, &vtable, &transport, NULL, &channel);
    vtable = vtable_of_all();
    vtable.receive = NULL;
    assert_refused(NXF_E_INVALID_ARGUMENT, "receive", nxf_channel_from_callbacks, &vtable, &transport, NULL, &channel);
    vtable = vtable_of_all();
    vtable.close = NULL;
    assert_refused(NXF_E_INVALID_ARGUMENT, "close", nxf_channel_from_callbacks, &vtable, &transport, NULL, &channel);
    vtable.struct_size = 0;
    assert_refused(NXF_E_INVALID_ARGUMENT, "struct_size", nxf_channel_from_callbacks, &vtable, &transport, NULL,
                   &channel);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`vtable`", nxf_channel_from_callbacks, NULL, &transport, NULL, &channel);
    vtable = vtable_of_all();
    assert_refused(NXF_E_INVALID_ARGUMENT, "`channel`", nxf_channel_from_callbacks, &vtable, &transport, NULL, NULL);
    assert_record(feed->record, ""); /* the context stayed the caller's */
    vtable.is_open = NULL;
    vtable.drop = NULL;
    assert_ok(nxf_channel_from_callbacks, &vtable, &transport, NULL, &channel);
    assert_true(nxf_channel_is_open(channel));
    assert_ok(nxf_channel_close, channel);
    assert_false(nxf_channel_is_open(channel));
    nxf_channel_free(channel);
}

/* --- used by a runner --- */

static void a_replica_is_fed_over_it(void **state)
{
    struct feed *feed = feed_of(state);
    open_feed(feed, REPLICA_ACKS);
    feed_start(feed);
    for (uint64_t vlsn = 1; vlsn <= 50; vlsn++) {
        log_add(feed->log, vlsn);
        feed_wait_acked(feed, vlsn);
    }
    assert_frames(feed->replica, 1, 50);
    feed_free_runner(feed);
    assert_record(feed->record, "dropped, closed\n");
}

static void a_send_without_room_is_tried_again(void **state)
{
    struct feed *feed = feed_of(state);
    log_add_range(feed->log, 1, 20);
    open_feed(feed, REPLICA_ACKS);
    transport.no_room = 3;
    feed_start(feed);
    feed_wait_acked(feed, 20);
    assert_frames(feed->replica, 1, 20);
}

static void a_send_that_never_has_room_runs_into_the_write_timeout(void **state)
{
    struct feed *feed = feed_of(state);
    log_add_range(feed->log, 1, 20);
    feed_set(feed, "runner.write_timeout_ms", "50");
    open_feed(feed, REPLICA_ACKS);
    transport.no_room = 1000000;
    feed_start(feed);
    assert_int_equal(feed_wait_ended(feed, NULL), NXF_E_WRITE_TIMEOUT);
}

static void what_the_functions_must_not_return_ends_the_run(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_error *err = NULL;
    log_add(feed->log, 1);
    open_feed(feed, REPLICA_ACKS);
    transport.send_fails = -1000;
    feed_start(feed);
    assert_int_equal(feed_wait_ended(feed, &err), NXF_E_CALLBACK);
    assert_contains(nxf_error_message(err), "send");
    assert_contains(nxf_error_message(err), "-1000");
    nxf_error_free(err);
}

static void a_receive_that_fails_ends_the_run(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_error *err = NULL;
    open_feed(feed, REPLICA_ACKS);
    transport.receive_fails = NXF_E_OS;
    feed_start(feed);
    assert_int_equal(feed_wait_ended(feed, &err), NXF_E_CALLBACK);
    assert_contains(nxf_error_message(err), "receive");
    nxf_error_free(err);
}

static void a_replica_that_closes_ends_the_run_without_an_error(void **state)
{
    struct feed *feed = feed_of(state);
    log_add(feed->log, 1);
    open_feed(feed, REPLICA_ACKS);
    feed_start(feed);
    feed_wait_acked(feed, 1);
    replica_close(feed->replica);
    assert_int_equal(feed_wait_ended(feed, NULL), NXF_OK);
    assert_int_equal(feed_stats(feed).run_state, NXF_RUN_CLOSED_BY_REPLICA);
}

static void an_ack_in_a_message_of_any_length_counts(void **state)
{
    struct feed *feed = feed_of(state);
    uint8_t message[4 + 20000];
    memset(message, 0, sizeof message);
    encode_ack(message, 1);
    message[0] = 20000 & 0xff;
    message[1] = 20000 >> 8;
    log_add(feed->log, 1);
    open_feed(feed, 0);
    feed_start(feed);
    replica_wait_frames(feed->replica, 1);
    replica_send(feed->replica, message, sizeof message);
    feed_wait_acked(feed, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        feed_test(messages_go_through_the_hosts_functions),
        feed_test(closing_and_freeing_reach_the_host),
        feed_test(freeing_closes_first),
        feed_test(functions_may_be_missing_but_for_three),
        feed_test(a_replica_is_fed_over_it),
        feed_test(a_send_without_room_is_tried_again),
        feed_test(a_send_that_never_has_room_runs_into_the_write_timeout),
        feed_test(what_the_functions_must_not_return_ends_the_run),
        feed_test(a_receive_that_fails_ends_the_run),
        feed_test(a_replica_that_closes_ends_the_run_without_an_error),
        feed_test(an_ack_in_a_message_of_any_length_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
