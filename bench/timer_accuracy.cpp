// SPDX-License-Identifier: Apache-2.0
// How late timers are: many tasks sleep again and again for a fixed time.
#include "../examples/support/command_line.hpp"
#include "support/tasks.hpp"
#include <cstdio>
#include <skua/runtime.hpp>

int main(int argc, char** argv) {
  std::size_t tasks = 1000, times = 100;
  double milliseconds = 10;
  unsigned workers = 2;
  example::command_line line("timer_accuracy", "Tasks sleep again and again; prints how much later than asked they woke.");
  line.number("--tasks", tasks, 1, 10'000'000, "how many at once");
  line.number("--times", times, 1, 1'000'000, "sleeps of each");
  line.number("--milliseconds", milliseconds, 0.001, 100'000, "length of a sleep");
  line.number("--workers", workers, 1, 1024, "worker threads");
  line.flag("--smoke", bench::smoke(), bench::smoke_help);
  line.parse(argc, argv);
  if (bench::smoke()) tasks = 10, times = 5;

  skua::runtime rt({.workers = workers});
  auto const period = std::chrono::nanoseconds(static_cast<std::int64_t>(milliseconds * 1e6));
  bench::stopwatch watch;
  std::vector<double> const late = rt.block_on(bench::lateness_of(tasks, times, period));
  double const cpu_s = watch.read().cpu / 1e9;
  auto at = [&](double q) { return bench::quantile(late, q); };
  std::printf("%s\naccuracy tasks=%zu period_ms=%g lateness_us min=%.0f p50=%.0f p90=%.0f p99=%.0f max=%.0f cpu_s=%.3f\n", bench::processor().c_str(),
              tasks, milliseconds, at(0), at(.5), at(.9), at(.99), at(1), cpu_s);
}
