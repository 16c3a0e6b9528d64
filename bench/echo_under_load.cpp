// SPDX-License-Identifier: Apache-2.0
// What a server's clients notice of a computation in the same process (S21): round trips to an echo task, at rest and while every worker runs fib.
#include "../examples/support/command_line.hpp"
#include "support/fork_join.hpp"
#include "support/tasks.hpp"
#include <arpa/inet.h>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <skua/net.hpp>
#include <skua/runtime.hpp>
#include <skua/spawn.hpp>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

namespace {

using clock_type = std::chrono::steady_clock;

skua::task<> echo(skua::tcp_listener listener) {
  auto peer = co_await listener.accept();
  peer.set_no_delay(true);
  std::array<std::byte, 64> bytes;
  while (auto const n = co_await peer.read_some(bytes)) co_await peer.write_all(std::span(bytes).first(n));
}

skua::task<> compute(unsigned size, std::atomic<bool> const& enough) {
  while (!enough) bench::require(co_await bench::fib(size) == bench::fib_value(size));
}

// Microseconds of each round trip: one at a time, a millisecond apart.
std::vector<double> round_trips(std::uint16_t port, double seconds) {
  int const fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  bench::require(::connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0);
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  std::vector<double> us;
  std::array<char, 64> bytes{};
  for (auto const end = clock_type::now() + std::chrono::duration<double>(seconds); clock_type::now() < end;) {
    auto const begin = clock_type::now();
    bench::require(::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL) == 64 && ::recv(fd, bytes.data(), bytes.size(), MSG_WAITALL) == 64);
    us.push_back(std::chrono::duration<double, std::micro>(clock_type::now() - begin).count());
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  ::close(fd);
  return us;
}

} // namespace

int main(int argc, char** argv) {
  unsigned workers = 2, size = 39;
  double seconds = 5;
  example::command_line line("echo_under_load", "Round trips to an echo task, at rest and while every worker runs fib.");
  line.number("--workers", workers, 1, 1024, "worker threads");
  line.number("--fib", size, 1, 60, "its argument");
  line.number("--seconds", seconds, 0.01, 3600, "of each part");
  line.flag("--smoke", bench::smoke(), bench::smoke_help);
  line.parse(argc, argv);
  if (bench::smoke()) seconds = 0.05, size = 20;

  std::puts(bench::processor().c_str());
  for (bool const loaded : {false, true}) {
    skua::runtime rt({.workers = workers});
    std::atomic<bool> enough{false};
    std::vector<skua::join_handle<>> busy;
    for (unsigned i = 0; loaded && i != workers; ++i) busy.push_back(rt.spawn(compute, size, std::ref(enough)));
    auto listener = skua::tcp_listener::bind(skua::endpoint::loopback(0));
    auto const port = listener.local_endpoint().port();
    auto server = rt.spawn(echo, std::move(listener));
    std::vector<double> const us = round_trips(port, seconds);
    enough = true;
    rt.block_on([](auto s, auto b) -> skua::task<> {
      co_await s;
      for (auto& h : b) co_await h;
    },
                std::move(server), std::move(busy));
    auto const at = [&](double q) { return bench::quantile(us, q); };
    std::printf("%-24s %6zu round trips   us: p50 %.0f   p90 %.0f   p99 %.0f   max %.0f\n", loaded ? "fib on every worker" : "at rest", us.size(), at(.5),
                at(.9), at(.99), at(1));
  }
}
