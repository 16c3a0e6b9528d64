// SPDX-License-Identifier: Apache-2.0
// Is any task alive, and who is told when none is.
//
// No task knows that it was the last: one word that counts them all would cost every task. So the sums of the workers' counters are compared. While somebody
// listens, attention is raised: then every task that is gone (INV-TASK-6) comes by a cold path (finish_root, join.cpp), which looks at the sums and tells.
//     listener   enter the list; count itself; raise attention; a barrier on all threads; pass; look at the sums; wait
//     worker     count the task as gone; look at attention, and whether anybody listens: if so, pass; look at the sums; tell
//     pass       one word that all who look have changed, acquire and release
// INV-QUIET-1  A listener that finds a task alive after listen() is told when the last one has ended. Proof: of those who pass (the workers that have seen
//              the listener, and itself) somebody is last, and has seen what all the others had counted before. Who has not seen it has looked for it
//              before the barrier reached its thread, so it has counted before: the listener knows that, and so does the last one (it is the listener,
//              or comes behind it; or passed before it and was not last). Without the pass two workers that end the last two tasks may each miss the
//              other's count, which is still on its way. Where the kernel refuses the barrier a listener must look again by itself (told_reliably()).
// INV-QUIET-2  A listener is told with the lock held, and leaves the list with it: after ignore() nobody is inside quiet().
//
// Templated on the atomics; tests/model/quiet_model.cpp checks this code.
#pragma once
#include "skua/detail/sync.hpp"
#include <atomic>
#include <cstdint>
#include <mutex>

namespace skua::detail {

// `Listener` has a field `next` and a member quiet().
template <class Sync, class Lock, class Listener>
class quiet_bell {
public:
  quiet_bell() noexcept = default;
  quiet_bell(quiet_bell const&) = delete;

  template <class Raise>
  void listen(Listener& l, Raise raise_attention, bool have_barrier) noexcept {
    {
      std::lock_guard const guard(lock_);
      l.next = first_;
      first_ = &l;
      count_.fetch_add(1, std::memory_order_relaxed);   // relaxed: the barrier orders it
    }
    raise_attention();
    if (have_barrier) Sync::heavy_barrier();
    pass();
  }
  void ignore(Listener& l) noexcept {
    std::lock_guard const guard(lock_);
    auto* at = &first_;
    while (*at != &l) at = &static_cast<Listener*>(*at)->next;
    *at = static_cast<Listener*>(l.next);
    count_.fetch_sub(1, std::memory_order_relaxed);
  }
  // A worker that has counted a task as gone, and has seen attention.
  template <class Quiescent>
  void look(Quiescent quiescent) noexcept {
    if (count_.load(std::memory_order_relaxed) == 0) return;
    pass();
    if (!quiescent()) return;
    std::lock_guard const guard(lock_);
    for (Listener* l = first_; l != nullptr; l = l->next) l->quiet();
  }
  // Have all tasks ended? `each(f)` calls f with the counters of every worker, `spawned`: by others than workers.
  template <class Each, class Counter>
  static bool quiescent(Each each, Counter const& spawned_outside) noexcept {
    std::uint64_t gone = 0, spawned = 0;
    // acquire: pairs with the release in add(): whoever ended a task has seen it spawned. So not the other way round.
    each([&](auto const& c) { gone += c.gone.load(std::memory_order_acquire); });
    each([&](auto const& c) { spawned += c.spawned.load(std::memory_order_acquire); });
    return gone == spawned + spawned_outside.load(std::memory_order_acquire);
  }

private:
  void pass() noexcept { passed_.fetch_add(1, std::memory_order_acq_rel); }   // acq_rel: pairs with itself

  Lock lock_;
  typename Sync::template var<Listener*> first_{nullptr};          // under lock_
  typename Sync::template atomic<std::uint32_t> count_{0};         // of listeners
  typename Sync::template atomic<std::uint32_t> passed_{0};        // nobody needs its value
};

} // namespace skua::detail
