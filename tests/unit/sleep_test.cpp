// SPDX-License-Identifier: Apache-2.0
// sleep_for and sleep_until: durations, order, clocks, stop (S1, S2). Virtual time, but for the Timing suite.
#include "skua/time.hpp"
#include "skua/runtime.hpp"
#include "skua/when_all.hpp"
#include "tests/support/leak_check.hpp"
#include "tests/support/values.hpp"
#include <chrono>
#include <ratio>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::task;

class Sleep : public leak_check {
protected:
  skua::runtime rt{skua::options{.workers = 2, .backend = "virtual"}};
};
class SleepTiming : public leak_check {};

TEST_F(Sleep, lasts_as_long_as_it_says) {
  auto body = []() -> task<> {
    for (auto d : {1us, 999us, 1'000us, 1'000'000us, 86'400'000'000us, 100 * 86'400'000'000us}) {
      auto const begin = skua::clock::now();
      co_await skua::sleep_for(d);
      EXPECT_EQ(skua::clock::now() - begin, d);
    }
    auto const begin = skua::clock::now();
    co_await skua::sleep_for(std::chrono::years(2));
    EXPECT_EQ(skua::clock::now() - begin, std::chrono::years(2));
    co_await skua::sleep_for(std::chrono::duration<double>(0.25));
    EXPECT_EQ(skua::clock::now() - begin, std::chrono::years(2) + 250ms);
  };
  rt.block_on(body);
}

TEST_F(Sleep, counts_from_the_await) {
  auto body = []() -> task<> {
    auto later = skua::sleep_for(10s);
    auto until = skua::sleep_until(skua::clock::now() + 10s);
    co_await skua::sleep_for(1h);
    auto const begin = skua::clock::now();
    co_await until;   // a time, not a duration: it has passed
    EXPECT_EQ(skua::clock::now(), begin);
    co_await later;
    EXPECT_EQ(skua::clock::now() - begin, 10s);
    auto none = skua::sleep_for(0s);
    co_await skua::sleep_for(1h);
    co_await none;
    EXPECT_EQ(skua::clock::now() - begin, 1h + 10s);
  };
  rt.block_on(body);
}

// The timer writes the time at which it is due where the delay was.
TEST_F(Sleep, that_is_kept_lasts_as_long_each_time) {
  auto body = []() -> task<> {
    auto kept = skua::sleep_for(10s);
    for (int i = 0; i != 2; ++i) {
      auto const begin = skua::clock::now();
      co_await kept;
      EXPECT_EQ(skua::clock::now() - begin, 10s);
    }
    auto const begin = skua::clock::now();
    EXPECT_THROW(co_await skua::timeout(1s, kept), skua::timeout_error);
    co_await kept;
    EXPECT_EQ(skua::clock::now() - begin, 11s);
  };
  rt.block_on(body);
}

TEST_F(Sleep, takes_periods_that_are_no_whole_nanoseconds) {
  auto body = []() -> task<> {
    auto const begin = skua::clock::now();
    co_await skua::sleep_for(std::chrono::duration<int, std::ratio<1, 60>>(30));
    EXPECT_EQ(skua::clock::now() - begin, 500ms);
    co_await skua::sleep_for(std::chrono::duration<long, std::ratio<1, 3>>(1));   // rounded up
    EXPECT_EQ(skua::clock::now() - begin, 833'333'334ns);
    co_await skua::sleep_for(std::chrono::duration<unsigned, std::ratio<1, 48'000>>(48'000));
    EXPECT_EQ(skua::clock::now() - begin, 1'833'333'334ns);
    co_await skua::sleep_for(std::chrono::duration<long, std::ratio<1, 24>>::min());
    EXPECT_EQ(skua::clock::now() - begin, 1'833'333'334ns);
  };
  rt.block_on(body);
}

TEST_F(Sleep, of_zero_or_less_lets_others_run_once) {
  auto body = []() -> task<> {
    auto const begin = skua::clock::now();
    std::atomic<int> others = 0;
    auto h = skua::spawn([&]() -> task<> {
      ++others;
      co_return;
    });
    co_await skua::sleep_for(0s);
    co_await skua::sleep_for(-1h);
    co_await skua::sleep_until(skua::clock::now() - 5s);
    co_await skua::sleep_until(skua::clock::time_point(-1ns));
    EXPECT_EQ(skua::clock::now(), begin);
    co_await h;
    EXPECT_EQ(others, 1);
  };
  rt.block_on(body);
}

TEST_F(Sleep, until_a_time_of_any_clock) {
  auto body = []() -> task<> {
    auto const begin = skua::clock::now();
    co_await skua::sleep_until(begin + 5s);
    EXPECT_EQ(skua::clock::now() - begin, 5s);
    co_await skua::sleep_until(begin + 2s);   // has passed
    EXPECT_EQ(skua::clock::now() - begin, 5s);
    // What is left of the 10 s when it is awaited: those clocks go on meanwhile, this one does not.
    auto ten_seconds_of = [](auto now) -> task<> {
      auto const from = skua::clock::now();
      auto const before = now();
      co_await skua::sleep_until(before + 10s);
      auto const slept = skua::clock::now() - from;
      EXPECT_LE(slept, 10s);
      EXPECT_GE(slept, 10s - (now() - before));
    };
    co_await ten_seconds_of(std::chrono::steady_clock::now);
    co_await ten_seconds_of(std::chrono::system_clock::now);
  };
  rt.block_on(body);
}

// A clock whose epoch is in the future.
struct countdown {
  using duration = std::chrono::nanoseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<countdown>;
  static time_point now() noexcept { return time_point(-1h); }
};

TEST_F(Sleep, until_the_ends_of_time_of_any_clock) {
  auto body = []() -> task<> {
    auto const begin = skua::clock::now();
    auto past_and_never = []<class T>(T) -> task<> {
      co_await skua::sleep_until(T::min());
      try {
        co_await skua::timeout(24h, skua::sleep_until(T::max()));
        ADD_FAILURE() << "max() has come";
      } catch (skua::timeout_error const&) {
      }
    };
    co_await past_and_never(skua::clock::time_point());
    co_await past_and_never(std::chrono::steady_clock::time_point());
    co_await past_and_never(std::chrono::system_clock::time_point());
    co_await past_and_never(std::chrono::time_point<std::chrono::system_clock, std::chrono::hours>());
    co_await past_and_never(std::chrono::time_point<skua::clock, std::chrono::seconds>());
    co_await past_and_never(countdown::time_point());
    EXPECT_EQ(skua::clock::now() - begin, 6 * 24h);
    co_await skua::sleep_until(countdown::now() + 10s);
    EXPECT_EQ(skua::clock::now() - begin, 6 * 24h + 10s);
    auto const later = std::chrono::ceil<std::chrono::hours>(skua::clock::now()) + 1h;   // coarser than the clock
    co_await skua::sleep_until(later);
    EXPECT_EQ(skua::clock::now(), later);
  };
  rt.block_on(body);
}

TEST_F(Sleep, of_many_end_in_the_order_of_their_deadlines) {
  skua::runtime one({.workers = 1, .backend = "virtual"});
  std::vector<int> order;
  auto body = [&]() -> task<> {
    std::vector<task<>> all;
    for (int i = 0; i < 1000; ++i) {
      int const ms = (i * 7919) % 1000;
      all.push_back([](int t, std::vector<int>& to) -> task<> {
        co_await skua::sleep_for(std::chrono::milliseconds(t));
        to.push_back(t);
      }(ms, order));
    }
    co_await skua::when_all(std::move(all));
  };
  one.block_on(body);
  EXPECT_EQ(order.size(), 1000u);
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
}

TEST_F(Sleep, of_ages_ends_only_by_a_stop) {
  std::atomic<int> gone = 0;
  auto body = [&]() -> task<> {
    auto forever = [&](auto d) { return skua::spawn([&gone, d]() -> task<> {
                                   witness w(gone);
                                   co_await skua::sleep_for(d);
                                 }); };
    auto a = forever(std::chrono::hours::max());
    auto b = forever(std::chrono::nanoseconds::max());
    auto c = forever(std::chrono::duration<double>(1e300));
    co_await skua::sleep_for(std::chrono::years(1));
    EXPECT_FALSE(a.done() || b.done() || c.done());
    a.request_stop();
    b.request_stop();
    c.request_stop();
    EXPECT_THROW(co_await a, skua::task_stopped);
    EXPECT_THROW(co_await b, skua::task_stopped);
    EXPECT_THROW(co_await c, skua::task_stopped);
  };
  rt.block_on(body);
  EXPECT_EQ(gone, 3);
}

TEST_F(Sleep, that_is_stopped_ends_at_once) {
  auto body = []() -> task<> {
    auto const begin = skua::clock::now();
    auto h = skua::spawn([]() -> task<> { co_await skua::sleep_for(1h); });
    co_await skua::sleep_for(1ms);
    h.request_stop();
    EXPECT_THROW(co_await h, skua::task_stopped);
    EXPECT_EQ(skua::clock::now() - begin, 1ms);
  };
  rt.block_on(body);
}

// S1: even one that would not wait.
TEST_F(Sleep, checks_for_a_stop_on_entry__S1) {
  std::atomic<int> begun = 0, past = 0;
  auto h = rt.spawn([&]() -> task<> {
    ++begun;
    while (!skua::this_task::stop_requested()) co_await value_of(0);
    co_await skua::sleep_for(-1s);
    ++past;
  });
  while (begun == 0) std::this_thread::yield();
  h.request_stop();
  EXPECT_THROW(rt.block_on([](auto g) -> task<> { co_await g; }, std::move(h)), skua::task_stopped);
  EXPECT_EQ(past, 0);
}

TEST_F(Sleep, a_hundred_thousand_at_once) {
  std::atomic<int> on_time = 0;
  auto body = [&]() -> task<> {
    auto const begin = skua::clock::now();
    auto sleeps = [&on_time, begin](int n) -> task<> {
      auto const d = std::chrono::microseconds(5'000'000 + n % 5000);
      co_await skua::sleep_until(begin + d);
      if (skua::clock::now() == begin + d) ++on_time;
    };
    std::vector<task<>> all;
    for (int i = 0; i < 100'000; ++i) all.push_back(sleeps(i));
    co_await skua::when_all(std::move(all));
  };
  rt.block_on(body);
  EXPECT_EQ(on_time, 100'000);
}

TEST_F(SleepTiming, is_never_early_on_the_real_clock) {
  skua::runtime rt({.workers = 2});
  auto body = []() -> task<> {
    for (auto d : {1us, 50us, 500us, 1'000us, 5'000us, 20'000us}) {
      auto const begin = std::chrono::steady_clock::now();
      co_await skua::sleep_for(d);
      EXPECT_GE(std::chrono::steady_clock::now() - begin, d);
    }
  };
  rt.block_on(body);
}

} // namespace
