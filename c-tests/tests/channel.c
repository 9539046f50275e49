/* Channels: whole messages, both ways, and whose the socket is. */
#include "support/bytes.h"
#include "support/check.h"
#include "support/sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#define MIB (1024 * 1024)

/* A channel, and the bare socket at its other end. */
struct ends {
    nxf_channel *channel;
    nxf_options *options;
    int peer;
};

static struct ends *ends_of(void **state)
{
    return (struct ends *)*state;
}

static void connect_ends(struct ends *ends)
{
    int fds[2];
    unix_pair(fds);
    ends->peer = fds[1];
    assert_ok(nxf_channel_from_fd, fds[0], ends->options, &ends->channel);
}

static int set_up(void **state)
{
    struct ends *ends = (struct ends *)calloc(1, sizeof *ends);
    *state = ends;
    ends->peer = -1;
    assert_ok(nxf_options_new, &ends->options);
    connect_ends(ends);
    return 0;
}

static int tear_down(void **state)
{
    struct ends *ends = ends_of(state);
    nxf_channel_free(ends->channel);
    nxf_options_free(ends->options);
    if (ends->peer >= 0)
        close(ends->peer);
    free(ends);
    return 0;
}

/* Once more, with an option set. */
static void reconnect_with(struct ends *ends, const char *key, const char *value)
{
    nxf_channel_free(ends->channel);
    ends->channel = NULL;
    close(ends->peer);
    assert_ok(nxf_options_set, ends->options, key, value);
    connect_ends(ends);
}

static void peer_sends(struct ends *ends, const void *bytes, size_t len)
{
    assert_true(send_all(ends->peer, bytes, len));
}

static void peer_closes(struct ends *ends)
{
    close(ends->peer);
    ends->peer = -1;
}

static void assert_receives(struct ends *ends, const char *message)
{
    uint8_t buf[64];
    size_t len = 999;
    assert_ok(nxf_channel_receive, ends->channel, buf, sizeof buf, &len, PATIENCE_MS);
    assert_int_equal(len, strlen(message));
    assert_memory_equal(buf, message, len);
}

static void assert_receives_status(struct ends *ends, nxf_status status, int timeout_ms)
{
    uint8_t buf[64];
    size_t len = 0;
    assert_status(status, nxf_channel_receive, ends->channel, buf, sizeof buf, &len, timeout_ms);
}

/* --- connecting --- */

static void tcp_connects_to_a_listener(void **state)
{
    uint16_t port;
    const int listener = listen_on_loopback(&port);
    nxf_channel *channel = NULL;
    uint8_t bytes[9] = { 0 };
    (void)state;
    assert_ok(nxf_channel_tcp_connect, "127.0.0.1", port, NULL, &channel);
    const int peer = accept_from(listener);
    assert_ok(nxf_channel_send, channel, (const uint8_t *)"hello", 5);
    assert_true(receive_all(peer, bytes, sizeof bytes));
    assert_memory_equal(bytes, "\5\0\0\0hello", 9);
    nxf_channel_free(channel);
    assert_false(receive_all(peer, bytes, 1));
    close(peer);
    close(listener);
}

static void tcp_connects_by_name(void **state)
{
    uint16_t port;
    const int listener = listen_on_loopback(&port);
    nxf_channel *channel = NULL;
    (void)state;
    assert_ok(nxf_channel_tcp_connect, "localhost", port, NULL, &channel);
    nxf_channel_free(channel);
    close(listener);
}

static void a_refused_connection_names_the_address_and_the_reason(void **state)
{
    uint16_t port;
    char address[32];
    nxf_channel *channel = NULL;
    nxf_error *err = NULL;
    (void)state;
    close(listen_on_loopback(&port));
    snprintf(address, sizeof address, "127.0.0.1:%u", (unsigned)port);
    assert_int_equal(nxf_channel_tcp_connect("127.0.0.1", port, NULL, &channel, &err), NXF_E_CONNECT);
    assert_null(channel);
    assert_int_equal(nxf_error_errno(err), ECONNREFUSED);
    assert_contains(nxf_error_message(err), address);
    assert_true(nxf_error_is_retriable(err));
    nxf_error_free(err);
}

static void nonsense_to_connect_to_is_refused_by_name(void **state)
{
    nxf_channel *channel = NULL;
    (void)state;
    assert_refused(NXF_E_INVALID_ARGUMENT, "`host`", nxf_channel_tcp_connect, NULL, 1, NULL, &channel);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`host`", nxf_channel_tcp_connect, "\xff", 1, NULL, &channel);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`channel`", nxf_channel_tcp_connect, "127.0.0.1", 1, NULL, NULL);
    assert_null(channel);
}

static void a_name_that_is_not_known_is_called_that(void **state)
{
    nxf_channel *channel = NULL;
    nxf_error *err = NULL;
    (void)state;
    assert_int_equal(nxf_channel_tcp_connect("300.1.1.1", 1, NULL, &channel, &err), NXF_E_CONNECT);
    assert_contains(nxf_error_message(err), "300.1.1.1:1");
    assert_null(strstr(nxf_error_message(err), "uncategorized"));
    nxf_error_free(err);
}

/* --- whose the socket is --- */

/* The descriptor is refused, stays open, and is as it was. */
static void assert_fd_is_refused(int fd)
{
    nxf_channel *channel = NULL;
    const int flags = fcntl(fd, F_GETFL);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`fd`", nxf_channel_from_fd, fd, NULL, &channel);
    assert_null(channel);
    assert_true(is_open_fd(fd));
    assert_int_equal(fcntl(fd, F_GETFL), flags);
    close(fd);
}

static void what_is_no_connected_stream_socket_is_refused_and_stays_the_callers(void **state)
{
    int ends[2];
    uint16_t port;
    (void)state;
    assert_int_equal(pipe(ends), 0);
    assert_fd_is_refused(ends[0]);
    assert_fd_is_refused(ends[1]);
    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, ends), 0);
    assert_fd_is_refused(ends[0]);
    assert_fd_is_refused(ends[1]);
    assert_fd_is_refused(open("/dev/null", O_RDWR));
    assert_fd_is_refused(socket(AF_INET, SOCK_STREAM, 0));
    assert_fd_is_refused(socket(AF_INET, SOCK_DGRAM, 0));
    assert_fd_is_refused(listen_on_loopback(&port));
}

static void what_is_no_descriptor_is_refused(void **state)
{
    nxf_channel *channel = NULL;
    int fds[2];
    (void)state;
    unix_pair(fds);
    close(fds[0]);
    close(fds[1]);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`fd`", nxf_channel_from_fd, fds[0], NULL, &channel);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`fd`", nxf_channel_from_fd, -1, NULL, &channel);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`fd`", nxf_channel_from_fd, INT32_MAX, NULL, &channel);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`fd`", nxf_channel_from_fd, INT32_MIN, NULL, &channel);
}

static void a_connection_that_was_broken_off_is_no_wrong_argument(void **state)
{
    int fds[2];
    nxf_channel *channel = NULL;
    (void)state;
    tcp_pair(fds, 0);
    close_with_reset(fds[1]);
    wait_readable(fds[0]);
    assert_refused(NXF_E_CONNECTION, "", nxf_channel_from_fd, fds[0], NULL, &channel);
    assert_true(is_open_fd(fds[0]));
    close(fds[0]);
}

static void without_a_place_for_the_channel_the_socket_stays_the_callers(void **state)
{
    int fds[2];
    (void)state;
    unix_pair(fds);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`channel`", nxf_channel_from_fd, fds[0], NULL, NULL);
    assert_true(is_open_fd(fds[0]));
    close(fds[0]);
    close(fds[1]);
}

static void a_socket_that_is_taken_is_closed_with_the_channel(void **state)
{
    int fds[2];
    nxf_channel *channel = NULL;
    (void)state;
    unix_pair(fds);
    assert_ok(nxf_channel_from_fd, fds[0], NULL, &channel);
    assert_true((fcntl(fds[0], F_GETFL) & O_NONBLOCK) != 0);
    assert_true((fcntl(fds[0], F_GETFD) & FD_CLOEXEC) != 0);
    nxf_channel_free(channel);
    assert_false(is_open_fd(fds[0]));
    close(fds[1]);
}

/* --- messages --- */

static void messages_go_both_ways(void **state)
{
    struct ends *ends = ends_of(state);
    struct ends other = { NULL, NULL, -1 };
    assert_ok(nxf_channel_from_fd, ends->peer, NULL, &other.channel);
    ends->peer = -1;
    assert_ok(nxf_channel_send, ends->channel, (const uint8_t *)"one", 3);
    assert_ok(nxf_channel_send, ends->channel, (const uint8_t *)"", 0);
    assert_ok(nxf_channel_send, ends->channel, NULL, 0);
    assert_ok(nxf_channel_send, other.channel, (const uint8_t *)"two", 3);
    assert_receives(&other, "one");
    assert_receives(&other, "");
    assert_receives(&other, "");
    assert_receives(ends, "two");
    assert_receives_status(&other, NXF_AGAIN, 0);
    assert_receives_status(ends, NXF_AGAIN, 0);
    nxf_channel_free(other.channel);
}

struct sending {
    nxf_channel *channel;
    const uint8_t *message;
    size_t len;
    nxf_status status;
};

static void *send_message(void *context)
{
    struct sending *sending = (struct sending *)context;
    sending->status = nxf_channel_send(sending->channel, sending->message, sending->len, NULL);
    return NULL;
}

static void a_message_larger_than_every_buffer_arrives(void **state)
{
    struct ends *ends = ends_of(state);
    const size_t len = 3 * MIB + 7;
    uint8_t *message = (uint8_t *)calloc(1, len);
    uint8_t *received = (uint8_t *)calloc(1, len + 4);
    struct sending sending = { ends->channel, message, len, NXF_AGAIN };
    pthread_t thread;
    message[0] = 1;
    message[len - 1] = 2;
    pthread_create(&thread, NULL, send_message, &sending);
    const bool all = receive_all(ends->peer, received, len + 4);
    pthread_join(thread, NULL);
    assert_true(all);
    assert_int_equal(sending.status, NXF_OK);
    assert_int_equal(get_le(received, 4), len);
    assert_memory_equal(received + 4, message, len);
    free(message);
    free(received);
}

/* Sends back what comes, until the end. */
static void *echo(void *context)
{
    const int peer = *(int *)context;
    char bytes[1000];
    ssize_t len;
    while ((len = recv(peer, bytes, sizeof bytes, 0)) > 0 && send_all(peer, bytes, (size_t)len))
        ;
    return NULL;
}

#define MESSAGES 500

static void *send_many(void *context)
{
    struct sending *sending = (struct sending *)context;
    for (uint8_t message[8]; sending->len < MESSAGES && sending->status == NXF_OK; sending->len++) {
        put_le(message, sending->len, sizeof message);
        sending->status = nxf_channel_send(sending->channel, message, sizeof message, NULL);
    }
    return NULL;
}

static void one_thread_sends_while_another_receives(void **state)
{
    struct ends *ends = ends_of(state);
    struct sending sending = { ends->channel, NULL, 0, NXF_OK };
    pthread_t echoing, other;
    pthread_create(&echoing, NULL, echo, &ends->peer);
    pthread_create(&other, NULL, send_many, &sending);
    for (uint64_t at = 0; at < MESSAGES; at++) {
        uint8_t message[8];
        size_t len = 0;
        assert_ok(nxf_channel_receive, ends->channel, message, sizeof message, &len, PATIENCE_MS);
        assert_int_equal(len, 8);
        assert_int_equal(get_le(message, 8), at);
    }
    pthread_join(other, NULL);
    assert_int_equal(sending.status, NXF_OK);
    assert_ok(nxf_channel_close, ends->channel);
    pthread_join(echoing, NULL);
}

static void a_buffer_that_is_too_small_loses_nothing(void **state)
{
    struct ends *ends = ends_of(state);
    uint8_t buf[5];
    size_t len = 0;
    peer_sends(ends, "\5\0\0\0hello\3\0\0\0you", 16);
    assert_refused(NXF_E_BUFFER_TOO_SMALL, "5", nxf_channel_receive, ends->channel, buf, 4, &len, PATIENCE_MS);
    assert_int_equal(len, 5);
    len = 0;
    assert_refused(NXF_E_BUFFER_TOO_SMALL, "5", nxf_channel_receive, ends->channel, NULL, 0, &len, 0);
    assert_int_equal(len, 5);
    assert_ok(nxf_channel_receive, ends->channel, buf, 5, &len, 0);
    assert_memory_equal(buf, "hello", 5);
    assert_receives(ends, "you");
}

static void a_timeout_in_a_message_loses_nothing(void **state)
{
    struct ends *ends = ends_of(state);
    const char bytes[] = "\5\0\0\0hello";
    for (size_t at = 0; at < sizeof bytes - 1; at++) {
        assert_receives_status(ends, NXF_AGAIN, (int)(at % 3));
        peer_sends(ends, bytes + at, 1);
    }
    assert_receives(ends, "hello");
}

static void several_messages_at_once_come_one_by_one(void **state)
{
    struct ends *ends = ends_of(state);
    peer_sends(ends, "\1\0\0\0a\0\0\0\0\2\0\0\0bc\1\0", 17);
    assert_receives(ends, "a");
    assert_receives(ends, "");
    assert_receives(ends, "bc");
    assert_receives_status(ends, NXF_AGAIN, 0);
    peer_sends(ends, "\0\0d", 3);
    assert_receives(ends, "d");
}

static void a_timeout_is_waited_for(void **state)
{
    const long long before = now_ms();
    assert_receives_status(ends_of(state), NXF_AGAIN, 30);
    assert_true(now_ms() - before >= 29);
}

static void a_length_above_the_limit_breaks_the_protocol(void **state)
{
    struct ends *ends = ends_of(state);
    uint8_t buf[8];
    size_t len;
    peer_sends(ends, "\1\0\0\4", 4); /* 64 MiB and one */
    assert_refused(NXF_E_PROTOCOL, "67108864", nxf_channel_receive, ends->channel, buf, sizeof buf, &len, PATIENCE_MS);
    assert_false(nxf_channel_is_open(ends->channel));
}

static void a_message_of_the_limit_is_none_too_long(void **state)
{
    struct ends *ends = ends_of(state);
    peer_sends(ends, "\0\0\0\4", 4);
    assert_receives_status(ends, NXF_AGAIN, 1);
    assert_true(nxf_channel_is_open(ends->channel));
}

static void a_message_above_the_limit_is_not_sent(void **state)
{
    struct ends *ends = ends_of(state);
    const size_t len = 64 * MIB + 1;
    uint8_t *message = (uint8_t *)calloc(1, len);
    assert_refused(NXF_E_PROTOCOL, "67108864", nxf_channel_send, ends->channel, message, len);
    free(message);
    assert_ok(nxf_channel_send, ends->channel, (const uint8_t *)"x", 1);
    char bytes[5];
    assert_true(receive_all(ends->peer, bytes, sizeof bytes));
    assert_memory_equal(bytes, "\1\0\0\0x", 5);
}

/* --- the end --- */

static void what_the_peer_sent_before_it_closed_is_received(void **state)
{
    struct ends *ends = ends_of(state);
    peer_sends(ends, "\1\0\0\0a\1\0\0\0b\1\0\0\0", 14);
    peer_closes(ends);
    assert_true(nxf_channel_is_open(ends->channel)); /* as far as is known */
    assert_receives(ends, "a");
    assert_receives(ends, "b");
    assert_receives_status(ends, NXF_CLOSED, -1);
    assert_receives_status(ends, NXF_CLOSED, 0);
    assert_false(nxf_channel_is_open(ends->channel));
}

static void sending_to_a_peer_that_closed_is_closed(void **state)
{
    struct ends *ends = ends_of(state);
    peer_closes(ends);
    assert_status(NXF_CLOSED, nxf_channel_send, ends->channel, (const uint8_t *)"x", 1);
    assert_false(nxf_channel_is_open(ends->channel));
}

static void a_peer_that_breaks_off_has_closed(void **state)
{
    int fds[2];
    struct ends ends = { NULL, NULL, -1 };
    (void)state;
    tcp_pair(fds, 0);
    assert_ok(nxf_channel_from_fd, fds[0], NULL, &ends.channel);
    close_with_reset(fds[1]);
    assert_receives_status(&ends, NXF_CLOSED, PATIENCE_MS);
    nxf_channel_free(ends.channel);
}

static void after_closing_everything_is_closed(void **state)
{
    struct ends *ends = ends_of(state);
    char byte;
    assert_true(nxf_channel_is_open(ends->channel));
    assert_ok(nxf_channel_close, ends->channel);
    assert_false(nxf_channel_is_open(ends->channel));
    assert_receives_status(ends, NXF_CLOSED, -1);
    assert_status(NXF_CLOSED, nxf_channel_send, ends->channel, (const uint8_t *)"x", 1);
    assert_false(receive_all(ends->peer, &byte, 1)); /* the peer sees it, too */
    assert_ok(nxf_channel_close, ends->channel);
}

static void after_closing_nothing_is_received_whenever_it_came(void **state)
{
    struct ends *ends = ends_of(state);
    peer_sends(ends, "\1\0\0\0a\1\0\0\0b", 10);
    assert_receives(ends, "a");
    assert_ok(nxf_channel_close, ends->channel);
    assert_receives_status(ends, NXF_CLOSED, 0);
}

struct receiving {
    nxf_channel *channel;
    nxf_status status;
};

static void *receive_for_ever(void *context)
{
    struct receiving *receiving = (struct receiving *)context;
    uint8_t buf[8];
    size_t len;
    do
        receiving->status = nxf_channel_receive(receiving->channel, buf, sizeof buf, &len, -1, NULL);
    while (receiving->status == NXF_OK);
    return NULL;
}

static void closing_wakes_who_receives(void **state)
{
    struct ends *ends = ends_of(state);
    struct receiving receiving = { ends->channel, NXF_OK };
    pthread_t thread;
    pthread_create(&thread, NULL, receive_for_ever, &receiving);
    peer_sends(ends, "\1\0\0\0a", 5);
    assert_ok(nxf_channel_close, ends->channel);
    pthread_join(thread, NULL);
    assert_int_equal(receiving.status, NXF_CLOSED);
}

static void closing_wakes_who_sends(void **state)
{
    struct ends *ends = ends_of(state);
    uint8_t *message = (uint8_t *)calloc(1, 8 * MIB);
    struct sending sending = { ends->channel, message, 8 * MIB, NXF_OK };
    pthread_t thread;
    pthread_create(&thread, NULL, send_message, &sending);
    wait_readable(ends->peer); /* it has begun, and cannot end */
    assert_ok(nxf_channel_close, ends->channel);
    pthread_join(thread, NULL);
    assert_int_equal(sending.status, NXF_CLOSED);
    free(message);
}

static void a_peer_that_reads_nothing_is_given_up(void **state)
{
    struct ends *ends = ends_of(state);
    uint8_t *message = (uint8_t *)calloc(1, 8 * MIB);
    reconnect_with(ends, "channel.write_timeout_ms", "20");
    assert_refused(NXF_E_WRITE_TIMEOUT, "20 ms", nxf_channel_send, ends->channel, message, 8 * MIB);
    assert_false(nxf_channel_is_open(ends->channel)); /* half a message is under way */
    assert_status(NXF_CLOSED, nxf_channel_send, ends->channel, message, 1);
    free(message);
}

static void the_send_buffer_can_be_limited(void **state)
{
    struct ends *ends = ends_of(state);
    uint8_t *message = (uint8_t *)calloc(1, 128 * 1024);
    reconnect_with(ends, "channel.write_timeout_ms", "20");
    reconnect_with(ends, "channel.send_buffer_bytes", "4096");
    assert_refused(NXF_E_WRITE_TIMEOUT, "20 ms", nxf_channel_send, ends->channel, message, 128 * 1024);
    free(message);
}

static void null_is_refused_by_name(void **state)
{
    struct ends *ends = ends_of(state);
    uint8_t buf[8] = { 0 };
    size_t len;
    assert_refused(NXF_E_INVALID_ARGUMENT, "`channel`", nxf_channel_send, NULL, buf, 1);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`message`", nxf_channel_send, ends->channel, NULL, 1);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`message`", nxf_channel_send, ends->channel, buf, SIZE_MAX);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`channel`", nxf_channel_receive, NULL, buf, 8, &len, 0);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`buf`", nxf_channel_receive, ends->channel, NULL, 8, &len, 0);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`buf`", nxf_channel_receive, ends->channel, buf, SIZE_MAX, &len, 0);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`len`", nxf_channel_receive, ends->channel, buf, 8, NULL, 0);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`channel`", nxf_channel_close, NULL);
    assert_false(nxf_channel_is_open(NULL));
    nxf_channel_free(NULL);
    assert_true(nxf_channel_is_open(ends->channel));
}

#define channel_test(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tcp_connects_to_a_listener),
        cmocka_unit_test(tcp_connects_by_name),
        cmocka_unit_test(a_refused_connection_names_the_address_and_the_reason),
        cmocka_unit_test(a_name_that_is_not_known_is_called_that),
        cmocka_unit_test(nonsense_to_connect_to_is_refused_by_name),
        cmocka_unit_test(what_is_no_connected_stream_socket_is_refused_and_stays_the_callers),
        cmocka_unit_test(what_is_no_descriptor_is_refused),
        cmocka_unit_test(a_connection_that_was_broken_off_is_no_wrong_argument),
        cmocka_unit_test(without_a_place_for_the_channel_the_socket_stays_the_callers),
        cmocka_unit_test(a_socket_that_is_taken_is_closed_with_the_channel),
        channel_test(messages_go_both_ways),
        channel_test(a_message_larger_than_every_buffer_arrives),
        channel_test(one_thread_sends_while_another_receives),
        channel_test(a_buffer_that_is_too_small_loses_nothing),
        channel_test(a_timeout_in_a_message_loses_nothing),
        channel_test(several_messages_at_once_come_one_by_one),
        channel_test(a_timeout_is_waited_for),
        channel_test(a_length_above_the_limit_breaks_the_protocol),
        channel_test(a_message_of_the_limit_is_none_too_long),
        channel_test(a_message_above_the_limit_is_not_sent),
        channel_test(what_the_peer_sent_before_it_closed_is_received),
        channel_test(sending_to_a_peer_that_closed_is_closed),
        cmocka_unit_test(a_peer_that_breaks_off_has_closed),
        channel_test(after_closing_everything_is_closed),
        channel_test(after_closing_nothing_is_received_whenever_it_came),
        channel_test(closing_wakes_who_receives),
        channel_test(closing_wakes_who_sends),
        channel_test(a_peer_that_reads_nothing_is_given_up),
        channel_test(the_send_buffer_can_be_limited),
        channel_test(null_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
