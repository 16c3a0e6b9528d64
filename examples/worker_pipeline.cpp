// SPDX-License-Identifier: Apache-2.0
// A bounded pipeline: a source, some workers, a collector, with channels in between.
//
//     source ==jobs(4)==> worker, worker, .. ==results(4)==> collector
//
// The channels are small, so a slow stage makes the ones before it wait: never more than a handful of jobs are under way, however many there are. It ends
// by itself, front to back: the source drops its sender, the workers see the end of `jobs` and drop theirs, the collector sees the end of `results`.
#include "support/command_line.hpp"
#include <skua/channel.hpp>
#include <skua/runtime.hpp>
#include <skua/time.hpp>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <map>
#include <vector>

using namespace std::chrono_literals;

struct job {
  int number;
};
struct outcome {
  int number;
  long value;
};

struct gauge {   // how many jobs are under way
  std::atomic<int> now = 0;
  int most = 0;   // the source's
};

static skua::task<> source(skua::sender<job> to, int count, gauge& under_way) {
  for (int i = 0; i < count; ++i) {
    if (!co_await to.send({i})) co_return;   // nobody works any more
    under_way.most = std::max<int>(under_way.most, ++under_way.now);
  }
}

static skua::task<> worker(skua::receiver<job> from, skua::sender<outcome> to, std::chrono::microseconds pause) {
  while (auto j = co_await from.recv()) {
    co_await skua::sleep_for(pause * (1 + j->number % 3));   // some jobs take longer than others
    if (!co_await to.send({j->number, static_cast<long>(j->number) * j->number})) co_return;
  }
}

static skua::task<> pipeline(int count, int workers, double scale) {
  auto [jobs, open_jobs] = skua::channel<job>(4).split();
  auto [results, open_results] = skua::channel<outcome>(4).split();
  auto const pause = std::chrono::duration_cast<std::chrono::microseconds>(scale * 1ms);

  gauge under_way;
  auto reading = skua::spawn(source, std::move(jobs), count, std::ref(under_way));
  std::vector<skua::join_handle<>> working;
  for (int i = 0; i < workers; ++i) working.push_back(skua::spawn(worker, open_jobs, results, pause));
  open_jobs = {};   // the workers have handles of their own
  results = {};

  std::map<int, long> all;   // they come in any order
  while (auto r = co_await open_results.recv()) {
    all[r->number] = r->value;
    --under_way.now;
  }
  co_await reading;
  for (auto& w : working) co_await w;

  long sum = 0;
  for (auto [number, value] : all) sum += value;
  std::printf("%zu results, sum %ld\n", all.size(), sum);
  std::printf("%s\n", under_way.most <= 4 + workers + 4 + 1 ? "never more than a handful under way" : "too many under way");
}

int main(int argc, char** argv) {
  int count = 200, workers = 4;
  double scale = 1;
  example::command_line line("worker_pipeline", "Jobs go from a source through some workers to a collector, over small channels.");
  line.number("--jobs", count, 1, 1'000'000, "how many");
  line.number("--workers", workers, 1, 1000, "tasks that work");
  line.number("--scale", scale, 0, 1000, "multiplies the delays");
  line.parse(argc, argv);
  return line.run([&] { skua::run(pipeline(count, workers, scale)); });
}
