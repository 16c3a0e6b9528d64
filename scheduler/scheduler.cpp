// SPDX-License-Identifier: Apache-2.0
// Start and end of the worker threads, and the sums of their counters.
//
//     start   driver, then threads; each enters (its worker_local is filled in and known to the others) and waits until all have
//     stop    `stopping_`, which counts as something that is queued and injected for ever: so the idle protocol hands it on from worker to worker,
//             each leaves its loop, waits until all have (nobody looks at another's deque any more), and ends
#include "scheduler/scheduler.hpp"
#include "scheduler/signals_blocked.hpp"
#include <algorithm>
#include <ctime>
#include <exception>
#include <fcntl.h>
#include <pthread.h>
#include <string_view>
#include <sys/prctl.h>
#include <unistd.h>

namespace skua::detail {

std::uint64_t monotonic_ns() noexcept {
  timespec t;
  ::clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(t.tv_nsec);
}

namespace {

// Of cpu_ticks(). 300 us of measuring: good to a few in a thousand, which is plenty for a steal policy.
std::uint64_t measure_ticks_per_us() noexcept {
  std::uint64_t const from_ns = monotonic_ns(), from = cpu_ticks();
  std::uint64_t ns;
  do ns = monotonic_ns() - from_ns;
  while (ns < 300'000);
  return std::max<std::uint64_t>((cpu_ticks() - from) * 1000 / ns, 1);
}

std::uint64_t ticks_per_us() noexcept {
  static std::uint64_t const once = measure_ticks_per_us();
  return once;
}

// Then the counter runs at one rate, and alike on all processors: the kernel has tested that.
bool kernel_keeps_time_by_ticks() noexcept {
  static bool const once = [] {
    char name[32] = "";
    int const fd = ::open("/sys/devices/system/clocksource/clocksource0/current_clocksource", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    ssize_t const n = ::read(fd, name, sizeof name);
    ::close(fd);
    return n > 0 && std::string_view(name, static_cast<std::size_t>(n)).starts_with(cpu_ticks_clocksource);
  }();
  return once;
}

void copy(worker_counters const& from, worker_counters& to) noexcept {
  auto const one = [](std::atomic<std::uint64_t> const& a, std::atomic<std::uint64_t>& b) {
    b.store(a.load(std::memory_order_relaxed), std::memory_order_relaxed);
  };
  one(from.spawned, to.spawned), one(from.ended, to.ended), one(from.gone, to.gone), one(from.polls, to.polls);
  one(from.steals, to.steals), one(from.stolen_items, to.stolen_items), one(from.wakes, to.wakes);
  one(from.parks, to.parks), one(from.naps, to.naps), one(from.injected, to.injected);
  one(from.timers_armed, to.timers_armed), one(from.timers_fired, to.timers_fired);
  one(from.io_polls, to.io_polls), one(from.io_events, to.io_events);
}

// Waits until all have come. libstdc++ 16 spins on a latch in its shared library, where ThreadSanitizer sees no acquire; try_wait() is inline, and
// has one.
void meet(std::latch& all) noexcept {
  all.arrive_and_wait();
  (void)all.try_wait();
}

} // namespace

scheduler::scheduler(scheduler_setup setup) : setup_(std::move(setup)) {
  SKUA_CHECK(setup_.workers > 0, "a scheduler has workers");
}

scheduler::~scheduler() {
  SKUA_CHECK(threads_.empty(), "a scheduler is stopped before it is destroyed");
  for (auto& w : workers_)
    if (w->pressed.exchange(false, std::memory_order_relaxed)) lower_attention();
  if (pressed_.exchange(false, std::memory_order_relaxed)) lower_attention();
}

void scheduler::start(driver& d) {
  SKUA_CHECK(driver_ == nullptr, "a scheduler is started once");
  unsigned const n = setup_.workers;
  ticks_per_us_ = ticks_per_us();
  slots_ = std::make_unique<idle::slot[]>(n);
  have_barrier_ = register_heavy_barrier();
  idle_.emplace(scheduler_words::idle, slots_.get(), n, have_barrier_);
  std::uint64_t const now = d.now_ns();
  tick_clock const ticks(d.real_time() && kernel_keeps_time_by_ticks() ? ticks_per_us_ : 0);
  for (unsigned i = 0; i != n; ++i) workers_.push_back(std::make_unique<worker>(n, now, ticks));
  driver_ = &d;
  d.start(*this);
  try {
    start_threads();
  } catch (...) {
    end_threads();
    d.stop();
    throw;
  }
}

void scheduler::start_threads() {
  unsigned const n = setup_.workers;
  entered_.emplace(n);
  left_.emplace(n);
  threads_.reserve(n);
  signals_blocked const blocked;
  for (unsigned i = 0; i != n; ++i)
    threads_.emplace_back([this, i] {
      std::string const name = setup_.name + "-w" + std::to_string(i);
      ::pthread_setname_np(::pthread_self(), name.substr(0, 15).c_str());
      ::prctl(PR_SET_TIMERSLACK, 1);   // otherwise a nap is 50 us longer
      enter_worker(i);
      meet(*entered_);
      if (!stopping_.load(std::memory_order_relaxed)) run_worker();
      meet(*left_);
      leave_worker();
    });
  start_monitor();
}

void scheduler::enter_worker(unsigned index) {
  worker& w = *workers_[index];
  tl.words = this;
  tl.owner = this;
  tl.index = index;
  tl.owner_index = setup_.index;
  (void)tl.queue.try_reserve(1);   // if there is no memory, whoever pushes is told
  tl.queue.lifo.reset(have_barrier_);
  w.random = 0x9e3779b9u * (index + 1) | 1;
  w.local = &tl;
  w.counters = &tl.counters;
}

void scheduler::leave_worker() noexcept {
  worker& w = *workers_[tl.index];
  (void)stopping_.load(std::memory_order_acquire);   // pairs with end_threads(): whoever read `counters` before that
  copy(tl.counters, w.last_counters);
  w.counters = &w.last_counters;
  w.local = nullptr;
  tl.queue.release();
  tl.words = nullptr;
  tl.owner = nullptr;
}

// Also when only some of the threads could be created: those wait at the latches for the ones that are missing.
void scheduler::end_threads() noexcept {
  // Takes the monitor for ever: it looks at the workers' queues, which go away with their threads, while the driver still expires timers.
  // acquire: pairs with the end of a tick.
  std::uint64_t due = monitor_due_ns_.load(std::memory_order_relaxed);
  while (driver_->real_time() &&   // otherwise it never runs
         (due == forever_ns - 1 || !monitor_due_ns_.compare_exchange_weak(due, forever_ns - 1, std::memory_order_acquire))) {
    if (due == forever_ns - 1) std::this_thread::yield();
    due = monitor_due_ns_.load(std::memory_order_relaxed);
  }
  stopping_.store(true, std::memory_order_seq_cst);   // pairs with anything_queued(), anything_injected()
  auto const missing = static_cast<std::ptrdiff_t>(setup_.workers - threads_.size());
  if (missing != 0) {
    entered_->count_down(missing);
    left_->count_down(missing);
  }
  inject_items(nullptr, 0, false);
  for (std::thread& t : threads_) t.join();
  threads_.clear();
}

void scheduler::stop() noexcept {
  if (threads_.empty()) return;
  end_threads();
  while (injecting_.load(std::memory_order_acquire) != 0) std::this_thread::yield();   // INV-INJECTOR-1; before the driver: they kick it
  driver_->stop();
}

void scheduler::collect(skua::metrics& m) const noexcept {
  auto const get = [](std::atomic<std::uint64_t> const& c) { return c.load(std::memory_order_acquire); };
  bool const entered = entered_->try_wait();   // as in quiescent()
  for (auto const& w : workers_) m.tasks_ended += entered ? get(w->counters->ended) : 0;
  for (auto const& w : workers_) {
    if (!entered) break;
    worker_counters const& c = *w->counters;
    m.tasks_spawned += get(c.spawned);
    m.polls += get(c.polls);
    m.steals += get(c.steals);
    m.stolen_items += get(c.stolen_items);
    m.injections += get(c.injected);
    m.wakes += get(c.wakes);
    m.parks += get(c.parks);
    m.naps += get(c.naps);
    m.timers_armed += get(c.timers_armed);
    m.timers_fired += get(c.timers_fired);
    m.io_polls += get(c.io_polls);
    m.io_events += get(c.io_events);
  }
  driver_statistics const io = driver_->statistics();
  m.io_thread_wakes = io.wakes;
  m.io_thread_events = io.harvested;
  m.io_events += io.harvested;
  m.tasks_spawned += outside_spawned_.load(std::memory_order_acquire);
  m.timers_fired += outside_fired_.load(std::memory_order_relaxed);
  m.live_tasks = m.tasks_spawned - m.tasks_ended;
  m.live_frames = live_frames();
  m.workers = setup_.workers;
}

} // namespace skua::detail
