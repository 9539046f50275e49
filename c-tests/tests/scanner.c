/* Scanners: the entries of a log, each once, in order, none left out. */
#include "support/feed.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* The next entry is this one, whole. */
static nxf_entry assert_next(struct feed *feed, uint64_t from_vlsn, uint64_t vlsn)
{
    nxf_entry entry;
    assert_ok(nxf_scanner_next, feed->scanner, from_vlsn, &entry);
    assert_int_equal(entry.vlsn, vlsn);
    assert_int_equal(entry.entry_type, log_type(vlsn));
    assert_int_equal(entry.payload_len, log_payload_len(vlsn));
    assert_true(log_is_payload(vlsn, entry.payload, entry.payload_len));
    return entry;
}

static void assert_range(struct feed *feed, uint64_t first, uint64_t last)
{
    for (uint64_t vlsn = first; vlsn <= last; vlsn++)
        assert_next(feed, first, vlsn);
}

static void assert_nothing_yet_from(struct feed *feed, uint64_t from_vlsn)
{
    nxf_entry entry;
    assert_status(NXF_AGAIN, nxf_scanner_next, feed->scanner, from_vlsn, &entry);
}

static void assert_nothing_yet(struct feed *feed)
{
    assert_nothing_yet_from(feed, 1);
}

static bool has_failed(void *context)
{
    struct feed *feed = (struct feed *)context;
    nxf_entry entry;
    return nxf_scanner_next(feed->scanner, 1, &entry, NULL) != NXF_AGAIN;
}

/* Waits, while the log stands still, for the error that the scanner comes to. */
static nxf_error *wait_for_error(struct feed *feed, nxf_status status)
{
    nxf_error *err = NULL;
    nxf_entry entry;
    assert_soon(has_failed, feed);
    assert_int_equal(nxf_scanner_next(feed->scanner, 1, &entry, &err), status);
    assert_int_equal(nxf_error_status(err), status);
    return err;
}

static void assert_place(const nxf_error *err, uint64_t lsn)
{
    uint32_t file = UINT32_MAX;
    uint64_t offset = UINT64_MAX;
    assert_true(nxf_error_file(err, &file));
    assert_true(nxf_error_offset(err, &offset));
    assert_int_equal(((uint64_t)file << 32) | offset, lsn);
}

static void assert_vlsn(const nxf_error *err, uint64_t expected)
{
    uint64_t vlsn = 0;
    assert_true(nxf_error_vlsn(err, &vlsn));
    assert_int_equal(vlsn, expected);
}

/* --- what is there --- */

static void entries_come_in_order_over_files_of_both_versions(void **state)
{
    struct feed *feed = feed_of(state);
    log_add_range(feed->log, 1, 100);
    log_begin(feed->log, 1, 2);
    log_add_range(feed->log, 101, 200);
    log_begin(feed->log, 0x2a, 3);
    log_add_range(feed->log, 201, 300);
    feed_scan(feed);
    assert_range(feed, 1, 300);
    assert_nothing_yet(feed);
}

static void an_entry_says_where_it_stands(void **state)
{
    struct feed *feed = feed_of(state);
    const uint64_t first = log_add(feed->log, 1);
    const uint64_t second = log_add(feed->log, 2);
    log_begin(feed->log, 3, 2);
    const uint64_t third = log_add(feed->log, 3);
    feed_scan(feed);
    assert_int_equal(assert_next(feed, 1, 1).lsn, first);
    assert_int_equal(assert_next(feed, 1, 2).lsn, second);
    assert_int_equal(assert_next(feed, 1, 3).lsn, third);
    assert_int_equal(first, LOG_FIRST_AT_V3);
    assert_int_equal(third, ((uint64_t)3 << 32) | LOG_FIRST_AT_V2);
}

static void what_is_not_replicated_or_rolled_back_does_not_come(void **state)
{
    struct feed *feed = feed_of(state);
    log_add_untagged(feed->log);
    log_add(feed->log, 1);
    log_add_invisible(feed->log, 2);
    log_add_untagged(feed->log);
    log_add(feed->log, 2);
    log_add(feed->log, 3);
    feed_scan(feed);
    assert_range(feed, 1, 3);
    assert_nothing_yet(feed);
}

static void entries_out_of_order_come_in_order(void **state)
{
    struct feed *feed = feed_of(state);
    static const uint64_t on_disk[] = { 1, 4, 3, 2, 6, 5 };
    for (size_t at = 0; at < sizeof on_disk / sizeof on_disk[0]; at++)
        log_add(feed->log, on_disk[at]);
    feed_scan(feed);
    assert_range(feed, 1, 6);
}

static void large_payloads_come_whole(void **state)
{
    struct feed *feed = feed_of(state);
    const size_t len = 3 * 1024 * 1024;
    nxf_entry entry;
    log_add_sized(feed->log, 1, len);
    feed_scan(feed);
    assert_ok(nxf_scanner_next, feed->scanner, 1, &entry);
    assert_int_equal(entry.payload_len, len);
    assert_true(log_is_payload(1, entry.payload, len));
}

static void an_entry_without_a_payload_is_an_entry(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_entry entry;
    log_add_sized(feed->log, 1, 0);
    feed_scan(feed);
    assert_ok(nxf_scanner_next, feed->scanner, 1, &entry);
    assert_int_equal(entry.payload_len, 0);
}

static void a_payload_is_valid_until_the_next_call(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_scanner *other = NULL;
    nxf_entry others;
    log_add_range(feed->log, 1, 50);
    feed_scan(feed);
    const nxf_entry entry = assert_next(feed, 49, 49);
    /* Neither growth of the log nor another scanner touches it. */
    log_add(feed->log, 51);
    assert_ok(nxf_scanner_open, log_dir(feed->log), 0, NULL, &other);
    assert_ok(nxf_scanner_next, other, 0, &others);
    nxf_scanner_free(other);
    assert_true(log_is_payload(49, entry.payload, entry.payload_len));
}

/* --- where to begin --- */

static void what_is_below_the_vlsn_asked_for_is_left_out(void **state)
{
    struct feed *feed = feed_of(state);
    log_add_range(feed->log, 1, 30);
    feed_scan(feed);
    assert_next(feed, 10, 10);
    assert_next(feed, 10, 11);
    assert_next(feed, 20, 20);
    assert_next(feed, 1, 21); /* and nothing comes twice */
}

static void vlsn_0_begins_at_the_lowest_there_is(void **state)
{
    struct feed *feed = feed_of(state);
    log_add_range(feed->log, 50, 60);
    feed_scan(feed);
    for (uint64_t vlsn = 50; vlsn <= 60; vlsn++)
        assert_next(feed, 0, vlsn);
}

struct first {
    nxf_scanner *scanner;
    nxf_entry entry;
    nxf_status status;
};

static bool has_come(void *context)
{
    struct first *first = (struct first *)context;
    first->status = nxf_scanner_next(first->scanner, 0, &first->entry, NULL);
    return first->status != NXF_AGAIN;
}

/* Waits for the lowest entry there is, which is this one. */
static void assert_begins_with(struct feed *feed, uint64_t vlsn)
{
    struct first first = { feed->scanner, { 0, 0, NULL, 0, 0 }, NXF_AGAIN };
    assert_soon(has_come, &first);
    assert_int_equal(first.status, NXF_OK);
    assert_int_equal(first.entry.vlsn, vlsn);
}

static void vlsn_0_begins_though_an_entry_stays_torn(void **state)
{
    struct feed *feed = feed_of(state);
    log_add_range(feed->log, 50, 52);
    log_add_torn(feed->log, 53, 10);
    feed_scan(feed);
    assert_begins_with(feed, 50);
}

static void vlsn_0_begins_though_an_entry_is_damaged(void **state)
{
    struct feed *feed = feed_of(state);
    log_add_range(feed->log, 50, 52);
    const uint64_t damaged = log_add(feed->log, 53);
    log_add(feed->log, 54);
    log_damage(feed->log, damaged, LOG_PAYLOAD_AT);
    feed_scan(feed);
    assert_begins_with(feed, 50);
    assert_range(feed, 51, 52);
    nxf_error_free(wait_for_error(feed, NXF_E_LOG_DAMAGED));
}

static void vlsn_0_begins_though_the_next_file_has_no_entry_yet(void **state)
{
    struct feed *feed = feed_of(state);
    log_add_range(feed->log, 50, 52);
    log_begin(feed->log, 1, 3);
    feed_scan(feed);
    assert_begins_with(feed, 50);
}

static void vlsn_0_begins_though_not_all_may_be_sent(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_log *log = NULL;
    log_add_range(feed->log, 50, 52);
    const uint64_t limit = log_add(feed->log, 53);
    assert_ok(nxf_log_open, log_dir(feed->log), feed->options, &log);
    assert_int_equal(nxf_log_set_send_limit(log, limit), NXF_OK);
    assert_ok(nxf_scanner_from_log, log, 0, &feed->scanner);
    nxf_log_free(log);
    assert_begins_with(feed, 50);
}

static void a_start_lsn_is_where_reading_begins(void **state)
{
    struct feed *feed = feed_of(state);
    log_add_range(feed->log, 1, 4);
    const uint64_t fifth = log_add(feed->log, 5);
    log_add(feed->log, 6);
    assert_ok(nxf_scanner_open, log_dir(feed->log), fifth, NULL, &feed->scanner);
    assert_range(feed, 5, 6);
}

static void start_lsn_0_is_the_first_entry(void **state)
{
    struct feed *feed = feed_of(state);
    log_remove(feed->log, 0);
    log_begin(feed->log, 5, 3);
    log_add(feed->log, 1);
    assert_ok(nxf_scanner_open, log_dir(feed->log), 0, NULL, &feed->scanner);
    assert_next(feed, 1, 1);
}

static void a_start_in_a_file_to_come_is_waited_for(void **state)
{
    struct feed *feed = feed_of(state);
    log_add(feed->log, 1);
    assert_ok(nxf_scanner_open, log_dir(feed->log), (uint64_t)1 << 32 | LOG_FIRST_AT_V3, NULL, &feed->scanner);
    assert_nothing_yet(feed);
    log_begin(feed->log, 1, 3);
    log_add(feed->log, 2);
    assert_next(feed, 2, 2);
}

/* --- while it grows --- */

static void there_is_nothing_at_the_end_until_more_is_appended(void **state)
{
    struct feed *feed = feed_of(state);
    feed_scan(feed);
    assert_nothing_yet(feed);
    for (uint64_t vlsn = 1; vlsn <= 20; vlsn++) {
        log_add(feed->log, vlsn);
        assert_next(feed, 1, vlsn);
        assert_nothing_yet(feed);
        if (vlsn % 5 == 0)
            log_begin(feed->log, (uint32_t)vlsn, 2 + (int)vlsn % 2);
    }
}

static void an_entry_that_is_being_written_comes_when_it_is_whole(void **state)
{
    struct feed *feed = feed_of(state);
    static const size_t pieces[] = { 1, 3, 5, 13, 21, LOG_PAYLOAD_AT, LOG_PAYLOAD_AT + 5 };
    uint64_t vlsn = 40; /* with payloads of some length */
    feed_scan(feed);
    for (size_t at = 0; at < sizeof pieces / sizeof pieces[0]; at++, vlsn++) {
        log_add_torn(feed->log, vlsn, pieces[at]);
        assert_nothing_yet_from(feed, 40);
        log_complete(feed->log);
        assert_next(feed, 40, vlsn);
    }
}

/* --- what is wrong --- */

static void a_missing_vlsn_is_a_gap_with_every_fact(void **state)
{
    struct feed *feed = feed_of(state);
    log_add_range(feed->log, 1, 3);
    const uint64_t behind = log_add(feed->log, 5);
    feed_scan(feed);
    assert_range(feed, 1, 3);

    nxf_error *err = wait_for_error(feed, NXF_E_LOG_GAP);
    assert_place(err, behind);
    assert_vlsn(err, 4);
    assert_contains(nxf_error_message(err), "00000000.ndb");
    assert_true(nxf_error_needs_restore(err));
    assert_false(nxf_error_is_retriable(err));
    nxf_error_free(err);
}

static void a_vlsn_is_missing_for_good_when_too_many_stand_before_it(void **state)
{
    struct feed *feed = feed_of(state);
    feed_set(feed, "log.gap_patience_ms", "86400000");
    feed_set(feed, "log.reorder_entries_max", "8");
    log_add(feed->log, 1);
    log_add_range(feed->log, 3, 20);
    log_add(feed->log, 2);
    feed_scan(feed);
    assert_next(feed, 1, 1);
    nxf_error *err = wait_for_error(feed, NXF_E_LOG_GAP);
    assert_vlsn(err, 2);
    nxf_error_free(err);
}

static void a_log_that_begins_above_what_is_asked_for_is_a_gap(void **state)
{
    struct feed *feed = feed_of(state);
    log_add_range(feed->log, 50, 52);
    feed_scan(feed);
    nxf_error *err = wait_for_error(feed, NXF_E_LOG_GAP);
    assert_vlsn(err, 1);
    nxf_error_free(err);
}

static void damage_is_an_error_with_every_fact(void **state)
{
    struct feed *feed = feed_of(state);
    log_add_range(feed->log, 47, 48);
    const uint64_t damaged = log_add(feed->log, 49);
    log_add(feed->log, 50);
    log_damage(feed->log, damaged, LOG_PAYLOAD_AT + 3);
    feed_scan(feed);
    assert_range(feed, 47, 48);

    nxf_error *err = wait_for_error(feed, NXF_E_LOG_DAMAGED);
    assert_place(err, damaged);
    assert_vlsn(err, 49);
    assert_contains(nxf_error_message(err), "00000000.ndb");
    assert_contains(nxf_error_message(err), "stored");
    assert_contains(nxf_error_message(err), "computed");
    assert_false(nxf_error_is_retriable(err));
    nxf_error_free(err);
}

static void an_error_stays_and_nothing_behind_it_comes(void **state)
{
    struct feed *feed = feed_of(state);
    log_add(feed->log, 1);
    const uint64_t damaged = log_add(feed->log, 2);
    log_add_range(feed->log, 3, 10);
    log_damage(feed->log, damaged, 0);
    feed_scan(feed);
    assert_next(feed, 1, 1);
    nxf_error *first = wait_for_error(feed, NXF_E_LOG_DAMAGED);
    for (uint64_t from = 0; from < 10; from += 3) {
        nxf_entry entry;
        assert_refused(NXF_E_LOG_DAMAGED, nxf_error_message(first), nxf_scanner_next, feed->scanner, from, &entry);
        log_add(feed->log, 11 + from);
    }
    nxf_error_free(first);
}

static void a_file_with_a_wrong_header_is_named(void **state)
{
    struct feed *feed = feed_of(state);
    uint32_t file = 0;
    log_add(feed->log, 1);
    log_damage(feed->log, 0, 3);
    feed_scan(feed);
    nxf_error *err = wait_for_error(feed, NXF_E_LOG_FILE_HEADER);
    assert_true(nxf_error_file(err, &file));
    assert_int_equal(file, 0);
    assert_contains(nxf_error_message(err), "00000000.ndb");
    nxf_error_free(err);
}

static void a_file_that_is_gone_is_an_error_that_needs_a_restore(void **state)
{
    struct feed *feed = feed_of(state);
    uint32_t file = 0;
    log_add_range(feed->log, 1, 3);
    log_begin(feed->log, 1, 3);
    log_add_range(feed->log, 4, 6);
    log_begin(feed->log, 2, 3);
    log_add_range(feed->log, 7, 9);
    log_remove(feed->log, 1);
    feed_scan(feed);
    assert_range(feed, 1, 3);
    nxf_error *err = wait_for_error(feed, NXF_E_LOG_FILE_GONE);
    assert_true(nxf_error_file(err, &file));
    assert_int_equal(file, 1);
    assert_vlsn(err, 4);
    assert_true(nxf_error_needs_restore(err));
    nxf_error_free(err);
}

static void a_log_cut_below_what_was_read_is_an_error_that_needs_a_restore(void **state)
{
    struct feed *feed = feed_of(state);
    log_add(feed->log, 1);
    const uint64_t second = log_add(feed->log, 2);
    feed_scan(feed);
    assert_range(feed, 1, 2);
    log_cut(feed->log, second);
    nxf_error *err = wait_for_error(feed, NXF_E_LOG_TRUNCATED);
    assert_true(nxf_error_needs_restore(err));
    nxf_error_free(err);
}

static void another_entry_of_a_vlsn_that_came_is_a_changed_history(void **state)
{
    struct feed *feed = feed_of(state);
    log_add_range(feed->log, 1, 2);
    feed_scan(feed);
    assert_range(feed, 1, 2);
    const uint64_t again = log_add_sized(feed->log, 2, 20);
    nxf_error *err = wait_for_error(feed, NXF_E_LOG_HISTORY_CHANGED);
    assert_place(err, again);
    assert_vlsn(err, 2);
    assert_true(nxf_error_needs_restore(err));
    nxf_error_free(err);
}

static void the_same_entry_again_is_left_out(void **state)
{
    struct feed *feed = feed_of(state);
    log_add_range(feed->log, 1, 3);
    log_add_range(feed->log, 2, 4);
    feed_scan(feed);
    assert_range(feed, 1, 4);
    assert_nothing_yet(feed);
}

static void null_is_refused_by_name(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_scanner *scanner = NULL;
    nxf_entry entry;
    assert_refused(NXF_E_INVALID_ARGUMENT, "`env_dir`", nxf_scanner_open, NULL, 0, NULL, &scanner);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`scanner`", nxf_scanner_open, ".", 0, NULL, NULL);
    assert_refused(NXF_E_LOG_IO, "no-such", nxf_scanner_open, "no-such", 0, NULL, &scanner);
    assert_null(scanner);
    feed_scan(feed);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`scanner`", nxf_scanner_next, NULL, 0, &entry);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`entry`", nxf_scanner_next, feed->scanner, 0, NULL);
    nxf_scanner_free(NULL);
}

static void a_scanner_without_a_place_to_put_it_is_not_made_from_a_log(void **state)
{
    nxf_log *log = NULL;
    (void)state;
    assert_ok(nxf_log_open, ".", NULL, &log);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`scanner`", nxf_scanner_from_log, log, 0, NULL);
    nxf_log_free(log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        feed_test(entries_come_in_order_over_files_of_both_versions),
        feed_test(an_entry_says_where_it_stands),
        feed_test(what_is_not_replicated_or_rolled_back_does_not_come),
        feed_test(entries_out_of_order_come_in_order),
        feed_test(large_payloads_come_whole),
        feed_test(an_entry_without_a_payload_is_an_entry),
        feed_test(a_payload_is_valid_until_the_next_call),
        feed_test(what_is_below_the_vlsn_asked_for_is_left_out),
        feed_test(vlsn_0_begins_at_the_lowest_there_is),
        feed_test(vlsn_0_begins_though_an_entry_stays_torn),
        feed_test(vlsn_0_begins_though_an_entry_is_damaged),
        feed_test(vlsn_0_begins_though_the_next_file_has_no_entry_yet),
        feed_test(vlsn_0_begins_though_not_all_may_be_sent),
        feed_test(a_start_lsn_is_where_reading_begins),
        feed_test(start_lsn_0_is_the_first_entry),
        feed_test(a_start_in_a_file_to_come_is_waited_for),
        feed_test(there_is_nothing_at_the_end_until_more_is_appended),
        feed_test(an_entry_that_is_being_written_comes_when_it_is_whole),
        feed_test(a_missing_vlsn_is_a_gap_with_every_fact),
        feed_test(a_vlsn_is_missing_for_good_when_too_many_stand_before_it),
        feed_test(a_log_that_begins_above_what_is_asked_for_is_a_gap),
        feed_test(damage_is_an_error_with_every_fact),
        feed_test(an_error_stays_and_nothing_behind_it_comes),
        feed_test(a_file_with_a_wrong_header_is_named),
        feed_test(a_file_that_is_gone_is_an_error_that_needs_a_restore),
        feed_test(a_log_cut_below_what_was_read_is_an_error_that_needs_a_restore),
        feed_test(another_entry_of_a_vlsn_that_came_is_a_changed_history),
        feed_test(the_same_entry_again_is_left_out),
        feed_test(null_is_refused_by_name),
        feed_test(a_scanner_without_a_place_to_put_it_is_not_made_from_a_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
