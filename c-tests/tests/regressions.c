/*
 * What once did not hold: the range behind a hole, the last acknowledgements and the last messages over channels that
 * have no half of a close, and calls back in from a channel's functions.
 */
#include "support/feed.h"
#include "support/sockets.h"

#include <sys/wait.h>
#include <unistd.h>

/* --- log.c --- */

struct range {
    nxf_log *log;
    uint64_t first, last;
};

static bool reaches_9(void *context)
{
    struct range *range = (struct range *)context;
    return nxf_log_vlsn_range(range->log, &range->first, &range->last, NULL) == NXF_OK && range->last == 9;
}

/* As a backup leaves it, for good: a scanner crosses it, and the range ends before it. */
static void the_range_goes_on_behind_a_hole_that_hides_nothing(void **state)
{
    struct feed *feed = feed_of(state);
    struct range range = { NULL, 0, 0 };
    const long long deadline = now_ms() + 1000;
    log_add_range(feed->log, 1, 5);
    log_begin(feed->log, 1, 3);
    log_add_hole(feed->log, 500);
    log_add_range(feed->log, 6, 9);
    assert_ok(nxf_log_open, log_dir(feed->log), feed->options, &range.log);
    while (!reaches_9(&range) && now_ms() < deadline)
        nap();
    nxf_log_free(range.log);
    assert_int_equal(range.last, 9);
}

/* --- channel_pair.c --- */

/* The header: "the replica's last acknowledgements are still taken for the option runner.linger_ms". */
static void the_last_acks_are_taken_over_a_pair_too(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_channel *replica = NULL;
    uint8_t buf[100];
    uint8_t ack[NXF_ACK_LEN];
    size_t len;
    log_add(feed->log, 1);
    feed_set(feed, "runner.linger_ms", "60000");
    assert_ok(nxf_channel_local_pair, feed->options, &feed->channel, &replica);
    feed_make_runner(feed, 1);
    feed_start(feed);
    assert_ok(nxf_channel_receive, replica, buf, sizeof buf, &len, PATIENCE_MS);
    assert_status(NXF_TIMEOUT, nxf_runner_stop, feed->runner, 0);
    nxf_runner_stop(feed->runner, 50, NULL);
    assert_ok(nxf_ack_encode, 1, ack, sizeof ack);
    const nxf_status sent = nxf_channel_send(replica, ack, sizeof ack, NULL);
    nxf_channel_free(replica);
    assert_int_equal(sent, NXF_OK);
    feed_wait_acked(feed, 1);
}

/* --- channel_callbacks.c, and its functions --- */

struct transport {
    nxf_channel *inner;
    uint64_t linger_on; /* send of this VLSN takes until close was called, or some time has passed */
    nxf_runner *stop;   /* what receive stops when it has received */
    volatile bool closed;
};

static nxf_status send_message(void *context, const uint8_t *message, size_t len)
{
    struct transport *transport = (struct transport *)context;
    for (int times = 0; transport->linger_on == message[0] && times < 100 && !transport->closed; times++)
        nap();
    return nxf_channel_send(transport->inner, message, len, NULL);
}

static nxf_status receive_message(void *context, uint8_t *buf, size_t capacity, size_t *len, int timeout_ms)
{
    struct transport *transport = (struct transport *)context;
    const nxf_status status = nxf_channel_receive(transport->inner, buf, capacity, len, timeout_ms, NULL);
    if (status == NXF_OK && transport->stop != NULL)
        nxf_runner_stop(transport->stop, -1, NULL);
    return status;
}

static void close_transport(void *context)
{
    struct transport *transport = (struct transport *)context;
    transport->closed = true;
    nxf_channel_close(transport->inner, NULL);
}

static void drop_transport(void *context)
{
    nxf_channel_free(((struct transport *)context)->inner);
}

static struct transport transport;

static void open_feed(struct feed *feed, unsigned ways)
{
    nxf_channel_vtable vtable;
    int fds[2];
    unix_pair(fds);
    memset(&transport, 0, sizeof transport);
    memset(&vtable, 0, sizeof vtable);
    vtable.struct_size = sizeof vtable;
    vtable.send = send_message;
    vtable.receive = receive_message;
    vtable.close = close_transport;
    vtable.drop = drop_transport;
    assert_ok(nxf_channel_from_fd, fds[0], NULL, &transport.inner);
    assert_ok(nxf_channel_from_callbacks, &vtable, &transport, feed->options, &feed->channel);
    feed->replica = replica_new(fds[1], ways);
    feed_make_runner(feed, 1);
}

/* close is called while the last message is still in send. */
static void what_stands_before_damage_is_sent_before_the_close(void **state)
{
    struct feed *feed = feed_of(state);
    log_add_range(feed->log, 1, 9);
    const uint64_t damaged = log_add(feed->log, 10);
    log_add(feed->log, 11);
    log_damage(feed->log, damaged, LOG_PAYLOAD_AT);
    open_feed(feed, 0);
    transport.linger_on = 9;
    feed_start(feed);
    assert_int_equal(feed_wait_ended(feed, NULL), NXF_E_LOG_DAMAGED);
    feed_free_runner(feed);
    replica_wait_finished(feed->replica);
    assert_frames(feed->replica, 1, 9);
}

/* In a process of its own, which is killed when it hangs. */
static int stop_from_inside_receive(struct feed *feed)
{
    alarm(3);
    log_add(feed->log, 1);
    open_feed(feed, REPLICA_ACKS);
    transport.stop = feed->runner;
    feed_start(feed);
    nxf_runner_wait_acked(feed->runner, 1, -1, NULL);
    nxf_runner_free(feed->runner);
    return 0;
}

static void stopping_in_a_function_of_the_channel_does_not_wait_for_itself(void **state)
{
    struct feed *feed = feed_of(state);
    int status = 0;
    const pid_t child = fork();
    if (child == 0) {
        /* Options are not inherited. */
        nxf_options_new(&feed->options, NULL);
        _exit(stop_from_inside_receive(feed));
    }
    waitpid(child, &status, 0);
    assert_true(WIFEXITED(status));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        feed_test(the_range_goes_on_behind_a_hole_that_hides_nothing),
        feed_test(the_last_acks_are_taken_over_a_pair_too),
        feed_test(what_stands_before_damage_is_sent_before_the_close),
        feed_test(stopping_in_a_function_of_the_channel_does_not_wait_for_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
