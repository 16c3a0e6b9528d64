// SPDX-License-Identifier: Apache-2.0
// What timers cost by themselves: the wheel, the queue with its lock, the expiry of a crowd, and how all that grows with their number.
//
//     wheel_insert_remove    the pure data structure, a pair
//     queue_arm_disarm       the same with the lock, as a timeout that is not needed pays it
//     .../armed:N            the same with N others armed; timers are taken out in random order, so at 10^7 their memory is not in any cache
//     expire_crowd/N         N timers with one deadline, 10 s ahead: all cascades and the hand-over, 256 at a time
//     sleep/N                a timer's whole life: N armed with increasing deadlines over 500 ms, time passes, all fire in order
//
// per_timer is what to compare between sizes: it must be flat (within 1.5 x) from 10^3 to 10^7, caches aside.
#include "scheduler/timer_queue.hpp"
#include "support/bench_main.hpp"
#include <algorithm>
#include <benchmark/benchmark.h>
#include <numeric>
#include <random>
#include <vector>

namespace {

using namespace skua::detail;
using wheel = basic_timer_wheel<real_sync>;

constexpr std::uint64_t start = 123'456'789'012'345, second = 1'000'000'000;

void per_timer(benchmark::State& state, double timers) {
  state.counters["per_timer"] = benchmark::Counter(timers, benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}
std::size_t size_of(benchmark::State& state) {
  return bench::smoke() ? std::min<std::size_t>(1000, static_cast<std::size_t>(state.range(0))) : static_cast<std::size_t>(state.range(0));
}

void wheel_insert_remove(benchmark::State& state) {
  wheel w(start);
  timer_entry e;
  std::uint64_t deadline = start + second;
  for (auto _ : state) {
    benchmark::DoNotOptimize(w.insert(e, deadline += 100));
    w.remove(e);
  }
}
BENCHMARK(wheel_insert_remove);

void queue_arm_disarm(benchmark::State& state) {
  timer_queue q(start);
  timer_entry e;
  std::uint64_t deadline = start + second;
  for (auto _ : state) {
    benchmark::DoNotOptimize(q.arm(e, deadline += 100));
    benchmark::DoNotOptimize(timer_queue::disarm(e));
  }
}
BENCHMARK(queue_arm_disarm);

void queue_arm_disarm_among(benchmark::State& state) {
  std::size_t const n = size_of(state);
  timer_queue q(start);
  std::vector<timer_entry> timers(n);
  std::vector<std::uint32_t> order(n);
  std::iota(order.begin(), order.end(), 0u);
  std::shuffle(order.begin(), order.end(), std::mt19937(1));
  std::uint64_t deadline = start + second;
  for (timer_entry& t : timers) (void)q.arm(t, deadline += 100);
  std::size_t i = 0;
  for (auto _ : state) {
    timer_entry& t = timers[order[i]];
    benchmark::DoNotOptimize(timer_queue::disarm(t));
    (void)q.arm(t, deadline += 100);
    if (++i == n) i = 0;
  }
  for (timer_entry& t : timers) (void)timer_queue::disarm(t);
}
BENCHMARK(queue_arm_disarm_among)->ArgName("armed")->RangeMultiplier(10)->Range(1'000, 10'000'000);

void expire_crowd(benchmark::State& state) {
  std::size_t const n = size_of(state);
  std::vector<timer_entry> timers(n);
  std::uint64_t now = start;
  for (auto _ : state) {
    state.PauseTiming();
    timer_queue q(now);
    for (timer_entry& t : timers) (void)q.arm(t, now + 10 * second);
    now += 10 * second;
    std::size_t fired = 0;
    state.ResumeTiming();
    while (q.expire(now, 256, [&](timer_entry&) { ++fired; }) == 0) {}
    if (fired != n) state.SkipWithError("not all fired");
  }
  per_timer(state, static_cast<double>(n));
}
BENCHMARK(expire_crowd)->Arg(1'000'000)->Unit(benchmark::kMillisecond);

void sleep(benchmark::State& state) {
  std::size_t const n = size_of(state);
  std::vector<timer_entry> timers(n);
  std::uint64_t now = start;
  for (auto _ : state) {
    timer_queue q(now);
    std::uint64_t const step = std::max<std::uint64_t>(1, second / 2 / n);
    std::uint64_t deadline = now + second;
    for (timer_entry& t : timers) (void)q.arm(t, deadline += step);
    std::size_t fired = 0;
    std::uint64_t last = 0;
    bool ordered = true;
    while (fired != n) {   // a worker that looks every 20 us at least
      now = std::max(now + 20'000, q.next_deadline());
      while (q.expire(now, 256, [&](timer_entry& t) {
        ++fired;
        ordered &= last <= t.deadline_ns;
        last = t.deadline_ns;
      }) == 0) {}
    }
    if (!ordered) state.SkipWithError("out of order");
  }
  per_timer(state, static_cast<double>(n));
}
BENCHMARK(sleep)->ArgName("timers")->RangeMultiplier(10)->Range(1'000, 10'000'000)->Unit(benchmark::kMicrosecond);

} // namespace

int main(int argc, char** argv) { return bench::run_benchmarks(argc, argv); }
