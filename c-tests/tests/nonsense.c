/*
 * Every function of the header, called with NULL for each of its pointers, and with numbers that cannot be. It names the
 * parameter, or does what its comment says; and nothing is changed by it.
 *
 * That no function is left out, the test nonsense-calls-every-function makes sure of.
 */
#include "support/feed.h"
#include "support/sockets.h"

#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

/* Refused as a wrong argument that is named, whether or not somebody wants to know why. */
#define refuses(parameter, function, ...)                                                            \
    do {                                                                                             \
        assert_refused(NXF_E_INVALID_ARGUMENT, "`" parameter "`", function, __VA_ARGS__);            \
        assert_int_equal(function(__VA_ARGS__, (nxf_error **)NULL), NXF_E_INVALID_ARGUMENT);         \
    } while (0)

static const char not_utf8[] = "\xff\xfe";

/* --- statuses, versions, errors --- */

static void numbers_that_are_no_status_have_a_name(void **state)
{
    static const nxf_status nonsense[] = { INT_MIN, -1000, -19, 4, 1000, INT_MAX };
    (void)state;
    for (size_t at = 0; at < sizeof nonsense / sizeof nonsense[0]; at++)
        assert_string_equal(nxf_status_name(nonsense[at]), "NXF_UNKNOWN");
    assert_string_equal(nxf_run_state_name(UINT32_MAX), "NXF_UNKNOWN");
    assert_string_equal(nxf_log_state_name(UINT32_MAX), "NXF_UNKNOWN");
    assert_non_null(nxf_version());
    assert_int_equal(nxf_abi_version(), 1);
}

static void no_error_has_no_facts(void **state)
{
    uint32_t file = 7;
    uint64_t number = 7;
    (void)state;
    assert_int_equal(nxf_error_status(NULL), NXF_OK);
    assert_string_equal(nxf_error_message(NULL), "");
    assert_string_equal(nxf_error_replica(NULL), "");
    assert_int_equal(nxf_error_errno(NULL), 0);
    assert_false(nxf_error_file(NULL, &file));
    assert_false(nxf_error_offset(NULL, &number));
    assert_false(nxf_error_vlsn(NULL, &number));
    assert_false(nxf_error_file(NULL, NULL));
    assert_false(nxf_error_offset(NULL, NULL));
    assert_false(nxf_error_vlsn(NULL, NULL));
    assert_false(nxf_error_is_retriable(NULL));
    assert_false(nxf_error_needs_restore(NULL));
    nxf_error_free(NULL);
    assert_true(file == 7 && number == 7);
}

static void facts_of_an_error_need_no_place(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_error *err = NULL;
    nxf_entry entry;
    log_add(feed->log, 1);
    log_add(feed->log, 3);
    feed_scan(feed);
    assert_ok(nxf_scanner_next, feed->scanner, 1, &entry);
    nxf_status status;
    while ((status = nxf_scanner_next(feed->scanner, 2, &entry, &err)) == NXF_AGAIN)
        nap();
    assert_int_equal(status, NXF_E_LOG_GAP);
    assert_true(nxf_error_file(err, NULL));
    assert_true(nxf_error_offset(err, NULL));
    assert_true(nxf_error_vlsn(err, NULL));
    nxf_error_free(err);
}

/* --- options --- */

static void log_nothing(void *context, uint32_t level, const char *target, const char *message)
{
    (void)context;
    (void)level;
    (void)target;
    (void)message;
}

static void options_refuse_nonsense(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_options *options = feed->options;
    refuses("options", nxf_options_new, NULL);
    refuses("options", nxf_options_set, NULL, "log.settle_ms", "1");
    refuses("key", nxf_options_set, options, NULL, "1");
    refuses("key", nxf_options_set, options, not_utf8, "1");
    refuses("value", nxf_options_set, options, "log.settle_ms", NULL);
    refuses("value", nxf_options_set, options, "log.settle_ms", not_utf8);
    static const char *const values[] = { "", " ", "x", "-1", "1.5", "0x10", "99999999999999999999999999999", "1 " };
    for (size_t at = 0; at < sizeof values / sizeof values[0]; at++)
        assert_refused(NXF_E_INVALID_OPTION, "log.settle_ms", nxf_options_set, options, "log.settle_ms", values[at]);
    assert_refused(NXF_E_INVALID_OPTION, "log.settle_ms", nxf_options_set, options, "", "1");

    char text[8];
    size_t len = 7;
    nxf_option option;
    refuses("key", nxf_options_get, options, NULL, text, sizeof text, &len);
    refuses("key", nxf_options_get, options, not_utf8, text, sizeof text, &len);
    refuses("buf", nxf_options_get, options, "log.settle_ms", NULL, sizeof text, &len);
    refuses("buf", nxf_options_get, options, "log.settle_ms", text, SIZE_MAX, &len);
    refuses("len", nxf_options_get, options, "log.settle_ms", text, sizeof text, NULL);
    assert_refused(NXF_E_INVALID_OPTION, "log.settle_ms", nxf_options_get, NULL, "", text, sizeof text, &len);
    assert_int_equal(len, 7);
    refuses("option", nxf_options_describe, 0, NULL);
    refuses("option", nxf_options_describe, SIZE_MAX, NULL);
    option.struct_size = 0;
    refuses("option", nxf_options_describe, 0, &option);
    refuses("options", nxf_options_set_log_callback, NULL, NXF_LEVEL_ERROR, log_nothing, feed, NULL);
    refuses("level_max", nxf_options_set_log_callback, options, 0, log_nothing, feed, NULL);
    refuses("level_max", nxf_options_set_log_callback, options, 5, log_nothing, feed, NULL);
    refuses("level_max", nxf_options_set_log_callback, options, UINT32_MAX, log_nothing, feed, NULL);
    assert_ok(nxf_options_set_log_callback, options, NXF_LEVEL_ERROR, NULL, NULL, NULL);
    nxf_options_free(NULL);
}

/* --- logs and scanners --- */

static void logs_refuse_nonsense(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_log *log = NULL;
    uint64_t first = 7, last = 7;
    refuses("env_dir", nxf_log_open, NULL, feed->options, &log);
    refuses("log", nxf_log_open, log_dir(feed->log), feed->options, NULL);
    assert_refused(NXF_E_LOG_IO, "", nxf_log_open, "", feed->options, &log);
    assert_refused(NXF_E_LOG_IO, "", nxf_log_open, not_utf8, feed->options, &log);
    assert_null(log);
    refuses("log", nxf_log_vlsn_range, NULL, &first, &last);
    assert_ok(nxf_log_open, log_dir(feed->log), NULL, &log);
    refuses("first", nxf_log_vlsn_range, log, NULL, &last);
    refuses("last", nxf_log_vlsn_range, log, &first, NULL);
    assert_true(first == 7 && last == 7);
    assert_int_equal(nxf_log_notify(NULL), NXF_E_INVALID_ARGUMENT);
    assert_int_equal(nxf_log_set_send_limit(NULL, 0), NXF_E_INVALID_ARGUMENT);
    assert_int_equal(nxf_log_set_send_limit(log, 0), NXF_OK);
    assert_int_equal(nxf_log_set_send_limit(log, UINT64_MAX - 1), NXF_OK);
    nxf_log_free(log);
    nxf_log_free(NULL);
}

static void scanners_refuse_nonsense(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_log *log = NULL;
    nxf_scanner *scanner = NULL;
    nxf_entry entry;
    log_add(feed->log, 1);
    refuses("env_dir", nxf_scanner_open, NULL, 0, feed->options, &scanner);
    refuses("scanner", nxf_scanner_open, log_dir(feed->log), 0, feed->options, NULL);
    refuses("log", nxf_scanner_from_log, NULL, 0, &scanner);
    assert_ok(nxf_log_open, log_dir(feed->log), NULL, &log);
    refuses("scanner", nxf_scanner_from_log, log, 0, NULL);
    nxf_log_free(log);
    assert_null(scanner);
    refuses("scanner", nxf_scanner_next, NULL, 1, &entry);
    feed_scan(feed);
    refuses("entry", nxf_scanner_next, feed->scanner, 1, NULL);
    assert_ok(nxf_scanner_next, feed->scanner, 1, &entry);
    nxf_scanner_free(NULL);
}

/* There is no such place, or there is, and nothing that anybody would send from it: no crash, and no entry. */
static void places_and_vlsns_that_no_log_has_are_not_found(void **state)
{
    static const uint64_t lsns[] = { 1, 35, 37, UINT32_MAX, UINT64_MAX - 1, (uint64_t)UINT32_MAX << 32, 1ull << 63 };
    static const uint64_t vlsns[] = { UINT64_MAX, UINT64_MAX - 1, 1ull << 63 };
    struct feed *feed = feed_of(state);
    nxf_entry entry;
    log_add_range(feed->log, 1, 10);
    for (size_t at = 0; at < sizeof lsns / sizeof lsns[0]; at++) {
        nxf_error *err = NULL;
        assert_ok(nxf_scanner_open, log_dir(feed->log), lsns[at], feed->options, &feed->scanner);
        const nxf_status status = nxf_scanner_next(feed->scanner, 1000, &entry, &err);
        if (status == NXF_OK || status == NXF_E_PANIC)
            fail_with("from LSN %llx: %s", (unsigned long long)lsns[at], nxf_error_message(err));
        nxf_error_free(err);
        nxf_scanner_free(feed->scanner);
        feed->scanner = NULL;
    }
    for (size_t at = 0; at < sizeof vlsns / sizeof vlsns[0]; at++) {
        feed_scan(feed);
        assert_status(NXF_AGAIN, nxf_scanner_next, feed->scanner, vlsns[at], &entry);
        assert_status(NXF_AGAIN, nxf_scanner_next, feed->scanner, vlsns[at], &entry);
        nxf_scanner_free(feed->scanner);
        feed->scanner = NULL;
    }
}

static nxf_status supply_nothing(void *context, uint64_t from_vlsn, nxf_entry *entry)
{
    (void)context;
    (void)from_vlsn;
    (void)entry;
    return NXF_AGAIN;
}

static nxf_status supply_no_payload(void *context, uint64_t from_vlsn, nxf_entry *entry)
{
    (void)context;
    memset(entry, 0, sizeof *entry);
    entry->vlsn = from_vlsn;
    entry->payload_len = 5;
    return NXF_OK;
}

static nxf_status supply_too_long_a_payload(void *context, uint64_t from_vlsn, nxf_entry *entry)
{
    memset(entry, 0, sizeof *entry);
    entry->vlsn = from_vlsn;
    entry->payload = (const uint8_t *)context;
    entry->payload_len = SIZE_MAX;
    return NXF_OK;
}

static void sources_refuse_nonsense(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_source_vtable vtable;
    nxf_entry entry;
    memset(&vtable, 0, sizeof vtable);
    vtable.struct_size = sizeof vtable;
    refuses("vtable", nxf_scanner_from_callbacks, NULL, feed, feed->options, &feed->scanner);
    refuses("vtable", nxf_scanner_from_callbacks, &vtable, feed, feed->options, &feed->scanner);
    vtable.next = supply_nothing;
    refuses("scanner", nxf_scanner_from_callbacks, &vtable, feed, feed->options, NULL);
    vtable.struct_size = 0;
    refuses("vtable", nxf_scanner_from_callbacks, &vtable, feed, feed->options, &feed->scanner);
    vtable.struct_size = sizeof vtable.struct_size;
    refuses("vtable", nxf_scanner_from_callbacks, &vtable, feed, feed->options, &feed->scanner);
    assert_null(feed->scanner);

    /* The host's own functions may be wrong as well. */
    vtable.struct_size = sizeof vtable;
    vtable.next = supply_no_payload;
    assert_ok(nxf_scanner_from_callbacks, &vtable, feed, feed->options, &feed->scanner);
    refuses("payload", nxf_scanner_next, feed->scanner, 1, &entry);
    nxf_scanner_free(feed->scanner);
    vtable.next = supply_too_long_a_payload;
    assert_ok(nxf_scanner_from_callbacks, &vtable, feed, feed->options, &feed->scanner);
    refuses("payload", nxf_scanner_next, feed->scanner, 1, &entry);
}

/* --- channels --- */

static void channels_refuse_nonsense_to_be_made_of(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_channel *channel = NULL;
    const int file = open("/dev/null", O_RDONLY | O_CLOEXEC);
    refuses("host", nxf_channel_tcp_connect, NULL, 1, feed->options, &channel);
    refuses("host", nxf_channel_tcp_connect, not_utf8, 1, feed->options, &channel);
    refuses("channel", nxf_channel_tcp_connect, "127.0.0.1", 1, feed->options, NULL);
    assert_status(NXF_E_CONNECT, nxf_channel_tcp_connect, "127.0.0.1", 0, feed->options, &channel);
    assert_status(NXF_E_CONNECT, nxf_channel_tcp_connect, "no host has this name", 1, feed->options, &channel);
    assert_status(NXF_E_CONNECT, nxf_channel_tcp_connect, "::::", 1, feed->options, &channel);
    refuses("channel", nxf_channel_from_fd, file, feed->options, NULL);
    refuses("fd", nxf_channel_from_fd, file, feed->options, &channel);
    refuses("fd", nxf_channel_from_fd, -1, feed->options, &channel);
    refuses("fd", nxf_channel_from_fd, INT_MIN, feed->options, &channel);
    refuses("fd", nxf_channel_from_fd, INT_MAX, feed->options, &channel);
    refuses("a", nxf_channel_local_pair, feed->options, NULL, &channel);
    refuses("b", nxf_channel_local_pair, feed->options, &channel, NULL);
    assert_null(channel);
    close(file);
}

static void channels_refuse_nonsense(void **state)
{
    struct feed *feed = feed_of(state);
    uint8_t buf[8] = { 0 };
    size_t len = 7;
    feed_connect(feed, 0);
    refuses("channel", nxf_channel_send, NULL, buf, 1);
    refuses("message", nxf_channel_send, feed->channel, NULL, 1);
    refuses("message", nxf_channel_send, feed->channel, buf, SIZE_MAX);
    refuses("channel", nxf_channel_receive, NULL, buf, sizeof buf, &len, 0);
    refuses("buf", nxf_channel_receive, feed->channel, NULL, sizeof buf, &len, 0);
    refuses("buf", nxf_channel_receive, feed->channel, buf, SIZE_MAX, &len, 0);
    refuses("len", nxf_channel_receive, feed->channel, buf, sizeof buf, NULL, 0);
    assert_status(NXF_AGAIN, nxf_channel_receive, feed->channel, NULL, 0, &len, 0);
    refuses("channel", nxf_channel_close, NULL);
    assert_false(nxf_channel_is_open(NULL));
    nxf_channel_free(NULL);
    assert_int_equal(len, 7);
    assert_true(nxf_channel_is_open(feed->channel));
    /* Any number below 0 is as long as it takes. */
    assert_ok(nxf_channel_close, feed->channel);
    assert_status(NXF_CLOSED, nxf_channel_receive, feed->channel, buf, sizeof buf, &len, INT_MIN);
}

static nxf_status send_nothing(void *context, const uint8_t *message, size_t len)
{
    (void)context;
    (void)message;
    (void)len;
    return NXF_AGAIN;
}

/* Says that it has received more than there is room for. */
static nxf_status receive_too_much(void *context, uint8_t *buf, size_t capacity, size_t *len, int timeout_ms)
{
    (void)context;
    (void)buf;
    (void)timeout_ms;
    *len = capacity + 1;
    return NXF_OK;
}

static void close_nothing(void *context)
{
    (void)context;
}

static void channels_of_the_hosts_own_refuse_nonsense(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_channel_vtable vtable;
    uint8_t buf[8];
    size_t len = 0;
    memset(&vtable, 0, sizeof vtable);
    vtable.struct_size = sizeof vtable;
    refuses("vtable", nxf_channel_from_callbacks, NULL, feed, feed->options, &feed->channel);
    refuses("vtable", nxf_channel_from_callbacks, &vtable, feed, feed->options, &feed->channel);
    vtable.send = send_nothing;
    refuses("vtable", nxf_channel_from_callbacks, &vtable, feed, feed->options, &feed->channel);
    vtable.receive = receive_too_much;
    refuses("vtable", nxf_channel_from_callbacks, &vtable, feed, feed->options, &feed->channel);
    vtable.close = close_nothing;
    refuses("channel", nxf_channel_from_callbacks, &vtable, feed, feed->options, NULL);
    vtable.struct_size = 1;
    refuses("vtable", nxf_channel_from_callbacks, &vtable, feed, feed->options, &feed->channel);
    assert_null(feed->channel);
    vtable.struct_size = sizeof vtable;
    assert_ok(nxf_channel_from_callbacks, &vtable, feed, feed->options, &feed->channel);
    assert_refused(NXF_E_CALLBACK, "receive", nxf_channel_receive, feed->channel, buf, sizeof buf, &len, 0);
}

/* --- runners --- */

static void runners_refuse_nonsense(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_runner *runner = NULL;
    nxf_runner_stats_t stats;
    nxf_ack acks[1];
    size_t count = 7;
    int fd = 7;
    feed_connect(feed, 0);
    feed_scan(feed);
    refuses("channel", nxf_runner_new, NULL, "r1", 1, feed->options, &runner);
    refuses("replica_name", nxf_runner_new, feed->channel, NULL, 1, feed->options, &runner);
    refuses("replica_name", nxf_runner_new, feed->channel, not_utf8, 1, feed->options, &runner);
    refuses("runner", nxf_runner_new, feed->channel, "r1", 1, feed->options, NULL);
    assert_null(runner);
    feed_make_runner(feed, 10);
    refuses("runner", nxf_runner_set_ack_callback, NULL, record_ack, feed->record, record_drop_ack);
    refuses("callback", nxf_runner_set_ack_callback, feed->runner, NULL, feed->record, record_drop_ack);
    refuses("runner", nxf_runner_set_end_callback, NULL, record_end, feed->record, record_drop_end);
    refuses("callback", nxf_runner_set_end_callback, feed->runner, NULL, feed->record, record_drop_end);
    refuses("runner", nxf_runner_start, NULL, feed->scanner);
    refuses("scanner", nxf_runner_start, feed->runner, NULL);
    refuses("runner", nxf_runner_run, NULL, feed->scanner);
    refuses("scanner", nxf_runner_run, feed->runner, NULL);
    refuses("runner", nxf_runner_poll_acks, NULL, acks, 1, 0, &count);
    refuses("acks", nxf_runner_poll_acks, feed->runner, NULL, 1, 0, &count);
    refuses("acks", nxf_runner_poll_acks, feed->runner, acks, SIZE_MAX, 0, &count);
    refuses("capacity", nxf_runner_poll_acks, feed->runner, acks, 0, 0, &count);
    refuses("count", nxf_runner_poll_acks, feed->runner, acks, 1, 0, NULL);
    refuses("runner", nxf_runner_event_fd, NULL, &fd);
    refuses("fd", nxf_runner_event_fd, feed->runner, NULL);
    refuses("runner", nxf_runner_wait_acked, NULL, 10, 0);
    refuses("vlsn", nxf_runner_wait_acked, feed->runner, 0, 0);
    refuses("vlsn", nxf_runner_wait_acked, feed->runner, 9, INT_MIN);
    assert_status(NXF_TIMEOUT, nxf_runner_wait_acked, feed->runner, UINT64_MAX, 0);
    refuses("runner", nxf_runner_stats, NULL, &stats);
    refuses("stats", nxf_runner_stats, feed->runner, NULL);
    stats.struct_size = 0;
    refuses("stats", nxf_runner_stats, feed->runner, &stats);
    refuses("runner", nxf_runner_stop, NULL, 0);
    refuses("runners", nxf_runner_stop_all, NULL, 1, 0);
    refuses("runners", nxf_runner_stop_all, &runner, SIZE_MAX, 0);
    assert_ok(nxf_runner_stop_all, NULL, 0, -1);
    assert_ok(nxf_runner_stop_all, &runner, 1, -1);
    refuses("runner", nxf_runner_result, NULL);
    assert_int_equal(nxf_runner_notify(NULL), NXF_E_INVALID_ARGUMENT);
    assert_int_equal(nxf_runner_known_replica_vlsn(NULL), 0);
    assert_int_equal(nxf_runner_state(NULL), NXF_RUN_NEW);
    assert_string_equal(nxf_runner_replica_name(NULL), "");
    assert_int_equal(nxf_runner_set_user_pointer(NULL, feed), NXF_E_INVALID_ARGUMENT);
    assert_null(nxf_runner_user_pointer(NULL));
    assert_int_equal(nxf_runner_free(NULL), NXF_OK);
    assert_true(count == 7 && fd == 7);
    assert_int_equal(feed_stats(feed).run_state, NXF_RUN_NEW);
    assert_ok(nxf_runner_stop, feed->runner, INT_MIN);
    feed_free_runner(feed);
    assert_record(feed->record, ""); /* no context was taken */
}

static void a_run_from_the_highest_vlsn_there_can_be_waits_for_it(void **state)
{
    struct feed *feed = feed_of(state);
    log_add_range(feed->log, 1, 10);
    feed_connect(feed, 0);
    feed_make_runner(feed, UINT64_MAX);
    feed_start(feed);
    assert_status(NXF_TIMEOUT, nxf_runner_wait_acked, feed->runner, UINT64_MAX, 20);
    assert_int_equal(feed_stats(feed).run_state, NXF_RUN_RUNNING);
    assert_ok(nxf_runner_stop, feed->runner, INT_MAX);
    assert_frames(feed->replica, 1, 0);
}

/* --- servers --- */

static nxf_status name_nobody(void *context, const nxf_peer *peer, char *name, size_t capacity)
{
    (void)context;
    (void)peer;
    (void)name;
    (void)capacity;
    return NXF_CLOSED;
}

static void ignore_event(void *context, const nxf_event *event)
{
    (void)context;
    (void)event;
}

static void servers_refuse_nonsense(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_log *log = NULL;
    nxf_server *server = NULL;
    nxf_event *event = NULL;
    nxf_connection_list *list = NULL;
    uint16_t port = 7;
    int fd = 7;
    assert_ok(nxf_log_open, log_dir(feed->log), NULL, &log);
    refuses("log", nxf_server_new, NULL, feed->options, &server);
    refuses("server", nxf_server_new, log, feed->options, NULL);
    assert_null(server);
    assert_ok(nxf_server_new, log, NULL, &server);
    refuses("server", nxf_server_set_identify_callback, NULL, name_nobody, feed->record, record_drop_ack);
    refuses("callback", nxf_server_set_identify_callback, server, NULL, feed->record, record_drop_ack);
    refuses("server", nxf_server_set_event_callback, NULL, ignore_event, feed->record, record_drop_ack);
    refuses("callback", nxf_server_set_event_callback, server, NULL, feed->record, record_drop_ack);
    refuses("server", nxf_server_answer_elections, NULL, "m");
    refuses("master_name", nxf_server_answer_elections, server, NULL);
    refuses("master_name", nxf_server_answer_elections, server, not_utf8);
    refuses("server", nxf_server_listen, NULL, NULL, 0, &port);
    refuses("host", nxf_server_listen, server, not_utf8, 0, &port);
    assert_status(NXF_E_OS, nxf_server_listen, server, "no host has this name", 0, &port);
    assert_status(NXF_E_OS, nxf_server_listen, server, "", 0, &port);
    refuses("server", nxf_server_adopt, NULL, 0);
    refuses("fd", nxf_server_adopt, server, -1);
    refuses("fd", nxf_server_adopt, server, INT_MIN);
    refuses("fd", nxf_server_adopt, server, INT_MAX);
    refuses("server", nxf_server_dial, NULL, "127.0.0.1", 1, "r1", 1);
    refuses("host", nxf_server_dial, server, NULL, 1, "r1", 1);
    refuses("host", nxf_server_dial, server, not_utf8, 1, "r1", 1);
    refuses("replica_name", nxf_server_dial, server, "127.0.0.1", 1, NULL, 1);
    refuses("replica_name", nxf_server_dial, server, "127.0.0.1", 1, not_utf8, 1);
    refuses("server", nxf_server_disconnect, NULL, "r1");
    refuses("replica_name", nxf_server_disconnect, server, NULL);
    refuses("replica_name", nxf_server_disconnect, server, not_utf8);
    refuses("server", nxf_server_next_event, NULL, 0, &event);
    refuses("event", nxf_server_next_event, server, 0, NULL);
    refuses("server", nxf_server_event_fd, NULL, &fd);
    refuses("fd", nxf_server_event_fd, server, NULL);
    refuses("server", nxf_server_connections, NULL, &list);
    refuses("list", nxf_server_connections, server, NULL);
    refuses("server", nxf_server_stop, NULL, 0);
    assert_int_equal(nxf_server_free(NULL), NXF_OK);
    nxf_event_free(NULL);
    assert_int_equal(nxf_connection_list_count(NULL), 0);
    assert_null(nxf_connection_list_at(NULL, 0));
    nxf_connection_list_free(NULL);
    assert_ok(nxf_server_connections, server, &list);
    assert_null(nxf_connection_list_at(list, SIZE_MAX));
    nxf_connection_list_free(list);
    assert_string_equal(nxf_event_kind_name(UINT32_MAX), "NXF_UNKNOWN");
    assert_string_equal(nxf_service_name(UINT32_MAX), "NXF_UNKNOWN");
    assert_ok(nxf_server_stop, server, INT_MIN);
    assert_status(NXF_CLOSED, nxf_server_next_event, server, INT_MIN, &event);
    assert_int_equal(nxf_server_free(server), NXF_OK);
    nxf_log_free(log);
    assert_true(port == 7 && fd == 7 && event == NULL);
    assert_record(feed->record, ""); /* no context was taken */
}

/* --- trackers and codecs --- */

static void ignore_message(void *context, const uint8_t *message, size_t len)
{
    (void)context;
    (void)message;
    (void)len;
}

static void feeders_refuse_nonsense(void **state)
{
    nxf_feeder *feeder = NULL;
    uint8_t data[1] = { 0 };
    char text[200];
    size_t len = 7;
    (void)state;
    refuses("replica_name", nxf_feeder_new, NULL, NULL, &feeder);
    refuses("replica_name", nxf_feeder_new, not_utf8, NULL, &feeder);
    refuses("feeder", nxf_feeder_new, "r1", NULL, NULL);
    assert_null(feeder);
    refuses("feeder", nxf_feeder_set_state, NULL, NXF_FEEDER_IDLE);
    refuses("feeder", nxf_feeder_queue_entry, NULL, 1, 1, data, 1);
    refuses("feeder", nxf_feeder_drain, NULL, ignore_message, NULL, &len);
    refuses("feeder", nxf_feeder_debug_text, NULL, text, sizeof text, &len);
    refuses("feeder", nxf_feeder_replica_name, NULL, text, sizeof text, &len);
    assert_int_equal(nxf_feeder_record_ack(NULL, 1), NXF_E_INVALID_ARGUMENT);
    assert_int_equal(nxf_feeder_touch(NULL), NXF_E_INVALID_ARGUMENT);
    assert_int_equal(nxf_feeder_state(NULL), NXF_FEEDER_IDLE);
    assert_int_equal(nxf_feeder_current_vlsn(NULL), 0);
    assert_int_equal(nxf_feeder_acked_vlsn(NULL), 0);
    assert_int_equal(nxf_feeder_lag(NULL), 0);
    assert_false(nxf_feeder_is_timed_out(NULL, 0));
    nxf_feeder_free(NULL);

    assert_ok(nxf_feeder_new, "r1", NULL, &feeder);
    refuses("state", nxf_feeder_set_state, feeder, 4);
    refuses("state", nxf_feeder_set_state, feeder, UINT32_MAX);
    refuses("data", nxf_feeder_queue_entry, feeder, 1, 1, NULL, 1);
    refuses("data", nxf_feeder_queue_entry, feeder, 1, 1, data, SIZE_MAX);
    refuses("callback", nxf_feeder_drain, feeder, NULL, NULL, &len);
    refuses("buf", nxf_feeder_debug_text, feeder, NULL, sizeof text, &len);
    refuses("buf", nxf_feeder_debug_text, feeder, text, SIZE_MAX, &len);
    refuses("len", nxf_feeder_debug_text, feeder, text, sizeof text, NULL);
    refuses("buf", nxf_feeder_replica_name, feeder, NULL, sizeof text, &len);
    refuses("buf", nxf_feeder_replica_name, feeder, text, SIZE_MAX, &len);
    refuses("len", nxf_feeder_replica_name, feeder, text, sizeof text, NULL);
    assert_true(nxf_feeder_is_timed_out(feeder, INT_MIN));
    assert_int_equal(len, 7);

    /* The highest VLSN has none after it. */
    assert_ok(nxf_feeder_queue_entry, feeder, UINT64_MAX, 255, data, 1);
    assert_int_equal(nxf_feeder_current_vlsn(feeder), UINT64_MAX);
    assert_int_equal(nxf_feeder_record_ack(feeder, UINT64_MAX), NXF_OK);
    assert_int_equal(nxf_feeder_lag(feeder), 0);
    nxf_feeder_free(feeder);
}

static void codecs_refuse_nonsense(void **state)
{
    nxf_entry entry;
    uint8_t buf[64] = { 0 };
    size_t len = 7;
    uint64_t vlsn = 7;
    (void)state;
    memset(&entry, 0, sizeof entry);
    refuses("entry", nxf_frame_encode, NULL, buf, sizeof buf, &len);
    refuses("entry", nxf_frame_encode, &entry, buf, sizeof buf, &len); /* VLSN 0 is none */
    entry.vlsn = 1;
    refuses("buf", nxf_frame_encode, &entry, NULL, sizeof buf, &len);
    refuses("buf", nxf_frame_encode, &entry, buf, SIZE_MAX, &len);
    refuses("len", nxf_frame_encode, &entry, buf, sizeof buf, NULL);
    entry.payload_len = 1;
    refuses("payload", nxf_frame_encode, &entry, buf, sizeof buf, &len);
    entry.payload = buf;
    entry.payload_len = SIZE_MAX;
    refuses("payload", nxf_frame_encode, &entry, buf, sizeof buf, &len);
    refuses("message", nxf_frame_decode, NULL, 1, &entry);
    refuses("message", nxf_frame_decode, buf, SIZE_MAX, &entry);
    refuses("entry", nxf_frame_decode, buf, sizeof buf, NULL);
    assert_status(NXF_E_PROTOCOL, nxf_frame_decode, NULL, 0, &entry);
    assert_status(NXF_E_PROTOCOL, nxf_frame_decode, buf, sizeof buf, &entry);
    refuses("buf", nxf_ack_encode, 1, NULL, sizeof buf);
    refuses("buf", nxf_ack_encode, 1, buf, SIZE_MAX);
    assert_status(NXF_E_BUFFER_TOO_SMALL, nxf_ack_encode, 1, NULL, 0);
    refuses("message", nxf_ack_decode, NULL, 8, &vlsn);
    refuses("message", nxf_ack_decode, buf, SIZE_MAX, &vlsn);
    refuses("vlsn", nxf_ack_decode, buf, 8, NULL);
    assert_status(NXF_E_PROTOCOL, nxf_ack_decode, NULL, 0, &vlsn);
    assert_true(len == 7 && vlsn == 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_that_are_no_status_have_a_name),
        cmocka_unit_test(no_error_has_no_facts),
        feed_test(facts_of_an_error_need_no_place),
        feed_test(options_refuse_nonsense),
        feed_test(logs_refuse_nonsense),
        feed_test(scanners_refuse_nonsense),
        feed_test(places_and_vlsns_that_no_log_has_are_not_found),
        feed_test(sources_refuse_nonsense),
        feed_test(channels_refuse_nonsense_to_be_made_of),
        feed_test(channels_refuse_nonsense),
        feed_test(channels_of_the_hosts_own_refuse_nonsense),
        feed_test(runners_refuse_nonsense),
        feed_test(a_run_from_the_highest_vlsn_there_can_be_waits_for_it),
        feed_test(servers_refuse_nonsense),
        cmocka_unit_test(feeders_refuse_nonsense),
        cmocka_unit_test(codecs_refuse_nonsense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
