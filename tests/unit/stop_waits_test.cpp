// SPDX-License-Identifier: Apache-2.0
// Stop everywhere, operation by operation (tests/support/stop_everywhere.hpp): tasks, groups, time, generators, callbacks, the kernel.
#include "skua/async_generator.hpp"
#include "skua/blocking.hpp"
#include "skua/callback.hpp"
#include "skua/interval.hpp"
#include "skua/readiness.hpp"
#include "skua/select_io.hpp"
#include "skua/strand.hpp"
#include "skua/task_group.hpp"
#include "skua/tcp.hpp"
#include "skua/time.hpp"
#include "skua/timeout.hpp"
#include "skua/udp.hpp"
#include "skua/unix_socket.hpp"
#include "tests/support/stop_everywhere.hpp"
#include "tests/support/values.hpp"
#include <array>
#include <atomic>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <utility>

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::on;
using skua::task;

// ---------------------------------------------------------------------------------------------- tasks, time, the rest

struct joining : scene {
  int got = 0;
  number running{0};   // a dropped handle does not wait
  task<> body() {
    point();
    ++running;
    auto h = skua::spawn([this]() -> task<int> {
      struct leaves {
        number& n;
        ~leaves() { --n; }
      } const l{running};
      co_await turns();
      point();
      co_return 3;
    });
    point();
    got = co_await h;
    point();
  }
  task<> others() {
    co_await until([this] { return body_gone && running == 0; });
  }
  void check() {
    if (body_ended) { EXPECT_EQ(got, 3); }
  }
};
struct group_waits : scene {   // join(), room(), start()
  number ended{0}, started{0};
  task<> child(skua::started<int> s) {
    point();
    co_await skua::this_task::yield();
    s(++started);
    point();
    co_await skua::sleep_for(1ms);
    ++ended;
  }
  task<> body() {
    co_await skua::with_task_group({.max_concurrency = 1}, [this](skua::task_group& g) -> task<> {
      point();
      EXPECT_EQ(co_await g.start<int>([this](skua::started<int> s) { return child(std::move(s)); }), 1);
      point();
      co_await g.room();
      point();
      g.spawn([this]() -> task<> {
        co_await turns();
        point();
        ++ended;
      });
      co_await g.join();
      point();
      EXPECT_EQ(g.size(), 0u);
    });
  }
  task<> others() { co_return; }
  void check() {
    if (body_ended) { EXPECT_EQ(ended, 2); }
  }
};
struct times : scene {
  int ticks = 0;
  task<> body() {
    skua::interval i(1ms);
    for (int n = 0; n < 3; ++n) {
      point();
      co_await i.tick();
      ++ticks;
      point();
      co_await skua::sleep_for(100us);
      point();
      co_await skua::this_task::yield();
      co_await skua::this_task::checkpoint();
    }
  }
  task<> others() {   // the body is stopped in the middle of its naps as well
    while (!body_gone) {
      co_await skua::sleep_for(30us);
      point();
    }
  }
  void check() {
    if (body_ended) { EXPECT_EQ(ticks, 3); }
  }
};
struct generating : scene {
  int alive = 0;
  struct guard {
    int& n;
    explicit guard(int& k) : n(k) { ++n; }
    guard(guard const&) = delete;
    ~guard() { --n; }
  };
  skua::async_generator<owned> numbers() {
    guard const g(alive);
    for (int i = 0; i < 3; ++i) {
      point();
      co_await skua::this_task::yield();
      point();
      co_yield owned(i);
    }
  }
  int got = 0;
  task<> body() {
    auto g = numbers();
    while (auto x = co_await g.next()) {
      EXPECT_EQ(x->value(), got++);
      point();
    }
  }
  task<> others() { co_return; }
  void check() {
    EXPECT_EQ(alive, 0);
    if (body_ended) { EXPECT_EQ(got, 3); }
  }
};
struct calling_back : scene {
  std::mutex lock;
  std::optional<skua::completion<int>> pending;   // under lock
  int got = 0;
  std::optional<skua::completion<int>> take() {
    std::lock_guard const g(lock);
    return std::exchange(pending, std::nullopt);
  }
  task<> body() {
    for (int i = 0; i < 3; ++i) {
      point();
      got += co_await skua::callback<int>(
          [this](skua::completion<int> c) {
            std::lock_guard const g(lock);
            pending = c;
          },
          [this](skua::completion<int>) { return take().has_value(); });
      point();
    }
  }
  task<> others() {
    while (!body_gone) {
      co_await turns();
      point();
      if (auto c = take()) c->set_value(1);
    }
  }
  void check() {
    EXPECT_FALSE(pending);
    if (body_ended) { EXPECT_EQ(got, 3); }
  }
};
struct in_a_strand : scene {
  skua::strand s;
  number mine{0}, begun{0};
  task<> body() {
    for (int i = 0; i < 3; ++i) {
      point();
      begun = i + 1;
      co_await s.run([this] { ++mine; });
      point();
    }
  }
  task<> others() {
    for (int i = 0; i < 6; ++i) {
      co_await s.run([this] { point(); });
      co_await skua::this_task::yield();
    }
  }
  void check() {
    EXPECT_GE(mine, begun - 1);
    EXPECT_LE(mine, begun);
    if (body_ended) { EXPECT_EQ(mine, 3); }
  }
};

template <class Scene>
class StopWaits : public stop_operations<Scene> {};

using operations = testing::Types<joining, group_waits, times, generating, calling_back, in_a_strand>;
TYPED_TEST_SUITE(StopWaits, operations);

TYPED_TEST(StopWaits, lose_nothing_wherever_they_are_stopped__S1_S4_S9) {
  for (unsigned const workers : {1u, 2u}) EXPECT_GT(this->run(skua::options{.workers = workers, .backend = "virtual"}), 1);
  EXPECT_EQ(owned::alive, 0);
}

// ---------------------------------------------------------------------------------------------- what waits for the kernel

// Connections that come are accepted by the body, or are still there.
struct by_tcp {
  skua::tcp_listener l = skua::tcp_listener::bind(skua::endpoint::loopback(0));
  task<skua::tcp_stream> connect() const { return skua::tcp_stream::connect(l.local_endpoint()); }
};
struct by_unix {
  skua::unix_listener l = skua::unix_listener::bind("");
  task<skua::unix_stream> connect() const { return skua::unix_stream::connect(l.address()); }
};
template <class By, bool Selects>
struct accepting : scene, By {
  using By::l;
  number got{0};
  int made = 0;
  task<> body() {
    for (int i = 0; i < 3; ++i) {
      point();
      if constexpr (Selects) {
        co_await skua::select(on(l, [this](auto s) { got += static_cast<bool>(s); }), on(skua::sleep_for(1h), [] {}));
      } else {
        auto const s = co_await l.accept();
        got += static_cast<bool>(s);
      }
      point();
    }
  }
  task<> others() {
    for (int i = 0; i < 3; ++i) {
      co_await turns();
      point();
      auto const client = co_await By::connect();
      ++made;
      point();
      co_await until([this] { return got == made || body_gone; });
      while (body_gone && got != made) {
        auto const s = co_await skua::timeout(10s, l.accept());   // it is still there
        ++got;
      }
    }
  }
  void check() { EXPECT_EQ(got, made); }
};
// Bytes that come are read by the body, or are still there. A read that is stopped has taken none (S17).
template <bool Selects>
struct reading_bytes : scene {
  int fd[2];
  number got{0};
  reading_bytes() { EXPECT_EQ(::pipe(fd), 0); }
  ~reading_bytes() {
    ::close(fd[0]);
    ::close(fd[1]);
  }
  task<> body() {
    for (int i = 0; i < 3; ++i) {
      point();
      if constexpr (Selects)
        co_await skua::select(on(skua::readable(fd[0]), [] {}), on(skua::sleep_for(1h), [] {}));
      else
        co_await skua::readable(fd[0]);
      char c;
      EXPECT_EQ(::read(fd[0], &c, 1), 1);
      ++got;
      point();
    }
  }
  task<> others() {
    for (int i = 0; i < 3; ++i) {
      co_await turns();
      point();
      EXPECT_EQ(::write(fd[1], "x", 1), 1);
      point();
      co_await until([this, i] { return got == i + 1 || body_gone; });
      if (got <= i) {
        char c;
        EXPECT_EQ(::read(fd[0], &c, 1), 1);
        ++got;
      }
    }
  }
  void check() { EXPECT_EQ(got, 3); }
};
// A datagram that comes is the body's, or still there.
struct receiving_datagrams : scene {
  skua::udp_socket mine = skua::udp_socket::bind(skua::endpoint::loopback(0)), theirs = skua::udp_socket::bind(skua::endpoint::loopback(0));
  std::array<std::byte, 8> buffer;
  number got{0};
  task<> take(std::span<std::byte> to) {
    EXPECT_EQ((co_await mine.receive(to)).size, 1u);
    ++got;
  }
  task<> body() {
    for (int i = 0; i < 3; ++i) {
      point();
      co_await take(buffer);
      point();
    }
  }
  task<> others() {
    for (int i = 0; i < 3; ++i) {
      co_await turns();
      point();
      co_await theirs.send_to("x", mine.local_endpoint());
      point();
      co_await until([this, i] { return got == i + 1 || body_gone; });
      if (got <= i) co_await skua::timeout(10s, take(buffer));
    }
  }
  void check() { EXPECT_EQ(got, 3); }
};
struct streaming : scene {
  skua::tcp_listener l = skua::tcp_listener::bind(skua::endpoint::loopback(0));
  skua::tcp_stream mine, theirs;
  std::string got;
  std::atomic<std::size_t> size{0};
  std::atomic<bool> connected{false};
  task<> read(std::size_t until) {
    while (got.size() < until) {
      std::array<std::byte, 8> b;
      if (!body_gone) point();
      std::size_t const n = co_await mine.read_some(b);
      got.append(reinterpret_cast<char const*>(b.data()), n);
      size = got.size();
    }
  }
  task<> body() {
    co_await until([this] { return connected.load(); });
    co_await read(6);
  }
  task<> others() {
    theirs = co_await skua::tcp_stream::connect(l.local_endpoint());
    mine = co_await l.accept();
    connected = true;
    for (int i = 0; i < 6; ++i) {
      co_await turns();
      point();
      char const c = static_cast<char>('a' + i);
      co_await theirs.write_all(std::as_bytes(std::span(&c, 1)));
      co_await until([&] { return size == static_cast<std::size_t>(i) + 1 || body_gone; });
    }
    co_await until([this] { return body_gone.load(); });
    co_await skua::timeout(10s, read(6));
  }
  void check() { EXPECT_EQ(got, "abcdef"); }
};
struct blocking : scene {   // what has begun is waited for (S7)
  number begun{0}, ended{0}, got{0};
  task<> body() {
    for (int i = 0; i < 3; ++i) {
      point();
      got += co_await skua::spawn_blocking([this] {
        ++begun;
        point();
        std::this_thread::yield();
        ++ended;
        return 1;
      });
      point();
    }
  }
  task<> others() { co_return; }
  void check() {
    EXPECT_EQ(begun, ended);
    EXPECT_EQ(got, ended);   // its value was delivered
    if (body_ended) { EXPECT_EQ(got, 3); }
  }
};

template <class Scene>
class StopKernelWaits : public stop_operations<Scene> {};
using kernel_operations =
    testing::Types<accepting<by_tcp, false>, accepting<by_tcp, true>, accepting<by_unix, false>, accepting<by_unix, true>, reading_bytes<false>,
                   reading_bytes<true>, receiving_datagrams, streaming, blocking>;
TYPED_TEST_SUITE(StopKernelWaits, kernel_operations);

TYPED_TEST(StopKernelWaits, lose_nothing_wherever_they_are_stopped__S4_S7_S9_S17) {
  for (unsigned const workers : {1u, 2u}) EXPECT_GT(this->run(skua::options{.workers = workers}), 1);
}

} // namespace
