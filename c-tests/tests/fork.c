/* After a fork: the child can release what it inherited, and nothing else, and the parent notices nothing. */
#include "support/feed.h"
#include "support/sockets.h"

#include <sys/wait.h>
#include <unistd.h>

/* The child's part. Returns 0, or a number for the step that went wrong. */
typedef int (*in_child)(struct feed *feed);

static void assert_in_child(struct feed *feed, in_child check)
{
    int status = 0;
    const pid_t child = fork();
    if (child == 0)
        _exit(check(feed));
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail_with("in the child, call %d is not as it should be (status %d)", WEXITSTATUS(status), status);
}

/* Returns the number of the first call that is not refused. */
static int call_runner(struct feed *feed)
{
    nxf_runner_stats_t stats;
    nxf_ack acks[1];
    size_t count;
    int fd;
    stats.struct_size = sizeof stats;
    const nxf_status all[] = {
        nxf_runner_result(feed->runner, NULL),
        nxf_runner_stats(feed->runner, &stats, NULL),
        nxf_runner_stop(feed->runner, -1, NULL),
        nxf_runner_stop_all(&feed->runner, 1, -1, NULL),
        nxf_runner_notify(feed->runner),
        nxf_runner_wait_acked(feed->runner, 1000, -1, NULL),
        nxf_runner_poll_acks(feed->runner, acks, 1, -1, &count, NULL),
        nxf_runner_event_fd(feed->runner, &fd, NULL),
        nxf_runner_set_ack_callback(feed->runner, record_ack, NULL, NULL, NULL),
        nxf_runner_set_end_callback(feed->runner, record_end, NULL, NULL, NULL),
    };
    for (size_t at = 0; at < sizeof all / sizeof all[0]; at++) {
        if (all[at] != NXF_E_FORKED)
            return (int)at + 1;
    }
    return nxf_runner_known_replica_vlsn(feed->runner) == 0 ? 0 : 99;
}

static int count_fds(void)
{
    int count = 0;
    for (int fd = 0; fd < 256; fd++)
        count += is_open_fd(fd);
    return count;
}

/* The child's copies of the connection and of the wake-up descriptor are closed. */
static int free_runner(struct feed *feed)
{
    const int before = count_fds();
    if (nxf_runner_free(feed->runner) != NXF_OK)
        return 1;
    return count_fds() == before - 2 ? 0 : 2;
}

static void a_child_cannot_use_a_runner_and_the_parents_goes_on(void **state)
{
    struct feed *feed = feed_of(state);
    feed_up(feed, REPLICA_ACKS);
    log_add(feed->log, 1);
    feed_wait_acked(feed, 1);
    assert_in_child(feed, call_runner);
    assert_in_child(feed, free_runner);
    log_add(feed->log, 2);
    feed_wait_acked(feed, 2);
}

static int call_others(struct feed *feed)
{
    uint8_t buf[1] = { 0 };
    size_t len;
    nxf_entry entry;
    nxf_runner *runner = NULL;
    nxf_log *log = NULL;
    const nxf_status all[] = {
        nxf_channel_send(feed->channel, buf, 1, NULL),
        nxf_channel_receive(feed->channel, buf, 1, &len, -1, NULL),
        nxf_channel_close(feed->channel, NULL),
        nxf_runner_new(feed->channel, "r1", 1, NULL, &runner, NULL),
        nxf_scanner_next(feed->scanner, 1, &entry, NULL),
        nxf_options_set(feed->options, "log.settle_ms", "1", NULL),
        nxf_log_open(".", feed->options, &log, NULL),
    };
    for (size_t at = 0; at < sizeof all / sizeof all[0]; at++) {
        if (all[at] != NXF_E_FORKED)
            return (int)at + 1;
    }
    return nxf_channel_is_open(feed->channel) ? 99 : 0;
}

static int free_others(struct feed *feed)
{
    nxf_channel_free(feed->channel);
    nxf_scanner_free(feed->scanner);
    nxf_options_free(feed->options);
    return 0;
}

static void a_child_cannot_use_channels_scanners_and_options_and_the_parents_work(void **state)
{
    struct feed *feed = feed_of(state);
    feed_connect(feed, REPLICA_ACKS);
    feed_scan(feed);
    assert_in_child(feed, call_others);
    assert_in_child(feed, free_others);
    feed_make_runner(feed, 1);
    log_add(feed->log, 1);
    assert_ok(nxf_runner_start, feed->runner, feed->scanner);
    feed->scanner = NULL;
    feed_wait_acked(feed, 1);
}

static int use_anew(struct feed *feed)
{
    nxf_scanner *scanner = NULL;
    nxf_entry entry;
    if (nxf_scanner_open(log_dir(feed->log), 0, NULL, &scanner, NULL) != NXF_OK)
        return 1;
    if (nxf_scanner_next(scanner, 1, &entry, NULL) != NXF_OK || entry.vlsn != 1)
        return 2;
    nxf_scanner_free(scanner);
    return 0;
}

static void a_child_can_make_its_own(void **state)
{
    struct feed *feed = feed_of(state);
    log_add(feed->log, 1);
    feed_up(feed, REPLICA_ACKS);
    feed_wait_acked(feed, 1);
    assert_in_child(feed, use_anew);
}

static int call_log(nxf_log *log)
{
    nxf_scanner *scanner = NULL;
    if (nxf_log_notify(log) != NXF_E_FORKED)
        return 1;
    if (nxf_log_set_send_limit(log, 0) != NXF_E_FORKED)
        return 2;
    if (nxf_scanner_from_log(log, 0, &scanner, NULL) != NXF_E_FORKED)
        return 3;
    nxf_log_free(log);
    return 0;
}

static nxf_log *inherited_log;

static int call_inherited_log(struct feed *feed)
{
    (void)feed;
    return call_log(inherited_log);
}

static void a_child_cannot_use_a_log(void **state)
{
    (void)state;
    assert_ok(nxf_log_open, ".", NULL, &inherited_log);
    assert_in_child(NULL, call_inherited_log);
    assert_int_equal(nxf_log_notify(inherited_log), NXF_OK);
    nxf_log_free(inherited_log);
}

/* --- servers --- */

static nxf_server *inherited_server;
static uint16_t server_port;

static nxf_status name_nobody(void *context, const nxf_peer *peer, char *name, size_t capacity)
{
    (void)context;
    (void)peer;
    (void)name;
    (void)capacity;
    return NXF_CLOSED;
}

static void ignore_event(void *context, const nxf_event *event)
{
    (void)context;
    (void)event;
}

static int call_server(struct feed *feed)
{
    nxf_server *server = inherited_server;
    nxf_connection_list *list = NULL;
    nxf_event *event = NULL;
    uint16_t port;
    int fd;
    (void)feed;
    const nxf_status all[] = {
        nxf_server_set_identify_callback(server, name_nobody, NULL, NULL, NULL),
        nxf_server_set_event_callback(server, ignore_event, NULL, NULL, NULL),
        nxf_server_answer_elections(server, "m", NULL),
        nxf_server_listen(server, NULL, 0, &port, NULL),
        nxf_server_adopt(server, 0, NULL),
        nxf_server_dial(server, "127.0.0.1", 1, "r1", 1, NULL),
        nxf_server_disconnect(server, "r1", NULL),
        nxf_server_next_event(server, -1, &event, NULL),
        nxf_server_event_fd(server, &fd, NULL),
        nxf_server_connections(server, &list, NULL),
        nxf_server_stop(server, -1, NULL),
    };
    for (size_t at = 0; at < sizeof all / sizeof all[0]; at++) {
        if (all[at] != NXF_E_FORKED)
            return (int)at + 1;
    }
    return 0;
}

/* The child's copies of a listener, two connections, the loop's two descriptors and the event descriptor are closed. */
static int free_server(struct feed *feed)
{
    const int before = count_fds();
    (void)feed;
    if (nxf_server_free(inherited_server) != NXF_OK)
        return 1;
    return before - count_fds() == 6 ? 0 : 2;
}

static void wait_event(uint32_t kind, uint64_t vlsn)
{
    bool is_it = false;
    while (!is_it) {
        nxf_event *event = NULL;
        assert_ok(nxf_server_next_event, inherited_server, PATIENCE_MS, &event);
        is_it = event->kind == kind && event->vlsn >= vlsn;
        nxf_event_free(event);
    }
}

static void a_child_cannot_use_a_server_and_the_parents_goes_on(void **state)
{
    static const uint8_t hello[27] = "\13\0\0\0PEER_FEEDER\10\0\0\0\1\0\0\0\0\0\0";
    struct feed *feed = feed_of(state);
    nxf_log *log = NULL;
    uint8_t answer[5];
    int fd = -1;
    log_add(feed->log, 1);
    feed_set(feed, "server.threads", "1");
    assert_ok(nxf_log_open, log_dir(feed->log), feed->options, &log);
    assert_ok(nxf_server_new, log, feed->options, &inherited_server);
    nxf_log_free(log);
    assert_ok(nxf_server_event_fd, inherited_server, &fd);
    assert_ok(nxf_server_listen, inherited_server, NULL, 0, &server_port);
    const int silent = connect_to_loopback(server_port);
    const int replica = connect_to_loopback(server_port);
    assert_true(send_all(replica, hello, sizeof hello));
    assert_true(receive_all(replica, answer, sizeof answer));
    feed->replica = replica_new(replica, REPLICA_ACKS);
    wait_event(NXF_EVENT_ACKED, 1);
    assert_in_child(feed, call_server);
    assert_in_child(feed, free_server);
    log_add(feed->log, 2);
    wait_event(NXF_EVENT_ACKED, 2);
    assert_int_equal(nxf_server_free(inherited_server), NXF_OK);
    close(silent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        feed_test(a_child_cannot_use_a_runner_and_the_parents_goes_on),
        feed_test(a_child_cannot_use_channels_scanners_and_options_and_the_parents_work),
        feed_test(a_child_can_make_its_own),
        cmocka_unit_test(a_child_cannot_use_a_log),
        feed_test(a_child_cannot_use_a_server_and_the_parents_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
