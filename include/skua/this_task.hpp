// SPDX-License-Identifier: Apache-2.0
// What a task can ask and do about itself.
#pragma once
#include "detail/operation.hpp"
#include "detail/task_header.hpp"
#include <coroutine>
#include <cstdint>
#include <string_view>

namespace skua {

namespace detail {

// Always ready, so it can never be in flight, and is never armed: a request finds the branch running, and is seen at its next checkpoint.
inline bool withdraw_never(operation&) noexcept { return false; }
inline constexpr operation_kind yield_kind{"yield", withdraw_never};

class [[nodiscard("yield does nothing until it is awaited")]] yield_awaiter : operation {
public:
  yield_awaiter() noexcept : operation(yield_kind) {}
  bool await_ready() const noexcept { return false; }
  SKUA_INLINE std::coroutine_handle<> await_suspend(own_coroutine h) {
    if (!begin(*this, h)) [[unlikely]] return unwind(h.address());
    tl.queue.push(item_of(*this, kind::woken));   // behind everything else; may throw before any effect
    if (tl.run_budget == 0) [[unlikely]] return std::noop_coroutine();
    --tl.run_budget;
    // The LIFO slot as well: no other turn looks into it while a task yields again and again.
    if (item const x = tl.queue.lifo.take()) return next_or_loop(x);
    return next_or_loop(tl.queue.take_oldest());
  }
  void await_resume() const noexcept {}
};

class [[nodiscard("checkpoint does nothing until it is awaited")]] checkpoint_awaiter : operation {
public:
  checkpoint_awaiter() noexcept : operation(yield_kind) {}
  bool await_ready() const noexcept { return !attention(); }
  std::coroutine_handle<> await_suspend(own_coroutine h) {
    if (!begin(*this, h)) return unwind(h.address());
    return h;
  }
  void await_resume() const noexcept {}
};

} // namespace detail

namespace this_task {

// Lets the other tasks that are ready on this worker run first. A suspension point. Stop: the task is unwound.
inline detail::yield_awaiter yield() noexcept { return {}; }

// Ends the task here if its stop was requested; otherwise goes on at once, at the cost of one load. For long computations.
inline detail::checkpoint_awaiter checkpoint() noexcept { return {}; }

// Was a stop requested of the running branch? For loops that want to finish something first; the next suspension point ends the task all the
// same. On a worker only; false elsewhere. May throw bad_alloc while a stop is under way somewhere.
inline bool stop_requested() { return detail::stop_requested(); }

// Why; none if no stop was requested. What lies furthest out counts: a shutdown dominates a timeout; what lies outside of a shield does not count.
// to_string() has words for it.
skua::stop_reason stop_reason();

// Unique in the process, never reused; 0 outside a task.
std::uint64_t id() noexcept;
// As given by spawn(named(..), ..); empty if none was. Valid until the task ends.
std::string_view name() noexcept;

} // namespace this_task

} // namespace skua
