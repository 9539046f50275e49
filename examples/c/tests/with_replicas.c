/*
 * Runs a program with a log that is being written, and with mock replicas that listen.
 *
 *     with_replicas [--close] [--framed] ENTRIES REPLICAS PROGRAM ARGUMENT...
 *
 * In the arguments {DIR}, {LAST}, {PORT1}, {PORT2} ... stand for the log's directory, the last VLSN and the replicas'
 * ports. A half of the log is there before the program starts, the other is written while it runs, in several files.
 * Succeeds when the program does, and every replica has received each entry once, in order, and nothing else.
 *   --close    the replicas close when they have the last entry
 *   --framed   the program uses the framing of custom_transport.c; that is taken off before the replica
 */
#define _POSIX_C_SOURCE 200809L
#include <noxu_feeder_test.h>

#include <spawn.h>
#include <sys/wait.h>

extern char **environ;

#define REPLICAS_MAX 8
#define PATIENCE_MS 60000
#define PAYLOAD_LEN 300

/* --- another framing, on the way to a replica --- */

struct relay {
    pthread_t thread;
    int listener, plain;
};

static int move(int from, int to, uint8_t *bytes, size_t len, int is_sending)
{
    while (len > 0) {
        ssize_t moved = is_sending ? send(to, bytes, len, 0) : recv(from, bytes, len, 0);
        if (moved <= 0)
            return -1;
        bytes += moved;
        len -= (size_t)moved;
    }
    return 0;
}

/* Takes a message off one side and gives it to the other in that side's framing. */
static int pass_on(int from, int to, int is_from_framed)
{
    static uint8_t bytes[1 << 20];
    uint8_t prefix[6], other[6];
    size_t prefix_len = is_from_framed ? 6 : 4;
    if (move(from, -1, prefix, prefix_len, 0) != 0)
        return -1;
    size_t len = is_from_framed
        ? (size_t)prefix[2] << 24 | (size_t)prefix[3] << 16 | (size_t)prefix[4] << 8 | (size_t)prefix[5]
        : (size_t)prefix[3] << 24 | (size_t)prefix[2] << 16 | (size_t)prefix[1] << 8 | (size_t)prefix[0];
    if ((is_from_framed && (prefix[0] != 'N' || prefix[1] != 'X')) || len > sizeof bytes) {
        fprintf(stderr, "the framing is not what it should be\n");
        exit(1);
    }
    size_t at = 0;
    if (!is_from_framed) {
        other[at++] = 'N';
        other[at++] = 'X';
    }
    for (int i = 0; i < 4; i++)
        other[at++] = (uint8_t)(len >> (is_from_framed ? 8 * i : 24 - 8 * i));
    return move(from, -1, bytes, len, 0) != 0 || move(-1, to, other, at, 1) != 0 || move(-1, to, bytes, len, 1) != 0
        ? -1
        : 0;
}

static void *run_relay(void *context)
{
    struct relay *relay = context;
    int framed = accept(relay->listener, NULL, NULL);
    struct pollfd both[2] = {{.fd = framed, .events = POLLIN}, {.fd = relay->plain, .events = POLLIN}};
    int goes_on = framed >= 0;
    while (goes_on && poll(both, 2, -1) >= 0) {
        if (both[0].revents != 0)
            goes_on = pass_on(framed, relay->plain, 1) == 0;
        if (goes_on && both[1].revents != 0)
            goes_on = pass_on(relay->plain, framed, 0) == 0;
    }
    close(framed);
    close(relay->plain);
    close(relay->listener);
    return NULL;
}

static uint16_t start_relay(struct relay *relay, nxft_replica *replica)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    NXFT_MUST(nxft_replica_pair(replica, &relay->plain));
    relay->listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(relay->listener, (struct sockaddr *)&address, len) != 0 || listen(relay->listener, 1) != 0 ||
        getsockname(relay->listener, (struct sockaddr *)&address, &len) != 0 ||
        fcntl(relay->listener, F_SETFD, FD_CLOEXEC) != 0 ||
        pthread_create(&relay->thread, NULL, run_relay, relay) != 0) {
        perror("no relay");
        exit(1);
    }
    return ntohs(address.sin_port);
}

/* --- the program --- */

/* The text with each {NAME} replaced. To be freed. */
static char *fill_in(const char *text, const char *const *names, const char *const *values)
{
    char *filled = calloc(1, strlen(text) + 4096);
    char *end = filled;
    while (filled != NULL && *text != '\0') {
        size_t i = 0;
        while (names[i] != NULL && strncmp(text, names[i], strlen(names[i])) != 0)
            i++;
        if (names[i] != NULL) {
            end += snprintf(end, 512, "%s", values[i]);
            text += strlen(names[i]);
        } else {
            *end++ = *text++;
        }
    }
    return filled;
}

int main(int argc, char **argv)
{
    nxft_log *log = NULL;
    nxft_replica *replicas[REPLICAS_MAX] = {NULL};
    struct relay relay = {.listener = -1};
    char numbers[2 + REPLICAS_MAX][24];
    const char *names[3 + REPLICAS_MAX] = {"{DIR}", "{LAST}", "{PORT1}", "{PORT2}", "{PORT3}", "{PORT4}",
                                           "{PORT5}", "{PORT6}", "{PORT7}", "{PORT8}", NULL};
    const char *values[3 + REPLICAS_MAX] = {NULL};
    int closes = 0, is_framed = 0, at = 1;

    for (; at < argc && strncmp(argv[at], "--", 2) == 0; at++) {
        closes |= strcmp(argv[at], "--close") == 0;
        is_framed |= strcmp(argv[at], "--framed") == 0;
    }
    if (argc - at < 3)
        return 2;
    uint64_t entries = strtoull(argv[at++], NULL, 10);
    size_t count = strtoull(argv[at++], NULL, 10);
    if (count < 1 || count > REPLICAS_MAX)
        return 2;

    NXFT_MUST(nxft_log_new(NULL, &log));
    values[0] = nxft_log_dir(log);
    snprintf(numbers[1], sizeof numbers[1], "%llu", (unsigned long long)entries);
    values[1] = numbers[1];
    for (size_t i = 0; i < count; i++) {
        uint16_t port;
        NXFT_MUST(nxft_replica_new(&replicas[i]));
        nxft_replica_first_vlsn(replicas[i], 1);
        nxft_replica_keep(replicas[i], NXFT_KEEP_FRAMES);
        if (is_framed)
            port = start_relay(&relay, replicas[i]);
        else
            NXFT_MUST(nxft_replica_listen(replicas[i], &port));
        snprintf(numbers[2 + i], sizeof numbers[2 + i], "%u", (unsigned)port);
        values[2 + i] = numbers[2 + i];
    }
    names[2 + count] = NULL;

    NXFT_MUST(nxft_log_append_many(log, entries / 2, PAYLOAD_LEN));
    char **arguments = calloc((size_t)(argc - at + 1), sizeof *arguments);
    for (int i = at; arguments != NULL && i < argc; i++)
        arguments[i - at] = fill_in(argv[i], names, values);
    pid_t program;
    int result = arguments == NULL ? ENOMEM : posix_spawnp(&program, argv[at], NULL, NULL, arguments, environ);
    if (result != 0) {
        fprintf(stderr, "cannot run %s: %s\n", argv[at], strerror(result));
        return 1;
    }
    for (int file = 0; file < 3; file++) {
        NXFT_MUST(nxft_log_next_file(log));
        NXFT_MUST(nxft_log_append_untagged(log, 50));
        NXFT_MUST(nxft_log_append_many(log, file < 2 ? entries / 8 : entries - nxft_log_last_vlsn(log), PAYLOAD_LEN));
    }

    /* If the program has failed already, the connection is closed or never made: look at it first. */
    int status = -1;
    if (closes) {
        for (size_t i = 0; i < count; i++) {
            NXFT_MUST(nxft_replica_wait_vlsn(replicas[i], entries, PATIENCE_MS));
            NXFT_MUST(nxft_replica_close(replicas[i]));
        }
    }
    if (waitpid(program, &status, 0) != program || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        fprintf(stderr, "%s ended with status %#x\n", argv[at], (unsigned)status);
        return 1;
    }
    for (size_t i = 0; i < count; i++) {
        NXFT_MUST(nxft_replica_wait_closed(replicas[i], PATIENCE_MS));
        if (nxft_replica_count(replicas[i]) != entries || nxft_replica_last_vlsn(replicas[i]) != entries) {
            fprintf(stderr, "replica %zu has received %llu frames, the last of VLSN %llu\n", i + 1,
                    (unsigned long long)nxft_replica_count(replicas[i]),
                    (unsigned long long)nxft_replica_last_vlsn(replicas[i]));
            return 1;
        }
        nxft_replica_free(replicas[i]);
    }
    if (is_framed)
        pthread_join(relay.thread, NULL);
    printf("%zu replicas, each with %llu entries\n", count, (unsigned long long)entries);
    for (int i = at; i < argc; i++)
        free(arguments[i - at]);
    free(arguments);
    nxft_log_free(log);
    return 0;
}
