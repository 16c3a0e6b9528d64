// SPDX-License-Identifier: Apache-2.0
// clock::now() on every kind of thread, in real and in virtual time.
#include "skua/clock.hpp"
#include "skua/blocking.hpp"
#include "skua/runtime.hpp"
#include "skua/time.hpp"
#include "tests/support/leak_check.hpp"
#include <chrono>
#include <thread>

namespace {

using namespace std::chrono_literals;
using skua::task;

std::chrono::nanoseconds real_now() { return std::chrono::steady_clock::now().time_since_epoch(); }   // CLOCK_MONOTONIC

class Clock : public skua_test::leak_check {};

TEST_F(Clock, outside_a_runtime_is_the_kernels) {
  auto const before = real_now();
  auto const now = skua::clock::now();
  EXPECT_LE(before, now.time_since_epoch());
  EXPECT_LE(now.time_since_epoch(), real_now());
}

TEST_F(Clock, is_one_for_tasks_and_threads_where_time_is_real) {
  skua::runtime rt({.workers = 1});
  auto const before = skua::clock::now();
  auto const inside = rt.block_on([]() -> task<skua::clock::time_point> { co_return skua::clock::now(); });
  auto const blocking = rt.block_on([]() -> task<skua::clock::time_point> {
    co_return co_await skua::spawn_blocking([] { return skua::clock::now(); });
  });
  auto const asked = rt.now();
  auto const after = skua::clock::now();
  EXPECT_LE(before, inside);
  EXPECT_LE(inside, blocking);
  EXPECT_LE(blocking, asked);
  EXPECT_LE(asked, after);
}

TEST_F(Clock, of_a_runtime_in_virtual_time_is_known_to_its_blocking_threads_and_to_who_asks_it) {
  skua::runtime rt({.workers = 1, .backend = "virtual"});
  auto const at_first = rt.now();
  rt.block_on([]() -> task<> {
    co_await skua::sleep_for(1h);
    auto const now = skua::clock::now();
    EXPECT_EQ(co_await skua::spawn_blocking([] { return skua::clock::now(); }), now);
  });
  EXPECT_EQ(rt.now(), at_first + 1h);
}

TEST_F(Clock, times_taken_outside_can_be_slept_until) {
  skua::runtime rt({.workers = 1});
  auto const deadline = skua::clock::now() + 5ms;
  rt.block_on([](auto t) -> task<> { co_await skua::sleep_until(t); }, deadline);
  EXPECT_GE(skua::clock::now(), deadline);
}

// A sleep that is made on a thread outside counts from its await, too.
TEST_F(Clock, durations_need_no_worker_to_be_named) {
  skua::runtime rt({.workers = 1, .backend = "virtual"});
  auto sleep = skua::sleep_for(1h);
  rt.block_on([&]() -> task<> {
    auto const begin = skua::clock::now();
    co_await sleep;
    EXPECT_EQ(skua::clock::now() - begin, 1h);
  });
}

} // namespace
