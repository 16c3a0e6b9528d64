// SPDX-License-Identifier: Apache-2.0
// Lost wake-ups: work that comes while workers are about to sleep, nap, poll or wake. Single tasks and small batches from a thread that is no worker, at
// gaps of 0 to 300 us (a nap, a search and a wake-up all lie within); sleepers whose timers do the same from inside; and now and then a task that does
// not return before a second one, which it has spawned, has run elsewhere. A task that has not run after `limit` is lost.
//
// Half of the rounds run on one core, where whoever must act next often does not run.
//
// usage: idle_stress [--seconds S] [--seed N] [--workers N] [--backend NAME] [--rounds N]
#include "skua/runtime.hpp"
#include "skua/time.hpp"
#include "tests/support/stress.hpp"
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <sched.h>
#include <thread>
#include <vector>

namespace {

using namespace skua_test;
using clock_type = std::chrono::steady_clock;
constexpr auto limit = std::chrono::seconds(20);   // of a machine that may be busy with other things: lost work never comes

std::atomic<std::uint64_t> done{0};

skua::task<void> count_one() {
  done.fetch_add(1, std::memory_order_release);
  co_return;
}
skua::task<void> nap_and_count(std::chrono::microseconds d) {
  co_await skua::sleep_for(d);
  done.fetch_add(1, std::memory_order_release);
}
// Holds its worker until another one has run what it spawned.
skua::task<void> hold_until_helped() {
  std::uint64_t const before = done.load(std::memory_order_acquire);
  skua::spawn_detached(count_one);
  while (done.load(std::memory_order_acquire) == before) std::this_thread::yield();
  done.fetch_add(1, std::memory_order_release);
  co_return;
}

void await_done(std::uint64_t n, clock_type::duration& slowest) {
  auto const began = clock_type::now();
  while (done.load(std::memory_order_acquire) < n) {
    STRESS_CHECK(clock_type::now() - began < limit);
    std::this_thread::yield();
  }
  slowest = std::max(slowest, clock_type::now() - began);
}

void pause(std::chrono::microseconds d) {
  auto const until = clock_type::now() + d;
  while (clock_type::now() < until) std::this_thread::yield();
}

// A runtime, and a few thousand submissions.
void round(rng& random, stress_options const& options, bool one_core, clock_type::duration& slowest) {
  cpu_set_t all, one;
  sched_getaffinity(0, sizeof all, &all);
  if (one_core) {
    CPU_ZERO(&one);
    for (int i = 0; i != CPU_SETSIZE; ++i)
      if (CPU_ISSET(i, &all)) {
        CPU_SET(i, &one);
        break;
      }
    sched_setaffinity(0, sizeof one, &one);   // workers inherit it
  }
  {
    skua::runtime rt({.workers = options.workers, .backend = options.backend});
    done = 0;
    std::uint64_t expected = 0;
    for (int i = 0; i != 2000; ++i) {
      pause(std::chrono::microseconds(random.below(300)));
      switch (random.below(8)) {
      case 0:
        rt.spawn(nap_and_count, std::chrono::microseconds(random.below(300))).detach();
        ++expected;
        break;
      case 1:
        if (options.workers > 1) {
          await_done(expected, slowest);   // one at a time: two of them could hold all workers
          rt.spawn(hold_until_helped).detach();
          await_done(expected += 2, slowest);
        }
        break;
      case 2:
        for (unsigned n = random.below(5); n != 0; --n, ++expected) rt.spawn(count_one).detach();
        break;
      default:
        rt.spawn(count_one).detach();
        ++expected;
      }
      if (!random.one_in(3)) await_done(expected, slowest);
    }
    await_done(expected, slowest);
  }
  sched_setaffinity(0, sizeof all, &all);
}

} // namespace

int main(int argc, char** argv) {
  stress_options const options(argc, argv);
  clock_type::duration slowest[2] = {};
  std::uint64_t r = 0;
  for (; options.go_on(r); ++r) {
    seed_of_round = options.seed + r;
    rng random{seed_of_round};
    bool const one_core = r % 2 != 0;
    round(random, options, one_core, slowest[one_core]);
  }
  auto const ms = [](clock_type::duration d) { return std::chrono::duration<double, std::milli>(d).count(); };
  std::printf("%llu rounds of 2000; slowest %.2f ms, on one core %.2f ms\n", static_cast<unsigned long long>(r), ms(slowest[0]), ms(slowest[1]));
}
