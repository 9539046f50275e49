// noxu_feeder.hpp with more warnings than the tests have, as C++17 and as C++20, with and without RTTI: only compiled.
// Every template of it is used here; a program that uses it is in the other files.
#include <noxu_feeder.hpp>

#include <array>
#if __cplusplus >= 202002L
#include <span>
#endif

template class nxf::view<const std::uint8_t>;
template class nxf::view<std::uint8_t>;
template class nxf::view<nxf::ack>;

namespace {

class strict_source : public nxf::source {
    std::optional<nxf::entry> next(std::uint64_t) override { return std::nullopt; }
};

class strict_transport : public nxf::transport {
    nxf::transfer send(nxf::bytes) override { return nxf::transfer::done; }
    nxf::received receive(nxf::buffer, nxf::timeout) override { return {}; }
    void close() noexcept override {}
};

} // namespace

void use_all(std::vector<std::uint8_t> &message);
void use_all(std::vector<std::uint8_t> &message)
{
    using namespace std::chrono_literals;
    nxf::options options = nxf::options().set("a", "b").set("c", 1).set("d", 2u).set("e", 5s).on_log(
        nxf::level::warn, [](nxf::level, std::string_view, std::string_view) {});
    options.set("f", std::string("g")).on_log(nullptr);
    nxf::log log("dir", options);
    static_cast<void>(nxf::runner::stop_all(nxf::view<const nxf::runner>(), 1ms));
    nxf::scanner scanner(log), own(std::make_unique<strict_source>(), options);
    nxf::channel channel(std::make_unique<strict_transport>(), options);
    static_cast<void>(channel.send(message));
    static_cast<void>(channel.receive(message, 1ms));
    static_cast<void>(channel.receive(nxf::buffer(message), std::chrono::duration<float>(0.5F)));
    nxf::runner runner(std::move(channel), "name", 1, options);
    runner.on_ack([](std::string_view, std::uint64_t) {}).on_ack([](std::uint64_t) {});
    runner.on_end([](std::string_view, const nxf::error *) {});
    runner.start(std::move(scanner));
    std::array<nxf::ack, 4> acks{};
    static_cast<void>(runner.poll_acks(acks, 1us));
    static_cast<void>(runner.wait_acked(1, 1h));
    static_cast<void>(runner.stats().callback_longest());
    nxf::feeder feeder("name");
    const auto take = [](nxf::bytes) {};
    feeder.drain(take);
    feeder.drain([&](nxf::bytes) { message.clear(); });
    nxf::frame_encode(nxf::entry(1, 2, message), message);
#if __cplusplus >= 202002L
    std::span<std::uint8_t> span(message);
    nxf::buffer from_span(span);
    std::span<const std::uint8_t> to_span(nxf::bytes(message).data(), message.size());
    static_cast<void>(channel.send(to_span));
    std::span<const std::uint8_t> by_range{nxf::bytes(from_span)};
    static_cast<void>(by_range);
#endif
}
