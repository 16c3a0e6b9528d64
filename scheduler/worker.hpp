// SPDX-License-Identifier: Apache-2.0
// What the scheduler knows of one worker, beside the thread's own worker_local (detail/worker.hpp): its timers, what it has learnt about the others,
// and whether it is wanted in its loop.
//
// Who may touch what
//     local, counters    set by the worker's thread before any worker runs, and again when all of them have left their loops
//     pressed            any thread: false -> true (then it raises the attention word); the worker: true -> false (and lowers it); exchange
//     monitored          the monitor, which is one thread at a time (monitor.cpp)
//     timers             any thread: has its own lock
//     everything else    the worker's thread
#pragma once
#include "scheduler/driver.hpp"
#include "scheduler/steal_policy.hpp"
#include "scheduler/tick_clock.hpp"
#include "scheduler/timer_queue.hpp"
#include "skua/detail/worker.hpp"
#include <atomic>
#include <cstdint>
#include <memory>

namespace skua::detail {

// What was stolen last, until it is known how long it took (stealing.cpp).
struct stolen_batch {
  work_deque<>* from = nullptr;   // null: settled
  victim_view* view = nullptr;
  std::uint64_t began_ticks = 0;
  std::uint64_t progress = 0;     // the thief's own, when it began
  std::uint64_t taken = 0;        // items
  bool crowd = false;             // by the rule CROWD
};

struct alignas(cache_line) worker {
  worker(unsigned workers, std::uint64_t now_ns, tick_clock ticks)
      : deadline_base(ticks), views(std::make_unique<victim_view[]>(workers)), timers(now_ns) {}

  worker_local* local = nullptr;
  worker_counters const* counters = &last_counters;
  std::atomic<bool> pressed{false};

  struct {
    std::uint64_t progress = 0;
    bool waiting = false;   // something was queued at the last tick
  } monitored;

  // The worker's own.
  alignas(cache_line) std::uint32_t random = 1;
  std::uint32_t turn = 0;             // of the loop
  std::uint32_t quiet = 0;            // naps in which nobody was active
  std::uint64_t credit_ticks = 0;     // for spinning; earned by stolen work that was worth it
  stolen_batch batch;
  tick_clock deadline_base;
  std::unique_ptr<victim_view[]> views;   // one per worker
  ready_list ready;

  timer_queue timers;
  worker_counters last_counters;   // when the thread has ended
};

} // namespace skua::detail
