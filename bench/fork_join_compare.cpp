// SPDX-License-Identifier: Apache-2.0
// Fork-join against oneTBB: a table over worker counts, with the ratio, its spread, and peak memory.
//
// Every measurement is a process of its own, so that peak memory belongs to one side and neither inherits the other's threads. The two sides of a
// round follow each other directly, in random order; the ratio is the median of the rounds' ratios.
#include "../examples/support/command_line.hpp"
#include "support/fork_join.hpp"
#include "support/fork_join_tbb.hpp"
#include "support/json.hpp"
#include <cstdio>
#include <cstring>
#include <map>
#include <oneapi/tbb/task_group.h>
#include <random>
#include <skua/runtime.hpp>
#include <spawn.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

extern char** environ;

namespace {

struct workload {
  char const* name;
  unsigned quick, full, tiny;   // sizes: for the table, of the public suite, for the smoke run
  unsigned warm;
};
constexpr workload workloads[] = {{"fib", 34, 39, 12, 20}, {"skynet", 7, 8, 2, 3}, {"nqueens", 12, 14, 6, 6}, {"matmul", 1024, 2048, 64, 64}};

// ---------------------------------------------------------------- the measured process

bool run_skua(skua::runtime& rt, std::string const& name, unsigned n) {
  if (name == "fib") return rt.block_on(bench::fib(n)) == bench::fib_value(n);
  if (name == "skynet") return rt.block_on(bench::skynet(0, n)) == bench::skynet_value(n);
  if (name == "nqueens") return rt.block_on(bench::nqueens(0, n, {})) == bench::nqueens_value(n);
  bench::matrix a(n, 1), b(n, 1), c(n, 0);
  rt.block_on(bench::matmul(c.all(), a.all(), b.all()));
  return c.cells().back() == static_cast<int>(n);
}
bool run_tbb(bench::tbb_version::pool& pool, std::string const& name, unsigned n) {
  if (name == "fib") return pool.run([n] { return bench::tbb_version::fib(n); }) == bench::fib_value(n);
  if (name == "skynet") return pool.run([n] { return bench::tbb_version::skynet(0, n); }) == bench::skynet_value(n);
  if (name == "nqueens") return pool.run([n] { return bench::tbb_version::nqueens(0, n, {}); }) == bench::nqueens_value(n);
  bench::matrix a(n, 1), b(n, 1), c(n, 0);
  pool.run([&] { bench::tbb_version::matmul(c.all(), a.all(), b.all()); });
  return c.cells().back() == static_cast<int>(n);
}

// Prints "wall-ns cpu-ns peak-KiB".
int measured(std::string const& side, std::string const& name, unsigned n, unsigned warm, unsigned workers) {
  auto timed = [&](auto run) {
    if (!run(warm)) return false;
    bench::stopwatch watch;
    if (!run(n)) return false;
    bench::spent const s = watch.read();
    std::printf("%.0f %.0f %ld\n", s.wall, s.cpu, bench::peak_rss_kib());
    return true;
  };
  bool correct;
  if (side == "skua") {
    skua::runtime rt({.workers = workers});
    correct = timed([&](unsigned size) { return run_skua(rt, name, size); });
  } else {
    bench::tbb_version::pool pool(workers);
    correct = timed([&](unsigned size) { return run_tbb(pool, name, size); });
  }
  if (!correct) std::fprintf(stderr, "fork_join_compare: %s on %s: wrong result\n", name.c_str(), side.c_str());
  return correct ? 0 : 1;
}

// ---------------------------------------------------------------- the table

struct sample {
  double wall_ms = 0, cpu_ms = 0, peak_kib = 0;
};

// Runs this program again as `measured`.
sample run_side(char const* side, char const* name, unsigned n, unsigned warm, unsigned workers) {
  int ends[2];
  if (pipe(ends) != 0) throw std::system_error(errno, std::generic_category(), "pipe");
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_addclose(&actions, ends[0]);
  posix_spawn_file_actions_addclose(&actions, ends[1]);
  std::string words[] = {"fork_join_compare", "--measured", side, name, std::to_string(n), std::to_string(warm), std::to_string(workers)};
  std::vector<char*> arguments;
  for (std::string& w : words) arguments.push_back(w.data());
  arguments.push_back(nullptr);
  pid_t child = 0;
  int const error = posix_spawn(&child, "/proc/self/exe", &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  if (error != 0) throw std::system_error(error, std::generic_category(), "posix_spawn");
  sample s;
  std::FILE* const out = fdopen(ends[0], "r");
  int const fields = std::fscanf(out, "%lf %lf %lf", &s.wall_ms, &s.cpu_ms, &s.peak_kib);
  std::fclose(out);
  int status = 0;
  waitpid(child, &status, 0);
  if (status != 0 || fields != 3) throw std::runtime_error(std::string(name) + " on " + side + " failed");
  s.wall_ms /= 1e6;
  s.cpu_ms /= 1e6;
  return s;
}

struct figures {
  std::vector<double> wall[2], cpu[2], peak[2], ratio, cpu_ratio;   // 0: skua, 1: oneTBB
};
// A round is disturbed if all other processes together used more than 0.12 of a core meanwhile. Those count only where no other exists.
struct cell {
  figures quiet, disturbed;
  figures& best() { return quiet.ratio.empty() ? disturbed : quiet; }
};
constexpr char const* sides[] = {"skua", "tbb"};

double children_cpu_s() {
  rusage u{};
  getrusage(RUSAGE_CHILDREN, &u);
  auto seconds = [](timeval const& t) { return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6; };
  return seconds(u.ru_utime) + seconds(u.ru_stime);
}

void measure_round(cell& both, workload const& w, unsigned n, unsigned workers, bool tbb_first) {
  double const start = bench::wall_ns(), machine = bench::machine_cpu_s(), ours = children_cpu_s();
  sample s[2];
  for (int turn = 0; turn < 2; ++turn) {
    int const side = (turn == 0) == tbb_first;
    s[side] = run_side(sides[side], w.name, n, w.warm, workers);
  }
  double const others = bench::machine_cpu_s() - machine - (children_cpu_s() - ours);
  figures& c = others > 0.12 * (bench::wall_ns() - start) / 1e9 ? both.disturbed : both.quiet;
  for (int side = 0; side < 2; ++side) {
    c.wall[side].push_back(s[side].wall_ms);
    c.cpu[side].push_back(s[side].cpu_ms);
    c.peak[side].push_back(s[side].peak_kib);
  }
  c.ratio.push_back(s[0].wall_ms / s[1].wall_ms);
  c.cpu_ratio.push_back(s[0].cpu_ms / s[1].cpu_ms);
}

void print_row(workload const& w, unsigned n, unsigned workers, cell& all, double one_worker_ms) {
  figures const& c = all.best();
  std::printf("%-12s %7u %10.1f %10.1f   %5.2f [%4.2f %4.2f]  %5.2f %8.2f %8.1f %8.1f %6zu %9zu\n",
              (w.name + std::string(" ") + std::to_string(n)).c_str(), workers,
              bench::median(c.wall[0]), bench::median(c.wall[1]), bench::median(c.ratio), bench::quantile(c.ratio, 0),
              bench::quantile(c.ratio, 1), bench::median(c.cpu_ratio), one_worker_ms / bench::median(c.wall[0]), bench::quantile(c.peak[0], 1) / 1024,
              bench::quantile(c.peak[1], 1) / 1024, all.quiet.ratio.size(), all.disturbed.ratio.size());
}

} // namespace

int main(int argc, char** argv) {
  if (argc == 7 && std::strcmp(argv[1], "--measured") == 0) {
    auto number = [&](int i) { return static_cast<unsigned>(std::strtoul(argv[i], nullptr, 10)); };
    return measured(argv[2], argv[3], number(4), number(5), number(6));
  }
  double seconds = 60;
  unsigned workers = std::max(1u, std::thread::hardware_concurrency());
  bool full = false;
  std::string file, only;
  example::command_line line("fork_join_compare", "fib, skynet, nqueens and matmul on skua and on oneTBB, alternating, over worker counts.");
  line.number("--seconds", seconds, 1, 86'400, "how long to measure; at least one round is done");
  line.number("--workers", workers, 1, 1024, "the largest number of workers: 1 to N are measured");
  line.flag("--full", full, "the sizes of the public suite: fib 39, skynet 8, nqueens 14, matmul 2048");
  line.text("--only", only, "this workload alone", {"fib", "skynet", "nqueens", "matmul"});
  line.text("--json", file, "writes the figures to this file, in Google Benchmark's format");
  line.flag("--smoke", bench::smoke(), bench::smoke_help);
  line.parse(argc, argv);

  std::random_device seed;
  std::mt19937 random(seed());
  std::map<std::pair<std::size_t, unsigned>, cell> cells;
  auto size_of = [&](workload const& w) { return bench::size(full ? w.full : w.quick, w.tiny); };
  double const end = bench::wall_ns() + (bench::smoke() ? 0 : seconds * 1e9);
  do {
    for (std::size_t i = 0; i < std::size(workloads); ++i)
      for (unsigned n = 1; n <= workers; n = n < 8 || n == workers ? n + 1 : std::min(n * 2, workers))
        if (only.empty() || only == workloads[i].name) measure_round(cells[{i, n}], workloads[i], size_of(workloads[i]), n, random() % 2 == 0);
  } while (bench::wall_ns() < end);

  std::printf("%s\n", bench::processor().c_str());
  std::printf("%-12s %7s %10s %10s   %-17s  %5s %8s %8s %8s %6s %9s\n", "workload", "workers",
              "skua ms", "oneTBB ms", "skua / oneTBB", "CPU", "speed-up", "MiB", "TBB MiB", "quiet", "disturbed");
  bench::json_file out("fork_join_compare");
  for (auto& [key, all] : cells) {
    workload const& w = workloads[key.first];
    print_row(w, size_of(w), key.second, all, bench::median(cells[{key.first, 1}].best().wall[0]));
    figures const& c = all.best();
    for (int side = 0; side < 2; ++side)
      out.add(std::string(w.name) + "/" + sides[side] + "/workers:" + std::to_string(key.second), bench::median(c.wall[side]), bench::median(c.cpu[side]), "ms",
              {{"size", size_of(w)}, {"ratio", bench::median(c.ratio)}, {"peak_mib", bench::quantile(c.peak[side], 1) / 1024}});
  }
  if (!file.empty() && !out.write(file)) return std::fprintf(stderr, "fork_join_compare: cannot write %s\n", file.c_str()), 1;
}
