// SPDX-License-Identifier: Apache-2.0
// A time that is not before now, for relative deadlines, at the price of a time-stamp counter: 10 ns in place of 25.
//
// Between two readings of the real clock, `resync_us` apart at most, it extrapolates by the counter, with a rate that it measures as it goes and takes a
// thousandth too fast. So it is never behind the clock (a sleep of d never ends before d has passed), and ahead by 0.1 us as a rule, 1.2 at most. It is
// no clock: two workers' values differ by that much, so what a user can read must come from the driver.
//
//     no rate known (the first 10 ms)      every call reads the clock
//     counter within `resync_us` of base   extrapolates
//     otherwise                            reads the clock; measures the rate since the anchor, if that is 10 ms ago, and moves the anchor
//
// INV-TICK-1  The value returned is >= the clock's at the time of the call, as long as clock and counter keep their relative rate to 0.1 % over
//             10 ms (a clock that is slewed changes it by 0.05 %).
// A thread that loses its processor between two readings of a pair would measure nonsense: the counter is read on both sides of the clock, and the pair
// dropped when they are far apart.
//
// Only where the counter is what the kernel itself keeps time by (clocksource "tsc"): it runs at one rate, and alike on all processors. And
// only where it goes up by one: not on aarch64.
//
// Thread safety: one per worker, used by it alone. Checked by tests/unit/tick_clock_test.cpp.
#pragma once
#include "skua/detail/config.hpp"
#include <cstdint>

namespace skua::detail {

class tick_clock {
public:
  static constexpr std::uint64_t resync_us = 100;
  static constexpr std::uint64_t baseline_us = 10'000;

  // 0 ticks a microsecond: there is no such counter; every call reads the clock.
  explicit tick_clock(std::uint64_t ticks_per_us = 0) noexcept : ticks_per_us_(ticks_per_us) {}

  // `clock()`: ns; `counter()`: ticks.
  template <class Clock, class Counter>
  SKUA_INLINE std::uint64_t now(Clock&& clock, Counter&& counter) noexcept {
    std::uint64_t const ticks = counter() - base_ticks_;
    if (ticks < valid_ticks_) [[likely]]
      return base_ns_ + (ticks * ns_per_tick_ >> 32);
    return resync(clock, counter);
  }

private:
  template <class Clock, class Counter>
  SKUA_NOINLINE std::uint64_t resync(Clock& clock, Counter& counter) noexcept {
    if (ticks_per_us_ == 0) return clock();
    std::uint64_t const before = counter(), ns = clock(), after = counter();
    if (after - before > ticks_per_us_) return ns;   // 1 us: interrupted
    std::uint64_t const elapsed = before - anchor_ticks_;
    if (anchor_ns_ == 0 || elapsed > 1000 * baseline_us * ticks_per_us_) {   // the first time, or too long ago for 64 bits
      anchor_ns_ = ns;
      anchor_ticks_ = before;
      valid_ticks_ = 0;
    } else if (elapsed >= baseline_us * ticks_per_us_) {
      std::uint64_t const exact = ((ns - anchor_ns_) << 20) / elapsed + 1;   // 20 fractional bits: a millionth
      ns_per_tick_ = (exact + (exact >> 10)) << 12;
      anchor_ns_ = ns;
      anchor_ticks_ = before;
      valid_ticks_ = resync_us * ticks_per_us_;
    }
    base_ns_ = ns + 1 + (ns_per_tick_ >> 32);   // a coarse counter's tick had begun before
    base_ticks_ = before;   // before: the clock was read later, so what is added begins too early
    return ns;
  }

  std::uint64_t base_ticks_ = 0, valid_ticks_ = 0, base_ns_ = 0, ns_per_tick_ = 0;
  std::uint64_t anchor_ns_ = 0, anchor_ticks_ = 0;
  std::uint64_t ticks_per_us_;
};

} // namespace skua::detail
