// SPDX-License-Identifier: Apache-2.0
// timeout, timeout_at: a limit around a task.
//
// The task runs as a branch of its own, joined with a timer. The timer is a party of the join (INV-STOP-5): when it fires, it stops the
// branch and arrives; when the branch ends first, the timer is disarmed. If the disarming meets a timer that fires, the one that arrives last goes on
// with the parent; nobody waits.
// detail/timeout_core.hpp counts the parties and decides the outcome (INV-TIMEOUT-1).
#pragma once
#include "clock.hpp"
#include "detail/any_awaitable.hpp"
#include "detail/duration.hpp"
#include "detail/single_join.hpp"
#include "detail/timeout_core.hpp"
#include "detail/timer.hpp"
#include "error.hpp"
#include "task.hpp"
#include <chrono>

namespace skua {

namespace detail {

// A time that is kept until it is known from when it counts: a deadline, or with bit 63 a delay. Saturates: far away means never.
inline constexpr std::uint64_t delay_bit = std::uint64_t{1} << 63;
template <class Rep, class Period>
SKUA_INLINE std::uint64_t delay_of(std::chrono::duration<Rep, Period> d) noexcept {
  if (d <= d.zero()) return delay_bit;
  std::int64_t const ns = ns_at_most(d);
  return ns < most_ns ? delay_bit | static_cast<std::uint64_t>(ns) : timer_never_ns;
}
SKUA_INLINE std::uint64_t deadline_of(clock::time_point t) noexcept {
  auto const ns = t.time_since_epoch().count();
  if (ns >= most_ns) return timer_never_ns;   // as sleep_until has it: virtual time must not jump there
  return ns < 0 ? 0 : static_cast<std::uint64_t>(ns);
}
// It counts from now.
SKUA_INLINE std::uint64_t deadline_from_now(std::uint64_t when) noexcept {
  if ((when & delay_bit) == 0 || when == timer_never_ns) return when;
  std::uint64_t const delay = when & ~delay_bit;
  return delay == 0 ? clock_now_ns() : deadline_base_ns() + delay;
}

struct timeout_join : special_join, timer_entry {
  timeout_parties<real_sync> parties;
};
verdict timeout_decides(special_join& j, bool from_outside) noexcept;   // scheduler/timeout.cpp

template <class T>
class [[nodiscard("timeout does nothing until it is awaited")]] timeout_awaiter : protected single_join<T, timeout_join> {
  using base = single_join<T, timeout_join>;

public:
  using value_type = T;
  timeout_awaiter(std::uint64_t when, task<T>&& t) : base(std::move(t)) { this->deadline_ns = when; }
  using base::await_ready;
  SKUA_INLINE std::coroutine_handle<> await_suspend(own_coroutine h) {
    if (tl.words == nullptr) [[unlikely]] not_on_a_worker();
    this->deadline_ns = deadline_from_now(this->deadline_ns);
    return start(h, true);
  }
  SKUA_INLINE T await_resume() {
    if (this->lost_its_value() && !any_failed(*this)) [[unlikely]] {
      discard_lost(*this);
      free_records(*this);
      throw timeout_error{};
    }
    return this->take_or_rethrow();
  }

protected:
  // `armed` false: its timer would never come first (deadline.hpp).
  SKUA_INLINE std::coroutine_handle<> start(std::coroutine_handle<> h, bool armed) {
    if (attention() && stopped_at_fork()) [[unlikely]] return unwind(h.address());
    this->prepare(h, 0);
    this->decide = timeout_decides;
    if (armed) {
      this->arrived = branch_arrived;
      arm_timeout(*this, this->deadline_ns);
    }
    return this->enter_branch();
  }

private:
  static bool branch_arrived(special_join& j) noexcept {
    auto& self = static_cast<timeout_join&>(j);
    return disarm_timer(self) || self.parties.arrive();
  }
};

} // namespace detail

// Awaits `t`, but stops it after `d`, which counts from the await.
//
// If t completed or threw, that is the outcome, also if the time is up by then. timeout_error only if this timer stopped it; a stop from outside
// dominates timeout_error, never a value or an error that is there (S10). Of nested timeouts the one that fired throws. What cannot be
// stopped (blocking work that has begun) is waited for: then it returns late (S7). Zero or less: t runs to its first suspension point.
//
// Thread safety: on workers only. Stop: a suspension point; t is stopped and awaited. Errors: timeout_error; what t throws. Costs no
// allocation beyond t's own frame until t suspends.
//
//     auto reply = co_await skua::timeout(500ms, ask(server));
template <class Rep, class Period, class T>
SKUA_INLINE detail::timeout_awaiter<T> timeout(std::chrono::duration<Rep, Period> d, task<T> t) {
  return detail::timeout_awaiter<T>(detail::delay_of(d), std::move(t));
}
// Of any other awaitable (detail/any_awaitable.hpp): timeout(5s, stream.read_some(b)), timeout(5s, handle). A handle that is moved in is dropped
// when the time is up, and its task stopped; one that is not is only no longer awaited. Costs a frame more.
template <class Rep, class Period, detail::other_awaitable A>
auto timeout(std::chrono::duration<Rep, Period> d, A&& a) {
  return timeout(d, detail::as_task(static_cast<A&&>(a)));
}
template <class Rep, class Period, detail::temporary_operation A>
auto timeout(std::chrono::duration<Rep, Period> d, SKUA_LIFETIMEBOUND A&& a) {
  return detail::at_once([&] { return timeout(d, detail::as_task(static_cast<A&&>(a))); });
}
// The same, with an absolute time of skua::clock; time_point::max() never comes.
template <class T>
SKUA_INLINE detail::timeout_awaiter<T> timeout_at(clock::time_point deadline, task<T> t) {
  return detail::timeout_awaiter<T>(detail::deadline_of(deadline), std::move(t));
}
template <detail::other_awaitable A>
auto timeout_at(clock::time_point deadline, A&& a) {
  return timeout_at(deadline, detail::as_task(static_cast<A&&>(a)));
}
template <detail::temporary_operation A>
auto timeout_at(clock::time_point deadline, SKUA_LIFETIMEBOUND A&& a) {
  return detail::at_once([&] { return timeout_at(deadline, detail::as_task(static_cast<A&&>(a))); });
}

} // namespace skua
