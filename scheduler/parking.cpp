// SPDX-License-Identifier: Apache-2.0
// What a worker without work does: watch, nap as the sentinel, wait in the driver, sleep. idle.hpp has the protocol and the invariants; this file
// binds it to futexes, the driver and the queues.
//
//     search (as long as it has credit)
//     the poller role is free, or ours:   another worker is active -> nap in the driver, look, nap ..
//                                         nobody is                -> wait in the driver until an event, a timer or a waker comes
//     somebody else holds it:             sleep on the futex
//
// INV-COST-2  The sentinel naps only while another worker is awake, and one was active within its last `quiet_naps` naps: nothing to do, no wake-ups.
//
// A worker that waited at rest and got events goes on as a running worker at once: nobody relied on it as a watcher, so it has nothing to look at.
#include "scheduler/scheduler.hpp"
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace skua::detail {

struct scheduler::environment {
  scheduler& s;
  bool anything_queued() const noexcept { return s.anything_queued(); }
  bool anything_injected() const noexcept { return s.anything_injected(); }
  void kick() const noexcept {
    if (tl.owner == &s) worker_counters::add(tl.counters.wakes);
    s.driver_->kick();
  }
  void wake(std::atomic<std::uint32_t>& signal) const noexcept {
    if (tl.owner == &s) worker_counters::add(tl.counters.wakes);
    ::syscall(SYS_futex, &signal, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
  }
  void wait_on(std::atomic<std::uint32_t>& signal, std::uint32_t value) const noexcept {
    ::syscall(SYS_futex, &signal, FUTEX_WAIT_PRIVATE, value, nullptr, nullptr, 0);
  }
};

// Both are asked after an announcement, and read seq_cst: what was queued before that is not overlooked. A scheduler that stops counts as something
// that is queued and injected for ever.
bool scheduler::anything_injected() const noexcept {
  return !injected_.looks_empty() || stopping_.load(std::memory_order_seq_cst);
}
bool scheduler::anything_queued() const noexcept {
  if (anything_injected()) return true;
  for (auto const& w : workers_) {
    work_deque<> const& q = w->local->queue;
    if (q.lifo.load(std::memory_order_seq_cst) != 0 || !q.looks_empty()) return true;
  }
  return false;
}

bool scheduler::others_asleep() const noexcept { return idle_->all_asleep() && !anything_queued(); }

// Outside work makes its results runnable before it ends, and only workers begin some: so if it is 0 while nobody is woken, it stays 0.
bool scheduler::at_rest() const noexcept {
  std::uint64_t const claims = idle_->claims();
  return others_asleep() && outside_work() == 0 && others_asleep() && idle_->claims() == claims;
}

void scheduler::wake_after_push() noexcept {
  environment env{*this};
  idle_->wake_one_after_push(env);
}

void scheduler::stop_watching(worker& w) noexcept {
  if (w.holds_role) release_role(w);
  environment env{*this};
  if (idle_->stop_watching(env)) press_if_waiting();   // INV-PRESS-1: there were others to watch, until now
}

// INV-IDLE-6: outside the driver's wait. Before anything runs: from here on nobody waits in the kernel unless the I/O thread does.
void scheduler::release_role(worker& w) noexcept {
  w.holds_role = false;
  poll_sequence_.fetch_add(1, std::memory_order_relaxed);
  idle_->give_up_role();
  driver_->role_released();
  start_monitor();
}

// Watches, and sleeps in between, until there is an item to run. 0: the scheduler stops.
item scheduler::find_work(worker& w) noexcept {
  settle_batch();
  idle_->start_watching();
  std::uint64_t budget = w.credit_ticks;
  bool left_alone = false;   // the last search saw work that it left to its owner
  w.quiet = 0;
  for (;;) {
    bool active;
    item x = search(w, budget, active);
    if (x != 0 || stopping_.load(std::memory_order_relaxed)) {
      stop_watching(w);
      return x;
    }
    if (!w.holds_role) w.holds_role = idle_->take_role(tl.index);
    if (w.holds_role) {
      w.quiet = active ? 0 : w.quiet + 1;
      bool const rest = idle_->alone() || w.quiet > tuning::quiet_naps;   // INV-COST-2
      x = rest ? wait_at_rest(w) : wait_for_nap(w);
      if (x != 0) return x;
      budget = ticks(rest ? tuning::observe_us : tuning::nap_look_us);
      continue;
    }
    environment env{*this};
    budget = ticks(tuning::observe_us);
    if (!idle_->lie_down(tl.index, idle::asleep, env, left_alone)) {
      left_alone = true;
      continue;
    }
    worker_counters::add(tl.counters.parks);
    if (idle_->all_asleep()) driver_->note_rest();
    idle_->sleep(tl.index, env);
    left_alone = false;
  }
}

// One wait each as the holder of the role. 0: watch on.

item scheduler::wait_for_nap(worker& w) noexcept {
  environment env{*this};
  if (!idle_->begin_nap(tl.index, env)) return 0;
  worker_counters::add(tl.counters.naps);
  driver_->before_wait();
  driver_->wait(tuning::nap_us * 1000, w.ready);
  idle_->end_nap(tl.index);
  worker_counters::add(tl.counters.io_polls);
  if (w.ready.size() == 0) return 0;
  item const x = run_ready(w);
  stop_watching(w);   // looks at what was queued, if somebody sleeps
  return x;
}

item scheduler::wait_at_rest(worker& w) noexcept {
  environment env{*this};
  w.quiet = 0;
  if (!idle_->lie_down(tl.index, idle::polling, env)) return 0;
  worker_counters::add(tl.counters.parks);
  do {
    driver_->before_wait();
    driver_->wait(forever_ns, w.ready);
    worker_counters::add(tl.counters.io_polls);
  } while (w.ready.size() == 0 && idle_->still_polling(tl.index));
  if (w.ready.size() == 0) return idle_->rise(tl.index, idle::polling, idle::one_watching), 0;   // claimed, or about to be
  bool const running = idle_->rise(tl.index, idle::polling, 0);
  std::size_t const n = w.ready.size();
  item const x = run_ready(w);
  if (!running) {
    stop_watching(w);
  } else {
    if (n > 1) notify_after_push();
    press_if_waiting();   // INV-PRESS-1
  }
  return x;
}

// Gives up the role and queues what the wait brought.
item scheduler::run_ready(worker& w) noexcept {
  release_role(w);
  worker_counters::add(tl.counters.io_events, w.ready.size());
  item const x = adopt(w.ready.begin(), w.ready.size());
  w.ready.clear();
  return x;
}

// ------------------------------------------------------------------------------------------------ injection: the half that wakes

void scheduler::inject_items(item const* items, std::size_t count, bool prefer_poller) noexcept {
  bool const ours = tl.owner == this;
  if (!ours) injecting_.fetch_add(1, std::memory_order_relaxed);   // published by the push
  injected_.push(items, count);
  environment env{*this};
  if (idle_->notify_injected(env, prefer_poller)) press_if_waiting();
  if (!ours) injecting_.fetch_sub(1, std::memory_order_release);   // pairs with stop(); `this` may be gone from here on
}

void inject(scheduler& s, item const* items, std::size_t count) noexcept { s.inject_items(items, count, false); }

} // namespace skua::detail
