// noxu_feeder.hpp: runners and their callbacks.
#include "support/cpp.hpp"

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

// A replica that is fed from a log of so many entries.
struct feed {
    test_log log;
    test_replica replica;
    nxf::runner runner;

    explicit feed(std::uint64_t entries, std::uint64_t start_vlsn = 1,
                  const nxf::options &options = nxf::options::defaults())
        : log(entries), runner(replica.channel(), "r1", start_vlsn, options)
    {
    }
    nxf::scanner scanner() const { return nxf::scanner(log.dir()); }
};

TEST_CASE("acks come with what the function has captured, and it is dropped once, last")
{
    record record;
    feed feed(3);
    feed.runner
        .on_ack([&record, last = std::uint64_t(0), drop = on_drop(record, "ack function dropped")](
                    std::string_view name, std::uint64_t vlsn) mutable {
            record.add(std::string(name) + " acked " + std::to_string(vlsn) + " after " + std::to_string(last));
            last = vlsn;
        })
        .on_end([&record, drop = on_drop(record, "end function dropped")](std::string_view name, const nxf::error *why) {
            record.add(std::string(name) + (why ? " failed" : " ended"));
        });
    CHECK(record.lines().empty());
    feed.runner.start(feed.scanner());
    CHECK(feed.runner.wait_acked(3) == nxf::waited::acked);
    CHECK(record.wait("r1 acked 3 after 2"));
    CHECK(feed.runner.stop());
    CHECK(feed.runner.stop(0s));
    CHECK(feed.runner.result());
    feed.runner.reset();
    CHECK(!feed.runner);
    const lines before_drop{"r1 acked 1 after 0", "r1 acked 2 after 1", "r1 acked 3 after 2", "r1 ended"};
    const lines happened = record.lines();
    REQUIRE(happened.size() == 6);
    CHECK(lines(happened.begin(), happened.begin() + 4) == before_drop);
    CHECK(record.count("ack function dropped") == 1);
    CHECK(record.count("end function dropped") == 1);
}

TEST_CASE("an end function may ask by whom, and an error whom it is about")
{
    record record;
    {
        feed feed(2);
        feed.runner.on_end([&record](std::string_view name, nxf::run_state how, const nxf::error *why) {
            record.add(std::string(name) + " " + std::string(nxf::run_state_name(how)) + (why ? " failed" : ""));
        });
        CHECK(feed.runner.state() == nxf::run_state::not_started);
        feed.runner.start(feed.scanner());
        CHECK(feed.runner.wait_acked(2) == nxf::waited::acked);
        must(nxft_replica_close(feed.replica.get()));
        CHECK(record.wait("r1 NXF_RUN_CLOSED_BY_REPLICA"));
        CHECK(feed.runner.state() == nxf::run_state::closed_by_replica);
    }
    {
        feed feed(2);
        feed.runner.on_end([&record](std::string_view, nxf::run_state how, const nxf::error *why) {
            record.add(std::string(nxf::run_state_name(how)) + ": " + why->what() + "; " + std::string(why->replica()));
        });
        feed.runner.start(feed.scanner());
        CHECK(feed.runner.wait_acked(2) == nxf::waited::acked);
        must(nxft_replica_send_ack(feed.replica.get(), 3));
        CHECK(record.wait("NXF_RUN_FAILED: replica 'r1': the replica acknowledged VLSN 3, but the highest sent is 2; r1"));
        const nxf::error thrown = error_of([&] { static_cast<void>(feed.runner.result()); });
        const nxf::error copy = thrown;
        CHECK(copy.replica() == "r1");
    }
    CHECK(error_of([] { nxf::log log("no-such-directory"); }).replica().empty());
    CHECK(nxf::log_state_name(nxf::log_state::torn) == "NXF_LOG_TORN");
}

TEST_CASE("statistics say how far behind, and since when")
{
    feed feed(3);
    nxft_replica_ack_every(feed.replica.get(), 0);
    feed.runner.start(feed.scanner());
    must(nxft_replica_wait_vlsn(feed.replica.get(), 3, 60000));
    nxf::runner_stats stats = feed.runner.stats();
    while (stats.oldest_unacked() < 2ms || stats.last_ack() < 2ms)
        stats = feed.runner.stats();
    CHECK(stats.last_known_vlsn == 3);
    CHECK(stats.lag_entries == 3);
    CHECK(stats.unacked_bytes == stats.bytes_sent);
    must(nxft_replica_send_ack(feed.replica.get(), 3));
    CHECK(feed.runner.wait_acked(3) == nxf::waited::acked);
    CHECK(feed.runner.stats().lag_entries == 0);
}

TEST_CASE("a runner knows its replica's name, and keeps a pointer")
{
    feed feed(0);
    int own = 0;
    CHECK(feed.runner.replica_name() == "r1");
    CHECK(feed.runner.user_pointer() == nullptr);
    feed.runner.set_user_pointer(&own);
    CHECK(feed.runner.user_pointer() == &own);
    CHECK(error_of([] { nxf::runner(nullptr).set_user_pointer(nullptr); }).status() == NXF_E_INVALID_ARGUMENT);
}

TEST_CASE("an ack function may take the VLSN alone")
{
    record record;
    feed feed(2);
    struct function {
        class record *to;
        void operator()(std::uint64_t vlsn) const { to->add(std::to_string(vlsn)); }
    };
    const function named{&record};
    feed.runner.on_ack(named);
    feed.runner.start(feed.scanner());
    CHECK(record.wait("2"));
}

TEST_CASE("a function is dropped when it never was called, is replaced, or is refused")
{
    record record;
    {
        feed feed(1);
        feed.runner.on_ack([drop = on_drop(record, "first")](std::uint64_t) {});
        CHECK(record.lines().empty());
        feed.runner.on_ack([drop = on_drop(record, "second")](std::uint64_t) {});
        CHECK(record.lines() == lines{"first"});
        feed.runner.start(feed.scanner());
        CHECK(error_of([&] { feed.runner.on_ack([drop = on_drop(record, "refused")](std::uint64_t) {}); }).status() ==
              NXF_E_WRONG_STATE);
        CHECK(error_of([&] {
                  feed.runner.on_end([drop = on_drop(record, "refused, too")](std::string_view, const nxf::error *) {});
              }).status() == NXF_E_WRONG_STATE);
        CHECK(record.lines() == lines{"first", "refused", "refused, too"});
    }
    CHECK(record.lines() == lines{"first", "refused", "refused, too", "second"});
    {
        feed feed(1);
        feed.runner.on_end([drop = on_drop(record, "not started")](std::string_view, const nxf::error *) {});
    }
    CHECK(record.count("not started") == 1);
}

TEST_CASE("acks are polled until the run has ended")
{
    feed feed(1000);
    feed.runner.start(feed.scanner());
    std::array<nxf::ack, 64> room;
    std::uint64_t last = 0, count = 0;
    while (auto acks = feed.runner.poll_acks(room)) {
        CHECK(acks->data() == room.data());
        for (const nxf::ack &ack : *acks) {
            CHECK(ack.vlsn == last + 1);
            CHECK(ack.merged == 0);
            last = ack.vlsn;
            count++;
        }
        if (last == 1000)
            feed.runner.stop(0ms);
    }
    CHECK(count == 1000);
    CHECK(feed.runner.known_replica_vlsn() == 1000);
}

TEST_CASE("a poll that finds nothing in time is no end")
{
    feed feed(0);
    feed.runner.start(feed.scanner());
    nxf::ack room[2];
    auto acks = feed.runner.poll_acks(room, 0s);
    REQUIRE(acks);
    CHECK(acks->empty());
    acks = feed.runner.poll_acks(room, 1500us);
    REQUIRE(acks);
    CHECK(acks->empty());
    CHECK(error_of([&] { static_cast<void>(feed.runner.poll_acks(nxf::view<nxf::ack>())); }).status() ==
          NXF_E_INVALID_ARGUMENT);
}

TEST_CASE("waiting ends in three ways without an error")
{
    feed feed(1);
    CHECK(feed.runner.wait_acked(1, 0s) == nxf::waited::timed_out);
    CHECK(!feed.runner.result());
    feed.runner.start(feed.scanner());
    CHECK(feed.runner.wait_acked(1, patience) == nxf::waited::acked);
    CHECK(feed.runner.wait_acked(2, 1ms) == nxf::waited::timed_out);
    feed.log.append(1);
    feed.runner.notify();
    CHECK(feed.runner.wait_acked(2) == nxf::waited::acked);
    std::thread closer([&] { must(nxft_replica_close(feed.replica.get())); });
    CHECK(feed.runner.wait_acked(3) == nxf::waited::closed);
    closer.join();
    CHECK(feed.runner.result());
    CHECK(feed.runner.stats().run() == nxf::run_state::closed_by_replica);
    CHECK(error_of([&] { feed.runner.wait_acked(0); }).status() == NXF_E_INVALID_ARGUMENT);
}

TEST_CASE("what a run ended with is thrown by all that tell it")
{
    record record;
    feed feed(2);
    feed.runner.on_end([&](std::string_view, const nxf::error *why) {
        record.add(why ? std::string(nxf::status_name(why->status())) + " " + std::to_string(why->vlsn().value_or(0)) : "");
        if (why && why->cause())
            record.add("cause");
    });
    feed.runner.start(feed.scanner());
    CHECK(feed.runner.wait_acked(2) == nxf::waited::acked);
    must(nxft_replica_send_ack(feed.replica.get(), 9));
    const nxf::error waited = error_of([&] { feed.runner.wait_acked(3); });
    CHECK(waited.status() == NXF_E_ACK_BEYOND_SENT);
    CHECK(waited.vlsn() == 9);
    CHECK(waited.cause() == nullptr);
    CHECK(feed.runner.stop());
    CHECK(record.lines() == lines{"NXF_E_ACK_BEYOND_SENT 9"});
    for (int times = 0; times < 2; times++)
        CHECK(error_of([&] { static_cast<void>(feed.runner.result()); }).status() == NXF_E_ACK_BEYOND_SENT);
    CHECK(feed.runner.stats().run() == nxf::run_state::failed);
}

TEST_CASE("a channel is taken over on success only")
{
    auto [near, far] = nxf::channel::local_pair();
    CHECK(error_of([&] { nxf::runner(std::move(near), std::string_view("a\0b", 3), 1); }).status() ==
          NXF_E_INVALID_ARGUMENT);
    CHECK(error_of([&] { nxf::runner(std::move(near), "not UTF-8 \xff", 1); }).status() == NXF_E_INVALID_ARGUMENT);
    CHECK(near.is_open());
    far.close();
    const nxf::error closed = error_of([&] { nxf::runner(std::move(near), "r", 1); });
    CHECK(closed.status() == NXF_CLOSED);
    CHECK(near);

    auto [one, other] = nxf::channel::local_pair();
    nxf::runner runner(std::move(one), "r", 1);
    CHECK(!one);
    CHECK(other.is_open());
    runner.reset();
    CHECK(!other.is_open());
}

TEST_CASE("a scanner is taken over on success only")
{
    feed feed(1);
    nxf::scanner scanner = feed.scanner();
    feed.runner.start(std::move(scanner));
    CHECK(!scanner);
    nxf::scanner second = feed.scanner();
    CHECK(error_of([&] { feed.runner.start(std::move(second)); }).status() == NXF_E_WRONG_STATE);
    CHECK(second.next()->vlsn == 1);
    CHECK(error_of([&] { feed.runner.run(std::move(second)); }).status() == NXF_E_WRONG_STATE);
    CHECK(second);
}

TEST_CASE("a run on the caller's thread returns when it ends, or throws")
{
    feed feed(2);
    nxf::scanner scanner = feed.scanner();
    std::thread other([&] {
        feed.runner.wait_acked(2);
        feed.runner.stop();
    });
    feed.runner.run(std::move(scanner));
    other.join();
    CHECK(!scanner);
    CHECK(feed.runner.stats().run() == nxf::run_state::stopped);

    struct feed failing(2);
    std::thread liar([&] {
        failing.runner.wait_acked(2);
        must(nxft_replica_send_garbage(failing.replica.get()));
    });
    nxf::scanner taken = failing.scanner();
    CHECK(error_of([&] { failing.runner.run(std::move(taken)); }).status() == NXF_E_PROTOCOL);
    liar.join();
    CHECK(!taken);
}

TEST_CASE("a callback can begin a stop, and cannot wait for one")
{
    record record;
    feed feed(1);
    feed.runner.on_ack([&](std::uint64_t) {
        for (const auto &call : {std::pair<const char *, void (*)(nxf::runner &)>{"stop", [](nxf::runner &r) { r.stop(); }},
                                 {"stop in time", [](nxf::runner &r) { r.stop(1s); }},
                                 {"reset", [](nxf::runner &r) { r.reset(); }},
                                 {"wait", [](nxf::runner &r) { r.wait_acked(2); }}})
            try {
                call.second(feed.runner);
                record.add(std::string(call.first) + " went through");
            } catch (const nxf::error &error) {
                if (error.status() != NXF_E_INSIDE_CALLBACK)
                    record.add(call.first + std::string(": ") + error.what());
            }
        feed.runner.stop(0s);
        record.add("acked " + std::to_string(feed.runner.known_replica_vlsn()));
    });
    feed.runner.start(feed.scanner());
    CHECK(feed.runner.wait_acked(2) == nxf::waited::closed);
    CHECK(feed.runner.stop());
    CHECK(record.lines() == lines{"acked 1"});
    CHECK(feed.runner); // the reset inside kept it
}

TEST_CASE("many runs end at once")
{
    record record;
    test_log log(1);
    std::vector<test_replica> replicas(3);
    std::vector<nxf::runner> runners;
    for (test_replica &replica : replicas) {
        runners.emplace_back(replica.channel(), "r", 1);
        runners.back().on_end([&record](std::string_view, const nxf::error *) { record.add("ended"); });
        runners.back().start(nxf::scanner(log.dir()));
        replica.wait_vlsn(1);
    }
    CHECK(record.lines().empty());
    static_cast<void>(nxf::runner::stop_all(runners, 0s)); // only begins it
    CHECK(nxf::runner::stop_all(runners));
    CHECK(record.count("ended") == 3);
    nxf::runner moved = std::move(runners[1]);
    CHECK(nxf::runner::stop_all(runners, 1s));
    nxf_runner *const handles[] = {runners[0].get(), nullptr, moved.get()};
    CHECK(nxf::runner::stop_all(handles));
    CHECK(nxf::runner::stop_all(nxf::view<const nxf::runner>()));
}

TEST_CASE("a runner moves while it runs, and is ended by what takes its place")
{
    record record;
    feed first(5);
    first.runner.on_ack([&](std::uint64_t vlsn) { record.add(std::to_string(vlsn)); });
    first.runner.on_end([&](std::string_view, const nxf::error *) { record.add("ended"); });
    first.runner.start(first.scanner());
    nxf::runner moved(std::move(first.runner));
    CHECK(moved.wait_acked(5) == nxf::waited::acked);
    struct feed second(1);
    moved = std::move(second.runner);
    CHECK(record.lines() == lines{"1", "2", "3", "4", "5", "ended"});
    moved.start(second.scanner());
    CHECK(moved.wait_acked(1) == nxf::waited::acked);
    // And its destructor ends it.
}

TEST_CASE("the statistics are C's, and more readable")
{
    feed feed(10, 3);
    CHECK(feed.runner.stats().run() == nxf::run_state::not_started);
    feed.runner.on_ack([](std::uint64_t) {});
    feed.runner.start(feed.scanner());
    feed.runner.wait_acked(10);
    nxf::runner_stats stats = feed.runner.stats();
    CHECK(stats.run() == nxf::run_state::running);
    CHECK(stats.struct_size == sizeof(nxf_runner_stats_t));
    CHECK(stats.start_vlsn == 3);
    CHECK(stats.acked_vlsn == 10);
    CHECK(stats.frames_sent == 8);
    CHECK(stats.callback_longest() == std::chrono::nanoseconds(stats.callback_longest_ns));
    while (feed.runner.stats().log() != nxf::log_state::at_end)
        std::this_thread::yield();
    CHECK(nxf::runner_stats().frames_sent == 0);
}

TEST_CASE("the descriptor of a runner is readable when there are acks")
{
    feed feed(1);
    struct pollfd watched = {feed.runner.event_fd(), POLLIN, 0};
    CHECK(feed.runner.event_fd() == watched.fd);
    CHECK(poll(&watched, 1, 0) == 0);
    feed.runner.start(feed.scanner());
    CHECK(poll(&watched, 1, nxf::timeout(patience).milliseconds()) == 1);
}

TEST_CASE("a runner of C is taken over")
{
    test_log log(1);
    test_replica replica;
    nxf_runner *made = nullptr;
    REQUIRE(nxf_runner_new(replica.channel().release(), "r", 1, nullptr, &made, nullptr) == NXF_OK);
    nxf::runner runner(made);
    runner.start(nxf::scanner(log.dir()));
    CHECK(runner.wait_acked(1) == nxf::waited::acked);
    CHECK(runner.get() == made);
}

TEST_CASE("the log function hears of the end of a run, and is dropped when nothing has it any more")
{
    record record;
    {
        nxf::options options;
        options.on_log(nxf::level::debug, [&record, drop = on_drop(record, "dropped")](
                                              nxf::level level, std::string_view target, std::string_view message) {
            if (level == nxf::level::error && target.find("noxu_feeder") == 0 && !message.empty())
                record.add("an error");
        });
        feed feed(1, 1, options);
        options = nxf::options();
        CHECK(record.lines().empty());
        feed.runner.start(feed.scanner());
        feed.runner.wait_acked(1);
        must(nxft_replica_send_garbage(feed.replica.get()));
        CHECK_THROWS_AS(feed.runner.wait_acked(2), nxf::error);
        CHECK(record.wait("an error"));
        CHECK(record.count("dropped") == 0);
    }
    CHECK(record.lines() == lines{"an error", "dropped"});

    nxf::options options;
    options.on_log(nxf::level::warn, [drop = on_drop(record, "silenced")](nxf::level, std::string_view, std::string_view) {});
    options.on_log(nullptr);
    CHECK(record.count("silenced") == 1);
    CHECK(error_of([&] {
              options.on_log(nxf::level(9), [drop = on_drop(record, "refused")](nxf::level, std::string_view,
                                                                                std::string_view) {});
          }).status() == NXF_E_INVALID_ARGUMENT);
    CHECK(record.count("refused") == 1);
}

// What the child of a fork does must end in std::terminate().
template <class Body>
static bool terminates(Body &&body)
{
    int fds[2];
    REQUIRE(pipe(fds) == 0);
    const pid_t child = fork();
    if (child == 0) {
        static int to = fds[1];
        std::set_terminate([] {
            static_cast<void>(!write(to, "t", 1));
            // Not abort(), which writes a core, nor an exit, at which valgrind would look for leaks.
            kill(getpid(), SIGKILL);
            pause();
        });
        body();
        kill(getpid(), SIGKILL);
        pause();
    }
    close(fds[1]);
    char what = 0;
    const bool has_terminated = read(fds[0], &what, 1) == 1 && what == 't';
    close(fds[0]);
    waitpid(child, nullptr, 0);
    return has_terminated;
}

TEST_CASE("an exception that leaves a callback terminates, as does a runner destroyed inside its own")
{
    CHECK(!terminates([] {}));
    CHECK(terminates([] {
        feed feed(1);
        feed.runner.on_ack([](std::uint64_t) { throw std::runtime_error("mine"); });
        feed.runner.start(feed.scanner());
        feed.runner.wait_acked(2);
    }));
    CHECK(terminates([] {
        feed feed(1);
        feed.runner.on_end([](std::string_view, const nxf::error *) { throw 1; });
        feed.runner.start(feed.scanner());
        feed.runner.stop();
    }));
    CHECK(terminates([] {
        feed feed(1);
        auto *runner = new nxf::runner(std::move(feed.runner));
        runner->on_ack([&](std::uint64_t) { delete runner; });
        runner->start(feed.scanner());
        nxf_runner_wait_acked(runner->get(), 2, -1, nullptr);
    }));
}
