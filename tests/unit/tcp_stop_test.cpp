// SPDX-License-Identifier: Apache-2.0
// Unit: streams and listeners that are closed or stopped while tasks wait on them (S4, S17, S19).
#include "skua/net.hpp"
#include "skua/runtime.hpp"
#include "skua/this_task.hpp"
#include "skua/time.hpp"
#include "skua/timeout.hpp"
#include "tests/support/io_test.hpp"
#include "tests/support/tcp_pair.hpp"
#include <array>
#include <chrono>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <optional>
#include <random>
#include <system_error>
#include <vector>

namespace {

using namespace std::chrono_literals;
using skua::task;
using skua::tcp_listener;
using skua::tcp_stream;
using skua_test::connect_pair;
using skua_test::single_worker;
using skua_test::until_all_wait;

class TcpStop : public skua_test::io_test {};

task<std::error_code> code_of_read(tcp_stream& s) {
  std::array<std::byte, 8> b;
  co_return (co_await skua::as_result(s.read_some(b))).error();
}
std::string const& much() {   // made when it is wanted: every test is a process of this program
  static std::string const text(64'000'000, 'm');
  return text;
}
task<std::error_code> code_of_flood(tcp_stream& s) {
  co_return (co_await skua::as_result(s.write_all(much()))).error();
}
task<> read_for_ever(tcp_stream& s) {
  std::array<std::byte, 8> b;
  while (co_await s.read_some(b) != 0) {
  }
}

TEST_F(TcpStop, close_cancels_who_waits) {
  run([]() -> task<> {   // S19
    auto [client, server] = co_await connect_pair();
    auto reader = skua::spawn(code_of_read, std::ref(server));
    auto writer = skua::spawn(code_of_flood, std::ref(server));
    co_await until_all_wait();
    server.close();
    EXPECT_FALSE(server);
    EXPECT_EQ(co_await reader, std::errc::operation_canceled);
    EXPECT_EQ(co_await writer, std::errc::operation_canceled);
  }, single_worker);
}

TEST_F(TcpStop, destruction_cancels_who_waits) {
  run([]() -> task<> {   // S19
    auto [client, server] = co_await connect_pair();
    auto stream = std::make_unique<tcp_stream>(std::move(server));
    auto reader = skua::spawn(code_of_read, std::ref(*stream));
    co_await until_all_wait();
    stream.reset();
    EXPECT_EQ(co_await reader, std::errc::operation_canceled);
  }, single_worker);
}

TEST_F(TcpStop, closing_a_listener_cancels_accept) {
  run([]() -> task<> {   // S19
    auto listener = tcp_listener::bind(skua::endpoint::loopback(0));
    auto acceptor = skua::spawn(skua::as_result(listener.accept()));
    co_await until_all_wait();
    listener.close();
    EXPECT_EQ((co_await acceptor).error(), std::errc::operation_canceled);
  }, single_worker);
}

TEST_F(TcpStop, a_stream_may_be_closed_by_the_runtimes_outside) {
  skua::runtime rt{skua::options{.workers = single_worker}};
  skua_test::tcp_pair pair;
  rt.block_on([&]() -> task<> { pair = co_await connect_pair(); });
  auto reader = rt.spawn(code_of_read, std::ref(pair.server));
  rt.block_on(until_all_wait());
  pair.server.close();   // this thread is no worker
  EXPECT_EQ(rt.block_on([&]() -> task<std::error_code> { co_return co_await reader; }), std::errc::operation_canceled);
}

TEST_F(TcpStop, the_number_is_released_when_nobody_uses_it_any_more) {
  run([]() -> task<> {   // S19
    auto [client, server] = co_await connect_pair();
    int const number = server.native_handle();
    auto reader = skua::spawn(code_of_read, std::ref(server));
    co_await until_all_wait();
    server.close();   // the reader has been told, and does not run before we wait
    EXPECT_NE(::fcntl(number, F_GETFD), -1);
    EXPECT_EQ(co_await reader, std::errc::operation_canceled);
    EXPECT_EQ(::fcntl(number, F_GETFD), -1);
  }, single_worker);
}

TEST_F(TcpStop, a_waiting_read_is_stopped) {
  run([]() -> task<> {
    auto [client, server] = co_await connect_pair();
    auto reader = skua::spawn(read_for_ever, std::ref(server));
    co_await until_all_wait();
    reader.request_stop();
    bool stopped = false;
    try {
      co_await reader;
    } catch (skua::task_stopped const&) {
      stopped = true;
    }
    EXPECT_TRUE(stopped);
    // The stream is as good as before.
    auto again = skua::spawn([](tcp_stream& s) -> task<std::size_t> {
      std::array<std::byte, 8> b;
      co_return co_await s.read_some(b);
    }, std::ref(server));
    co_await client.write_all("abc");
    EXPECT_EQ(co_await again, 3u);
  }, single_worker);
}

TEST_F(TcpStop, a_timeout_ends_a_read_that_waits) {
  run([]() -> task<> {
    auto [client, server] = co_await connect_pair();
    auto const before = std::chrono::steady_clock::now();
    bool timed_out = false;
    try {
      co_await skua::timeout(20ms, read_for_ever(server));
    } catch (skua::timeout_error const&) {
      timed_out = true;
    }
    EXPECT_TRUE(timed_out);
    EXPECT_GE(std::chrono::steady_clock::now() - before, 20ms);
  });
}

TEST_F(TcpStop, a_stop_that_came_before_is_seen_before_anything_is_read) {
  run([]() -> task<> {   // S1
    auto [client, server] = co_await connect_pair();
    co_await client.write_all("data");
    auto reader = skua::spawn([](tcp_stream& s) -> task<> {
      while (!skua::this_task::stop_requested()) std::this_thread::yield();
      std::array<std::byte, 8> b;
      co_await s.read_some(b);
      ADD_FAILURE() << "it went on";
    }, std::ref(server));
    reader.request_stop();
    try {
      co_await reader;
    } catch (skua::task_stopped const&) {
    }
    std::array<std::byte, 4> b;
    co_await server.read_exactly(b);
    EXPECT_EQ(skua_test::text_of(b), "data");
  });
}

TEST_F(TcpStop, what_a_stopped_read_had_moved_is_reported_by_as_result) {
  run([]() -> task<> {   // S17
    auto [client, server] = co_await connect_pair();
    co_await client.write_all("abc");
    co_await skua_test::arrived(server, 3);
    std::optional<skua::result<>> outcome;
    bool went_on = false;
    auto reader = skua::spawn([&](tcp_stream& s) -> task<> {
      std::array<std::byte, 8> b;
      outcome = co_await skua::as_result(s.read_exactly(b));
      co_await skua::this_task::checkpoint();
      went_on = true;
    }, std::ref(server));
    co_await until_all_wait();
    reader.request_stop();
    bool stopped = false;
    try {
      co_await reader;
    } catch (skua::task_stopped const&) {
      stopped = true;
    }
    EXPECT_TRUE(stopped);
    EXPECT_FALSE(went_on);
    EXPECT_TRUE(outcome);
    EXPECT_EQ(outcome->error(), std::errc::operation_canceled);
    EXPECT_EQ(outcome->transferred(), 3u);
  }, single_worker);
}

TEST_F(TcpStop, a_stopped_read_that_had_moved_nothing_is_unwound_also_with_as_result) {
  run([]() -> task<> {   // S17
    auto [client, server] = co_await connect_pair();
    bool went_on = false;
    auto reader = skua::spawn([&](tcp_stream& s) -> task<> {
      std::array<std::byte, 8> b;
      (void)co_await skua::as_result(s.read_exactly(b));
      went_on = true;
    }, std::ref(server));
    co_await until_all_wait();
    reader.request_stop();
    try {
      co_await reader;
    } catch (skua::task_stopped const&) {
    }
    EXPECT_FALSE(went_on);
  }, single_worker);
}

TEST_F(TcpStop, what_a_stopped_write_had_moved_is_what_the_peer_gets) {
  run([]() -> task<> {   // S17
    auto [client, server] = co_await connect_pair();
    std::optional<skua::result<>> outcome;
    auto writer = skua::spawn([&](tcp_stream& s) -> task<> { outcome = co_await skua::as_result(s.write_all(much())); }, std::ref(client));
    co_await until_all_wait();
    writer.request_stop();
    co_await writer;   // ended by itself, for there was no suspension point afterwards
    EXPECT_TRUE(outcome);
    client.shutdown_write();
    EXPECT_EQ((co_await skua_test::read_all(server)).size(), outcome->transferred());
  }, single_worker);
}

// The traps' test: stops at random moments around the completion. Descriptors and frames are counted by the fixture.
TEST_F(TcpStop, an_accept_that_loses_the_race_delivers_or_leaves_the_connection) {
  unsigned const seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  run([seed]() -> task<> {
    std::mt19937 random(seed);
    auto listener = tcp_listener::bind(skua::endpoint::loopback(0));
    int delivered = 0, stopped = 0;
    for (int i = 0; i != 1000; ++i) {
      auto acceptor = skua::spawn(listener.accept());
      auto client = skua::spawn(tcp_stream::connect(listener.local_endpoint()));
      co_await skua::sleep_for(std::chrono::microseconds(random() % 200));
      acceptor.request_stop();
      bool got = false;
      try {
        (void)co_await acceptor;
        got = true;
      } catch (skua::task_stopped const&) {
      }
      auto c = co_await client;
      if (!got) {
        (void)co_await listener.accept();   // still in the backlog: not lost
        ++stopped;
      } else {
        ++delivered;
      }
    }
    EXPECT_EQ(delivered + stopped, 1000);
  });
}

TEST_F(TcpStop, a_read_that_loses_the_race_has_read_nothing) {
  unsigned const seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  run([seed]() -> task<> {
    std::mt19937 random(seed);
    auto [client, server] = co_await connect_pair();
    std::size_t received = 0;
    for (int i = 0; i != 2000; ++i) {
      auto reader = skua::spawn([](tcp_stream& s) -> task<std::size_t> {
        std::array<std::byte, 8> b;
        co_return co_await s.read_some(b);
      }, std::ref(server));
      auto writer = skua::spawn([](tcp_stream& s) -> task<> { co_await s.write_all("x"); }, std::ref(client));
      for (auto n = random() % 100; n != 0; --n) co_await skua::this_task::yield();
      reader.request_stop();
      try {
        received += co_await reader;
      } catch (skua::task_stopped const&) {
      }
      co_await writer;
    }
    client.shutdown_write();
    received += (co_await skua_test::read_all(server)).size();
    EXPECT_EQ(received, 2000u);
  });
}

TEST_F(TcpStop, streams_that_are_closed_while_they_are_read_and_written_hurt_nobody) {
  unsigned const seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  run([seed]() -> task<> {
    std::mt19937 random(seed);
    for (int i = 0; i != 500; ++i) {
      auto [client, server] = co_await connect_pair();
      auto pump = [](tcp_stream& s) -> task<> {
        std::array<std::byte, 64> b{};
        for (;;) {
          auto const w = co_await skua::as_result(s.write_some(b));
          auto const r = co_await skua::as_result(s.read_some(b));
          if (!w || !r || *r == 0) co_return;
        }
      };
      auto a = skua::spawn(pump, std::ref(client)), b = skua::spawn(pump, std::ref(server));
      for (auto n = random() % 50; n != 0; --n) co_await skua::this_task::yield();
      (random() % 2 ? client : server).close();
      co_await a;
      co_await b;
    }
  });
}

TEST_F(TcpStop, a_runtime_shuts_down_with_tasks_in_every_operation) {
  skua_test::tcp_pair pair;
  auto listener = tcp_listener::bind(skua::endpoint::loopback(0));
  {
    skua::runtime rt{skua::options{.workers = single_worker}};
    rt.block_on([&]() -> task<> { pair = co_await connect_pair(); });
    auto r = rt.spawn(code_of_read, std::ref(pair.client));
    auto w = rt.spawn(code_of_flood, std::ref(pair.client));
    auto a = rt.spawn(listener.accept());
    auto f = rt.spawn([&]() -> task<> { co_await skua::readable(listener.native_handle()); });
    rt.block_on(until_all_wait());
    EXPECT_TRUE(rt.shutdown(30s).clean());
  }
  pair = {};
}

} // namespace
