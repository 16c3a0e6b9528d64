// SPDX-License-Identifier: Apache-2.0
// A piece of work for the blocking pool, and the door from the headers to it. scheduler/blocking_pool.hpp has the protocol.
#pragma once

namespace skua::detail {

class scheduler;
class blocking_pool;

// Lies wherever its owner puts it, and stays there from submit_blocking() until run() has begun or withdraw_blocking() has said true.
struct blocking_job {
  using run_function = void (*)(blocking_job&) noexcept;
  explicit blocking_job(run_function r) noexcept : run(r) {}
  blocking_job(blocking_job const&) = delete;

  run_function run;   // on a thread of the pool, once; the job may be gone when it returns

  // The pool's; next, previous and queued under its lock.
  blocking_pool* pool = nullptr;
  blocking_job* next = nullptr;
  blocking_job* previous = nullptr;
  bool queued = false;
};

// On a worker of `s`: runs the job on a thread of its pool, in the order of submission as far as there are threads. Allocates nothing
// unless a thread is created. Errors: system_error if there is no thread and none can be created; then the job was not taken.
void submit_blocking(scheduler& s, blocking_job& job);

// Any thread. True: the job has not begun and never will. False: it has begun, or has ended.
[[nodiscard]] bool withdraw_blocking(blocking_job& job) noexcept;

} // namespace skua::detail
