// noxu_feeder.hpp without handles: views, times, entries, errors, the bytes of the protocol.
#include "support/cpp.hpp"

#include <array>
#include <type_traits>

TEST_CASE("statuses and versions are those of C")
{
    CHECK(nxf::status_name(NXF_E_LOG_GAP) == "NXF_E_LOG_GAP");
    CHECK(nxf::status_name(12345) == "NXF_UNKNOWN");
    CHECK(nxf::version() == nxf_version());
    CHECK(nxf::abi_version() == nxf_abi_version());
}

TEST_CASE("a view is made of whatever has elements in a row")
{
    std::vector<std::uint8_t> vector{1, 2, 3};
    const std::vector<std::uint8_t> constant{4};
    std::array<std::uint8_t, 2> array{5, 6};
    std::uint8_t plain[3] = {7, 8, 9};

    CHECK(nxf::bytes().empty());
    CHECK(nxf::bytes().data() == nullptr);
    CHECK(nxf::bytes(vector).data() == vector.data());
    CHECK(nxf::bytes(vector).size() == 3);
    CHECK(nxf::bytes(constant)[0] == 4);
    CHECK(nxf::bytes(array).size() == 2);
    CHECK(nxf::bytes(plain).size() == 3);
    CHECK(nxf::bytes(plain, 2).end() == plain + 2);
    CHECK(nxf::bytes(plain).first(1).size() == 1);

    nxf::buffer writable(vector);
    writable[1] = 20;
    CHECK(vector[1] == 20);
    nxf::bytes readable = writable;
    int sum = 0;
    for (std::uint8_t byte : readable)
        sum += byte;
    CHECK(sum == 24);
    CHECK(nxf::as_text(nxf::as_bytes("a text")) == "a text");
    CHECK(!nxf::bytes(vector).empty());

    // Not from constants, temporaries, or ranges of other elements.
    static_assert(!std::is_constructible_v<nxf::buffer, const std::vector<std::uint8_t> &>);
    static_assert(!std::is_constructible_v<nxf::buffer, std::vector<std::uint8_t>>);
    static_assert(!std::is_constructible_v<nxf::bytes, std::vector<int> &>);
    static_assert(!std::is_constructible_v<nxf::bytes, std::string &>);
    static_assert(std::is_trivially_copyable_v<nxf::bytes>);
}

TEST_CASE("a timeout is any duration, rounded up to what C counts")
{
    using nxf::timeout;
    CHECK(timeout(5s).milliseconds() == 5000);
    CHECK(timeout(1us).milliseconds() == 1);
    CHECK(timeout(1500us).milliseconds() == 2);
    CHECK(timeout(0ms).milliseconds() == 0);
    CHECK(timeout(-1ns).milliseconds() == 0);
    CHECK(timeout(-1h).milliseconds() == 0);
    CHECK(timeout(std::chrono::duration<double>(0.25)).milliseconds() == 250);
    CHECK(timeout(std::chrono::duration<double>(std::numeric_limits<double>::quiet_NaN())).milliseconds() == 0);
    CHECK(timeout(std::chrono::hours::max()).milliseconds() == std::numeric_limits<int>::max());
    CHECK(timeout(std::chrono::nanoseconds::max()).milliseconds() == std::numeric_limits<int>::max());
    CHECK(timeout(std::chrono::hours::min()).milliseconds() == 0);

    CHECK(nxf::forever.is_forever());
    CHECK(nxf::forever.milliseconds() == -1);
    CHECK(nxf::forever.duration() == std::chrono::milliseconds::max());
    CHECK(!timeout(7).is_forever());
    CHECK(timeout(7).duration() == 7ms);
    CHECK(timeout(-7).is_forever());
    static_assert(!std::is_convertible_v<int, timeout>, "a bare number has no unit");
    static_assert(std::is_convertible_v<std::chrono::minutes, timeout>);
}

TEST_CASE("an entry is one of C's, there and back")
{
    const std::uint8_t payload[] = {1, 2};
    nxf_entry in_c = static_cast<nxf_entry>(nxf::entry(7, 13, payload, 99));
    CHECK(in_c.vlsn == 7);
    CHECK(in_c.lsn == 99);
    CHECK(in_c.entry_type == 13);
    CHECK(in_c.payload == payload);
    CHECK(in_c.payload_len == 2);
    const nxf::entry back(in_c);
    CHECK(back.vlsn == 7);
    CHECK(back.lsn == 99);
    CHECK(back.entry_type == 13);
    CHECK(back.payload.data() == payload);
    CHECK(back.payload.size() == 2);
    CHECK(nxf::entry().vlsn == 0);
}

TEST_CASE("frames and acks are encoded and decoded")
{
    const std::uint8_t payload[] = {1, 2, 3};
    const nxf::entry entry(7, 13, payload);
    std::vector<std::uint8_t> message(nxf::frame_len(entry));
    CHECK(message.size() == NXF_FRAME_HEADER_LEN + 3);
    CHECK(nxf::frame_encode(entry, message).size() == message.size());
    const nxf::entry found = nxf::frame_decode(message);
    CHECK(found.vlsn == 7);
    CHECK(found.entry_type == 13);
    CHECK(found.payload.data() == message.data() + NXF_FRAME_HEADER_LEN);
    CHECK(found.payload.size() == 3);

    std::vector<std::uint8_t> roomy(100);
    CHECK(nxf::frame_encode(entry, roomy).size() == message.size());
    CHECK(error_of([&] { nxf::frame_encode(entry, nxf::buffer(message).first(5)); }).status() == NXF_E_BUFFER_TOO_SMALL);
    message.back() ^= 1;
    CHECK(error_of([&] { nxf::frame_decode(message); }).status() == NXF_E_PROTOCOL);

    CHECK(nxf::ack_decode(nxf::ack_encode(42)) == 42);
    CHECK(error_of([&] { nxf::ack_decode(nxf::bytes(message).first(7)); }).status() == NXF_E_PROTOCOL);
}

TEST_CASE("an error carries the facts")
{
    test_log log(3);
    log.skip_to(5);
    log.append(1);
    nxf::scanner scanner(log.dir(), nxf::lsn_first, nxf::options().set("log.gap_patience_ms", 1));
    CHECK(scanner.next()->vlsn == 1);
    CHECK(scanner.next()->vlsn == 2);
    CHECK(scanner.next()->vlsn == 3);
    const nxf::error error = error_of([&] {
        for (;;)
            if (scanner.next())
                break;
    });
    CHECK(error.status() == NXF_E_LOG_GAP);
    CHECK(error.vlsn() == 4);
    CHECK(error.file() == 0);
    CHECK(error.offset().has_value());
    CHECK(error.os_errno() == 0);
    CHECK(!error.is_retriable());
    CHECK(error.needs_restore());
    CHECK(error.cause() == nullptr);
    CHECK(std::string(error.what()).find("4") != std::string::npos);

    // Copying does not throw: the handlers of exceptions count on that.
    static_assert(std::is_nothrow_copy_constructible_v<nxf::error>);
    const std::runtime_error &base = error;
    CHECK(std::string(base.what()) == error.what());
}

TEST_CASE("an error of the operating system has its number")
{
    const nxf::error error = error_of([] { nxf::log("/nowhere/at/all"); });
    CHECK(error.status() == NXF_E_LOG_IO);
    CHECK(error.os_errno() == ENOENT);
    CHECK(!error.vlsn());
    CHECK(!error.file());
    CHECK(!error.offset());
}

TEST_CASE("an error can be made of an error object of C, which stays the caller's")
{
    nxf_error *err = nullptr;
    nxf_log *log = nullptr;
    REQUIRE(nxf_log_open("/nowhere/at/all", nullptr, &log, &err) == NXF_E_LOG_IO);
    const nxf::error made(*err);
    CHECK(std::string(made.what()) == nxf_error_message(err));
    nxf_error_free(err);
    CHECK(made.status() == NXF_E_LOG_IO);
    const nxf::error own(NXF_E_OS, "in words");
    CHECK(own.status() == NXF_E_OS);
    CHECK(std::string(own.what()) == "in words");
    CHECK(!own.is_retriable());
    CHECK(!own.needs_restore());
}
