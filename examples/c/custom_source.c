/*
 * Feeds a replica from a source of the host's own, without a log: here an array in memory, which grows while it is
 * fed. Every line of the standard input becomes an entry.
 *
 *     seq 1 1000 | custom_source PORT                     the replica listens on 127.0.0.1
 *
 * Ends when the replica has acknowledged the last line.
 */
#define _POSIX_C_SOURCE 200809L
#include <noxu_feeder.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INSERT 10 /* a type of entry that replicas know */

struct lines {
    pthread_mutex_t lock;
    char **at; /* the line of VLSN v is at[v - 1]; what is in there never changes */
    size_t count, room;
};

/* --- the vtable's function, called on the runner's thread --- */

/* The first entry whose VLSN is at least from_vlsn; 0 asks for the lowest there is. Must not wait for one. */
static nxf_status lines_next(void *context, uint64_t from_vlsn, nxf_entry *entry)
{
    struct lines *lines = context;
    uint64_t vlsn = from_vlsn > 0 ? from_vlsn : 1;
    const char *line = NULL;

    pthread_mutex_lock(&lines->lock);
    if (vlsn <= lines->count)
        line = lines->at[vlsn - 1];
    pthread_mutex_unlock(&lines->lock);
    if (line == NULL)
        return NXF_AGAIN; /* nxf_runner_notify will say when there is more */

    /* The array may move when it grows, the line does not: the payload stays valid. */
    *entry = (nxf_entry){
        .vlsn = vlsn, .entry_type = INSERT, .payload = (const uint8_t *)line, .payload_len = strlen(line)};
    return NXF_OK;
}

/* --- the host --- */

/* Returns how many there are now, which is the new line's VLSN; 0: no memory. */
static uint64_t lines_add(struct lines *lines, const char *text)
{
    char *line = strdup(text);
    uint64_t vlsn = 0;

    pthread_mutex_lock(&lines->lock);
    if (lines->count == lines->room) {
        size_t room = lines->room * 2 + 64;
        char **at = realloc(lines->at, room * sizeof *at);
        if (at != NULL) {
            lines->at = at;
            lines->room = room;
        }
    }
    if (line != NULL && lines->count < lines->room) {
        lines->at[lines->count++] = line;
        vlsn = lines->count;
    }
    pthread_mutex_unlock(&lines->lock);
    if (vlsn == 0)
        free(line);
    return vlsn;
}

static void lines_release(struct lines *lines)
{
    for (size_t i = 0; i < lines->count; i++)
        free(lines->at[i]);
    free(lines->at);
}

int main(int argc, char **argv)
{
    static const nxf_source_vtable vtable = {.struct_size = sizeof vtable, .next = lines_next};
    struct lines lines = {.lock = PTHREAD_MUTEX_INITIALIZER};
    nxf_scanner *scanner = NULL;
    nxf_channel *channel = NULL;
    nxf_runner *runner = NULL;
    nxf_error *err = NULL;
    nxf_status status;
    char text[4096];
    uint64_t last = 0;

    if (argc != 2) {
        fprintf(stderr, "usage: %s PORT\n", argv[0]);
        return 2;
    }

    if ((status = nxf_scanner_from_callbacks(&vtable, &lines, NULL, &scanner, &err)) == NXF_OK &&
        (status = nxf_channel_tcp_connect("127.0.0.1", (uint16_t)atoi(argv[1]), NULL, &channel, &err)) == NXF_OK &&
        (status = nxf_runner_new(channel, "replica-1", 1, NULL, &runner, &err)) == NXF_OK) {
        channel = NULL; /* the runner's now */
        if ((status = nxf_runner_start(runner, scanner, &err)) == NXF_OK)
            scanner = NULL; /* so is this */
    }
    while (status == NXF_OK && fgets(text, sizeof text, stdin) != NULL) {
        text[strcspn(text, "\n")] = '\0';
        uint64_t vlsn = lines_add(&lines, text);
        if (vlsn == 0) {
            fprintf(stderr, "no memory for line %llu\n", (unsigned long long)last + 1);
            break;
        }
        last = vlsn;
        status = nxf_runner_notify(runner); /* cheap: once for every line is fine */
    }
    if (status == NXF_OK && last > 0)
        status = nxf_runner_wait_acked(runner, last, -1, &err);

    printf("%s: %llu lines, acknowledged up to %llu\n", err != NULL ? nxf_error_message(err) : nxf_status_name(status),
           (unsigned long long)last, (unsigned long long)nxf_runner_known_replica_vlsn(runner));
    nxf_error_free(err);
    nxf_channel_free(channel);
    nxf_scanner_free(scanner);
    nxf_runner_free(runner); /* ends the run: lines_next is not called any more */
    lines_release(&lines);
    return status != NXF_OK || ferror(stdin) || !feof(stdin);
}
