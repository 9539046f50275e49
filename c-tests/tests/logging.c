/* What the library says to people: to whom, and how much. */
#include "support/feed.h"

/* Records the messages about it. */
static void record_words(void *context, uint32_t level, const char *target, const char *message)
{
    struct record *record = (struct record *)context;
    record_add(record, "%u %s", (unsigned)level, strncmp(target, "noxu_feeder", 11) == 0 ? message : target);
}

static void drop_words(void *context)
{
    record_add((struct record *)context, "dropped");
}

static void listen_to(struct feed *feed, uint32_t level_max)
{
    assert_ok(nxf_options_set_log_callback, feed->options, level_max, record_words, feed->record, drop_words);
}

static void free_options(struct feed *feed)
{
    nxf_options_free(feed->options);
    feed->options = NULL;
}

/* Runs over a log with a VLSN missing, which ends in an error. */
static void run_into_a_gap(struct feed *feed)
{
    log_add(feed->log, 1);
    log_add(feed->log, 3);
    feed_up(feed, REPLICA_ACKS);
    assert_int_equal(feed_wait_ended(feed, NULL), NXF_E_LOG_GAP);
    feed_free_runner(feed);
}

static void a_failed_run_is_an_error_to_people(void **state)
{
    struct feed *feed = feed_of(state);
    listen_to(feed, NXF_LEVEL_ERROR);
    run_into_a_gap(feed);
    free_options(feed);
    assert_record(feed->record,
                  "1 replica 'r1': the run failed: VLSN 2 is not in the log: after it comes 3, at 00000000.ndb "
                  "offset 59\ndropped\n");
}

static void an_ended_run_is_news_to_those_who_want_it(void **state)
{
    struct feed *feed = feed_of(state);
    listen_to(feed, NXF_LEVEL_INFO);
    feed_up(feed, 0);
    feed_free_runner(feed);
    free_options(feed);
    assert_record(feed->record, "3 replica 'r1': the run ended: stopped by the host (NXF_RUN_STOPPED)\ndropped\n");
}

static void who_ended_a_run_is_said_in_words(void **state)
{
    struct feed *feed = feed_of(state);
    listen_to(feed, NXF_LEVEL_INFO);
    feed_up(feed, 0);
    replica_close(feed->replica);
    assert_int_equal(feed_wait_ended(feed, NULL), NXF_OK);
    feed_free_runner(feed);
    free_options(feed);
    assert_record(feed->record, "3 replica 'r1': the run ended: closed by the replica (NXF_RUN_CLOSED_BY_REPLICA)\ndropped\n");
}

static void a_stalled_log_is_said_in_words_and_so_is_that_it_goes_on(void **state)
{
    struct feed *feed = feed_of(state);
    listen_to(feed, NXF_LEVEL_INFO);
    log_add(feed->log, 1);
    log_add_torn(feed->log, 2, 23);
    feed_up(feed, REPLICA_ACKS);
    record_wait(feed->record, "2 replica 'r1': the log is stalled at 00000000.ndb offset 59: an entry whose end is not there "
                              "yet (NXF_LOG_TORN)");
    log_complete(feed->log);
    assert_int_equal(nxf_runner_notify(feed->runner), NXF_OK);
    record_wait(feed->record, "3 replica 'r1': the log goes on at 00000000.ndb offset 83");
}

/* It may take its time until the replica has what came before. */
static void a_log_that_cannot_be_read_on_is_said_before_all_is_sent(void **state)
{
    struct feed *feed = feed_of(state);
    listen_to(feed, NXF_LEVEL_WARN);
    feed_set(feed, "runner.write_timeout_ms", "86400000");
    feed_set(feed, "runner.queue_bytes_max", "1073741824");
    for (uint64_t vlsn = 1; vlsn <= 3000; vlsn++)
        log_add_sized(feed->log, vlsn, 1000);
    log_add_sized(feed->log, 3002, 1);
    feed_connect_tcp(feed, REPLICA_READS_NOTHING, 4096);
    feed_make_runner(feed, 1);
    feed_start(feed);
    record_wait(feed->record, "2 replica 'r1': the log cannot be read on; what was read is still sent: VLSN 3001 is not in "
                              "the log: after it comes 3002, at 00000000.ndb offset 3066036");
    replica_reset(feed->replica);
    assert_int_equal(feed_wait_ended(feed, NULL), NXF_E_LOG_GAP);
}

/* A message is one line, whatever name the host has given the replica. */
static void a_name_breaks_no_line(void **state)
{
    struct feed *feed = feed_of(state);
    listen_to(feed, NXF_LEVEL_INFO);
    feed_connect(feed, 0);
    assert_ok(nxf_runner_new, feed->channel, "r\n2", 1, feed->options, &feed->runner);
    feed->channel = NULL;
    feed_start(feed);
    feed_free_runner(feed);
    record_wait(feed->record, "3 replica 'r\xef\xbf\xbd" "2': the run ended: stopped by the host (NXF_RUN_STOPPED)");
}

static void what_is_less_urgent_is_not_said(void **state)
{
    struct feed *feed = feed_of(state);
    listen_to(feed, NXF_LEVEL_WARN);
    feed_up(feed, 0);
    feed_free_runner(feed);
    free_options(feed);
    assert_record(feed->record, "dropped\n");
}

static void a_scanner_warns_of_what_is_strange_in_the_log(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_entry entry;
    listen_to(feed, NXF_LEVEL_DEBUG);
    log_add_range(feed->log, 1, 2);
    log_add_range(feed->log, 1, 2);
    feed_scan(feed);
    while (nxf_scanner_next(feed->scanner, 1, &entry, NULL) == NXF_OK)
        ;
    record_wait(feed->record, "2 VLSN 1 stands in the log again, at 00000000.ndb offset 83; repeats are not sent");
}

/* What it says belongs to the run then. */
static void a_scanner_that_feeds_a_replica_names_it(void **state)
{
    struct feed *feed = feed_of(state);
    listen_to(feed, NXF_LEVEL_WARN);
    log_add_range(feed->log, 1, 2);
    log_add_range(feed->log, 1, 2);
    feed_up(feed, REPLICA_ACKS);
    record_wait(feed->record,
                "2 replica 'r1': VLSN 1 stands in the log again, at 00000000.ndb offset 83; repeats are not sent");
}

static void the_context_lives_as_long_as_what_was_made_with_it(void **state)
{
    struct feed *feed = feed_of(state);
    listen_to(feed, NXF_LEVEL_ERROR);
    feed_scan(feed);
    free_options(feed);
    assert_record(feed->record, "");
    nxf_scanner_free(feed->scanner);
    feed->scanner = NULL;
    assert_record(feed->record, "dropped\n");
}

static void a_callback_can_be_replaced_and_taken_away(void **state)
{
    struct feed *feed = feed_of(state);
    listen_to(feed, NXF_LEVEL_ERROR);
    listen_to(feed, NXF_LEVEL_ERROR);
    assert_record(feed->record, "dropped\n");
    assert_ok(nxf_options_set_log_callback, feed->options, NXF_LEVEL_ERROR, NULL, NULL, NULL);
    assert_record(feed->record, "dropped\ndropped\n");
    run_into_a_gap(feed);
    assert_record(feed->record, "dropped\ndropped\n");
}

static void nonsense_is_refused_and_the_context_stays_the_callers(void **state)
{
    struct feed *feed = feed_of(state);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`options`", nxf_options_set_log_callback, NULL, NXF_LEVEL_ERROR,
                   record_words, feed->record, drop_words);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`level_max`", nxf_options_set_log_callback, feed->options, 0, record_words,
                   feed->record, drop_words);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`level_max`", nxf_options_set_log_callback, feed->options, 5, record_words,
                   feed->record, drop_words);
    assert_record(feed->record, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        feed_test(a_failed_run_is_an_error_to_people),
        feed_test(an_ended_run_is_news_to_those_who_want_it),
        feed_test(who_ended_a_run_is_said_in_words),
        feed_test(a_stalled_log_is_said_in_words_and_so_is_that_it_goes_on),
        feed_test(a_log_that_cannot_be_read_on_is_said_before_all_is_sent),
        feed_test(a_name_breaks_no_line),
        feed_test(what_is_less_urgent_is_not_said),
        feed_test(a_scanner_warns_of_what_is_strange_in_the_log),
        feed_test(a_scanner_that_feeds_a_replica_names_it),
        feed_test(the_context_lives_as_long_as_what_was_made_with_it),
        feed_test(a_callback_can_be_replaced_and_taken_away),
        feed_test(nonsense_is_refused_and_the_context_stays_the_callers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
