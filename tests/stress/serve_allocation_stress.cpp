// SPDX-License-Identifier: Apache-2.0
// Memory runs out at every point of a server (allocation_stress.cpp says how): it begins or it does not, and when it has begun it goes on, whatever becomes of
// single connections, until it is stopped.
//
// usage: serve_allocation_stress [--seconds S] [--workers N]      --seconds is ignored: it ends when it has passed
#include "skua/detail/config.hpp"
#if SKUA_TSAN
#include <cstdio>
int main() {
  std::puts("skipped: operator new belongs to ThreadSanitizer");
  return 77;
}
#else
#include "io/descriptor.hpp"
#include "skua/skua.hpp"
#include "tests/support/failing_memory.hpp"
#include <array>
#include <system_error>
#include <utility>

namespace {

task<> echo(skua::tcp_stream s) {
  value const mine(0);
  std::array<std::byte, 16> b;
  try {
    while (std::size_t const n = co_await s.read_some(b)) co_await s.write_all(skua::const_buffer(b).first(n));
  } catch (std::system_error const&) {   // a client without memory has gone
  }
}

// False: it was refused, or nobody listens any more, or the server waits for memory: then there is some again.
task<bool> exchange(skua::tcp_stream& s, skua::endpoint at) {
  try {
    s = co_await skua::tcp_stream::connect(at);
    std::array<std::byte, 1> b{};
    co_await s.write_all(b);
    co_await skua::timeout(200ms, s.read_exactly(b));
    co_return true;
  } catch (std::system_error const&) {
  } catch (skua::timeout_error const&) {
    if (failed != 0) left = -1;
  }
  co_return false;
}

task<> servers() {
  auto listener = skua::tcp_listener::bind(skua::endpoint::loopback(0));
  auto const at = listener.local_endpoint();
  auto server = skua::spawn(skua::serve(std::move(listener), echo));
  bool begun = false;
  for (int i = 0; i != 3; ++i) {
    skua::tcp_stream s;
    while (!co_await exchange(s, at)) {
      if (!server.done()) continue;
      STRESS_CHECK(!begun);
      co_await server;   // rethrows
    }
    begun = true;
  }
  server.request_stop();
  try {
    co_await server;
  } catch (skua::task_stopped const&) {
  }
}

constexpr program programs[] = {{"servers", servers}};

} // namespace

int main(int argc, char** argv) {
  stress_options const o(argc, argv);
  for (unsigned workers = 1; workers <= o.workers; ++workers) {
    skua::runtime rt(expecting_failures(workers));
    every_program(rt, programs);
  }
  STRESS_CHECK(skua::detail::open_descriptors() == 0);
  return nothing_is_left();
}
#endif
