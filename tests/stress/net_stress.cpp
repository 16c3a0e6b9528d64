// SPDX-License-Identifier: Apache-2.0
// Connections under load, with everything that may go wrong at once: edges that come between a failed attempt and the wait, stops and closes at random
// moments, events for descriptors that have another owner by then. Every byte is numbered, so one that comes from another connection, twice or
// never shows; a lost edge shows as a hang. At the end no descriptor is left.
//
// usage: net_stress [--seconds S] [--seed N] [--workers N]
#include "io/descriptor.hpp"
#include "skua/net.hpp"
#include "skua/runtime.hpp"
#include "skua/this_task.hpp"
#include "skua/time.hpp"
#include "skua/timeout.hpp"
#include "skua/when_all.hpp"
#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <memory>
#include <random>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace {

using namespace std::chrono_literals;
using skua::task;
using skua::tcp_listener;
using skua::tcp_stream;
using random_engine = std::minstd_rand;

std::atomic<int> failures{0};
void expect(bool good, char const* what) {
  if (!good && failures.fetch_add(1) < 20) std::printf("failed: %s\n", what);
}

// ------------------------------------------------------------------------------------------------ edges

// A thread of its own sends single bytes, each when the one before has been taken, at random moments: so the byte often comes between the
// reader's EAGAIN and its wait.
task<std::uint64_t> edges(unsigned seed, unsigned rounds) {
  auto listener = tcp_listener::bind(skua::endpoint::loopback(0));
  auto [client, server] = co_await skua::when_all(tcp_stream::connect(listener.local_endpoint()), listener.accept());
  std::atomic<unsigned> taken{0};
  std::thread sender([&, fd = client.native_handle()] {
    random_engine random(seed);
    for (unsigned i = 0; i != rounds; ++i) {
      auto const b = static_cast<unsigned char>(i);
      expect(::send(fd, &b, 1, MSG_NOSIGNAL) == 1, "a byte is sent");
      while (taken.load(std::memory_order_acquire) == i)
        if (random() % 64 == 0) std::this_thread::yield();
      for (auto n = random() % 400; n != 0; --n) skua::detail::cpu_pause();
    }
  });
  std::array<std::byte, 64> b;
  for (unsigned i = 0; i != rounds; ++i) {
    std::size_t const n = i % 2 ? co_await server.read_some(b) : co_await server.read_some(std::span(b).first(1));
    expect(n == 1 && b[0] == static_cast<std::byte>(i), "the byte that was sent arrives, once");
    taken.store(i + 1, std::memory_order_release);
  }
  sender.join();
  co_return rounds;
}

// ------------------------------------------------------------------------------------------------ connections that end at any moment

// Shared: whoever waits for the two may be stopped, and leave before them.
using shared_stream = std::shared_ptr<tcp_stream>;

// Sends a run of bytes that says which connection it is: `tag`, tag + 1, ..
task<> talk(shared_stream s, unsigned char tag, std::size_t most) {
  std::array<std::byte, 509> b;
  auto next = tag;
  for (std::size_t sent = 0; sent < most; sent += b.size()) {
    for (auto& x : b) x = static_cast<std::byte>(next++);
    if (!co_await skua::as_result(s->write_all(b))) co_return;
  }
  try {
    s->shutdown_write();
  } catch (std::system_error const&) {   // the peer has reset it, or somebody has closed it
  }
}
task<> listen_to(shared_stream s, unsigned char tag) {
  std::array<std::byte, 1000> b;
  auto next = tag;
  for (;;) {
    auto const n = co_await skua::as_result(s->read_some(b));
    if (!n || *n == 0) co_return;
    for (std::byte const x : std::span(b).first(*n)) expect(x == static_cast<std::byte>(next++), "bytes of this connection, in order");
  }
}

task<> ended(skua::join_handle<>& h) {
  try {
    co_await h;
  } catch (skua::task_stopped const&) {
  }
}

// A connection; one end is closed, stopped or left alone after a random time.
task<> session(skua::endpoint at, unsigned seed) {
  random_engine random(seed);
  auto const client = std::make_shared<tcp_stream>(co_await tcp_stream::connect(at));
  auto const tag = static_cast<unsigned char>(random());
  co_await client->write_all(skua::const_buffer(std::array{static_cast<std::byte>(tag)}));
  auto out = skua::spawn(talk, client, tag, random() % 200'000);
  auto in = skua::spawn(listen_to, client, static_cast<unsigned char>(tag + 1));
  auto const pause = std::chrono::microseconds(random() % 300);
  switch (random() % 4) {
  case 0: break;
  case 1:
    co_await skua::sleep_for(pause);
    client->close();
    break;
  case 2:
    co_await skua::sleep_for(pause);
    out.request_stop();
    in.request_stop();
    break;
  default:
    for (auto n = random() % 30; n != 0; --n) co_await skua::this_task::yield();
    client->close();
  }
  if (random() % 2) client->close();
  co_await ended(out);
  client->close();
  co_await ended(in);
}

task<> serve_one(tcp_stream accepted, unsigned seed) {
  random_engine random(seed);
  auto const s = std::make_shared<tcp_stream>(std::move(accepted));
  std::array<std::byte, 1> tag;
  if (!co_await skua::as_result(s->read_exactly(tag))) co_return;
  auto const t = static_cast<unsigned char>(tag[0]);
  auto in = skua::spawn(listen_to, s, t);
  auto out = skua::spawn(talk, s, static_cast<unsigned char>(t + 1), random() % 200'000);
  if (random() % 3 == 0) {
    co_await skua::sleep_for(std::chrono::microseconds(random() % 300));
    s->close();
  }
  co_await ended(out);
  co_await ended(in);
}
task<> serve(tcp_listener& l, unsigned seed) {
  for (random_engine random(seed);;) skua::spawn_detached(serve_one, co_await l.accept(), static_cast<unsigned>(random()));
}

task<std::uint64_t> sessions(unsigned seed, unsigned parallel, std::chrono::steady_clock::time_point until) {
  auto listener = tcp_listener::bind(skua::endpoint::loopback(0));
  auto server = skua::spawn(serve, std::ref(listener), seed);
  auto const at = listener.local_endpoint();
  auto lane = [](skua::endpoint e, unsigned s, std::chrono::steady_clock::time_point end) -> task<std::uint64_t> {
    random_engine random(s);
    std::uint64_t n = 0;
    for (; std::chrono::steady_clock::now() < end; ++n) co_await session(e, static_cast<unsigned>(random()));
    co_return n;
  };
  std::vector<task<std::uint64_t>> lanes;
  for (unsigned i = 0; i != parallel; ++i) lanes.push_back(lane(at, seed * 31 + i, until));
  std::uint64_t total = 0;
  for (std::uint64_t const n : co_await skua::when_all(std::move(lanes))) total += n;
  server.request_stop();
  try {
    co_await server;
  } catch (skua::task_stopped const&) {
  }
  co_return total;
}

} // namespace

int main(int argc, char** argv) {
  double seconds = 5;
  unsigned seed = static_cast<unsigned>(std::time(nullptr)), workers = 2;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (std::strcmp(argv[i], "--seconds") == 0) seconds = std::atof(argv[i + 1]);
    if (std::strcmp(argv[i], "--seed") == 0) seed = static_cast<unsigned>(std::strtoul(argv[i + 1], nullptr, 10));
    if (std::strcmp(argv[i], "--workers") == 0) workers = static_cast<unsigned>(std::atoi(argv[i + 1]));
  }
  std::printf("seed %u\n", seed);
  auto const begin = std::chrono::steady_clock::now();
  auto const until = begin + std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::duration<double>(seconds));
  std::uint64_t rounds = 0, connections = 0;
  do {
    skua::runtime rt{skua::options{.workers = workers}};
    ++seed;
    auto const slice = [&] { return std::min(until, std::chrono::steady_clock::now() + std::chrono::nanoseconds(1s)); };
    auto const half = slice();
    do rounds += rt.block_on(edges, seed, 1'000u);
    while (std::chrono::steady_clock::now() < half);
    connections += rt.block_on(sessions, seed, 8u, slice());
  } while (std::chrono::steady_clock::now() < until && failures == 0);
  expect(skua::detail::open_descriptors() == 0, "no descriptor is left");
  std::printf("%llu edges, %llu connections, %d failures\n", static_cast<unsigned long long>(rounds), static_cast<unsigned long long>(connections),
              failures.load());
  return failures != 0;
}
