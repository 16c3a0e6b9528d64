// SPDX-License-Identifier: Apache-2.0
// The timer wheel, sentence by sentence. timer_wheel_property_test.cpp compares it with std::multimap.
#include "scheduler/timer_wheel.hpp"
#include <array>
#include <gtest/gtest.h>
#include <memory>
#include <vector>

namespace {

using namespace skua::detail;
using wheel = basic_timer_wheel<real_sync>;
using entry = wheel::entry;

constexpr std::uint64_t us = 1'000, ms = 1'000'000, s = 1'000'000'000, day = 86'400 * s, year = 365 * day;
constexpr std::uint64_t boot = 5 * day + 12'345'678'901;   // the clock when a test begins
constexpr std::size_t all = ~std::size_t{0};

struct TimerWheel : testing::Test {
  wheel w{boot};
  std::uint64_t now = boot;

  bool arm(entry& e, std::uint64_t deadline) { return w.insert(e, deadline); }

  // What fires at `t`, in order.
  std::vector<entry*> fire_at(std::uint64_t t) {
    now = t;
    std::vector<entry*> fired;
    while (w.advance(t, all, [&](entry& e) { fired.push_back(&e); }) == timer_progress::more) {}
    return fired;
  }
  using list = std::vector<entry*>;
};

TEST_F(TimerWheel, is_empty_at_first_and_has_nothing_to_wait_for) {
  EXPECT_TRUE(w.empty());
  EXPECT_EQ(w.earliest(), timer_never_ns);
  EXPECT_EQ(fire_at(boot + year), list{});
}

TEST_F(TimerWheel, never_fires_early_and_fires_at_the_very_nanosecond) {
  for (std::uint64_t after : {std::uint64_t{1}, us, us + 24, 65 * us, ms, 300 * ms, 10 * s, 3 * day, 52 * day, 2 * year}) {
    entry e;
    std::uint64_t const deadline = now + after;
    (void)arm(e, deadline);
    EXPECT_EQ(w.earliest(), deadline) << after;
    EXPECT_EQ(fire_at(deadline - 1), list{}) << after;
    EXPECT_TRUE(e.linked());
    EXPECT_EQ(fire_at(deadline), list{&e}) << after;
    EXPECT_FALSE(e.linked());
    EXPECT_TRUE(w.empty());
  }
}

TEST_F(TimerWheel, wakes_a_lone_timer_once_however_far_it_is) {
  for (std::uint64_t after : {us, ms, s, day, 60 * day, 100 * year}) {
    entry e;
    (void)arm(e, now + after);
    EXPECT_EQ(fire_at(w.earliest()), list{&e}) << after;
  }
}

TEST_F(TimerWheel, says_whether_the_earliest_deadline_got_earlier) {
  std::array<entry, 4> e;
  EXPECT_TRUE(arm(e[0], boot + 10 * ms));
  EXPECT_FALSE(arm(e[1], boot + 10 * ms));
  EXPECT_FALSE(arm(e[2], boot + 20 * ms));
  EXPECT_TRUE(arm(e[3], boot + 9 * ms));
  EXPECT_EQ(w.earliest(), boot + 9 * ms);
  EXPECT_EQ(fire_at(boot + s), (list{&e[3], &e[0], &e[1], &e[2]}));
}

TEST_F(TimerWheel, takes_a_deadline_in_the_past_as_due_at_once) {
  std::array<entry, 3> e;
  EXPECT_EQ(fire_at(boot + s), list{});
  (void)arm(e[0], 0);
  (void)arm(e[1], boot + s);
  (void)arm(e[2], boot);
  EXPECT_LE(w.earliest(), now);
  list const fired = fire_at(now);
  EXPECT_EQ(fired.size(), 3u);
}

TEST_F(TimerWheel, lets_a_timer_without_a_deadline_stay_until_it_is_removed) {
  entry e;
  EXPECT_FALSE(arm(e, timer_never_ns));
  EXPECT_EQ(w.earliest(), timer_never_ns);
  EXPECT_EQ(fire_at(timer_never_ns - 1), list{});
  EXPECT_EQ(fire_at(timer_never_ns), list{});
  w.remove(e);
  EXPECT_TRUE(w.empty());
}

// Virtual time goes where earliest() says.
TEST_F(TimerWheel, has_nothing_to_wait_for_however_many_timers_have_no_deadline) {
  std::array<entry, 100> e;
  for (entry& x : e) EXPECT_FALSE(arm(x, timer_never_ns));
  entry soon;
  EXPECT_TRUE(arm(soon, now + ms));
  EXPECT_EQ(fire_at(now + ms), list{&soon});
  EXPECT_EQ(w.earliest(), timer_never_ns);
  EXPECT_FALSE(w.empty());
  for (entry& x : e) w.remove(x);
  EXPECT_TRUE(w.empty());
}

TEST_F(TimerWheel, fires_the_last_deadline_before_never) {
  entry e;
  (void)arm(e, timer_never_ns - 1);
  EXPECT_EQ(fire_at(timer_never_ns - 2), list{});
  EXPECT_EQ(fire_at(timer_never_ns - 1), list{&e});
}

TEST_F(TimerWheel, keeps_equal_deadlines_in_order_across_every_cascade) {
  std::array<entry, 8> e;
  std::uint64_t const deadline = boot + 70 * day;
  std::uint64_t const steps[] = {0, 30 * day, 69 * day, 70 * day - 3600 * s, 70 * day - s, 70 * day - ms, 70 * day - 30 * us, 70 * day - 1};
  list expected;
  for (unsigned i = 0; i != e.size(); ++i) {
    EXPECT_EQ(fire_at(boot + steps[i]), list{});
    (void)arm(e[i], deadline);
    expected.push_back(&e[i]);
  }
  EXPECT_EQ(fire_at(deadline), expected);
}

TEST_F(TimerWheel, keeps_equal_deadlines_in_order_when_a_cascade_was_cut_short) {
  constexpr std::size_t many = 3 * timer_shape::cascade_limit;
  std::vector<entry> e(many);
  entry late;
  std::uint64_t const deadline = boot + 10 * s;
  for (std::size_t i = 0; i != many - 1; ++i) (void)arm(e[i], deadline);
  list fired;
  auto const sink = [&](entry& x) { fired.push_back(&x); };
  ASSERT_EQ(w.advance(deadline, 0, sink), timer_progress::more);   // cascades `cascade_limit` of them and no more
  (void)arm(e[many - 1], deadline);
  (void)arm(late, deadline + 1);
  while (w.advance(deadline, 100, sink) == timer_progress::more) {}
  ASSERT_EQ(fired.size(), many);
  for (std::size_t i = 0; i != many; ++i) ASSERT_EQ(fired[i], &e[i]);
  EXPECT_EQ(w.earliest(), deadline + 1);
  w.remove(late);
}

TEST_F(TimerWheel, hands_out_no_more_than_it_is_asked_for) {
  std::array<entry, 5> e;
  for (unsigned i = 0; i != 5; ++i) (void)arm(e[i], boot + i * us);
  list fired;
  auto const sink = [&](entry& x) { fired.push_back(&x); };
  EXPECT_EQ(w.advance(boot + s, 2, sink), timer_progress::more);
  EXPECT_EQ(fired, (list{&e[0], &e[1]}));
  EXPECT_EQ(w.earliest(), 0u);
  w.remove(e[2]);   // due, and not handed out yet
  EXPECT_EQ(w.advance(boot + s, 2, sink), timer_progress::done);
  EXPECT_EQ(fired, (list{&e[0], &e[1], &e[3], &e[4]}));
}

TEST_F(TimerWheel, does_not_mind_time_that_stands_still_or_goes_back) {
  entry a, b;
  (void)arm(a, boot + ms);
  EXPECT_EQ(fire_at(boot + ms), list{&a});
  EXPECT_EQ(fire_at(boot + ms), list{});
  (void)arm(b, boot + 2 * ms);
  EXPECT_EQ(fire_at(boot), list{});
  EXPECT_EQ(fire_at(boot + 2 * ms), list{&b});
}

TEST_F(TimerWheel, costs_one_wake_up_for_an_earliest_timer_that_was_removed) {
  entry a, b;
  (void)arm(a, boot + ms);
  (void)arm(b, boot + s);
  w.remove(a);
  EXPECT_EQ(w.earliest(), boot + ms);
  EXPECT_EQ(fire_at(boot + ms), list{});
  EXPECT_EQ(w.earliest(), boot + s);
  w.remove(b);
  EXPECT_EQ(fire_at(boot + s), list{});
  EXPECT_EQ(w.earliest(), timer_never_ns);
}

TEST_F(TimerWheel, wakes_a_crowd_at_most_once_a_level_before_it_fires) {
  std::vector<entry> crowd(1000);
  for (entry& e : crowd) (void)arm(e, boot + 10 * s);
  entry first;
  (void)arm(first, boot + us);
  EXPECT_EQ(fire_at(boot + us), list{&first});
  unsigned wakes = 0;
  for (list fired; fired.empty(); ++wakes) {
    std::uint64_t const t = w.earliest();
    ASSERT_GT(t, now);
    fired = fire_at(t);
    if (!fired.empty()) {
      EXPECT_EQ(fired.size(), crowd.size());
    }
  }
  EXPECT_LE(wakes, timer_shape::levels + 1);
  EXPECT_EQ(now, boot + 10 * s);
}

TEST(TimerWheelSize, is_below_8_KiB_and_an_entry_has_24_bytes) {
  EXPECT_LE(sizeof(wheel), 8192u);
  EXPECT_EQ(sizeof(entry), 24u);
}

TEST(TimerWheelDeathTest, a_wheel_may_not_die_with_timers_in_it) {
  EXPECT_DEATH(
      {
        entry e;
        wheel w;
        (void)w.insert(e, 1);
      },
      "timers in it");
}

} // namespace
