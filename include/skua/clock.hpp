// SPDX-License-Identifier: Apache-2.0
// clock: the time by which skua's timers go.
#pragma once
#include "detail/timer.hpp"
#include <chrono>

namespace skua {

// Monotonic, in nanoseconds; under the virtual driver virtual (docs/virtual-time.md).
//
// now(): on a worker, and on the threads of spawn_blocking, the time of their runtime. On any other thread, which belongs to no runtime, that of the kernel's
// CLOCK_MONOTONIC: the same as in every runtime whose time is real; of a runtime whose time is virtual ask runtime::now().
// Thread safety: any thread.
struct clock {
  using duration = std::chrono::nanoseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<clock>;
  static constexpr bool is_steady = true;
  static time_point now() noexcept { return at_ns(detail::clock_now_ns()); }

  // For skua's own parts.
  static time_point at_ns(std::uint64_t ns) noexcept { return time_point(duration(static_cast<rep>(ns))); }
};

} // namespace skua
