// SPDX-License-Identifier: Apache-2.0
// Connections that several runtimes use: a stream belongs to nobody, and is in the epoll set of each that waits on it.
#include "skua/runtime.hpp"
#include "skua/tcp.hpp"
#include "skua/time.hpp"
#include "skua/timeout.hpp"
#include "tests/support/io_test.hpp"
#include "tests/support/tcp_pair.hpp"
#include <array>
#include <gtest/gtest.h>
#include <memory>
#include <string>

namespace {

using namespace std::chrono_literals;
using skua::task;
using skua::tcp_stream;
using skua_test::connect_pair;
using skua_test::read_all;
using skua_test::until_all_wait;

class TcpRuntimes : public skua_test::io_test {};

TEST_F(TcpRuntimes, a_stream_may_go_from_one_runtime_to_another_and_outlive_both) {
  skua_test::tcp_pair pair;
  int exchanges = 0;
  auto const exchange = [&]() -> task<> {
    if (!pair.client) pair = co_await connect_pair();
    auto reader = skua::spawn([](tcp_stream& s) -> task<> {
      std::array<std::byte, 1> b{};
      co_await s.read_exactly(b);
      EXPECT_EQ(b[0], std::byte{'x'});
    }, std::ref(pair.server));
    co_await skua::sleep_for(2ms);
    EXPECT_FALSE(reader.done());
    co_await pair.client.write_all("x");
    co_await reader;
    ++exchanges;
  };
  auto first = std::make_unique<skua::runtime>(skua::options{.workers = 1});
  first->block_on(exchange);
  {
    skua::runtime second{skua::options{.workers = 1}};
    second.block_on(exchange);
    first->block_on(exchange);   // both alive
    first.reset();
    second.block_on(exchange);
  }
  skua::runtime third{skua::options{.workers = 1}};
  third.block_on(exchange);
  EXPECT_EQ(exchanges, 5);
}

TEST_F(TcpRuntimes, a_reader_in_one_runtime_and_a_writer_in_another_share_a_stream) {
  skua::runtime a{skua::options{.workers = 1}}, b{skua::options{.workers = 1}};
  skua_test::tcp_pair pair;
  a.block_on([&]() -> task<> { pair = co_await connect_pair(); });
  std::string const much(8'000'000, 'm');
  auto received = a.spawn([&]() -> task<std::string> { return read_all(pair.server); });
  auto echoed = a.spawn([&]() -> task<std::string> { return read_all(pair.client); });
  b.block_on([&]() -> task<> {
    auto back = skua::spawn([&]() -> task<> {
      co_await pair.server.write_all(much);
      pair.server.shutdown_write();
    });
    co_await pair.client.write_all(much);
    pair.client.shutdown_write();
    co_await back;
  });
  a.block_on([&]() -> task<> {
    EXPECT_EQ(co_await received, much);
    EXPECT_EQ(co_await echoed, much);
  });
}

// What waits in a runtime's epoll set stays in it when the other direction went to another runtime, and comes back.
TEST_F(TcpRuntimes, a_reader_goes_on_waiting_while_the_writer_goes_to_another_runtime_and_back) {
  skua::runtime a{skua::options{.workers = 1}}, b{skua::options{.workers = 1}};
  skua_test::tcp_pair pair;
  std::string const much(64'000'000, 'm');
  auto const fill = [&]() -> task<> { EXPECT_THROW(co_await skua::timeout(5ms, pair.server.write_all(much)), skua::timeout_error); };
  a.block_on([&]() -> task<> { pair = co_await connect_pair(); });
  auto reader = a.spawn([&]() -> task<> {
    std::array<std::byte, 1> c{};
    co_await pair.server.read_exactly(c);
  });
  a.block_on(until_all_wait);
  b.block_on(fill);
  a.block_on(fill);
  a.block_on([&]() -> task<> {
    co_await pair.client.write_all("x");
    co_await skua::timeout(10s, std::move(reader));
  });
}

} // namespace
