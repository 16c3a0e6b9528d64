// SPDX-License-Identifier: Apache-2.0
// Who owns a shared_mutex, and those who wait for it. shared_mutex.hpp explains; tests/model/shared_mutex_model.cpp checks this code.
//
//     free                 readers 0, no writer
//     read                 readers n
//     written              a writer
//     ownership changes under the lock: to whoever finds it possible and nobody waiting, or to those at the front of the list, by whoever made it possible
//
// INV-SHARED-1  A writer owns it alone.
// INV-SHARED-2  Nobody is overtaken: a reader waits behind a writer that came before it, so writers are not starved.
// INV-SHARED-3  The oldest waiter that lives cannot own it now. So whoever gives it up, or takes the oldest away (a stop), serves those behind.
#pragma once
#include "config.hpp"
#include "spin_lock.hpp"
#include <cstddef>

namespace skua::detail {

// `Kind::writes(waiter)`: what it wants.
template <class Waiting, class Kind>
class shared_mutex_core {
public:
  using links = typename Waiting::links;
  using ring = typename Waiting::ring;

  shared_mutex_core() noexcept = default;
  shared_mutex_core(shared_mutex_core const&) = delete;

  typename Waiting::lock& lock() noexcept { return lock_; }
  typename Waiting::list& list() noexcept { return waiting_; }
  bool unused() const noexcept { return readers_ == 0 && !writer_ && waiting_.empty(); }

  // Under the lock. False: it must wait.
  bool take(bool write) noexcept {
    if (!waiting_.empty() || !can(write)) return false;   // INV-SHARED-2
    own(write);
    return true;
  }
  bool try_take(bool write) noexcept {
    locked_scope const g(lock_);
    return take(write);
  }
  // Those whom the caller is to wake, here and below.
  [[nodiscard]] SKUA_INLINE ring unlock() noexcept {
    return change_and_serve([this] { writer_ = false; });
  }
  [[nodiscard]] SKUA_INLINE ring unlock_shared() noexcept {
    return change_and_serve([this] { readers_ = readers_ - 1; });
  }
  // The writer is a reader from here on; no writer comes in between.
  [[nodiscard]] ring downgrade() noexcept {
    return change_and_serve([this] {
      writer_ = false;
      readers_ = 1;
    });
  }
  [[nodiscard]] ring withdraw(links& w, bool& mine) noexcept {
    return change_and_serve([&] { mine = waiting_.withdraw(w); });   // those behind a writer may go on
  }

  bool can(bool write) const noexcept { return !writer_ && (!write || readers_ == 0); }   // under the lock

private:
  void own(bool write) noexcept {
    if (write)
      writer_ = true;
    else
      readers_ = readers_ + 1;
  }
  template <class Change>
  SKUA_INLINE ring change_and_serve(Change change) noexcept {
    ring served;
    locked_scope const g(lock_);
    change();
    if (!waiting_.empty()) [[unlikely]] serve(served);
    return served;
  }
  void serve(ring& served) noexcept {
    while (links* const w = waiting_.front()) {
      bool const writes = Kind::writes(*w);
      if (!can(writes)) return;
      bool const live = Waiting::may_take(*w);
      (void)waiting_.take();
      if (!live) continue;
      own(writes);
      served.push_back(*w);
    }
  }
  typename Waiting::lock lock_;
  typename Waiting::sync::template var<bool> writer_{false};
  typename Waiting::sync::template var<std::size_t> readers_{0};
  typename Waiting::list waiting_;
};

} // namespace skua::detail
