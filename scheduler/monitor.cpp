// SPDX-License-Identifier: Apache-2.0
// The monitor: sees to it that no local item waits for ever behind a computation that never returns to the worker loop (S21), while every worker is
// busy. As long as one of them watches or sleeps, the idle protocol and the steal policy bound that wait, and the monitor does not run.
//
// It is one more timer: its deadline takes part in the alarm, so whoever expires timers runs it; when all workers compute that is the I/O thread. It
// runs while the poller role is free: whoever gives the role up starts it, and it ends when it finds the role held.
//
// A tick looks at each worker: has it an item queued, and has it started none since the last tick? Then it is wanted in its loop. Ticks come
// every 10 ms, and ever more rarely while nothing is queued.
#include "scheduler/scheduler.hpp"
#include <algorithm>

namespace skua::detail {

void scheduler::start_monitor() noexcept {
  // seq_cst: behind the role that was given up; the monitor says that it ends, then looks at the role again. One of them sees the other.
  if (monitor_due_ns_.load(std::memory_order_seq_cst) != forever_ns || !driver_->real_time()) return;
  std::uint64_t const due = now_ns() + tuning::monitor_first_ns;
  std::uint64_t off = forever_ns;
  // release: pairs with the CAS in monitor(), which may be the first that the I/O thread hears of this scheduler's workers.
  if (monitor_due_ns_.compare_exchange_strong(off, due, std::memory_order_release, std::memory_order_relaxed)) alarm_not_later_than(due);
}

void scheduler::monitor(std::uint64_t now_ns) noexcept {
  std::uint64_t due = monitor_due_ns_.load(std::memory_order_relaxed);
  if (now_ns < due) return;
  // Whoever takes it is the only one here until it says when the next tick is due. It may not seem to be off meanwhile.
  if (!monitor_due_ns_.compare_exchange_strong(due, forever_ns - 1, std::memory_order_acquire, std::memory_order_relaxed)) return;
  if (role_held()) {
    monitor_interval_ns_ = 0;
    monitor_due_ns_.store(forever_ns, std::memory_order_seq_cst);
    if (role_held()) return;   // otherwise it was given up while the monitor still seemed to run
    if (due = forever_ns; !monitor_due_ns_.compare_exchange_strong(due, forever_ns - 1, std::memory_order_acquire)) return;
  }
  bool const waiting = press_stalled_workers();
  monitor_interval_ns_ = waiting || monitor_interval_ns_ == 0 ? tuning::monitor_first_ns
                                                              : std::min(2 * monitor_interval_ns_, tuning::monitor_last_ns);
  monitor_due_ns_.store(now_ns + monitor_interval_ns_, std::memory_order_release);   // pairs with the CAS above: `monitored`
}

// True: something is queued somewhere.
bool scheduler::press_stalled_workers() noexcept {
  bool any = false;
  if (!entered_->try_wait()) return any;   // `local` is being written
  for (auto const& w : workers_) {
    work_deque<>& q = w->local->queue;
    std::uint64_t const progress = q.progress.load(std::memory_order_relaxed);
    bool const waiting = !q.lifo.looks_empty() || !q.looks_empty();
    if (waiting && w->monitored.waiting && progress == w->monitored.progress && !w->pressed.exchange(true, std::memory_order_relaxed))
      raise_attention();
    w->monitored = {progress, waiting};
    any |= waiting;
  }
  return any;
}

} // namespace skua::detail
