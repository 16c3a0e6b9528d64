// SPDX-License-Identifier: Apache-2.0
// Servers that are stopped at any moment: before they have begun, while they wait for room, while handlers come, go, fail, give their stream away, close it or
// never end; by their handle, by a timeout, by both. Checked: no handler outlives its server, nor has more company than the limit allows; what a client gets
// back is the beginning of what it has sent; a handler is stopped only after the grace period; every failure is reported once; nothing is left.
//
// usage: serve_stress [--seconds S] [--seed N] [--workers N] [--backend NAME] [--rounds N]
#include "io/descriptor.hpp"
#include "skua/net.hpp"
#include "skua/runtime.hpp"
#include "skua/shield.hpp"
#include "skua/spawn.hpp"
#include "skua/this_task.hpp"
#include "skua/time.hpp"
#include "skua/timeout.hpp"
#include "tests/support/stress_rounds.hpp"
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <system_error>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::task;

std::atomic<std::uint64_t> connections{0}, answered{0}, thrown{0}, reported{0}, stopped_late{0};

struct failed_handler : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Of one server.
struct scene {
  std::uint64_t seed;
  std::size_t limit;
  bool patient;   // its grace period is longer than anything takes
  std::atomic<int> running{0};
  std::atomic<std::uint64_t> served{0};
};

task<> pause(rng& r) {
  switch (r.below(4)) {
  case 0: break;
  case 1: co_await skua::this_task::yield(); break;
  case 2: co_await skua::sleep_for(std::chrono::microseconds(r.below(300))); break;
  default:
    for (unsigned n = r.below(20); n != 0; --n) co_await skua::this_task::yield();
  }
}

struct presence {
  scene& of;
  bool ended = false;   // by itself
  presence(scene& s, skua::serving const& server) : of(s) {
    int const now = ++s.running;
    STRESS_CHECK(static_cast<std::size_t>(now) <= s.limit);
    STRESS_CHECK(server.connections() >= static_cast<std::size_t>(now));
  }
  ~presence() {
    --of.running;
    if (!ended) {
      STRESS_CHECK(!of.patient);
      ++stopped_late;
    }
  }
};

template <class Stream>
task<> echo(Stream& s, rng& r) {
  std::array<std::byte, 128> b;
  for (;;) {
    auto const n = co_await skua::as_result(s.read_some(b));
    if (!n || *n == 0) co_return;
    if (r.one_in(4)) co_await pause(r);
    if (!co_await skua::as_result(s.write_all(skua::const_buffer(b).first(*n)))) co_return;
    answered += *n;
  }
}

template <class Stream>
task<> handle(Stream given, skua::serving const& server, scene& at) {
  presence here(at, server);
  ++connections;
  rng r{at.seed + ++at.served};
  switch (r.below(8)) {
  case 0: given.close(); break;
  case 1: break;
  case 2:
    here.ended = true;
    ++thrown;
    throw failed_handler("of a connection");
  case 3: {   // it may be elsewhere, and its descriptor serve another one, when the server ends
    auto const elsewhere = std::make_shared<Stream>(std::move(given));
    auto reader = skua::spawn([](std::shared_ptr<Stream> s, std::uint64_t seed) -> task<> {
      rng mine{seed};
      co_await echo(*s, mine);
    }, elsewhere, r.next());
    co_await pause(r);
    elsewhere->close();
    co_await reader;
    break;
  }
  case 4:
    if (!at.patient) co_await skua::sleep_for(24h);
    break;
  case 5:
    while (!server.draining()) co_await skua::sleep_for(100us);
    co_await echo(given, r);
    break;
  default: co_await echo(given, r);
  }
  here.ended = true;
}

template <class Stream>
task<> client(auto connect, std::uint64_t seed) {
  rng r{seed};
  co_await pause(r);
  auto connected = co_await skua::as_result(connect());
  if (!connected) co_return;   // the server has ended
  Stream s = std::move(connected).value();
  auto next = static_cast<unsigned char>(seed), expected = next;
  std::array<std::byte, 100> b;
  for (unsigned rounds = r.below(6); rounds != 0; --rounds) {
    std::size_t const n = 1 + r.below(100);
    for (std::size_t i = 0; i != n; ++i) b[i] = static_cast<std::byte>(next++);
    if (!co_await skua::as_result(s.write_all(skua::const_buffer(b).first(n)))) co_return;
    co_await pause(r);
    if (r.one_in(3)) continue;
    auto const got = co_await skua::as_result(s.read_some(b));
    if (!got || *got == 0) co_return;
    for (std::size_t i = 0; i != *got; ++i) STRESS_CHECK(b[i] == static_cast<std::byte>(expected++));
  }
  if (r.one_in(2)) co_return;
  try {
    s.shutdown_write();
  } catch (std::system_error const&) {   // reset
  }
  for (;;) {
    auto const got = co_await skua::as_result(s.read_some(b));
    if (!got || *got == 0) co_return;
    for (std::size_t i = 0; i != *got; ++i) STRESS_CHECK(b[i] == static_cast<std::byte>(expected++));
  }
}

template <class Stream>
task<> serve_and_stop(auto listener, auto connect, std::uint64_t seed) {
  rng r{seed};
  scene at{seed, r.one_in(2) ? 1 + r.below(4) : std::size_t{1000}, r.one_in(2)};
  skua::serve_limits const limits{.max_connections = at.limit, .grace = at.patient ? std::chrono::nanoseconds(1h) : std::chrono::microseconds(r.below(2000))};
  auto const handler = [&at](Stream s, skua::serving const& server) { return handle(std::move(s), server, at); };
  bool const timed = r.one_in(3);
  auto const time = std::chrono::microseconds(r.below(3000));   // here: what draws behind the spawn is another task
  auto const server_task = [&]() -> task<> {
    auto serving = skua::serve(std::move(listener), handler, limits);
    if (!timed) {
      co_await std::move(serving);
      co_return;
    }
    try {
      co_await skua::timeout(time, std::move(serving));
    } catch (skua::timeout_error const&) {
    }
  };
  auto server = skua::spawn(server_task);
  std::vector<skua::join_handle<>> clients;
  for (unsigned n = r.below(12); n != 0; --n) clients.push_back(skua::spawn([](auto c, std::uint64_t s) { return client<Stream>(c, s); }, connect, r.next()));
  co_await pause(r);
  if (r.one_in(3)) co_await skua::sleep_for(std::chrono::microseconds(r.below(2000)));
  server.request_stop();
  co_await skua::stopped_as_optional(server);
  STRESS_CHECK(at.running == 0);
  for (auto& c : clients) {
    if (r.one_in(4)) c.request_stop();
    co_await skua::stopped_as_optional(c);
  }
}

task<> round(std::uint64_t seed) {
  if (seed % 2 == 0) {
    auto listener = skua::tcp_listener::bind(skua::endpoint::loopback(0));
    auto const connect = [at = listener.local_endpoint()] { return skua::tcp_stream::connect(at); };
    return serve_and_stop<skua::tcp_stream>(std::move(listener), connect, seed);
  }
  auto listener = skua::unix_listener::bind("");
  auto const connect = [at = listener.address()] { return skua::unix_stream::connect(at); };
  return serve_and_stop<skua::unix_stream>(std::move(listener), connect, seed);
}

} // namespace

int main(int argc, char** argv) {
  stress_options const o(argc, argv);
  rng seeds{o.seed};
  std::uint64_t rounds = 0;
  {
    skua::runtime rt({.workers = o.workers, .backend = o.backend, .on_unhandled_failure = [](skua::failure const& f) {
                        try {
                          std::rethrow_exception(f.error);
                        } catch (failed_handler const&) {
                          ++reported;
                        } catch (std::exception const& e) {
                          std::printf("%s\n", e.what());
                          stress_failed("no failure but the handlers'", __FILE__, __LINE__);
                        }
                      }});
    for (; o.go_on(rounds); ++rounds) {
      seed_of_round = rounds == 0 ? o.seed : seeds.next();
      await_round(rt, rt.spawn([](std::uint64_t s) -> task<> { co_await round(s); }, seed_of_round.load()));
      STRESS_CHECK(thrown == reported);
    }
  }
  STRESS_CHECK(skua::detail::open_descriptors() == 0);
  check_nothing_is_left();
  std::printf("%llu servers, %llu connections, %llu bytes answered, %llu handlers failed, %llu stopped after the grace period\n",
              static_cast<unsigned long long>(rounds), static_cast<unsigned long long>(connections), static_cast<unsigned long long>(answered),
              static_cast<unsigned long long>(thrown), static_cast<unsigned long long>(stopped_late));
}
