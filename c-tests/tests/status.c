/* Statuses: their numbers and names never change. */
#include "nxf_test.h"

struct named {
    nxf_status status;
    nxf_status number;
    const char *name;
};

#define NAMED(status, number) { status, number, #status }

static const struct named all[] = {
    NAMED(NXF_OK, 0),
    NAMED(NXF_AGAIN, 1),
    NAMED(NXF_CLOSED, 2),
    NAMED(NXF_TIMEOUT, 3),
    NAMED(NXF_E_INVALID_ARGUMENT, -1),
    NAMED(NXF_E_INVALID_OPTION, -2),
    NAMED(NXF_E_WRONG_STATE, -3),
    NAMED(NXF_E_INSIDE_CALLBACK, -4),
    NAMED(NXF_E_BUFFER_TOO_SMALL, -5),
    NAMED(NXF_E_PANIC, -6),
    NAMED(NXF_E_FORKED, -7),
    NAMED(NXF_E_OS, -8),
    NAMED(NXF_E_CALLBACK, -9),
    NAMED(NXF_E_NO_MEMORY, -10),
    NAMED(NXF_E_LOG_IO, -20),
    NAMED(NXF_E_LOG_FILE_HEADER, -21),
    NAMED(NXF_E_LOG_DAMAGED, -22),
    NAMED(NXF_E_LOG_GAP, -23),
    NAMED(NXF_E_LOG_TRUNCATED, -24),
    NAMED(NXF_E_LOG_FILE_GONE, -25),
    NAMED(NXF_E_LOG_HISTORY_CHANGED, -26),
    NAMED(NXF_E_ENTRY_TOO_LARGE, -27),
    NAMED(NXF_E_LOG_AHEAD, -28),
    NAMED(NXF_E_ACK_BEYOND_SENT, -40),
    NAMED(NXF_E_PROTOCOL, -41),
    NAMED(NXF_E_CONNECT, -42),
    NAMED(NXF_E_WRITE_TIMEOUT, -43),
    NAMED(NXF_E_CONNECTION, -44),
    NAMED(NXF_E_ACK_TIMEOUT, -45),
};

static void every_status_has_its_number_and_its_name(void **state)
{
    (void)state;
    for (size_t at = 0; at < sizeof all / sizeof all[0]; at++) {
        assert_int_equal(all[at].status, all[at].number);
        assert_string_equal(nxf_status_name(all[at].status), all[at].name);
    }
}

static void a_number_that_is_no_status_has_a_name_too(void **state)
{
    const nxf_status none[] = { 4, 99, -11, -19, -29, -39, -100, INT32_MAX, INT32_MIN };
    (void)state;
    for (size_t at = 0; at < sizeof none / sizeof none[0]; at++)
        assert_string_equal(nxf_status_name(none[at]), "NXF_UNKNOWN");
}

static void a_name_is_the_same_string_every_time(void **state)
{
    (void)state;
    assert_ptr_equal(nxf_status_name(NXF_E_LOG_GAP), nxf_status_name(NXF_E_LOG_GAP));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_status_has_its_number_and_its_name),
        cmocka_unit_test(a_number_that_is_no_status_has_a_name_too),
        cmocka_unit_test(a_name_is_the_same_string_every_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
