// SPDX-License-Identifier: Apache-2.0
// The workloads of the peers' programs (bench/compare), under the same names and with the same output line, to be compared line by line.
//
// scripts/compare-micro alternates this program with a peer's.
#include "../examples/support/command_line.hpp"
#include "support/channels.hpp"
#include "support/sync.hpp"
#include "support/tasks.hpp"
#include <cstdio>
#include <optional>
#include <skua/future.hpp>
#include <skua/runtime.hpp>

namespace {

// Two tasks, all futures made beforehand: only set, wake and receive are timed.
struct oneshots {
  explicit oneshots(std::size_t n) : there(n), back(n) {}
  std::vector<skua::promise<std::uint64_t>> there, back;
};
skua::task<> answer_oneshots(oneshots& o, std::vector<skua::future<std::uint64_t>> questions) {
  for (std::size_t i = 0; i < questions.size(); ++i) o.back[i].set_value(co_await questions[i] + 1);
}
skua::task<> ask_oneshots(oneshots& o, std::vector<skua::future<std::uint64_t>> answers) {
  for (std::size_t i = 0; i < answers.size(); ++i) {
    o.there[i].set_value(i);
    bench::require(co_await answers[i] == i + 1);
  }
}
std::vector<skua::future<std::uint64_t>> futures_of(std::vector<skua::promise<std::uint64_t>>& promises) {
  std::vector<skua::future<std::uint64_t>> all;
  all.reserve(promises.size());
  for (auto& p : promises) all.push_back(p.get_future());
  return all;
}
skua::task<bench::spent> pingpong_oneshot(std::size_t n) {
  oneshots o(n);
  auto questions = futures_of(o.there), answers = futures_of(o.back);
  bench::stopwatch watch;
  auto answering = skua::spawn(answer_oneshots, std::ref(o), std::move(questions));
  auto asking = skua::spawn(ask_oneshots, std::ref(o), std::move(answers));
  co_await asking;
  co_await answering;
  co_return watch.read();
}

std::size_t scaled(std::size_t n) { return bench::size(n, std::max<std::size_t>(1, n / 1000)); }

void report(std::string const& name, std::size_t operations, bench::spent spent) {
  auto const n = static_cast<double>(operations);
  std::printf("%s ns_per_op=%.1f wall_s=%.3f cpu_s=%.3f cpu_ns_per_op=%.1f rss_mib=%.1f\n", name.c_str(), spent.wall / n, spent.wall / 1e9,
              spent.cpu / 1e9, spent.cpu / n, static_cast<double>(bench::peak_rss_kib()) / 1024);
}

void sleepers(skua::runtime& rt) {
  std::size_t const n = scaled(1'000'000);
  double const seconds = bench::size(10.0, 0.01);
  bench::stopwatch watch;
  bench::sleep_length = std::chrono::nanoseconds(static_cast<std::int64_t>(seconds * 1e9));
  rt.block_on(bench::group(n, bench::sleeper));
  bench::spent const spent = watch.read();
  std::printf("sleepers over_10s=%.3f cpu_s=%.3f bytes_per_task=%.0f\n", spent.wall / 1e9 - seconds, bench::cpu_ns() / 1e9,
              static_cast<double>(bench::peak_rss_kib()) * 1024 / static_cast<double>(n));
}

void accuracy(skua::runtime& rt) {
  std::vector<double> const late = rt.block_on(bench::lateness_of(scaled(1000), bench::size(100u, 5), std::chrono::milliseconds(10)));
  auto at = [&](double q) { return bench::quantile(late, q); };
  std::printf("accuracy lateness_us min=%.0f p50=%.0f p99=%.0f max=%.0f cpu_s=%.3f\n", at(0), at(.5), at(.99), at(1), bench::cpu_ns() / 1e9);
}

// The workloads that are timed as a whole: their task and the number of operations.
struct workload {
  char const* name;
  std::size_t operations;
  skua::task<> (*start)();
};
constexpr workload workloads[] = {
    {"spawn_join", 2'000'000, [] { return bench::spawn_join(scaled(2'000'000), scaled(2'000'000)); }},
    {"spawn_join_batch", 2'000'000, [] { return bench::spawn_join(scaled(2'000'000), 1000); }},
    {"spawn_join_seq", 1'000'000, [] { return bench::spawn_join_one(scaled(1'000'000)); }},
    {"yield", 1'000'000, [] { return bench::group(scaled(1000), bench::yields, std::size_t{1000}); }},
    {"churn", 2'000'000, [] { return bench::group(scaled(100'000), bench::churn, std::size_t{20}); }},
    {"pingpong_chan", 1'000'000, [] { return bench::ping_pong(scaled(1'000'000)); }},
    {"rpc_oneshot", 1'000'000, [] { return bench::requests(scaled(1'000'000)); }},
    {"mpsc", 10'000'000, [] { return bench::many_to_one(scaled(10'000'000)); }},
    {"mutex", 3'200'000, [] { return bench::contend_for_mutex(16, scaled(200'000), false); }},
    {"mutex_hold", 800'000, [] { return bench::contend_for_mutex(16, scaled(50'000), true); }},
};

// False: there is no such workload.
bool run(skua::runtime& rt, std::string const& name) {
  for (workload const& w : workloads) {
    if (name != w.name) continue;
    bench::stopwatch watch;
    rt.block_on(w.start());
    report(name, scaled(w.operations), watch.read());
    return true;
  }
  if (name == "pingpong_oneshot")
    report(name, scaled(1'000'000), rt.block_on(pingpong_oneshot(scaled(1'000'000))));
  else if (name == "sleepers")
    sleepers(rt);
  else if (name == "accuracy")
    accuracy(rt);
  else
    return false;
  return true;
}

} // namespace

int main(int argc, char** argv) {
  std::string name;
  unsigned workers = 2;
  std::string const all = "spawn_join spawn_join_batch spawn_join_seq yield churn "
                          "pingpong_chan rpc_oneshot mpsc mutex mutex_hold pingpong_oneshot sleepers accuracy";
  example::command_line line("micro", "Runs one workload and prints one line.");
  line.positional("WORKLOAD", name, all, false);
  line.number("--workers", workers, 1, 1024, "worker threads");
  line.flag("--smoke", bench::smoke(), bench::smoke_help);
  line.parse(argc, argv);

  if (name.empty() && !bench::smoke()) line.fail("WORKLOAD is missing");
  skua::runtime rt({.workers = workers});
  if (!name.empty()) {
    if (!run(rt, name)) line.fail("unknown workload \"" + name + "\"");
    return 0;
  }
  for (workload const& w : workloads) run(rt, w.name);
  for (char const* n : {"pingpong_oneshot", "sleepers", "accuracy"}) run(rt, n);
}
