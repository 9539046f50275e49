/*
 * Calls into the library that say what they expect of it. On the test's own thread only, as all of cmocka.
 */
#ifndef NXF_TEST_CHECK_H
#define NXF_TEST_CHECK_H

#include "nxf_test.h"

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A wait that lasts this long fails. No test should take a noticeable part of it. */
#define PATIENCE_MS 60000

/*
 * Calls FUNCTION with the arguments and an nxf_error **. EXPECTED is NXF_OK or positive: no error may come. It is
 * negative: an error has to come that has the same status, and WORD in its message.
 */
#define assert_ok(function, ...) assert_status(NXF_OK, function, __VA_ARGS__)
#define assert_status(expected, function, ...) assert_refused(expected, "", function, __VA_ARGS__)
#define assert_refused(expected, word, function, ...)                                          \
    do {                                                                                       \
        nxf_error *check_error = NULL;                                                         \
        nxf_status check_status = function(__VA_ARGS__, &check_error);                         \
        check_call(#function, expected, check_status, check_error, word, __FILE__, __LINE__);  \
    } while (0)

void check_call(const char *function, nxf_status expected, nxf_status status, nxf_error *error, const char *word,
                const char *file, int line);

#define assert_contains(text, part) check_contains(text, part, __FILE__, __LINE__)
void check_contains(const char *text, const char *part, const char *file, int line);

/* Asks again and again until it is so. For changes of which nobody can be told. */
#define assert_soon(is_so, context) check_soon(is_so, context, #is_so, __FILE__, __LINE__)
void check_soon(bool (*is_so)(void *context), void *context, const char *what, const char *file, int line);

/* Ends the test, saying why. */
#define fail_with(...)                           \
    do {                                         \
        print_error(__VA_ARGS__);                \
        print_error("\n");                       \
        _fail(__FILE__, __LINE__);               \
    } while (0)

long long now_ms(void);
void nap(void);

/* Whether this is a run under valgrind: some tests do less there. */
bool is_slow(void);

#ifdef __cplusplus
}
#endif

#endif
