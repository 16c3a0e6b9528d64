// SPDX-License-Identifier: Apache-2.0
// The end of a runtime: whom its stop reaches, and when a task counts as ended. More of it: runtime_test.cpp, rulings_test.cpp (S22).
#include "skua/as_completed.hpp"
#include "skua/finally.hpp"
#include "skua/runtime.hpp"
#include "skua/shield.hpp"
#include "skua/task_group.hpp"
#include "skua/this_task.hpp"
#include "skua/time.hpp"
#include "tests/support/leak_check.hpp"
#include "tests/support/values.hpp"
#include <atomic>
#include <chrono>
#include <functional>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::task;

class Shutdown : public leak_check {};

TEST_F(Shutdown, with_a_limit_of_ages_waits) {
  skua::runtime rt({.workers = 1});
  std::atomic<bool> begun = false, ended = false;
  auto h = rt.spawn([&]() -> task<> {
    co_await skua::shield([&]() -> task<> {
      begun = true;
      co_await skua::sleep_for(20ms);
      ended = true;
    }());
  });
  while (!begun) std::this_thread::yield();
  EXPECT_TRUE(rt.shutdown(std::chrono::seconds::max()).clean());
  EXPECT_TRUE(ended);
}

// S15: the tasks of a group are reached through the group, and so not through a shield.
TEST_F(Shutdown, reaches_nothing_behind_a_shield_not_even_tasks_of_a_group) {
  std::atomic<int> begun = 0, sum = 0;
  std::vector<skua::promise<int>> promises(6);
  auto add = [&](std::size_t i) -> task<> {
    auto f = promises[i].get_future();
    ++begun;
    sum += co_await f;
  };
  auto add_two = [&](std::size_t i) {
    return skua::with_task_group([&add, i](skua::task_group& g) -> task<> {
      g.spawn(add, i);
      g.spawn(add, i + 1);
      co_return;
    });
  };
  {
    skua::runtime rt({.workers = 1});
    rt.spawn([&]() -> task<> { co_await skua::shield(add_two(0)); }).detach();
    rt.spawn([&]() -> task<> { co_await skua::finally(skua::this_task::yield(), [&] { return add_two(2); }); }).detach();
    rt.spawn([&]() -> task<> {
        co_await skua::shield([&]() -> task<> {
          std::vector<task<>> both;
          both.push_back(add(4));
          both.push_back(add(5));
          co_await skua::as_completed(std::move(both), [](skua::outcome<>) {});
        }());
      }).detach();
    while (begun != 6) std::this_thread::yield();
    rt.request_stop();
    for (int i = 0; i != 3; ++i) rt.block_on(yield_times(10));   // what the request has found was injected before, and comes first
    EXPECT_EQ(rt.shutdown(0s).survivors.size(), 9u);
    for (int i = 0; auto& p : promises) p.set_value(++i);
    EXPECT_TRUE(rt.shutdown(30s).clean());
  }
  EXPECT_EQ(sum, 21);
}

// Without a shield they are reached, for whatever reason the group is stopped.
TEST_F(Shutdown, reaches_the_tasks_of_a_group) {
  std::atomic<int> begun = 0;
  skua::runtime rt({.workers = 2});
  rt.spawn([&]() -> task<> {
      co_await skua::with_task_group([&](skua::task_group& g) -> task<> {
        for (int i = 0; i != 3; ++i)
          g.spawn([&]() -> task<> {
            ++begun;
            co_await never();
          });
        co_return;
      });
    }).detach();
  while (begun != 3) std::this_thread::yield();
  EXPECT_TRUE(rt.shutdown(30s).clean());
}

// It is alive, and a survivor of a shutdown, until its failure was reported or its result is gone.
TEST_F(Shutdown, a_task_without_an_owner_has_ended_when_nothing_is_left_of_it) {
  std::atomic<int> step = 0;
  auto linger = [&step] {
    step = 1;
    while (step != 2) std::this_thread::yield();
  };
  struct result {
    decltype(linger)* at_end;
    explicit result(decltype(linger)& f) noexcept : at_end(&f) {}
    result(result&& o) noexcept : at_end(std::exchange(o.at_end, nullptr)) {}
    ~result() {
      if (at_end != nullptr) (*at_end)();
    }
  };
  auto const with_result = [&](std::atomic<bool>& detached) -> task<result> {
    while (!detached) co_await skua::this_task::yield();
    co_return result(linger);
  };
  auto const failing = [](std::atomic<bool>& detached) -> task<> {
    while (!detached) co_await skua::this_task::yield();
    throw std::runtime_error("nobody awaits this");
  };
  auto const check = [&](auto const& f) {
    skua::runtime rt({.workers = 1, .on_unhandled_failure = [&](skua::failure const&) { linger(); }});
    std::atomic<bool> detached = false;
    rt.spawn(f, std::ref(detached)).detach();
    detached = true;
    while (step != 1) std::this_thread::yield();
    EXPECT_EQ(rt.metrics().live_tasks, 1u);
    EXPECT_EQ(rt.shutdown(0s).survivors.size(), 1u);
    step = 2;
    EXPECT_TRUE(rt.shutdown(30s).clean());
  };
  check(with_result);
  step = 0;
  check(failing);
}

} // namespace
