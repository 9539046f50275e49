/* Options: keys and values are checked, and errors name the allowed ones. */
#include "support/check.h"

/* As docs/options.md has them. Those of number type first, with their bounds. */
static const char *const numbers[][3] = {
    { "log.settle_ms", "1", "86400000" },
    { "log.gap_patience_ms", "1", "86400000" },
    { "log.read_bytes", "65536", "67108864" },
    { "log.reorder_entries_max", "1", "67108864" },
    { "log.reorder_bytes_max", "1", "1099511627776" },
    { "log.proof_bytes_max", "65536", "68719476736" },
    { "channel.connect_timeout_ms", "1", "86400000" },
    { "channel.write_timeout_ms", "1", "86400000" },
    { "channel.keepalive_ms", "0", "86400000" },
    { "channel.local_queue_bytes_max", "1", "68719476736" },
    { "channel.send_buffer_bytes", "0", "1073741824" },
    { "runner.write_timeout_ms", "1", "86400000" },
    { "runner.ack_timeout_ms", "0", "86400000" },
    { "runner.linger_ms", "0", "86400000" },
    { "runner.safety_look_ms", "10", "86400000" },
    { "runner.unnotified_look_ms", "1", "86400000" },
    { "runner.chunk_bytes", "4096", "16777216" },
    { "runner.queue_bytes_max", "4096", "1073741824" },
    { "runner.share_from_bytes", "0", "67108864" },
    { "runner.stack_bytes", "262144", "1073741824" },
    { "server.threads", "1", "256" },
    { "server.connections_max", "1", "1048576" },
    { "server.greetings_max", "1", "1048576" },
    { "server.name_timeout_ms", "1", "86400000" },
    { "server.step_timeout_ms", "1", "86400000" },
    { "server.restore_bytes_per_s", "0", "1099511627776" },
    { "server.ack_timeout_ms", "0", "86400000" },
    { "server.behind_ms", "1", "86400000" },
    { "server.shared_bytes_max", "0", "68719476736" },
    { "server.events_max", "16", "16777216" },
    { "server.redial_min_ms", "1", "86400000" },
    { "server.redial_max_ms", "1", "86400000" },
    { "ack.queue_max", "1", "16777216" },
    { "feeder.queue_bytes_max", "1", "68719476736" },
};
#define NUMBERS (sizeof numbers / sizeof numbers[0])

static const char *const not_utf8 = "log\xff\xfe";

static int make_options(void **state)
{
    nxf_options *options = NULL;
    assert_ok(nxf_options_new, &options);
    *state = options;
    return 0;
}

static int free_options(void **state)
{
    nxf_options_free((nxf_options *)*state);
    return 0;
}

static void a_number_is_taken_within_its_bounds(void **state)
{
    nxf_options *options = (nxf_options *)*state;
    for (size_t at = 0; at < NUMBERS; at++) {
        assert_ok(nxf_options_set, options, numbers[at][0], numbers[at][1]);
        assert_ok(nxf_options_set, options, numbers[at][0], numbers[at][2]);
    }
}

static void what_is_no_number_within_the_bounds_is_refused_with_the_bounds(void **state)
{
    static const char *const nonsense[] = { "", "-1", "1.5", "soon", "1s", " 1", "99999999999999999999999999" };
    nxf_options *options = (nxf_options *)*state;
    for (size_t at = 0; at < NUMBERS; at++) {
        for (size_t value = 0; value < sizeof nonsense / sizeof nonsense[0]; value++) {
            assert_refused(NXF_E_INVALID_OPTION, numbers[at][0], nxf_options_set, options, numbers[at][0],
                           nonsense[value]);
            assert_refused(NXF_E_INVALID_OPTION, numbers[at][1], nxf_options_set, options, numbers[at][0],
                           nonsense[value]);
            assert_refused(NXF_E_INVALID_OPTION, numbers[at][2], nxf_options_set, options, numbers[at][0],
                           nonsense[value]);
        }
    }
}

static void a_value_that_is_refused_is_in_the_message(void **state)
{
    assert_refused(NXF_E_INVALID_OPTION, "soon", nxf_options_set, (nxf_options *)*state, "log.settle_ms", "soon");
}

static void a_word_is_one_of_those_allowed(void **state)
{
    nxf_options *options = (nxf_options *)*state;
    assert_ok(nxf_options_set, options, "ack.beyond_sent", "accept");
    assert_ok(nxf_options_set, options, "ack.beyond_sent", "error");
    assert_refused(NXF_E_INVALID_OPTION, "error, accept", nxf_options_set, options, "ack.beyond_sent", "ignore");
    assert_refused(NXF_E_INVALID_OPTION, "error, accept", nxf_options_set, options, "ack.beyond_sent", "Accept");
    assert_ok(nxf_options_set, options, "source.order", "rising");
    assert_refused(NXF_E_INVALID_OPTION, "dense, rising", nxf_options_set, options, "source.order", "falling");
}

static void an_unknown_key_is_refused_with_all_there_are(void **state)
{
    nxf_options *options = (nxf_options *)*state;
    nxf_error *err = NULL;
    assert_int_equal(nxf_options_set(options, "log.settle", "1", &err), NXF_E_INVALID_OPTION);
    assert_contains(nxf_error_message(err), "`log.settle`");
    assert_contains(nxf_error_message(err), "ack.beyond_sent");
    assert_contains(nxf_error_message(err), "source.order");
    for (size_t at = 0; at < NUMBERS; at++)
        assert_contains(nxf_error_message(err), numbers[at][0]);
    nxf_error_free(err);
    assert_status(NXF_OK, nxf_options_set, options, "log.settle_ms", "1");
    assert_refused(NXF_E_INVALID_OPTION, "", nxf_options_set, options, "", "1");
    assert_refused(NXF_E_INVALID_OPTION, "", nxf_options_set, options, "LOG.SETTLE_MS", "1");
}

static void null_and_what_is_no_text_are_refused_by_name(void **state)
{
    nxf_options *options = (nxf_options *)*state;
    assert_refused(NXF_E_INVALID_ARGUMENT, "`options`", nxf_options_set, NULL, "log.settle_ms", "1");
    assert_refused(NXF_E_INVALID_ARGUMENT, "`key`", nxf_options_set, options, NULL, "1");
    assert_refused(NXF_E_INVALID_ARGUMENT, "`value`", nxf_options_set, options, "log.settle_ms", NULL);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`key`", nxf_options_set, options, not_utf8, "1");
    assert_refused(NXF_E_INVALID_ARGUMENT, "`value`", nxf_options_set, options, "log.settle_ms", not_utf8);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`options`", nxf_options_new, NULL);
}

/* --- what they are --- */

static const char *value_of(const nxf_options *options, const char *key)
{
    static char value[32];
    size_t len = 0;
    assert_ok(nxf_options_get, options, key, value, sizeof value, &len);
    assert_int_equal(len, strlen(value));
    return value;
}

static void what_was_set_can_be_read(void **state)
{
    nxf_options *options = (nxf_options *)*state;
    char small[3] = "xx";
    size_t len = 0;
    assert_string_equal(value_of(options, "log.settle_ms"), "3000");
    assert_ok(nxf_options_set, options, "log.settle_ms", "0020");
    assert_string_equal(value_of(options, "log.settle_ms"), "20");
    assert_refused(NXF_E_INVALID_OPTION, "", nxf_options_set, options, "log.settle_ms", "0");
    assert_string_equal(value_of(options, "log.settle_ms"), "20");
    assert_string_equal(value_of(NULL, "log.settle_ms"), "3000");
    assert_string_equal(value_of(options, "ack.beyond_sent"), "error");
    assert_ok(nxf_options_set, options, "ack.beyond_sent", "accept");
    assert_string_equal(value_of(options, "ack.beyond_sent"), "accept");

    assert_refused(NXF_E_INVALID_OPTION, "log.settle_ms", nxf_options_get, options, "log.settle", small, sizeof small,
                   &len);
    assert_refused(NXF_E_BUFFER_TOO_SMALL, "", nxf_options_get, options, "ack.beyond_sent", small, sizeof small, &len);
    assert_int_equal(len, strlen("accept"));
    assert_string_equal(small, "xx");
    assert_refused(NXF_E_BUFFER_TOO_SMALL, "", nxf_options_get, options, "ack.beyond_sent", NULL, 0, &len);
}

static nxf_option described(size_t at)
{
    nxf_option option;
    option.struct_size = sizeof option;
    assert_ok(nxf_options_describe, at, &option);
    assert_int_equal(option.struct_size, sizeof option);
    return option;
}

static void every_option_can_be_listed(void **state)
{
    nxf_options *options = (nxf_options *)*state;
    nxf_option option;
    char number[24];
    size_t count = 0, words = 0;
    option.struct_size = sizeof option;
    while (nxf_options_describe(count, &option, NULL) == NXF_OK) {
        assert_string_equal(option.default_value, value_of(options, option.key));
        assert_ok(nxf_options_set, options, option.key, option.default_value);
        assert_true(strlen(option.meaning) > 20);
        if (option.kind == NXF_OPTION_NUMBER) {
            assert_true(option.min < option.max);
            assert_string_equal(option.words, "");
            snprintf(number, sizeof number, "%llu", (unsigned long long)option.max);
            assert_ok(nxf_options_set, options, option.key, number);
            snprintf(number, sizeof number, "%llu", (unsigned long long)option.max + 1);
            assert_refused(NXF_E_INVALID_OPTION, "", nxf_options_set, options, option.key, number);
        } else {
            assert_int_equal(option.kind, NXF_OPTION_WORD);
            assert_true(option.min == 0 && option.max == 0);
            assert_contains(option.words, option.default_value);
            words++;
        }
        count++;
    }
    assert_int_equal(count - words, NUMBERS);
    assert_status(NXF_CLOSED, nxf_options_describe, count, &option);
    assert_status(NXF_CLOSED, nxf_options_describe, SIZE_MAX, &option);
    for (size_t at = 0; at < NUMBERS; at++) {
        size_t found = 0;
        while (found < count && strcmp(described(found).key, numbers[at][0]) != 0)
            found++;
        option = described(found);
        assert_int_equal(option.min, strtoull(numbers[at][1], NULL, 10));
        assert_int_equal(option.max, strtoull(numbers[at][2], NULL, 10));
    }
}

static void options_are_copied_by_who_is_given_them(void **state)
{
    nxf_options *options = NULL;
    nxf_log *log = NULL;
    nxf_scanner *scanner = NULL;
    nxf_entry entry;
    (void)state;
    assert_ok(nxf_options_new, &options);
    assert_ok(nxf_log_open, ".", options, &log);
    assert_ok(nxf_scanner_open, ".", 0, options, &scanner);
    nxf_options_free(options);
    assert_status(NXF_AGAIN, nxf_scanner_next, scanner, 0, &entry);
    nxf_scanner_free(scanner);
    nxf_log_free(log);
}

static void no_options_need_no_release(void **state)
{
    (void)state;
    nxf_options_free(NULL);
}

#define options_test(function) cmocka_unit_test_setup_teardown(function, make_options, free_options)

int main(void)
{
    const struct CMUnitTest tests[] = {
        options_test(a_number_is_taken_within_its_bounds),
        options_test(what_is_no_number_within_the_bounds_is_refused_with_the_bounds),
        options_test(a_value_that_is_refused_is_in_the_message),
        options_test(a_word_is_one_of_those_allowed),
        options_test(an_unknown_key_is_refused_with_all_there_are),
        options_test(null_and_what_is_no_text_are_refused_by_name),
        options_test(what_was_set_can_be_read),
        options_test(every_option_can_be_listed),
        cmocka_unit_test(options_are_copied_by_who_is_given_them),
        cmocka_unit_test(no_options_need_no_release),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
