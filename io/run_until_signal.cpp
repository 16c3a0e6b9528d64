// SPDX-License-Identifier: Apache-2.0
#include "io/signal_watch.hpp"
#include "skua/error.hpp"
#include "skua/signal.hpp"
#include <algorithm>

namespace skua {

namespace {

using clock = std::chrono::steady_clock;
using detail::signal_watch;
using namespace std::chrono_literals;

// Tells the watch when the main task has ended, on every path.
task<int> announcing(task<int> t, signal_watch& watch) {
  struct announcement {
    signal_watch& watch;
    ~announcement() { watch.tell(); }
  } const at_end{watch};
  co_return co_await std::move(t);
}

// The grace period, from the first signal on.
class countdown {
public:
  countdown(signal_watch& w, std::chrono::milliseconds grace) : watch_(w), grace_(grace) {}

  int first_signal() const noexcept { return first_; }
  bool over() const noexcept { return clock::now() >= deadline_; }

  // Returns at `until`, when the grace period is over, at the first signal, or when the main task has ended: true.
  bool wait(clock::time_point until) {
    int const what = watch_.wait(std::min(until, deadline_));
    if (what > 0) on_signal(what);
    return what == signal_watch::told;
  }

private:
  void on_signal(int signal) {
    if (first_ == 0) {
      first_ = signal;
      deadline_ = clock::now() + grace_;
    } else {
      deadline_ = clock::now();
      watch_.release();   // a third one acts as if we were not there
    }
  }
  signal_watch& watch_;
  std::chrono::milliseconds const grace_;
  int first_ = 0;
  clock::time_point deadline_ = clock::time_point::max();
};

// Until the main task has ended, or the grace period.
void wait_for_main(countdown& c, join_handle<int> const& main_task) {
  bool stopped = false;
  while (!c.over()) {
    if (c.wait(clock::time_point::max())) return;
    if (c.first_signal() != 0 && !std::exchange(stopped, true)) detail::request_stop(*main_task.block(), stop_reason::shutdown);
  }
}

// The tasks that the main task left behind may finish.
void wait_for_others(countdown& c, runtime& rt) {
  while (!c.over() && rt.metrics().live_tasks != 0) c.wait(clock::now() + 2ms);
}

std::vector<survivor> stop_all(countdown& c, runtime& rt, std::chrono::milliseconds limit) {
  auto const until = clock::now() + limit;
  for (;;) {
    shutdown_report report = rt.shutdown(2ms);
    if (report.clean() || clock::now() >= until) return std::move(report.survivors);
    c.wait(clock::now());   // so that a signal is not overlooked
  }
}

int status_of(join_handle<int> const& main_task, bool signalled) {
  detail::wait_for_end(*main_task.block());
  try {
    return join_handle<int>::awaiter(main_task.block()).await_resume();
  } catch (task_stopped const&) {
    if (!signalled) throw;
    return 0;
  }
}

} // namespace

run_report run_until_signal(task<int> main_task, std::vector<int> const& signals, std::chrono::milliseconds grace, options const& o) {
  signal_watch watch(signals);
  runtime rt(o);
  join_handle<int> const handle = rt.spawn(announcing(std::move(main_task), watch));
  countdown c(watch, grace);
  wait_for_main(c, handle);
  if (c.first_signal() != 0) wait_for_others(c, rt);
  run_report report;
  report.survivors = stop_all(c, rt, o.shutdown_grace);
  watch.release();   // from here on nobody looks: the next signal acts as if we were not there
  report.signal = c.first_signal();
  report.status = status_of(handle, report.signal != 0);
  return report;
}

} // namespace skua
