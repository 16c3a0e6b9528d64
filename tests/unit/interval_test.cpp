// SPDX-License-Identifier: Apache-2.0
// interval: when ticks come, what happens to missed ones, stop. Virtual time.
#include "skua/interval.hpp"
#include "skua/runtime.hpp"
#include "skua/time.hpp"
#include "skua/timeout.hpp"
#include "tests/support/leak_check.hpp"
#include "tests/support/one_worker.hpp"
#include "tests/support/values.hpp"
#include <limits>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::interval;
using skua::missed_tick;
using skua::task;

class Interval : public one_worker {};

// When each tick came and when it was due, in milliseconds since `begin`; before the second one the task was busy for 250 ms.
task<std::vector<std::pair<long, long>>> ticks(missed_tick how, int n) {
  auto const begin = skua::clock::now();
  auto ms = [begin](auto t) { return std::chrono::duration_cast<std::chrono::milliseconds>(t - begin).count(); };
  interval every(100ms, how);
  std::vector<std::pair<long, long>> all;
  for (int i = 0; i < n; ++i) {
    auto const due = co_await every.tick();
    all.emplace_back(ms(skua::clock::now()), ms(due));
    if (i == 0) co_await skua::sleep_for(250ms);
  }
  co_return all;
}
using list = std::vector<std::pair<long, long>>;

TEST_F(Interval, ticks_at_once_and_then_every_period) {
  run([]() -> task<> {
    auto const begin = skua::clock::now();
    interval every(100ms);
    for (int i = 0; i < 5; ++i) {
      auto const due = co_await every.tick();
      EXPECT_EQ(skua::clock::now() - begin, i * 100ms);
      EXPECT_EQ(due - begin, i * 100ms);
      co_await skua::sleep_for(70ms);   // work does not make it drift
    }
    EXPECT_EQ(every.next() - begin, 500ms);
    every.reset();
    EXPECT_EQ((co_await every.tick()) - begin, 570ms);
  });
}

TEST_F(Interval, begins_when_it_is_told) {
  run([]() -> task<> {
    auto const begin = skua::clock::now();
    interval every(begin + 1s, 10ms);
    co_await every.tick();
    EXPECT_EQ(skua::clock::now() - begin, 1s);
    co_await every.tick();
    EXPECT_EQ(skua::clock::now() - begin, 1010ms);
  });
}

TEST_F(Interval, makes_up_for_missed_ticks_in_a_burst) {
  run([]() -> task<> { EXPECT_EQ(co_await ticks(missed_tick::burst, 5), (list{{0, 0}, {250, 100}, {250, 200}, {300, 300}, {400, 400}})); });
}
TEST_F(Interval, delays_later_ticks_when_one_was_late) {
  run([]() -> task<> { EXPECT_EQ(co_await ticks(missed_tick::delay, 4), (list{{0, 0}, {250, 100}, {350, 350}, {450, 450}})); });
}
TEST_F(Interval, skips_missed_ticks_and_keeps_the_beat) {
  run([]() -> task<> { EXPECT_EQ(co_await ticks(missed_tick::skip, 4), (list{{0, 0}, {250, 100}, {300, 300}, {400, 400}})); });
}

TEST_F(Interval, gives_a_tick_that_was_stopped_the_next_time) {
  run([]() -> task<> {
    auto const begin = skua::clock::now();
    interval every(begin + 1s, 1s);
    auto one = [](interval& i) -> task<> { co_await i.tick(); };
    EXPECT_THROW(co_await skua::timeout(10ms, one(every)), skua::timeout_error);
    co_await every.tick();
    EXPECT_EQ(skua::clock::now() - begin, 1s);
  });
}

TEST_F(Interval, sees_a_stop_although_a_tick_is_due) {
  run([]() -> task<> {
    interval every(1ms);
    auto h = skua::spawn([&]() -> task<> { co_await every.tick(); });
    h.request_stop();
    EXPECT_THROW(co_await h, skua::task_stopped);
  });
}

TEST_F(Interval, needs_a_positive_period) {
  run([]() -> task<> {
    EXPECT_THROW(interval(0ms), skua::usage_error);
    EXPECT_THROW(interval(-1s), skua::usage_error);
    EXPECT_THROW(interval(std::chrono::duration<double>(std::numeric_limits<double>::quiet_NaN())), skua::usage_error);
    co_return;
  });
}

// More nanoseconds than can be counted: virtual time does not jump there either.
TEST_F(Interval, of_ages_ticks_once_and_a_program_that_waits_for_more_is_stuck) {
  for (auto how : {missed_tick::burst, missed_tick::delay, missed_tick::skip}) {
    skua::runtime stuck({.workers = 1, .backend = "virtual", .stuck_after = 1ms});
    int ticked = 0;
    auto body = [&]() -> task<> {
      interval every(std::chrono::hours::max(), how);
      for (;;) {
        co_await every.tick();
        ++ticked;
        EXPECT_EQ(every.next(), skua::clock::time_point::max());
        every.reset();
        EXPECT_EQ(every.next(), skua::clock::time_point::max());
      }
    };
    EXPECT_THROW(stuck.block_on(body), skua::stuck_error);
    EXPECT_EQ(ticked, 1);
  }
}

} // namespace
