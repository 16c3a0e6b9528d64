// SPDX-License-Identifier: Apache-2.0
// The monitor (S21): local work behind a fork-join computation that never returns to the worker loop, and what it costs a computation that has nothing
// behind it.
#include "io/epoll_order.hpp"
#include "skua/runtime.hpp"
#include "skua/this_task.hpp"
#include "skua/when_all.hpp"
#include <atomic>
#include <chrono>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <thread>

namespace {

using skua::task;
using namespace std::chrono_literals;

task<long> fib(int n) {
  if (n < 2) co_return n;
  auto [a, b] = co_await skua::when_all(fib(n - 1), fib(n - 2));
  co_return a + b;
}

task<> set(std::atomic<bool>& flag) {
  flag = true;
  co_return;
}

// Forks for ever, without suspending, until `flag` is set or `patience` is over. True: it was set.
task<bool> forks_until(std::atomic<bool>& flag, std::chrono::seconds patience) {
  auto const end = std::chrono::steady_clock::now() + patience;
  while (!flag && std::chrono::steady_clock::now() < end) (void)co_await fib(10);
  co_return flag.load();
}

TEST(Monitor, a_task_spawned_here_runs_although_its_spawner_forks_for_ever__S21) {
  skua::runtime rt({.workers = 1});
  std::atomic<bool> ran{false};
  EXPECT_TRUE(rt.block_on([&]() -> task<bool> {
    skua::spawn_detached([&] { return set(ran); });
    co_return co_await forks_until(ran, 30s);
  }));
}

TEST(Monitor, so_do_tasks_that_were_queued_before_on_every_worker__S21) {
  skua::runtime rt({.workers = 2});
  std::atomic<bool> ran[2] = {};
  std::atomic<int> together{0};
  auto compute = [&](int i) -> task<bool> {
    ++together;
    while (together != 2) co_await skua::this_task::yield();   // both workers compute, nobody steals
    skua::spawn_detached([&ran, i] { return set(ran[i]); });
    co_return co_await forks_until(ran[i], 30s);
  };
  auto a = rt.spawn(compute, 0), b = rt.spawn(compute, 1);
  EXPECT_TRUE(rt.block_on([](auto h) -> task<bool> { co_return co_await h; }, std::move(a)));
  EXPECT_TRUE(rt.block_on([](auto h) -> task<bool> { co_return co_await h; }, std::move(b)));
}

#if !SKUA_TSAN   // its own thread wakes up all the time

TEST(MonitorTiming, a_lone_computation_of_2_s_causes_few_context_switches) {
  skua::detail::probe_epoll_order();   // by two threads of its own
  skua::runtime rt({.workers = 2});
  rusage before{}, after{};
  rt.block_on([&]() -> task<> {
    getrusage(RUSAGE_SELF, &before);
    for (auto end = std::chrono::steady_clock::now() + 2s; std::chrono::steady_clock::now() < end;) {}
    getrusage(RUSAGE_SELF, &after);
    co_return;
  });
  // 7 ticks of the monitor, the naps of the sentinel, and as many again.
  EXPECT_LE(after.ru_nvcsw - before.ru_nvcsw, 20);
}

TEST(MonitorTiming, an_idle_runtime_does_not_wake_up) {
  skua::runtime rt({.workers = 4});
  rt.block_on([]() -> task<> { co_return; });
  long switches = 0;
  for (int seconds = 0; seconds == 0 || (switches > 2 && seconds != 20); ++seconds) {   // in the first ones it may still be on its way to rest
    rusage before{}, after{};
    getrusage(RUSAGE_SELF, &before);
    std::this_thread::sleep_for(1s);
    getrusage(RUSAGE_SELF, &after);
    switches = after.ru_nvcsw - before.ru_nvcsw;
  }
  EXPECT_LE(switches, 2);
}

#endif

} // namespace
