/*
 * The library loaded at run time: closed while it works, and loaded twice. What is loaded is a copy of the shared
 * library under another name, so it is not the one that this program is linked with.
 */
#include "support/feed.h"
#include "support/sockets.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- a loaded copy --- */

#define FUNCTIONS(with)                                                                                             \
    with(nxf_log_open) with(nxf_log_free) with(nxf_scanner_from_log) with(nxf_channel_from_fd) with(nxf_runner_new) \
    with(nxf_runner_set_ack_callback) with(nxf_runner_set_end_callback) with(nxf_runner_start)                       \
    with(nxf_runner_wait_acked) with(nxf_runner_known_replica_vlsn) with(nxf_runner_stop) with(nxf_runner_result)    \
    with(nxf_runner_free) with(nxf_options_new) with(nxf_options_set) with(nxf_options_free) with(nxf_error_free)

/* A pointer for each function, of its type. */
struct copy {
    void *object;
#ifdef __cplusplus
#define DECLARE(function) decltype(&::function) function;
#else
#define DECLARE(function) __typeof__(&function) function;
#endif
    FUNCTIONS(DECLARE)
};

static void fetch(struct copy *copy, const char *name, void *place, size_t size)
{
    void *found = dlsym(copy->object, name);
    if (found == NULL)
        fail_with("%s: %s", name, dlerror());
    /* C has no cast from an object's address to a function's. */
    memcpy(place, &found, size);
}

static void load(struct copy *copy, const char *path)
{
    copy->object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (copy->object == NULL)
        fail_with("%s", dlerror());
#define FETCH(function) fetch(copy, #function, &copy->function, sizeof copy->function);
    FUNCTIONS(FETCH)
}

static void copy_library(const char *to)
{
    static char bytes[1 << 16];
    const int from = open(NXF_TEST_SHARED_LIBRARY, O_RDONLY | O_CLOEXEC);
    const int into = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0700);
    ssize_t len;
    assert_true(from >= 0 && into >= 0);
    while ((len = read(from, bytes, sizeof bytes)) > 0)
        assert_int_equal(write(into, bytes, (size_t)len), len);
    assert_int_equal(len, 0);
    close(from);
    close(into);
}

/* --- a feed over a copy --- */

struct copy_feed {
    nxf_options *options;
    nxf_log *log;
    nxf_runner *runner;
    struct replica *replica;
};

static void start(const struct copy *copy, struct copy_feed *feed, const char *dir, struct record *record)
{
    nxf_channel *channel = NULL;
    nxf_scanner *scanner = NULL;
    int fds[2];
    unix_pair(fds);
    feed->replica = replica_new(fds[1], REPLICA_ACKS);
    assert_ok(copy->nxf_options_new, &feed->options);
    assert_ok(copy->nxf_options_set, feed->options, "runner.safety_look_ms", "86400000");
    assert_ok(copy->nxf_log_open, dir, feed->options, &feed->log);
    assert_ok(copy->nxf_scanner_from_log, feed->log, NXF_LSN_FIRST, &scanner);
    assert_ok(copy->nxf_channel_from_fd, fds[0], feed->options, &channel);
    assert_ok(copy->nxf_runner_new, channel, "r1", 1, feed->options, &feed->runner);
    if (record != NULL) {
        assert_ok(copy->nxf_runner_set_ack_callback, feed->runner, record_ack, record, record_drop_ack);
        assert_ok(copy->nxf_runner_set_end_callback, feed->runner, record_end, record, record_drop_end);
    }
    assert_ok(copy->nxf_runner_start, feed->runner, scanner);
}

static void assert_fed(const struct copy *copy, const struct copy_feed *feed, uint64_t last)
{
    assert_ok(copy->nxf_runner_wait_acked, feed->runner, last, PATIENCE_MS);
    assert_int_equal(copy->nxf_runner_known_replica_vlsn(feed->runner), last);
    assert_frames(feed->replica, 1, last);
}

static void finish(const struct copy *copy, struct copy_feed *feed)
{
    assert_ok(copy->nxf_runner_stop, feed->runner, -1);
    assert_int_equal(copy->nxf_runner_free(feed->runner), NXF_OK);
    copy->nxf_log_free(feed->log);
    copy->nxf_options_free(feed->options);
    replica_free(feed->replica);
}

/* --- closing --- */

static void a_run_goes_on_when_the_library_is_closed(void **state)
{
    struct feed *feed = feed_of(state);
    struct copy copy, again;
    struct copy_feed fed;
    copy_library("./closed.so");
    load(&copy, "./closed.so");
    log_add(feed->log, 1);
    start(&copy, &fed, log_dir(feed->log), feed->record);
    assert_fed(&copy, &fed, 1);

    assert_int_equal(dlclose(copy.object), 0);
    for (uint64_t vlsn = 2; vlsn <= 20; vlsn++) {
        log_add(feed->log, vlsn);
        replica_wait_frames(fed.replica, (size_t)vlsn);
    }

    /* It has stayed where it was: what is fetched again is the same, and knows the runner. */
    load(&again, "./closed.so");
    assert_true(again.nxf_runner_free == copy.nxf_runner_free);
    assert_fed(&again, &fed, 20);
    finish(&again, &fed);
    record_wait(feed->record, "r1 ended NXF_OK");
    assert_int_equal(dlclose(again.object), 0);
}

/* Threads of the host that were in the library still have its thread-local destructors to run. */
static void *use_on_a_thread(void *context)
{
    const struct copy *copy = (const struct copy *)context;
    nxf_options *options = NULL;
    nxf_error *err = NULL;
    if (copy->nxf_options_new(&options, NULL) != NXF_OK)
        return NULL;
    copy->nxf_options_set(options, "no such key", "1", &err);
    copy->nxf_error_free(err);
    copy->nxf_options_free(options);
    return dlclose(copy->object) == 0 ? context : NULL;
}

static void threads_end_after_the_library_was_closed(void **state)
{
    (void)state;
    copy_library("./threads.so");
    for (int round = 0; round < 10; round++) {
        struct copy copies[4];
        pthread_t threads[4];
        for (size_t at = 0; at < 4; at++) {
            load(&copies[at], "./threads.so");
            assert_int_equal(pthread_create(&threads[at], NULL, use_on_a_thread, &copies[at]), 0);
        }
        for (size_t at = 0; at < 4; at++) {
            void *closed = NULL;
            pthread_join(threads[at], &closed);
            assert_non_null(closed);
        }
    }
}

/* --- twice --- */

static void two_copies_in_one_process_feed_at_once(void **state)
{
    struct feed *feed = feed_of(state);
    struct copy copy;
    struct copy_feed fed;
    copy_library("./second.so");
    load(&copy, "./second.so");
    assert_true(copy.nxf_runner_new != nxf_runner_new);
    start(&copy, &fed, log_dir(feed->log), NULL);
    feed_up(feed, REPLICA_ACKS);
    for (uint64_t vlsn = 1; vlsn <= 1000; vlsn += 50)
        log_add_range(feed->log, vlsn, vlsn + 49);
    assert_fed(&copy, &fed, 1000);
    feed_wait_acked(feed, 1000);
    assert_frames(feed->replica, 1, 1000);

    /* The end of one is not the other's. */
    finish(&copy, &fed);
    log_add(feed->log, 1001);
    feed_wait_acked(feed, 1001);
    start(&copy, &fed, log_dir(feed->log), NULL);
    feed_free_runner(feed);
    log_add(feed->log, 1002);
    assert_fed(&copy, &fed, 1002);
    finish(&copy, &fed);
    dlclose(copy.object);
}

/* Each knows of its own that they are the parent's. */
static void two_copies_notice_the_same_fork(void **state)
{
    struct feed *feed = feed_of(state);
    struct copy copy;
    struct copy_feed fed;
    int status = 0;
    if (is_slow())
        skip(); /* a child that leaves what it inherited alone leaks it, as valgrind sees it */
    copy_library("./forked.so");
    load(&copy, "./forked.so");
    start(&copy, &fed, log_dir(feed->log), NULL);
    feed_up(feed, REPLICA_ACKS);
    const pid_t child = fork();
    if (child == 0) {
        const bool forked = copy.nxf_runner_result(fed.runner, NULL) == NXF_E_FORKED &&
                            nxf_runner_result(feed->runner, NULL) == NXF_E_FORKED;
        const bool freed = copy.nxf_runner_free(fed.runner) == NXF_OK && nxf_runner_free(feed->runner) == NXF_OK;
        _exit(forked && freed ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    log_add(feed->log, 1);
    feed_wait_acked(feed, 1);
    assert_fed(&copy, &fed, 1);
    finish(&copy, &fed);
    dlclose(copy.object);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        feed_test(a_run_goes_on_when_the_library_is_closed),
        cmocka_unit_test(threads_end_after_the_library_was_closed),
        feed_test(two_copies_in_one_process_feed_at_once),
        feed_test(two_copies_notice_the_same_fork),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
