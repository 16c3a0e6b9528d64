// SPDX-License-Identifier: Apache-2.0
// A piece of work for the blocking pool, and the door from the headers to it. scheduler/blocking_pool.hpp has the protocol.
#pragma once
#include "task_label.hpp"
#include <atomic>
#include <cstdint>

namespace skua::detail {

class scheduler;
class blocking_pool;

// Lies wherever its owner puts it, and stays there from submit_blocking() until finish() has begun or withdraw_blocking() has said true.
struct blocking_job {
  using function = void (*)(blocking_job&) noexcept;
  blocking_job(function work, function tell) noexcept : run(work), finish(tell) {}
  blocking_job(blocking_job const&) = delete;

  // On a thread of the pool, once, one after the other. Two, because the thread is to be free for the next job by the time that somebody
  // hears of this one's end: otherwise a coroutine that makes one call after the other would have a new thread for each.
  function run;      // the work
  function finish;   // tells whoever waits; the job may be gone when it returns

  // The pool's; next, previous and queued under its lock.
  blocking_pool* pool = nullptr;
  blocking_job* next = nullptr;
  blocking_job* previous = nullptr;
  bool queued = false;

  // For reports of what is still running; the pool's as well, but for `abandoned`. Whose work it is: the task may be gone by then (abandon()).
  std::atomic<bool> abandoned{false};   // relaxed: a hint. Set before the operation lets go of the job
  std::uint64_t task_id = 0;            // 0: no task's
  task_label label;                     // one reference
  std::uint64_t began_ns = 0;           // by steady_clock
};

// On a worker of `s`: runs the job on a thread of its pool, in the order of submission as far as there are threads. Allocates nothing
// unless a thread is created. Errors: system_error if there is no thread and none can be created; then the job was not taken.
void submit_blocking(scheduler& s, blocking_job& job);

// Any thread. True: the job has not begun and never will. False: it has begun, or has ended.
[[nodiscard]] bool withdraw_blocking(blocking_job& job) noexcept;

} // namespace skua::detail
