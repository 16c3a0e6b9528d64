// SPDX-License-Identifier: Apache-2.0
// N tasks sleep at once: how much later than asked are all of them done, how much CPU and memory does it take.
#include "../examples/support/command_line.hpp"
#include "support/tasks.hpp"
#include <cstdio>
#include <skua/runtime.hpp>

int main(int argc, char** argv) {
  std::string tasks_text = "1000000", seconds_text = "10";
  unsigned workers = 2;
  std::size_t tasks = 0;
  double seconds = 0;
  example::command_line line("sleepers", "Spawns TASKS tasks that sleep SECONDS each, and joins them. Prints the time over, CPU time, and peak bytes a task.");
  line.positional("TASKS", tasks_text, "how many (default: 1000000)", false);
  line.positional("SECONDS", seconds_text, "how long (default: 10)", false);
  line.number("--workers", workers, 1, 1024, "worker threads");
  line.flag("--smoke", bench::smoke(), bench::smoke_help);
  line.parse(argc, argv);
  if (!line.read(tasks_text, tasks, 1, 100'000'000)) line.fail("TASKS must be a number from 1 to 100000000");
  if (!line.read(seconds_text, seconds, 0, 86'400)) line.fail("SECONDS must be a number from 0 to 86400");
  if (bench::smoke()) tasks = 1000, seconds = 0.01;

  skua::runtime rt({.workers = workers});
  long const before_kib = bench::peak_rss_kib();
  bench::stopwatch watch;
  bench::sleep_length = std::chrono::nanoseconds(static_cast<std::int64_t>(seconds * 1e9));
  rt.block_on(bench::group(tasks, bench::sleeper));
  bench::spent const spent = watch.read();
  double const bytes = static_cast<double>(bench::peak_rss_kib() - before_kib) * 1024 / static_cast<double>(tasks);
  std::printf("%s\nsleepers tasks=%zu seconds=%g over_s=%.3f cpu_s=%.3f bytes_per_task=%.0f\n", bench::processor().c_str(), tasks, seconds,
              spent.wall / 1e9 - seconds, spent.cpu / 1e9, bytes);
}
