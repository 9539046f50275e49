/*
 * Writes a log as the database does, byte by byte: to be read while it grows.
 *
 * Every entry has the type and the payload that belong to its VLSN, so that whoever receives one can tell whether
 * it is right.
 */
#ifndef NXF_TEST_LOGMAKER_H
#define NXF_TEST_LOGMAKER_H

#include "support/check.h"

#ifdef __cplusplus
extern "C" {
#endif

struct logmaker;

/* A log in a new directory, without a file. It goes with its directory. */
struct logmaker *log_new(void);
void log_free(struct logmaker *);
const char *log_dir(const struct logmaker *);
/* The path of a file of it, until the next call. */
const char *log_path(struct logmaker *, uint32_t file);

/* Begins a file, of header version 2 or 3. What is added goes there. */
void log_begin(struct logmaker *, uint32_t file, int version);

/* Add an entry to the log, in one write. Return its LSN. */
uint64_t log_add(struct logmaker *, uint64_t vlsn);
uint64_t log_add_sized(struct logmaker *, uint64_t vlsn, size_t payload_len);
uint64_t log_add_invisible(struct logmaker *, uint64_t vlsn);
uint64_t log_add_untagged(struct logmaker *);
/* Adds the entries of these VLSNs. */
void log_add_range(struct logmaker *, uint64_t first, uint64_t last);

/* Adds an entry's first bytes, and later the others. */
uint64_t log_add_torn(struct logmaker *, uint64_t vlsn, size_t bytes);
void log_complete(struct logmaker *);

/* Adds zeros, as where a buffer was not written yet. */
void log_add_hole(struct logmaker *, size_t len);

/* Flips a bit of the byte so far behind the LSN. */
void log_damage(struct logmaker *, uint64_t lsn, uint32_t behind);
/* Cuts the file of the LSN there. */
void log_cut(struct logmaker *, uint64_t lsn);
void log_remove(struct logmaker *, uint32_t file);

/* What belongs to a VLSN. The length is that of log_add. */
uint8_t log_type(uint64_t vlsn);
size_t log_payload_len(uint64_t vlsn);
void log_fill_payload(uint64_t vlsn, uint8_t *payload, size_t len);
bool log_is_payload(uint64_t vlsn, const uint8_t *payload, size_t len);

/* Where an entry's payload begins, behind its LSN. */
#define LOG_PAYLOAD_AT 22
#define LOG_FIRST_AT_V2 32
#define LOG_FIRST_AT_V3 36

#ifdef __cplusplus
}
#endif

#endif
