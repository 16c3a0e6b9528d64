// SPDX-License-Identifier: Apache-2.0
// metrics: what a runtime has done so far.
#pragma once
#include <cstdint>
#include <string_view>

namespace skua {

// Counters of one runtime, since it was started. They only grow, but for those under "now". Each is exact; together they are not a consistent cut
// while the runtime runs.
//
//     skua::metrics const m = rt.metrics();
struct metrics {
  // Tasks and coroutines.
  std::uint64_t tasks_spawned = 0;      // by spawn, block_on and the groups; branches of when_all are none
  std::uint64_t tasks_ended = 0;        // by a value, an exception or a stop
  std::uint64_t failures_unhandled = 0; // exceptions that nobody awaited (the failure handler was called)

  // The worker loop.
  std::uint64_t polls = 0;              // items run from a worker's loop; what follows one another without the loop counts once
  std::uint64_t steals = 0;             // times that a worker took work from another one
  std::uint64_t stolen_items = 0;       // and how many items it took
  std::uint64_t injections = 0;         // items that came from threads that are no workers, or that did not fit into a worker's queue

  // Sleeping and waking: what costs.
  std::uint64_t wakes = 0;              // workers woken by another thread
  std::uint64_t parks = 0;              // times that a worker went to sleep until it is woken
  std::uint64_t naps = 0;               // times that the sentinel waited for 100 us, while another worker was active

  // Time.
  std::uint64_t timers_armed = 0;       // sleeps and timeouts
  std::uint64_t timers_fired = 0;       // those that were not disarmed before

  // I/O.
  std::uint64_t io_polls = 0;           // times that a worker looked for events
  std::uint64_t io_events = 0;          // operations made runnable by events, whoever took them
  std::uint64_t io_thread_events = 0;   // of these, by the I/O thread: while every worker was busy
  std::uint64_t io_thread_wakes = 0;    // times that the I/O thread was woken

  // Now.
  std::uint64_t live_tasks = 0;         // spawned and not ended
  std::int64_t live_frames = 0;         // coroutine frames, and states of promises and oneshots, of the whole process; exact while nothing runs
  unsigned workers = 0;
  std::string_view backend;             // "epoll", "virtual"
};

} // namespace skua
