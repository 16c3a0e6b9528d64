// SPDX-License-Identifier: Apache-2.0
// timeout and timeout_at: who decides (S10, a table of nested timeouts), what cannot be stopped (S7), results, stop. Virtual time.
#include "skua/timeout.hpp"
#include "skua/blocking.hpp"
#include "skua/deadline.hpp"
#include "skua/event.hpp"
#include "skua/runtime.hpp"
#include "skua/time.hpp"
#include "skua/when_all.hpp"
#include "skua/when_any.hpp"
#include "tests/support/several_workers.hpp"
#include "tests/support/timed_values.hpp"
#include "tests/support/values.hpp"
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::task;

class Timeout : public several_workers {};
INSTANTIATE_TEST_SUITE_P(, Timeout, testing::Values(1u, 2u), by_workers);

task<int&> reference_after(std::chrono::nanoseconds t, int& n) {
  co_await skua::sleep_for(t);
  co_return n;
}
task<owned> owned_after(std::chrono::nanoseconds t, int n) {
  co_await skua::sleep_for(t);
  co_return owned(n);
}

TEST_P(Timeout, gives_the_result_if_it_comes_in_time) {
  auto body = []() -> task<> {
    EXPECT_EQ(co_await skua::timeout(10ms, after(5ms, 1)), 1);
    EXPECT_EQ(co_await skua::timeout(10ms, value_of(2)), 2);   // never suspends
    EXPECT_EQ((co_await skua::timeout(10ms, owned_after(5ms, 3))).value(), 3);
    int n = 0;
    EXPECT_EQ(&co_await skua::timeout(10ms, reference_after(1ms, n)), &n);
    co_await skua::timeout(10ms, yield_times(3));
    EXPECT_EQ(co_await skua::timeout_at(skua::clock::now() + 10ms, after(5ms, 4)), 4);
  };
  rt.block_on(body);
  EXPECT_EQ(owned::alive, 0);
}

TEST_P(Timeout, counts_from_the_await) {
  auto body = []() -> task<> {
    auto in_time = skua::timeout(10s, after(5s, 3));
    auto late = skua::timeout(10s, after(15s, 3));
    auto at = skua::timeout_at(skua::clock::now() + 10s, after(5s, 3));
    co_await skua::sleep_for(1h);
    auto const begin = skua::clock::now();
    EXPECT_EQ(co_await in_time, 3);
    EXPECT_EQ(skua::clock::now() - begin, 5s);
    EXPECT_THROW(co_await late, skua::timeout_error);
    EXPECT_EQ(skua::clock::now() - begin, 15s);
    EXPECT_THROW(co_await at, skua::timeout_error);   // a time, not a duration: it has passed
    EXPECT_EQ(skua::clock::now() - begin, 15s);
  };
  rt.block_on(body);
}

TEST_P(Timeout, stops_and_awaits_the_task_and_throws_timeout_error__S10) {
  std::atomic<int> gone = 0;
  auto body = [&]() -> task<> {
    auto slow = [&]() -> task<> {
      witness w(gone);
      try {
        co_await skua::sleep_for(1h);
      } catch (...) {
        ADD_FAILURE() << "a stop is no exception (D2)";
      }
      ADD_FAILURE() << "went on";
    };
    auto const begin = skua::clock::now();
    EXPECT_THROW(co_await skua::timeout(10ms, slow()), skua::timeout_error);
    EXPECT_EQ(gone, 1);
    EXPECT_EQ(skua::clock::now() - begin, 10ms);
    EXPECT_THROW(co_await skua::timeout_at(skua::clock::now() - 1ms, slow()), skua::timeout_error);
    EXPECT_EQ(gone, 2);
  };
  rt.block_on(body);
}

TEST_P(Timeout, lets_an_error_of_the_task_through__S10) {
  auto body = []() -> task<> {
    EXPECT_THROW(co_await skua::timeout(10ms, fail_with("at once")), std::runtime_error);
    EXPECT_THROW(co_await skua::timeout(10ms, fail_after(3, "later")), std::runtime_error);
  };
  rt.block_on(body);
}

TEST_P(Timeout, of_zero_or_less_lets_the_task_run_to_its_first_suspension_point) {
  std::atomic<int> started = 0;
  auto body = [&]() -> task<> {
    auto starts = [&]() -> task<int> {
      ++started;
      co_return 3;
    };
    auto sleeps = [&]() -> task<int> {
      ++started;
      co_await skua::sleep_for(1h);
      co_return 4;
    };
    for (auto d : {0ms, -5ms}) {
      EXPECT_EQ(co_await skua::timeout(d, starts()), 3);
      EXPECT_THROW(co_await skua::timeout(d, sleeps()), skua::timeout_error);
    }
    EXPECT_EQ(started, 4);
  };
  rt.block_on(body);
}

TEST_P(Timeout, of_ages_never_fires) {
  auto body = []() -> task<> {
    EXPECT_EQ(co_await skua::timeout(std::chrono::hours::max(), after(1h, 1)), 1);
    EXPECT_EQ(co_await skua::timeout(std::chrono::nanoseconds::max(), after(1h, 2)), 2);
    EXPECT_EQ(co_await skua::timeout(std::chrono::duration<double>(1e300), after(1h, 3)), 3);
    EXPECT_EQ(co_await skua::timeout_at(skua::clock::time_point::max(), after(1h, 4)), 4);
    auto const has_deadline = []() -> task<bool> { co_return skua::this_task::deadline().has_value(); };
    EXPECT_FALSE(co_await skua::timeout_at(skua::clock::time_point::max(), has_deadline()));
    EXPECT_FALSE(co_await skua::timeout(std::chrono::hours::max(), has_deadline()));
  };
  rt.block_on(body);
}

// Virtual time does not jump to the end of time: a program that waits without a limit is stuck.
TEST_P(Timeout, at_the_end_of_time_is_no_deadline) {
  skua::runtime stuck({.workers = GetParam(), .backend = "virtual", .stuck_after = 1ms});
  auto body = []() -> task<> {
    skua::event never;
    co_await skua::timeout_at(skua::clock::time_point::max(), never.wait());
  };
  EXPECT_THROW(stuck.block_on(body), skua::stuck_error);
}

// The limit of what can be counted in nanoseconds must not be converted into the caller's own type.
TEST_P(Timeout, takes_durations_of_any_type) {
  auto body = []() -> task<> {
    auto times_out_after = [](auto d) -> task<std::chrono::nanoseconds> {
      auto const begin = skua::clock::now();
      EXPECT_THROW(co_await skua::timeout(d, after(1h, 1)), skua::timeout_error);
      co_return skua::clock::now() - begin;
    };
    EXPECT_EQ(co_await times_out_after(std::chrono::duration<int, std::milli>(5)), 5ms);
    EXPECT_EQ(co_await times_out_after(std::chrono::duration<unsigned short, std::milli>(5)), 5ms);
    EXPECT_EQ(co_await times_out_after(std::chrono::duration<signed char>(5)), 5s);
    EXPECT_EQ(co_await times_out_after(std::chrono::duration<unsigned long, std::micro>(5)), 5us);
    EXPECT_EQ(co_await times_out_after(std::chrono::duration<float>(0.5f)), 500ms);
    EXPECT_EQ(co_await times_out_after(std::chrono::duration<int, std::ratio<1, 3'000'000'000>>(4)), 2ns);   // rounded up
    EXPECT_EQ(co_await skua::timeout(std::chrono::duration<int, std::ratio<3600>>::max(), after(2h, 1)), 1);
    EXPECT_EQ(co_await skua::timeout(std::chrono::duration<unsigned long>::max(), after(2h, 2)), 2);
    EXPECT_THROW(co_await skua::timeout(std::chrono::seconds::min(), after(2h, 3)), skua::timeout_error);
  };
  rt.block_on(body);
}

TEST_P(Timeout, value_or_error_that_comes_although_the_time_is_up_wins__S10) {
  skua::runtime real({.workers = GetParam()});
  auto body = []() -> task<> {
    auto never_looks = [](bool fails) -> task<int> {
      auto const end = skua::clock::now() + 20ms;   // the I/O thread fires the timer meanwhile
      while (skua::clock::now() < end) {}
      if (fails) throw std::runtime_error("all the same");
      co_return 9;
    };
    EXPECT_EQ(co_await skua::timeout(1ms, never_looks(false)), 9);
    EXPECT_THROW(co_await skua::timeout(1ms, never_looks(true)), std::runtime_error);
  };
  real.block_on(body);
}

TEST_P(Timeout, around_blocking_work_that_has_begun_returns_late__S7) {
  skua::runtime real({.workers = GetParam()});
  auto body = []() -> task<> {
    std::atomic<bool> begun = false;
    int result = 0;
    auto const begin = skua::clock::now();
    for (auto limit = 1ms; !begun; limit *= 2) {   // a limit that passes before it has begun stops it
      auto blocks = [&]() -> task<int> { co_return co_await skua::spawn_blocking([&] {
                                           begun = true;
                                           std::this_thread::sleep_for(2 * limit + 20ms);
                                           return 5;
                                         }); };
      try {
        result = co_await skua::timeout(limit, blocks());
      } catch (skua::timeout_error const&) {
      }
    }
    EXPECT_EQ(result, 5);
    EXPECT_GE(skua::clock::now() - begin, 20ms);
  };
  real.block_on(body);
}

// ---------------------------------------------------------------------------------------------- nested: the one that fired throws

// Two timeouts around a sleep; the outer one's catch is inside a third. Times in ms; 0: none.
struct nested {
  int inner, outer, sleep, stop;   // `stop`: from outside
  char const* outcome;             // who said what, at what time
};
task<std::string> inner_part(nested n) {
  try {
    co_await skua::timeout(std::chrono::milliseconds(n.inner), after(std::chrono::milliseconds(n.sleep), 1));
    co_return "value";
  } catch (skua::timeout_error const&) {
    co_return "inner";
  }
}
task<std::string> outer_part(nested n) {
  try {
    co_return co_await skua::timeout(std::chrono::milliseconds(n.outer), inner_part(n));
  } catch (skua::timeout_error const&) {
    co_return "outer";
  }
}
task<std::string> played(nested n) {
  auto const begin = skua::clock::now();
  auto h = skua::spawn(outer_part, n);
  if (n.stop != 0) {
    co_await skua::sleep_for(std::chrono::milliseconds(n.stop));
    h.request_stop();
  }
  std::string what;
  try {
    what = co_await h;
  } catch (skua::task_stopped const&) {
    what = "stopped";
  }
  co_return what + " at " + std::to_string((skua::clock::now() - begin) / 1ms);
}
TEST_P(Timeout, that_fired_throws_whatever_is_nested_in_what__S10) {
  constexpr nested table[] = {
      {5, 10, 20, 0, "inner at 5"},   {10, 5, 20, 0, "outer at 5"},   {10, 20, 5, 0, "value at 5"},   {20, 10, 5, 0, "value at 5"},
      {10, 20, 30, 5, "stopped at 5"}, {20, 10, 30, 5, "stopped at 5"}, {5, 20, 30, 10, "inner at 10"}, {20, 5, 30, 10, "outer at 10"},
      {0, 10, 20, 0, "inner at 0"},   {10, 0, 20, 0, "outer at 0"},   {10, 20, 5, 30, "value at 30"},
  };
  for (nested const& n : table)
    EXPECT_EQ(rt.block_on(played, n), n.outcome) << n.inner << ' ' << n.outer << ' ' << n.sleep << ' ' << n.stop;
}
TEST_P(Timeout, both_due_at_the_same_time_give_one_timeout_error__S10) {
  for (int i = 0; i < 50; ++i) {
    std::string const s = rt.block_on(played, nested{5, 5, 20, 0, ""});
    EXPECT_TRUE(s == "inner at 5" || s == "outer at 5") << s;
  }
}
TEST_P(Timeout, due_when_the_sleep_is_due_gives_the_value_or_the_error_but_one_of_them__S10) {
  for (int i = 0; i < 50; ++i) {
    std::string const s = rt.block_on(played, nested{5, 20, 5, 0, ""});
    EXPECT_TRUE(s == "inner at 5" || s == "value at 5") << s;
  }
}

TEST_P(Timeout, of_a_hundred_levels_throws_at_the_one_that_fired__S10) {
  struct levels {
    static task<int> at(int level, int fires) {
      if (level == 100) co_return co_await after(1h, -1);
      auto const limit = level == fires ? 5ms : 10ms;
      int n = -1;
      bool fired = false;
      try {
        n = co_await skua::timeout(limit, at(level + 1, fires));
      } catch (skua::timeout_error const&) {
        fired = true;
      }
      co_return fired ? level : n;
    }
  };
  for (int fires : {0, 1, 50, 99}) EXPECT_EQ(rt.block_on(levels::at(0, fires)), fires);
}

// ---------------------------------------------------------------------------------------------- stop, and what is inside

TEST_P(Timeout, stopped_from_outside_unwinds_and_disarms_its_timer__S10) {
  std::atomic<int> gone = 0;
  auto body = [&]() -> task<> {
    auto h = skua::spawn([&]() -> task<> {
      witness w(gone);
      try {
        co_await skua::timeout(1h, never());
      } catch (...) {
        ADD_FAILURE() << "a stop is no exception (D2)";
      }
      ADD_FAILURE() << "went on";
    });
    co_await yield_times(3);
    h.request_stop();
    EXPECT_THROW(co_await h, skua::task_stopped);
    EXPECT_EQ(gone, 1);
  };
  rt.block_on(body);
}

TEST_P(Timeout, is_a_checkpoint__S1) {
  std::atomic<int> begun = 0, started = 0;
  auto h = rt.spawn([&]() -> task<> {
    ++begun;
    while (!skua::this_task::stop_requested()) co_await value_of(0);
    auto starts = [&]() -> task<> {
      ++started;
      co_return;
    };
    co_await skua::timeout(1h, starts());
  });
  while (begun == 0) std::this_thread::yield();
  h.request_stop();
  EXPECT_THROW(rt.block_on([](auto g) -> task<> { co_await g; }, std::move(h)), skua::task_stopped);
  EXPECT_EQ(started, 0);
}

TEST_P(Timeout, stops_whole_trees_and_races_inside__S3) {
  std::atomic<int> gone = 0;
  struct tree {
    static task<> node(int depth, std::atomic<int>& g) {
      witness w(g);
      if (depth == 0)
        co_await never();
      else
        co_await skua::when_all(node(depth - 1, g), race(depth - 1, g));
    }
    static task<> race(int depth, std::atomic<int>& g) {
      witness w(g);
      if (depth == 0)
        co_await skua::sleep_for(1h);
      else
        co_await skua::when_any(node(depth - 1, g), node(depth - 1, g));
    }
  };
  auto body = [&]() -> task<> {
    for (int i = 0; i < 20; ++i) {
      gone = 0;
      EXPECT_THROW(co_await skua::timeout(5ms, tree::node(6, gone)), skua::timeout_error);
      EXPECT_EQ(gone, 127);
    }
  };
  rt.block_on(body);
}

TEST_P(Timeout, failure_of_a_sibling_stops_it__S8) {
  auto body = []() -> task<> {
    auto limited = []() -> task<> { co_await skua::timeout(1h, never()); };
    EXPECT_THROW(co_await skua::when_all(limited(), fail_after(3, "sibling")), std::runtime_error);
  };
  rt.block_on(body);
}

TEST_P(Timeout, that_is_over_leaves_the_task_free_to_go_on) {
  auto body = []() -> task<int> {
    int n = 0;
    for (int i = 0; i < 100; ++i) {
      try {
        co_await skua::timeout(1ms, never());
      } catch (skua::timeout_error const&) {
        ++n;
      }
      co_await skua::sleep_for(1ms);   // not stopped any more
      EXPECT_FALSE(skua::this_task::stop_requested());
    }
    co_return n;
  };
  EXPECT_EQ(rt.block_on(body), 100);
}

TEST_P(Timeout, of_a_moved_task_is_a_usage_error) {
  auto body = []() -> task<> { co_await skua::timeout(1ms, task<int>()); };
  EXPECT_THROW(rt.block_on(body), skua::usage_error);
}

} // namespace
