// SPDX-License-Identifier: Apache-2.0
// fib, skynet, nqueens and matmul on skua and on oneTBB, in sizes that take a fraction of a second.
//
// For figures that are compared, use fork_join_compare: it alternates both sides in processes of their own.
#include "support/bench_main.hpp"
#include "support/fork_join.hpp"
#include "support/fork_join_tbb.hpp"
#include <benchmark/benchmark.h>
#include <oneapi/tbb/task_group.h>
#include <skua/runtime.hpp>

namespace {

unsigned workers(benchmark::State const& state) { return static_cast<unsigned>(state.range(0)); }

void check(benchmark::State& state, bool correct) {
  if (!correct) state.SkipWithError("wrong result");
}
void per_fork(benchmark::State& state, double forks) {
  state.counters["per_fork"] = benchmark::Counter(forks, benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}

unsigned const fib_size = bench::size(30u, 12), skynet_levels = bench::size(6u, 2), queens = bench::size(11u, 6);
std::size_t const matmul_size = bench::size(std::size_t{512}, 64);

void fib(benchmark::State& state) {
  skua::runtime rt({.workers = workers(state)});
  for (auto _ : state) check(state, rt.block_on(bench::fib(fib_size)) == bench::fib_value(fib_size));
  per_fork(state, bench::fib_forks(fib_size));
}
void fib_tbb(benchmark::State& state) {
  bench::tbb_version::pool pool(workers(state));
  for (auto _ : state) check(state, pool.run([] { return bench::tbb_version::fib(fib_size); }) == bench::fib_value(fib_size));
  per_fork(state, bench::fib_forks(fib_size));
}

void fib_awaited(benchmark::State& state) {
  skua::runtime rt({.workers = workers(state)});
  for (auto _ : state) check(state, rt.block_on(bench::fib_awaited(fib_size)) == bench::fib_value(fib_size));
  per_fork(state, bench::fib_forks(fib_size));
}
void fib_suspending(benchmark::State& state) {
  unsigned const n = bench::size(22u, 10);
  skua::runtime rt({.workers = workers(state)});
  for (auto _ : state) check(state, rt.block_on(bench::fib_suspending(n)) == bench::fib_value(n));
  per_fork(state, bench::fib_forks(n));
}

void skynet(benchmark::State& state) {
  skua::runtime rt({.workers = workers(state)});
  for (auto _ : state) check(state, rt.block_on(bench::skynet(0, skynet_levels)) == bench::skynet_value(skynet_levels));
}
void skynet_tbb(benchmark::State& state) {
  bench::tbb_version::pool pool(workers(state));
  for (auto _ : state) check(state, pool.run([] { return bench::tbb_version::skynet(0, skynet_levels); }) == bench::skynet_value(skynet_levels));
}

void nqueens(benchmark::State& state) {
  skua::runtime rt({.workers = workers(state)});
  for (auto _ : state) check(state, rt.block_on(bench::nqueens(0, queens, {})) == bench::nqueens_value(queens));
}
void nqueens_tbb(benchmark::State& state) {
  bench::tbb_version::pool pool(workers(state));
  for (auto _ : state) check(state, pool.run([] { return bench::tbb_version::nqueens(0, queens, {}); }) == bench::nqueens_value(queens));
}

void matmul(benchmark::State& state) {
  skua::runtime rt({.workers = workers(state)});
  bench::matrix a(matmul_size, 1), b(matmul_size, 1), c(matmul_size, 0);
  for (auto _ : state) rt.block_on(bench::matmul(c.all(), a.all(), b.all()));
  check(state, c.cells()[0] == static_cast<int>(matmul_size) * static_cast<int>(state.iterations()));
}
void matmul_tbb(benchmark::State& state) {
  bench::tbb_version::pool pool(workers(state));
  bench::matrix a(matmul_size, 1), b(matmul_size, 1), c(matmul_size, 0);
  for (auto _ : state) pool.run([&] { bench::tbb_version::matmul(c.all(), a.all(), b.all()); });
  check(state, c.cells()[0] == static_cast<int>(matmul_size) * static_cast<int>(state.iterations()));
}

BENCHMARK(fib)->Apply(bench::worker_counts)->Unit(benchmark::kMillisecond);
BENCHMARK(fib_tbb)->Apply(bench::worker_counts)->Unit(benchmark::kMillisecond);
BENCHMARK(fib_awaited)->Apply(bench::worker_counts)->Unit(benchmark::kMillisecond);
BENCHMARK(fib_suspending)->Apply(bench::worker_counts)->Unit(benchmark::kMillisecond);
BENCHMARK(skynet)->Apply(bench::worker_counts)->Unit(benchmark::kMillisecond);
BENCHMARK(skynet_tbb)->Apply(bench::worker_counts)->Unit(benchmark::kMillisecond);
BENCHMARK(nqueens)->Apply(bench::worker_counts)->Unit(benchmark::kMillisecond);
BENCHMARK(nqueens_tbb)->Apply(bench::worker_counts)->Unit(benchmark::kMillisecond);
BENCHMARK(matmul)->Apply(bench::worker_counts)->Unit(benchmark::kMillisecond);
BENCHMARK(matmul_tbb)->Apply(bench::worker_counts)->Unit(benchmark::kMillisecond);

} // namespace

int main(int argc, char** argv) { return bench::run_benchmarks(argc, argv); }
