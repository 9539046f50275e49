#include "support/check.h"

#include <time.h>

void check_call(const char *function, nxf_status expected, nxf_status status, nxf_error *error, const char *word,
                const char *file, int line)
{
    const bool as_expected = status == expected;
    const bool described = expected >= NXF_OK
        ? error == NULL
        : nxf_error_status(error) == expected && strstr(nxf_error_message(error), word) != NULL;
    if (!as_expected || !described) {
        print_error("%s returned %s with \"%s\" instead of %s%s%s\n", function, nxf_status_name(status),
                    nxf_error_message(error), nxf_status_name(expected), word[0] ? " with " : "", word);
    }
    nxf_error_free(error);
    if (!as_expected || !described)
        _fail(file, line);
}

void check_contains(const char *text, const char *part, const char *file, int line)
{
    if (strstr(text, part) == NULL) {
        print_error("\"%s\" does not contain \"%s\"\n", text, part);
        _fail(file, line);
    }
}

void check_soon(bool (*is_so)(void *context), void *context, const char *what, const char *file, int line)
{
    const long long deadline = now_ms() + PATIENCE_MS;
    while (!is_so(context)) {
        if (now_ms() > deadline) {
            print_error("%s did not come true\n", what);
            _fail(file, line);
        }
        nap();
    }
}

long long now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

void nap(void)
{
    const struct timespec millisecond = { 0, 1000000 };
    nanosleep(&millisecond, NULL);
}

bool is_slow(void)
{
    return getenv("NXF_VALGRIND") != NULL;
}
