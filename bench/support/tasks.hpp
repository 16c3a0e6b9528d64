// SPDX-License-Identifier: Apache-2.0
// The workloads of tasks, yields and timers that several benchmark programs share.
#pragma once
#include "work.hpp"
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <skua/spawn.hpp>
#include <skua/this_task.hpp>
#include <skua/time.hpp>
#include <skua/timeout.hpp>
#include <vector>

namespace bench {

inline void require(bool ok) {
  if (!ok) std::abort();
}

inline skua::task<std::uint64_t> trivial(std::uint64_t i) { co_return i; }

// Computes for a while: `rounds` as rounds_for() says.
inline skua::task<std::uint64_t> compute(std::uint64_t i, long rounds) {
  if (rounds != 0 && arithmetic(rounds) == 1) co_return i + 1;
  co_return i;
}

// Spawns `batch` tasks at a time and joins them, until there were `total`.
inline skua::task<> spawn_join(std::size_t total, std::size_t batch, long rounds = 0) {
  std::vector<skua::join_handle<std::uint64_t>> handles;
  handles.reserve(batch);
  for (std::size_t done = 0; done < total; done += batch) {
    for (std::size_t i = 0; i < batch; ++i) handles.push_back(rounds == 0 ? skua::spawn(trivial, i) : skua::spawn(compute, i, rounds));
    std::uint64_t sum = 0;
    for (auto& h : handles) sum += co_await h;
    handles.clear();
    require(sum == batch * (batch - 1) / 2);
  }
}

inline skua::task<> spawn_join_one(std::size_t times) {
  for (std::uint64_t i = 0; i < times; ++i) require(co_await skua::spawn(trivial, i) == i);
}

// Spawns `tasks` tasks f(args...) and joins them all.
template <class F, class... Args>
skua::task<> group(std::size_t tasks, F f, Args... args) {
  std::vector<skua::join_handle<>> handles;
  handles.reserve(tasks);
  for (std::size_t i = 0; i < tasks; ++i) handles.push_back(skua::spawn(f, args...));
  for (auto& h : handles) co_await h;
}

inline skua::task<> yields(std::size_t times) {
  for (std::size_t i = 0; i < times; ++i) co_await skua::this_task::yield();
}

inline skua::task<> yield_once() { co_await skua::this_task::yield(); }
inline skua::task<> churn(std::size_t times) {
  for (std::size_t i = 0; i < times; ++i) co_await skua::timeout(std::chrono::seconds(1), yield_once());
}

// As in the peers' programs, the length is nothing that each task has to carry.
inline std::chrono::nanoseconds sleep_length{};
inline skua::task<> sleeper() { co_await skua::sleep_for(sleep_length); }

// How much later than `period` each of `times` sleeps ended, in microseconds.
inline skua::task<std::vector<double>> sleep_often(std::size_t times, std::chrono::nanoseconds period) {
  std::vector<double> lateness_us;
  lateness_us.reserve(times);
  for (std::size_t i = 0; i < times; ++i) {
    double const start = wall_ns();
    co_await skua::sleep_for(period);
    lateness_us.push_back((wall_ns() - start - static_cast<double>(period.count())) / 1e3);
  }
  co_return lateness_us;
}
inline skua::task<std::vector<double>> lateness_of(std::size_t tasks, std::size_t times, std::chrono::nanoseconds period) {
  std::vector<skua::join_handle<std::vector<double>>> handles;
  for (std::size_t i = 0; i < tasks; ++i) handles.push_back(skua::spawn(sleep_often, times, period));
  std::vector<double> all;
  for (auto& h : handles) {
    std::vector<double> const one = co_await h;
    all.insert(all.end(), one.begin(), one.end());
  }
  co_return all;
}

} // namespace bench
