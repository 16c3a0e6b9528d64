// SPDX-License-Identifier: Apache-2.0
#include "io/signal_watch.hpp"
#include "scheduler/runtime_core.hpp"
#include "skua/detail/duration.hpp"
#include "skua/error.hpp"
#include "skua/signal.hpp"
#include <algorithm>
#include <atomic>

namespace skua {

namespace {

using clock = std::chrono::steady_clock;
using detail::signal_watch;
using namespace std::chrono_literals;

// Tells the watch when the main task has ended, on every path.
struct main_end {
  signal_watch& watch;
  std::atomic<bool> reached{false};
};
task<int> announcing(task<int> t, main_end& end) {
  struct announcement {
    main_end& end;
    ~announcement() {
      end.reached.store(true, std::memory_order_relaxed);   // tell() releases it
      end.watch.tell();
    }
  } const at_end{end};
  co_return co_await std::move(t);
}

// Tells it, while it lives, when no task is left.
class no_task_left final : detail::quiet_listener {
public:
  no_task_left(signal_watch& w, runtime& rt) : watch_(w), core_(rt.core()) { core_.listen(*this); }
  ~no_task_left() { core_.ignore(*this); }
  no_task_left(no_task_left const&) = delete;

private:
  void quiet() noexcept override { watch_.tell(); }
  signal_watch& watch_;
  detail::runtime_core& core_;
};

// The grace period, from the first signal on.
class countdown {
public:
  countdown(signal_watch& w, std::chrono::milliseconds grace) : watch_(w), grace_(grace) {}

  int first_signal() const noexcept { return first_; }
  bool over() const noexcept { return clock::now() >= deadline_; }

  // Returns at `until`, when the grace period is over, at a signal, or when the watch has been told something.
  void wait(clock::time_point until) {
    wait_also_when_over(std::min(until, deadline_));
  }
  // The same, whether or not the grace period is over.
  void wait_also_when_over(clock::time_point until) {
    if (int const what = watch_.wait(until); what > 0) on_signal(what);
  }

  // Nothing is left to be ended earlier. A signal that was caught since the last look goes into the report; one that was caught after another has
  // nothing left to do, too. The next one acts as if we were not there.
  void end() {
    watch_.release();
    for (int what; (what = watch_.wait(clock::time_point::min())) != signal_watch::timed_out;)
      if (what > 0 && first_ == 0) first_ = what;
  }

private:
  void on_signal(int signal) {
    if (first_ == 0) {
      first_ = signal;
      deadline_ = clock::now() + std::chrono::nanoseconds(detail::ns_at_most(grace_));   // any grace: the sum fits
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
void wait_for_main(countdown& c, join_handle<int> const& main_task, main_end const& end) {
  bool stopped = false;
  while (!end.reached.load(std::memory_order_relaxed) && !c.over()) {
    c.wait(clock::time_point::max());
    if (c.first_signal() != 0 && !std::exchange(stopped, true)) detail::request_stop(*main_task.block(), stop_reason::shutdown);
  }
}

// When somebody who waits for tasks to end has to look again by himself.
clock::time_point next_look() {
  return detail::scheduler::told_reliably() ? clock::time_point::max() : clock::now() + 10ms;
}

// The tasks that the main task left behind may finish.
void wait_for_others(countdown& c, runtime& rt) {
  while (!c.over() && rt.metrics().live_tasks != 0) c.wait(next_look());
}

// What is left is stopped. It looks by itself as well, ever more rarely: nobody tells of the end of abandoned work.
shutdown_report stop_all(countdown& c, runtime& rt, std::chrono::milliseconds limit) {
  auto const until = clock::now() + limit;
  auto pause = 1ms;
  for (;;) {
    shutdown_report report = rt.shutdown(0ms);
    auto const now = clock::now();
    if (report.clean() || now >= until) return report;
    c.wait_also_when_over(std::min<clock::time_point>(until, now + pause));
    pause = std::min(2 * pause, 128ms);
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

run_report run_until_signal(task<int> main_task, std::vector<int> const& signals, std::chrono::milliseconds grace, options const& o,
                            std::source_location site) {
  signal_watch watch(signals);
  main_end end{watch};   // outlives the runtime, and so the main task
  runtime rt(o);
  join_handle<int> const handle = rt.spawn(announcing(std::move(main_task), end), site);
  countdown c(watch, grace);
  wait_for_main(c, handle, end);
  run_report report;
  {
    no_task_left const tells(watch, rt);
    if (c.first_signal() != 0) wait_for_others(c, rt);
    shutdown_report last = stop_all(c, rt, o.shutdown_grace);
    report.survivors = std::move(last.survivors);
    report.blocking = std::move(last.blocking);
  }
  c.end();
  report.signal = c.first_signal();
  report.status = status_of(handle, report.signal != 0);
  return report;
}

} // namespace skua
