// SPDX-License-Identifier: Apache-2.0
// Unit: serve: who is served, how it ends, limits, failures. stress/serve_stress.cpp has everything at once.
#include "skua/serve.hpp"
#include "skua/error.hpp"
#include "skua/event.hpp"
#include "skua/net.hpp"
#include "skua/runtime.hpp"
#include "skua/signal.hpp"
#include "skua/spawn.hpp"
#include "skua/time.hpp"
#include "skua/timeout.hpp"
#include "tests/support/io_test.hpp"
#include "tests/support/tcp_pair.hpp"
#include "tests/support/values.hpp"
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <memory>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>
#include <system_error>
#include <unistd.h>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using skua::task;
using skua::tcp_listener;
using skua::tcp_stream;
using skua_test::read_all;

class Serve : public skua_test::io_test {};

task<> echo(tcp_stream s) {
  std::array<std::byte, 64> b;
  while (std::size_t const n = co_await s.read_some(b)) co_await s.write_all(skua::const_buffer(b).first(n));
}
tcp_listener listen() { return tcp_listener::bind(skua::endpoint::loopback(0)); }

task<> ask(tcp_stream& s, std::string text) {
  co_await s.write_all(text);
  std::string answer(text.size(), '\0');
  co_await s.read_exactly(std::as_writable_bytes(std::span(answer)));
  EXPECT_EQ(answer, text);
}
task<> stopped(skua::join_handle<>& server) {
  server.request_stop();
  EXPECT_THROW(co_await server, skua::task_stopped);
}
// Says that it has begun, and when it was unwound.
task<> never_ends(tcp_stream s, std::atomic<bool>& unwound) {
  struct note {
    std::atomic<bool>& b;
    ~note() { b = true; }
  } const n{unwound};
  co_await s.write_all("x");
  co_await skua::sleep_for(1h);
}
task<> until(auto condition) {
  while (!condition()) co_await skua::sleep_for(200us);
}

TEST_F(Serve, many_clients_at_once_and_ends_when_it_is_stopped) {
  run([]() -> task<> {
    auto listener = listen();
    auto const at = listener.local_endpoint();
    auto server = skua::spawn(skua::serve(std::move(listener), echo));
    std::vector<tcp_stream> clients;
    for (int i = 0; i != 20; ++i) clients.push_back(co_await tcp_stream::connect(at));
    for (auto& c : clients) co_await ask(c, "hello");
    clients[0].shutdown_write();
    EXPECT_EQ(co_await read_all(clients[0]), "");   // its handler has ended
    co_await stopped(server);
    for (auto& c : clients) EXPECT_EQ(co_await read_all(c), "");   // in order: no reset
    EXPECT_EQ((co_await skua::settle(tcp_stream::connect(at))).failed(), true);   // nobody listens
  });
}

TEST_F(Serve, over_unix_sockets_with_a_handler_that_has_captures) {
  run([]() -> task<> {
    auto listener = skua::unix_listener::bind("");
    std::string const path = listener.address();
    auto greet = [greeting = std::string("a greeting that is too long for its own string")](skua::unix_stream s) -> task<> { co_await s.write_all(greeting); };
    auto server = skua::spawn(skua::serve(std::move(listener), std::move(greet)));
    for (int i = 0; i != 3; ++i) {
      auto s = co_await skua::unix_stream::connect(path);
      EXPECT_EQ(co_await read_all(s), "a greeting that is too long for its own string");
    }
    co_await stopped(server);
  });
}

// It lies with the task then.
TEST_F(Serve, handlers_that_take_their_stream_by_reference) {
  run([]() -> task<> {
    auto listener = listen();
    auto const at = listener.local_endpoint();
    auto server = skua::spawn(skua::serve(std::move(listener), [](tcp_stream&& s) -> task<> {
      std::array<std::byte, 64> b;
      while (std::size_t const n = co_await s.read_some(b)) co_await s.write_all(skua::const_buffer(b).first(n));
    }));
    auto client = co_await tcp_stream::connect(at);
    co_await ask(client, "one");
    co_await ask(client, "two");
    co_await stopped(server);
    EXPECT_EQ(co_await read_all(client), "");
  });
}

TEST_F(Serve, any_grace_period_and_no_limit) {
  run([]() -> task<> {
    for (auto const grace : {std::chrono::nanoseconds::min(), std::chrono::nanoseconds(0), std::chrono::nanoseconds::max()}) {
      auto listener = listen();
      auto const at = listener.local_endpoint();
      auto server = skua::spawn(skua::serve(std::move(listener), echo, {.max_connections = ~std::size_t{0}, .grace = grace}));
      auto client = co_await tcp_stream::connect(at);
      co_await ask(client, "x");
      co_await stopped(server);
      EXPECT_EQ(co_await read_all(client), "");
    }
  });
}

// What has arrived is answered, though the handler was busy when the stop came, and moved its stream away; what comes later is not heard.
TEST_F(Serve, drains_its_connections_when_it_is_stopped) {
  run([]() -> task<> {
    skua::event busy, go_on;
    std::atomic<bool> told = false;
    auto const handler = [&](tcp_stream given, skua::serving const& server) -> task<> {
      auto const s = std::make_unique<tcp_stream>(std::move(given));
      EXPECT_FALSE(server.draining());
      EXPECT_GE(server.connections(), 1u);
      std::array<std::byte, 1> one;
      while (co_await s->read_some(one)) {
        if (one[0] == std::byte{'w'}) {
          busy.set();
          co_await go_on.wait();
          told = server.draining();
        }
        co_await s->write_all(one);
      }
      co_await s->write_all(".");
    };
    auto listener = listen();
    auto const at = listener.local_endpoint();
    auto server = skua::spawn(skua::serve(std::move(listener), handler, {.grace = 1h}));
    auto idle = co_await tcp_stream::connect(at);
    co_await ask(idle, "a");
    auto waiting = co_await tcp_stream::connect(at);
    co_await waiting.write_all("with more");
    co_await busy.wait();
    server.request_stop();
    EXPECT_EQ(co_await read_all(idle), ".");
    EXPECT_FALSE(server.done());
    EXPECT_FALSE(told);
    go_on.set();
    EXPECT_EQ(co_await read_all(waiting), "with more.");
    EXPECT_TRUE(told);
    EXPECT_THROW(co_await server, skua::task_stopped);
  });
}

TEST_F(Serve, stops_who_takes_longer_than_the_grace_period) {
  run([]() -> task<> {
    std::atomic<bool> unwound = false;
    auto const stubborn = [&](tcp_stream s) { return never_ends(std::move(s), unwound); };
    auto listener = listen();
    auto const at = listener.local_endpoint();
    auto server = skua::spawn(skua::serve(std::move(listener), stubborn, {.grace = 5ms}));
    auto client = co_await tcp_stream::connect(at);
    std::array<std::byte, 1> x;
    co_await client.read_exactly(x);
    co_await stopped(server);
    EXPECT_TRUE(unwound);
  });
}

TEST_F(Serve, no_more_than_its_limit_at_a_time) {
  run([]() -> task<> {
    std::atomic<std::size_t> most = 0;
    auto const handler = [&](tcp_stream s, skua::serving const& server) -> task<> {
      most = std::max(most.load(), server.connections());
      co_await echo(std::move(s));
    };
    auto listener = listen();
    auto const at = listener.local_endpoint();
    auto server = skua::spawn(skua::serve(std::move(listener), handler, {.max_connections = 2}));
    auto a = co_await tcp_stream::connect(at), b = co_await tcp_stream::connect(at), c = co_await tcp_stream::connect(at);
    co_await ask(a, "1");
    co_await ask(b, "2");
    co_await c.write_all("3");
    std::array<std::byte, 1> three;
    EXPECT_THROW(co_await skua::timeout(5ms, c.read_exactly(three)), skua::timeout_error);
    a.shutdown_write();
    co_await c.read_exactly(three);
    EXPECT_EQ(most, 2u);
    auto d = co_await tcp_stream::connect(at);
    co_await stopped(server);   // while it waits for room
  });
}

// ---------------------------------------------------------------------------------------------- failures

class ServeFailures : public skua_test::leak_check {
protected:
  std::mutex lock;
  std::vector<std::string> reported;
  skua::runtime rt{skua::options{.workers = 2, .on_unhandled_failure = [this](skua::failure const& f) {
                                   std::lock_guard const g(lock);
                                   reported.push_back(skua_test::message_of([&] { std::rethrow_exception(f.error); }));
                                 }}};
  std::size_t reports() {
    std::lock_guard const g(lock);
    return reported.size();
  }
};

TEST_F(ServeFailures, of_handlers_are_reported_and_nobody_elses_affair__S23) {
  rt.block_on([this]() -> task<> {
    auto listener = listen();
    auto const at = listener.local_endpoint();
    auto server = skua::spawn(skua::serve(std::move(listener), [](tcp_stream s) -> task<> {
      std::array<std::byte, 1> one;
      co_await s.read_exactly(one);
      if (one[0] == std::byte{'!'}) throw std::runtime_error("of this connection");
      co_await s.write_all(one);
    }));
    auto good = co_await tcp_stream::connect(at), bad = co_await tcp_stream::connect(at);
    co_await bad.write_all("!");
    EXPECT_EQ(co_await read_all(bad), "");
    co_await until([&] { return reports() == 1; });
    EXPECT_EQ(reported[0], "of this connection");
    co_await ask(good, "g");
    co_await stopped(server);
  });
  EXPECT_EQ(reported.size(), 1u);
}

// A handler that throws before there is a coroutine; as a lack of memory for it does.
TEST_F(ServeFailures, a_connection_for_which_there_is_no_memory_is_closed_and_reported) {
  rt.block_on([this]() -> task<> {
    auto listener = listen();
    auto const at = listener.local_endpoint();
    std::atomic<int> calls = 0;
    auto server = skua::spawn(skua::serve(std::move(listener), [&calls](tcp_stream s) -> task<> {
      if (calls++ < 2) throw std::bad_alloc();
      return echo(std::move(s));
    }));
    for (int i = 0; i != 2; ++i) {
      auto c = co_await tcp_stream::connect(at);
      EXPECT_EQ(co_await read_all(c), "");
    }
    auto c = co_await tcp_stream::connect(at);
    co_await ask(c, "now");
    EXPECT_EQ(reports(), 2u);
    co_await stopped(server);
  });
}

TEST_F(ServeFailures, of_the_listener_end_the_server_when_its_connections_have_ended) {
  rt.block_on([]() -> task<> {
    EXPECT_THROW(co_await skua::serve(tcp_listener(), echo), std::system_error);   // not open
    EXPECT_THROW(co_await skua::serve(listen(), echo, {.max_connections = 0}), skua::usage_error);

    auto listener = listen();
    auto const at = listener.local_endpoint();
    int const number = listener.native_handle();
    auto server = skua::spawn(skua::serve(std::move(listener), echo));
    auto c = co_await tcp_stream::connect(at);
    co_await ask(c, "still there");
    ::shutdown(number, SHUT_RDWR);   // accept() fails from here on
    EXPECT_EQ(co_await read_all(c), "");   // drained
    EXPECT_THROW(co_await server, std::system_error);
  });
}

// ---------------------------------------------------------------------------------------------- stops

TEST_F(Serve, does_not_begin_in_a_task_that_is_stopped__S1) {
  run([]() -> task<> {
    auto listener = listen();
    auto const at = listener.local_endpoint();
    auto server = skua::spawn([](tcp_listener l) -> task<> {
      co_await skua::shield(skua::sleep_for(2ms));
      co_await skua::serve(std::move(l), echo);
    }, std::move(listener));
    co_await stopped(server);
    EXPECT_TRUE((co_await skua::settle(tcp_stream::connect(at))).failed());
  });
}

TEST_F(Serve, a_server_that_is_stopped_at_once_leaves_nothing) {
  for (int i = 0; i != 200; ++i)
    run([]() -> task<> {
      auto listener = listen();
      auto c = co_await tcp_stream::connect(listener.local_endpoint());
      auto server = skua::spawn(skua::serve(std::move(listener), echo));
      server.request_stop();
      EXPECT_THROW(co_await server, skua::task_stopped);
    });
}

TEST_F(Serve, under_run_until_signal_a_signal_drains_it) {
  auto listener = listen();
  auto const at = listener.local_endpoint();
  std::string heard;
  std::atomic<int> questions = 0;
  auto const main_task = [&]() -> task<> {
    auto client = skua::spawn([](skua::endpoint to, std::string& into, std::atomic<int>& taken) -> task<> {
      auto s = co_await tcp_stream::connect(to);
      co_await ask(s, "begun");
      co_await s.write_all("under way");
      while (taken != 2) co_await skua::this_task::yield();
      ::kill(::getpid(), SIGTERM);
      into = co_await read_all(s);
    }, at, std::ref(heard), std::ref(questions));
    client.detach();
    co_await skua::serve(std::move(listener), [&questions](tcp_stream s) -> task<> {
      std::array<std::byte, 64> b;
      while (std::size_t const n = co_await s.read_some(b)) {
        ++questions;
        co_await skua::sleep_for(3ms);
        co_await s.write_all(skua::const_buffer(b).first(n));
      }
    });
  };
  auto const report = skua::run_until_signal(main_task(), {SIGTERM}, 10s, {.workers = 2});
  EXPECT_EQ(report.signal, SIGTERM);
  EXPECT_EQ(report.exit_status(), 0);
  EXPECT_EQ(heard, "under way");
}

// Also one that is in no hurry, as a second signal does.
TEST_F(Serve, the_end_of_the_runtime_ends_the_grace_period) {
  std::atomic<bool> unwound = false;
  run([&]() -> task<> {
    auto listener = listen();
    auto const at = listener.local_endpoint();
    auto const stubborn = [&](tcp_stream s) { return never_ends(std::move(s), unwound); };
    skua::spawn_detached(skua::serve(std::move(listener), stubborn, {.grace = 1h}));
    auto client = co_await tcp_stream::connect(at);
    std::array<std::byte, 1> x;
    co_await client.read_exactly(x);
  });
  EXPECT_TRUE(unwound);
}

} // namespace
