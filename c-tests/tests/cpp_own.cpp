// noxu_feeder.hpp: sources and transports of the host's own, as classes.
#include "support/cpp.hpp"

#include <atomic>

// Counts up to last. Each payload is valid until it is released, and not any longer.
class counting : public nxf::source {
public:
    counting(record &record, std::uint64_t last) : record_(record), last_(last) {}
    ~counting() override
    {
        if (lent_ != 0)
            record_.add("not released");
        record_.add("source destroyed");
    }

    std::optional<nxf::entry> next(std::uint64_t from_vlsn) override
    {
        const std::uint64_t vlsn = std::max<std::uint64_t>(from_vlsn, 1);
        if (vlsn > last_)
            return std::nullopt;
        if (vlsn == throws_at)
            throw std::out_of_range("no more");
        if (lent_ != 0)
            record_.add("asked before the release");
        payload_ = std::make_unique<std::string>("payload " + std::to_string(vlsn));
        lent_++;
        return nxf::entry(vlsn, 10, nxf::as_bytes(*payload_), vlsn * 100);
    }
    void release(const nxf::entry &used) noexcept override
    {
        if (used.payload.data() == nxf::as_bytes(*payload_).data())
            lent_--;
        payload_.reset();
        if (lent_ != 0)
            record_.add("released in a wrong way");
    }

    std::atomic<std::uint64_t> throws_at{0};

private:
    record &record_;
    std::uint64_t last_;
    std::unique_ptr<std::string> payload_;
    int lent_ = 0;
};

// Moves messages over another channel.
class relay : public nxf::transport {
public:
    relay(record &record, nxf::channel over) : record_(record), over_(std::move(over)) {}
    ~relay() override { record_.add("transport destroyed"); }

    nxf::transfer send(nxf::bytes message) override
    {
        if (sends_before_failure-- == 0)
            throw std::runtime_error("cannot send");
        return over_.send(message);
    }
    nxf::received receive(nxf::buffer into, nxf::timeout limit) override
    {
        const nxf::received got = over_.receive(into, limit);
        if (got && fails_to_receive)
            throw 42;
        return got;
    }
    void close() noexcept override
    {
        over_.close();
        record_.add("closed");
    }
    bool is_open() noexcept override { return over_.is_open(); }

    std::atomic<int> sends_before_failure{-1};
    std::atomic<bool> fails_to_receive{false};

private:
    record &record_;
    nxf::channel over_;
};

// What a replica is, without a socket: takes frames, and acknowledges each.
class replica {
public:
    explicit replica(nxf::channel over) : over_(std::move(over)), thread_([this] { work(); }) {}
    ~replica()
    {
        over_.close();
        thread_.join();
    }
    record received;

private:
    void work()
    {
        std::vector<std::uint8_t> message;
        while (over_.receive(message) == nxf::transfer::done) {
            const nxf::entry entry = nxf::frame_decode(message);
            received.add(std::to_string(entry.vlsn) + " " + std::string(nxf::as_text(entry.payload)));
            if (over_.send(nxf::ack_encode(entry.vlsn)) != nxf::transfer::done)
                break;
        }
    }

    nxf::channel over_;
    std::thread thread_;
};

TEST_CASE("a source of the host's own is read directly")
{
    record record;
    {
        nxf::scanner scanner(std::make_unique<counting>(record, 3));
        for (std::uint64_t vlsn = 1; vlsn <= 3; vlsn++) {
            const nxf::entry entry = scanner.next().value();
            CHECK(entry.vlsn == vlsn);
            CHECK(entry.lsn == vlsn * 100);
            CHECK(entry.entry_type == 10);
            CHECK(nxf::as_text(entry.payload) == "payload " + std::to_string(vlsn));
        }
        CHECK(!scanner.next());
        nxf::scanner moved(std::move(scanner));
        CHECK(!moved.next());
        CHECK(record.lines().empty());
    }
    CHECK(record.lines() == lines{"source destroyed"});
}

TEST_CASE("a source need not release")
{
    class two : public nxf::source {
        std::optional<nxf::entry> next(std::uint64_t from_vlsn) override
        {
            return from_vlsn > 2 ? std::nullopt : std::optional(nxf::entry(std::max<std::uint64_t>(from_vlsn, 1), 1, {}));
        }
    };
    nxf::scanner scanner(std::make_unique<two>());
    CHECK(scanner.next()->vlsn == 1);
    CHECK(scanner.next()->vlsn == 2);
    CHECK(!scanner.next());
}

TEST_CASE("an exception of a source is the cause of the error")
{
    record record;
    auto source = std::make_unique<counting>(record, 3);
    source->throws_at = 2;
    nxf::scanner scanner(std::move(source));
    CHECK(scanner.next()->vlsn == 1);
    nxf::scanner moved(std::move(scanner));
    const nxf::error error = error_of([&] { static_cast<void>(moved.next()); });
    CHECK(error.status() == NXF_E_CALLBACK);
    REQUIRE(error.cause());
    CHECK_THROWS_WITH_AS(std::rethrow_exception(error.cause()), "no more", std::out_of_range);
}

TEST_CASE("what cannot be made destroys what it was made of, once")
{
    record record;
    nxf::options gone;
    nxf::options(std::move(gone));
    CHECK(error_of([] { nxf::scanner(std::unique_ptr<nxf::source>()); }).status() == NXF_E_INVALID_ARGUMENT);
    CHECK(error_of([] { nxf::channel(std::unique_ptr<nxf::transport>()); }).status() == NXF_E_INVALID_ARGUMENT);
    nxf::scanner(std::make_unique<counting>(record, 1), gone);
    CHECK(record.lines() == lines{"source destroyed"});
}

TEST_CASE("a transport of the host's own is used directly")
{
    record record;
    {
        auto [near, far] = nxf::channel::local_pair();
        auto owned = std::make_unique<relay>(record, std::move(near));
        relay &transport = *owned;
        nxf::channel channel(std::move(owned));
        CHECK(channel.is_open());
        CHECK(channel.send(nxf::as_bytes("out")) == nxf::transfer::done);
        std::vector<std::uint8_t> message;
        CHECK(far.receive(message) == nxf::transfer::done);
        CHECK(nxf::as_text(message) == "out");
        const std::vector<std::uint8_t> large(10000, 1);
        CHECK(far.send(large) == nxf::transfer::done);
        CHECK(channel.receive(message, patience) == nxf::transfer::done); // by way of too_small
        CHECK(message == large);
        CHECK(channel.receive(message, 1ms) == nxf::transfer::again);

        transport.sends_before_failure = 0;
        const nxf::error error = error_of([&] { static_cast<void>(channel.send(nxf::as_bytes("x"))); });
        CHECK(error.status() == NXF_E_CALLBACK);
        CHECK_THROWS_WITH_AS(std::rethrow_exception(error.cause()), "cannot send", std::runtime_error);
        transport.fails_to_receive = true;
        CHECK(far.send(nxf::as_bytes("in")) == nxf::transfer::done);
        const nxf::error other = error_of([&] { static_cast<void>(channel.receive(message)); });
        CHECK(other.status() == NXF_E_CALLBACK);
        CHECK_THROWS_AS(std::rethrow_exception(other.cause()), int);

        far.close();
        CHECK(!channel.is_open());
        CHECK(channel.receive(message) == nxf::transfer::closed);
        CHECK(channel.send(nxf::bytes()) == nxf::transfer::closed);
        channel.close();
        CHECK(record.count("closed") == 1);
        CHECK(record.count("transport destroyed") == 0);
    }
    CHECK(record.lines() == lines{"closed", "transport destroyed"});
}

TEST_CASE("a transport is open until it says otherwise")
{
    class silent : public nxf::transport {
        nxf::transfer send(nxf::bytes) override { return nxf::transfer::again; }
        nxf::received receive(nxf::buffer, nxf::timeout) override { return {nxf::transfer::closed, 0}; }
        void close() noexcept override {}
    };
    nxf::channel channel(std::make_unique<silent>());
    CHECK(channel.is_open());
    CHECK(channel.send(nxf::bytes()) == nxf::transfer::again);
    channel.close();
    CHECK(!channel.is_open());
}

TEST_CASE("a run from a source over a transport, both the host's own")
{
    record record;
    auto [near, far] = nxf::channel::local_pair();
    replica replica(std::move(far));
    {
        nxf::runner runner(nxf::channel(std::make_unique<relay>(record, std::move(near))), "r1", 1);
        runner.start(nxf::scanner(std::make_unique<counting>(record, 100)));
        CHECK(runner.wait_acked(100) == nxf::waited::acked);
        CHECK(runner.wait_acked(101, 1ms) == nxf::waited::timed_out);
        CHECK(runner.stop());
        CHECK(runner.result());
    }
    CHECK(replica.received.lines().size() == 100);
    CHECK(replica.received.lines()[41] == "42 payload 42");
    CHECK(record.count("source destroyed") == 1);
    CHECK(record.count("transport destroyed") == 1);
    CHECK(record.count("released in a wrong way") == 0);
    CHECK(record.count("asked before the release") == 0);
    CHECK(record.count("not released") == 0);
    // Closed before it is destroyed.
    const lines happened = record.lines();
    CHECK(std::find(happened.begin(), happened.end(), "closed") <
          std::find(happened.begin(), happened.end(), "transport destroyed"));
}

TEST_CASE("what a source throws ends the run, and is found in every error of it")
{
    record record;
    auto [near, far] = nxf::channel::local_pair();
    replica replica(std::move(far));
    auto source = std::make_unique<counting>(record, 10);
    source->throws_at = 6;
    nxf::runner runner(std::move(near), "r1", 1);
    std::exception_ptr at_the_end;
    runner.on_end([&](std::string_view, const nxf::error *why) { at_the_end = why ? why->cause() : nullptr; });
    runner.start(nxf::scanner(std::move(source)));
    const nxf::error error = error_of([&] { runner.wait_acked(6); });
    CHECK(error.status() == NXF_E_CALLBACK);
    CHECK(runner.stop());
    for (const std::exception_ptr &cause :
         {error.cause(), error_of([&] { static_cast<void>(runner.result()); }).cause(), at_the_end}) {
        REQUIRE(cause);
        CHECK_THROWS_WITH_AS(std::rethrow_exception(cause), "no more", std::out_of_range);
    }
}

TEST_CASE("what a transport throws ends the run, and is thrown by it")
{
    record record;
    auto [near, far] = nxf::channel::local_pair();
    replica replica(std::move(far));
    auto transport = std::make_unique<relay>(record, std::move(near));
    transport->sends_before_failure = 3;
    nxf::runner runner(nxf::channel(std::move(transport)), "r1", 1);
    const nxf::error error = error_of([&] { runner.run(nxf::scanner(std::make_unique<counting>(record, 10))); });
    CHECK(error.status() == NXF_E_CALLBACK);
    CHECK(std::string(error.what()).find("send") != std::string::npos);
    REQUIRE(error.cause());
    CHECK_THROWS_WITH_AS(std::rethrow_exception(error.cause()), "cannot send", std::runtime_error);
}

TEST_CASE("a start that fails leaves the cause to the one that does not")
{
    record record;
    auto [near, far] = nxf::channel::local_pair();
    replica replica(std::move(far));
    nxf::runner runner(std::move(near), "r1", 1);
    auto throwing = std::make_unique<counting>(record, 3);
    throwing->throws_at = 2;
    runner.start(nxf::scanner(std::move(throwing)));
    CHECK_THROWS_AS(runner.start(nxf::scanner(std::make_unique<counting>(record, 3))), nxf::error);
    const nxf::error error = error_of([&] { runner.wait_acked(2); });
    CHECK(error.cause() != nullptr);
    nxf::runner moved(std::move(runner));
    CHECK(error_of([&] { static_cast<void>(moved.result()); }).cause() != nullptr);
}
