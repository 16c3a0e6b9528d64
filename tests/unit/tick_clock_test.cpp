// SPDX-License-Identifier: Apache-2.0
// The extrapolated time: never behind the clock, hardly ahead, whatever the counter's rate and however the reads are disturbed.
#include "scheduler/tick_clock.hpp"
#include "tests/support/stress.hpp"
#include <algorithm>
#include <chrono>
#include <gtest/gtest.h>
#include <thread>

namespace {

using skua::detail::tick_clock;

// A machine: time passes with every read.
struct machine {
  double ns = 1e9, ticks = 5e9;
  double ticks_per_ns = 2.5;
  double read_ns = 20;
  unsigned reads = 0;
  void pass(double d) {
    ns += d;
    ticks += d * ticks_per_ns;
  }
  std::uint64_t clock() {
    ++reads;
    pass(read_ns);
    return static_cast<std::uint64_t>(ns);
  }
  std::uint64_t counter() {
    pass(read_ns / 2);
    return static_cast<std::uint64_t>(ticks);
  }
};

std::uint64_t ask(tick_clock& c, machine& m) {
  return c.now([&] { return m.clock(); }, [&] { return m.counter(); });
}

TEST(TickClock, reads_the_clock_where_there_is_no_counter_to_trust) {
  machine m;
  tick_clock c;
  for (unsigned i = 1; i != 100; ++i) {
    std::uint64_t const told = ask(c, m);
    EXPECT_EQ(told, static_cast<std::uint64_t>(m.ns));
    EXPECT_EQ(m.reads, i);
  }
}

TEST(TickClock, reads_the_clock_once_in_100_us_when_it_knows_the_rate) {
  machine m;
  tick_clock c(2500);
  while (m.ns < 1.02e9) (void)ask(c, m);
  m.reads = 0;
  while (m.ns < 1.03e9) (void)ask(c, m);
  EXPECT_NEAR(m.reads, 100, 5);
}

TEST(TickClock, is_never_behind_the_clock_and_hardly_ahead) {
  for (std::uint64_t seed = 0; seed != 300; ++seed) {
    SCOPED_TRACE(seed);
    skua_test::rng random{seed};
    machine m;
    m.ticks_per_ns = (10 + random.below(5000)) / 1000.0;   // 10 MHz to 5 GHz
    double const nominal = m.ticks_per_ns;
    // Calibrated to a thousandth, as at the scheduler's start.
    tick_clock c(static_cast<std::uint64_t>(m.ticks_per_ns * (999 + random.below(3))));
    m.read_ns = 1 + random.below(100);
    for (int i = 0; i != 5000; ++i) {
      m.pass(random.one_in(100) ? 1e6 * random.below(30) : random.below(40'000));
      if (random.one_in(500)) m.ticks_per_ns = nominal * (1 + (random.below(11) - 5.0) / 20'000);   // slewed: by 0.05 % from one extreme to the other
      auto const before = static_cast<std::uint64_t>(m.ns);
      std::uint64_t const told = ask(c, m);
      ASSERT_GE(told, before);
      ASSERT_LE(told, static_cast<std::uint64_t>(m.ns) + 1200);
    }
  }
}

TEST(TickClock, of_this_machine_is_not_behind_the_steady_clock) {
  using namespace std::chrono;
  auto const clock = [] { return static_cast<std::uint64_t>(steady_clock::now().time_since_epoch().count()); };
  auto const from = clock(), from_ticks = skua::detail::cpu_ticks();
  std::this_thread::sleep_for(2ms);
  tick_clock c((skua::detail::cpu_ticks() - from_ticks) * 1000 / (clock() - from));
  for (auto const end = clock() + 200'000'000; clock() < end;) {
    std::uint64_t const before = clock();
    std::uint64_t const told = c.now(clock, skua::detail::cpu_ticks);
    ASSERT_GE(told, before);
  }
}

} // namespace
