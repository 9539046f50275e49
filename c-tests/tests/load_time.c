/*
 * load_time LIBRARY: how long it takes to load, all symbols bound, as the median and the best of many processes. What is
 * loaded stays loaded, so each process loads it once; what it needs itself (the C library) is there already.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TIMES 101

static long long now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void load(const char *library, int to)
{
    const long long before = now_ns();
    void *loaded = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    const long long took = now_ns() - before;
    if (loaded == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        _exit(1);
    }
    _exit(write(to, &took, sizeof took) == (ssize_t)sizeof took ? 0 : 1);
}

static int compare(const void *a, const void *b)
{
    const long long one = *(const long long *)a, other = *(const long long *)b;
    return (one > other) - (one < other);
}

int main(int argc, char **argv)
{
    static long long took[TIMES];
    int fds[2];
    if (argc != 2 || pipe(fds) != 0)
        return 2;
    for (int at = 0; at < TIMES; at++) {
        int status = 0;
        const pid_t child = fork();
        if (child == 0)
            load(argv[1], fds[1]);
        if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
            return 1;
        if (read(fds[0], &took[at], sizeof took[at]) != (ssize_t)sizeof took[at])
            return 1;
    }
    qsort(took, TIMES, sizeof took[0], compare);
    printf("load time: %lld us (median of %d), %lld us at best\n", took[TIMES / 2] / 1000, TIMES, took[0] / 1000);
    return 0;
}
