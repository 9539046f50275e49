/* Sources of the host's own: entries that its functions supply. */
#include "support/feed.h"

#include <pthread.h>

/* VLSNs that a host has, supplied one by one; every payload is memory of its own, and gone when it is released. */
struct source {
    uint64_t vlsns[10];
    size_t count;
    nxf_status at_end; /* what next returns when all are supplied */
    size_t next;
    int lent;
    uint64_t asked_from;
    struct record *record;
    pthread_mutex_t mutex; /* of count, which may rise while others read */
};

static nxf_status next_entry(void *context, uint64_t from_vlsn, nxf_entry *entry)
{
    struct source *source = (struct source *)context;
    nxf_status status = source->at_end;
    pthread_mutex_lock(&source->mutex);
    source->asked_from = from_vlsn;
    if (source->next < source->count) {
        const uint64_t vlsn = source->vlsns[source->next++];
        uint8_t *payload = (uint8_t *)malloc(log_payload_len(vlsn) + 1);
        log_fill_payload(vlsn, payload, log_payload_len(vlsn));
        entry->vlsn = vlsn;
        entry->lsn = 1000 + vlsn;
        entry->entry_type = log_type(vlsn);
        entry->payload = payload;
        entry->payload_len = log_payload_len(vlsn);
        source->lent++;
        status = NXF_OK;
    }
    pthread_mutex_unlock(&source->mutex);
    return status;
}

static void release_entry(void *context, const nxf_entry *entry)
{
    struct source *source = (struct source *)context;
    memset((uint8_t *)(uintptr_t)entry->payload, 0xdd, entry->payload_len); /* to be seen if it is still used */
    free((void *)(uintptr_t)entry->payload);
    source->lent--;
}

static void drop_source(void *context)
{
    struct source *source = (struct source *)context;
    record_add(source->record, "dropped with %d lent", source->lent);
}

static nxf_source_vtable vtable_of_all(void)
{
    nxf_source_vtable vtable;
    vtable.struct_size = sizeof vtable;
    vtable.next = next_entry;
    vtable.release = release_entry;
    vtable.drop = drop_source;
    return vtable;
}

static void add(struct source *source, uint64_t vlsn)
{
    pthread_mutex_lock(&source->mutex);
    source->vlsns[source->count++] = vlsn;
    pthread_mutex_unlock(&source->mutex);
}

/* A source without entries, and the feed's scanner over it. */
static void open_source(struct feed *feed, struct source *source)
{
    const nxf_source_vtable vtable = vtable_of_all();
    memset(source, 0, sizeof *source);
    source->at_end = NXF_AGAIN;
    source->record = feed->record;
    pthread_mutex_init(&source->mutex, NULL);
    assert_ok(nxf_scanner_from_callbacks, &vtable, source, feed->options, &feed->scanner);
}

static void close_source(struct feed *feed)
{
    nxf_scanner_free(feed->scanner);
    feed->scanner = NULL;
}

static void assert_next(struct feed *feed, uint64_t from_vlsn, uint64_t vlsn)
{
    nxf_entry entry;
    assert_ok(nxf_scanner_next, feed->scanner, from_vlsn, &entry);
    assert_int_equal(entry.vlsn, vlsn);
    assert_int_equal(entry.lsn, 1000 + vlsn);
    assert_int_equal(entry.entry_type, log_type(vlsn));
    assert_int_equal(entry.payload_len, log_payload_len(vlsn));
    assert_true(log_is_payload(vlsn, entry.payload, entry.payload_len));
}

static void assert_next_fails(struct feed *feed, uint64_t from_vlsn, nxf_status status, const char *word)
{
    nxf_entry entry;
    assert_refused(status, word, nxf_scanner_next, feed->scanner, from_vlsn, &entry);
    assert_refused(status, word, nxf_scanner_next, feed->scanner, from_vlsn, &entry); /* it stays */
}

/* Static, because a failing test leaves them to the teardown. */
static struct source source;

static void what_a_host_supplies_is_returned(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_entry entry;
    open_source(feed, &source);
    assert_status(NXF_AGAIN, nxf_scanner_next, feed->scanner, 5, &entry);
    add(&source, 5);
    add(&source, 6);
    assert_next(feed, 5, 5);
    assert_next(feed, 5, 6);
    assert_int_equal(source.asked_from, 6);
    assert_status(NXF_AGAIN, nxf_scanner_next, feed->scanner, 7, &entry);
    assert_int_equal(source.lent, 0);
}

static void every_entry_is_released_once_and_the_context_dropped_last(void **state)
{
    struct feed *feed = feed_of(state);
    open_source(feed, &source);
    add(&source, 1);
    add(&source, 2);
    assert_next(feed, 1, 1);
    assert_int_equal(source.lent, 1);
    assert_next(feed, 1, 2);
    assert_int_equal(source.lent, 1);
    close_source(feed);
    assert_record(feed->record, "dropped with 0 lent\n");
}

static void a_vlsn_left_out_is_a_gap(void **state)
{
    struct feed *feed = feed_of(state);
    open_source(feed, &source);
    add(&source, 1);
    add(&source, 3);
    assert_next(feed, 1, 1);
    assert_next_fails(feed, 1, NXF_E_LOG_GAP, "VLSN 2");
}

static void vlsns_may_only_rise_if_an_option_says_so(void **state)
{
    struct feed *feed = feed_of(state);
    feed_set(feed, "source.order", "rising");
    open_source(feed, &source);
    add(&source, 10);
    add(&source, 300);
    add(&source, 300);
    assert_next(feed, 1, 10);
    assert_next(feed, 1, 300);
    assert_next_fails(feed, 1, NXF_E_CALLBACK, "300");
}

static void a_vlsn_below_what_was_asked_for_is_an_error_of_the_host(void **state)
{
    struct feed *feed = feed_of(state);
    open_source(feed, &source);
    add(&source, 9);
    assert_next_fails(feed, 10, NXF_E_CALLBACK, "9");
}

static void a_status_that_next_must_not_return_is_an_error_of_the_host(void **state)
{
    struct feed *feed = feed_of(state);
    open_source(feed, &source);
    add(&source, 1);
    source.at_end = NXF_E_LOG_IO;
    assert_next(feed, 1, 1);
    assert_next_fails(feed, 1, NXF_E_CALLBACK, "next");
}

static void a_runner_feeds_from_it_and_is_told_of_more(void **state)
{
    struct feed *feed = feed_of(state);
    open_source(feed, &source);
    feed_connect(feed, REPLICA_ACKS);
    feed_make_runner(feed, 1);
    assert_ok(nxf_runner_start, feed->runner, feed->scanner);
    feed->scanner = NULL;
    for (uint64_t vlsn = 1; vlsn <= 10; vlsn++) {
        add(&source, vlsn);
        assert_int_equal(nxf_runner_notify(feed->runner), NXF_OK);
        feed_wait_acked(feed, vlsn);
    }
    assert_frames(feed->replica, 1, 10);
    feed_free_runner(feed);
    assert_record(feed->record, "dropped with 0 lent\n");
}

static void a_run_sends_what_was_supplied_before_the_error(void **state)
{
    struct feed *feed = feed_of(state);
    open_source(feed, &source);
    source.at_end = NXF_E_OS;
    for (uint64_t vlsn = 1; vlsn <= 9; vlsn++)
        add(&source, vlsn);
    feed_connect(feed, REPLICA_ACKS);
    feed_make_runner(feed, 1);
    assert_ok(nxf_runner_start, feed->runner, feed->scanner);
    feed->scanner = NULL;
    assert_int_equal(feed_wait_ended(feed, NULL), NXF_E_CALLBACK);
    assert_frames(feed->replica, 1, 9);
}

static void functions_may_be_missing_but_for_next(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_source_vtable vtable = vtable_of_all();
    nxf_scanner *scanner = NULL;
    memset(&source, 0, sizeof source);
    source.record = feed->record;
    vtable.next = NULL;
    assert_refused(NXF_E_INVALID_ARGUMENT, "next", nxf_scanner_from_callbacks, &vtable, &source, NULL, &scanner);
    vtable.struct_size = 0;
    assert_refused(NXF_E_INVALID_ARGUMENT, "struct_size", nxf_scanner_from_callbacks, &vtable, &source, NULL, &scanner);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`vtable`", nxf_scanner_from_callbacks, NULL, &source, NULL, &scanner);
    vtable = vtable_of_all();
    assert_refused(NXF_E_INVALID_ARGUMENT, "`scanner`", nxf_scanner_from_callbacks, &vtable, &source, NULL, NULL);
    assert_record(feed->record, ""); /* the context stayed the caller's */
    vtable.release = NULL;
    vtable.drop = NULL;
    assert_ok(nxf_scanner_from_callbacks, &vtable, &source, NULL, &scanner);
    nxf_scanner_free(scanner);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        feed_test(what_a_host_supplies_is_returned),
        feed_test(every_entry_is_released_once_and_the_context_dropped_last),
        feed_test(a_vlsn_left_out_is_a_gap),
        feed_test(vlsns_may_only_rise_if_an_option_says_so),
        feed_test(a_vlsn_below_what_was_asked_for_is_an_error_of_the_host),
        feed_test(a_status_that_next_must_not_return_is_an_error_of_the_host),
        feed_test(a_runner_feeds_from_it_and_is_told_of_more),
        feed_test(a_run_sends_what_was_supplied_before_the_error),
        feed_test(functions_may_be_missing_but_for_next),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
