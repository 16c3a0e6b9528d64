// SPDX-License-Identifier: Apache-2.0
// condition_variable: wait, under a mutex, until somebody says that something has changed.
#pragma once
#include "detail/mutex_core.hpp"
#include "mutex.hpp"
#include "task.hpp"
#include "this_task.hpp"
#include "time.hpp"
#include "timeout.hpp"
#include <chrono>
#include <coroutine>
#include <cstdint>
#include <functional>
#include <utility>

namespace skua {

namespace detail {

inline bool& notified_alone(waiter_links& w) noexcept { return static_cast<lock_operation&>(static_cast<waiter&>(w)).alone; }
inline constexpr operation_kind condition_kind{"condition_variable", lock_operation::withdraw_this};

} // namespace detail

// Tasks wait, having locked the mutex that belongs to it, until it is notified; they go on owning the mutex again. As std::condition_variable, except
// that the mutex is bound by the constructor.
//
// A wait is queued and gives the mutex up in one step: a notification that comes after is not missed. Who is notified moves to those that wait for the mutex,
// in one step as well: a notification wakes nobody just to find the mutex taken.
//
// Thread safety: wait on workers; notify_.. from any thread, with or without the mutex.
// Stop: a wait is a suspension point. A stopped wait does *not* lock the mutex again (its owner might be waiting for the stopped task): the scoped_lock is
// left empty, and destructors that run then must not rely on the mutex. Nothing is lost: if the stopped task had been the one that notify_one chose, the
// next one is notified in its place. If the mutex had been handed to it already, it goes on, and its next suspension point sees the stop (S4).
// Errors: usage_error if the lock does not own this condition's mutex (bad_alloc at a branch's first suspension).
// Lifetime: must outlive its waits; the mutex must outlive it. Destroying it while tasks wait ends the process.
// Fairness: first waits, first notified. A wait allocates nothing. wait(lock) may return without a notification, for example when the one that was notified
// has been stopped: check what you wait for, or use the forms with a predicate.
//
//     auto lock = co_await m.lock();
//     co_await changed.wait(lock, [&] { return !queue.empty(); });
class condition_variable {
public:
  explicit condition_variable(mutex& m) noexcept : mutex_(m), waiting_(std::uint64_t{1} << 63) {}
  condition_variable(condition_variable const&) = delete;
  ~condition_variable() { SKUA_CHECK(waiting_.empty(), "a condition_variable was destroyed while tasks wait for it"); }

  class [[nodiscard("wait does nothing until it is awaited")]] awaiter : detail::lock_operation {
  public:
    bool await_ready() const noexcept { return false; }
    std::coroutine_handle<> await_suspend(detail::own_coroutine h) {
      if (lock_.mutex_ == nullptr || &lock_.mutex_->state_ != &state) [[unlikely]]
        detail::not_locked("skua: condition_variable::wait needs a lock on its own mutex");
      return start_waiting(h, lock_.mutex_);
    }
    void await_resume() noexcept { lock_.mutex_ = &mutex_; }

  private:
    friend class condition_variable;
    awaiter(condition_variable& c, scoped_lock& lock) noexcept
        : lock_operation(detail::condition_kind, c.mutex_.state_, &c.waiting_), mutex_(c.mutex_), lock_(lock) {}
    mutex& mutex_;
    scoped_lock& lock_;
  };
  // Until it is notified. `lock` owns the mutex, and does so again afterwards.
  awaiter wait(scoped_lock& lock) noexcept { return awaiter(*this, lock); }

  // Until `condition()` is true; it is called with the mutex held. Costs the frame of a coroutine.
  template <class F>
  task<> wait(scoped_lock& lock, F condition) {
    co_await this_task::checkpoint();   // S1: also if there is nothing to wait for
    while (!condition()) co_await wait(lock);
  }
  // The same, but for so long at most. What `condition()` says in the end; the mutex is owned again in either case. Costs two
  // frames.
  template <class Rep, class Period, class F>
  task<bool> wait_for(scoped_lock& lock, std::chrono::duration<Rep, Period> limit, F condition) {
    bool late = false;
    try {
      co_await timeout(limit, wait(lock, std::ref(condition)));
    } catch (timeout_error const&) {
      late = true;
    }
    if (!late) co_return true;
    if (!lock) lock = co_await mutex_.lock();
    co_return condition();
  }

  // The one that has waited longest goes on. Nothing if nobody waits: notifications are not kept.
  void notify_one() noexcept { detail::pass_mutex(mutex_.state_.notify(waiting_, false, detail::notified_alone)); }
  // All that wait now go on, one after the other.
  void notify_all() noexcept { detail::pass_mutex(mutex_.state_.notify(waiting_, true, detail::notified_alone)); }

private:
  mutex& mutex_;
  detail::wait_list waiting_;   // under the mutex's own lock
};

} // namespace skua
