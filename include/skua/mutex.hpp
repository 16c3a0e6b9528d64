// SPDX-License-Identifier: Apache-2.0
// mutex: at most one task at a time owns it. scoped_lock gives it up at the end of the scope.
#pragma once
#include "detail/leaf_frame.hpp"
#include "detail/mutex_core.hpp"
#include "detail/waiter.hpp"
#include "error.hpp"
#include <coroutine>
#include <new>
#include <type_traits>
#include <utility>

namespace skua {

class condition_variable;
class mutex;

namespace detail {

using mutex_state = mutex_core<real_sync, operation, select_waiters>;

// Somebody who waits for a mutex. It may be called in vain and have to wait again, hence the leaf frame (leaf_frame.hpp).
struct lock_operation : waiter, leaf_frame {
  enum class turn : unsigned char {
    first,    // it went through the queue without waiting, for fairness; it has not been in the list
    called,   // the mutex was free; it is to try again
    owns      // it was handed the mutex, which is delivered, whatever comes (S4)
  };
  mutex_state& state;
  wait_list* condition;      // of a condition variable's wait; null: it only wants the mutex
  turn how = turn::first;
  bool alone = false;        // notified, by a notification for one; under the mutex's lock
  lock_operation(operation_kind const& k, mutex_state& m, wait_list* c = nullptr) noexcept : waiter(k), leaf_frame(go_on_from), state(m), condition(c) {}

  std::coroutine_handle<> start(std::coroutine_handle<> h);
  // Gives the mutex up and waits at `condition`. `owned` is cleared with it; as it was, if a stop comes first.
  std::coroutine_handle<> start_waiting(std::coroutine_handle<> h, mutex*& owned);
  static bool withdraw_this(operation& op) noexcept;

private:
  static std::coroutine_handle<> go_on_from(leaf_frame& f) noexcept;
  std::coroutine_handle<> yield_first() noexcept;
  std::coroutine_handle<> again() noexcept;
};
static_assert(std::is_trivially_destructible_v<lock_operation>);
inline constexpr operation_kind lock_kind{"mutex", lock_operation::withdraw_this};

// After the state has let go of it: completes whom it has taken.
SKUA_INLINE void pass_mutex(mutex_state::passed p) noexcept {
  if (p.who == nullptr) [[likely]] return;
  if (select_waiters::is(*p.who)) [[unlikely]] return wake(*p.who);
  auto& op = *static_cast<lock_operation*>(static_cast<waiter*>(p.who));
  op.how = p.owns ? lock_operation::turn::owns : lock_operation::turn::called;
  wake(op);
}

[[noreturn]] SKUA_COLD void not_locked(char const* what);   // usage_error

} // namespace detail

// Owns a locked mutex, or none. Movable, also to another task.
//
// Thread safety: one thread at a time. Lifetime: the mutex must outlive it.
class [[nodiscard("the lock is given up at once if nobody keeps it")]] scoped_lock {
public:
  scoped_lock() noexcept = default;
  scoped_lock(scoped_lock&& o) noexcept : mutex_(std::exchange(o.mutex_, nullptr)) {}
  scoped_lock& operator=(scoped_lock&& o) noexcept {
    if (this != &o) {
      if (mutex_ != nullptr) unlock();
      mutex_ = std::exchange(o.mutex_, nullptr);
    }
    return *this;
  }
  SKUA_INLINE ~scoped_lock() {
    if (mutex_ != nullptr) unlock();
  }
  // False: it owns none (moved from, unlocked, a try_lock that failed, a condition_variable's wait that was stopped).
  explicit operator bool() const noexcept { return mutex_ != nullptr; }
  bool owns_lock() const noexcept { return mutex_ != nullptr; }

  // Gives the mutex up before the end of the scope. usage_error if it owns none.
  SKUA_INLINE void unlock();
  // Leaves the mutex locked, for somebody who will call mutex::unlock_released().
  mutex* release() noexcept { return std::exchange(mutex_, nullptr); }

private:
  friend class mutex;   // and its awaiters
  friend class condition_variable;
  SKUA_INLINE explicit scoped_lock(mutex& m) noexcept : mutex_(&m) {}
  mutex* mutex_ = nullptr;
};

// Owned by one task at a time. Not recursive.
//
// Thread safety: lock on workers; try_lock and giving it up from any thread.
// Stop: lock is a suspension point; a stopped lock owns nothing, and nobody was held up by it. If the mutex had been handed over before, the task goes on
// with it, and its next suspension point sees the stop (S4): a mutex is never left owned by nobody.
// Errors: usage_error when unlocked without being locked (bad_alloc at a branch's first suspension).
// Lifetime: the next owner may destroy it at once, also while the last one is still inside unlock(), if no other task is inside lock(). Destroying it while
// it is locked or awaited ends the process.
// Fairness: bounded barging. Whoever comes while it is free takes it, also past those who wait; they are called in the order of their arrival, and one
// that was called and finds it taken is handed it by the next unlock. So a task at the front is overtaken only until it has run once.
// An uncontended lock and unlock cost one atomic operation each; a wait allocates nothing.
//
// It may be held across suspensions. For short sections that never suspend, a std::mutex is as good, and can be used outside of tasks.
//
//     auto const lock = co_await m.lock();
class mutex {
public:
  mutex() noexcept = default;
  mutex(mutex const&) = delete;
  ~mutex() { SKUA_CHECK(state_.unused(), "a mutex was destroyed while it is locked or awaited"); }

  // Only a lock that has to wait makes its operation: most do not.
  class [[nodiscard("lock does nothing until it is awaited")]] awaiter {
  public:
    awaiter(awaiter const&) = delete;
    ~awaiter() {}   // nothing of the operation needs to be destroyed
    SKUA_INLINE bool await_ready() noexcept { return !detail::attention() && detail::spend_budget() && mutex_.state_.try_lock(); }
    std::coroutine_handle<> await_suspend(detail::own_coroutine h) {
      return (::new (static_cast<void*>(&op_)) detail::lock_operation(detail::lock_kind, mutex_.state_))->start(h);
    }
    SKUA_INLINE scoped_lock await_resume() noexcept { return scoped_lock(mutex_); }
    // For skua's own parts: as a branch of a select.
    struct parts_type {
      mutex& of;
    };
    parts_type parts() const noexcept { return {mutex_}; }
    class selected;

  private:
    friend class mutex;
    SKUA_INLINE explicit awaiter(mutex& m) noexcept : mutex_(m) {}
    mutex& mutex_;
    union {
      detail::lock_operation op_;
    };
  };
  SKUA_INLINE awaiter lock() noexcept { return awaiter(*this); }

  // An empty scoped_lock if it is owned already. Does not look for a stop: it is no suspension point.
  SKUA_INLINE scoped_lock try_lock() noexcept {
    if (state_.try_lock()) return scoped_lock(*this);
    return {};
  }
  // For scoped_lock::release(). The caller owns it. (It is not called unlock(), or std::lock_guard would compile, lock nothing, and unlock it for its owner.)
  SKUA_INLINE void unlock_released() {
    if (!state_.is_held()) [[unlikely]] detail::not_locked("skua: a mutex was unlocked that is not locked");
    detail::pass_mutex(state_.unlock());
  }

private:
  friend class scoped_lock;
  friend class condition_variable;
  detail::mutex_state state_;
};

class mutex::awaiter::selected : protected detail::waiter {
public:
  using parts_type = awaiter::parts_type;
  static constexpr bool gives_out = true;
  explicit selected(parts_type p) noexcept : waiter(this_kind), mutex_(p.of) {}
  scoped_lock await_resume() noexcept { return scoped_lock(mutex_); }

protected:
  detail::source_lock its_lock() noexcept {
    return {&mutex_.state_, [](void* p, bool locked) noexcept {
              auto& s = *static_cast<detail::mutex_state*>(p);
              locked ? s.lock_list() : s.unlock_list();
            }};
  }
  bool take_now(detail::waiter_ring&) noexcept { return mutex_.state_.take_locked(); }
  void enlist_now() noexcept { mutex_.state_.push_locked(*this); }

private:
  static bool withdraw(detail::operation& op) noexcept {
    auto& self = static_cast<selected&>(op);
    auto const w = self.mutex_.state_.withdraw(self);
    detail::pass_mutex(w.next);
    return w.mine;
  }
  static constexpr detail::operation_kind this_kind{"mutex", withdraw};
  mutex& mutex_;
};

SKUA_INLINE void scoped_lock::unlock() {
  mutex* const m = std::exchange(mutex_, nullptr);
  if (m == nullptr) [[unlikely]] detail::not_locked("skua: this scoped_lock owns no mutex");
  detail::pass_mutex(m->state_.unlock());
}

} // namespace skua
