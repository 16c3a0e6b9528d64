// SPDX-License-Identifier: Apache-2.0
// What channels cost: operations that do not wait, hand-overs, oneshots, selects.
//
// Every loop runs inside one task, so nothing but the operations themselves is timed.
#include "support/bench_main.hpp"
#include "support/channels.hpp"
#include <benchmark/benchmark.h>
#include <skua/async_generator.hpp>
#include <skua/broadcast.hpp>
#include <skua/runtime.hpp>
#include <skua/select.hpp>
#include <skua/strand.hpp>

namespace {

using namespace std::chrono_literals;

void in_runtime(benchmark::State& state, skua::task<> (*body)(benchmark::State&)) {
  skua::runtime rt({.workers = static_cast<unsigned>(state.range(0))});
  rt.block_on(body(state));
}
void count(benchmark::State& state, double operations) {
  state.counters["per_op"] = benchmark::Counter(operations, benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}

// 64 sends, then 64 receives: per_op is one of them.
template <class Channel>
skua::task<> send_recv(benchmark::State& state, Channel ch) {
  constexpr int batch = 64;
  for (auto _ : state) {
    for (int i = 0; i < batch; ++i) {
      if constexpr (requires { ch.send(i, 1); })
        benchmark::DoNotOptimize(static_cast<bool>(co_await ch.send(i, i & 7)));
      else if constexpr (requires { static_cast<bool>(ch.send(i)); })
        benchmark::DoNotOptimize(static_cast<bool>(ch.send(i)));
      else
        benchmark::DoNotOptimize(static_cast<bool>(co_await ch.send(i)));
    }
    for (int i = 0; i < batch; ++i) benchmark::DoNotOptimize(co_await ch.recv());
  }
  count(state, 2 * batch);
}
skua::task<> send_recv_bounded(benchmark::State& state) { return send_recv(state, skua::channel<int>(64)); }
skua::task<> send_recv_unbounded(benchmark::State& state) { return send_recv(state, skua::unbounded_channel<int>()); }
skua::task<> send_recv_priority(benchmark::State& state) { return send_recv(state, skua::priority_channel<int>(64)); }

skua::task<> try_send_recv(benchmark::State& state) {
  skua::channel<int> ch(1);
  for (auto _ : state) {
    benchmark::DoNotOptimize(static_cast<bool>(ch.try_send(1)));
    benchmark::DoNotOptimize(ch.try_recv());
  }
  count(state, 2);
  co_return;
}

// There and back over two channels of 1.
skua::task<> ping_pong(benchmark::State& state) {
  constexpr std::size_t batch = 1000;
  for (auto _ : state) co_await bench::ping_pong(batch);
  count(state, batch);
}
skua::task<> request_and_reply(benchmark::State& state) {
  constexpr std::size_t batch = 1000;
  for (auto _ : state) co_await bench::requests(batch);
  count(state, batch);
}
skua::task<> eight_to_one(benchmark::State& state) {
  constexpr std::size_t batch = 80'000;
  for (auto _ : state) co_await bench::many_to_one(batch);
  count(state, batch);
}

skua::task<> oneshot_ready(benchmark::State& state) {
  for (auto _ : state) {
    auto [tx, rx] = skua::oneshot<int>();
    benchmark::DoNotOptimize(static_cast<bool>(tx.send(1)));
    benchmark::DoNotOptimize(co_await rx.recv());
  }
  count(state, 1);
}

// Both branches could be performed.
skua::task<> select_ready(benchmark::State& state) {
  skua::channel<int> a(1), b(1);
  (void)co_await a.send(1);
  for (auto _ : state)
    co_await skua::select(skua::on(a.recv(), [&](std::optional<int> m) { (void)b.try_send(*m); }),
                          skua::on(b.recv(), [&](std::optional<int> m) { (void)a.try_send(*m); }));
  count(state, 1);
}
// As ping-pong, but each side selects from its channel and a timer.
auto message_or_late(skua::channel<int> const& from) {
  return skua::select(skua::on(from.recv(), [](std::optional<int> v) { return v; }), skua::on(skua::sleep_for(1h), [] { return std::optional<int>(); }));
}
skua::task<> select_ping_pong(benchmark::State& state) {
  constexpr int batch = 1000;
  for (auto _ : state) {
    skua::channel<int> there(1), back(1);
    auto answers = skua::spawn([there, back]() -> skua::task<> {
      for (bool more = true; more;) {
        auto m = co_await message_or_late(there);
        more = m.has_value();
        if (more) (void)co_await back.send(*m);
      }
    });
    for (int i = 0; i < batch; ++i) {
      (void)co_await there.send(i);
      benchmark::DoNotOptimize(co_await message_or_late(back));
    }
    there.close();
    co_await answers;
  }
  count(state, batch);
}

skua::task<> broadcast_to_four(benchmark::State& state) {
  skua::broadcast<int> b(64);
  skua::broadcast_receiver<int> to[] = {b.subscribe(), b.subscribe(), b.subscribe(), b.subscribe()};
  constexpr int batch = 64;
  for (auto _ : state) {
    for (int i = 0; i < batch; ++i) benchmark::DoNotOptimize(co_await b.send(i));
    for (auto& rx : to)
      for (int i = 0; i < batch; ++i) benchmark::DoNotOptimize(*co_await rx.recv());
  }
  count(state, batch * 5);
}

skua::async_generator<int> numbers() {
  for (int i = 0;; ++i) co_yield i;
}
skua::task<> generator_next(benchmark::State& state) {
  auto g = numbers();
  for (auto _ : state) benchmark::DoNotOptimize(co_await g.next());
  count(state, 1);
}

skua::task<> strand_run(benchmark::State& state) {
  skua::strand s;
  long n = 0;
  for (auto _ : state) benchmark::DoNotOptimize(co_await s.run([&] { return ++n; }));
  count(state, 1);
}

BENCHMARK_CAPTURE(in_runtime, send_recv_bounded, send_recv_bounded)->Apply(bench::worker_counts);
BENCHMARK_CAPTURE(in_runtime, send_recv_unbounded, send_recv_unbounded)->Apply(bench::worker_counts);
BENCHMARK_CAPTURE(in_runtime, send_recv_priority, send_recv_priority)->Apply(bench::worker_counts);
BENCHMARK_CAPTURE(in_runtime, try_send_recv, try_send_recv)->Apply(bench::worker_counts);
BENCHMARK_CAPTURE(in_runtime, ping_pong, ping_pong)->Apply(bench::worker_counts);
BENCHMARK_CAPTURE(in_runtime, request_and_reply, request_and_reply)->Apply(bench::worker_counts);
BENCHMARK_CAPTURE(in_runtime, eight_to_one, eight_to_one)->Apply(bench::worker_counts);
BENCHMARK_CAPTURE(in_runtime, oneshot_ready, oneshot_ready)->Apply(bench::worker_counts);
BENCHMARK_CAPTURE(in_runtime, select_ready, select_ready)->Apply(bench::worker_counts);
BENCHMARK_CAPTURE(in_runtime, select_ping_pong, select_ping_pong)->Apply(bench::worker_counts);
BENCHMARK_CAPTURE(in_runtime, broadcast_to_four, broadcast_to_four)->Apply(bench::worker_counts);
BENCHMARK_CAPTURE(in_runtime, generator_next, generator_next)->Apply(bench::worker_counts);
BENCHMARK_CAPTURE(in_runtime, strand_run, strand_run)->Apply(bench::worker_counts);

} // namespace

int main(int argc, char** argv) { return bench::run_benchmarks(argc, argv); }
