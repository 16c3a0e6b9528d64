// SPDX-License-Identifier: Apache-2.0
// Who runs a strand, and those who wait. strand.hpp explains; tests/model/strand_model.cpp checks this code.
//
// Under the lock: busy, and those who wait (wait_queue.hpp).
//     not busy -> busy    enter(): the task runs the strand
//     busy -> not busy    the task that runs the strand, when nobody waits
//     busy -> busy        after `at_once` functions it hands the strand over to the next one, whose task runs it from then on
// INV-STRAND-1  One task runs the strand while it is busy, and only that one executes functions.
// INV-STRAND-2  A waiter is woken after the next one was taken: so the unlock behind which nobody is left is the last access to the strand, and the last
//               task to be woken may destroy it.
#pragma once
#include "config.hpp"
#include "spin_lock.hpp"

namespace skua::detail {

template <class Waiting>
class strand_core {
public:
  using links = typename Waiting::links;

  strand_core() noexcept = default;
  strand_core(strand_core const&) = delete;
  bool unused() const noexcept { return !busy_; }

  // True: the caller runs the strand: it executes its own function, then serve(). False: `w` (if any) waits.
  [[nodiscard]] SKUA_INLINE bool enter(links* w) noexcept {
    locked_scope const g(lock_);
    if (busy_) {
      if (w != nullptr) waiting_.push_back(*w);
      return false;
    }
    return busy_ = true;
  }
  [[nodiscard]] bool withdraw(links& w) noexcept {
    locked_scope const g(lock_);
    return waiting_.withdraw(w);
  }
  // Whoever runs the strand, when its own function was executed: those of others, as long as there are any. hand_over(w): w's task runs the strand when
  // it is woken.
  template <class Execute, class HandOver, class Wake>
  void serve(unsigned at_once, Execute execute, HandOver hand_over, Wake wake) noexcept {
    links* done = nullptr;
    for (unsigned n = 0;; ++n) {
      links* const next = take_or_leave();
      if (done != nullptr) wake(*done);   // INV-STRAND-2
      if (next == nullptr) return;
      if (n == at_once) {
        hand_over(*next);
        return wake(*next);
      }
      execute(*next);
      done = next;
    }
  }

private:
  links* take_or_leave() noexcept {
    locked_scope const g(lock_);
    links* const next = waiting_.take();
    if (next == nullptr) busy_ = false;
    return next;
  }
  typename Waiting::lock lock_;
  typename Waiting::sync::template var<bool> busy_{false};
  typename Waiting::list waiting_;
};

} // namespace skua::detail
