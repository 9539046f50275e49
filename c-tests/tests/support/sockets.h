/* Connected pairs of stream sockets, and functions for tests that use a bare one. */
#ifndef NXF_TEST_SOCKETS_H
#define NXF_TEST_SOCKETS_H

#include "support/check.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Of the Unix domain. */
void unix_pair(int fds[2]);
/* Of TCP, over loopback. buffer_bytes: of all four buffers; 0 leaves them as they are. */
void tcp_pair(int fds[2], int buffer_bytes);
void limit_buffers(int fd, int bytes);

/* A listener on loopback, and its port. */
int listen_on_loopback(uint16_t *port);
int accept_from(int listener);
int connect_to_loopback(uint16_t port);

/* Sends all of it, waiting as long as that takes; false if the connection is gone. Without SIGPIPE. */
bool send_all(int fd, const void *bytes, size_t len);
/* Receives this many bytes; false if fewer come before the end. */
bool receive_all(int fd, void *bytes, size_t len);
/* Waits until there is something to read, or the end. */
void wait_readable(int fd);

/* Whether bytes have come that were not received. */
bool has_bytes_to_receive(int fd);

/* Closes in a way that the peer sees as broken off. TCP only. */
void close_with_reset(int fd);

bool is_open_fd(int fd);

#ifdef __cplusplus
}
#endif

#endif
