// SPDX-License-Identifier: Apache-2.0
// Is any task alive, and who is told when none is.
//
// No task knows that it was the last: one word that counts them all would cost every task. So the sums of the workers' counters are compared. While somebody
// listens, attention is raised: then every task that is gone (INV-TASK-6) comes by a cold path (finish_root, join.cpp), which looks at the sums and tells.
//     listener   raise attention; a barrier on all threads; look at the sums; wait
//     worker     count the task as gone; look at attention
// INV-QUIET-1  A listener that finds a task alive after listen() is told when the last one has ended: the worker that counted one after the barrier sees
//              attention, what was counted before it the listener sees. Where the kernel refuses the barrier a listener must look again by itself
//              (told_reliably()).
#include "scheduler/scheduler.hpp"

namespace skua::detail {

bool scheduler::quiescent() const noexcept {
  std::uint64_t gone = 0, spawned = 0;
  // Not before all workers have entered: no item has run, and `counters` is being written.
  if (!entered_->try_wait()) return outside_spawned_.load(std::memory_order_acquire) == 0;
  // acquire: pairs with the release in worker_counters::add(); whoever ended a task has seen it spawned.
  for (auto const& w : workers_) gone += w->counters->gone.load(std::memory_order_acquire);
  for (auto const& w : workers_) spawned += w->counters->spawned.load(std::memory_order_acquire);
  return gone == spawned + outside_spawned_.load(std::memory_order_acquire);
}

void scheduler::listen(quiet_listener& l) noexcept {
  {
    std::lock_guard const guard(quiet_lock_);
    l.next = listeners_;
    listeners_ = &l;
    listener_count_.fetch_add(1, std::memory_order_relaxed);
  }
  raise_attention();
  if (told_reliably()) real_sync::heavy_barrier();   // INV-QUIET-1
}

void scheduler::ignore(quiet_listener& l) noexcept {
  lower_attention();
  std::lock_guard const guard(quiet_lock_);   // nobody is inside quiet() any more
  quiet_listener** at = &listeners_;
  while (*at != &l) at = &(*at)->next;
  *at = l.next;
  listener_count_.fetch_sub(1, std::memory_order_relaxed);
}

bool scheduler::told_reliably() noexcept {
  static bool const once = register_heavy_barrier();
  return once;
}

void scheduler::look_if_quiet() noexcept {
  if (listener_count_.load(std::memory_order_relaxed) == 0 || !quiescent()) return;
  std::lock_guard const guard(quiet_lock_);
  for (quiet_listener* l = listeners_; l != nullptr; l = l->next) l->quiet();
}

} // namespace skua::detail
