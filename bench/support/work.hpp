// SPDX-License-Identifier: Apache-2.0
// Work of a known length: arithmetic that no compiler removes, calibrated when the program starts. It reads no clock while it runs.
#pragma once
#include "measure.hpp"
#include <cstdint>

namespace bench {

[[gnu::noinline]] inline std::uint64_t arithmetic(long rounds) {
  std::uint64_t x = 88172645463325252ull;   // xorshift64 (Marsaglia, 2003)
  for (long i = 0; i < rounds; ++i) x ^= x << 13, x ^= x >> 7, x ^= x << 17;
  return x;
}

// How many rounds take `ns`. The fastest of 20 samples counts: the others were disturbed.
inline long rounds_for(double ns) {
  static double const rounds_per_ns = [] {
    constexpr long sample = 200'000;
    double best = 1e18;
    std::uint64_t volatile sink = 0;
    for (int i = 0; i < 20; ++i) {
      double const start = wall_ns();
      sink = sink + arithmetic(sample);
      best = std::min(best, wall_ns() - start);
    }
    return static_cast<double>(sample) / best;
  }();
  return static_cast<long>(ns * rounds_per_ns);
}

} // namespace bench
