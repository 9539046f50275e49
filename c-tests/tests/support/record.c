#include "support/record.h"

#include "support/event.h"

struct record {
    struct event event;
    char *text;
    size_t len;
};

/* A line that is waited for. */
struct wanted {
    const struct record *record;
    const char *line;
};

struct record *record_new(void)
{
    struct record *record = (struct record *)calloc(1, sizeof *record);
    event_init(&record->event);
    record->text = (char *)calloc(1, 1);
    return record;
}

void record_free(struct record *record)
{
    if (record == NULL)
        return;
    event_destroy(&record->event);
    free(record->text);
    free(record);
}

void record_add(struct record *record, const char *format, ...)
{
    char line[1000];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);

    event_lock(&record->event);
    const size_t len = strlen(line);
    record->text = (char *)realloc(record->text, record->len + len + 2);
    memcpy(record->text + record->len, line, len);
    memcpy(record->text + record->len + len, "\n", 2);
    record->len += len + 1;
    event_unlock(&record->event);
}

static bool is_recorded(void *context)
{
    const struct wanted *wanted = (const struct wanted *)context;
    const size_t len = strlen(wanted->line);
    const char *at = wanted->record->text;
    for (; *at != '\0'; at = strchr(at, '\n') + 1) {
        if (strncmp(at, wanted->line, len) == 0 && at[len] == '\n')
            return true;
    }
    return false;
}

void record_wait_at(struct record *record, const char *line, const char *file, int at)
{
    struct wanted wanted = { record, line };
    event_lock(&record->event);
    const bool came = event_wait(&record->event, is_recorded, &wanted);
    event_unlock(&record->event);
    if (!came) {
        print_error("\"%s\" did not happen, but this:\n%s", line, record->text);
        _fail(file, at);
    }
}

void check_record(struct record *record, const char *lines, const char *file, int at)
{
    event_lock(&record->event);
    const bool same = strcmp(record->text, lines) == 0;
    if (!same)
        print_error("It happened:\n%sinstead of:\n%s", record->text, lines);
    event_unlock(&record->event);
    if (!same)
        _fail(file, at);
}

void record_ack(void *record, const char *replica_name, uint64_t vlsn)
{
    record_add((struct record *)record, "%s acked %llu", replica_name, (unsigned long long)vlsn);
}

void record_end(void *record, const char *replica_name, nxf_status how, const nxf_error *why)
{
    const bool described = nxf_error_status(why) == how;
    record_add((struct record *)record, "%s ended %s%s", replica_name, nxf_status_name(how),
               described ? "" : " with another error");
}

void record_drop_ack(void *record)
{
    record_add((struct record *)record, "ack context dropped");
}

void record_drop_end(void *record)
{
    record_add((struct record *)record, "end context dropped");
}
