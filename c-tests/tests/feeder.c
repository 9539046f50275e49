/* Trackers: the state of one replica. */
#include "support/bytes.h"
#include "support/record.h"

#include <pthread.h>

static int make_feeder(void **state)
{
    nxf_feeder *feeder = NULL;
    assert_ok(nxf_feeder_new, "r1", NULL, &feeder);
    *state = feeder;
    return 0;
}

static int free_feeder(void **state)
{
    nxf_feeder_free((nxf_feeder *)*state);
    return 0;
}

static nxf_feeder *feeder_of(void **state)
{
    return (nxf_feeder *)*state;
}

static void queue(nxf_feeder *feeder, uint64_t vlsn)
{
    assert_ok(nxf_feeder_queue_entry, feeder, vlsn, 13, (const uint8_t *)"data", 4);
}

static void ack(nxf_feeder *feeder, uint64_t vlsn)
{
    assert_int_equal(nxf_feeder_record_ack(feeder, vlsn), NXF_OK);
}

static void record_message(void *context, const uint8_t *message, size_t len)
{
    record_add((struct record *)context, "%llu type %d: %.*s", (unsigned long long)get_le(message, 8), message[8],
               (int)len - 9, (const char *)message + 9);
}

static size_t drain(nxf_feeder *feeder, struct record *record)
{
    size_t count = 99;
    assert_ok(nxf_feeder_drain, feeder, record_message, record, &count);
    return count;
}

/* --- states --- */

static void it_begins_idle_and_empty(void **state)
{
    nxf_feeder *feeder = feeder_of(state);
    struct record *record = record_new();
    assert_int_equal(nxf_feeder_state(feeder), NXF_FEEDER_IDLE);
    assert_int_equal(nxf_feeder_current_vlsn(feeder), 0);
    assert_int_equal(nxf_feeder_acked_vlsn(feeder), 0);
    assert_int_equal(nxf_feeder_lag(feeder), 0);
    assert_int_equal(drain(feeder, record), 0);
    record_free(record);
}

static void any_state_may_follow_any(void **state)
{
    nxf_feeder *feeder = feeder_of(state);
    for (uint32_t from = NXF_FEEDER_IDLE; from <= NXF_FEEDER_SHUTDOWN; from++) {
        for (uint32_t to = NXF_FEEDER_IDLE; to <= NXF_FEEDER_SHUTDOWN; to++) {
            assert_ok(nxf_feeder_set_state, feeder, from);
            assert_ok(nxf_feeder_set_state, feeder, to);
            assert_int_equal(nxf_feeder_state(feeder), to);
        }
    }
    assert_refused(NXF_E_INVALID_ARGUMENT, "`state`", nxf_feeder_set_state, feeder, 4);
    assert_int_equal(nxf_feeder_state(feeder), NXF_FEEDER_SHUTDOWN);
}

/* --- numbers --- */

static void queueing_raises_the_current_vlsn_and_never_lowers_it(void **state)
{
    nxf_feeder *feeder = feeder_of(state);
    queue(feeder, 10);
    assert_int_equal(nxf_feeder_current_vlsn(feeder), 11);
    queue(feeder, 5);
    assert_int_equal(nxf_feeder_current_vlsn(feeder), 11);
    queue(feeder, 11);
    assert_int_equal(nxf_feeder_current_vlsn(feeder), 12);
}

static void acks_only_raise_what_is_acked(void **state)
{
    nxf_feeder *feeder = feeder_of(state);
    ack(feeder, 42);
    ack(feeder, 10);
    assert_int_equal(nxf_feeder_acked_vlsn(feeder), 42);
}

static void the_lag_is_what_was_not_acked_and_never_below_0(void **state)
{
    nxf_feeder *feeder = feeder_of(state);
    for (uint64_t vlsn = 1; vlsn <= 3; vlsn++)
        queue(feeder, vlsn);
    assert_int_equal(nxf_feeder_lag(feeder), 4);
    ack(feeder, 2);
    assert_int_equal(nxf_feeder_lag(feeder), 2);
    ack(feeder, 4);
    assert_int_equal(nxf_feeder_lag(feeder), 0);
    ack(feeder, 100);
    assert_int_equal(nxf_feeder_lag(feeder), 0);
}

/* --- the queue --- */

static void messages_are_drained_in_the_order_queued_older_vlsns_too(void **state)
{
    nxf_feeder *feeder = feeder_of(state);
    struct record *record = record_new();
    assert_ok(nxf_feeder_queue_entry, feeder, 2, 13, (const uint8_t *)"two", 3);
    assert_ok(nxf_feeder_queue_entry, feeder, 1, 30, (const uint8_t *)"one", 3);
    assert_ok(nxf_feeder_queue_entry, feeder, 3, 0, NULL, 0);
    assert_int_equal(drain(feeder, record), 3);
    assert_int_equal(drain(feeder, record), 0);
    assert_record(record, "2 type 13: two\n1 type 30: one\n3 type 0: \n");
    assert_ok(nxf_feeder_drain, feeder, record_message, record, NULL);
    record_free(record);
}

static nxf_feeder *queueing;

static void queue_another(void *context, const uint8_t *message, size_t len)
{
    record_message(context, message, len);
    nxf_feeder_queue_entry(queueing, 9, 1, NULL, 0, NULL);
}

static void what_is_queued_while_draining_is_drained_the_next_time(void **state)
{
    struct record *record = record_new();
    size_t count = 0;
    queueing = feeder_of(state);
    queue(queueing, 1);
    assert_ok(nxf_feeder_drain, queueing, queue_another, record, &count);
    assert_int_equal(count, 1);
    assert_int_equal(drain(queueing, record), 1);
    assert_record(record, "1 type 13: data\n9 type 1: \n");
    record_free(record);
}

static void a_full_queue_takes_nothing_more_until_it_is_drained(void **state)
{
    nxf_options *options = NULL;
    nxf_feeder *feeder = NULL;
    struct record *record = record_new();
    (void)state;
    assert_ok(nxf_options_new, &options);
    assert_ok(nxf_options_set, options, "feeder.queue_bytes_max", "26");
    assert_ok(nxf_feeder_new, "r1", options, &feeder);
    nxf_options_free(options);
    queue(feeder, 1); /* of 13 bytes */
    queue(feeder, 2);
    assert_status(NXF_AGAIN, nxf_feeder_queue_entry, feeder, 3, 13, NULL, 0);
    assert_int_equal(nxf_feeder_current_vlsn(feeder), 3);
    assert_int_equal(drain(feeder, record), 2);
    queue(feeder, 3);
    nxf_feeder_free(feeder);
    record_free(record);
}

/* --- the clock --- */

static void the_clock_runs_from_the_last_activity(void **state)
{
    nxf_feeder *feeder = feeder_of(state);
    assert_false(nxf_feeder_is_timed_out(feeder, 60000));
    assert_true(nxf_feeder_is_timed_out(feeder, 0));
    assert_true(nxf_feeder_is_timed_out(feeder, -1));
}

static bool is_timed_out(void *feeder)
{
    return nxf_feeder_is_timed_out((const nxf_feeder *)feeder, 20);
}

/* What was timed out is not any more; or, on a slow machine, is again, by the time it is asked. */
static void assert_activity(nxf_feeder *feeder, long long before)
{
    const bool timed_out = is_timed_out(feeder);
    if (now_ms() - before < 20)
        assert_false(timed_out);
}

static void queueing_acks_and_touches_are_activity_and_states_are_none(void **state)
{
    nxf_feeder *feeder = feeder_of(state);
    assert_soon(is_timed_out, feeder);
    long long before = now_ms();
    queue(feeder, 1);
    assert_activity(feeder, before);
    assert_soon(is_timed_out, feeder);
    before = now_ms();
    ack(feeder, 5);
    assert_activity(feeder, before);
    assert_soon(is_timed_out, feeder);
    before = now_ms();
    ack(feeder, 1); /* a lower one, too */
    assert_activity(feeder, before);
    assert_soon(is_timed_out, feeder);
    before = now_ms();
    assert_int_equal(nxf_feeder_touch(feeder), NXF_OK);
    assert_activity(feeder, before);
    assert_soon(is_timed_out, feeder);
    assert_ok(nxf_feeder_set_state, feeder, NXF_FEEDER_STREAMING);
    assert_true(is_timed_out(feeder));
}

/* --- texts --- */

static void the_name_is_written_where_there_is_room(void **state)
{
    nxf_feeder *feeder = feeder_of(state);
    char name[3] = "??";
    size_t len = 0;
    assert_ok(nxf_feeder_replica_name, feeder, name, sizeof name, &len);
    assert_int_equal(len, 2);
    assert_string_equal(name, "r1");
    len = 0;
    assert_refused(NXF_E_BUFFER_TOO_SMALL, "", nxf_feeder_replica_name, feeder, name, 2, &len);
    assert_int_equal(len, 2);
    assert_refused(NXF_E_BUFFER_TOO_SMALL, "", nxf_feeder_replica_name, feeder, NULL, 0, &len);
}

static void the_debug_text_shows_all_there_is(void **state)
{
    nxf_feeder *feeder = feeder_of(state);
    char text[500];
    size_t len = 0;
    queue(feeder, 7654);
    ack(feeder, 4321);
    assert_ok(nxf_feeder_set_state, feeder, NXF_FEEDER_HANDSHAKING);
    assert_ok(nxf_feeder_debug_text, feeder, text, sizeof text, &len);
    assert_int_equal(len, strlen(text));
    assert_contains(text, "r1");
    assert_contains(text, "Handshaking");
    assert_contains(text, "7655");
    assert_contains(text, "4321");
    assert_contains(text, "3334");
    assert_refused(NXF_E_BUFFER_TOO_SMALL, "", nxf_feeder_debug_text, feeder, text, len, &len);
    assert_int_equal(len, strlen(text));
}

/* --- threads and nonsense --- */

static void *queue_many(void *feeder)
{
    for (uint64_t vlsn = 1; vlsn <= 500; vlsn++) {
        nxf_feeder_queue_entry((const nxf_feeder *)feeder, vlsn, 13, NULL, 0, NULL);
        nxf_feeder_record_ack((const nxf_feeder *)feeder, vlsn);
    }
    return NULL;
}

static void count_message(void *context, const uint8_t *message, size_t len)
{
    (void)message;
    (void)len;
    ++*(size_t *)context;
}

static void any_number_of_threads_may_use_one(void **state)
{
    nxf_feeder *feeder = feeder_of(state);
    pthread_t threads[3];
    size_t counted = 0, drained = 0;
    for (size_t at = 0; at < 3; at++)
        pthread_create(&threads[at], NULL, queue_many, feeder);
    while (drained < 1500) {
        size_t count = 0;
        assert_ok(nxf_feeder_drain, feeder, count_message, &counted, &count);
        drained += count;
    }
    for (size_t at = 0; at < 3; at++)
        pthread_join(threads[at], NULL);
    assert_int_equal(counted, 1500);
    assert_int_equal(nxf_feeder_current_vlsn(feeder), 501);
    assert_int_equal(nxf_feeder_acked_vlsn(feeder), 500);
}

static void null_and_nonsense_are_refused_by_name(void **state)
{
    nxf_feeder *feeder = NULL;
    char buf[8];
    size_t len;
    assert_refused(NXF_E_INVALID_ARGUMENT, "`replica_name`", nxf_feeder_new, NULL, NULL, &feeder);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`replica_name`", nxf_feeder_new, "\xff", NULL, &feeder);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`feeder`", nxf_feeder_new, "r1", NULL, NULL);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`feeder`", nxf_feeder_set_state, NULL, 0);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`feeder`", nxf_feeder_queue_entry, NULL, 1, 1, NULL, 0);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`feeder`", nxf_feeder_drain, NULL, record_message, NULL, &len);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`feeder`", nxf_feeder_debug_text, NULL, buf, 8, &len);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`feeder`", nxf_feeder_replica_name, NULL, buf, 8, &len);
    assert_int_equal(nxf_feeder_record_ack(NULL, 1), NXF_E_INVALID_ARGUMENT);
    assert_int_equal(nxf_feeder_touch(NULL), NXF_E_INVALID_ARGUMENT);
    assert_int_equal(nxf_feeder_state(NULL), 0);
    assert_int_equal(nxf_feeder_current_vlsn(NULL), 0);
    assert_int_equal(nxf_feeder_acked_vlsn(NULL), 0);
    assert_int_equal(nxf_feeder_lag(NULL), 0);
    assert_false(nxf_feeder_is_timed_out(NULL, 0));
    nxf_feeder_free(NULL);

    feeder = feeder_of(state);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`data`", nxf_feeder_queue_entry, feeder, 1, 1, NULL, 1);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`callback`", nxf_feeder_drain, feeder, NULL, NULL, &len);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`buf`", nxf_feeder_debug_text, feeder, NULL, 8, &len);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`len`", nxf_feeder_replica_name, feeder, buf, 8, NULL);
}

#define feeder_test(function) cmocka_unit_test_setup_teardown(function, make_feeder, free_feeder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        feeder_test(it_begins_idle_and_empty),
        feeder_test(any_state_may_follow_any),
        feeder_test(queueing_raises_the_current_vlsn_and_never_lowers_it),
        feeder_test(acks_only_raise_what_is_acked),
        feeder_test(the_lag_is_what_was_not_acked_and_never_below_0),
        feeder_test(messages_are_drained_in_the_order_queued_older_vlsns_too),
        feeder_test(what_is_queued_while_draining_is_drained_the_next_time),
        feeder_test(a_full_queue_takes_nothing_more_until_it_is_drained),
        feeder_test(the_clock_runs_from_the_last_activity),
        feeder_test(queueing_acks_and_touches_are_activity_and_states_are_none),
        feeder_test(the_name_is_written_where_there_is_room),
        feeder_test(the_debug_text_shows_all_there_is),
        feeder_test(any_number_of_threads_may_use_one),
        feeder_test(null_and_nonsense_are_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
