/*
 * Feeds a replica over a transport of the host's own: here a TCP socket with another framing than the library's, as
 * there would be in a tunnel that the host has anyway. The other end takes the frames out again.
 *
 *     custom_transport DIRECTORY PORT UNTIL-VLSN          the other end listens on 127.0.0.1
 *
 * The framing: 'N', 'X', the length of the message as 4 bytes, most significant first, and the message. Both ways.
 */
#define _POSIX_C_SOURCE 200809L
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <noxu_feeder.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* where this is not known: setsockopt SO_NOSIGPIPE */
#endif

#define PREFIX_LEN 6
#define ACK_MAX 1024 /* a replica's messages are short; a longer length is nonsense */

struct transport {
    int fd;
    /* The message that is being received: it may come in pieces, with timeouts between them. */
    uint8_t bytes[PREFIX_LEN + ACK_MAX];
    size_t received;
};

/* --- the vtable's functions; send and receive are called on two threads, at the same time --- */

static int send_all(int fd, const uint8_t *bytes, size_t len)
{
    while (len > 0) {
        ssize_t sent = send(fd, bytes, len, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return -1;
        bytes += sent;
        len -= (size_t)sent;
    }
    return 0;
}

/* A peer that has gone is NXF_CLOSED; another failure ends the run with NXF_E_CALLBACK, which names the status. */
static nxf_status failure(void)
{
    return errno == EPIPE || errno == ECONNRESET ? NXF_CLOSED : NXF_E_CONNECTION;
}

static nxf_status transport_send(void *context, const uint8_t *message, size_t len)
{
    struct transport *transport = context;
    uint8_t prefix[PREFIX_LEN] = {'N', 'X', (uint8_t)(len >> 24), (uint8_t)(len >> 16), (uint8_t)(len >> 8),
                                  (uint8_t)len};
    if (send_all(transport->fd, prefix, PREFIX_LEN) != 0 || send_all(transport->fd, message, len) != 0)
        return failure();
    return NXF_OK;
}

static nxf_status transport_receive(void *context, uint8_t *buf, size_t capacity, size_t *len, int timeout_ms)
{
    struct transport *transport = context;
    size_t wanted = PREFIX_LEN, message_len = 0;

    for (;;) {
        if (transport->received >= PREFIX_LEN) {
            const uint8_t *at = transport->bytes;
            message_len = (size_t)at[2] << 24 | (size_t)at[3] << 16 | (size_t)at[4] << 8 | (size_t)at[5];
            wanted = PREFIX_LEN + message_len;
            if (at[0] != 'N' || at[1] != 'X' || message_len > ACK_MAX)
                return NXF_E_PROTOCOL;
            if (transport->received == wanted)
                break;
        }
        /* Each piece may take the whole time again: the limit need not be exact. */
        struct pollfd readable = {.fd = transport->fd, .events = POLLIN};
        int ready = poll(&readable, 1, timeout_ms);
        if (ready == 0)
            return NXF_AGAIN;
        if (ready < 0 && errno == EINTR)
            continue;
        ssize_t received = recv(transport->fd, transport->bytes + transport->received, wanted - transport->received, 0);
        if (received == 0)
            return NXF_CLOSED;
        if (received < 0 && errno != EINTR)
            return failure();
        if (received > 0)
            transport->received += (size_t)received;
    }

    *len = message_len;
    if (message_len > capacity)
        return NXF_E_BUFFER_TOO_SMALL; /* it stays, and is asked for again */
    memcpy(buf, transport->bytes + PREFIX_LEN, message_len);
    transport->received = 0;
    return NXF_OK;
}

/* Wakes send and receive where they wait, and may come more than once: so the descriptor itself is closed later. */
static void transport_close(void *context)
{
    struct transport *transport = context;
    shutdown(transport->fd, SHUT_RDWR);
}

static void transport_drop(void *context)
{
    struct transport *transport = context;
    close(transport->fd);
    free(transport);
}

/* --- the host --- */

static struct transport *transport_connect(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct transport *transport = calloc(1, sizeof *transport);
    if (transport == NULL)
        return NULL;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    transport->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (transport->fd >= 0 && connect(transport->fd, (struct sockaddr *)&address, sizeof address) == 0)
        return transport;
    if (transport->fd >= 0)
        close(transport->fd);
    free(transport);
    return NULL;
}

int main(int argc, char **argv)
{
    static const nxf_channel_vtable vtable = {
        .struct_size = sizeof vtable,
        .send = transport_send,
        .receive = transport_receive,
        .close = transport_close,
        .drop = transport_drop, /* is_open may be left out */
    };
    nxf_log *log = NULL;
    nxf_scanner *scanner = NULL;
    nxf_channel *channel = NULL;
    nxf_runner *runner = NULL;
    nxf_error *err = NULL;
    nxf_status status;

    if (argc != 4) {
        fprintf(stderr, "usage: %s DIRECTORY PORT UNTIL-VLSN\n", argv[0]);
        return 2;
    }
    struct transport *transport = transport_connect((uint16_t)atoi(argv[2]));
    if (transport == NULL) {
        perror("cannot connect");
        return 1;
    }

    /* Once the channel has taken the transport over, it is the channel that drops it. */
    if ((status = nxf_channel_from_callbacks(&vtable, transport, NULL, &channel, &err)) != NXF_OK)
        transport_drop(transport);
    else if ((status = nxf_runner_new(channel, "replica-1", 1, NULL, &runner, &err)) != NXF_OK)
        nxf_channel_free(channel);
    if (status == NXF_OK && (status = nxf_log_open(argv[1], NULL, &log, &err)) == NXF_OK &&
        (status = nxf_scanner_from_log(log, NXF_LSN_FIRST, &scanner, &err)) == NXF_OK &&
        (status = nxf_runner_start(runner, scanner, &err)) != NXF_OK)
        nxf_scanner_free(scanner);
    if (status == NXF_OK)
        status = nxf_runner_wait_acked(runner, strtoull(argv[3], NULL, 10), -1, &err);

    printf("%s, acknowledged up to VLSN %llu\n", err != NULL ? nxf_error_message(err) : nxf_status_name(status),
           (unsigned long long)nxf_runner_known_replica_vlsn(runner));
    nxf_error_free(err);
    nxf_runner_free(runner);
    nxf_log_free(log);
    return status != NXF_OK;
}
