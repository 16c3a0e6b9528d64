// SPDX-License-Identifier: Apache-2.0
// interval: ticks at a fixed rate.
//
//     skua::interval every(100ms, skua::missed_tick::skip);
//     for (;;) {
//       co_await every.tick();
//       measure();
//     }
#pragma once
#include "detail/duration.hpp"
#include "detail/timer.hpp"
#include "detail/waiter.hpp"
#include "error.hpp"
#include "timeout.hpp"
#include <chrono>
#include <coroutine>
#include <cstdint>

namespace skua {

// What happens to ticks whose time passed while nobody waited for them.
enum class missed_tick : unsigned char {
  burst,   // they come one after the other, at once, until it has caught up: as many ticks as periods
  delay,   // the next one comes a period after the late one: never two within less than a period
  skip     // they are left out: the next one comes at the next multiple of the period
};

// Ticks every `period`, beginning at once, or at `start`. A tick takes the time at which it was due as its point of reference, so ticks do not drift.
//
// Thread safety: one task at a time. Stop: tick() is a suspension point; a stopped tick has not happened, the next tick() gives it. Allocates nothing.
// Errors: usage_error for a period that is not positive. Lifetime: must outlive its tick().
class interval {
public:
  template <class Rep, class Period>
  explicit interval(std::chrono::duration<Rep, Period> period, missed_tick how = missed_tick::burst)
      : interval(clock::now(), period, how) {}
  template <class Rep, class Period>
  interval(clock::time_point start, std::chrono::duration<Rep, Period> period, missed_tick how = missed_tick::burst)
      : next_ns_(detail::deadline_of(start)), period_ns_(in_ns(period)), how_(how) {}

  class [[nodiscard("tick() does nothing until it is awaited")]] awaiter : detail::timer_operation {
  public:
    explicit awaiter(interval& i) noexcept : timer_operation(kind), interval_(i) {}
    bool await_ready() const noexcept { return !detail::attention() && interval_.is_due() && detail::spend_budget(); }
    std::coroutine_handle<> await_suspend(detail::own_coroutine h) {
      if (!detail::begin(*this, h)) [[unlikely]] return detail::unwind(h.address());
      if (interval_.is_due()) return detail::go_on_fairly(*this);
      detail::arm_timer(*this, interval_.next_ns_);
      return detail::suspend(*this);
    }
    clock::time_point await_resume() const noexcept { return interval_.advance(); }

  private:
    static bool withdraw(detail::operation& op) noexcept { return detail::disarm_timer(static_cast<awaiter&>(op)); }
    static constexpr detail::operation_kind kind{"interval", withdraw};
    interval& interval_;
  };
  // Waits for the next tick; the time at which it was due.
  awaiter tick() noexcept { return awaiter(*this); }

  // When the next tick is due; time_point::max(): never.
  clock::time_point next() const noexcept { return at(next_ns_); }
  // The next tick comes a period from now.
  void reset() noexcept { next_ns_ = later(detail::clock_now_ns(), period_ns_); }

private:
  static clock::time_point at(std::uint64_t ns) noexcept { return ns == detail::timer_never_ns ? clock::time_point::max() : clock::at_ns(ns); }
  // As sleep_until has it: 146 years never pass.
  static std::uint64_t later(std::uint64_t ns, std::uint64_t by) noexcept {
    constexpr auto most = static_cast<std::uint64_t>(detail::most_ns);
    return by < most && ns < most - by ? ns + by : detail::timer_never_ns;
  }
  template <class Rep, class Period>
  static std::uint64_t in_ns(std::chrono::duration<Rep, Period> d) {
    if (!(d > std::chrono::duration<Rep, Period>::zero())) throw usage_error("skua: an interval needs a positive period");   // also what is no number
    return static_cast<std::uint64_t>(detail::ns_at_most(d));
  }
  bool is_due() const noexcept { return detail::clock_now_ns() >= next_ns_; }
  clock::time_point advance() noexcept {
    std::uint64_t const due = next_ns_;
    std::uint64_t const now = detail::clock_now_ns();
    switch (how_) {
    case missed_tick::burst: next_ns_ = later(due, period_ns_); break;
    case missed_tick::delay: next_ns_ = later(now, period_ns_); break;
    case missed_tick::skip: next_ns_ = later(due + (now > due ? (now - due) / period_ns_ * period_ns_ : 0), period_ns_); break;
    }
    return at(due);
  }

  std::uint64_t next_ns_, period_ns_;
  missed_tick how_;
};

} // namespace skua
