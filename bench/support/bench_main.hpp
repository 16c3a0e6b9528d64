// SPDX-License-Identifier: Apache-2.0
// main() of the Google Benchmark programs: the processor's name goes into the context, SKUA_BENCH_SMOKE=1 makes every run as short as can be.
#pragma once
#include "measure.hpp"
#include <benchmark/benchmark.h>
#include <vector>

namespace bench {

// One worker, and as many as the machine has cores; what two cost against one is half of what these programs are for.
inline void worker_counts(benchmark::internal::Benchmark* b) {
  b->ArgName("workers")->Arg(1)->Arg(2)->UseRealTime()->MeasureProcessCPUTime();
}

inline int run_benchmarks(int argc, char** argv) {
  std::vector<char*> arguments(argv, argv + argc);
  char shortest[] = "--benchmark_min_time=0.000001";
  if (smoke()) arguments.push_back(shortest);
  int count = static_cast<int>(arguments.size());
  benchmark::Initialize(&count, arguments.data());
  if (benchmark::ReportUnrecognizedArguments(count, arguments.data())) return 2;
  benchmark::AddCustomContext("processor", processor());
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}

} // namespace bench
