// SPDX-License-Identifier: Apache-2.0
// sleep_for, sleep_until.
#pragma once
#include "detail/timer.hpp"
#include "this_task.hpp"
#include "timeout.hpp"
#include <chrono>
#include <concepts>

namespace skua {

namespace detail {

inline bool withdraw_sleep(operation& op) noexcept { return disarm_timer(static_cast<timer_operation&>(op)); }
inline constexpr operation_kind sleep_kind{"sleep", withdraw_sleep};

class [[nodiscard("sleep_for does nothing until it is awaited")]] sleep_awaiter : timer_operation {
public:
  explicit sleep_awaiter(std::uint64_t when) noexcept : timer_operation(sleep_kind) { deadline_ns = when; }
  // One that is kept is not armed itself, for that writes its deadline_ns; and one that is not needs no second place in the frame for its delay.
  template <std::same_as<sleep_awaiter&> A>   // GCC tries one that is no template for rvalues, too, and fails
  friend sleep_awaiter operator co_await(A&& kept) noexcept {
    return sleep_awaiter(kept.deadline_ns);
  }
  bool await_ready() const noexcept { return false; }
  SKUA_INLINE std::coroutine_handle<> await_suspend(own_coroutine h) {
    if (!begin(*this, h)) [[unlikely]] return unwind(h.address());
    arm_timer(*this, deadline());
    return suspend(*this);
  }
  void await_resume() const noexcept {}

  std::uint64_t deadline() const noexcept { return deadline_from_now(deadline_ns); }   // if it begins now; for select as well
};

} // namespace detail

// Suspends the task for at least `d`, which counts from the await (in a select: from on()). Zero and negative durations yield once. Resolution:
// sub-millisecond; from one microsecond to more than a year. O(1) to arm and disarm, no allocation.
//
// Thread safety: on workers only. Stop: the sleep ends at once and the task is unwound. Errors: none (bad_alloc at a branch's first suspension).
template <class Rep, class Period>
SKUA_INLINE detail::sleep_awaiter sleep_for(std::chrono::duration<Rep, Period> d) noexcept {
  return detail::sleep_awaiter(detail::delay_of(d));
}
// Until a time of skua::clock, or of std::chrono::steady_clock or system_clock (converted once, in the call: later changes of the system clock are not seen).
// What has passed, time_point::min() included, yields once; what is 146 years or more behind the clock's epoch, time_point::max() included, never comes.
template <class Clock, class Duration>
detail::sleep_awaiter sleep_until(std::chrono::time_point<Clock, Duration> t) noexcept {
  std::int64_t const ns = detail::ns_at_most(t.time_since_epoch());   // t - now() may overflow, and so may the conversion of either
  if (ns >= detail::most_ns) return detail::sleep_awaiter(detail::timer_never_ns);
  if constexpr (std::same_as<Clock, clock>) {
    return detail::sleep_awaiter(ns < 0 ? 0 : static_cast<std::uint64_t>(ns));
  } else {   // the difference fits: both lie between -most_ns and most_ns
    std::chrono::nanoseconds const delay(ns - detail::ns_at_most(Clock::now().time_since_epoch()));
    return detail::sleep_awaiter(detail::deadline_from_now(detail::delay_of(delay)));
  }
}

} // namespace skua
