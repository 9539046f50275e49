/* The versions agree: what the header says, what the library says, and what the package was installed as. */
#include "nxf_test.h"

static void the_library_is_of_the_headers_version(void **state)
{
    char expected[64];
    (void)state;
    snprintf(expected, sizeof expected, "%u.%u.%u", (unsigned)NXF_VERSION_MAJOR, (unsigned)NXF_VERSION_MINOR,
             (unsigned)NXF_VERSION_PATCH);
    /* A pre-release adds to it: 1.2.3-rc.1. */
    assert_memory_equal(nxf_version(), expected, strlen(expected));
    assert_true(nxf_version()[strlen(expected)] == '\0' || nxf_version()[strlen(expected)] == '-');
}

static void the_package_is_of_the_headers_version(void **state)
{
    char expected[64];
    (void)state;
    snprintf(expected, sizeof expected, "%u.%u.%u", (unsigned)NXF_VERSION_MAJOR, (unsigned)NXF_VERSION_MINOR,
             (unsigned)NXF_VERSION_PATCH);
    assert_string_equal(NXF_TEST_PACKAGE_VERSION, expected);
}

static void the_abi_has_a_version(void **state)
{
    (void)state;
    assert_true(nxf_abi_version() > 0);
}

static void the_version_is_the_same_string_every_time(void **state)
{
    (void)state;
    assert_ptr_equal(nxf_version(), nxf_version());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_library_is_of_the_headers_version),
        cmocka_unit_test(the_package_is_of_the_headers_version),
        cmocka_unit_test(the_abi_has_a_version),
        cmocka_unit_test(the_version_is_the_same_string_every_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
