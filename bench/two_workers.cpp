// SPDX-License-Identifier: Apache-2.0
// Two workers against one worker of the same program, in paired rounds: two must never be slower than one, and must be nearly twice as fast where the
// work is worth it.
//
// The rule: each round measures both, in random order; what counts is the median of the paired ratios of at least 20 rounds (the machine's speed
// moves by 30 % within seconds, so only pairs say anything). The targets were fixed before measuring.
#include "../examples/support/command_line.hpp"
#include "support/fork_join.hpp"
#include "support/json.hpp"
#include "support/tasks.hpp"
#include <cstdio>
#include <random>
#include <skua/runtime.hpp>
#include <string>

namespace {

// Fork-join trees one after the other.
skua::task<> trees(std::size_t times, unsigned n) {
  for (std::size_t i = 0; i < times; ++i) bench::require(co_await bench::fib(n) == bench::fib_value(n));
}

// The fib whose tree takes about `ns` with one worker, on this machine.
unsigned tree_of(skua::runtime& one, double ns) {
  unsigned best = 2;
  double best_distance = 1e18;
  for (unsigned n = 8; n < 24; ++n) {
    std::size_t const times = 20;
    one.block_on(trees(times, n));
    bench::stopwatch watch;
    one.block_on(trees(times, n));
    double const took = watch.read().wall / static_cast<double>(times);
    if (std::abs(took / ns - 1) < best_distance) best = n, best_distance = std::abs(took / ns - 1);
    if (took > 2 * ns) break;
  }
  return best;
}

struct workload {
  std::string name;
  double wall_target, cpu_target;   // ratio of two workers to one; 0: no target
  double ns_each;                   // a guess, to choose how many make a round
  std::function<skua::task<>(std::size_t times)> start;
};

skua::task<> spawn_at_once(std::size_t times, std::size_t batch, double work_ns) {
  return bench::spawn_join((times + batch - 1) / batch * batch, batch, bench::rounds_for(work_ns));
}

std::vector<workload> make_workloads(skua::runtime& one) {
  std::vector<workload> all;
  auto tasks = [&](std::string name, std::size_t batch, double work_ns, double wall, double cpu) {
    all.push_back({std::move(name), wall, cpu, work_ns + 30, [=](std::size_t times) { return spawn_at_once(times, batch, work_ns); }});
  };
  tasks("trivial, 1 at once", 1, 0, 1.05, 1.3);
  tasks("trivial, 10 at once", 10, 0, 1.05, 1.3);
  tasks("trivial, 1000 at once", 1000, 0, 1.05, 1.3);
  tasks("1 us, 1000 at once", 1000, 1e3, 1 / 1.6, 0);
  tasks("2 us, 1000 at once", 1000, 2e3, 1 / 1.8, 0);
  tasks("10 us, 1000 at once", 1000, 10e3, 1 / 1.9, 0);
  tasks("100 us, 1000 at once", 1000, 100e3, 1 / 1.95, 0);
  for (auto [us, target] : {std::pair{20.0, 0.75}, std::pair{90.0, 0.62}}) {
    unsigned const n = tree_of(one, us * 1e3);
    all.push_back({"fork-join trees of " + std::to_string(static_cast<int>(us)) + " us (fib " + std::to_string(n) + ")", target, 0, us * 1e3,
                   [n](std::size_t times) { return trees(times, n); }});
  }
  return all;
}

bench::spent measure(skua::runtime& rt, workload const& w, std::size_t times) {
  bench::stopwatch watch;
  rt.block_on(w.start(times));
  bench::spent s = watch.read();
  s.wall /= static_cast<double>(times);
  s.cpu /= static_cast<double>(times);
  return s;
}

// Prints a row; true if the targets are met.
bool compare(skua::runtime& one, skua::runtime& two, workload const& w, std::size_t rounds, double round_ms, std::mt19937& random, bench::json_file& out) {
  std::size_t const times = bench::size(std::max<std::size_t>(1, static_cast<std::size_t>(round_ms * 1e6 / w.ns_each)), 2);
  for (auto* rt : {&one, &two}) measure(*rt, w, times / 10 + 1);   // warm
  std::vector<double> wall[2], cpu[2], wall_ratio, cpu_ratio;
  for (std::size_t r = 0; r < rounds; ++r) {
    bench::spent s[2];
    bool const two_first = random() % 2 == 0;
    for (int turn = 0; turn < 2; ++turn) {
      bool const is_two = (turn == 0) == two_first;
      s[is_two] = measure(is_two ? two : one, w, times);
    }
    for (int i = 0; i < 2; ++i) wall[i].push_back(s[i].wall), cpu[i].push_back(s[i].cpu);
    wall_ratio.push_back(s[1].wall / s[0].wall);
    cpu_ratio.push_back(s[1].cpu / s[0].cpu);
  }
  double const ratio = bench::median(wall_ratio), ratio_cpu = bench::median(cpu_ratio);
  bool const met = ratio <= w.wall_target && (w.cpu_target == 0 || ratio_cpu <= w.cpu_target);
  std::printf("%-36s %10.1f %10.1f   %5.3f [%5.3f %5.3f] <= %4.2f   %5.3f%s   %s\n", w.name.c_str(), bench::median(wall[0]), bench::median(wall[1]), ratio,
              bench::quantile(wall_ratio, .25), bench::quantile(wall_ratio, .75), w.wall_target, ratio_cpu, w.cpu_target == 0 ? "        " : " <= 1.30",
              met ? "met" : "MISSED");
  std::fflush(stdout);
  for (int i = 0; i < 2; ++i)
    out.add("two_workers/" + w.name + "/workers:" + std::to_string(i + 1), bench::median(wall[i]), bench::median(cpu[i]), "ns",
            {{"wall_ratio", ratio}, {"cpu_ratio", ratio_cpu}});
  return met;
}

} // namespace

int main(int argc, char** argv) {
  std::size_t rounds = 21;
  double round_ms = 50;
  bool check = false;
  std::string only, file;
  example::command_line line("two_workers", "Two workers against one worker of the same program, paired rounds; ns an operation, ratios, targets.");
  line.number("--rounds", rounds, 1, 10'000, "rounds of each workload; at least 20 make a measurement");
  line.number("--milliseconds", round_ms, 1, 10'000, "how long one side of a round takes with one worker");
  line.text("--only", only, "workloads whose name contains this");
  line.text("--json", file, "writes the figures to this file, in Google Benchmark's format");
  line.flag("--check", check, "exit 1 if a target is missed");
  line.flag("--smoke", bench::smoke(), bench::smoke_help);
  line.parse(argc, argv);
  if (bench::smoke()) rounds = 2;

  skua::runtime one({.workers = 1}), two({.workers = 2});
  std::random_device seed;
  std::mt19937 random(seed());
  bench::json_file out("two_workers");
  std::printf("%s; medians of %zu paired rounds [quartiles]\n", bench::processor().c_str(), rounds);
  std::printf("%-36s %10s %10s   %-29s   %s\n", "ns an operation", "1 worker", "2 workers", "wall, two / one", "CPU, two / one");
  bool met = true;
  for (workload const& w : make_workloads(one))
    if (w.name.find(only) != std::string::npos) met = compare(one, two, w, rounds, round_ms, random, out) && met;
  if (!file.empty() && !out.write(file)) return std::fprintf(stderr, "two_workers: cannot write %s\n", file.c_str()), 1;
  return check && !met ? 1 : 0;
}
