#include "support/sockets.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif

static void check_os(bool succeeded, const char *what)
{
    if (!succeeded)
        fail_with("%s: %s", what, strerror(errno));
}

static void no_sigpipe(int fd)
{
#ifdef SO_NOSIGPIPE
    const int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof on);
#else
    (void)fd;
#endif
}

void unix_pair(int fds[2])
{
    check_os(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0, "socketpair");
    no_sigpipe(fds[0]);
    no_sigpipe(fds[1]);
}

void limit_buffers(int fd, int bytes)
{
    if (bytes == 0)
        return;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
}

static struct sockaddr_in loopback(uint16_t port)
{
    struct sockaddr_in address;
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    return address;
}

/* The buffers of what it accepts are as its own, and have to be set before a connection is made. */
static int listen_with_buffers(uint16_t *port, int buffer_bytes)
{
    struct sockaddr_in address = loopback(0);
    socklen_t len = sizeof address;
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    limit_buffers(fd, buffer_bytes);
    check_os(bind(fd, (struct sockaddr *)&address, len) == 0, "bind");
    check_os(listen(fd, 8) == 0, "listen");
    check_os(getsockname(fd, (struct sockaddr *)&address, &len) == 0, "getsockname");
    *port = ntohs(address.sin_port);
    return fd;
}

int listen_on_loopback(uint16_t *port)
{
    return listen_with_buffers(port, 0);
}

static int connect_with_buffers(uint16_t port, int buffer_bytes)
{
    const struct sockaddr_in address = loopback(port);
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    limit_buffers(fd, buffer_bytes);
    check_os(connect(fd, (const struct sockaddr *)&address, sizeof address) == 0, "connect");
    no_sigpipe(fd);
    return fd;
}

int connect_to_loopback(uint16_t port)
{
    return connect_with_buffers(port, 0);
}

int accept_from(int listener)
{
    const int fd = accept(listener, NULL, NULL);
    check_os(fd >= 0, "accept");
    no_sigpipe(fd);
    return fd;
}

void tcp_pair(int fds[2], int buffer_bytes)
{
    uint16_t port;
    const int listener = listen_with_buffers(&port, buffer_bytes);
    fds[0] = connect_with_buffers(port, buffer_bytes);
    fds[1] = accept_from(listener);
    close(listener);
}

bool send_all(int fd, const void *bytes, size_t len)
{
    const char *at = (const char *)bytes;
    while (len > 0) {
        const ssize_t sent = send(fd, at, len, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        at += sent;
        len -= (size_t)sent;
    }
    return true;
}

bool receive_all(int fd, void *bytes, size_t len)
{
    char *at = (char *)bytes;
    while (len > 0) {
        const ssize_t received = recv(fd, at, len, 0);
        if (received <= 0)
            return false;
        at += received;
        len -= (size_t)received;
    }
    return true;
}

void wait_readable(int fd)
{
    struct pollfd waiting = { fd, POLLIN, 0 };
    if (poll(&waiting, 1, PATIENCE_MS) != 1)
        fail_with("nothing to read on descriptor %d", fd);
}

bool has_bytes_to_receive(int fd)
{
    char byte;
    return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

void close_with_reset(int fd)
{
    const struct linger at_once = { 1, 0 };
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(fd);
}

bool is_open_fd(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}
