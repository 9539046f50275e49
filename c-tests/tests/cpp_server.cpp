// noxu_feeder.hpp: servers, their events and their callbacks.
#include "support/cpp.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <stdexcept>

// A replica that has connected to a server, and has been told that it is fed.
class dialling_replica {
public:
    explicit dialling_replica(const nxf::server &server)
    {
        int fds[2];
        REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
        REQUIRE(server.adopt(fds[0]));
        fd_ = fds[1];
    }
    dialling_replica(const dialling_replica &) = delete;
    dialling_replica &operator=(const dialling_replica &) = delete;
    ~dialling_replica()
    {
        if (fd_ >= 0)
            close(fd_);
    }

    // Asks to be fed from VLSN 1 on. False: the connection was closed.
    bool ask()
    {
        static const char hello[] = "\13\0\0\0PEER_FEEDER\10\0\0\0\1\0\0\0\0\0\0"; // and the NUL behind it
        char answer[5];
        REQUIRE(send(fd_, hello, sizeof hello, MSG_NOSIGNAL) == ssize_t(sizeof hello));
        return recv(fd_, answer, sizeof answer, MSG_WAITALL) == ssize_t(sizeof answer) && answer[4] == 0;
    }
    // Takes frames, and acknowledges each.
    void be_fed()
    {
        REQUIRE(ask());
        must(nxft_replica_attach(replica.get(), fd_));
        fd_ = -1;
    }

    test_replica replica;

private:
    int fd_ = -1;
};

static nxf::event wait_for(const nxf::server &server, nxf::event_kind kind, std::uint64_t vlsn = 0)
{
    while (auto event = server.next_event(patience)) {
        REQUIRE(*event);
        if (event->kind() == kind && event->vlsn() >= vlsn)
            return std::move(*event);
    }
    throw std::logic_error("it has ended");
}

TEST_CASE("a server feeds who comes, and its events and connections are values")
{
    const test_log log(5);
    nxf::server server{nxf::log(log.dir())};
    CHECK_FALSE(*server.next_event(0s));
    CHECK(server.connections().empty());
    dialling_replica dialling(server);
    dialling.be_fed();

    const nxf::event joined = wait_for(server, nxf::event_kind::joined);
    CHECK(joined.vlsn() == 1);
    CHECK(joined.service() == nxf::service::stream);
    CHECK(joined.peer() == "local");
    CHECK(joined.replica_name() == "local-1");
    CHECK(joined.connection_id() == 1);
    CHECK(joined.status() == NXF_OK);
    CHECK(joined.reason().empty());
    CHECK_FALSE(joined.error());
    wait_for(server, nxf::event_kind::acked, 5);

    const nxf::connection_list list = server.connections();
    REQUIRE(list.size() == 1);
    for (const nxf::connection &one : list) {
        CHECK(one.replica_name == "local-1");
        CHECK(one.service == nxf::service::stream);
        CHECK(one.acked_vlsn == 5);
        CHECK(one.connected < patience);
        REQUIRE(one.stats);
        CHECK(one.stats->frames_sent == 5);
        CHECK(one.stats->run() == nxf::run_state::running);
    }
    CHECK(list[0].connection_id == 1);
    CHECK(server.disconnect("local-1"));
    const nxf::event ended = wait_for(server, nxf::event_kind::ended);
    CHECK(ended.run() == nxf::run_state::stopped);
    CHECK_FALSE(ended.reason().empty());
    CHECK_FALSE(server.disconnect("nobody"));
    CHECK(server.stop());
    CHECK_FALSE(server.next_event());
    CHECK(error_of([&] { server.listen(); }).status() == NXF_E_WRONG_STATE);
    server.reset();
    CHECK_FALSE(server);
}

TEST_CASE("functions of any type name replicas and take events, and are dropped once, last")
{
    record record;
    const test_log log(3);
    {
        nxf::server server{nxf::log(log.dir()), nxf::options().set("server.threads", 1)};
        server
            .on_identify([&record, count = 0, drop = on_drop(record, "identify function dropped")](
                             const nxf::peer &peer) mutable -> std::optional<std::string> {
                record.add(std::string(nxf::service_name(peer.service)) + " " + std::string(peer.address));
                switch (count++) {
                case 0:
                    throw std::runtime_error("it does not want to");
                case 1:
                    return std::nullopt;
                case 2:
                    return std::string(256, 'x');
                default:
                    return "r" + std::to_string(count);
                }
            })
            .on_event([&record, drop = on_drop(record, "event function dropped")](const nxf::event &event) {
                record.add(std::string(event.replica_name()) + " " + std::string(nxf::event_kind_name(event.kind())) +
                           " " + std::to_string(event.vlsn()));
            });
        CHECK(error_of([&] { static_cast<void>(server.next_event()); }).status() == NXF_E_WRONG_STATE);
        CHECK(server.listen() != 0);
        for (int refused = 0; refused < 3; refused++)
            CHECK_FALSE(dialling_replica(server).ask());
        dialling_replica dialling(server);
        dialling.be_fed();
        CHECK(record.wait("r4 NXF_EVENT_ACKED 3"));
        CHECK(record.count("NXF_SERVICE_STREAM local") == 4);
        CHECK(record.count("event function dropped") == 0);
        CHECK(error_of([&] { server.on_event([](const nxf::event &) {}); }).status() == NXF_E_WRONG_STATE);
    }
    CHECK(record.count("r4 NXF_EVENT_ENDED 3") == 1);
    CHECK(record.count("event function dropped") == 1);
    CHECK(record.count("identify function dropped") == 1);
}

TEST_CASE("a replica that is dialled and does not answer is an event with an error")
{
    const test_log log(3);
    const nxf::server server{nxf::log(log.dir())};
    struct pollfd waiting = {server.event_fd(), POLLIN, 0};
    server.dial("127.0.0.1", 1, "far", 1);
    CHECK(poll(&waiting, 1, 60000) == 1);
    const nxf::event event = wait_for(server, nxf::event_kind::refused);
    CHECK(event.replica_name() == "far");
    REQUIRE(event.error());
    CHECK(event.error()->status() == NXF_E_CONNECT);
    CHECK(event.error()->status() == event.status());
    CHECK(server.disconnect("far"));
}

TEST_CASE("what is wrong is an error, and a server that was moved from holds nothing")
{
    const test_log log(1);
    nxf::server server{nxf::log(log.dir())};
    CHECK(error_of([&] { static_cast<void>(server.adopt(-1)); }).status() == NXF_E_INVALID_ARGUMENT);
    CHECK(error_of([&] { server.answer_elections(""); }).status() == NXF_E_INVALID_ARGUMENT);
    server.answer_elections("master");
    const nxf::server other = std::move(server);
    CHECK(error_of([&] { server.listen(); }).status() == NXF_E_INVALID_ARGUMENT);
    CHECK(other.listen("127.0.0.1", 0) > 0);
}
