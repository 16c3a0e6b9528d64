// SPDX-License-Identifier: Apache-2.0
// The signal of an auto_reset_event and those who wait for it. event.hpp explains; tests/model/auto_reset_model.cpp checks this code.
//
// INV-SIGNAL-1  A signal is here (set), or has been given to one waiter, which was taken with it: never to two, and never to one that withdraws.
// INV-SIGNAL-2  While it is set nobody waits (but selects that were decided elsewhere).
#pragma once
#include "config.hpp"
#include "spin_lock.hpp"

namespace skua::detail {

template <class Waiting>
class auto_reset_core {
public:
  using links = typename Waiting::links;

  explicit auto_reset_core(bool set) noexcept : set_(set) {}
  auto_reset_core(auto_reset_core const&) = delete;

  typename Waiting::lock& lock() noexcept { return lock_; }
  typename Waiting::list& list() noexcept { return waiting_; }
  bool unused() const noexcept { return waiting_.empty(); }

  // Under the lock.
  bool consume() noexcept {
    bool const was = set_;
    set_ = false;
    return was;
  }
  bool try_consume() noexcept {
    locked_scope const g(lock_);
    return consume();
  }
  // Whom the caller is to wake; null: nobody waits, it is set.
  [[nodiscard]] links* raise() noexcept {
    locked_scope const g(lock_);
    links* w = waiting_.take();
    while (w != nullptr && !Waiting::may_take(*w)) w = waiting_.take();
    set_ = w == nullptr;
    return w;
  }

private:
  typename Waiting::lock lock_;
  typename Waiting::sync::template var<bool> set_;
  typename Waiting::list waiting_;
};

} // namespace skua::detail
