/*
 * Every function that a host gives to the library, and inside it a call of every function of the header: each returns,
 * and those that would wait for the run that they are inside of are refused.
 *
 * That no function of either kind is left out, the tests reentry-has-every-function and reentry-calls-every-function
 * make sure of. A call that does not return is named, and ends the program.
 */
#include "support/event.h"
#include "support/feed.h"
#include "support/sockets.h"

#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* --- where the host is called --- */

#define NEXT "nxf_source_vtable.next"
#define RELEASE "nxf_source_vtable.release"
#define SOURCE_DROP "nxf_source_vtable.drop"
#define SEND "nxf_channel_vtable.send"
#define RECEIVE "nxf_channel_vtable.receive"
#define CLOSE "nxf_channel_vtable.close"
#define IS_OPEN "nxf_channel_vtable.is_open"
#define CHANNEL_DROP "nxf_channel_vtable.drop"
#define ACK "nxf_runner_set_ack_callback.callback"
#define ACK_DROP "nxf_runner_set_ack_callback.drop"
#define END "nxf_runner_set_end_callback.callback"
#define END_DROP "nxf_runner_set_end_callback.drop"
#define LOG "nxf_options_set_log_callback.callback"
#define LOG_DROP "nxf_options_set_log_callback.drop"
#define MESSAGE "nxf_feeder_drain.callback"
#define IDENTIFY "nxf_server_set_identify_callback.callback"
#define IDENTIFY_DROP "nxf_server_set_identify_callback.drop"
#define EVENT "nxf_server_set_event_callback.callback"
#define EVENT_DROP "nxf_server_set_event_callback.drop"

static const char *const places[] = { NEXT, RELEASE,  SOURCE_DROP, SEND,     RECEIVE, CLOSE,    IS_OPEN, CHANNEL_DROP,
                                      ACK,  ACK_DROP, END,         END_DROP, LOG,     LOG_DROP, MESSAGE,
                                      IDENTIFY, IDENTIFY_DROP, EVENT, EVENT_DROP };

#define LENGTH(array) (sizeof(array) / sizeof *(array))

static unsigned visits[LENGTH(places)];

/* --- a watchdog --- */

static struct {
    struct event event;
    pthread_t thread;
    char what[200];
    long long deadline;
    bool is_over;
} watchdog;

/* What begins now returns in time, or ends the program. */
static void watch(const char *what, const char *where, const char *when)
{
    event_lock(&watchdog.event);
    snprintf(watchdog.what, sizeof watchdog.what, "%s in %s, %s", what, where, when);
    watchdog.deadline = now_ms() + PATIENCE_MS;
    event_unlock(&watchdog.event);
}

static void *watch_over(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&watchdog.event.mutex);
    while (!watchdog.is_over) {
        struct timespec soon;
        clock_gettime(CLOCK_REALTIME, &soon);
        soon.tv_sec++;
        pthread_cond_timedwait(&watchdog.event.changed, &watchdog.event.mutex, &soon);
        if (now_ms() > watchdog.deadline) {
            fprintf(stderr, "waits for ever: %s\n", watchdog.what);
            _exit(1);
        }
    }
    pthread_mutex_unlock(&watchdog.event.mutex);
    return NULL;
}

/* --- the host --- */

/* What the host has while a scene is played. */
static struct {
    struct event event;
    const char *name;
    const char *place; /* where all is called, once; NULL: nowhere */
    bool visiting, visited;
    const char *current; /* what is called there, by the thread that does */
    uint64_t acked;
    char failure[300];
    pthread_t main_thread;
    nxf_options *options;
    nxf_log *log;
    nxf_feeder *feeder;
    nxf_runner *runner; /* if there is one, the host is called from inside it */
    nxf_server *server; /* likewise, with an event callback */
    nxf_connection_list *list; /* an empty one */
    bool is_startable; /* the runner, or the server */
    nxf_scanner *scanner; /* the one that is in use, on the main thread only; likewise the channel */
    nxf_channel *channel;
    bool is_lent; /* the channel, to a runner that may come of it */
    nxf_channel *inner;
    bool is_closed;
    uint8_t payload[50];
} host;

static int listener;
static uint16_t port;

static void visit(const char *place);

static nxf_status next(void *context, uint64_t from_vlsn, nxf_entry *entry)
{
    const uint64_t vlsn = from_vlsn > 0 ? from_vlsn : 1;
    (void)context;
    visit(NEXT);
    if (vlsn > 3)
        return NXF_AGAIN;
    memset(entry, 0, sizeof *entry);
    log_fill_payload(vlsn, host.payload, log_payload_len(vlsn));
    entry->vlsn = vlsn;
    entry->entry_type = log_type(vlsn);
    entry->payload = host.payload;
    entry->payload_len = log_payload_len(vlsn);
    return NXF_OK;
}

static void release_entry(void *context, const nxf_entry *entry)
{
    (void)context;
    (void)entry;
    visit(RELEASE);
}

static void drop_source(void *context)
{
    (void)context;
    visit(SOURCE_DROP);
}

static nxf_status send_message(void *context, const uint8_t *message, size_t len)
{
    (void)context;
    visit(SEND);
    return nxf_channel_send(host.inner, message, len, NULL);
}

static nxf_status receive_message(void *context, uint8_t *buf, size_t capacity, size_t *len, int timeout_ms)
{
    (void)context;
    visit(RECEIVE);
    return nxf_channel_receive(host.inner, buf, capacity, len, timeout_ms, NULL);
}

static void close_channel(void *context)
{
    (void)context;
    visit(CLOSE);
    nxf_channel_close(host.inner, NULL);
}

static bool is_open(void *context)
{
    (void)context;
    visit(IS_OPEN);
    return !host.is_closed;
}

static void drop_channel(void *context)
{
    (void)context;
    visit(CHANNEL_DROP);
}

static void acked(void *context, const char *replica_name, uint64_t vlsn)
{
    (void)context;
    (void)replica_name;
    visit(ACK);
    event_lock(&host.event);
    host.acked = vlsn;
    event_unlock(&host.event);
    if (vlsn == 3)
        nxf_runner_stop(host.runner, 0, NULL);
}

static void drop_ack(void *context)
{
    (void)context;
    visit(ACK_DROP);
}

static void ended(void *context, const char *replica_name, nxf_status how, const nxf_error *why)
{
    (void)context;
    (void)replica_name;
    (void)how;
    (void)why;
    visit(END);
}

static void drop_end(void *context)
{
    (void)context;
    visit(END_DROP);
}

static void say(void *context, uint32_t level, const char *target, const char *message)
{
    (void)context;
    (void)level;
    (void)target;
    (void)message;
    visit(LOG);
}

static void drop_log(void *context)
{
    (void)context;
    visit(LOG_DROP);
}

static void take_message(void *context, const uint8_t *message, size_t len)
{
    (void)context;
    (void)message;
    (void)len;
    visit(MESSAGE);
}

static nxf_status identify(void *context, const nxf_peer *peer, char *name, size_t capacity)
{
    (void)context;
    visit(IDENTIFY);
    snprintf(name, capacity, "%s", peer->peer);
    return NXF_OK;
}

static void drop_identify(void *context)
{
    (void)context;
    visit(IDENTIFY_DROP);
}

static void happened(void *context, const nxf_event *event)
{
    (void)context;
    visit(EVENT);
    event_lock(&host.event);
    if (event->kind == NXF_EVENT_ACKED)
        host.acked = event->vlsn;
    event_unlock(&host.event);
}

static void drop_event(void *context)
{
    (void)context;
    visit(EVENT_DROP);
}

static nxf_source_vtable source_vtable(void)
{
    nxf_source_vtable vtable;
    memset(&vtable, 0, sizeof vtable);
    vtable.struct_size = sizeof vtable;
    vtable.next = next;
    vtable.release = release_entry;
    vtable.drop = drop_source;
    return vtable;
}

static nxf_channel_vtable channel_vtable(void)
{
    nxf_channel_vtable vtable;
    memset(&vtable, 0, sizeof vtable);
    vtable.struct_size = sizeof vtable;
    vtable.send = send_message;
    vtable.receive = receive_message;
    vtable.close = close_channel;
    vtable.is_open = is_open;
    vtable.drop = drop_channel;
    return vtable;
}

/* --- what is called inside --- */

/* Any thread: so not by cmocka. */
static void check(bool is_so, const char *what)
{
    if (is_so)
        return;
    event_lock(&host.event);
    if (host.failure[0] == '\0')
        snprintf(host.failure, sizeof host.failure, "%s in %s, %s: %s", host.current, host.place, host.name, what);
    event_unlock(&host.event);
}

static void want(nxf_status expected, nxf_status status)
{
    char text[100];
    snprintf(text, sizeof text, "%s and not %s", nxf_status_name(status), nxf_status_name(expected));
    check(status == expected, text);
}

/* The run may go on or have ended, so that it is one of these. */
static void want_any(nxf_status one, nxf_status other, nxf_status third, nxf_status status)
{
    if (status != one && status != other)
        want(third, status);
}

static bool is_main(void)
{
    return pthread_equal(pthread_self(), host.main_thread) != 0;
}

/* What this thread is using at the moment, if it is. */
static nxf_channel *used_channel(void)
{
    return is_main() ? host.channel : NULL;
}

static nxf_scanner *used_scanner(void)
{
    return is_main() ? host.scanner : NULL;
}

/* Where it is lent it cannot be used; else the host's function is called again. */
static void want_used(nxf_status status)
{
    if (host.is_lent)
        want(NXF_E_WRONG_STATE, status);
    else
        want_any(NXF_OK, NXF_AGAIN, NXF_CLOSED, status);
}

struct pair {
    nxf_channel *a, *b;
};

static struct pair new_pair(void)
{
    struct pair pair = { NULL, NULL };
    want(NXF_OK, nxf_channel_local_pair(NULL, &pair.a, &pair.b, NULL));
    return pair;
}

static void free_pair(struct pair pair)
{
    nxf_channel_free(pair.a);
    nxf_channel_free(pair.b);
}

static nxf_scanner *new_scanner(void)
{
    const nxf_source_vtable vtable = source_vtable();
    nxf_scanner *scanner = NULL;
    want(NXF_OK, nxf_scanner_from_callbacks(&vtable, NULL, NULL, &scanner, NULL));
    return scanner;
}

/* Another runner, whose replica has gone already: what is run ends. */
static nxf_runner *new_runner(void)
{
    const struct pair pair = new_pair();
    nxf_runner *runner = NULL;
    want(NXF_OK, nxf_runner_new(pair.a, "other", 1, host.options, &runner, NULL));
    nxf_channel_free(pair.b);
    return runner;
}

static void free_other(nxf_runner *other)
{
    want(NXF_OK, nxf_runner_free(other));
}

static nxf_error *new_error(void)
{
    nxf_error *err = NULL;
    want(NXF_E_INVALID_ARGUMENT, nxf_channel_close(NULL, &err));
    check(err != NULL, "no error");
    return err;
}

static nxf_options *new_options(void)
{
    nxf_options *options = NULL;
    want(NXF_OK, nxf_options_new(&options, NULL));
    return options;
}

/* Another server, which has not begun. */
static nxf_server *new_server(void)
{
    nxf_server *server = NULL;
    want(NXF_OK, nxf_server_new(host.log, host.options, &server, NULL));
    return server;
}

static void free_server_of(nxf_server *other)
{
    want(NXF_OK, nxf_server_free(other));
}

static nxf_feeder *new_feeder(void)
{
    nxf_feeder *feeder = NULL;
    want(NXF_OK, nxf_feeder_new("r1", NULL, &feeder, NULL));
    return feeder;
}

static nxf_entry entry_of(uint64_t vlsn)
{
    nxf_entry entry;
    memset(&entry, 0, sizeof entry);
    entry.vlsn = vlsn;
    return entry;
}

#define CALL(function) static void call_##function(void)

CALL(nxf_abi_version)
{
    check(nxf_abi_version() > 0, "0");
}

CALL(nxf_ack_decode)
{
    static const uint8_t ack[NXF_ACK_LEN] = { 7 };
    uint64_t vlsn = 0;
    want(NXF_OK, nxf_ack_decode(ack, sizeof ack, &vlsn, NULL));
}

CALL(nxf_ack_encode)
{
    uint8_t ack[NXF_ACK_LEN];
    want(NXF_OK, nxf_ack_encode(7, ack, sizeof ack, NULL));
}

CALL(nxf_channel_close)
{
    const struct pair pair = new_pair();
    want(NXF_OK, nxf_channel_close(pair.a, NULL));
    free_pair(pair);
    if (used_channel() != NULL)
        want_used(nxf_channel_close(used_channel(), NULL));
}

CALL(nxf_channel_free)
{
    free_pair(new_pair());
}

CALL(nxf_channel_from_callbacks)
{
    const nxf_channel_vtable vtable = channel_vtable();
    nxf_channel *channel = NULL;
    want(NXF_OK, nxf_channel_from_callbacks(&vtable, NULL, host.options, &channel, NULL));
    nxf_channel_close(channel, NULL);
    nxf_channel_free(channel);
}

CALL(nxf_channel_from_fd)
{
    nxf_channel *channel = NULL;
    int fds[2];
    check(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0, "no sockets");
    want(NXF_OK, nxf_channel_from_fd(fds[0], host.options, &channel, NULL));
    nxf_channel_free(channel);
    close(fds[1]);
}

CALL(nxf_channel_is_open)
{
    const struct pair pair = new_pair();
    check(nxf_channel_is_open(pair.a), "another one is not open");
    free_pair(pair);
    if (used_channel() != NULL && host.is_lent)
        check(!nxf_channel_is_open(used_channel()), "what is lent is open");
    else if (used_channel() != NULL)
        nxf_channel_is_open(used_channel());
}

CALL(nxf_channel_local_pair)
{
    free_pair(new_pair());
}

CALL(nxf_channel_receive)
{
    const struct pair pair = new_pair();
    uint8_t buf[8];
    size_t len = 0;
    want(NXF_AGAIN, nxf_channel_receive(pair.a, buf, sizeof buf, &len, 0, NULL));
    free_pair(pair);
    if (used_channel() != NULL)
        want_used(nxf_channel_receive(used_channel(), buf, sizeof buf, &len, 0, NULL));
}

CALL(nxf_channel_send)
{
    const struct pair pair = new_pair();
    want(NXF_OK, nxf_channel_send(pair.a, (const uint8_t *)"hello", 5, NULL));
    free_pair(pair);
    if (used_channel() != NULL)
        want_used(nxf_channel_send(used_channel(), (const uint8_t *)"hello", 5, NULL));
}

CALL(nxf_channel_tcp_connect)
{
    nxf_channel *channel = NULL;
    want(NXF_OK, nxf_channel_tcp_connect("127.0.0.1", port, host.options, &channel, NULL));
    nxf_channel_free(channel);
    close(accept_from(listener));
}

CALL(nxf_connection_list_at)
{
    check(nxf_connection_list_at(host.list, 0) == NULL, "there is one");
}

CALL(nxf_connection_list_count)
{
    check(nxf_connection_list_count(host.list) == 0, "there are some");
}

CALL(nxf_connection_list_free)
{
    nxf_server *other = new_server();
    nxf_connection_list *list = NULL;
    want(NXF_OK, nxf_server_connections(other, &list, NULL));
    nxf_connection_list_free(list);
    free_server_of(other);
}

CALL(nxf_error_errno)
{
    nxf_error *err = new_error();
    check(nxf_error_errno(err) == 0, "not 0");
    nxf_error_free(err);
}

CALL(nxf_error_file)
{
    nxf_error *err = new_error();
    check(!nxf_error_file(err, NULL), "it has one");
    nxf_error_free(err);
}

CALL(nxf_error_free)
{
    nxf_error_free(new_error());
}

CALL(nxf_error_is_retriable)
{
    nxf_error *err = new_error();
    check(!nxf_error_is_retriable(err), "it is");
    nxf_error_free(err);
}

CALL(nxf_error_message)
{
    nxf_error *err = new_error();
    check(strstr(nxf_error_message(err), "channel") != NULL, nxf_error_message(err));
    nxf_error_free(err);
}

CALL(nxf_error_needs_restore)
{
    nxf_error *err = new_error();
    check(!nxf_error_needs_restore(err), "it does");
    nxf_error_free(err);
}

CALL(nxf_error_offset)
{
    nxf_error *err = new_error();
    check(!nxf_error_offset(err, NULL), "it has one");
    nxf_error_free(err);
}

CALL(nxf_error_replica)
{
    nxf_error *err = new_error();
    check(nxf_error_replica(err)[0] == '\0', "it has one");
    nxf_error_free(err);
}

CALL(nxf_error_status)
{
    nxf_error *err = new_error();
    want(NXF_E_INVALID_ARGUMENT, nxf_error_status(err));
    nxf_error_free(err);
}

CALL(nxf_error_vlsn)
{
    nxf_error *err = new_error();
    check(!nxf_error_vlsn(err, NULL), "it has one");
    nxf_error_free(err);
}

CALL(nxf_event_free)
{
    nxf_event_free(NULL);
}

CALL(nxf_event_kind_name)
{
    check(nxf_event_kind_name(NXF_EVENT_JOINED) != NULL, "NULL");
}

CALL(nxf_feeder_acked_vlsn)
{
    nxf_feeder_acked_vlsn(host.feeder);
}

CALL(nxf_feeder_current_vlsn)
{
    nxf_feeder_current_vlsn(host.feeder);
}

CALL(nxf_feeder_debug_text)
{
    char text[200];
    size_t len = 0;
    want(NXF_OK, nxf_feeder_debug_text(host.feeder, text, sizeof text, &len, NULL));
}

CALL(nxf_feeder_drain)
{
    want(NXF_OK, nxf_feeder_drain(host.feeder, take_message, NULL, NULL, NULL));
}

CALL(nxf_feeder_free)
{
    nxf_feeder_free(new_feeder());
}

CALL(nxf_feeder_is_timed_out)
{
    check(nxf_feeder_is_timed_out(host.feeder, 0), "it is not");
}

CALL(nxf_feeder_lag)
{
    nxf_feeder_lag(host.feeder);
}

CALL(nxf_feeder_new)
{
    nxf_feeder_free(new_feeder());
}

CALL(nxf_feeder_queue_entry)
{
    want(NXF_OK, nxf_feeder_queue_entry(host.feeder, 1, 10, NULL, 0, NULL));
}

CALL(nxf_feeder_record_ack)
{
    want(NXF_OK, nxf_feeder_record_ack(host.feeder, 1));
}

CALL(nxf_feeder_replica_name)
{
    char text[200];
    size_t len = 0;
    want(NXF_OK, nxf_feeder_replica_name(host.feeder, text, sizeof text, &len, NULL));
}

CALL(nxf_feeder_set_state)
{
    want(NXF_OK, nxf_feeder_set_state(host.feeder, NXF_FEEDER_STREAMING, NULL));
}

CALL(nxf_feeder_state)
{
    nxf_feeder_state(host.feeder);
}

CALL(nxf_feeder_touch)
{
    want(NXF_OK, nxf_feeder_touch(host.feeder));
}

CALL(nxf_frame_decode)
{
    const nxf_entry entry = entry_of(1);
    uint8_t frame[NXF_FRAME_HEADER_LEN];
    nxf_entry found;
    size_t len = 0;
    want(NXF_OK, nxf_frame_encode(&entry, frame, sizeof frame, &len, NULL));
    want(NXF_OK, nxf_frame_decode(frame, len, &found, NULL));
}

CALL(nxf_frame_encode)
{
    const nxf_entry entry = entry_of(1);
    uint8_t frame[NXF_FRAME_HEADER_LEN];
    size_t len = 0;
    want(NXF_OK, nxf_frame_encode(&entry, frame, sizeof frame, &len, NULL));
}

CALL(nxf_log_free)
{
    nxf_log *log = NULL;
    want(NXF_OK, nxf_log_open(".", host.options, &log, NULL));
    nxf_log_free(log);
}

CALL(nxf_log_notify)
{
    want(NXF_OK, nxf_log_notify(host.log));
}

CALL(nxf_log_open)
{
    nxf_log *log = NULL;
    want(NXF_OK, nxf_log_open(".", host.options, &log, NULL));
    nxf_log_free(log);
}

CALL(nxf_log_set_send_limit)
{
    want(NXF_OK, nxf_log_set_send_limit(host.log, UINT64_MAX));
}

CALL(nxf_log_state_name)
{
    check(nxf_log_state_name(NXF_LOG_READING) != NULL, "NULL");
}

CALL(nxf_log_vlsn_range)
{
    uint64_t first = 0, last = 0;
    want(NXF_OK, nxf_log_vlsn_range(host.log, &first, &last, NULL));
}

CALL(nxf_options_describe)
{
    nxf_option option;
    option.struct_size = sizeof option;
    want(NXF_OK, nxf_options_describe(0, &option, NULL));
}

CALL(nxf_options_free)
{
    nxf_options_free(new_options());
}

CALL(nxf_options_get)
{
    nxf_options *options = host.options != NULL ? host.options : new_options();
    char value[24];
    size_t len = 0;
    want(NXF_OK, nxf_options_get(options, "ack.queue_max", value, sizeof value, &len, NULL));
    if (options != host.options)
        nxf_options_free(options);
}

CALL(nxf_options_new)
{
    nxf_options_free(new_options());
}

CALL(nxf_options_set)
{
    nxf_options *options = host.options != NULL ? host.options : new_options();
    want(NXF_OK, nxf_options_set(options, "ack.queue_max", "10", NULL));
    if (options != host.options)
        nxf_options_free(options);
}

CALL(nxf_options_set_log_callback)
{
    nxf_options *options = host.options != NULL ? host.options : new_options();
    want(NXF_OK, nxf_options_set_log_callback(options, NXF_LEVEL_DEBUG, say, NULL, drop_log, NULL));
    if (options != host.options)
        nxf_options_free(options);
}

CALL(nxf_run_state_name)
{
    check(nxf_run_state_name(NXF_RUN_NEW) != NULL, "NULL");
}

CALL(nxf_runner_event_fd)
{
    int fd = -1;
    if (host.runner != NULL)
        want(NXF_OK, nxf_runner_event_fd(host.runner, &fd, NULL));
}

CALL(nxf_runner_free)
{
    free_other(new_runner());
    if (host.runner != NULL)
        want(NXF_E_INSIDE_CALLBACK, nxf_runner_free(host.runner));
}

CALL(nxf_runner_known_replica_vlsn)
{
    if (host.runner != NULL)
        check(nxf_runner_known_replica_vlsn(host.runner) <= 3, "above what was sent");
}

CALL(nxf_runner_new)
{
    nxf_runner *runner = NULL;
    free_other(new_runner());
    if (used_channel() != NULL)
        want(NXF_E_WRONG_STATE, nxf_runner_new(used_channel(), "other", 1, NULL, &runner, NULL));
}

CALL(nxf_runner_notify)
{
    if (host.runner != NULL)
        want(NXF_OK, nxf_runner_notify(host.runner));
}

CALL(nxf_runner_poll_acks)
{
    nxf_ack acks[1];
    size_t count = 0;
    if (host.runner == NULL)
        return;
    want_any(NXF_OK, NXF_TIMEOUT, NXF_CLOSED, nxf_runner_poll_acks(host.runner, acks, 1, 0, &count, NULL));
    want(NXF_E_INSIDE_CALLBACK, nxf_runner_poll_acks(host.runner, acks, 1, 1000, &count, NULL));
    want(NXF_E_INSIDE_CALLBACK, nxf_runner_poll_acks(host.runner, acks, 1, -1, &count, NULL));
}

CALL(nxf_runner_replica_name)
{
    if (host.runner != NULL)
        check(strcmp(nxf_runner_replica_name(host.runner), REPLICA_NAME) == 0, "another");
}

CALL(nxf_runner_result)
{
    if (host.runner != NULL)
        want_any(NXF_AGAIN, NXF_OK, NXF_OK, nxf_runner_result(host.runner, NULL));
}

CALL(nxf_runner_run)
{
    nxf_runner *other = new_runner();
    nxf_scanner *scanner = new_scanner();
    if (used_scanner() != NULL)
        want(NXF_E_WRONG_STATE, nxf_runner_run(other, used_scanner(), NULL));
    if (host.runner != NULL && !host.is_startable)
        want(NXF_E_WRONG_STATE, nxf_runner_run(host.runner, scanner, NULL));
    want(NXF_OK, nxf_runner_run(other, scanner, NULL));
    free_other(other);
}

CALL(nxf_runner_set_ack_callback)
{
    nxf_runner *other = new_runner();
    want(NXF_OK, nxf_runner_set_ack_callback(other, acked, NULL, drop_ack, NULL));
    free_other(other);
    if (host.runner != NULL)
        want(host.is_startable ? NXF_OK : NXF_E_WRONG_STATE,
             nxf_runner_set_ack_callback(host.runner, acked, NULL, drop_ack, NULL));
}

CALL(nxf_runner_set_end_callback)
{
    nxf_runner *other = new_runner();
    want(NXF_OK, nxf_runner_set_end_callback(other, ended, NULL, drop_end, NULL));
    free_other(other);
    if (host.runner != NULL)
        want(host.is_startable ? NXF_OK : NXF_E_WRONG_STATE,
             nxf_runner_set_end_callback(host.runner, ended, NULL, drop_end, NULL));
}

CALL(nxf_runner_set_user_pointer)
{
    if (host.runner != NULL)
        want(NXF_OK, nxf_runner_set_user_pointer(host.runner, &host));
}

CALL(nxf_runner_start)
{
    nxf_runner *other = new_runner();
    nxf_scanner *scanner = new_scanner();
    if (used_scanner() != NULL)
        want(NXF_E_WRONG_STATE, nxf_runner_start(other, used_scanner(), NULL));
    if (host.runner != NULL && host.is_startable) {
        want(NXF_OK, nxf_runner_start(host.runner, scanner, NULL));
        scanner = new_scanner();
    } else if (host.runner != NULL)
        want(NXF_E_WRONG_STATE, nxf_runner_start(host.runner, scanner, NULL));
    want(NXF_OK, nxf_runner_start(other, scanner, NULL));
    free_other(other);
}

CALL(nxf_runner_state)
{
    if (host.runner != NULL)
        check(nxf_runner_state(host.runner) <= NXF_RUN_FAILED, "none");
}

CALL(nxf_runner_stats)
{
    nxf_runner_stats_t stats;
    memset(&stats, 0, sizeof stats);
    stats.struct_size = sizeof stats;
    if (host.runner != NULL)
        want(NXF_OK, nxf_runner_stats(host.runner, &stats, NULL));
}

CALL(nxf_runner_stop)
{
    nxf_runner *other = new_runner();
    want(NXF_OK, nxf_runner_stop(other, -1, NULL));
    free_other(other);
    if (host.runner == NULL)
        return;
    want(NXF_E_INSIDE_CALLBACK, nxf_runner_stop(host.runner, -1, NULL));
    want(NXF_E_INSIDE_CALLBACK, nxf_runner_stop(host.runner, 1000, NULL));
    want_any(NXF_OK, NXF_TIMEOUT, NXF_TIMEOUT, nxf_runner_stop(host.runner, 0, NULL));
}

CALL(nxf_runner_stop_all)
{
    nxf_runner *both[] = { new_runner(), host.runner };
    if (host.runner != NULL) {
        want(NXF_E_INSIDE_CALLBACK, nxf_runner_stop_all(both, 2, -1, NULL));
        want(NXF_E_INSIDE_CALLBACK, nxf_runner_stop_all(both, 2, 1000, NULL));
        want(NXF_AGAIN, nxf_runner_result(both[0], NULL));
        want_any(NXF_OK, NXF_TIMEOUT, NXF_TIMEOUT, nxf_runner_stop_all(both, 2, 0, NULL));
    }
    want(NXF_OK, nxf_runner_stop_all(both, 1, -1, NULL));
    free_other(both[0]);
}

CALL(nxf_runner_user_pointer)
{
    if (host.runner != NULL)
        nxf_runner_user_pointer(host.runner);
}

CALL(nxf_runner_wait_acked)
{
    if (host.runner == NULL)
        return;
    want_any(NXF_TIMEOUT, NXF_CLOSED, NXF_CLOSED, nxf_runner_wait_acked(host.runner, 1000, 0, NULL));
    want(NXF_E_INSIDE_CALLBACK, nxf_runner_wait_acked(host.runner, 1000, 1000, NULL));
    want(NXF_E_INSIDE_CALLBACK, nxf_runner_wait_acked(host.runner, 1000, -1, NULL));
}

CALL(nxf_scanner_free)
{
    nxf_scanner_free(new_scanner());
}

CALL(nxf_scanner_from_callbacks)
{
    nxf_scanner_free(new_scanner());
}

CALL(nxf_scanner_from_log)
{
    nxf_scanner *scanner = NULL;
    want(NXF_OK, nxf_scanner_from_log(host.log, NXF_LSN_FIRST, &scanner, NULL));
    nxf_scanner_free(scanner);
}

CALL(nxf_scanner_next)
{
    nxf_scanner *scanner = new_scanner();
    nxf_entry entry;
    want(NXF_OK, nxf_scanner_next(scanner, 1, &entry, NULL));
    nxf_scanner_free(scanner);
    if (used_scanner() != NULL)
        want(NXF_E_WRONG_STATE, nxf_scanner_next(used_scanner(), 1, &entry, NULL));
}

CALL(nxf_scanner_open)
{
    nxf_scanner *scanner = NULL;
    want(NXF_OK, nxf_scanner_open(".", NXF_LSN_FIRST, host.options, &scanner, NULL));
    nxf_scanner_free(scanner);
}

CALL(nxf_server_adopt)
{
    nxf_server *other = new_server();
    int fds[2];
    check(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0, "no sockets");
    want(NXF_OK, nxf_server_adopt(other, fds[0], NULL));
    free_server_of(other);
    close(fds[1]);
    if (host.server == NULL || host.is_startable)
        return;
    check(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0, "no sockets");
    if (nxf_server_adopt(host.server, fds[0], NULL) != NXF_OK)
        close(fds[0]);
    close(fds[1]);
}

CALL(nxf_server_answer_elections)
{
    nxf_server *other = new_server();
    want(NXF_OK, nxf_server_answer_elections(other, "m", NULL));
    free_server_of(other);
    if (host.server != NULL && !host.is_startable)
        want(NXF_E_WRONG_STATE, nxf_server_answer_elections(host.server, "m", NULL));
}

CALL(nxf_server_connections)
{
    nxf_connection_list *list = NULL;
    if (host.server == NULL)
        return;
    want(NXF_OK, nxf_server_connections(host.server, &list, NULL));
    nxf_connection_list_free(list);
}

CALL(nxf_server_dial)
{
    nxf_server *other = new_server();
    want(NXF_OK, nxf_server_dial(other, "127.0.0.1", 1, "r9", 1, NULL));
    free_server_of(other);
    if (host.server != NULL && !host.is_startable)
        want_any(NXF_OK, NXF_E_WRONG_STATE, NXF_OK, nxf_server_dial(host.server, "127.0.0.1", 1, "r9", 1, NULL));
}

CALL(nxf_server_disconnect)
{
    if (host.server != NULL)
        want_any(NXF_OK, NXF_CLOSED, NXF_OK, nxf_server_disconnect(host.server, "r9", NULL));
}

CALL(nxf_server_event_fd)
{
    int fd = -1;
    if (host.server != NULL)
        want(NXF_E_WRONG_STATE, nxf_server_event_fd(host.server, &fd, NULL));
}

CALL(nxf_server_free)
{
    free_server_of(new_server());
    if (host.server != NULL)
        want(NXF_E_INSIDE_CALLBACK, nxf_server_free(host.server));
}

CALL(nxf_server_listen)
{
    nxf_server *other = new_server();
    want(NXF_OK, nxf_server_listen(other, NULL, 0, NULL, NULL));
    free_server_of(other);
    if (host.server != NULL && !host.is_startable)
        want_any(NXF_OK, NXF_E_WRONG_STATE, NXF_OK, nxf_server_listen(host.server, NULL, 0, NULL, NULL));
}

CALL(nxf_server_new)
{
    free_server_of(new_server());
}

CALL(nxf_server_next_event)
{
    nxf_server *other = new_server();
    nxf_event *event = NULL;
    want(NXF_TIMEOUT, nxf_server_next_event(other, 0, &event, NULL));
    free_server_of(other);
    if (host.server != NULL)
        want(NXF_E_WRONG_STATE, nxf_server_next_event(host.server, -1, &event, NULL));
}

CALL(nxf_server_set_event_callback)
{
    nxf_server *other = new_server();
    want(NXF_OK, nxf_server_set_event_callback(other, happened, NULL, drop_event, NULL));
    free_server_of(other);
    if (host.server != NULL)
        want(host.is_startable ? NXF_OK : NXF_E_WRONG_STATE,
             nxf_server_set_event_callback(host.server, happened, NULL, drop_event, NULL));
}

CALL(nxf_server_set_identify_callback)
{
    nxf_server *other = new_server();
    want(NXF_OK, nxf_server_set_identify_callback(other, identify, NULL, drop_identify, NULL));
    free_server_of(other);
    if (host.server != NULL)
        want(host.is_startable ? NXF_OK : NXF_E_WRONG_STATE,
             nxf_server_set_identify_callback(host.server, identify, NULL, drop_identify, NULL));
}

CALL(nxf_server_stop)
{
    nxf_server *other = new_server();
    want(NXF_OK, nxf_server_stop(other, -1, NULL));
    free_server_of(other);
    if (host.server == NULL)
        return;
    want(NXF_E_INSIDE_CALLBACK, nxf_server_stop(host.server, -1, NULL));
    want(NXF_E_INSIDE_CALLBACK, nxf_server_stop(host.server, 1000, NULL));
    if (!host.is_startable)
        want_any(NXF_OK, NXF_TIMEOUT, NXF_OK, nxf_server_stop(host.server, 0, NULL));
}

CALL(nxf_service_name)
{
    check(nxf_service_name(NXF_SERVICE_STREAM) != NULL, "NULL");
}

CALL(nxf_status_name)
{
    check(nxf_status_name(NXF_OK) != NULL, "NULL");
}

CALL(nxf_version)
{
    check(nxf_version() != NULL, "NULL");
}

#define ROW(function) { #function, call_##function }

static const struct {
    const char *name;
    void (*call)(void);
} functions[] = {
    ROW(nxf_abi_version),
    ROW(nxf_ack_decode),
    ROW(nxf_ack_encode),
    ROW(nxf_channel_close),
    ROW(nxf_channel_free),
    ROW(nxf_channel_from_callbacks),
    ROW(nxf_channel_from_fd),
    ROW(nxf_channel_is_open),
    ROW(nxf_channel_local_pair),
    ROW(nxf_channel_receive),
    ROW(nxf_channel_send),
    ROW(nxf_channel_tcp_connect),
    ROW(nxf_connection_list_at),
    ROW(nxf_connection_list_count),
    ROW(nxf_connection_list_free),
    ROW(nxf_error_errno),
    ROW(nxf_error_file),
    ROW(nxf_error_free),
    ROW(nxf_error_is_retriable),
    ROW(nxf_error_message),
    ROW(nxf_error_needs_restore),
    ROW(nxf_error_offset),
    ROW(nxf_error_replica),
    ROW(nxf_error_status),
    ROW(nxf_error_vlsn),
    ROW(nxf_event_free),
    ROW(nxf_event_kind_name),
    ROW(nxf_feeder_acked_vlsn),
    ROW(nxf_feeder_current_vlsn),
    ROW(nxf_feeder_debug_text),
    ROW(nxf_feeder_drain),
    ROW(nxf_feeder_free),
    ROW(nxf_feeder_is_timed_out),
    ROW(nxf_feeder_lag),
    ROW(nxf_feeder_new),
    ROW(nxf_feeder_queue_entry),
    ROW(nxf_feeder_record_ack),
    ROW(nxf_feeder_replica_name),
    ROW(nxf_feeder_set_state),
    ROW(nxf_feeder_state),
    ROW(nxf_feeder_touch),
    ROW(nxf_frame_decode),
    ROW(nxf_frame_encode),
    ROW(nxf_log_free),
    ROW(nxf_log_notify),
    ROW(nxf_log_open),
    ROW(nxf_log_set_send_limit),
    ROW(nxf_log_state_name),
    ROW(nxf_log_vlsn_range),
    ROW(nxf_options_describe),
    ROW(nxf_options_free),
    ROW(nxf_options_get),
    ROW(nxf_options_new),
    ROW(nxf_options_set),
    ROW(nxf_options_set_log_callback),
    ROW(nxf_run_state_name),
    ROW(nxf_runner_event_fd),
    ROW(nxf_runner_free),
    ROW(nxf_runner_known_replica_vlsn),
    ROW(nxf_runner_new),
    ROW(nxf_runner_notify),
    ROW(nxf_runner_poll_acks),
    ROW(nxf_runner_replica_name),
    ROW(nxf_runner_result),
    ROW(nxf_runner_run),
    ROW(nxf_runner_set_ack_callback),
    ROW(nxf_runner_set_end_callback),
    ROW(nxf_runner_set_user_pointer),
    ROW(nxf_runner_start),
    ROW(nxf_runner_state),
    ROW(nxf_runner_stats),
    ROW(nxf_runner_stop),
    ROW(nxf_runner_stop_all),
    ROW(nxf_runner_user_pointer),
    ROW(nxf_runner_wait_acked),
    ROW(nxf_scanner_free),
    ROW(nxf_scanner_from_callbacks),
    ROW(nxf_scanner_from_log),
    ROW(nxf_scanner_next),
    ROW(nxf_scanner_open),
    ROW(nxf_server_adopt),
    ROW(nxf_server_answer_elections),
    ROW(nxf_server_connections),
    ROW(nxf_server_dial),
    ROW(nxf_server_disconnect),
    ROW(nxf_server_event_fd),
    ROW(nxf_server_free),
    ROW(nxf_server_listen),
    ROW(nxf_server_new),
    ROW(nxf_server_next_event),
    ROW(nxf_server_set_event_callback),
    ROW(nxf_server_set_identify_callback),
    ROW(nxf_server_stop),
    ROW(nxf_service_name),
    ROW(nxf_status_name),
    ROW(nxf_version),
};

/* The host is called: if this is where and when, it calls back. */
static void visit(const char *place)
{
    bool is_here;
    event_lock(&host.event);
    is_here = host.place != NULL && strcmp(host.place, place) == 0 && !host.visiting;
    host.visiting |= is_here;
    event_unlock(&host.event);
    if (!is_here)
        return;
    for (size_t at = 0; at < LENGTH(functions); at++) {
        host.current = functions[at].name;
        watch(functions[at].name, place, host.name);
        functions[at].call();
    }
    watch("what follows", place, host.name);
    event_lock(&host.event);
    host.visited = true;
    event_unlock(&host.event);
}

/* --- scenes --- */

static void begin_scene(struct feed *feed, const char *name, const char *place)
{
    memset(host.failure, 0, sizeof host.failure);
    host.name = name;
    host.place = place;
    host.visiting = false;
    host.visited = false;
    host.acked = 0;
    host.is_closed = false;
    host.options = feed->options;
    host.runner = NULL;
    host.server = NULL;
    host.is_startable = false;
    host.scanner = NULL;
    host.channel = NULL;
    host.is_lent = false;
    assert_ok(nxf_options_set_log_callback, feed->options, NXF_LEVEL_DEBUG, say, NULL, drop_log);
    watch("the scene", place, name);
}

static void end_scene(struct feed *feed)
{
    nxf_channel_free(host.inner);
    host.inner = NULL;
    replica_free(feed->replica);
    feed->replica = NULL;
    if (host.failure[0] != '\0')
        fail_with("%s", host.failure);
    if (!host.visited)
        fail_with("%s was not called, %s", host.place, host.name);
    for (size_t at = 0; at < LENGTH(places); at++)
        visits[at] += strcmp(places[at], host.place) == 0;
    host.place = NULL;
}

/* A channel of the host's own, with a replica at the other end. */
static nxf_channel *open_channel(struct feed *feed)
{
    const nxf_channel_vtable vtable = channel_vtable();
    nxf_channel *channel = NULL;
    int fds[2];
    unix_pair(fds);
    feed->replica = replica_new(fds[1], REPLICA_ACKS);
    assert_ok(nxf_channel_from_fd, fds[0], NULL, &host.inner);
    assert_ok(nxf_channel_from_callbacks, &vtable, NULL, NULL, &channel);
    return channel;
}

/* A runner over it, with all callbacks. Nothing is called back from while it is made. */
static void open_runner(struct feed *feed)
{
    const char *place = host.place;
    host.place = NULL;
    assert_ok(nxf_runner_new, open_channel(feed), REPLICA_NAME, 1, feed->options, &host.runner);
    assert_ok(nxf_runner_set_ack_callback, host.runner, acked, NULL, drop_ack);
    assert_ok(nxf_runner_set_end_callback, host.runner, ended, NULL, drop_end);
    host.place = place;
}

static void free_runner(void)
{
    assert_int_equal(nxf_runner_free(host.runner), NXF_OK);
    host.runner = NULL;
}

static bool is_visited_or_acked(void *unused)
{
    (void)unused;
    return host.visited || host.acked == 3;
}

enum way {
    STARTED,
    RUN_HERE,
    CLOSED_AT_ITS_START
};

static void play_run(struct feed *feed, const char *name, const char *place, enum way way, nxf_scanner *scanner)
{
    begin_scene(feed, name, place);
    open_runner(feed);
    host.is_closed = way == CLOSED_AT_ITS_START;
    if (way == RUN_HERE) {
        assert_ok(nxf_runner_run, host.runner, scanner);
    } else {
        host.scanner = scanner;
        assert_ok(nxf_runner_start, host.runner, scanner);
        host.scanner = NULL;
        event_lock(&host.event);
        if (way == STARTED)
            event_wait(&host.event, is_visited_or_acked, NULL);
        event_unlock(&host.event);
    }
    free_runner();
    end_scene(feed);
}

static nxf_scanner *own_scanner(void)
{
    const nxf_source_vtable vtable = source_vtable();
    nxf_scanner *scanner = NULL;
    assert_ok(nxf_scanner_from_callbacks, &vtable, NULL, NULL, &scanner);
    return scanner;
}

static nxf_scanner *log_scanner(void)
{
    nxf_scanner *scanner = NULL;
    assert_ok(nxf_scanner_from_log, host.log, NXF_LSN_FIRST, &scanner);
    return scanner;
}

static const char *const places_of_a_run[] = { NEXT,  RELEASE,      SOURCE_DROP, SEND,     RECEIVE, CLOSE,   IS_OPEN,
                                               CHANNEL_DROP, ACK, ACK_DROP,    END,      END_DROP, LOG };
static const char *const places_without_a_source[] = { SEND, RECEIVE,  CLOSE, IS_OPEN,  CHANNEL_DROP,
                                                       ACK,  ACK_DROP, END,   END_DROP, LOG };
static const char *const places_without_a_stream[] = { SOURCE_DROP, CLOSE, IS_OPEN,  CHANNEL_DROP,
                                                       ACK_DROP,    END,   END_DROP, LOG };

static void everything_can_be_called_in_a_run_of_a_source_of_the_hosts_own(void **state)
{
    for (size_t at = 0; at < LENGTH(places_of_a_run); at++)
        play_run(feed_of(state), "of a run on its own thread", places_of_a_run[at], STARTED, own_scanner());
}

static void everything_can_be_called_in_a_run_on_the_callers_thread(void **state)
{
    for (size_t at = 0; at < LENGTH(places_of_a_run); at++)
        play_run(feed_of(state), "of a run on the caller's thread", places_of_a_run[at], RUN_HERE, own_scanner());
}

static void everything_can_be_called_in_a_run_over_a_log(void **state)
{
    for (size_t at = 0; at < LENGTH(places_without_a_source); at++)
        play_run(feed_of(state), "of a run over a log", places_without_a_source[at], STARTED, log_scanner());
}

static void everything_can_be_called_in_a_run_whose_channel_is_closed_when_it_starts(void **state)
{
    for (size_t at = 0; at < LENGTH(places_without_a_stream); at++)
        play_run(feed_of(state), "of a run whose channel is closed", places_without_a_stream[at], CLOSED_AT_ITS_START,
                 own_scanner());
}

static void everything_can_be_called_while_a_runner_is_made(void **state)
{
    struct feed *feed = feed_of(state);
    for (int is_closed = 0; is_closed < 2; is_closed++) {
        begin_scene(feed, is_closed ? "of a runner that is refused" : "of a runner that is made", IS_OPEN);
        host.channel = open_channel(feed);
        host.is_lent = true;
        host.is_closed = is_closed != 0;
        assert_status(is_closed ? NXF_CLOSED : NXF_OK, nxf_runner_new, host.channel, "r1", 1, feed->options,
                      &feed->runner);
        if (is_closed)
            nxf_channel_free(host.channel);
        else
            feed_free_runner(feed);
        end_scene(feed);
    }
}

static void everything_can_be_called_while_a_runner_that_never_started_is_freed(void **state)
{
    static const char *const where[] = { CLOSE, CHANNEL_DROP, ACK_DROP, END_DROP };
    for (size_t at = 0; at < LENGTH(where); at++) {
        begin_scene(feed_of(state), "of a runner that never started", where[at]);
        open_runner(feed_of(state));
        free_runner();
        end_scene(feed_of(state));
    }
}

static void everything_can_be_called_while_a_callback_is_replaced(void **state)
{
    static const char *const where[] = { ACK_DROP, END_DROP };
    for (size_t at = 0; at < LENGTH(where); at++) {
        begin_scene(feed_of(state), "of a callback that is replaced", where[at]);
        open_runner(feed_of(state));
        host.is_startable = true;
        assert_ok(nxf_runner_set_ack_callback, host.runner, acked, NULL, drop_ack);
        if (at == 1)
            assert_ok(nxf_runner_set_end_callback, host.runner, ended, NULL, drop_end);
        free_runner();
        end_scene(feed_of(state));
    }
}

static void everything_can_be_called_in_a_channel_that_the_host_uses(void **state)
{
    static const char *const where[] = { SEND, RECEIVE, CLOSE, IS_OPEN };
    struct feed *feed = feed_of(state);
    uint8_t buf[64];
    size_t len;
    for (size_t at = 0; at < LENGTH(where); at++) {
        begin_scene(feed, "of a channel that the host uses", where[at]);
        host.channel = open_channel(feed);
        nxf_channel_is_open(host.channel);
        nxf_channel_send(host.channel, buf, 0, NULL);
        nxf_channel_receive(host.channel, buf, sizeof buf, &len, 0, NULL);
        nxf_channel_close(host.channel, NULL);
        nxf_channel_free(host.channel);
        end_scene(feed);
    }
    for (size_t at = 0; at < 2; at++) {
        begin_scene(feed, "of a channel that is freed", at == 0 ? CLOSE : CHANNEL_DROP);
        nxf_channel_free(open_channel(feed));
        end_scene(feed);
    }
}

static void everything_can_be_called_in_a_source_that_the_host_reads(void **state)
{
    static const char *const where[] = { NEXT, RELEASE, SOURCE_DROP };
    nxf_entry entry;
    for (size_t at = 0; at < LENGTH(where); at++) {
        nxf_scanner *scanner = own_scanner();
        begin_scene(feed_of(state), "of a scanner that the host reads", where[at]);
        host.scanner = scanner;
        assert_ok(nxf_scanner_next, scanner, 1, &entry);
        assert_ok(nxf_scanner_next, scanner, 2, &entry);
        host.scanner = NULL;
        nxf_scanner_free(scanner);
        end_scene(feed_of(state));
    }
}

static void everything_can_be_called_while_a_scanner_has_something_to_say(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_entry entry;
    begin_scene(feed, "of a scanner that warns", LOG);
    log_add_range(feed->log, 1, 3); /* again */
    feed_scan(feed);
    host.scanner = feed->scanner;
    while (nxf_scanner_next(feed->scanner, 1, &entry, NULL) == NXF_OK)
        ;
    host.scanner = NULL;
    end_scene(feed);
}

static void everything_can_be_called_while_the_context_of_a_log_callback_goes(void **state)
{
    struct feed *feed = feed_of(state);
    nxf_log *log = NULL;
    begin_scene(feed, "when it is replaced", LOG_DROP);
    assert_ok(nxf_options_set_log_callback, feed->options, NXF_LEVEL_DEBUG, say, NULL, drop_log);
    end_scene(feed);
    begin_scene(feed, "when it is taken back", LOG_DROP);
    assert_ok(nxf_options_set_log_callback, feed->options, NXF_LEVEL_DEBUG, NULL, NULL, NULL);
    end_scene(feed);
    begin_scene(feed, "when the options are freed", LOG_DROP);
    host.options = NULL;
    nxf_options_free(feed->options);
    feed->options = NULL;
    end_scene(feed);

    assert_ok(nxf_options_new, &feed->options);
    begin_scene(feed, "when the last log that has it is freed", LOG_DROP);
    host.options = NULL;
    assert_ok(nxf_log_open, log_dir(feed->log), feed->options, &log);
    nxf_options_free(feed->options);
    nxf_log_free(log);
    feed->options = NULL;
    end_scene(feed);

    assert_ok(nxf_options_new, &feed->options);
    begin_scene(feed, "when the last runner that has it is freed", LOG_DROP);
    open_runner(feed);
    host.options = NULL;
    nxf_options_free(feed->options);
    feed->options = NULL;
    nxf_runner *runner = host.runner;
    host.runner = NULL; /* by then it is gone */
    assert_int_equal(nxf_runner_free(runner), NXF_OK);
    end_scene(feed);
}

/* A server with all callbacks, and a replica that dials in. Nothing is called back from while it is made. */
static void open_server(struct feed *feed)
{
    const char *place = host.place;
    host.place = NULL;
    assert_ok(nxf_server_new, host.log, feed->options, &host.server);
    assert_ok(nxf_server_set_identify_callback, host.server, identify, NULL, drop_identify);
    assert_ok(nxf_server_set_event_callback, host.server, happened, NULL, drop_event);
    host.place = place;
}

static void free_server(void)
{
    assert_int_equal(nxf_server_free(host.server), NXF_OK);
    host.server = NULL;
}

static void everything_can_be_called_in_a_server(void **state)
{
    static const char *const where[] = { IDENTIFY, IDENTIFY_DROP, EVENT, EVENT_DROP, LOG };
    static const uint8_t hello[27] = "\13\0\0\0PEER_FEEDER\10\0\0\0\1\0\0\0\0\0\0";
    struct feed *feed = feed_of(state);
    for (size_t at = 0; at < LENGTH(where); at++) {
        uint8_t answer[5];
        int fds[2];
        begin_scene(feed, "of a server", where[at]);
        open_server(feed);
        unix_pair(fds);
        assert_ok(nxf_server_adopt, host.server, fds[0]);
        /* It may be stopped by then. */
        if (send_all(fds[1], hello, sizeof hello) && receive_all(fds[1], answer, sizeof answer)) {
            feed->replica = replica_new(fds[1], REPLICA_ACKS);
            event_lock(&host.event);
            event_wait(&host.event, is_visited_or_acked, NULL);
            event_unlock(&host.event);
        } else {
            close(fds[1]);
        }
        free_server();
        end_scene(feed);
    }
}

static void everything_can_be_called_while_a_server_that_has_not_begun_changes(void **state)
{
    static const char *const where[] = { IDENTIFY_DROP, EVENT_DROP };
    struct feed *feed = feed_of(state);
    for (size_t at = 0; at < LENGTH(where); at++) {
        begin_scene(feed, "of a callback of a server that is replaced", where[at]);
        open_server(feed);
        host.is_startable = true;
        assert_ok(nxf_server_set_identify_callback, host.server, identify, NULL, drop_identify);
        if (at == 1)
            assert_ok(nxf_server_set_event_callback, host.server, happened, NULL, drop_event);
        free_server();
        end_scene(feed);

        begin_scene(feed, "of a server that never began", where[at]);
        open_server(feed);
        free_server();
        end_scene(feed);
    }
    begin_scene(feed, "of a server that begins to listen", LOG);
    open_server(feed);
    assert_ok(nxf_server_listen, host.server, NULL, 0, NULL);
    free_server();
    end_scene(feed);
}

static void everything_can_be_called_while_a_tracker_is_drained(void **state)
{
    begin_scene(feed_of(state), "of a tracker that is drained", MESSAGE);
    assert_ok(nxf_feeder_queue_entry, host.feeder, 1, 10, NULL, 0);
    assert_ok(nxf_feeder_drain, host.feeder, take_message, NULL, NULL);
    end_scene(feed_of(state));
}

static void every_function_of_the_hosts_was_called_back_from(void **state)
{
    (void)state;
    for (size_t at = 0; at < LENGTH(places); at++) {
        if (visits[at] == 0)
            fail_with("nothing was called in %s", places[at]);
    }
}

/* --- inside two runs at once --- */

static nxf_status outer_statuses[3];

/* The end callback of a run inside the ack callback of another. */
static void end_of_the_inner_run(void *outer, const char *replica_name, nxf_status how, const nxf_error *why)
{
    nxf_runner *runner = (nxf_runner *)outer;
    (void)replica_name;
    (void)how;
    (void)why;
    watch("stop of the outer run", END, "of a run inside another");
    outer_statuses[0] = nxf_runner_stop(runner, -1, NULL);
    outer_statuses[1] = nxf_runner_wait_acked(runner, 1000, -1, NULL);
    outer_statuses[2] = nxf_runner_free(runner);
}

static void ack_that_runs_another(void *context, const char *replica_name, uint64_t vlsn)
{
    struct feed *feed = (struct feed *)context;
    nxf_runner *inner = new_runner();
    (void)replica_name;
    (void)vlsn;
    nxf_runner_set_end_callback(inner, end_of_the_inner_run, feed->runner, NULL, NULL);
    record_add(feed->record, "%s", nxf_status_name(nxf_runner_run(inner, new_scanner(), NULL)));
    nxf_runner_free(inner);
}

static void a_run_inside_a_callback_is_inside_both_runs(void **state)
{
    struct feed *feed = feed_of(state);
    log_add(feed->log, 1);
    feed_connect(feed, REPLICA_ACKS);
    feed_make_runner(feed, 1);
    assert_ok(nxf_runner_set_ack_callback, feed->runner, ack_that_runs_another, feed, NULL);
    feed_start(feed);
    record_wait(feed->record, "NXF_OK");
    for (size_t at = 0; at < LENGTH(outer_statuses); at++)
        assert_int_equal(outer_statuses[at], NXF_E_INSIDE_CALLBACK);
}

/* --- */

static int set_up(void **state)
{
    if (feed_setup(state) != 0)
        return -1;
    log_add_range(feed_of(state)->log, 1, 3);
    assert_ok(nxf_log_open, log_dir(feed_of(state)->log), NULL, &host.log);
    assert_ok(nxf_feeder_new, "r1", NULL, &host.feeder);
    nxf_server *server = NULL;
    assert_ok(nxf_server_new, host.log, NULL, &server);
    assert_ok(nxf_server_connections, server, &host.list);
    nxf_server_free(server);
    return 0;
}

static int tear_down(void **state)
{
    nxf_connection_list_free(host.list);
    nxf_log_free(host.log);
    nxf_feeder_free(host.feeder);
    host.options = NULL;
    return feed_teardown(state);
}

static int set_up_all(void **state)
{
    (void)state;
    event_init(&host.event);
    event_init(&watchdog.event);
    host.main_thread = pthread_self();
    listener = listen_on_loopback(&port);
    watch("nothing", "none", "at the beginning");
    return pthread_create(&watchdog.thread, NULL, watch_over, NULL);
}

static int tear_down_all(void **state)
{
    (void)state;
    event_lock(&watchdog.event);
    watchdog.is_over = true;
    event_unlock(&watchdog.event);
    pthread_join(watchdog.thread, NULL);
    event_destroy(&watchdog.event);
    event_destroy(&host.event);
    close(listener);
    return 0;
}

#define scene(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

/* With the word places or functions: lists what is in that table. */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        scene(everything_can_be_called_in_a_run_of_a_source_of_the_hosts_own),
        scene(everything_can_be_called_in_a_run_on_the_callers_thread),
        scene(everything_can_be_called_in_a_run_over_a_log),
        scene(everything_can_be_called_in_a_run_whose_channel_is_closed_when_it_starts),
        scene(everything_can_be_called_while_a_runner_is_made),
        scene(everything_can_be_called_while_a_runner_that_never_started_is_freed),
        scene(everything_can_be_called_while_a_callback_is_replaced),
        scene(everything_can_be_called_in_a_channel_that_the_host_uses),
        scene(everything_can_be_called_in_a_source_that_the_host_reads),
        scene(everything_can_be_called_while_a_scanner_has_something_to_say),
        scene(everything_can_be_called_while_the_context_of_a_log_callback_goes),
        scene(everything_can_be_called_in_a_server),
        scene(everything_can_be_called_while_a_server_that_has_not_begun_changes),
        scene(everything_can_be_called_while_a_tracker_is_drained),
        cmocka_unit_test(every_function_of_the_hosts_was_called_back_from),
        feed_test(a_run_inside_a_callback_is_inside_both_runs),
    };
    if (argc == 2 && strcmp(argv[1], "places") == 0) {
        for (size_t at = 0; at < LENGTH(places); at++)
            puts(places[at]);
        return 0;
    }
    if (argc == 2 && strcmp(argv[1], "functions") == 0) {
        for (size_t at = 0; at < LENGTH(functions); at++)
            puts(functions[at].name);
        return 0;
    }
    return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
