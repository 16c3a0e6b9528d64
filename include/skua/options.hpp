// SPDX-License-Identifier: Apache-2.0
// options: how a runtime is set up.
//
// The environment overrides what the program says, so that an operator can change it without a build: SKUA_WORKERS, SKUA_BACKEND and
// SKUA_FILES have the values of the options of the same names; a variable that is empty counts as not set.
#pragma once
#include "failure.hpp"
#include <chrono>
#include <functional>
#include <string>

namespace skua {

// The options of one runtime. Every field has a default that is meant to be left alone.
//
//     skua::runtime rt{skua::options{.workers = 4, .name = "front"}};
struct options {
  // Worker threads, 1 to max_workers. 0: as many as this process may use cores, by CPU affinity and cgroup quota (rounded up).
  unsigned workers = 0;
  static constexpr unsigned max_workers = 1024;

  // What waits in the kernel: "epoll", or "virtual" (time jumps to the next deadline when nothing can run; for tests; no I/O).
  // "auto": epoll.
  std::string backend = "auto";

  // How files are read and written: "io_uring", or "threads" (the blocking pool). "auto": io_uring where the kernel allows it.
  std::string files = "auto";

  // How late I/O and timers may be while every worker is busy: after this long the I/O thread takes over. 50 us to 1 s.
  std::chrono::microseconds io_bound{500};

  // Threads for spawn_blocking, files and name resolution, 1 to 4096. They are created when needed; further work waits, in order.
  unsigned max_blocking_threads = 64;

  // A blocking thread ends when it had nothing to do for this long. 0 to 1 h.
  std::chrono::milliseconds blocking_keep_alive{10'000};

  // Called for an exception that nobody awaits (S23), on the thread that found it; it must not block. failure::kind says where it was left over. Empty: one
  // line on stderr. What it throws is reported on stderr and goes no further.
  std::function<void(failure const&)> on_unhandled_failure{};

  // After the handler has returned: std::terminate(). Not for the failures that stand behind an outcome which the program did get, such as a later one of a
  // when_all or one of a when_any's loser (is_secondary(), failure.hpp): which of them there are is a matter of timing.
  bool terminate_on_unhandled_failure = false;

  // How long the runtime's destructor waits for stopped tasks before it reports those that are left on stderr; it goes on waiting then
  // (S22). 0 to 1 h.
  std::chrono::milliseconds shutdown_grace{5'000};

  // Virtual time only: a program that cannot go on (no task can run, no timer is set) ends with stuck_error when that has been so for this long, in real
  // time: so long a thread outside has to wake one of its tasks (or holds an outside_work). 0 to 1 h; 0: never.
  std::chrono::milliseconds stuck_after{3'000};

  // In reports, and the first part of the threads' names ("skua-w0"). 1 to 8 characters.
  std::string name = "skua";
};

// Checks every field. Errors: std::invalid_argument that names the option, its value and the permitted ones.
void validate(options const& o);

// The options after the environment has had its say. Errors: std::invalid_argument that names the variable.
options with_environment(options o);

} // namespace skua
