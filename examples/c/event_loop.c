/*
 * Feeds several replicas from one log, in an event loop that waits for all of them at once.
 *
 *     event_loop DIRECTORY UNTIL-VLSN PORT...          the replicas listen on 127.0.0.1
 *
 * Goes on until every replica has acknowledged UNTIL-VLSN, or its run has ended. Each runner works on a thread of its
 * own; its descriptor (nxf_runner_event_fd) is readable while acknowledgements wait to be polled, or the run has
 * ended. It joins the host's other descriptors in epoll, poll, libuv or whatever the host has.
 */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <inttypes.h>
#include <noxu_feeder.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/epoll.h>
#else
#include <poll.h>
#endif

#define REPLICAS_MAX 64

struct replica {
    char name[32];
    nxf_runner *runner; /* NULL: its run has ended */
    int fd;
};

/* --- the event loop: which descriptor has become readable --- */

#ifdef __linux__
static int loop_new(void)
{
    return epoll_create1(EPOLL_CLOEXEC);
}

static int loop_add(int loop, struct replica *replica)
{
    struct epoll_event event = {.events = EPOLLIN, .data = {.ptr = replica}};
    return epoll_ctl(loop, EPOLL_CTL_ADD, replica->fd, &event);
}

static int loop_remove(int loop, const struct replica *replica)
{
    return epoll_ctl(loop, EPOLL_CTL_DEL, replica->fd, NULL);
}

/* The next replica whose descriptor is readable; NULL: the wait failed. */
static struct replica *loop_wait(int loop, struct replica *replicas, size_t count)
{
    struct epoll_event event;
    int ready;
    (void)replicas;
    (void)count;
    do
        ready = epoll_wait(loop, &event, 1, -1);
    while (ready < 0 && errno == EINTR);
    return ready == 1 ? event.data.ptr : NULL;
}
#else
static int loop_new(void)
{
    return dup(STDERR_FILENO); /* poll needs no descriptor of its own: anything that can be closed */
}

static int loop_add(int loop, struct replica *replica)
{
    (void)loop;
    (void)replica;
    return 0;
}

static int loop_remove(int loop, const struct replica *replica)
{
    (void)loop;
    (void)replica;
    return 0;
}

static struct replica *loop_wait(int loop, struct replica *replicas, size_t count)
{
    struct pollfd fds[REPLICAS_MAX];
    int ready;
    (void)loop;
    for (size_t i = 0; i < count; i++)
        fds[i] = (struct pollfd){.fd = replicas[i].runner != NULL ? replicas[i].fd : -1, .events = POLLIN};
    do
        ready = poll(fds, (nfds_t)count, -1);
    while (ready < 0 && errno == EINTR);
    for (size_t i = 0; ready > 0 && i < count; i++)
        if (fds[i].revents != 0)
            return &replicas[i];
    return NULL;
}
#endif

/* --- the replicas --- */

/* Connects to a replica and starts to feed it. If a later step fails, releases the objects made before. */
static nxf_status start(struct replica *replica, nxf_log *log, uint16_t port, nxf_error **err)
{
    nxf_scanner *scanner = NULL;
    nxf_channel *channel = NULL;
    nxf_status status;

    snprintf(replica->name, sizeof replica->name, "replica-%u", (unsigned)port);
    if ((status = nxf_channel_tcp_connect("127.0.0.1", port, NULL, &channel, err)) != NXF_OK)
        return status;
    if ((status = nxf_runner_new(channel, replica->name, 1, NULL, &replica->runner, err)) != NXF_OK) {
        nxf_channel_free(channel);
        return status;
    }
    /* From here on the channel is the runner's. Freeing the runner on failure is the caller's. */
    if ((status = nxf_runner_event_fd(replica->runner, &replica->fd, err)) != NXF_OK ||
        (status = nxf_scanner_from_log(log, NXF_LSN_FIRST, &scanner, err)) != NXF_OK)
        return status;
    status = nxf_runner_start(replica->runner, scanner, err);
    if (status != NXF_OK)
        nxf_scanner_free(scanner);
    return status;
}

/*
 * Takes the acknowledgements that wait, without waiting itself. NXF_TIMEOUT: all were taken. NXF_CLOSED: all were
 * taken, and the run has ended. Others are errors.
 */
static nxf_status take_acks(struct replica *replica, uint64_t until, nxf_error **err)
{
    nxf_runner_stats_t stats = {.struct_size = sizeof stats};
    nxf_ack acks[64];
    size_t count;
    nxf_status status;

    while ((status = nxf_runner_poll_acks(replica->runner, acks, 64, 0, &count, err)) == NXF_OK) {
        /* Here a host would release the commits that waited for these. */
        if ((status = nxf_runner_stats(replica->runner, &stats, err)) != NXF_OK)
            return status;
        printf("%s: acknowledged up to VLSN %" PRIu64 ", %" PRIu64 " entries behind\n", replica->name,
               acks[count - 1].vlsn, stats.lag_entries);
        /* Enough: begin to stop, and do not wait for it. The descriptor tells when the run has ended. */
        if (nxf_runner_known_replica_vlsn(replica->runner) >= until)
            if ((status = nxf_runner_stop(replica->runner, 0, err)) != NXF_OK && status != NXF_TIMEOUT)
                return status;
    }
    return status;
}

/* Says how a run has ended, and releases it, which takes no waiting any more. True if it ended where it should. */
static int finish(struct replica *replica, uint64_t until)
{
    nxf_error *err = NULL;
    nxf_status result = nxf_runner_result(replica->runner, &err);
    int is_complete = nxf_runner_known_replica_vlsn(replica->runner) >= until;

    if (err != NULL)
        printf("%s\n", nxf_error_message(err)); /* names the replica */
    else
        printf("%s: %s, %s\n", replica->name, is_complete ? "done" : "not done",
               nxf_run_state_name(nxf_runner_state(replica->runner)));
    if (err != NULL && nxf_error_is_retriable(err))
        printf("%s: a new connection and a new runner may help\n", replica->name);
    if (err != NULL && nxf_error_needs_restore(err))
        printf("%s: needs a network restore\n", replica->name);
    nxf_error_free(err);
    nxf_runner_free(replica->runner);
    replica->runner = NULL;
    return result == NXF_OK && is_complete;
}

int main(int argc, char **argv)
{
    static struct replica replicas[REPLICAS_MAX];
    size_t count = argc > 3 ? (size_t)argc - 3 : 0, running = 0;
    nxf_log *log = NULL;
    nxf_error *err = NULL;
    int loop = -1, failed = 0;

    if (count == 0 || count > REPLICAS_MAX) {
        fprintf(stderr, "usage: %s DIRECTORY UNTIL-VLSN PORT...\n", argv[0]);
        return 2;
    }
    uint64_t until = strtoull(argv[2], NULL, 10);

    /* One log for all: its files are opened, watched and looked up once. */
    if (nxf_log_open(argv[1], NULL, &log, &err) != NXF_OK)
        failed = 1;
    else if ((loop = loop_new()) < 0)
        failed = 1, perror("event loop");
    for (size_t i = 0; !failed && i < count; i++) {
        if (start(&replicas[i], log, (uint16_t)atoi(argv[3 + i]), &err) != NXF_OK)
            failed = 1;
        else if (loop_add(loop, &replicas[i]) != 0)
            failed = 1, perror("event loop");
        else
            running++;
    }

    int all_complete = !failed;
    while (!failed && running > 0) {
        struct replica *replica = loop_wait(loop, replicas, count);
        nxf_status status = replica != NULL ? take_acks(replica, until, &err) : NXF_OK;
        if (replica == NULL || status < NXF_OK) {
            failed = 1;
            if (replica == NULL)
                perror("event loop");
        } else if (status == NXF_CLOSED) {
            if (loop_remove(loop, replica) != 0) /* before the runner, and with it the descriptor, goes */
                failed = 1, perror("event loop");
            all_complete = finish(replica, until) && all_complete;
            running--;
        }
    }

    if (err != NULL)
        fprintf(stderr, "%s\n", nxf_error_message(err));
    nxf_error_free(err);
    /* All runs that go on are ended at once, so that their last acknowledgements are waited for together. */
    nxf_runner *left[REPLICAS_MAX];
    for (size_t i = 0; i < count; i++)
        left[i] = replicas[i].runner;
    nxf_runner_stop_all(left, count, -1, NULL);
    for (size_t i = 0; i < count; i++)
        nxf_runner_free(left[i]);
    if (loop >= 0)
        close(loop);
    nxf_log_free(log);
    return failed || !all_complete;
}
