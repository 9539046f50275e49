/* One runner and several threads: what may happen at once, and what is over when stop or free has returned. */
#include "support/event.h"
#include "support/feed.h"
#include "support/sockets.h"

#include <poll.h>
#include <pthread.h>

/* --- contexts: what is called on each, and when --- */

struct use {
    struct event event;
    bool stopped; /* no call may come any more */
    unsigned calls, calls_after_stop, calls_after_drop, drops;
};

static void use_init(struct use *use)
{
    memset(use, 0, sizeof *use);
    event_init(&use->event);
}

static void use_now(struct use *use)
{
    event_lock(&use->event);
    use->calls++;
    use->calls_after_stop += use->stopped;
    use->calls_after_drop += use->drops > 0;
    event_unlock(&use->event);
}

static void use_stop(struct use *use)
{
    event_lock(&use->event);
    use->stopped = true;
    event_unlock(&use->event);
}

static void use_drop(void *context)
{
    struct use *use = (struct use *)context;
    event_lock(&use->event);
    use->drops++;
    event_unlock(&use->event);
}

static void assert_dropped_once_and_last(struct use *use, const char *what)
{
    if (use->calls == 0 || use->drops != 1 || use->calls_after_drop != 0)
        fail_with("%s: %u calls, %u of them after the drop, %u drops", what, use->calls, use->calls_after_drop,
                  use->drops);
    event_destroy(&use->event);
}

static void use_ack(void *context, const char *replica_name, uint64_t vlsn)
{
    (void)replica_name;
    (void)vlsn;
    use_now((struct use *)context);
}

static void use_end(void *context, const char *replica_name, nxf_status how, const nxf_error *why)
{
    (void)replica_name;
    (void)how;
    (void)why;
    use_now((struct use *)context);
}

static void use_log(void *context, uint32_t level, const char *target, const char *message)
{
    (void)level;
    (void)target;
    (void)message;
    use_now((struct use *)context);
}

static bool has_calls(void *context)
{
    return ((const struct use *)context)->calls >= 10;
}

/* The end of a run, while acks pour in, again and again. */
static void no_callback_runs_any_more_when_stop_has_returned(void **state)
{
    struct feed *feed = feed_of(state);
    const int rounds = is_slow() ? 3 : 20;
    log_add_range(feed->log, 1, 3000);
    for (int round = 0; round < rounds; round++) {
        struct use acks, end;
        use_init(&acks);
        use_init(&end);
        feed_connect(feed, REPLICA_ACKS);
        feed_make_runner(feed, 1);
        assert_ok(nxf_runner_set_ack_callback, feed->runner, use_ack, &acks, use_drop);
        assert_ok(nxf_runner_set_end_callback, feed->runner, use_end, &end, use_drop);
        feed_start(feed);
        event_lock(&acks.event);
        assert_true(event_wait(&acks.event, has_calls, &acks));
        event_unlock(&acks.event);

        assert_ok(nxf_runner_stop, feed->runner, -1);
        use_stop(&acks);
        use_stop(&end);
        /* Not before here is the thread of the run gone, so whatever it still called has been counted. */
        feed_free_runner(feed);
        assert_int_equal(acks.calls_after_stop, 0);
        assert_int_equal(end.calls_after_stop, 0);
        assert_int_equal(end.calls, 1);
        assert_dropped_once_and_last(&acks, "ack callback");
        assert_dropped_once_and_last(&end, "end callback");
        replica_free(feed->replica);
        feed->replica = NULL;
    }
}

/* --- contexts of all kinds --- */

struct entries {
    struct use use;
    uint64_t last;
};

static nxf_status next_entry(void *context, uint64_t from_vlsn, nxf_entry *entry)
{
    static uint8_t payload[1000];
    struct entries *entries = (struct entries *)context;
    use_now(&entries->use);
    if (from_vlsn > entries->last)
        return NXF_AGAIN;
    log_fill_payload(from_vlsn, payload, log_payload_len(from_vlsn));
    entry->vlsn = from_vlsn;
    entry->lsn = 0;
    entry->entry_type = log_type(from_vlsn);
    entry->payload = payload;
    entry->payload_len = log_payload_len(from_vlsn);
    return NXF_OK;
}

static void release_entry(void *context, const nxf_entry *entry)
{
    (void)entry;
    use_now(&((struct entries *)context)->use);
}

static void drop_entries(void *context)
{
    use_drop(&((struct entries *)context)->use);
}

struct transport {
    struct use use;
    nxf_channel *inner;
};

static nxf_status send_message(void *context, const uint8_t *message, size_t len)
{
    struct transport *transport = (struct transport *)context;
    use_now(&transport->use);
    return nxf_channel_send(transport->inner, message, len, NULL);
}

static nxf_status receive_message(void *context, uint8_t *buf, size_t capacity, size_t *len, int timeout_ms)
{
    struct transport *transport = (struct transport *)context;
    use_now(&transport->use);
    return nxf_channel_receive(transport->inner, buf, capacity, len, timeout_ms, NULL);
}

static void close_transport(void *context)
{
    struct transport *transport = (struct transport *)context;
    use_now(&transport->use);
    nxf_channel_close(transport->inner, NULL);
}

static void drop_transport(void *context)
{
    struct transport *transport = (struct transport *)context;
    nxf_channel_free(transport->inner);
    use_drop(&transport->use);
}

static void open_transport(struct feed *feed, struct transport *transport)
{
    nxf_channel_vtable vtable;
    int fds[2];
    unix_pair(fds);
    use_init(&transport->use);
    memset(&vtable, 0, sizeof vtable);
    vtable.struct_size = sizeof vtable;
    vtable.send = send_message;
    vtable.receive = receive_message;
    vtable.close = close_transport;
    vtable.drop = drop_transport;
    assert_ok(nxf_channel_from_fd, fds[0], NULL, &transport->inner);
    assert_ok(nxf_channel_from_callbacks, &vtable, transport, feed->options, &feed->channel);
    feed->replica = replica_new(fds[1], REPLICA_ACKS);
}

static void open_entries(struct feed *feed, struct entries *entries)
{
    nxf_source_vtable vtable;
    use_init(&entries->use);
    entries->last = 50;
    memset(&vtable, 0, sizeof vtable);
    vtable.struct_size = sizeof vtable;
    vtable.next = next_entry;
    vtable.release = release_entry;
    vtable.drop = drop_entries;
    assert_ok(nxf_scanner_from_callbacks, &vtable, entries, feed->options, &feed->scanner);
}

static void every_context_is_dropped_once_and_last(void **state)
{
    struct feed *feed = feed_of(state);
    static struct use acks, end, words; /* static: a failing test leaves them to the teardown */
    static struct entries entries;
    static struct transport transport;
    use_init(&acks);
    use_init(&end);
    use_init(&words);
    assert_ok(nxf_options_set_log_callback, feed->options, NXF_LEVEL_DEBUG, use_log, &words, use_drop);
    open_transport(feed, &transport);
    open_entries(feed, &entries);
    feed_make_runner(feed, 1);
    assert_ok(nxf_runner_set_ack_callback, feed->runner, use_ack, &acks, use_drop);
    assert_ok(nxf_runner_set_end_callback, feed->runner, use_end, &end, use_drop);
    assert_ok(nxf_runner_start, feed->runner, feed->scanner);
    feed->scanner = NULL;
    feed_wait_acked(feed, entries.last);
    feed_free_runner(feed);
    assert_int_equal(words.drops, 0); /* the options have it, too */
    nxf_options_free(feed->options);
    feed->options = NULL;
    assert_dropped_once_and_last(&acks, "ack callback");
    assert_dropped_once_and_last(&end, "end callback");
    assert_dropped_once_and_last(&words, "log callback");
    assert_dropped_once_and_last(&entries.use, "source");
    assert_dropped_once_and_last(&transport.use, "channel");
}

/* --- freeing --- */

static void *free_runner(void *context)
{
    struct feed *feed = (struct feed *)context;
    record_add(feed->record, "free returned %s", nxf_status_name(nxf_runner_free(feed->runner)));
    return NULL;
}

static void free_on_another_thread(struct feed *feed)
{
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, free_runner, feed), 0);
    record_wait(feed->record, "free returned NXF_OK");
    pthread_join(thread, NULL);
    feed->runner = NULL;
}

static void a_runner_is_freed_while_it_runs_by_a_thread_that_did_not_start_it(void **state)
{
    struct feed *feed = feed_of(state);
    log_add_range(feed->log, 1, 2000);
    feed_connect(feed, REPLICA_ACKS);
    feed_make_runner(feed, 1);
    feed_record_end(feed);
    feed_start(feed);
    feed_wait_acked(feed, 1);
    free_on_another_thread(feed);
    assert_record(feed->record, "r1 ended NXF_OK\nend context dropped\nfree returned NXF_OK\n");
}

static bool is_blocked(void *context)
{
    const nxf_runner_stats_t stats = feed_stats((struct feed *)context);
    return stats.bytes_sent > 0 && stats.queued_bytes > 0 && stats.sleeps > 0;
}

static void a_runner_is_freed_while_its_replica_reads_nothing(void **state)
{
    struct feed *feed = feed_of(state);
    log_add_sized(feed->log, 1, 8 * 1024 * 1024);
    feed_set(feed, "runner.linger_ms", "50");
    feed_connect_tcp(feed, REPLICA_READS_NOTHING, 4096);
    feed_make_runner(feed, 1);
    feed_record_end(feed);
    feed_start(feed);
    assert_soon(is_blocked, feed);
    free_on_another_thread(feed);
    assert_record(feed->record, "r1 ended NXF_OK\nend context dropped\nfree returned NXF_OK\n");
}

/* --- everything at once --- */

#define LAST 3000

struct shared {
    struct event event;
    const nxf_runner *runner;
    uint64_t polled, merged, acked; /* by those who poll; by the callback */
    unsigned faults;
};

static void count_faults(struct shared *shared, unsigned faults)
{
    event_lock(&shared->event);
    shared->faults += faults;
    event_unlock(&shared->event);
}

static void *poll_all(void *context)
{
    struct shared *shared = (struct shared *)context;
    nxf_ack acks[16];
    size_t count = 0;
    nxf_status status;
    while ((status = nxf_runner_poll_acks(shared->runner, acks, 16, 5, &count, NULL)) != NXF_CLOSED) {
        event_lock(&shared->event);
        for (size_t at = 0; at < count; at++)
            shared->merged += acks[at].merged;
        shared->polled += count;
        event_unlock(&shared->event);
        count_faults(shared, status != NXF_OK && status != NXF_TIMEOUT);
    }
    return NULL;
}

static void *wait_all(void *context)
{
    struct shared *shared = (struct shared *)context;
    for (uint64_t vlsn = 1; vlsn <= LAST; vlsn += 7) {
        count_faults(shared, nxf_runner_wait_acked(shared->runner, vlsn, PATIENCE_MS, NULL) != NXF_OK);
        count_faults(shared, nxf_runner_known_replica_vlsn(shared->runner) < vlsn);
    }
    return NULL;
}

static void *ask_all(void *context)
{
    struct shared *shared = (struct shared *)context;
    nxf_runner_stats_t stats;
    uint64_t acked = 0;
    memset(&stats, 0, sizeof stats);
    stats.struct_size = sizeof stats;
    while (nxf_runner_result(shared->runner, NULL) == NXF_AGAIN) {
        count_faults(shared, nxf_runner_stats(shared->runner, &stats, NULL) != NXF_OK);
        count_faults(shared, stats.acked_vlsn < acked || stats.acked_vlsn > stats.sent_vlsn);
        acked = stats.acked_vlsn;
        count_faults(shared, nxf_runner_notify(shared->runner) != NXF_OK);
    }
    return NULL;
}

static void *watch_descriptor(void *context)
{
    struct shared *shared = (struct shared *)context;
    int fd = -1, again = -1;
    count_faults(shared, nxf_runner_event_fd(shared->runner, &fd, NULL) != NXF_OK);
    while (nxf_runner_result(shared->runner, NULL) == NXF_AGAIN) {
        struct pollfd waiting = { fd, POLLIN, 0 };
        count_faults(shared, poll(&waiting, 1, 5) < 0);
        count_faults(shared, nxf_runner_event_fd(shared->runner, &again, NULL) != NXF_OK || again != fd);
    }
    struct pollfd ended = { fd, POLLIN, 0 };
    count_faults(shared, poll(&ended, 1, 0) != 1);
    return NULL;
}

static void count_ack(void *context, const char *replica_name, uint64_t vlsn)
{
    struct shared *shared = (struct shared *)context;
    const bool risen = nxf_runner_known_replica_vlsn(shared->runner) >= vlsn;
    (void)replica_name;
    event_lock(&shared->event);
    shared->acked++;
    shared->faults += !risen;
    event_unlock(&shared->event);
}

/* Two threads for each way, while the log grows. */
static void use_in_every_way(struct feed *feed, bool by_callback)
{
    static void *(*const ways[])(void *) = { poll_all, wait_all, ask_all, watch_descriptor };
    static struct shared shared;
    pthread_t threads[8];
    memset(&shared, 0, sizeof shared);
    event_init(&shared.event);
    feed_connect(feed, REPLICA_ACKS);
    feed_make_runner(feed, 1);
    shared.runner = feed->runner;
    if (by_callback)
        assert_ok(nxf_runner_set_ack_callback, feed->runner, count_ack, &shared, NULL);
    feed_start(feed);
    for (size_t at = 0; at < 8; at++)
        assert_int_equal(pthread_create(&threads[at], NULL, ways[at / 2], &shared), 0);
    for (uint64_t vlsn = 1; vlsn <= LAST; vlsn += 100)
        log_add_range(feed->log, vlsn, vlsn + 99);
    feed_wait_acked(feed, LAST);
    assert_ok(nxf_runner_stop, feed->runner, -1);
    for (size_t at = 0; at < 8; at++)
        pthread_join(threads[at], NULL);
    assert_int_equal(shared.faults, 0);
    assert_int_equal(shared.polled + shared.merged, by_callback ? 0 : LAST);
    assert_int_equal(shared.acked, by_callback ? LAST : 0);
    assert_frames(feed->replica, 1, LAST);
    feed_free_runner(feed);
    event_destroy(&shared.event);
}

static void threads_poll_wait_ask_and_watch_one_runner_at_once(void **state)
{
    use_in_every_way(feed_of(state), false);
}

static void the_same_while_acks_go_to_a_callback(void **state)
{
    use_in_every_way(feed_of(state), true);
}

/* --- nobody polls --- */

static bool is_all_acked(void *context)
{
    return feed_stats((struct feed *)context).acks_received == LAST;
}

static void a_host_that_never_polls_costs_a_bounded_queue_and_no_position(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_ack acks[32];
    size_t count = 0;
    uint64_t merged = 0, highest = 0;
    feed_set(feed, "ack.queue_max", "16");
    log_add_range(feed->log, 1, LAST);
    feed_up(feed, REPLICA_ACKS);
    assert_soon(is_all_acked, feed);
    assert_int_equal(nxf_runner_known_replica_vlsn(feed->runner), LAST);
    assert_int_equal(feed_stats(feed).acks_merged, LAST - 16);

    assert_ok(nxf_runner_poll_acks, feed->runner, acks, 32, 0, &count);
    assert_int_equal(count, 16);
    for (size_t at = 0; at < count; at++) {
        merged += acks[at].merged;
        highest = acks[at].vlsn > highest ? acks[at].vlsn : highest;
    }
    assert_int_equal(merged, LAST - 16);
    assert_int_equal(highest, LAST);
    assert_status(NXF_TIMEOUT, nxf_runner_poll_acks, feed->runner, acks, 32, 0, &count);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        feed_test(no_callback_runs_any_more_when_stop_has_returned),
        feed_test(every_context_is_dropped_once_and_last),
        feed_test(a_runner_is_freed_while_it_runs_by_a_thread_that_did_not_start_it),
        feed_test(a_runner_is_freed_while_its_replica_reads_nothing),
        feed_test(threads_poll_wait_ask_and_watch_one_runner_at_once),
        feed_test(the_same_while_acks_go_to_a_callback),
        feed_test(a_host_that_never_polls_costs_a_bounded_queue_and_no_position),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
