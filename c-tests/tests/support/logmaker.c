#include "support/logmaker.h"

#include "support/bytes.h"
#include "support/crc32.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    FLAG_VLSN = 0x08,
    FLAG_INVISIBLE = 0x10,
    FLAG_REPLICATED = 0x20
};

struct logmaker {
    char dir[64];
    char path[128];
    /* The file that is written, and its descriptor; -1 before the first. */
    uint32_t file;
    int fd;
    uint32_t end;
    uint32_t last_entry;
    /* What a torn entry still lacks. */
    uint8_t *missing;
    size_t missing_len;
};

/* --- the directory --- */

struct logmaker *log_new(void)
{
    struct logmaker *log = (struct logmaker *)calloc(1, sizeof *log);
    strcpy(log->dir, "log-XXXXXX");
    log->fd = -1;
    if (mkdtemp(log->dir) == NULL)
        fail_with("no directory for a log");
    return log;
}

static void remove_files(const char *dir)
{
    DIR *listing = opendir(dir);
    struct dirent *found;
    char path[512];
    while (listing != NULL && (found = readdir(listing)) != NULL) {
        snprintf(path, sizeof path, "%s/%s", dir, found->d_name);
        if (found->d_name[0] != '.')
            unlink(path);
    }
    if (listing != NULL)
        closedir(listing);
}

void log_free(struct logmaker *log)
{
    if (log == NULL)
        return;
    if (log->fd >= 0)
        close(log->fd);
    remove_files(log->dir);
    rmdir(log->dir);
    free(log->missing);
    free(log);
}

const char *log_dir(const struct logmaker *log)
{
    return log->dir;
}

const char *log_path(struct logmaker *log, uint32_t file)
{
    snprintf(log->path, sizeof log->path, "%s/%08x.ndb", log->dir, (unsigned)file);
    return log->path;
}

/* --- what is in it --- */

uint8_t log_type(uint64_t vlsn)
{
    return (uint8_t)(10 + vlsn % 6); /* the inserts, updates and deletes */
}

size_t log_payload_len(uint64_t vlsn)
{
    return (size_t)(vlsn % 50);
}

static uint8_t payload_byte(uint64_t vlsn, size_t at)
{
    return (uint8_t)(vlsn * 31 + at * 7 + (at >> 8));
}

void log_fill_payload(uint64_t vlsn, uint8_t *payload, size_t len)
{
    for (size_t at = 0; at < len; at++)
        payload[at] = payload_byte(vlsn, at);
}

bool log_is_payload(uint64_t vlsn, const uint8_t *payload, size_t len)
{
    for (size_t at = 0; at < len; at++) {
        if (payload[at] != payload_byte(vlsn, at))
            return false;
    }
    return true;
}

/* --- writing --- */

static void append(struct logmaker *log, const uint8_t *bytes, size_t len)
{
    if (write(log->fd, bytes, len) != (ssize_t)len)
        fail_with("cannot write to %s", log_path(log, log->file));
    log->end += (uint32_t)len;
}

void log_begin(struct logmaker *log, uint32_t file, int version)
{
    uint8_t header[LOG_FIRST_AT_V3] = { 'N', 'O', 'X', 'U', 'D', 'B' };
    put_be(header + 8, (uint64_t)version, 4);
    put_be(header + 16, 1700000000000u, 8);
    put_be(header + 24, file, 4);
    put_be(header + 28, log->last_entry, 4);
    put_be(header + 32, crc32_of(header, 32), 4);

    if (log->fd >= 0)
        close(log->fd);
    log->fd = open(log_path(log, file), O_WRONLY | O_CREAT | O_EXCL | O_APPEND, 0666);
    log->file = file;
    log->end = 0;
    log->last_entry = 0;
    append(log, header, version == 3 ? LOG_FIRST_AT_V3 : LOG_FIRST_AT_V2);
}

/* The bytes of the entry that comes next. VLSN 0: an entry without one. */
static uint8_t *entry_new(const struct logmaker *log, uint64_t vlsn, uint8_t flags, size_t payload_len, size_t *len)
{
    const size_t header_len = vlsn > 0 ? LOG_PAYLOAD_AT : LOG_PAYLOAD_AT - 8;
    uint8_t *entry = (uint8_t *)malloc(header_len + payload_len);
    *len = header_len + payload_len;
    entry[4] = vlsn > 0 ? log_type(vlsn) : 2;
    entry[5] = (uint8_t)(flags & ~FLAG_INVISIBLE);
    put_le(entry + 6, log->last_entry, 4);
    put_le(entry + 10, payload_len, 4);
    if (vlsn > 0)
        put_le(entry + 14, vlsn, 8);
    log_fill_payload(vlsn, entry + header_len, payload_len);
    put_le(entry, crc32_of(entry + 4, *len - 4), 4);
    entry[5] = flags; /* the checksum is that of a visible entry */
    return entry;
}

static uint64_t add(struct logmaker *log, uint64_t vlsn, uint8_t flags, size_t payload_len, size_t torn_at)
{
    const uint32_t begin = log->end;
    size_t len;
    uint8_t *entry = entry_new(log, vlsn, flags, payload_len, &len);
    const size_t now = torn_at < len ? torn_at : len;
    append(log, entry, now);
    log->last_entry = begin;
    log->missing_len = len - now;
    memmove(entry, entry + now, len - now);
    free(log->missing);
    log->missing = entry;
    return ((uint64_t)log->file << 32) | begin;
}

uint64_t log_add(struct logmaker *log, uint64_t vlsn)
{
    return log_add_sized(log, vlsn, log_payload_len(vlsn));
}

uint64_t log_add_sized(struct logmaker *log, uint64_t vlsn, size_t payload_len)
{
    return add(log, vlsn, FLAG_REPLICATED | FLAG_VLSN, payload_len, SIZE_MAX);
}

uint64_t log_add_invisible(struct logmaker *log, uint64_t vlsn)
{
    return add(log, vlsn, FLAG_REPLICATED | FLAG_VLSN | FLAG_INVISIBLE, log_payload_len(vlsn), SIZE_MAX);
}

uint64_t log_add_untagged(struct logmaker *log)
{
    return add(log, 0, 0, 100, SIZE_MAX);
}

void log_add_range(struct logmaker *log, uint64_t first, uint64_t last)
{
    for (uint64_t vlsn = first; vlsn <= last; vlsn++)
        log_add(log, vlsn);
}

uint64_t log_add_torn(struct logmaker *log, uint64_t vlsn, size_t bytes)
{
    return add(log, vlsn, FLAG_REPLICATED | FLAG_VLSN, log_payload_len(vlsn), bytes);
}

void log_complete(struct logmaker *log)
{
    append(log, log->missing, log->missing_len);
    log->missing_len = 0;
}

/* --- what goes wrong --- */

void log_add_hole(struct logmaker *log, size_t len)
{
    uint8_t *zeros = (uint8_t *)calloc(1, len);
    append(log, zeros, len);
    free(zeros);
}

void log_damage(struct logmaker *log, uint64_t lsn, uint32_t behind)
{
    const off_t at = (off_t)((uint32_t)lsn + behind);
    const int fd = open(log_path(log, (uint32_t)(lsn >> 32)), O_RDWR);
    uint8_t byte = 0;
    bool done = pread(fd, &byte, 1, at) == 1;
    byte ^= 0x40;
    done = done && pwrite(fd, &byte, 1, at) == 1;
    close(fd);
    if (!done)
        fail_with("cannot damage %s", log->path);
}

void log_cut(struct logmaker *log, uint64_t lsn)
{
    if (truncate(log_path(log, (uint32_t)(lsn >> 32)), (off_t)(uint32_t)lsn) != 0)
        fail_with("cannot cut %s", log->path);
}

void log_remove(struct logmaker *log, uint32_t file)
{
    if (unlink(log_path(log, file)) != 0)
        fail_with("cannot remove %s", log->path);
}
