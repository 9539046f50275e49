/*
 * Serves a log: replicas connect to it, and are fed, or fetch the files of the log. Prints a line for each event, and
 * ends at SIGINT or SIGTERM.
 *
 *     server DIRECTORY [PORT [HOST]]
 *
 * Without a port the system chooses one; without a host it listens on 127.0.0.1 only.
 */
#define _POSIX_C_SOURCE 200809L
#include <inttypes.h>
#include <noxu_feeder.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

/* Called on a thread of the server's. Here is where a host would count acknowledgements, or send for an operator. */
static void on_event(void *context, const nxf_event *event)
{
    (void)context;
    printf("%s: %s, vlsn %" PRIu64 ", count %" PRIu64 "%s%s\n", event->replica_name, nxf_event_kind_name(event->kind),
           event->vlsn, event->count, event->reason[0] != '\0' ? ": " : "", event->reason);
    if (event->kind == NXF_EVENT_ENDED)
        printf("%s: it was %s\n", event->replica_name, nxf_run_state_name(event->run_state));
}

/* Gives replicas the name of their machine. Without this each connection would be a replica of its own. */
static nxf_status on_identify(void *context, const nxf_peer *peer, char *name, size_t capacity)
{
    (void)context;
    return snprintf(name, capacity, "replica@%s", peer->host) < (int)capacity ? NXF_OK : NXF_CLOSED;
}

int main(int argc, char **argv)
{
    nxf_log *log = NULL;
    nxf_server *server = NULL;
    nxf_error *err = NULL;
    uint16_t port = 0;
    sigset_t ends;
    int signal_number;

    if (argc < 2 || argc > 4) {
        fprintf(stderr, "usage: %s DIRECTORY [PORT [HOST]]\n", argv[0]);
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    /* The library's threads take no signals, so it is this thread that waits for them. */
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &ends, NULL);

    if (nxf_log_open(argv[1], NULL, &log, &err) != NXF_OK || nxf_server_new(log, NULL, &server, &err) != NXF_OK ||
        nxf_server_set_identify_callback(server, on_identify, NULL, NULL, &err) != NXF_OK ||
        nxf_server_set_event_callback(server, on_event, NULL, NULL, &err) != NXF_OK ||
        nxf_server_listen(server, argc > 3 ? argv[3] : NULL, (uint16_t)(argc > 2 ? atoi(argv[2]) : 0), &port, &err) !=
            NXF_OK) {
        fprintf(stderr, "cannot serve: %s\n", nxf_error_message(err));
        nxf_error_free(err);
        nxf_server_free(server);
        nxf_log_free(log);
        return 1;
    }
    printf("port %u\n", (unsigned)port);

    sigwait(&ends, &signal_number);
    nxf_server_free(server); /* all replicas end at once, and what happens then is printed, too */
    nxf_log_free(log);
    return 0;
}
