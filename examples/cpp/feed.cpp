// Feeds one replica: reads the log in a directory, streams it to a replica that listens, and shows how far the replica
// has acknowledged. What feed.c does, in C++.
//
//     feed_cpp DIRECTORY HOST PORT [UNTIL-VLSN]
//
// Goes on until the replica closes the connection, or has acknowledged UNTIL-VLSN. The lines that matter are in feed().
#include <noxu_feeder.hpp>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <iomanip>
#include <iostream>
#include <limits>
#include <string>

#include <unistd.h>

using std::chrono::steady_clock;

// One line that is written over on a terminal, and a line a second elsewhere.
static void show_progress(const nxf::log &log, const nxf::runner &runner, steady_clock::time_point begin,
                          bool is_terminal)
{
    // A run does not read far ahead of a slow replica. Once somebody has looked, its lag counts up to the log's end.
    try {
        static_cast<void>(log.vlsn_range());
    } catch (const nxf::error &) {
        // The run will say what is wrong with the log, when it comes to that place.
    }
    const nxf::runner_stats stats = runner.stats();
    const std::chrono::duration<double> seconds = steady_clock::now() - begin;
    std::cout << (is_terminal ? "\r" : "") << stats.frames_sent << " entries sent, " << std::fixed
              << std::setprecision(1) << static_cast<double>(stats.bytes_sent) / 1e6 / seconds.count()
              << " MB/s, acknowledged up to " << stats.acked_vlsn << ", lag " << stats.lag_entries << " ("
              << static_cast<double>(stats.lag_bytes) / 1e6 << " MB)";
    if (stats.is_stalled)
        std::cout << ", STALLED: " << nxf::log_state_name(stats.log());
    std::cout << (is_terminal ? "\x1b[K" : "\n") << std::flush;
}

static int feed(const std::string &directory, const std::string &host, std::uint16_t port, std::uint64_t until)
{
    const bool is_terminal = isatty(STDOUT_FILENO) != 0;
    const steady_clock::time_point begin = steady_clock::now();
    std::atomic<std::uint64_t> acks{0}; // before the runner, which uses it until it is destroyed

    nxf::log log(directory);
    nxf::runner runner(nxf::channel::tcp_connect(host, port), "replica-1", 1);
    // On the runner's thread, for every acknowledgement. Here is where a host would release its commits.
    runner.on_ack([&acks](std::uint64_t) { acks++; });
    runner.start(nxf::scanner(log));

    nxf::waited waited;
    do {
        waited = runner.wait_acked(until, std::chrono::milliseconds(is_terminal ? 100 : 1000));
        show_progress(log, runner, begin, is_terminal);
    } while (waited == nxf::waited::timed_out);
    const nxf::run_state how = runner.state();
    runner.stop();

    const bool is_done = waited == nxf::waited::acked;
    const std::chrono::duration<double> seconds = steady_clock::now() - begin;
    std::cout << (is_terminal ? "\n" : "") << (is_done ? "done" : nxf::run_state_name(how)) << " after " << seconds.count()
              << " s: " << acks << " acknowledgements, the last for VLSN " << runner.known_replica_vlsn() << "\n";
    return is_done || until == std::numeric_limits<std::uint64_t>::max() ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc < 4 || argc > 5) {
        std::cerr << "usage: " << argv[0] << " DIRECTORY HOST PORT [UNTIL-VLSN]\n";
        return 2;
    }
    try {
        const std::uint64_t until =
            argc > 4 ? std::strtoull(argv[4], nullptr, 10) : std::numeric_limits<std::uint64_t>::max();
        return feed(argv[1], argv[2], static_cast<std::uint16_t>(std::atoi(argv[3])), until);
    } catch (const nxf::error &error) {
        std::cerr << nxf::status_name(error.status()) << ": " << error.what()
                  << (error.needs_restore() ? "\nThe replica needs a network restore." : "")
                  << (error.is_retriable() ? "\nTrying again may help." : "") << "\n";
        return 1;
    }
}
