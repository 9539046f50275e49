/* Error objects: the facts in them, the facts that they lack, and that nobody has to take them. */
#include "support/check.h"

#include <errno.h>

static nxf_error *missing_directory(void)
{
    nxf_log *log = NULL;
    nxf_error *err = NULL;
    assert_int_equal(nxf_log_open("no-such-directory", NULL, &log, &err), NXF_E_LOG_IO);
    assert_null(log);
    assert_non_null(err);
    return err;
}

static void an_error_says_what_happened_in_words_and_numbers(void **state)
{
    nxf_error *err = missing_directory();
    (void)state;
    assert_int_equal(nxf_error_status(err), NXF_E_LOG_IO);
    assert_int_equal(nxf_error_errno(err), ENOENT);
    assert_contains(nxf_error_message(err), "no-such-directory");
    assert_contains(nxf_error_message(err), strerror(ENOENT));
    nxf_error_free(err);
}

static void what_the_system_refused_may_work_another_time(void **state)
{
    nxf_error *err = missing_directory();
    (void)state;
    assert_true(nxf_error_is_retriable(err));
    assert_false(nxf_error_needs_restore(err));
    nxf_error_free(err);
}

static void a_mistake_stays_one(void **state)
{
    nxf_error *err = NULL;
    (void)state;
    assert_int_equal(nxf_log_open(NULL, NULL, NULL, &err), NXF_E_INVALID_ARGUMENT);
    assert_false(nxf_error_is_retriable(err));
    assert_false(nxf_error_needs_restore(err));
    assert_int_equal(nxf_error_errno(err), 0);
    nxf_error_free(err);
}

static void facts_that_an_error_does_not_have_are_not_written(void **state)
{
    nxf_error *err = missing_directory();
    uint32_t file = 7;
    uint64_t offset = 8, vlsn = 9;
    (void)state;
    assert_false(nxf_error_file(err, &file));
    assert_false(nxf_error_offset(err, &offset));
    assert_false(nxf_error_vlsn(err, &vlsn));
    assert_true(file == 7 && offset == 8 && vlsn == 9);
    assert_false(nxf_error_file(err, NULL));
    assert_false(nxf_error_offset(err, NULL));
    assert_false(nxf_error_vlsn(err, NULL));
    nxf_error_free(err);
}

static void null_is_no_error(void **state)
{
    uint32_t file = 7;
    uint64_t offset = 8, vlsn = 9;
    (void)state;
    assert_int_equal(nxf_error_status(NULL), NXF_OK);
    assert_string_equal(nxf_error_message(NULL), "");
    assert_int_equal(nxf_error_errno(NULL), 0);
    assert_false(nxf_error_file(NULL, &file));
    assert_false(nxf_error_offset(NULL, &offset));
    assert_false(nxf_error_vlsn(NULL, &vlsn));
    assert_true(file == 7 && offset == 8 && vlsn == 9);
    assert_false(nxf_error_is_retriable(NULL));
    assert_false(nxf_error_needs_restore(NULL));
    nxf_error_free(NULL);
}

static void nobody_has_to_take_an_error(void **state)
{
    nxf_log *log = NULL;
    (void)state;
    assert_int_equal(nxf_log_open("no-such-directory", NULL, &log, NULL), NXF_E_LOG_IO);
    assert_null(log);
}

static void where_nothing_fails_no_error_is_written(void **state)
{
    nxf_error *const before = (nxf_error *)&before;
    nxf_error *err = before;
    nxf_log *log = NULL;
    (void)state;
    assert_int_equal(nxf_log_open(".", NULL, &log, &err), NXF_OK);
    assert_ptr_equal(err, before);
    nxf_log_free(log);
}

static void an_error_outlives_what_it_is_about(void **state)
{
    nxf_options *options = NULL;
    nxf_error *err = NULL;
    (void)state;
    assert_ok(nxf_options_new, &options);
    assert_int_equal(nxf_options_set(options, "log.settle_ms", "soon", &err), NXF_E_INVALID_OPTION);
    nxf_options_free(options);
    assert_contains(nxf_error_message(err), "log.settle_ms");
    nxf_error_free(err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_error_says_what_happened_in_words_and_numbers),
        cmocka_unit_test(what_the_system_refused_may_work_another_time),
        cmocka_unit_test(a_mistake_stays_one),
        cmocka_unit_test(facts_that_an_error_does_not_have_are_not_written),
        cmocka_unit_test(null_is_no_error),
        cmocka_unit_test(nobody_has_to_take_an_error),
        cmocka_unit_test(where_nothing_fails_no_error_is_written),
        cmocka_unit_test(an_error_outlives_what_it_is_about),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
