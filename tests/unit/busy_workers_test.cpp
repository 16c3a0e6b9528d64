// SPDX-License-Identifier: Apache-2.0
// No task can stop I/O and timers (S21): workers that fork for ever, and workers that never come back.
#include "skua/net.hpp"
#include "skua/readiness.hpp"
#include "skua/runtime.hpp"
#include "skua/spawn.hpp"
#include "skua/this_task.hpp"
#include "skua/time.hpp"
#include "skua/when_all.hpp"
#include "tests/support/several_workers.hpp"
#include <arpa/inet.h>
#include <array>
#include <atomic>
#include <chrono>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace {

using skua::task;
using namespace std::chrono_literals;

constexpr auto patience = 30s;   // far beyond any bound: a machine may be busy

task<long> fib(int n) {
  if (n < 2) co_return n;
  auto [a, b] = co_await skua::when_all(fib(n - 1), fib(n - 2));
  co_return a + b;
}

// Computes, and forks all the time, until `enough` or out of patience.
task<> compute(std::atomic<bool> const& enough) {
  auto const end = std::chrono::steady_clock::now() + patience;
  while (!enough && std::chrono::steady_clock::now() < end) (void)co_await fib(12);
}
// Never looks up.
task<> hog(std::atomic<unsigned>& hogs, std::atomic<bool> const& enough) {
  ++hogs;
  auto const end = std::chrono::steady_clock::now() + patience;
  while (!enough && std::chrono::steady_clock::now() < end) std::this_thread::yield();
  co_return;
}

task<> echo(skua::tcp_listener& listener) {
  auto peer = co_await listener.accept();
  std::array<std::byte, 64> bytes;
  while (auto const n = co_await peer.read_some(bytes)) co_await peer.write_all(std::span(bytes).first(n));
}

class BusyWorkers : public skua_test::leak_check, public testing::WithParamInterface<unsigned> {
protected:
  unsigned workers() const { return GetParam(); }
};

// Round trips of a client that blocks in a thread of its own. True: all of them were answered.
bool round_trips(std::uint16_t port, int count) {
  int const fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  timeval const limit{30, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  bool good = ::connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0;
  for (int i = 0; good && i != count; ++i) {
    char c = static_cast<char>(i), back = static_cast<char>(~c);
    good = ::send(fd, &c, 1, MSG_NOSIGNAL) == 1 && ::recv(fd, &back, 1, 0) == 1 && back == c;
  }
  ::close(fd);
  return good;
}

TEST_P(BusyWorkers, that_fork_for_ever_answer_a_client__S21) {
  skua::runtime rt({.workers = workers()});
  std::atomic<bool> enough{false};
  bool answered = false;
  rt.block_on([&]() -> task<> {
    auto listener = skua::tcp_listener::bind(skua::endpoint::loopback(0));
    std::vector<skua::join_handle<>> busy;
    for (unsigned i = 0; i != 2 * workers(); ++i) busy.push_back(skua::spawn(compute, std::ref(enough)));
    auto server = skua::spawn(echo, std::ref(listener));
    std::thread client([&, port = listener.local_endpoint().port()] {
      answered = round_trips(port, 50);
      enough = true;
    });
    for (auto& b : busy) co_await b;
    co_await server;
    client.join();
  });
  EXPECT_TRUE(answered);
}

TEST_P(BusyWorkers, that_fork_for_ever_let_sleepers_wake__S21) {
  skua::runtime rt({.workers = workers()});
  std::atomic<bool> enough{false};
  std::atomic<int> woken{0};
  rt.block_on([&]() -> task<> {
    std::vector<skua::join_handle<>> busy;
    for (unsigned i = 0; i != 2 * workers(); ++i) busy.push_back(skua::spawn(compute, std::ref(enough)));
    auto sleeper = skua::spawn([&]() -> task<> {
      for (; woken != 20; ++woken) co_await skua::sleep_for(1ms);
      enough = true;
    });
    for (auto& b : busy) co_await b;
    co_await sleeper;
  });
  EXPECT_EQ(woken, 20);
}

TEST_P(BusyWorkers, that_fork_for_ever_see_a_stop__S21) {
  skua::runtime rt({.workers = workers()});
  std::atomic<bool> never{false};
  std::atomic<unsigned> stopped{0};
  std::vector<skua::join_handle<>> busy;
  for (unsigned i = 0; i != 2 * workers(); ++i) busy.push_back(rt.spawn(compute, std::ref(never)));
  for (auto& b : busy) b.request_stop();
  rt.block_on([&]() -> task<> {
    for (auto& b : busy) {
      try {
        co_await b;
      } catch (skua::task_stopped const&) {
        ++stopped;
      }
    }
  });
  EXPECT_EQ(stopped, 2 * workers());
}

// Every worker is inside a task that does not come back. Nothing can run, but what has become due is noticed all the same: timers fire, and readiness is
// harvested, by the I/O thread.
TEST_P(BusyWorkers, that_are_blocked_delay_neither_timers_nor_readiness) {
  std::array<int, 2> p;
  ASSERT_EQ(::pipe2(p.data(), O_CLOEXEC | O_NONBLOCK), 0);
  {
    skua::runtime rt({.workers = workers()});
    std::atomic<bool> enough{false};
    std::atomic<unsigned> hogs{0};
    auto sleeper = rt.spawn([]() -> task<> { co_await skua::sleep_for(20ms); });
    std::atomic<bool> reads{false};
    auto reader = rt.spawn([](int fd, std::atomic<bool>& begun) -> task<> {
      begun = true;   // its worker takes no hog before it waits
      co_await skua::readable(fd);
    }, p[0], std::ref(reads));
    while (!reads || rt.metrics().timers_armed == 0) std::this_thread::yield();
    std::vector<skua::join_handle<>> busy;
    for (unsigned i = 0; i != workers(); ++i) busy.push_back(rt.spawn(hog, std::ref(hogs), std::ref(enough)));
    while (hogs != workers()) std::this_thread::yield();
    skua::metrics const before = rt.metrics();
    EXPECT_EQ(::write(p[1], "x", 1), 1);
    auto const end = std::chrono::steady_clock::now() + patience / 2;
    auto const both = [&] { return rt.metrics().timers_fired == 1 && rt.metrics().io_thread_events > before.io_thread_events; };
    while (!both() && std::chrono::steady_clock::now() < end) std::this_thread::yield();
    EXPECT_EQ(rt.metrics().timers_fired, 1u);
    EXPECT_GT(rt.metrics().io_thread_events, before.io_thread_events);
    enough = true;
    rt.block_on([&]() -> task<> {
      co_await sleeper;
      co_await reader;
      for (auto& b : busy) co_await b;
    });
  }
  ::close(p[0]);
  ::close(p[1]);
}

// A worker that has fired a crowd of timers leaves the alarm behind the next deadline, for it is coming back (INV-ALARM-2). This one does not.
TEST_P(BusyWorkers, that_got_a_crowd_of_sleepers_and_are_blocked_do_not_delay_the_next_timer) {
  constexpr unsigned crowd = 200;
  skua::runtime rt({.workers = workers()});
  std::atomic<bool> enough{false};
  std::atomic<unsigned> hogs{0};
  auto sleepers = rt.spawn([&]() -> task<> {
    auto const begin = skua::clock::now() + 20ms;
    std::vector<skua::join_handle<>> all;
    for (unsigned i = 0; i != crowd; ++i)
      all.push_back(skua::spawn([&, begin]() -> task<> {
        co_await skua::sleep_until(begin);
        co_await hog(hogs, enough);
      }));
    all.push_back(skua::spawn([begin]() -> task<> { co_await skua::sleep_until(begin + 100us); }));
    for (auto& s : all) co_await s;
  });
  auto const end = std::chrono::steady_clock::now() + patience / 2;
  auto const all_fired = [&] { return hogs != 0 && rt.metrics().timers_fired == rt.metrics().timers_armed; };   // one that came late was not armed
  while (!all_fired() && std::chrono::steady_clock::now() < end) std::this_thread::yield();
  EXPECT_TRUE(all_fired());
  enough = true;
  rt.block_on([](auto h) -> task<> { co_await h; }, std::move(sleepers));
}

INSTANTIATE_TEST_SUITE_P(Workers, BusyWorkers, testing::Values(1u, 2u, 4u), skua_test::by_workers);

} // namespace
