// SPDX-License-Identifier: Apache-2.0
// The idle protocol, bound to futexes, the driver and the queues. idle.hpp has the invariants, idle_loop.hpp the order of the steps.
//
// INV-COST-2  The sentinel naps only while another worker is awake, and one was active within its last `quiet_naps` naps: nothing to do, no wake-ups.
#include "scheduler/idle_loop.hpp"
#include "scheduler/scheduler.hpp"
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace skua::detail {

// What any thread needs that wakes somebody.
struct scheduler::waking {
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
};

// And a worker that has nothing to run.
struct scheduler::idling : waking {
  worker& w;

  item search(look_for how, bool& active) const noexcept {
    std::uint64_t const budget = how == look_for::credit    ? w.credit_ticks
                                 : how == look_for::observe ? s.ticks(tuning::observe_us)
                                                            : s.ticks(tuning::nap_look_us);
    return s.search(w, budget, active);
  }
  bool stopping() const noexcept { return s.stopping_.load(std::memory_order_relaxed); }
  bool another_nap(bool active) const noexcept {
    w.quiet = active ? 0 : w.quiet + 1;
    return w.quiet <= (s.driver_->real_time() ? tuning::quiet_naps : 0);   // virtual time does not wait for them
  }
  void wait_for_nap() const noexcept {
    worker_counters::add(tl.counters.naps);
    wait_in_driver(tuning::nap_us * 1000);
  }
  void wait_at_rest() const noexcept {
    w.quiet = 0;
    worker_counters::add(tl.counters.parks);
    wait_in_driver(forever_ns);
  }
  void wait_in_driver(std::uint64_t timeout_ns) const noexcept {
    s.driver_->before_wait();
    s.driver_->wait(timeout_ns, w.ready);
    worker_counters::add(tl.counters.io_polls);
  }
  std::size_t ready() const noexcept { return w.ready.size(); }
  item adopt_ready() const noexcept {
    worker_counters::add(tl.counters.io_events, w.ready.size());
    item const x = s.adopt(w.ready.begin(), w.ready.size());
    w.ready.clear();
    return x;
  }
  void after_adopting() const noexcept { notify_after_push(); }
  void everybody_busy() const noexcept { s.press_if_waiting(); }   // INV-PRESS-1
  void role_released() const noexcept {
    s.poll_sequence_.fetch_add(1, std::memory_order_relaxed);
    s.driver_->role_released();
    s.start_monitor();
  }
  void about_to_sleep() const noexcept {
    worker_counters::add(tl.counters.parks);
    if (s.idle_->all_asleep()) s.driver_->note_rest();
  }
  void wait_on(std::atomic<std::uint32_t>& signal, std::uint32_t value) const noexcept {
    ::syscall(SYS_futex, &signal, FUTEX_WAIT_PRIVATE, value, nullptr, nullptr, 0);
  }
};

item scheduler::find_work(worker& w) noexcept {
  settle_alarm();
  settle_batch();
  if (w.batch.crowd) settle_own_batch();
  w.quiet = 0;
  idling env{{*this}, w};
  return idle_loop<real_sync, idling>(*idle_, tl.index, env).watch();
}

// Both are asked after an announcement, and read seq_cst: what was queued before that is not overlooked. A scheduler that stops counts as something
// that is queued and injected for ever.
bool scheduler::anything_injected() const noexcept {
  return !injected_.looks_empty() || stopping_.load(std::memory_order_seq_cst);
}
bool scheduler::anything_queued() const noexcept {
  if (anything_injected()) return true;
  for (auto const& w : workers_) {
    work_deque<> const& q = w->local->queue;
    if (!q.lifo.looks_empty() || !q.looks_empty()) return true;
  }
  return false;
}

bool scheduler::others_asleep() const noexcept { return idle_->all_asleep() && !anything_queued(); }

// Outside work makes its results runnable before it ends, and only workers begin some: so if it is 0 while nobody is woken, it stays 0.
bool scheduler::at_rest() const noexcept {
  std::uint64_t const claims = idle_->claims();
  return others_asleep() && outside_work() == 0 && others_asleep() && idle_->claims() == claims;
}

// ------------------------------------------------------------------------------------------------ pushers and injectors

void scheduler::wake_after_push() noexcept {
  waking env{*this};
  idle_->wake_one_after_push(env);
}

void scheduler::inject_items(item const* items, std::size_t count, bool prefer_poller) noexcept {
  bool const ours = tl.owner == this;
  if (!ours) injecting_.fetch_add(1, std::memory_order_relaxed);   // published by the push
  injected_.push(items, count);
  waking env{*this};
  if (idle_->notify_injected(env, prefer_poller)) press_if_waiting();
  if (!ours) injecting_.fetch_sub(1, std::memory_order_release);   // pairs with stop(); `this` may be gone from here on
}

void inject(scheduler& s, item const* items, std::size_t count) noexcept { s.inject_items(items, count, false); }

} // namespace skua::detail
