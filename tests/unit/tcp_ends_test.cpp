// SPDX-License-Identifier: Apache-2.0
// Unit: how connections end, in every order, and what happens under shortage: half-close, resets, SIGPIPE, partial writes, no descriptors left.
#include "skua/net.hpp"
#include "skua/runtime.hpp"
#include "skua/spawn.hpp"
#include "skua/time.hpp"
#include "skua/timeout.hpp"
#include "tests/support/forbid.hpp"
#include "tests/support/io_test.hpp"
#include "tests/support/tcp_pair.hpp"
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <cstdint>
#include <ctime>
#include <fcntl.h>
#include <functional>
#include <gtest/gtest.h>
#include <random>
#include <span>
#include <string>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <system_error>
#include <thread>
#include <unistd.h>
#include <vector>

namespace {

using namespace std::chrono_literals;
using skua::task;
using skua::tcp_listener;
using skua::tcp_stream;
using skua_test::connect_pair;
using skua_test::read_all;

class TcpEnds : public skua_test::io_test {};

TEST_F(TcpEnds, after_a_half_close_the_other_half_goes_on) {
  run([]() -> task<> {
    auto [client, server] = co_await connect_pair();
    co_await client.write_all("question");
    client.shutdown_write();
    EXPECT_EQ(co_await read_all(server), "question");
    co_await server.write_all("answer");
    server.shutdown_write();
    EXPECT_EQ(co_await read_all(client), "answer");
    auto const r = co_await skua::as_result(client.write_all("too late"));
    EXPECT_EQ(r.error(), std::errc::broken_pipe);   // and no SIGPIPE, whose disposition is the default one
  });
}

TEST_F(TcpEnds, after_shutdown_read_there_is_what_has_arrived_and_then_the_end) {
  run([]() -> task<> {
    auto [client, server] = co_await connect_pair();
    co_await client.write_all("question");
    co_await skua_test::arrived(server, 8);
    server.shutdown_read();
    server.shutdown_read();   // again: nothing
    std::array<std::byte, 8> few;
    EXPECT_EQ(co_await server.read_some(skua::mutable_buffer(few).first(3)), 3u);
    EXPECT_EQ(co_await read_all(server), "stion");
    EXPECT_EQ(co_await server.read_some(few), 0u);   // again and again
    std::array<skua::mutable_buffer, 1> const gathered{few};
    EXPECT_EQ(co_await server.readv(gathered), 0u);
    auto const exactly = co_await skua::as_result(server.read_exactly(few));
    EXPECT_EQ(exactly.error(), skua::errc::end_of_stream);
    EXPECT_EQ(exactly.transferred(), 0u);

    co_await client.write_all("more");   // the peer was not told
    co_await skua_test::arrived(server, 4);
    EXPECT_EQ(co_await read_all(server), "more");
    co_await server.write_all("answer");   // the other half goes on
    server.shutdown_write();
    EXPECT_EQ(co_await read_all(client), "answer");
  });
}

TEST_F(TcpEnds, shutdown_read_lets_whoever_waits_in_a_read_go_on) {
  run([]() -> task<> {
    auto [client, server] = co_await connect_pair();
    co_await client.write_all("begun");
    co_await skua_test::arrived(server, 5);
    auto waiting = skua::spawn([](tcp_stream& s) -> task<std::string> { co_return co_await read_all(s); }, std::ref(server));
    co_await skua_test::until_all_wait();
    std::thread([&s = server] { s.shutdown_read(); }).join();   // from anywhere
    EXPECT_EQ(co_await waiting, "begun");

    auto [other_client, other_server] = co_await connect_pair();
    co_await other_client.write_all("half");
    co_await skua_test::arrived(other_server, 4);
    auto exactly = skua::spawn([](tcp_stream& s) -> task<skua::result<void>> {
      std::array<std::byte, 10> ten;
      co_return co_await skua::as_result(s.read_exactly(ten));
    }, std::ref(other_server));
    co_await skua_test::until_all_wait();
    other_server.shutdown_read();
    auto const r = co_await exactly;
    EXPECT_EQ(r.error(), skua::errc::end_of_stream);
    EXPECT_EQ(r.transferred(), 4u);
  }, skua_test::single_worker);
}

// How one side ends, with the other side's data unread or not, while the other side waits in a read or write, or before it comes to it.
enum class how { shutdown_write, close, reset };
struct ending {
  how by;
  bool unread, waits;
};
class TcpEndings : public testing::TestWithParam<ending> {};
class TcpEndingsOfReaders : public TcpEndings {};   // a half-close is no concern of a writer
std::string name_of(testing::TestParamInfo<ending> const& p) {
  std::string const by = p.param.by == how::shutdown_write ? "half_close" : p.param.by == how::close ? "close" : "reset";
  return by + (p.param.unread ? "_with_data_unread" : "_with_all_read") + (p.param.waits ? "_while_the_peer_waits" : "_before_the_peer_reads");
}

void end(tcp_stream& s, how by) {
  if (by == how::shutdown_write) return s.shutdown_write();
  if (by == how::reset) s.set_linger(0s);
  s.close();
}

TEST_P(TcpEndings, are_seen_by_the_reader) {
  skua::runtime rt{skua::options{.workers = 2}};
  rt.block_on([e = GetParam()]() -> task<> {
    auto [client, server] = co_await connect_pair();
    co_await client.write_all("last words");
    if (e.unread) {
      co_await server.write_all("never read");
      co_await skua_test::arrived(client, 10);
    }
    auto const read = [](tcp_stream& s) -> task<skua::result<std::string>> { co_return co_await skua::as_result(read_all(s)); };
    std::optional<skua::join_handle<skua::result<std::string>>> reader;
    if (e.waits) {
      reader = skua::spawn(read, std::ref(server));
      co_await skua::sleep_for(2ms);
    }
    end(client, e.by);
    if (!e.waits) {
      co_await skua::sleep_for(2ms);
      reader = skua::spawn(read, std::ref(server));
    }
    auto const r = co_await *reader;
    // What a close with unread data means is the kernel's: a reset, as TCP demands.
    bool const reset = e.by == how::reset || (e.by == how::close && e.unread);
    if (reset)
      EXPECT_EQ(r.error(), std::errc::connection_reset);
    else
      EXPECT_EQ(r.has_value() ? *r : r.error().message(), "last words");
  });
}

TEST_P(TcpEndingsOfReaders, are_seen_by_a_writer_that_has_no_room) {
  skua::runtime rt{skua::options{.workers = 2}};
  rt.block_on([e = GetParam()]() -> task<> {
    auto [client, server] = co_await connect_pair();
    std::string const much(16'000'000, 'm');
    auto const write = [](tcp_stream& s, std::string const& m) -> task<skua::result<>> { co_return co_await skua::as_result(s.write_all(m)); };
    std::optional<skua::join_handle<skua::result<>>> writer;
    if (e.waits) {
      writer = skua::spawn(write, std::ref(server), std::ref(much));
      co_await skua::sleep_for(10ms);
    }
    end(client, e.by);
    if (!e.waits) {
      co_await skua::sleep_for(2ms);
      writer = skua::spawn(write, std::ref(server), std::ref(much));
    }
    auto const r = co_await *writer;
    EXPECT_TRUE(r.error() == std::errc::connection_reset || r.error() == std::errc::broken_pipe) << r.error().message();
    EXPECT_LT(r.transferred(), much.size());
  });
}

std::vector<ending> endings(std::initializer_list<how> ways) {
  std::vector<ending> all;
  for (how by : ways)
    for (bool unread : {false, true})
      for (bool waits : {false, true}) all.push_back({by, unread, waits});
  return all;
}
INSTANTIATE_TEST_SUITE_P(All, TcpEndings, testing::ValuesIn(endings({how::shutdown_write, how::close, how::reset})), name_of);
INSTANTIATE_TEST_SUITE_P(All, TcpEndingsOfReaders, testing::ValuesIn(endings({how::close, how::reset})), name_of);

TEST_F(TcpEnds, a_write_to_a_peer_that_is_gone_raises_no_signal) {
  struct sigaction before;
  ::sigaction(SIGPIPE, nullptr, &before);
  ASSERT_EQ(before.sa_handler, SIG_DFL) << "the test means nothing otherwise";
  run([]() -> task<> {
    auto [client, server] = co_await connect_pair();
    client.set_linger(0s);
    client.close();
    std::array<std::byte, 16> b{};
    std::array<skua::const_buffer, 1> const v{b};
    while ((co_await skua::as_result(server.write_some(b))).error() != std::errc::broken_pipe) {   // first until the reset has come, which is an error, too
    }
    EXPECT_EQ((co_await skua::as_result(server.writev(v))).error(), std::errc::broken_pipe);
    EXPECT_EQ((co_await skua::as_result(server.writev_all(v))).error(), std::errc::broken_pipe);
    EXPECT_EQ((co_await skua::as_result(server.write_all("x"))).error(), std::errc::broken_pipe);
  });
}

// FNV-1a, fed in pieces.
struct hash {
  std::uint64_t value = 14695981039346656037u;
  void add(std::span<std::byte const> b) {
    for (std::byte const x : b) value = (value ^ static_cast<std::uint64_t>(x)) * 1099511628211u;
  }
};

task<std::uint64_t> hash_all(tcp_stream& s, std::size_t total) {
  hash h;
  std::vector<std::byte> b(30'011);
  std::size_t size = 0;
  while (std::size_t const n = co_await s.read_some(std::span(b).first(1 + size % b.size()))) {
    h.add(std::span(b).first(n));
    size += n;
  }
  EXPECT_EQ(size, total);
  co_return h.value;
}

task<> send_and_compare(std::size_t total, std::size_t send_buffer) {
  auto [client, server] = co_await connect_pair();
  if (send_buffer != 0) client.set_send_buffer(send_buffer);
  auto reader = skua::spawn(hash_all, std::ref(server), total);
  hash h;
  std::mt19937_64 random(7);
  std::vector<std::byte> b(1 << 20);
  for (std::size_t sent = 0; sent != total; sent += b.size()) {
    for (std::size_t i = 0; i != b.size(); i += 8) {
      std::uint64_t const x = random();
      std::memcpy(b.data() + i, &x, 8);
    }
    h.add(b);
    co_await client.write_all(b);
  }
  client.shutdown_write();
  EXPECT_EQ(co_await reader, h.value);
}

TEST_F(TcpEnds, sixty_four_megabytes_arrive_as_they_were) {
  run([]() -> task<> { return send_and_compare(64 << 20, 0); });
}

// The kernel sends what comes before it, and has room for more: no event will say so. It copies in pieces of its own and gives back one that cannot be
// read to its end, so it may be less than all of it.
TEST_F(TcpEnds, memory_that_cannot_be_read_is_an_error_behind_what_can) {
  constexpr std::size_t half = 1 << 16;
  void* const memory = ::mmap(nullptr, 2 * half, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  ASSERT_EQ(::mprotect(static_cast<std::byte*>(memory) + half, half, PROT_NONE), 0);
  std::span const all(static_cast<std::byte const*>(memory), 2 * half);
  run([&]() -> task<> {
    auto [client, server] = co_await connect_pair();
    // The writer has waited before: the first wait would say that there is room.
    std::vector<std::byte> much(std::size_t{1} << 25);
    std::vector<std::byte> read(much.size());
    co_await skua::when_all(client.write_all(much), server.read_exactly(read));
    auto const cut = co_await skua::timeout(30s, skua::as_result(client.write_all(all)));
    EXPECT_EQ(cut.error(), std::errc::bad_address);
    std::array<std::span<std::byte const>, 2> const parts{all, all};
    auto const cut_v = co_await skua::timeout(30s, skua::as_result(client.writev_all(parts)));
    EXPECT_EQ(cut_v.error(), std::errc::bad_address);
    std::size_t const some = co_await skua::timeout(30s, client.write_some(all));
    EXPECT_EQ((co_await skua::timeout(30s, skua::as_result(client.write_some(all.subspan(half))))).error(), std::errc::bad_address);
    for (std::size_t const sent : {cut.transferred(), cut_v.transferred(), some}) EXPECT_TRUE(sent > half / 2 && sent <= half) << sent;
    client.shutdown_write();
    std::size_t came = 0;
    while (std::size_t const n = co_await server.read_some(read)) came += n;
    EXPECT_EQ(came, cut.transferred() + cut_v.transferred() + some);
  });
  ::munmap(memory, 2 * half);
}

TEST_F(TcpEnds, what_goes_through_a_tiny_send_buffer_arrives_as_it_was) {
  run([]() -> task<> { return send_and_compare(2 << 20, 4096); });   // delayed acknowledgements make it slow
}

std::chrono::nanoseconds cpu_time() {
  timespec t;
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec);
}

TEST_F(TcpEnds, without_descriptors_accept_waits_and_recovers) {
  rlimit before;
  ::getrlimit(RLIMIT_NOFILE, &before);
  run([&]() -> task<> {
    auto listener = tcp_listener::bind(skua::endpoint::loopback(0));
    std::vector<tcp_stream> clients;
    for (int i = 0; i != 20; ++i) clients.push_back(co_await tcp_stream::connect(listener.local_endpoint()));
    // No number beyond those in use: what is lowest and free is too high.
    int const lowest = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    ::close(lowest);
    rlimit const none{static_cast<rlim_t>(lowest), before.rlim_max};
    EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);

    auto server = skua::spawn([](tcp_listener& l) -> task<std::vector<tcp_stream>> {
      std::vector<tcp_stream> all;
      while (all.size() != 20) all.push_back(co_await l.accept());
      co_return all;
    }, std::ref(listener));
    auto least = std::chrono::nanoseconds::max();
    for (int i = 0; i != 3; ++i) {
      auto const cpu = cpu_time();
      co_await skua::sleep_for(100ms);
      least = std::min(least, cpu_time() - cpu);
    }
    EXPECT_LT(least, 10ms) << "it spins";   // 10 %, and most of it is the runtime's own
    clients[0].close();                                  // one number is free
    co_await skua::sleep_for(400ms);
    EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
    auto const accepted = co_await server;
    EXPECT_EQ(accepted.size(), 20u);
  });
  ::setrlimit(RLIMIT_NOFILE, &before);
}

// S19: also where accept() waits for no event.
TEST_F(TcpEnds, without_descriptors_an_accept_whose_listener_is_closed_is_cancelled) {
  rlimit before;
  ::getrlimit(RLIMIT_NOFILE, &before);
  run([&]() -> task<> {
    auto listener = tcp_listener::bind(skua::endpoint::loopback(0));
    auto const client = co_await tcp_stream::connect(listener.local_endpoint());
    rlimit const none{0, before.rlim_max};
    ::setrlimit(RLIMIT_NOFILE, &none);
    auto server = skua::spawn([](tcp_listener& l) -> task<> { (void)co_await l.accept(); }, std::ref(listener));
    co_await skua_test::until_all_wait();
    listener.close();
    ::setrlimit(RLIMIT_NOFILE, &before);
    EXPECT_EQ((co_await skua::as_result(std::move(server))).error(), std::errc::operation_canceled);
  }, skua_test::single_worker);
  ::setrlimit(RLIMIT_NOFILE, &before);
}

TEST_F(TcpEnds, without_descriptors_connect_is_an_error) {
  if (SKUA_ASAN) GTEST_SKIP() << "UBSan itself opens a pipe to see whether memory is there";
  rlimit before;
  ::getrlimit(RLIMIT_NOFILE, &before);
  run([&]() -> task<> {
    auto listener = tcp_listener::bind(skua::endpoint::loopback(0));
    rlimit const none{0, before.rlim_max};
    ::setrlimit(RLIMIT_NOFILE, &none);
    auto const r = co_await skua::as_result(tcp_stream::connect(listener.local_endpoint()));
    ::setrlimit(RLIMIT_NOFILE, &before);
    EXPECT_EQ(r.error(), std::errc::too_many_files_open);
  });
}

std::atomic<int> signals{0};

TEST_F(TcpEnds, a_storm_of_signals_disturbs_nothing) {
  // Blocked in the runtime's threads: so the tasks' system calls are interrupted in a process where that is undone by the test, for every thread.
  struct sigaction storm = {}, before;
  storm.sa_handler = [](int) { signals.fetch_add(1, std::memory_order_relaxed); };
  ::sigaction(SIGALRM, &storm, &before);   // without SA_RESTART
  signals = 0;
  itimerval const every{{0, 200}, {0, 200}}, never{};
  ::setitimer(ITIMER_REAL, &every, nullptr);
  run([]() -> task<> {
    auto const unblock = [] {
      sigset_t set;
      ::sigemptyset(&set);
      ::sigaddset(&set, SIGALRM);
      ::pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
    };
    std::vector<skua::join_handle<>> pairs;
    for (int i = 0; i != 4; ++i)
      pairs.push_back(skua::spawn([](auto u) -> task<> {
        auto [client, server] = co_await connect_pair();
        auto echo = skua::spawn([](tcp_stream& s, auto un) -> task<> {
          std::array<std::byte, 64> b;
          while (std::size_t const n = co_await s.read_some(b)) {
            un();
            co_await s.write_all(std::span(b).first(n));
          }
        }, std::ref(server), u);
        std::array<std::byte, 64> b{};
        for (int n = 0; n != 3000; ++n) {
          u();
          co_await client.write_all(b);
          co_await client.read_exactly(b);
        }
        client.shutdown_write();
        co_await echo;
      }, unblock));
    for (auto& p : pairs) co_await p;
  });
  ::setitimer(ITIMER_REAL, &never, nullptr);
  ::sigaction(SIGALRM, &before, nullptr);
  EXPECT_GT(signals.load(), 10);
}

// 0: an accept with a time limit ends there, and with nothing else.
int status_of_accept_where_this_fails(unsigned system_call, unsigned error) {
  skua::runtime rt({.workers = 1});
  return rt.block_on([&]() -> task<int> {
    auto listener = tcp_listener::bind(skua::endpoint::loopback(0));
    skua_test::forbid(system_call, error);
    try {
      (void)co_await skua::timeout(20ms, listener.accept());
    } catch (skua::timeout_error const&) {
      co_return 0;
    }
    co_return 1;
  });
}
// EPERM: what accept4 says of a connection that a firewall forbids; here of every one.
TEST(TcpDeathTest, connections_that_cannot_be_accepted_hold_no_worker_and_no_stop_up) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(std::_Exit(status_of_accept_where_this_fails(SYS_accept4, EPERM)), testing::ExitedWithCode(0), "");
}
// ENOSPC: fs.epoll.max_user_watches.
TEST(TcpDeathTest, accept_waits_for_a_place_in_the_epoll_set) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(std::_Exit(status_of_accept_where_this_fails(SYS_epoll_ctl, ENOSPC)), testing::ExitedWithCode(0), "");
}

} // namespace
