// SPDX-License-Identifier: Apache-2.0
// shared_mutex: many readers, or one writer.
#pragma once
#include "detail/shared_mutex_core.hpp"
#include "detail/waiter.hpp"
#include "error.hpp"
#include <coroutine>
#include <type_traits>
#include <utility>

namespace skua {

class shared_mutex;

// Owns a shared_mutex as a reader, or none. Movable, also to another task. The mutex must outlive it.
class [[nodiscard("the lock is given up at once if nobody keeps it")]] scoped_shared_lock {
public:
  scoped_shared_lock() noexcept = default;
  scoped_shared_lock(scoped_shared_lock&& o) noexcept : mutex_(std::exchange(o.mutex_, nullptr)) {}
  scoped_shared_lock& operator=(scoped_shared_lock&& o) noexcept {
    if (this != &o) {
      unlock();
      mutex_ = std::exchange(o.mutex_, nullptr);
    }
    return *this;
  }
  ~scoped_shared_lock() { unlock(); }
  explicit operator bool() const noexcept { return mutex_ != nullptr; }
  // Before the end of the scope. Nothing if it owns none.
  inline void unlock() noexcept;

private:
  friend class shared_mutex;
  friend class scoped_exclusive_lock;
  explicit scoped_shared_lock(shared_mutex& m) noexcept : mutex_(&m) {}
  shared_mutex* mutex_ = nullptr;
};

// The same for a writer.
class [[nodiscard("the lock is given up at once if nobody keeps it")]] scoped_exclusive_lock {
public:
  scoped_exclusive_lock() noexcept = default;
  scoped_exclusive_lock(scoped_exclusive_lock&& o) noexcept : mutex_(std::exchange(o.mutex_, nullptr)) {}
  scoped_exclusive_lock& operator=(scoped_exclusive_lock&& o) noexcept {
    if (this != &o) {
      unlock();
      mutex_ = std::exchange(o.mutex_, nullptr);
    }
    return *this;
  }
  ~scoped_exclusive_lock() { unlock(); }
  explicit operator bool() const noexcept { return mutex_ != nullptr; }
  inline void unlock() noexcept;
  // Goes on as a reader, in one step: no writer comes in between. It must own the mutex.
  inline scoped_shared_lock downgrade() noexcept;

private:
  friend class shared_mutex;
  explicit scoped_exclusive_lock(shared_mutex& m) noexcept : mutex_(&m) {}
  shared_mutex* mutex_ = nullptr;
};

// Owned by any number of readers, or by one writer. Not recursive: a reader that locks it again may wait for a writer that waits for it.
//
// Thread safety: lock and lock_shared on workers; the try_ forms and giving it up from any thread.
// Stop: lock and lock_shared are suspension points; stopped, they own nothing, and those whom they kept waiting go on. If the mutex had been given to them
// before, the task goes on with it, and its next suspension point sees the stop (S4).
// Errors: none (bad_alloc at a branch's first suspension).
// Lifetime: who owns it alone may destroy it once it has given it up, if no other task is inside an operation on it. Destroying it while it is owned or
// awaited ends the process.
// Fairness: first come, first served. A reader waits behind a writer that came before it, so writers are not starved; readers that stand behind each other
// go on together. Nobody overtakes. A wait allocates nothing.
//
//     auto const reading = co_await m.lock_shared();
class shared_mutex {
public:
  shared_mutex() noexcept = default;
  shared_mutex(shared_mutex const&) = delete;
  ~shared_mutex() { SKUA_CHECK(core_.unused(), "a shared_mutex was destroyed while it is owned or awaited"); }

  template <class Lock>
  class [[nodiscard("lock does nothing until it is awaited")]] awaiter;
  awaiter<scoped_exclusive_lock> lock() noexcept;
  awaiter<scoped_shared_lock> lock_shared() noexcept;

  // An empty lock if it cannot be had at once.
  scoped_exclusive_lock try_lock() noexcept {
    return core_.try_take(true) ? scoped_exclusive_lock(*this) : scoped_exclusive_lock();
  }
  scoped_shared_lock try_lock_shared() noexcept {
    return core_.try_take(false) ? scoped_shared_lock(*this) : scoped_shared_lock();
  }

private:
  friend class scoped_shared_lock;
  friend class scoped_exclusive_lock;
  struct waiter : detail::waiter {
    shared_mutex& mutex;
    bool const writes;
    waiter(detail::operation_kind const& k, shared_mutex& m, bool w) noexcept : detail::waiter(k), mutex(m), writes(w) {}
  };

  struct kind {
    static bool writes(detail::waiter_links& w) noexcept { return static_cast<waiter&>(static_cast<detail::waiter&>(w)).writes; }
  };
  detail::shared_mutex_core<detail::runtime_waiting, kind> core_;
};

template <class Lock>
class shared_mutex::awaiter : protected shared_mutex::waiter {
  static constexpr bool exclusive = std::is_same_v<Lock, scoped_exclusive_lock>;

public:
  bool await_ready() noexcept {
    if (detail::attention() || !detail::spend_budget()) [[unlikely]] return false;
    detail::locked_scope const g(mutex.core_.lock());
    return mutex.core_.take(exclusive);
  }
  std::coroutine_handle<> await_suspend(detail::own_coroutine h) {
    if (!detail::begin(*this, h)) [[unlikely]] return detail::unwind(h.address());
    owner = detail::tl.owner;
    bool waits;
    {
      detail::locked_scope const g(mutex.core_.lock());
      waits = !mutex.core_.take(exclusive);
      if (waits) mutex.core_.list().push_back(*this);
    }
    return waits ? detail::suspend(*this) : detail::go_on_fairly(*this);
  }
  Lock await_resume() noexcept { return Lock(mutex); }
  // For skua's own parts.
  struct parts_type {
    shared_mutex& of;
  };
  static constexpr bool gives_out = true;
  parts_type parts() const noexcept { return {mutex}; }
  explicit awaiter(parts_type p) noexcept : waiter(this_kind, p.of, exclusive) {}

protected:   // for a branch of a select
  detail::spin_lock<>& its_lock() noexcept { return mutex.core_.lock(); }
  bool take_now(detail::waiter_ring&) noexcept { return mutex.core_.take(exclusive); }
  void enlist_now() noexcept { mutex.core_.list().push_back(*this); }

private:
  friend class shared_mutex;
  explicit awaiter(shared_mutex& m) noexcept : awaiter(parts_type{m}) {}
  static bool withdraw(detail::operation& op) noexcept {
    auto& self = static_cast<awaiter&>(op);
    bool mine = false;
    detail::wake(self.mutex.core_.withdraw(self, mine));
    return mine;
  }
  static constexpr detail::operation_kind this_kind{exclusive ? "shared_mutex" : "shared_mutex, shared", withdraw};
};

inline shared_mutex::awaiter<scoped_exclusive_lock> shared_mutex::lock() noexcept { return awaiter<scoped_exclusive_lock>(*this); }
inline shared_mutex::awaiter<scoped_shared_lock> shared_mutex::lock_shared() noexcept { return awaiter<scoped_shared_lock>(*this); }

inline void scoped_shared_lock::unlock() noexcept {
  if (shared_mutex* const m = std::exchange(mutex_, nullptr)) detail::wake(m->core_.unlock_shared());
}
inline void scoped_exclusive_lock::unlock() noexcept {
  if (shared_mutex* const m = std::exchange(mutex_, nullptr)) detail::wake(m->core_.unlock());
}
inline scoped_shared_lock scoped_exclusive_lock::downgrade() noexcept {
  SKUA_CHECK(mutex_ != nullptr, "downgrade() of a lock that owns nothing");
  detail::wake(mutex_->core_.downgrade());
  return scoped_shared_lock(*std::exchange(mutex_, nullptr));
}

} // namespace skua
