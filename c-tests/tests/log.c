/* Logs: opening, sharing, telling, limiting. */
#include "support/feed.h"

#include <dirent.h>
#include <errno.h>
#include <unistd.h>

static void assert_next(nxf_scanner *scanner, uint64_t vlsn)
{
    nxf_entry entry;
    assert_ok(nxf_scanner_next, scanner, 1, &entry);
    assert_int_equal(entry.vlsn, vlsn);
}

static void assert_nothing_yet(nxf_scanner *scanner)
{
    nxf_entry entry;
    assert_status(NXF_AGAIN, nxf_scanner_next, scanner, 1, &entry);
}

static nxf_log *open_log(struct feed *feed)
{
    nxf_log *log = NULL;
    assert_ok(nxf_log_open, log_dir(feed->log), feed->options, &log);
    return log;
}

static nxf_scanner *scan(nxf_log *log)
{
    nxf_scanner *scanner = NULL;
    assert_ok(nxf_scanner_from_log, log, NXF_LSN_FIRST, &scanner);
    return scanner;
}

static void a_directory_that_is_not_there_is_an_error_of_the_system(void **state)
{
    nxf_log *log = NULL;
    (void)state;
    assert_refused(NXF_E_LOG_IO, "no/such/directory", nxf_log_open, "no/such/directory", NULL, &log);
    assert_refused(NXF_E_LOG_IO, "", nxf_log_open, "", NULL, &log);
    assert_null(log);
}

static void a_file_is_no_directory(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_log *log = NULL;
    nxf_error *err = NULL;
    assert_int_equal(nxf_log_open(log_path(feed->log, 0), NULL, &log, &err), NXF_E_LOG_IO);
    assert_int_equal(nxf_error_errno(err), ENOTDIR);
    nxf_error_free(err);
}

static void null_is_refused_by_name(void **state)
{
    nxf_log *log = NULL;
    nxf_scanner *scanner = NULL;
    (void)state;
    assert_refused(NXF_E_INVALID_ARGUMENT, "`env_dir`", nxf_log_open, NULL, NULL, &log);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`log`", nxf_log_open, ".", NULL, NULL);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`log`", nxf_scanner_from_log, NULL, 0, &scanner);
    uint64_t vlsn;
    assert_refused(NXF_E_INVALID_ARGUMENT, "`log`", nxf_log_vlsn_range, NULL, &vlsn, &vlsn);
    assert_ok(nxf_log_open, ".", NULL, &log);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`first`", nxf_log_vlsn_range, log, NULL, &vlsn);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`last`", nxf_log_vlsn_range, log, &vlsn, NULL);
    nxf_log_free(log);
    assert_int_equal(nxf_log_notify(NULL), NXF_E_INVALID_ARGUMENT);
    assert_int_equal(nxf_log_set_send_limit(NULL, 0), NXF_E_INVALID_ARGUMENT);
    nxf_log_free(NULL);
}

static void an_empty_directory_is_a_log_that_begins_later(void **state)
{
    struct feed *feed = feed_of(state);
    log_remove(feed->log, 0);
    nxf_log *log = open_log(feed);
    nxf_scanner *scanner = scan(log);
    assert_nothing_yet(scanner);
    log_begin(feed->log, 7, 3);
    assert_nothing_yet(scanner);
    log_add(feed->log, 1);
    assert_next(scanner, 1);
    nxf_scanner_free(scanner);
    nxf_log_free(log);
}

static int count_files(const char *dir)
{
    int count = 0;
    DIR *listing = opendir(dir);
    while (readdir(listing) != NULL)
        count++;
    closedir(listing);
    return count;
}

static void reading_leaves_nothing_in_the_directory(void **state)
{
    struct feed *feed = feed_of(state);
    const int before = count_files(log_dir(feed->log));
    nxf_log *log = open_log(feed);
    nxf_scanner *scanner = scan(log);
    assert_nothing_yet(scanner);
    assert_int_equal(count_files(log_dir(feed->log)), before);
    nxf_scanner_free(scanner);
    nxf_log_free(log);
    assert_int_equal(count_files(log_dir(feed->log)), before);
}

static void scanners_of_one_log_read_it_each_for_itself(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_log *log = open_log(feed);
    nxf_scanner *one = scan(log);
    nxf_scanner *other = scan(log);
    log_add_range(feed->log, 1, 2);
    assert_next(one, 1);
    assert_next(one, 2);
    assert_next(other, 1);
    nxf_scanner_free(one);
    assert_next(other, 2);
    nxf_scanner_free(other);
    nxf_log_free(log);
}

static void a_scanner_outlives_its_log(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_log *log = open_log(feed);
    nxf_scanner *scanner = scan(log);
    nxf_log_free(log);
    log_add(feed->log, 1);
    assert_next(scanner, 1);
    nxf_scanner_free(scanner);
}

static void only_what_is_below_the_send_limit_is_read(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_log *log = open_log(feed);
    nxf_scanner *scanner = scan(log);
    log_add(feed->log, 1);
    const uint64_t second = log_add(feed->log, 2);
    const uint64_t third = log_add(feed->log, 3);

    assert_int_equal(nxf_log_set_send_limit(log, second), NXF_OK);
    assert_next(scanner, 1);
    assert_nothing_yet(scanner);
    assert_int_equal(nxf_log_set_send_limit(log, third), NXF_OK);
    assert_next(scanner, 2);
    assert_nothing_yet(scanner);
    assert_int_equal(nxf_log_set_send_limit(log, UINT64_MAX), NXF_OK);
    assert_next(scanner, 3);

    nxf_scanner_free(scanner);
    nxf_log_free(log);
}

static void a_send_limit_holds_across_files(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_log *log = open_log(feed);
    nxf_scanner *scanner = scan(log);
    assert_int_equal(nxf_log_set_send_limit(log, (uint64_t)1 << 32), NXF_OK);
    log_add(feed->log, 1);
    log_begin(feed->log, 1, 3);
    log_add(feed->log, 2);
    assert_next(scanner, 1);
    assert_nothing_yet(scanner);
    assert_int_equal(nxf_log_set_send_limit(log, (uint64_t)2 << 32), NXF_OK);
    assert_next(scanner, 2);
    nxf_scanner_free(scanner);
    nxf_log_free(log);
}

/* --- the range --- */

static void assert_vlsn_range(nxf_log *log, uint64_t first, uint64_t last)
{
    uint64_t found_first = 0, found_last = 0;
    assert_ok(nxf_log_vlsn_range, log, &found_first, &found_last);
    assert_int_equal(found_first, first);
    assert_int_equal(found_last, last);
}

static void the_range_is_from_the_lowest_vlsn_to_the_highest(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_log *log = open_log(feed);
    uint64_t first = 7, last = 8;
    assert_status(NXF_AGAIN, nxf_log_vlsn_range, log, &first, &last);
    log_add_untagged(feed->log);
    assert_status(NXF_AGAIN, nxf_log_vlsn_range, log, &first, &last);
    assert_true(first == 7 && last == 8);
    log_add_range(feed->log, 50, 60);
    assert_vlsn_range(log, 50, 60);
    log_begin(feed->log, 1, 2);
    assert_vlsn_range(log, 50, 60);
    log_add_range(feed->log, 61, 70);
    log_add_untagged(feed->log);
    assert_vlsn_range(log, 50, 70);
    nxf_log_free(log);
}

static void the_range_ends_below_a_vlsn_that_is_missing(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_log *log = open_log(feed);
    log_add_range(feed->log, 1, 5);
    log_add_range(feed->log, 7, 9);
    assert_vlsn_range(log, 1, 5);
    log_add(feed->log, 6);
    assert_vlsn_range(log, 1, 9);
    nxf_log_free(log);
}

/* --- what may be sent --- */

static bool is_held_back(void *context)
{
    return feed_stats((struct feed *)context).log_state == NXF_LOG_SEND_LIMIT;
}

static void a_runner_goes_on_when_the_send_limit_is_lifted(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_log *log = open_log(feed);
    log_add_range(feed->log, 1, 5);
    const uint64_t limit = log_add(feed->log, 6);
    assert_int_equal(nxf_log_set_send_limit(log, limit), NXF_OK);

    feed_connect(feed, REPLICA_ACKS);
    feed_make_runner(feed, 1);
    feed->scanner = scan(log);
    assert_ok(nxf_runner_start, feed->runner, feed->scanner);
    feed->scanner = NULL;
    feed_wait_acked(feed, 5);
    assert_soon(is_held_back, feed);
    assert_frames(feed->replica, 1, 5);

    assert_int_equal(nxf_log_set_send_limit(log, UINT64_MAX), NXF_OK);
    feed_wait_acked(feed, 6);
    nxf_log_free(log);
}

static void telling_of_what_was_appended_is_always_possible(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_log *log = open_log(feed);
    assert_int_equal(nxf_log_notify(log), NXF_OK);

    feed_connect(feed, REPLICA_ACKS);
    feed_make_runner(feed, 1);
    feed->scanner = scan(log);
    assert_ok(nxf_runner_start, feed->runner, feed->scanner);
    feed->scanner = NULL;
    for (uint64_t vlsn = 1; vlsn <= 20; vlsn++) {
        log_add(feed->log, vlsn);
        assert_int_equal(nxf_log_notify(log), NXF_OK);
        feed_wait_acked(feed, vlsn);
    }
    feed_free_runner(feed);
    assert_int_equal(nxf_log_notify(log), NXF_OK);
    nxf_log_free(log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        feed_test(a_directory_that_is_not_there_is_an_error_of_the_system),
        feed_test(a_file_is_no_directory),
        feed_test(null_is_refused_by_name),
        feed_test(an_empty_directory_is_a_log_that_begins_later),
        feed_test(reading_leaves_nothing_in_the_directory),
        feed_test(scanners_of_one_log_read_it_each_for_itself),
        feed_test(a_scanner_outlives_its_log),
        feed_test(the_range_is_from_the_lowest_vlsn_to_the_highest),
        feed_test(the_range_ends_below_a_vlsn_that_is_missing),
        feed_test(only_what_is_below_the_send_limit_is_read),
        feed_test(a_send_limit_holds_across_files),
        feed_test(a_runner_goes_on_when_the_send_limit_is_lifted),
        feed_test(telling_of_what_was_appended_is_always_possible),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
