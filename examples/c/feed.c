/*
 * Feeds one replica: reads the log in a directory, streams it to a replica that listens, and shows how far the
 * replica has acknowledged.
 *
 *     feed DIRECTORY HOST PORT [UNTIL-VLSN]
 *
 * Goes on until the replica closes the connection, or has acknowledged UNTIL-VLSN. The ten lines that matter are in
 * main(); the rest is the line of progress.
 */
#define _POSIX_C_SOURCE 200809L
#include <inttypes.h>
#include <noxu_feeder.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* Called on the runner's thread for every acknowledgement. Here is where a host would release its commits. */
static void on_ack(void *context, const char *replica_name, uint64_t vlsn)
{
    uint64_t *calls = context;
    (void)replica_name;
    (void)vlsn;
    *calls += 1;
}

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* One line that is written over on a terminal, and a line a second elsewhere. */
static void show_progress(const nxf_log *log, const nxf_runner *runner, double since, int is_terminal)
{
    nxf_runner_stats_t stats = {.struct_size = sizeof stats};
    double seconds = seconds_now() - since;
    uint64_t first, last;
    /* A run does not read far ahead of a slow replica. Once somebody has looked, its lag counts up to the log's end. */
    (void)nxf_log_vlsn_range(log, &first, &last, NULL);
    if (nxf_runner_stats(runner, &stats, NULL) != NXF_OK)
        return;
    printf("%s%" PRIu64 " entries sent, %.1f MB/s, acknowledged up to %" PRIu64 ", lag %" PRIu64 " (%.1f MB)%s%s%s",
           is_terminal ? "\r" : "", stats.frames_sent, (double)stats.bytes_sent / 1e6 / (seconds > 0 ? seconds : 1),
           stats.acked_vlsn, stats.lag_entries, (double)stats.lag_bytes / 1e6, stats.is_stalled ? ", STALLED: " : "",
           stats.is_stalled ? nxf_log_state_name(stats.log_state) : "", is_terminal ? "\x1b[K" : "\n");
    fflush(stdout);
}

int main(int argc, char **argv)
{
    nxf_log *log = NULL;
    nxf_scanner *scanner = NULL;
    nxf_channel *channel = NULL;
    nxf_runner *runner = NULL;
    nxf_error *err = NULL;
    uint64_t acks = 0;
    int is_terminal = isatty(STDOUT_FILENO);
    double begin = seconds_now();
    nxf_status status;

    if (argc < 4 || argc > 5) {
        fprintf(stderr, "usage: %s DIRECTORY HOST PORT [UNTIL-VLSN]\n", argv[0]);
        return 2;
    }
    uint64_t until = argc > 4 ? strtoull(argv[4], NULL, 10) : UINT64_MAX;

    if (nxf_log_open(argv[1], NULL, &log, &err) != NXF_OK ||
        nxf_scanner_from_log(log, NXF_LSN_FIRST, &scanner, &err) != NXF_OK ||
        nxf_channel_tcp_connect(argv[2], (uint16_t)atoi(argv[3]), NULL, &channel, &err) != NXF_OK ||
        nxf_runner_new(channel, "replica-1", 1, NULL, &runner, &err) != NXF_OK ||
        nxf_runner_set_ack_callback(runner, on_ack, &acks, NULL, &err) != NXF_OK ||
        nxf_runner_start(runner, scanner, &err) != NXF_OK) {
        fprintf(stderr, "cannot start: %s\n", nxf_error_message(err));
        return 1;
    }

    do {
        status = nxf_runner_wait_acked(runner, until, is_terminal ? 100 : 1000, &err);
        show_progress(log, runner, begin, is_terminal);
    } while (status == NXF_TIMEOUT);

    if (status == NXF_OK)
        status = nxf_runner_stop(runner, -1, &err);
    printf("%s%s after %.1f s: %" PRIu64 " acknowledgements, the last for VLSN %" PRIu64 "\n", is_terminal ? "\n" : "",
           status == NXF_OK ? "done" : nxf_run_state_name(nxf_runner_state(runner)), seconds_now() - begin, acks,
           nxf_runner_known_replica_vlsn(runner));
    if (err != NULL)
        fprintf(stderr, "%s\n", nxf_error_message(err));

    nxf_error_free(err);
    nxf_runner_free(runner);
    nxf_log_free(log);
    return status == NXF_OK || (status == NXF_CLOSED && until == UINT64_MAX) ? 0 : 1;
}
