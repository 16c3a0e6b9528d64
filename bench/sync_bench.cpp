// SPDX-License-Identifier: Apache-2.0
// What synchronisation costs: uncontended operations of each primitive, a mutex that 16 tasks contend for, turns between two tasks.
//
// Every loop runs inside one task, so nothing but the operation itself is timed. The rows that the peers have as well are in `micro`.
#include "support/bench_main.hpp"
#include "support/sync.hpp"
#include <benchmark/benchmark.h>
#include <functional>
#include <skua/condition_variable.hpp>
#include <skua/event.hpp>
#include <skua/once.hpp>
#include <skua/runtime.hpp>
#include <skua/semaphore.hpp>
#include <skua/shared_mutex.hpp>

namespace {

// Runs body(state) as a task, in a runtime of as many workers as the benchmark's argument says.
void in_runtime(benchmark::State& state, skua::task<> (*body)(benchmark::State&)) {
  skua::runtime rt({.workers = static_cast<unsigned>(state.range(0))});
  rt.block_on(body(state));
}
void count(benchmark::State& state, double operations) {
  state.counters["per_op"] = benchmark::Counter(operations, benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}

skua::task<> mutex_uncontended(benchmark::State& state) {
  skua::mutex m;
  for (auto _ : state) {
    auto const lock = co_await m.lock();
    benchmark::DoNotOptimize(&lock);
  }
  count(state, 1);
}
skua::task<> mutex_try_lock(benchmark::State& state) {
  skua::mutex m;
  for (auto _ : state) {
    auto const lock = m.try_lock();
    benchmark::DoNotOptimize(&lock);
  }
  count(state, 1);
  co_return;
}
skua::task<> mutex_16_tasks(benchmark::State& state) {
  constexpr std::size_t tasks = 16, times = 2000;
  for (auto _ : state) co_await bench::contend_for_mutex(tasks, times, false);
  count(state, tasks * times);
}
skua::task<> mutex_held_over_yield(benchmark::State& state) {
  constexpr std::size_t tasks = 16, times = 500;
  for (auto _ : state) co_await bench::contend_for_mutex(tasks, times, true);
  count(state, tasks * times);
}

skua::task<> shared_mutex_read(benchmark::State& state) {
  skua::shared_mutex m;
  for (auto _ : state) {
    auto const lock = co_await m.lock_shared();
    benchmark::DoNotOptimize(&lock);
  }
  count(state, 1);
}
skua::task<> semaphore_uncontended(benchmark::State& state) {
  skua::counting_semaphore s(1);
  for (auto _ : state) {
    auto const permit = co_await s.acquire();
    benchmark::DoNotOptimize(&permit);
  }
  count(state, 1);
}
skua::task<> event_that_is_set(benchmark::State& state) {
  skua::event e(true);
  for (auto _ : state) co_await e.wait();
  count(state, 1);
}
skua::task<> once_that_is_done(benchmark::State& state) {
  skua::once o;
  for (auto _ : state) co_await o.call([] {});
  count(state, 1);
}

struct table {
  skua::auto_reset_event ping, pong;
  bool over = false;
};
skua::task<> answer(table& t) {
  for (;;) {
    co_await t.ping.wait();
    if (t.over) co_return;
    t.pong.set();
  }
}
skua::task<> turns_by_events(benchmark::State& state) {
  table t;
  auto h = skua::spawn(answer, std::ref(t));
  for (auto _ : state) {
    t.ping.set();
    co_await t.pong.wait();
  }
  t.over = true;
  t.ping.set();
  co_await h;
  count(state, 1);
}

BENCHMARK_CAPTURE(in_runtime, mutex_uncontended, mutex_uncontended)->Apply(bench::worker_counts);
BENCHMARK_CAPTURE(in_runtime, mutex_try_lock, mutex_try_lock)->Apply(bench::worker_counts);
BENCHMARK_CAPTURE(in_runtime, mutex_16_tasks, mutex_16_tasks)->Apply(bench::worker_counts);
BENCHMARK_CAPTURE(in_runtime, mutex_held_over_yield, mutex_held_over_yield)->Apply(bench::worker_counts);
BENCHMARK_CAPTURE(in_runtime, shared_mutex_read, shared_mutex_read)->Apply(bench::worker_counts);
BENCHMARK_CAPTURE(in_runtime, semaphore_uncontended, semaphore_uncontended)->Apply(bench::worker_counts);
BENCHMARK_CAPTURE(in_runtime, event_that_is_set, event_that_is_set)->Apply(bench::worker_counts);
BENCHMARK_CAPTURE(in_runtime, once_that_is_done, once_that_is_done)->Apply(bench::worker_counts);
BENCHMARK_CAPTURE(in_runtime, turns_by_events, turns_by_events)->Apply(bench::worker_counts);

} // namespace

int main(int argc, char** argv) { return bench::run_benchmarks(argc, argv); }
