// SPDX-License-Identifier: Apache-2.0
// with_deadline, this_task::deadline: the time by which everything inside has to be done.
//
// A deadline is a timeout's (timeout.hpp), looked up from the inside: the running branch is in a chain of joins, across task groups, up to its task's root.
// Nothing is stored in tasks, nothing is copied, and what uses no deadline pays nothing.
#pragma once
#include "detail/any_awaitable.hpp"
#include "timeout.hpp"
#include <cstdint>
#include <optional>
#include <utility>

namespace skua {

namespace detail {

// The earliest deadline around the running branch, up to the next shield; timer_never_ns: none.
std::uint64_t enclosing_deadline_ns() noexcept;   // scheduler/context.cpp

template <class T>
class [[nodiscard("with_deadline does nothing until it is awaited")]] deadline_awaiter : timeout_awaiter<T> {
  using base = timeout_awaiter<T>;

public:
  using value_type = T;
  using base::await_ready;
  using base::await_resume;
  using base::base;
  std::coroutine_handle<> await_suspend(own_coroutine h) {
    if (tl.words == nullptr) [[unlikely]] not_on_a_worker();
    return base::start(h, enclosing_deadline_ns() > this->deadline_ns);   // otherwise the one around it fires first
  }
};

} // namespace detail

namespace this_task {

// The time by which what runs here has to be done: the earliest of all timeouts and deadlines around it. Empty: none.
//
// Inherited by branches (when_all, when_any ..) and by the tasks of a group, for it reaches them; not by what is spawned without a group, for that goes on
// when the time is up. Inside shield and finally's clean-up only what is inside as well counts (S15). Cost: a few loads for each join around it.
inline std::optional<clock::time_point> deadline() noexcept {
  std::uint64_t const ns = detail::enclosing_deadline_ns();
  if (ns == detail::timer_never_ns) return std::nullopt;
  return clock::at_ns(ns);
}

} // namespace this_task

// Awaits `a`, which is stopped at the deadline: as timeout_at(), but it only ever tightens. If an earlier deadline is around it already, it has no effect, and
// no timer: that one stops it, and throws where it was set.
//
// Thread safety, stop, errors, cost: as timeout_at().
template <class T>
auto with_deadline(clock::time_point deadline, task<T> t) {
  return detail::deadline_awaiter<T>(detail::deadline_of(deadline), std::move(t));
}
template <detail::other_awaitable A>
auto with_deadline(clock::time_point deadline, A&& a) {
  return with_deadline(deadline, detail::as_task(static_cast<A&&>(a)));
}
template <detail::temporary_operation A>
auto with_deadline(clock::time_point deadline, SKUA_LIFETIMEBOUND A&& a) {
  return detail::at_once([&] { return with_deadline(deadline, detail::as_task(static_cast<A&&>(a))); });
}

} // namespace skua
