// SPDX-License-Identifier: Apache-2.0
// What the benchmark programs measure with: clocks, peak memory, the processor's name, medians.
//
// SKUA_BENCH_SMOKE=1, or --smoke, makes every program tiny: the tests run them all that way, so that none rots.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <sched.h>
#include <string>
#include <string_view>
#include <sys/resource.h>
#include <type_traits>
#include <utility>
#include <vector>

namespace bench {

inline bool& smoke() {
  static bool on = [] {
    char const* const value = std::getenv("SKUA_BENCH_SMOKE");
    return value != nullptr && *value != '\0' && std::string_view(value) != "0";
  }();
  return on;
}
inline constexpr char const* smoke_help = "as small as can be, to see that it works; SKUA_BENCH_SMOKE=1 does the same";
template <class Number>
Number size(Number full, std::type_identity_t<Number> tiny) {
  return smoke() ? tiny : full;
}

inline double clock_ns(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) * 1e9 + static_cast<double>(t.tv_nsec);
}
inline double wall_ns() { return clock_ns(CLOCK_MONOTONIC); }
inline double cpu_ns() { return clock_ns(CLOCK_PROCESS_CPUTIME_ID); }   // of all threads, user and system

inline long peak_rss_kib() {
  rusage u{};
  getrusage(RUSAGE_SELF, &u);
  return u.ru_maxrss;
}

// Wall and CPU time between two points.
struct spent {
  double wall = 0, cpu = 0;
};
class stopwatch {
public:
  spent read() const { return {wall_ns() - wall_, cpu_ns() - cpu_}; }

private:
  double wall_ = wall_ns(), cpu_ = cpu_ns();
};

inline double quantile(std::vector<double> values, double q) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  double const at = q * static_cast<double>(values.size() - 1);
  auto const below = static_cast<std::size_t>(at);
  double const rest = at - static_cast<double>(below);
  return below + 1 < values.size() ? values[below] * (1 - rest) + values[below + 1] * rest : values[below];
}
inline double median(std::vector<double> values) { return quantile(std::move(values), 0.5); }

// CPU seconds that all processes of the machine have used: the difference to our own is what others took.
inline double machine_cpu_s() {
  std::ifstream stat("/proc/stat");
  std::string word;
  double ticks[8] = {};
  stat >> word;
  for (double& t : ticks) stat >> t;
  return (ticks[0] + ticks[1] + ticks[2] + ticks[5] + ticks[6] + ticks[7]) / 100.0;   // USER_HZ
}

// Figures of one kind of processor say little about another: it belongs into every table.
inline std::string processor() {
  std::ifstream info("/proc/cpuinfo");
  std::string name = "unknown processor";
  for (std::string line; std::getline(info, line);)
    if (line.starts_with("model name")) {
      name = line.substr(line.find(':') + 2);
      break;
    }
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) name += ", " + std::to_string(CPU_COUNT(&set)) + " cores";
  return name;
}

} // namespace bench
