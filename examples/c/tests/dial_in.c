/*
 * Runs a server with a log that is made for it, and dials in as a replica: asks to be fed, takes all entries and
 * acknowledges them, also those that are appended meanwhile. Then it ends the server by SIGINT.
 *
 *     dial_in [--dies] ENTRIES COMMAND...
 *
 * {DIR} in an argument of the command stands for the log. The command prints "port N". It has to end with status 0;
 * with --dies, by the signal.
 */
#define _POSIX_C_SOURCE 200809L
#include <noxu_feeder_test.h>

#include <signal.h>
#include <sys/wait.h>

static void fail(const char *what)
{
    fprintf(stderr, "%s\n", what);
    exit(1);
}

static void receive(int fd, char *into, size_t len)
{
    if (recv(fd, into, len, MSG_WAITALL) != (ssize_t)len)
        fail("the server closed the connection");
}

/* Connects, and asks to be fed from the beginning. */
static int dial(uint16_t port)
{
    static const char request[4 + 11 + 4 + 8] = "\13\0\0\0PEER_FEEDER\10\0\0"; /* and zeros */
    struct sockaddr_in address;
    char answer[5];
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
        fail("nobody listens");
    if (send(fd, request, sizeof request, MSG_NOSIGNAL) != (ssize_t)sizeof request)
        fail("the server takes no request");
    receive(fd, answer, sizeof answer);
    if (memcmp(answer, "\1\0\0\0", 5) != 0)
        fail("the server will not feed");
    return fd;
}

int main(int argc, char **argv)
{
    int dies = argc > 1 && strcmp(argv[1], "--dies") == 0, at = 1 + dies, pipes[2], status = 0;
    nxft_log *log = NULL;
    nxft_replica *replica = NULL;
    unsigned port = 0;
    char line[200];

    if (argc < at + 2)
        fail("usage: dial_in [--dies] ENTRIES COMMAND...");
    uint64_t entries = strtoull(argv[at], NULL, 10);
    NXFT_MUST(nxft_log_new(NULL, &log));
    NXFT_MUST(nxft_log_append_many(log, entries, 100));
    char **command = argv + at + 1;
    for (char **argument = command; *argument != NULL; argument++) {
        if (strcmp(*argument, "{DIR}") == 0)
            *argument = (char *)nxft_log_dir(log);
    }

    if (pipe(pipes) != 0)
        fail("no pipe");
    pid_t server = fork();
    if (server == 0) {
        dup2(pipes[1], STDOUT_FILENO);
        close(pipes[0]);
        close(pipes[1]);
        execv(command[0], command);
        _exit(127);
    }
    close(pipes[1]);
    FILE *printed = fdopen(pipes[0], "r");
    if (fgets(line, sizeof line, printed) == NULL || sscanf(line, "port %u", &port) != 1)
        fail("the server does not say its port");

    NXFT_MUST(nxft_replica_new(&replica));
    NXFT_MUST(nxft_replica_attach(replica, dial((uint16_t)port)));
    NXFT_MUST(nxft_replica_wait_vlsn(replica, entries, 60000));
    NXFT_MUST(nxft_log_append_many(log, 1, 100));
    NXFT_MUST(nxft_replica_wait_vlsn(replica, entries + 1, 60000));
    kill(server, SIGINT);
    while (fgets(line, sizeof line, printed) != NULL)
        fputs(line, stdout);
    if (waitpid(server, &status, 0) != server)
        fail("the server is gone");
    if (dies ? !WIFSIGNALED(status) || WTERMSIG(status) != SIGINT : !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail("the server did not end as it should");
    fclose(printed);
    nxft_replica_free(replica);
    nxft_log_free(log);
    return 0;
}
