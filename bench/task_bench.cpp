// SPDX-License-Identifier: Apache-2.0
// What tasks cost: spawn and join, yield, a timeout around a yield, an awaited child, a fork of two.
//
// Every loop runs inside one task, so nothing but the operation itself is timed.
#include "support/bench_main.hpp"
#include <benchmark/benchmark.h>
#include <functional>
#include <skua/runtime.hpp>
#include <skua/this_task.hpp>
#include <skua/timeout.hpp>
#include <skua/when_all.hpp>
#include <vector>

using namespace std::chrono_literals;

namespace {

skua::task<int> answer(int i) { co_return i; }

// Runs body(state) as a task, in a runtime of as many workers as the benchmark's argument says.
void in_runtime(benchmark::State& state, skua::task<> (*body)(benchmark::State&)) {
  skua::runtime rt({.workers = static_cast<unsigned>(state.range(0))});
  rt.block_on(body(state));
}
void count(benchmark::State& state, double operations) {
  state.counters["per_op"] = benchmark::Counter(operations, benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}

skua::task<> spawn_join_one(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(co_await skua::spawn(answer, 1));
  count(state, 1);
}

skua::task<> spawn_join_batch(benchmark::State& state) {
  constexpr std::size_t batch = 1000;
  std::vector<skua::join_handle<int>> handles;
  handles.reserve(batch);
  for (auto _ : state) {
    for (std::size_t i = 0; i < batch; ++i) handles.push_back(skua::spawn(answer, 1));
    for (auto& h : handles) benchmark::DoNotOptimize(co_await h);
    handles.clear();
  }
  count(state, batch);
}

skua::task<> yielder(int times) {
  for (int i = 0; i < times; ++i) co_await skua::this_task::yield();
}
skua::task<> yield_1000_tasks(benchmark::State& state) {
  constexpr int tasks = 1000, times = 100;
  for (auto _ : state) {
    std::vector<skua::task<>> all;
    for (int i = 0; i < tasks; ++i) all.push_back(yielder(times));
    co_await skua::when_all(std::move(all));
  }
  count(state, tasks * times);
}

skua::task<> yield_once() { co_await skua::this_task::yield(); }
skua::task<> timeout_around_yield(benchmark::State& state) {
  for (auto _ : state) co_await skua::timeout(1s, yield_once());
  count(state, 1);
}
skua::task<> timeout_around_nothing(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(co_await skua::timeout(1s, answer(1)));
  count(state, 1);
}

skua::task<> await_child(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(co_await answer(1));
  count(state, 1);
}

skua::task<> when_all_of_two(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(co_await skua::when_all(answer(1), answer(2)));
  count(state, 1);
}

skua::task<> when_all_range_of_100(benchmark::State& state) {
  for (auto _ : state) {
    std::vector<skua::task<int>> tasks;
    tasks.reserve(100);
    for (int i = 0; i < 100; ++i) tasks.push_back(answer(i));
    benchmark::DoNotOptimize(co_await skua::when_all(std::move(tasks)));
  }
  count(state, 100);
}

BENCHMARK_CAPTURE(in_runtime, spawn_join_one, spawn_join_one)->Apply(bench::worker_counts);
BENCHMARK_CAPTURE(in_runtime, spawn_join_batch, spawn_join_batch)->Apply(bench::worker_counts);
BENCHMARK_CAPTURE(in_runtime, yield_1000_tasks, yield_1000_tasks)->Apply(bench::worker_counts);
BENCHMARK_CAPTURE(in_runtime, timeout_around_yield, timeout_around_yield)->Apply(bench::worker_counts);
BENCHMARK_CAPTURE(in_runtime, timeout_around_nothing, timeout_around_nothing)->Apply(bench::worker_counts);
BENCHMARK_CAPTURE(in_runtime, await_child, await_child)->Apply(bench::worker_counts);
BENCHMARK_CAPTURE(in_runtime, when_all_of_two, when_all_of_two)->Apply(bench::worker_counts);
BENCHMARK_CAPTURE(in_runtime, when_all_range_of_100, when_all_range_of_100)->Apply(bench::worker_counts);

} // namespace

int main(int argc, char** argv) { return bench::run_benchmarks(argc, argv); }
