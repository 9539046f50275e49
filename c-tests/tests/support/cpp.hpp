// What the tests of noxu_feeder.hpp begin with: the header first, so that it is seen to need nothing before it; doctest;
// a log and a replica to feed.
#ifndef NXF_TEST_CPP_HPP
#define NXF_TEST_CPP_HPP

#include <noxu_feeder.hpp>

#include <noxu_feeder.hpp>

#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <noxu_feeder_test.h>

#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using namespace std::chrono_literals;

// Waits end with a failure after so long. Nothing is meant to take a noticeable part of it.
constexpr auto patience = 60s;

inline void must(const char *error)
{
    if (error)
        throw std::runtime_error(error);
}

// The nxf::error that a call throws. Fails if it throws none.
template <class Call>
nxf::error error_of(Call &&call)
{
    try {
        call();
    } catch (const nxf::error &thrown) {
        return thrown;
    }
    FAIL("no nxf::error was thrown");
    throw std::logic_error("unreachable");
}

// A log in a folder of its own.
class test_log {
public:
    test_log() { must(nxft_log_new(nullptr, &log_)); }
    explicit test_log(std::uint64_t entries) : test_log() { append(entries); }
    test_log(const test_log &) = delete;
    test_log &operator=(const test_log &) = delete;
    ~test_log() { nxft_log_free(log_); }

    std::string dir() const { return nxft_log_dir(log_); }
    void append(std::uint64_t count) { must(nxft_log_append_many(log_, count, 100)); }
    void skip_to(std::uint64_t vlsn) { nxft_log_set_next_vlsn(log_, vlsn); }
    std::uint64_t end() const { return nxft_log_end_lsn(log_); }

private:
    nxft_log *log_ = nullptr;
};

// A replica at the other end of a pair of sockets.
class test_replica {
public:
    test_replica() { must(nxft_replica_new(&replica_)); }
    test_replica(const test_replica &) = delete;
    test_replica &operator=(const test_replica &) = delete;
    ~test_replica() { nxft_replica_free(replica_); }

    // Starts, and returns the feeder's end.
    nxf::channel channel()
    {
        int fd = -1;
        must(nxft_replica_pair(replica_, &fd));
        return nxf::channel::from_fd(fd);
    }
    nxft_replica *get() const { return replica_; }
    void wait_vlsn(std::uint64_t vlsn) { must(nxft_replica_wait_vlsn(replica_, vlsn, -1)); }

private:
    nxft_replica *replica_ = nullptr;
};

// What happened, in order; any thread.
class record {
public:
    void add(std::string line)
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        lines_.push_back(std::move(line));
        changed_.notify_all();
    }
    std::vector<std::string> lines() const
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        return lines_;
    }
    std::size_t count(const std::string &line) const
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        return static_cast<std::size_t>(std::count(lines_.begin(), lines_.end(), line));
    }
    bool wait(const std::string &line)
    {
        std::unique_lock<std::mutex> lock(mutex_);
        return changed_.wait_for(lock, patience,
                                 [&] { return std::find(lines_.begin(), lines_.end(), line) != lines_.end(); });
    }

private:
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<std::string> lines_;
};

// To be captured: notes when it is destroyed, wherever it was moved to. Cannot be copied.
class on_drop {
public:
    on_drop(record &record, std::string line) : record_(&record), line_(std::move(line)) {}
    on_drop(on_drop &&from) noexcept : record_(std::exchange(from.record_, nullptr)), line_(std::move(from.line_)) {}
    on_drop &operator=(on_drop &&) = delete;
    ~on_drop()
    {
        if (record_)
            record_->add(line_);
    }

private:
    record *record_;
    std::string line_;
};

using lines = std::vector<std::string>;

#endif
