// SPDX-License-Identifier: Apache-2.0
// N workers that run items: the class that worker_loop.cpp, stealing.cpp, parking.cpp, injection.cpp, timers.cpp and monitor.cpp implement.
//
// Lifecycle: construct; start(driver), once; stop(), once, when no task is left. Between start and stop every member may be called from any thread, where
// nothing else is said. A scheduler that was never started may be destroyed.
//
// Where an item may be: in a worker's LIFO slot, its deque, the injection queue, the driver (which gives it out through a ready_list), or in the hands of
// a worker. It is in exactly one of these places, and whoever takes it runs it.
//
// Fairness (D11, S21). The run budget brings a worker back to its loop; there, in turn, the injection queue, its oldest item and timers that are
// due come first. A fork-join computation that never returns to the loop is sent there (`pressed`):
//     pressed_        of the scheduler: injected items wait while every worker is busy.  Set by whoever sees both; cleared by the worker that finds
//                     the injection queue empty, which looks again afterwards (INV-PRESS-1).
//     worker.pressed  local items wait behind one that does not end: set by the monitor.
// INV-PRESS-1  If the injection queue is not empty and no worker sleeps or watches, pressed_ is set or about to be. Injector: push, read idle,
//              set pressed_. Worker: stops being idle or clears pressed_, then looks at the queue. All seq_cst.
// INV-INJECTOR-1  A thread that is none of our workers counts itself in injecting_ before it pushes: what it pushed may run, end the last task, and so
//              the scheduler, before it has looked at `idle`. stop() waits for it.
// Whoever sets a flag raises the attention word, whoever clears it lowers it: so forks look at the flags only while one is set.
#pragma once
#include "scheduler/driver.hpp"
#include "scheduler/idle.hpp"
#include "scheduler/quiet_bell.hpp"
#include "scheduler/worker.hpp"
#include "skua/detail/injection_queue.hpp"
#include "skua/detail/timer.hpp"
#include "skua/metrics.hpp"
#include <atomic>
#include <cstdint>
#include <latch>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace skua::detail {

// Where the injection queue's link lies in an item. Branches are never injected.
struct injected_link {
  static item& next(item x) noexcept;   // injection.cpp
};

SKUA_PRESERVE_MOST SKUA_COLD void settle_batch_slow() noexcept;
// Before a worker goes on with a continuation that waited for a stolen item: what it cost is known now. One load as a rule.
SKUA_INLINE void settle_batch() noexcept {
  if (tl.batch_open) [[unlikely]] settle_batch_slow();
}

// Is told when no task is left: often enough, perhaps more often. quiet() is called by a worker, with a lock held: it takes no time and calls nothing of the
// scheduler.
struct quiet_listener {
  virtual void quiet() noexcept = 0;
  quiet_listener* next = nullptr;

protected:
  ~quiet_listener() = default;
};

std::uint64_t monotonic_ns() noexcept;   // CLOCK_MONOTONIC: what a driver whose time is real has for a clock; for threads that belong to no runtime

struct scheduler_setup {
  unsigned workers = 1;         // 1 or more
  std::string name = "skua";    // threads are called <name>-w0, ..; at most 8 characters
  std::uint16_t index = 0;      // for scheduler_at()
};

class scheduler : public scheduler_words, public driver_host {
public:
  explicit scheduler(scheduler_setup setup);
  virtual ~scheduler();
  scheduler(scheduler const&) = delete;

  // Starts the driver, then the workers. Throws system_error or bad_alloc; then nothing runs. `d` outlives stop().
  void start(driver& d);
  // Ends and joins the workers when they have finished what they run, then stops the driver. What is still queued is not run. Not on a worker.
  void stop() noexcept;

  unsigned worker_count() const noexcept { return setup_.workers; }
  std::uint16_t index() const noexcept { return setup_.index; }

  // Makes items runnable through the injection queue; any thread.
  void inject_items(item const* items, std::size_t count, bool prefer_poller) noexcept;
  // A task was made by a thread that is no worker of this scheduler: before it is injected.
  void count_outside_spawn() noexcept { outside_spawned_.fetch_add(1, std::memory_order_relaxed); }
  // No task is alive. Exact once nobody spawns from outside any more (sums of ended, then of spawned, which only grow).
  bool quiescent() const noexcept;
  // Any thread. Whoever finds quiescent() false between the two is told when it is true (quiet_bell.hpp). After ignore() nobody is inside quiet().
  void listen(quiet_listener& l) noexcept;
  void ignore(quiet_listener& l) noexcept;
  static bool told_reliably() noexcept;   // false: a listener looks again by itself, from time to time
  void look_if_quiet() noexcept;          // a worker, after it has counted a task's end while attention was raised

  // All but failures_unhandled and backend.
  void collect(skua::metrics& m) const noexcept;

  std::uint64_t now_ns() noexcept { return driver_->now_ns(); }   // any thread
  static scheduler* lender() noexcept;   // the one that has lent its clock to the calling thread, a blocking thread of its runtime; null: none
  void lend_clock() noexcept;   // clock_now_ns() on the calling thread, which is no worker, is this scheduler's from here on: it outlives the thread

  // Worker threads only.
  std::uint64_t deadline_base_ns() noexcept {
    return self().deadline_base.now([this] { return driver_->now_ns(); }, cpu_ticks);
  }
  void arm(timer_entry& e, std::uint64_t deadline_ns, timer_kind k) noexcept;
  // Set once, before attention is raised for it: the runtime is ending, what is spawned from here on is born stopped.
  void begin_to_end() noexcept { ending_.store(true, std::memory_order_relaxed); }
  bool ending() const noexcept { return ending_.load(std::memory_order_relaxed); }   // relaxed: INV-SHUTDOWN-3
  bool wanted_here() const noexcept {
    return pressed_.load(std::memory_order_relaxed) || workers_[tl.index]->pressed.load(std::memory_order_relaxed);
  }
  SKUA_PRESERVE_MOST SKUA_COLD void wake_after_push() noexcept;
  void settle_own_batch() noexcept;

  // driver_host
  bool role_held() const noexcept final { return idle_->role_held(); }
  std::uint64_t poll_sequence() const noexcept final { return poll_sequence_.load(std::memory_order_relaxed); }
  bool others_asleep() const noexcept final;
  bool at_rest() const noexcept final;
  std::uint64_t outside_work() const noexcept override { return 0; }
  void submit(item const* items, std::size_t count, bool prefer_poller) noexcept final { inject_items(items, count, prefer_poller); }
  std::uint64_t expire_timers(std::uint64_t now_ns, ready_list& out) noexcept final;
  std::uint64_t monitor_tick(std::uint64_t) noexcept final { return forever_ns; }   // it is one of the timers

private:
  using idle = idle_core<real_sync>;
  struct waking;   // what idle_core and idle_loop ask of us (parking.cpp)
  struct idling;

  worker& self() noexcept { return *workers_[tl.index]; }
  std::uint64_t ticks(std::uint64_t us) const noexcept { return us * ticks_per_us_; }

  // scheduler.cpp
  void enter_worker(unsigned index);
  void leave_worker() noexcept;
  void start_threads();
  void end_threads() noexcept;

  // worker_loop.cpp
  void run_worker() noexcept;
  item next_item(worker& w) noexcept;
  item fair_turn(worker& w) noexcept;
  item pressed_turn(worker& w) noexcept;
  item own_item() noexcept;
  item adopt(item const* items, std::size_t count) noexcept;

  // stealing.cpp
  struct sighting {
    bool pending = false, active = false;
  };
  item look_at_others(worker& w, sighting& seen) noexcept;
  item take_from(worker& w, unsigned victim, steal_verdict const& v, observation const& o) noexcept;
  item search(worker& w, std::uint64_t budget_ticks, bool& active) noexcept;

  // parking.cpp
  item find_work(worker& w) noexcept;
  bool anything_queued() const noexcept;
  bool anything_injected() const noexcept;

  // injection.cpp
  item take_injected() noexcept;
  void press_if_waiting() noexcept;
  void press() noexcept;
  bool unpress() noexcept;

  // timers.cpp
  void alarm_not_later_than(std::uint64_t deadline_ns) noexcept;
  void set_alarm_locked(std::uint64_t time_ns) noexcept;
  void settle_alarm() noexcept;
  item expire_due(worker& w) noexcept;
  std::uint64_t next_timer() const noexcept;
  void fire(timer_entry& e, ready_list& out, stop_sink& sink) noexcept;

  // monitor.cpp
  void start_monitor() noexcept;
  void monitor(std::uint64_t now_ns) noexcept;
  bool press_stalled_workers() noexcept;

  scheduler_setup const setup_;
  driver* driver_ = nullptr;
  std::uint64_t ticks_per_us_ = 1;
  std::vector<std::unique_ptr<worker>> workers_;
  bool have_barrier_ = false;   // register_heavy_barrier()
  std::unique_ptr<idle::slot[]> slots_;
  std::optional<idle> idle_;
  std::vector<std::thread> threads_;
  std::optional<std::latch> entered_, left_;

  alignas(cache_line) std::atomic<bool> stopping_{false};
  std::atomic<bool> ending_{false};
  std::atomic<bool> pressed_{false};
  std::atomic<std::uint64_t> poll_sequence_{0};      // +1 by whoever gives the role up
  std::atomic<std::uint64_t> outside_spawned_{0}, outside_fired_{0};
  std::atomic<std::uint32_t> injecting_{0};          // other threads than ours inside inject_items(): INV-INJECTOR-1

  // What the driver has been told, and what it should have been; timers.cpp.
  alignas(cache_line) spin_lock<> alarm_lock_;
  std::atomic<std::uint64_t> alarm_ns_{forever_ns}, due_ns_{forever_ns};
  std::atomic<std::uint64_t> monitor_due_ns_{forever_ns};   // forever_ns: it does not run
  std::uint64_t monitor_interval_ns_ = 0;                   // whoever has taken monitor_due_ns_
  std::atomic<std::uint32_t> expire_from_{0};               // the worker whose timers come first the next time

  quiet_bell<real_sync, std::mutex, quiet_listener> bell_;

  injection_queue<real_sync, injected_link> injected_;
};

} // namespace skua::detail
