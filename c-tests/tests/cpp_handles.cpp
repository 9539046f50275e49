// noxu_feeder.hpp: the owning types, except runners. Valgrind sees objects that are released twice, or not at all.
#include "support/cpp.hpp"

#include <sys/socket.h>
#include <unistd.h>

template <class Handle>
constexpr bool moves_only = !std::is_copy_constructible_v<Handle> && !std::is_copy_assignable_v<Handle> &&
                            std::is_nothrow_move_constructible_v<Handle> &&
                            std::is_nothrow_move_assignable_v<Handle> && std::is_nothrow_destructible_v<Handle>;

static_assert(moves_only<nxf::options>);
static_assert(moves_only<nxf::log>);
static_assert(moves_only<nxf::scanner>);
static_assert(moves_only<nxf::channel>);
static_assert(moves_only<nxf::runner>);
static_assert(moves_only<nxf::feeder>);
static_assert(!std::is_convertible_v<nxf_log *, nxf::log>, "taking a handle over is said aloud");
static_assert(!std::is_convertible_v<nxf::log, bool>);

TEST_CASE("a handle moves, and is released once")
{
    test_log files(2);
    nxf::log first(files.dir());
    nxf_log *const handle = first.get();
    nxf::log second(std::move(first));
    CHECK(!first);
    CHECK(first.get() == nullptr);
    CHECK(second);
    CHECK(second.get() == handle);

    nxf::log third(files.dir());
    third = std::move(second); // releases what it had
    CHECK(third.get() == handle);
    CHECK(third.vlsn_range()->last == 2);

    // What was moved from can be given something again, or not.
    first = std::move(third);
    CHECK(first.vlsn_range()->last == 2);
}

TEST_CASE("a handle comes from C and goes to C")
{
    test_log files(2);
    nxf_log *opened = nullptr;
    REQUIRE(nxf_log_open(files.dir().c_str(), nullptr, &opened, nullptr) == NXF_OK);
    nxf::log log(opened);
    CHECK(log.vlsn_range()->first == 1);
    nxf_log *const released = log.release();
    CHECK(released == opened);
    CHECK(!log);
    nxf_log_free(released);
}

TEST_CASE("what was moved from is no crash")
{
    test_log files(1);
    const auto refused = [](auto &&call) { return error_of(call).status() == NXF_E_INVALID_ARGUMENT; };
    nxf::log log(files.dir());
    nxf::log(std::move(log));
    CHECK(refused([&] { log.notify(); }));
    CHECK(refused([&] { log.set_send_limit(1); }));
    CHECK(refused([&] { static_cast<void>(log.vlsn_range()); }));
    CHECK(refused([&] { nxf::scanner scanner(log); }));

    nxf::scanner scanner(files.dir());
    nxf::scanner(std::move(scanner));
    CHECK(refused([&] { static_cast<void>(scanner.next()); }));

    auto [one, other] = nxf::channel::local_pair();
    nxf::channel(std::move(one));
    CHECK(refused([&] { static_cast<void>(one.send(nxf::bytes())); }));
    CHECK(refused([&] { static_cast<void>(one.receive(nxf::buffer())); }));
    CHECK(refused([&] { one.close(); }));
    CHECK(!one.is_open());
    CHECK(refused([&] { nxf::runner runner(std::move(one), "r", 1); }));

    auto pair = nxf::channel::local_pair();
    nxf::runner runner(std::move(pair.first), "r", 1);
    nxf::runner elsewhere(std::move(runner));
    CHECK(refused([&] { runner.start(nxf::scanner(files.dir())); }));
    CHECK(refused([&] { runner.run(nxf::scanner(files.dir())); }));
    CHECK(refused([&] { runner.on_ack([](std::uint64_t) {}); }));
    CHECK(refused([&] { runner.on_end([](std::string_view, const nxf::error *) {}); }));
    CHECK(refused([&] { runner.wait_acked(1); }));
    CHECK(refused([&] { static_cast<void>(runner.result()); }));
    CHECK(refused([&] { runner.stop(); }));
    CHECK(refused([&] { runner.notify(); }));
    CHECK(refused([&] { runner.stats(); }));
    CHECK(refused([&] { runner.event_fd(); }));
    CHECK(runner.known_replica_vlsn() == 0);
    runner.reset();

    nxf::feeder feeder("r");
    nxf::feeder(std::move(feeder));
    CHECK(refused([&] { feeder.touch(); }));
    CHECK(refused([&] { static_cast<void>(feeder.debug_text()); }));
    CHECK(feeder.lag() == 0);

    // Options alone: those that hold nothing are the defaults.
    nxf::options options;
    nxf::options(std::move(options));
    CHECK(refused([&] { options.set("log.settle_ms", 1); }));
    CHECK(nxf::log(files.dir(), options).vlsn_range()->last == 1);
    CHECK(!nxf::options::defaults());
}

TEST_CASE("options can be read and listed")
{
    nxf::options options;
    options.set("log.settle_ms", 2s);
    CHECK(options.get("log.settle_ms") == "2000");
    CHECK(nxf::options::defaults().get("log.settle_ms") == "3000");
    CHECK(error_of([&] { static_cast<void>(options.get("log.settle")); }).status() == NXF_E_INVALID_OPTION);
    const std::vector<nxf::option> all = nxf::options::all();
    REQUIRE(all.size() > 20);
    CHECK(all[0].key == "log.settle_ms");
    CHECK(all[0].kind == nxf::option_kind::number);
    CHECK(all[0].max == 86400000);
    for (const nxf::option &option : all) {
        CHECK(nxf::options::defaults().get(option.key) == option.default_value);
        CHECK((option.kind == nxf::option_kind::word) == !option.words.empty());
    }
}

TEST_CASE("options take texts, numbers and durations")
{
    nxf::options options;
    options.set("log.settle_ms", "100").set("log.read_bytes", 65536).set("channel.keepalive_ms", 5s);
    options.set("channel.write_timeout_ms", 1500us).set("source.order", std::string("rising"));
    const nxf::options temporary = nxf::options().set("log.settle_ms", 7).on_log(
        nxf::level::error, [](nxf::level, std::string_view, std::string_view) {});
    CHECK(temporary);
    options = nxf::options(options.release());
    CHECK(options);

    nxf::error error = error_of([&] { options.set("log.settle", 1); });
    CHECK(error.status() == NXF_E_INVALID_OPTION);
    CHECK(std::string(error.what()).find("log.settle_ms") != std::string::npos);
    error = error_of([&] { options.set("log.settle_ms", 1000000h); });
    CHECK(error.status() == NXF_E_INVALID_OPTION);
    error = error_of([&] { options.set("log.settle_ms", -1); });
    CHECK(error.status() == NXF_E_INVALID_OPTION);
    // C would have read "100" there.
    error = error_of([&] { options.set("log.settle_ms", std::string_view("100\0x", 5)); });
    CHECK(error.status() == NXF_E_INVALID_ARGUMENT);
    CHECK(std::string(error.what()).find("value") != std::string::npos);
}

TEST_CASE("a log tells its range, and is read by scanners that outlive it")
{
    test_log files;
    nxf::log log(files.dir());
    CHECK(!log.vlsn_range());
    files.append(5);
    log.notify();
    CHECK(log.vlsn_range()->first == 1);
    CHECK(log.vlsn_range()->last == 5);

    nxf::scanner scanner(log);
    log.set_send_limit(files.end());
    files.append(1);
    nxf::scanner from_start(log, 0);
    const nxf::entry first = from_start.next().value();
    CHECK(first.vlsn == 1);
    CHECK(first.payload.size() == 100);
    std::uint8_t payload[100];
    nxft_log_payload(1, payload, sizeof payload);
    CHECK(nxf::as_text(first.payload) == nxf::as_text(payload));

    for (std::uint64_t vlsn = 1; vlsn <= 5; vlsn++)
        CHECK(scanner.next()->vlsn == vlsn);
    CHECK(!scanner.next()); // the limit
    log.set_send_limit(nxf::no_send_limit);
    { nxf::log gone(std::move(log)); }
    CHECK(scanner.next()->vlsn == 6);
    CHECK(!scanner.next());

    nxf::scanner own(files.dir(), nxf::lsn_first, nxf::options());
    CHECK(own.next(4)->vlsn == 4);
    nxf_scanner *opened = own.release();
    nxf::scanner adopted(opened);
    CHECK(adopted.next()->vlsn == 5);
}

TEST_CASE("the ends of a pair send and receive")
{
    auto [one, other] = nxf::channel::local_pair(
        nxf::options().set("channel.local_queue_bytes_max", 8).set("channel.write_timeout_ms", 1ms));
    CHECK(one.is_open());
    CHECK(one.send(nxf::as_bytes("12345678")) == nxf::transfer::done);
    CHECK(one.send(nxf::as_bytes("9")) == nxf::transfer::again);

    std::uint8_t room[100];
    nxf::received got = other.receive(nxf::buffer(room).first(3), 0s);
    CHECK(!got);
    CHECK(got.how == nxf::transfer::too_small);
    CHECK(got.len == 8);
    got = other.receive(room, 0s);
    CHECK(got);
    CHECK(nxf::as_text(nxf::bytes(room).first(got.len)) == "12345678");
    CHECK(other.receive(room, 1ms).how == nxf::transfer::again);
    CHECK(!nxf::received());

    one.close();
    one.close();
    CHECK(!one.is_open());
    CHECK(one.send(nxf::as_bytes("x")) == nxf::transfer::closed);
    CHECK(other.receive(room).how == nxf::transfer::closed);
}

TEST_CASE("a message is received into a vector that grows")
{
    auto [one, other] = nxf::channel::local_pair();
    const std::vector<std::uint8_t> large(100000, 7);
    CHECK(one.send(large) == nxf::transfer::done);
    CHECK(one.send(nxf::as_bytes("small")) == nxf::transfer::done);
    CHECK(one.send(nxf::bytes()) == nxf::transfer::done);
    std::vector<std::uint8_t> message;
    CHECK(other.receive(message) == nxf::transfer::done);
    CHECK(message == large);
    CHECK(other.receive(message) == nxf::transfer::done);
    CHECK(nxf::as_text(message) == "small");
    CHECK(other.receive(message) == nxf::transfer::done);
    CHECK(message.empty());
    CHECK(other.receive(message, 0ms) == nxf::transfer::again);
    CHECK(message.empty());
    one.close();
    CHECK(other.receive(message, patience) == nxf::transfer::closed);
}

TEST_CASE("a channel of a descriptor takes it over on success only")
{
    int fds[2];
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    {
        nxf::channel one = nxf::channel::from_fd(fds[0]);
        nxf::channel other = nxf::channel::from_fd(fds[1], nxf::options());
        CHECK(one.send(nxf::as_bytes("hello")) == nxf::transfer::done);
        std::vector<std::uint8_t> message;
        CHECK(other.receive(message, patience) == nxf::transfer::done);
        CHECK(nxf::as_text(message) == "hello");
    }
    int pipe_fds[2];
    REQUIRE(pipe(pipe_fds) == 0);
    CHECK(error_of([&] { static_cast<void>(nxf::channel::from_fd(pipe_fds[0])); }).status() == NXF_E_INVALID_ARGUMENT);
    CHECK(close(pipe_fds[0]) == 0); // still ours
    CHECK(close(pipe_fds[1]) == 0);
}

TEST_CASE("a channel connects by TCP, or says why not")
{
    nxft_replica *replica = nullptr;
    std::uint16_t port = 0;
    must(nxft_replica_new(&replica));
    must(nxft_replica_listen(replica, &port));
    {
        nxf::channel channel = nxf::channel::tcp_connect("127.0.0.1", port);
        CHECK(channel.is_open());
    }
    nxft_replica_free(replica);
    const nxf::error error = error_of([&] {
        static_cast<void>(nxf::channel::tcp_connect("127.0.0.1", port, nxf::options().set("channel.connect_timeout_ms", 5s)));
    });
    CHECK(error.status() == NXF_E_CONNECT);
    CHECK(error.os_errno() == ECONNREFUSED);
    CHECK(error.is_retriable());
}

TEST_CASE("a tracker keeps what it is told")
{
    nxf::feeder feeder("replica", nxf::options().set("feeder.queue_bytes_max", 24));
    CHECK(feeder.replica_name() == "replica");
    CHECK(feeder.state() == nxf::feeder_state::idle);
    feeder.set_state(nxf::feeder_state::streaming);
    CHECK(feeder.state() == nxf::feeder_state::streaming);
    CHECK(error_of([&] { feeder.set_state(nxf::feeder_state(77)); }).status() == NXF_E_INVALID_ARGUMENT);
    CHECK(feeder.queue_entry(1, 13, nxf::as_bytes("a")));
    CHECK(feeder.queue_entry(2, 13, nxf::as_bytes("bc")));
    CHECK(!feeder.queue_entry(3, 13, nxf::as_bytes("no room")));
    CHECK(feeder.current_vlsn() == 3);
    feeder.record_ack(1);
    CHECK(feeder.acked_vlsn() == 1);
    CHECK(feeder.lag() == 2);
    feeder.touch();
    CHECK(!feeder.is_timed_out(1h));
    CHECK(!feeder.is_timed_out(nxf::forever));
    CHECK(feeder.is_timed_out(0s));
    CHECK(feeder.debug_text().find("replica") != std::string::npos);

    std::vector<std::size_t> lengths;
    CHECK(feeder.drain([&](nxf::bytes message) { lengths.push_back(message.size()); }) == 2);
    CHECK(lengths == std::vector<std::size_t>{10, 11});
    CHECK(feeder.drain([](nxf::bytes) {}) == 0);

    const std::string long_name(1000, 'n');
    nxf::feeder with_long_name(long_name);
    CHECK(with_long_name.replica_name() == long_name);
    CHECK(with_long_name.debug_text().size() > 1000);
    nxf::feeder adopted(with_long_name.release());
    CHECK(adopted.replica_name() == long_name);
}

TEST_CASE("an exception leaves a drain, when C is done")
{
    nxf::feeder feeder("r");
    CHECK(feeder.queue_entry(1, 13, nxf::bytes()));
    CHECK(feeder.queue_entry(2, 13, nxf::bytes()));
    int calls = 0;
    CHECK_THROWS_WITH_AS(feeder.drain([&](nxf::bytes) {
        calls++;
        throw std::out_of_range("mine");
    }),
                         "mine", std::out_of_range);
    CHECK(calls == 1);
    CHECK(feeder.drain([](nxf::bytes) {}) == 0); // lost, as it is documented
}
