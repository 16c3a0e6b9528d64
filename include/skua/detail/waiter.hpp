// SPDX-License-Identifier: Apache-2.0
// The wait queue bound to the runtime: what a primitive's awaitables are made of. wait_queue.hpp has the protocol and its invariants.
//
//     class thing {
//       class awaiter : detail::waiter { .. };
//       detail::spin_lock<> lock_;
//       detail::wait_list waiting_;          // under lock_, as every other field
//     };
//
// A leaf awaitable that may complete at once, and whose effect may be held over a yield (an event, a permit), is a `sync_awaiter`; it says
//     bool take()        under the lock: complete at once (true), or else the awaiter is queued by the caller
// and does entry (S1), budget (D11), enqueueing, arming. A lock, which must not be held over a yield, does its own (mutex.hpp).
//
// To be a branch of a select an awaiter has besides (select.hpp)
//     parts(), parts_type     what it is made of, and a constructor from it: the branch is derived from the awaiter
//     gives_out               false if to be let through consumes nothing (INV-WAIT-7)
//     its_lock(), take_now(woken), enlist_now()     under the lock: as take(), and to be queued. `woken`: who is to be woken after the lock
// or a type `selected` that has all this in its place (a mutex).
#pragma once
#include "config.hpp"
#include "operation.hpp"
#include "spin_lock.hpp"
#include "wait_queue.hpp"
#include <coroutine>

namespace skua::detail {

using waiter_links = basic_waiter<real_sync, operation>;
using wait_list = basic_wait_list<real_sync, operation>;
using waiter_ring = basic_waiter_ring<real_sync, operation>;

struct waiter : waiter_links {
  scheduler* owner = nullptr;   // where its coroutine goes on; written before it is queued
  using waiter_links::waiter_links;
};
static_assert(sizeof(waiter) == 64);

// INV-WAIT-7. A waiter of this kind is a branch of a select; its `frame` is a select_leaf (select_operation.hpp).
inline bool withdraw_nothing(operation&) noexcept { return false; }   // never asked: no stop request knows of it
inline constexpr operation_kind select_waiter_kind{"select", withdraw_nothing};
[[nodiscard]] SKUA_COLD bool claim_waiter(waiter_links& w) noexcept;   // scheduler/select.cpp
[[nodiscard]] SKUA_INLINE bool may_take(waiter_links& w) noexcept { return w.kind != &select_waiter_kind || claim_waiter(w); }
// The oldest that can be given something; null: none. With the lock.
[[nodiscard]] SKUA_INLINE waiter_links* take_live(wait_list& list) noexcept {
  while (waiter_links* const w = list.take())
    if (may_take(*w)) [[likely]] return w;
  return nullptr;
}
// For mutex_core.hpp.
struct select_waiters {
  static bool is(waiter_links const& w) noexcept { return w.kind == &select_waiter_kind; }
  static bool claim(waiter_links& w) noexcept { return claim_waiter(w); }
};
// The same for all.
inline void take_all_live(wait_list& list, waiter_ring& taken) noexcept {
  while (waiter_links* const w = take_live(list)) taken.push_back(*w);
}

// What the cores of primitives are made of (semaphore_core.hpp and others); tests/model/waiting_tasks.hpp has another one.
struct runtime_waiting {
  using sync = real_sync;
  using links = waiter_links;
  using list = wait_list;
  using ring = waiter_ring;
  using lock = spin_lock<>;
  SKUA_INLINE static bool may_take(waiter_links& w) noexcept { return detail::may_take(w); }
};

// What guards a source of a select: a spin lock, or a mutex's own.
struct source_lock {
  void* at = nullptr;   // null: the source guards itself
  void (*change)(void* at, bool locked) noexcept = nullptr;
  source_lock() noexcept = default;
  source_lock(void* a, void (*c)(void*, bool) noexcept) noexcept : at(a), change(c) {}
  explicit source_lock(spin_lock<>& l) noexcept : at(&l), change([](void* p, bool locked) noexcept {
                                                    auto& s = *static_cast<spin_lock<>*>(p);
                                                    locked ? s.lock() : s.unlock();
                                                  }) {}
};

// The completer's last step, after it has unlocked: each waiter goes on, on its own runtime; on this worker the oldest first. Allocates nothing.
// INV-WAIT-3: a waiter is not touched any more once it is completed.
SKUA_INLINE void wake(waiter_links& w) noexcept {
  complete_and_schedule(*static_cast<waiter&>(w).owner, w);   // the owner is read before the completion
}
SKUA_COLD void wake_many(waiter_ring& taken) noexcept;   // scheduler/wait_queue.cpp
SKUA_INLINE void wake(waiter_ring&& taken) noexcept {
  if (taken.empty()) return;
  if (taken.has_one()) return wake(*taken.pop_front());
  wake_many(taken);
}

// operation_kind::withdraw of a waiter that is in `list`, or was taken.
SKUA_INLINE bool withdraw_waiter(spin_lock<>& lock, wait_list& list, waiter_links& w) noexcept {
  locked_scope const g(lock);
  return list.withdraw(w);
}

// The common shape of a leaf awaitable: `Awaiter` has members lock(), list() and bool take().
template <class Awaiter>
class sync_awaiter : protected waiter {
public:
  // Most end here: nobody is stopped anywhere, there is budget, and nothing to wait for.
  SKUA_INLINE bool await_ready() noexcept {
    if (attention() || !spend_budget()) [[unlikely]] return false;
    locked_scope const g(self().lock());
    return self().take();
  }
  std::coroutine_handle<> await_suspend(own_coroutine h) {
    if (!begin(*this, h)) [[unlikely]] return unwind(h.address());
    owner = tl.owner;
    bool waits;
    {
      locked_scope const g(self().lock());
      waits = !self().take();
      if (waits) self().enlist_now();
    }
    // INV-WAIT-4: if it was queued, the primitive may be gone, and so may *this once it is armed.
    return waits ? suspend(*this) : go_on_fairly(*this);
  }

protected:
  // For a branch of a select, which is derived from the awaiter.
  spin_lock<>& its_lock() noexcept { return self().lock(); }
  bool take_now(waiter_ring&) noexcept { return self().take(); }
  void enlist_now() noexcept { self().list().push_back(*this); }
  static Awaiter& from(operation& op) noexcept {
    return static_cast<Awaiter&>(static_cast<sync_awaiter&>(static_cast<waiter&>(static_cast<waiter_links&>(op))));
  }
  // operation_kind::withdraw where a withdrawal concerns nobody else.
  static bool withdraw_this(operation& op) noexcept {
    Awaiter& a = from(op);
    return withdraw_waiter(a.lock(), a.list(), a);
  }

private:
  friend Awaiter;
  explicit sync_awaiter(operation_kind const& k) noexcept : waiter(k) {}
  Awaiter& self() noexcept { return static_cast<Awaiter&>(*this); }
};

} // namespace skua::detail
