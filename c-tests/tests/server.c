/* A server, and replicas that dial in and speak for themselves: what they get, and what the host hears of it. */
#include "support/bytes.h"
#include "support/event.h"
#include "support/feed.h"
#include "support/sockets.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

static nxf_server *server;
static uint16_t port;

static int server_setup(void **state)
{
    server = NULL;
    port = 0;
    if (feed_setup(state) != 0)
        return -1;
    log_add_range(feed_of(state)->log, 1, 10);
    return 0;
}

static int server_teardown(void **state)
{
    nxf_server_free(server);
    return feed_teardown(state);
}

#define server_test(function) cmocka_unit_test_setup_teardown(function, server_setup, server_teardown)

/* The log is freed at once. */
static void make_server(struct feed *feed)
{
    nxf_log *log = NULL;
    assert_ok(nxf_log_open, log_dir(feed->log), feed->options, &log);
    assert_ok(nxf_server_new, log, feed->options, &server);
    nxf_log_free(log);
}

static void serve(struct feed *feed)
{
    if (server == NULL)
        make_server(feed);
    assert_ok(nxf_server_listen, server, NULL, 0, &port);
    assert_int_not_equal(port, 0);
}

static void free_server(void)
{
    assert_int_equal(nxf_server_free(server), NXF_OK);
    server = NULL;
}

/* --- replicas --- */

static void say(int fd, const void *message, size_t len)
{
    uint8_t prefix[4];
    put_le(prefix, len, 4);
    assert_true(send_all(fd, prefix, sizeof prefix));
    assert_true(send_all(fd, message, len));
}

static void say_name(int fd, const char *name)
{
    say(fd, name, strlen(name));
}

/* Asks to be fed; whether it will be, the answer says: one byte. In one piece: who is refused may be refused before the
   end of it. */
static void ask_for_stream(int fd, uint64_t start_vlsn)
{
    uint8_t request[4 + 11 + 4 + 8] = "\13\0\0\0PEER_FEEDER\10\0\0";
    put_le(request + 19, start_vlsn, 8);
    assert_true(send_all(fd, request, sizeof request));
}

static uint8_t hear_answer(int fd)
{
    uint8_t answer[5] = { 0, 0, 0, 0, 0 };
    assert_true(receive_all(fd, answer, sizeof answer));
    assert_int_equal(get_le(answer, 4), 1);
    return answer[4];
}

static void assert_closed(int fd)
{
    uint8_t byte;
    assert_false(receive_all(fd, &byte, 1));
}

/* A replica that dials in, and is fed. Its descriptor is the replica's. */
static struct replica *dial_in(unsigned ways)
{
    const int fd = connect_to_loopback(port);
    ask_for_stream(fd, 0);
    assert_int_equal(hear_answer(fd), 0);
    return replica_new(fd, ways);
}

/* --- what the host hears --- */

/* The next event of this kind; others before it are passed over. */
static nxf_event *wait_event(uint32_t kind)
{
    nxf_event *event = NULL;
    for (;;) {
        assert_ok(nxf_server_next_event, server, PATIENCE_MS, &event);
        assert_int_equal(event->struct_size, sizeof *event);
        if (event->kind == kind)
            return event;
        nxf_event_free(event);
    }
}

static void wait_acked(uint64_t vlsn)
{
    bool is_acked = false;
    while (!is_acked) {
        nxf_event *event = wait_event(NXF_EVENT_ACKED);
        is_acked = event->vlsn >= vlsn;
        nxf_event_free(event);
    }
}

/* The next refusal has this status and this in its reason. */
static void wait_refused(nxf_status status, const char *reason)
{
    nxf_event *event = wait_event(NXF_EVENT_REFUSED);
    assert_int_equal(event->status, status);
    assert_contains(event->reason, reason);
    assert_true(event->error == NULL || nxf_error_status(event->error) == status);
    nxf_event_free(event);
}

static size_t count_connections(void)
{
    nxf_connection_list *list = NULL;
    assert_ok(nxf_server_connections, server, &list);
    const size_t count = nxf_connection_list_count(list);
    nxf_connection_list_free(list);
    return count;
}

static void record_event(void *record, const nxf_event *event)
{
    const char *kind = nxf_event_kind_name(event->kind) + strlen("NXF_EVENT_");
    record_add((struct record *)record, "%s %s %llu", event->replica_name, kind, (unsigned long long)event->vlsn);
}

static void drop_event(void *record)
{
    record_add((struct record *)record, "event context dropped");
}

static nxf_status name_all(void *record, const nxf_peer *peer, char *name, size_t capacity)
{
    record_add((struct record *)record, "%s wants %s", peer->host, nxf_service_name(peer->service));
    if (peer->service != NXF_SERVICE_STREAM || capacity < 256 || peer->struct_size != sizeof *peer)
        return NXF_CLOSED;
    snprintf(name, capacity, "r1");
    return NXF_OK;
}

static void drop_identify(void *record)
{
    record_add((struct record *)record, "identify context dropped");
}

/* --- tests --- */

static void a_replica_that_dials_in_is_fed_and_the_host_hears_of_it(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_connection_list *list = NULL;
    serve(feed);
    feed->replica = dial_in(REPLICA_ACKS);
    replica_wait_frames(feed->replica, 10);
    assert_frames(feed->replica, 1, 10);

    nxf_event *joined = wait_event(NXF_EVENT_JOINED);
    assert_int_equal(joined->vlsn, 1);
    assert_int_equal(joined->service, NXF_SERVICE_STREAM);
    assert_int_equal(joined->connection_id, 1);
    assert_int_equal(joined->status, NXF_OK);
    assert_int_equal(joined->run_state, NXF_RUN_NEW);
    assert_int_equal(joined->log_state, NXF_LOG_READING);
    assert_int_equal(strncmp(joined->peer, "127.0.0.1:", 10), 0);
    assert_string_equal(joined->replica_name, joined->peer);
    assert_string_equal(joined->reason, "");
    assert_null(joined->error);
    wait_acked(10);
    log_add(feed->log, 11);
    wait_acked(11);

    assert_ok(nxf_server_connections, server, &list);
    assert_int_equal(nxf_connection_list_count(list), 1);
    const nxf_connection *connection = nxf_connection_list_at(list, 0);
    assert_null(nxf_connection_list_at(list, 1));
    assert_int_equal(connection->struct_size, sizeof *connection);
    assert_int_equal(connection->connection_id, 1);
    assert_int_equal(connection->service, NXF_SERVICE_STREAM);
    assert_int_equal(connection->acked_vlsn, 11);
    assert_int_equal(connection->restore_files, 0);
    assert_string_equal(connection->peer, joined->peer);
    assert_string_equal(connection->replica_name, joined->replica_name);
    assert_int_equal(connection->stats->struct_size, sizeof *connection->stats);
    assert_int_equal(connection->stats->run_state, NXF_RUN_RUNNING);
    assert_int_equal(connection->stats->frames_sent, 11);
    assert_int_equal(connection->stats->acked_vlsn, 11);
    assert_int_equal(connection->stats->start_vlsn, 1);

    replica_close(feed->replica);
    nxf_event *ended = wait_event(NXF_EVENT_ENDED);
    assert_int_equal(ended->run_state, NXF_RUN_CLOSED_BY_REPLICA);
    assert_int_equal(ended->status, NXF_OK);
    assert_int_equal(ended->vlsn, 11);
    assert_string_equal(ended->reason, "");
    assert_int_equal(count_connections(), 0);
    free_server();
    /* They do not depend on the server. */
    assert_string_equal(ended->replica_name, joined->replica_name);
    assert_int_equal(connection->stats->frames_sent, 11);
    nxf_connection_list_free(list);
    nxf_event_free(joined);
    nxf_event_free(ended);
}

static void callbacks_are_told_all_and_their_contexts_are_dropped_once(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_event *event = NULL;
    int fd = -1;
    make_server(feed);
    assert_ok(nxf_server_set_identify_callback, server, name_all, feed->record, drop_identify);
    assert_ok(nxf_server_set_event_callback, server, record_event, feed->record, drop_event);
    assert_status(NXF_E_WRONG_STATE, nxf_server_next_event, server, 0, &event);
    assert_status(NXF_E_WRONG_STATE, nxf_server_event_fd, server, &fd);
    serve(feed);
    feed->replica = dial_in(REPLICA_ACKS);
    record_wait(feed->record, "r1 ACKED 10");
    const int stranger = connect_to_loopback(port);
    say_name(stranger, "REP_SYNCUP");
    assert_closed(stranger);
    close(stranger);
    record_wait(feed->record, "127.0.0.1 wants NXF_SERVICE_STREAM");
    record_wait(feed->record, "127.0.0.1 wants NXF_SERVICE_SYNCUP");
    record_wait(feed->record, "r1 JOINED 1");
    assert_status(NXF_E_WRONG_STATE, nxf_server_set_event_callback, server, record_event, feed->record, drop_event);
    assert_ok(nxf_server_stop, server, -1);
    record_wait(feed->record, "r1 ENDED 10");
    record_wait(feed->record, "event context dropped");
    record_wait(feed->record, "identify context dropped");
    record_add(feed->record, "freed");
    free_server();
    record_wait(feed->record, "freed");
}

static void what_is_set_before_the_beginning_replaces_and_belongs_to_whom_it_should(void **state)
{
    struct feed *feed = feed_of(state);
    make_server(feed);
    assert_ok(nxf_server_set_event_callback, server, record_event, feed->record, drop_event);
    assert_record(feed->record, "");
    assert_ok(nxf_server_set_event_callback, server, record_event, feed->record, drop_event);
    assert_record(feed->record, "event context dropped\n");
    assert_ok(nxf_server_set_identify_callback, server, name_all, feed->record, drop_identify);
    free_server();
    record_wait(feed->record, "identify context dropped");

    make_server(feed);
    struct record *after = record_new();
    serve(feed);
    assert_status(NXF_E_WRONG_STATE, nxf_server_set_event_callback, server, record_event, after, drop_event);
    assert_status(NXF_E_WRONG_STATE, nxf_server_set_identify_callback, server, name_all, after, drop_identify);
    assert_status(NXF_E_WRONG_STATE, nxf_server_answer_elections, server, "m");
    free_server();
    assert_record(after, "");
    record_free(after);
}

static nxf_status name_wrongly(void *context, const nxf_peer *peer, char *name, size_t capacity)
{
    unsigned *calls = (unsigned *)context;
    (void)peer;
    switch ((*calls)++) {
    case 0:
        return NXF_OK;
    case 1:
        memset(name, 'x', capacity);
        return NXF_OK;
    case 2:
        memcpy(name, "\xff\xfe", 3);
        return NXF_OK;
    case 3:
        return -12345;
    default:
        memset(name, 'x', capacity);
        name[capacity - 1] = '\0';
        return NXF_OK;
    }
}

static void names_that_are_none_are_refused(void **state)
{
    static const struct {
        nxf_status status;
        const char *reason;
    } refusals[] = {
        { NXF_E_CALLBACK, "no name" },
        { NXF_E_CALLBACK, "without a NUL" },
        { NXF_E_CALLBACK, "not UTF-8" },
        { NXF_OK, "the host refused it" },
    };
    unsigned calls = 0;
    make_server(feed_of(state));
    assert_ok(nxf_server_set_identify_callback, server, name_wrongly, &calls, NULL);
    serve(feed_of(state));
    for (size_t at = 0; at < sizeof refusals / sizeof *refusals; at++) {
        const int fd = connect_to_loopback(port);
        ask_for_stream(fd, 0);
        assert_closed(fd);
        close(fd);
        wait_refused(refusals[at].status, refusals[at].reason);
    }
    feed_of(state)->replica = dial_in(REPLICA_ACKS);
    nxf_event *event = wait_event(NXF_EVENT_JOINED);
    assert_int_equal(strlen(event->replica_name), 255);
    nxf_event_free(event);
}

static void the_newer_of_one_name_takes_the_place_of_the_older(void **state)
{
    struct feed *feed = feed_of(state);
    make_server(feed);
    assert_ok(nxf_server_set_identify_callback, server, name_all, feed->record, NULL);
    serve(feed);
    feed->replica = dial_in(REPLICA_ACKS);
    wait_acked(10);
    struct replica *newer = dial_in(REPLICA_ACKS);
    nxf_event *event = wait_event(NXF_EVENT_ENDED);
    assert_int_equal(event->run_state, NXF_RUN_STOPPED);
    assert_int_equal(event->status, NXF_OK);
    assert_string_equal(event->replica_name, "r1");
    assert_contains(event->reason, "another replica of its name came");
    nxf_event_free(event);
    replica_wait_frames(newer, 10);
    replica_free(newer);
}

static void who_asks_for_what_is_not_there_hears_so_and_the_host_too(void **state)
{
    struct feed *feed = feed_of(state);
    log_free(feed->log);
    feed->log = log_new();
    log_begin(feed->log, 0, 3);
    log_add_range(feed->log, 50, 60);
    serve(feed);
    int fd = connect_to_loopback(port);
    ask_for_stream(fd, 10);
    assert_int_equal(hear_answer(fd), 1);
    close(fd);
    nxf_event_free(wait_event(NXF_EVENT_NEEDS_RESTORE));
    fd = connect_to_loopback(port);
    ask_for_stream(fd, 1000);
    assert_closed(fd);
    close(fd);
    wait_refused(NXF_E_LOG_AHEAD, "1000");
    fd = connect_to_loopback(port);
    say_name(fd, "ELECTION");
    assert_closed(fd);
    close(fd);
    wait_refused(NXF_E_PROTOCOL, "ELECTION");
}

static void the_files_of_the_log_are_fetched(void **state)
{
    static const uint8_t magic[4] = { 0x54, 0x53, 0x52, 0x4e };
    uint8_t prefix[4];
    serve(feed_of(state));
    const int fd = connect_to_loopback(port);
    say_name(fd, "RESTORE");
    say(fd, magic, sizeof magic);
    assert_true(receive_all(fd, prefix, sizeof prefix));
    const size_t len = (size_t)get_le(prefix, 4);
    uint8_t *message = (uint8_t *)malloc(len);
    assert_true(receive_all(fd, message, len));
    free(message);
    close(fd);
    nxf_event *event = wait_event(NXF_EVENT_RESTORING);
    assert_int_equal(event->count, 1);
    assert_int_equal(event->service, NXF_SERVICE_RESTORE);
    nxf_event_free(event);
    event = wait_event(NXF_EVENT_RESTORED);
    assert_true(event->count > 0 && event->count < len);
    nxf_event_free(event);
}

static void sockets_of_the_hosts_are_taken_in_or_stay_the_hosts(void **state)
{
    struct feed *feed = feed_of(state);
    int fds[2];
    feed_set(feed, "server.connections_max", "1");
    make_server(feed);
    unix_pair(fds);
    assert_ok(nxf_server_adopt, server, fds[0]);
    ask_for_stream(fds[1], 1);
    assert_int_equal(hear_answer(fds[1]), 0);
    feed->replica = replica_new(fds[1], REPLICA_ACKS);
    wait_acked(10);
    unix_pair(fds);
    assert_status(NXF_AGAIN, nxf_server_adopt, server, fds[0]);
    assert_true(is_open_fd(fds[0]));
    assert_refused(NXF_E_INVALID_ARGUMENT, "fd", nxf_server_adopt, server, -1);
    assert_refused(NXF_E_INVALID_ARGUMENT, "fd", nxf_server_adopt, server, 1 << 20);
    const int listener = listen_on_loopback(&port);
    assert_refused(NXF_E_INVALID_ARGUMENT, "fd", nxf_server_adopt, server, listener);
    assert_true(is_open_fd(listener));
    close(listener);
    assert_ok(nxf_server_stop, server, -1);
    assert_status(NXF_E_WRONG_STATE, nxf_server_adopt, server, fds[0]);
    assert_true(is_open_fd(fds[0]));
    close(fds[0]);
    close(fds[1]);
}

static void a_replica_that_listens_is_dialled_until_the_host_wants_it_no_more(void **state)
{
    struct feed *feed = feed_of(state);
    uint16_t far = 0;
    int listener = listen_on_loopback(&far);
    close(listener);
    feed_set(feed, "server.redial_min_ms", "10");
    make_server(feed);
    assert_status(NXF_CLOSED, nxf_server_disconnect, server, "far");
    assert_ok(nxf_server_dial, server, "127.0.0.1", far, "far", 3);
    assert_refused(NXF_E_INVALID_ARGUMENT, "dialled", nxf_server_dial, server, "127.0.0.1", far, "far", 3);
    assert_refused(NXF_E_CONNECT, "no host has this name", nxf_server_dial, server, "no host has this name", far, "x", 3);
    nxf_event *event = wait_event(NXF_EVENT_REFUSED);
    assert_int_equal(event->status, NXF_E_CONNECT);
    assert_int_equal(nxf_error_errno(event->error), ECONNREFUSED);
    assert_string_equal(event->replica_name, "far");
    assert_int_equal(event->connection_id, 0);
    nxf_event_free(event);
    assert_ok(nxf_server_disconnect, server, "far");
    assert_status(NXF_CLOSED, nxf_server_disconnect, server, "far");

    listener = listen_on_loopback(&far);
    assert_ok(nxf_server_dial, server, "localhost", far, "far", 3);
    feed->replica = replica_new(accept_from(listener), REPLICA_ACKS);
    event = wait_event(NXF_EVENT_JOINED);
    assert_int_equal(event->vlsn, 3);
    nxf_event_free(event);
    wait_acked(10);
    assert_frames(feed->replica, 3, 10);
    assert_ok(nxf_server_disconnect, server, "far");
    event = wait_event(NXF_EVENT_ENDED);
    assert_contains(event->reason, "host");
    nxf_event_free(event);
    close(listener);
}

static void the_descriptor_is_readable_while_there_are_events_and_at_the_end(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_event *event = NULL;
    int fd = -1, again = -1;
    make_server(feed);
    assert_ok(nxf_server_event_fd, server, &fd);
    struct pollfd waiting = { fd, POLLIN, 0 };
    assert_int_equal(poll(&waiting, 1, 0), 0);
    assert_status(NXF_TIMEOUT, nxf_server_next_event, server, 0, &event);
    assert_status(NXF_TIMEOUT, nxf_server_next_event, server, 1, &event);
    serve(feed);
    feed->replica = dial_in(0);
    wait_readable(fd);
    nxf_event_free(wait_event(NXF_EVENT_JOINED));
    assert_int_equal(poll(&waiting, 1, 0), 0);
    replica_wait_frames(feed->replica, 10);
    replica_ack(feed->replica, 10);
    wait_readable(fd);
    wait_acked(10);
    assert_ok(nxf_server_event_fd, server, &again);
    assert_int_equal(fd, again);
    assert_ok(nxf_server_stop, server, -1);
    wait_readable(fd);
    nxf_event_free(wait_event(NXF_EVENT_ENDED));
    assert_status(NXF_CLOSED, nxf_server_next_event, server, -1, &event);
    assert_int_equal(poll(&waiting, 1, 0), 1);
    assert_null(event);
}

static void the_host_hears_that_a_replica_has_caught_up_and_that_the_log_does_not_go_on(void **state)
{
    struct feed *feed = feed_of(state);
    feed_set(feed, "log.gap_patience_ms", "86400000");
    serve(feed);
    feed->replica = dial_in(REPLICA_ACKS);
    nxf_event *event = wait_event(NXF_EVENT_CAUGHT_UP);
    assert_int_equal(event->service, NXF_SERVICE_STREAM);
    nxf_event_free(event);
    log_add(feed->log, 12);
    event = wait_event(NXF_EVENT_STALLED);
    assert_int_equal(event->vlsn, 11);
    assert_int_equal(event->log_state, NXF_LOG_AT_END);
    assert_true(event->lsn > 0);
    assert_true(event->reason[0] != '\0');
    nxf_event_free(event);
    log_add(feed->log, 11);
    /* Its acknowledgements may have been told before. */
    nxf_event_free(wait_event(NXF_EVENT_GOES_ON));
    replica_wait_frames(feed->replica, 12);
}

static void events_without_room_are_counted(void **state)
{
    struct feed *feed = feed_of(state);
    feed_set(feed, "server.events_max", "16");
    serve(feed);
    for (int at = 0; at < 20; at++) {
        const int fd = connect_to_loopback(port);
        say_name(fd, "ELECTION");
        assert_closed(fd);
        close(fd);
    }
    for (int at = 0; at < 16; at++)
        wait_refused(NXF_E_PROTOCOL, "ELECTION");
    nxf_event *event = NULL;
    assert_ok(nxf_server_next_event, server, PATIENCE_MS, &event);
    assert_int_equal(event->kind, NXF_EVENT_LOST);
    assert_int_equal(event->count, 4);
    assert_string_equal(event->replica_name, "");
    assert_string_equal(event->peer, "");
    nxf_event_free(event);
}

static void a_server_that_was_stopped_stays_so(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_event *event = NULL;
    make_server(feed);
    assert_ok(nxf_server_set_event_callback, server, record_event, feed->record, drop_event);
    assert_ok(nxf_server_stop, server, -1);
    record_wait(feed->record, "event context dropped");
    assert_refused(NXF_E_WRONG_STATE, "stopped", nxf_server_listen, server, NULL, 0, &port);
    assert_refused(NXF_E_WRONG_STATE, "stopped", nxf_server_dial, server, "127.0.0.1", 1, "r1", 1);
    free_server();

    serve(feed);
    feed->replica = dial_in(REPLICA_ACKS | REPLICA_STAYS);
    wait_acked(10);
    nxf_status status = nxf_server_stop(server, 0, NULL);
    assert_true(status == NXF_TIMEOUT || status == NXF_OK);
    assert_ok(nxf_server_stop, server, PATIENCE_MS);
    assert_ok(nxf_server_stop, server, 0);
    event = wait_event(NXF_EVENT_ENDED);
    assert_contains(event->reason, "the server is being stopped");
    nxf_event_free(event);
    assert_status(NXF_CLOSED, nxf_server_next_event, server, -1, &event);
    assert_refused(NXF_E_WRONG_STATE, "stopped", nxf_server_listen, server, NULL, 0, NULL);
    assert_int_equal(count_connections(), 0);
}

static void a_place_that_is_taken_is_said_to_be(void **state)
{
    uint16_t taken = 0;
    const int listener = listen_on_loopback(&taken);
    nxf_error *err = NULL;
    make_server(feed_of(state));
    assert_int_equal(nxf_server_listen(server, "127.0.0.1", taken, NULL, &err), NXF_E_OS);
    assert_int_equal(nxf_error_errno(err), EADDRINUSE);
    nxf_error_free(err);
    close(listener);
    /* It has not begun. */
    assert_ok(nxf_server_set_event_callback, server, record_event, feed_of(state)->record, NULL);
    serve(feed_of(state));
    serve(feed_of(state));
}

/* What an event callback was answered. */
static struct {
    struct event event;
    nxf_status statuses[7];
    bool is_done;
} inside;

static void call_back_in(void *context, const nxf_event *event)
{
    nxf_connection_list *list = NULL;
    nxf_event *next = NULL;
    (void)context;
    if (event->kind != NXF_EVENT_JOINED)
        return;
    event_lock(&inside.event);
    inside.statuses[0] = nxf_server_stop(server, -1, NULL);
    inside.statuses[1] = nxf_server_stop(server, 1000, NULL);
    inside.statuses[2] = nxf_server_free(server);
    inside.statuses[3] = nxf_server_next_event(server, -1, &next, NULL);
    inside.statuses[4] = nxf_server_connections(server, &list, NULL);
    inside.statuses[5] = nxf_server_disconnect(server, event->replica_name, NULL);
    inside.statuses[6] = nxf_server_stop(server, 0, NULL);
    nxf_connection_list_free(list);
    inside.is_done = true;
    event_unlock(&inside.event);
}

static bool is_done(void *unused)
{
    (void)unused;
    return inside.is_done;
}

static void a_callback_can_call_back_in_and_never_waits_for_itself(void **state)
{
    static const nxf_status expected[] = { NXF_E_INSIDE_CALLBACK, NXF_E_INSIDE_CALLBACK, NXF_E_INSIDE_CALLBACK,
                                           NXF_E_WRONG_STATE,     NXF_OK,                NXF_OK,
                                           NXF_TIMEOUT };
    struct feed *feed = feed_of(state);
    event_init(&inside.event);
    make_server(feed);
    assert_ok(nxf_server_set_event_callback, server, call_back_in, NULL, NULL);
    serve(feed);
    feed->replica = dial_in(REPLICA_ACKS);
    event_lock(&inside.event);
    assert_true(event_wait(&inside.event, is_done, NULL));
    event_unlock(&inside.event);
    for (size_t at = 0; at < sizeof expected / sizeof *expected; at++)
        assert_int_equal(inside.statuses[at], expected[at]);
    free_server();
    event_destroy(&inside.event);
}

/* As a node that holds an election: a proposal, and the promise of the master that it gets. */
static void elections_are_answered_if_the_host_wants_it(void **state)
{
    uint8_t proposal[1 + 4 + 4 + 8 + 4 + 8 + 8];
    uint8_t prefix[4], promise[200];
    make_server(feed_of(state));
    assert_refused(NXF_E_INVALID_ARGUMENT, "name", nxf_server_answer_elections, server, "");
    assert_ok(nxf_server_answer_elections, server, "master");
    serve(feed_of(state));
    const int fd = connect_to_loopback(port);
    say_name(fd, "ELECTION");
    memset(proposal, 0, sizeof proposal);
    proposal[0] = 9;
    put_le(proposal + 1, 4, 4);
    memcpy(proposal + 5, "node", 4);
    put_le(proposal + 17, 1, 4);
    put_le(proposal + 21, 1, 8);
    say(fd, proposal, sizeof proposal);
    assert_true(receive_all(fd, prefix, sizeof prefix));
    const size_t len = (size_t)get_le(prefix, 4);
    assert_true(len > 11 && len < sizeof promise);
    assert_true(receive_all(fd, promise, len));
    assert_int_equal(promise[0], 9);
    assert_int_equal(get_le(promise + 1, 4), 6);
    assert_memory_equal(promise + 5, "master", 6);
    close(fd);
}

static void names_are_those_of_the_constants(void **state)
{
    (void)state;
    assert_string_equal(nxf_event_kind_name(NXF_EVENT_JOINED), "NXF_EVENT_JOINED");
    assert_string_equal(nxf_event_kind_name(NXF_EVENT_GOES_ON), "NXF_EVENT_GOES_ON");
    assert_string_equal(nxf_event_kind_name(0), "NXF_UNKNOWN");
    assert_string_equal(nxf_event_kind_name(UINT32_MAX), "NXF_UNKNOWN");
    assert_string_equal(nxf_service_name(NXF_SERVICE_UNKNOWN), "NXF_SERVICE_UNKNOWN");
    assert_string_equal(nxf_service_name(NXF_SERVICE_ELECTION), "NXF_SERVICE_ELECTION");
    assert_string_equal(nxf_service_name(6), "NXF_UNKNOWN");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        server_test(a_replica_that_dials_in_is_fed_and_the_host_hears_of_it),
        server_test(callbacks_are_told_all_and_their_contexts_are_dropped_once),
        server_test(what_is_set_before_the_beginning_replaces_and_belongs_to_whom_it_should),
        server_test(names_that_are_none_are_refused),
        server_test(the_newer_of_one_name_takes_the_place_of_the_older),
        server_test(who_asks_for_what_is_not_there_hears_so_and_the_host_too),
        server_test(the_files_of_the_log_are_fetched),
        server_test(sockets_of_the_hosts_are_taken_in_or_stay_the_hosts),
        server_test(a_replica_that_listens_is_dialled_until_the_host_wants_it_no_more),
        server_test(the_descriptor_is_readable_while_there_are_events_and_at_the_end),
        server_test(the_host_hears_that_a_replica_has_caught_up_and_that_the_log_does_not_go_on),
        server_test(events_without_room_are_counted),
        server_test(a_server_that_was_stopped_stays_so),
        server_test(a_place_that_is_taken_is_said_to_be),
        server_test(a_callback_can_call_back_in_and_never_waits_for_itself),
        server_test(elections_are_answered_if_the_host_wants_it),
        cmocka_unit_test(names_are_those_of_the_constants),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
