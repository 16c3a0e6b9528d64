// SPDX-License-Identifier: Apache-2.0
// run_until_signal: run a program's main task until it ends or the process is asked to end.
#pragma once
#include "options.hpp"
#include "runtime.hpp"
#include "task.hpp"
#include <chrono>
#include <csignal>
#include <source_location>
#include <utility>
#include <vector>

namespace skua {

// How a run ended.
struct run_report {
  int signal = 0;                    // the first one that came; 0: none, the main task ended by itself
  int status = 0;                    // what a main task that returns an int returned; 0 if it was stopped
  std::vector<survivor> survivors;   // tasks that took longer to stop than options::shutdown_grace; they have ended by now

  std::vector<unfinished_work> blocking;   // blocking work that did; it has ended, too

  // For main() to return: the status; 128 + signal if anything took too long, as shells have it.
  int exit_status() const noexcept { return survivors.empty() && blocking.empty() ? status : 128 + signal; }
};

// Runs `main_task` in a runtime of its own, and ends it in order when one of `signals` comes:
//     first signal    the main task is stopped (stop_reason::shutdown). A server stops accepting that way. All other tasks may finish what they have in
//                     hand, for as long as `grace`.
//     then            when no task is left, or the grace period is over, the rest is stopped, and joined.
//     second signal   the grace period is over at once.
//     third signal    acts as it would have without this function: as a rule it kills the process, even if a task cannot be stopped.
// A main task that ends by itself ends the run as in run(): the tasks that are left are stopped and joined. A signal that comes then is reported, and
// changes nothing else, nor does a second one: everything is being stopped already. A third one, and any after options::shutdown_grace, acts as without us.
//
// Only the signals given are handled, only while it runs, and their former handling is restored afterwards (S25). Whatever thread takes the signal:
// no user code runs in the handler. They are unblocked in the calling thread.
// Thread safety: a thread that is no worker; a signal can be watched by one run at a time.
// Errors: what the main task throws, when all tasks have ended (there is no report then of a signal); what runtime's constructor throws; usage_error for a
// signal that another run watches; system_error for one that cannot be caught (SIGKILL). Nothing has run then.
//
//     int main() { return skua::run_until_signal(serve(8080)).exit_status(); }
run_report run_until_signal(task<int> main_task, std::vector<int> const& signals = {SIGINT, SIGTERM},
                            std::chrono::milliseconds grace = std::chrono::seconds(10), options const& o = {},
                            std::source_location site = std::source_location::current());

namespace detail {
inline task<int> returning_zero(task<> t) {
  co_await std::move(t);
  co_return 0;
}
} // namespace detail

inline run_report run_until_signal(task<> main_task, std::vector<int> const& signals = {SIGINT, SIGTERM},
                                   std::chrono::milliseconds grace = std::chrono::seconds(10), options const& o = {},
                                   std::source_location site = std::source_location::current()) {
  return run_until_signal(detail::returning_zero(std::move(main_task)), signals, grace, o, site);
}

} // namespace skua
