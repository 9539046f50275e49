/*
 * What happened, in order, a line each: callbacks write it, on whatever thread they run, and tests compare it.
 */
#ifndef NXF_TEST_RECORD_H
#define NXF_TEST_RECORD_H

#include "support/check.h"

#ifdef __cplusplus
extern "C" {
#endif

struct record;

struct record *record_new(void);
void record_free(struct record *);

/* Adds a line. Any thread. */
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
void record_add(struct record *, const char *format, ...);

/* Waits until the line is there. */
#define record_wait(record, line) record_wait_at(record, line, __FILE__, __LINE__)
void record_wait_at(struct record *, const char *line, const char *file, int at);

/* All lines so far are these, each ended by \n. */
#define assert_record(record, lines) check_record(record, lines, __FILE__, __LINE__)
void check_record(struct record *, const char *lines, const char *file, int at);

/* Callbacks whose context is a record. "r1 acked 42", "r1 ended NXF_OK", "ack context dropped". */
void record_ack(void *record, const char *replica_name, uint64_t vlsn);
void record_end(void *record, const char *replica_name, nxf_status how, const nxf_error *why);
void record_drop_ack(void *record);
void record_drop_end(void *record);

#ifdef __cplusplus
}
#endif

#endif
