// SPDX-License-Identifier: Apache-2.0
// Unit: the rulings on stop, failure and ownership that concern tasks, each by its number. What a ruling says is in the test's name; docs/stop.md
// explains. Rulings on descriptors (S17 to S20) are in tcp_test and readiness_test, on starvation (S21) in fairness_test, on memory (S26)
// in tests/stress/allocation_stress.
#include "skua/blocking.hpp"
#include "skua/runtime.hpp"
#include "skua/time.hpp"
#include "skua/when_all.hpp"
#include "skua/when_any.hpp"
#include <atomic>
#include <chrono>
#include <gtest/gtest.h>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using skua::task;

// Counts itself; moves are counted as births, so `live` is 0 when every one is gone.
struct token {
  static inline std::atomic<int> live{0};
  int value = 0;
  explicit token(int v = 0) noexcept : value(v) { ++live; }
  token(token&& o) noexcept : value(o.value) { ++live; }
  token& operator=(token&&) = delete;
  ~token() { --live; }
};

// Every test runs on a runtime of its own, with virtual time, and leaves nothing behind.
class Rulings : public ::testing::TestWithParam<unsigned> {
protected:
  void TearDown() override {
    EXPECT_EQ(rt.metrics().live_tasks, 0u);
    EXPECT_EQ(token::live, 0);
  }
  template <class F>
  void run(F f) {
    rt.block_on(std::move(f));
    rt.shutdown(10s);
  }
  static skua::options settings() {
    skua::options o;
    o.workers = GetParam();
    o.backend = "virtual";
    o.on_unhandled_failure = [](skua::failure const&) { ++unhandled; };
    return o;
  }
  static inline std::atomic<int> unhandled{0};
  int unhandled_before = unhandled;
  skua::runtime rt{settings()};
};
INSTANTIATE_TEST_SUITE_P(Workers, Rulings, ::testing::Values(1u, 2u, 4u));

task<> sleep_holding(std::chrono::nanoseconds d, token t = token{}) {
  co_await skua::sleep_for(d);
  (void)t;
}
task<token> value_after(std::chrono::nanoseconds d, int v) {
  co_await skua::sleep_for(d);
  co_return token(v);
}
task<token> failure_after(std::chrono::nanoseconds d, char const* what = "failed") {
  co_await skua::sleep_for(d);
  throw std::runtime_error(what);
}
task<> stop_when_started(std::atomic<bool>& started) {
  started = true;
  co_await skua::sleep_for(1h);
}

TEST_P(Rulings, S1_a_stop_that_happened_before_is_seen_on_entry_before_any_effect) {
  run([]() -> task<> {
    static bool effect;
    effect = false;
    auto h = skua::spawn([]() -> task<> {
      while (!skua::this_task::stop_requested()) std::this_thread::yield();
      co_await skua::sleep_for(0s);   // could finish at once
      effect = true;
    });
    h.request_stop();
    EXPECT_THROW(co_await h, skua::task_stopped);
    EXPECT_FALSE(effect);
  });
}

TEST_P(Rulings, S1_a_fork_is_a_checkpoint_and_awaiting_a_child_is_none) {
  run([]() -> task<> {
    static bool child_ran, branch_ran;
    child_ran = branch_ran = false;
    auto child = []() -> task<> { child_ran = true; co_return; };
    auto branch = []() -> task<> { branch_ran = true; co_return; };
    auto h = skua::spawn([child, branch]() -> task<> {
      while (!skua::this_task::stop_requested()) std::this_thread::yield();
      co_await child();
      co_await skua::when_all(branch(), branch());
    });
    if (skua::this_task::id() != 0 && h.id() != 0) h.request_stop();
    EXPECT_THROW(co_await h, skua::task_stopped);
    EXPECT_TRUE(child_ran);
    EXPECT_FALSE(branch_ran);
  });
}

TEST_P(Rulings, S2_a_request_from_any_thread_stops_every_branch_below) {
  run([]() -> task<> {
    for (int i = 0; i < 20; ++i) {
      auto h = skua::spawn([]() -> task<> {
        std::vector<task<>> many;
        for (int k = 0; k < 300; ++k) many.push_back(sleep_holding(1h));   // more than a requester visits itself
        co_await skua::when_all(std::move(many));
      });
      co_await skua::this_task::yield();
      std::thread([&h] { h.request_stop(); }).join();
      EXPECT_THROW(co_await h, skua::task_stopped);
    }
  });
}

task<> deep(int n) {
  if (n == 0)
    co_await skua::sleep_for(1h);
  else
    co_await deep(n - 1);
}
task<> deep_joins(int n) {
  if (n == 0)
    co_await skua::sleep_for(1h);
  else
    co_await skua::when_all(deep_joins(n - 1), sleep_holding(1h));
}

TEST_P(Rulings, S3_unwinding_is_iterative) {
  run([]() -> task<> {
    auto chain = skua::spawn(deep, 200'000);
    auto joins = skua::spawn(deep_joins, 20'000);
    co_await skua::sleep_for(1s);
    chain.request_stop();
    joins.request_stop();
    EXPECT_THROW(co_await chain, skua::task_stopped);
    EXPECT_THROW(co_await joins, skua::task_stopped);
  });
}

TEST_P(Rulings, S4_a_completion_that_won_is_delivered_and_the_next_operation_sees_the_stop) {
  run([]() -> task<> {
    for (int i = 0; i < 50; ++i) {
      static std::atomic<int> delivered, after;
      delivered = after = 0;
      auto source = skua::spawn([]() -> task<int> { co_return 7; });
      auto h = skua::spawn([s = std::move(source)]() mutable -> task<> {
        int const v = co_await s;
        delivered = v;
        co_await skua::sleep_for(1h);
        after = 1;
      });
      if (i % 2) co_await skua::this_task::yield();
      h.request_stop();
      EXPECT_THROW(co_await h, skua::task_stopped);
      EXPECT_TRUE(delivered == 7 || delivered == 0);
      EXPECT_EQ(after, 0);
    }
  });
}

TEST_P(Rulings, S7_what_cannot_be_stopped_is_waited_for) {
  run([]() -> task<> {
    static std::atomic<bool> begun, requested, ended;
    begun = requested = ended = false;
    auto h = skua::spawn([]() -> task<> {
      co_await skua::spawn_blocking([] {
        begun = true;
        while (!requested) std::this_thread::yield();
        std::this_thread::sleep_for(10ms);
        ended = true;
      });
      co_await skua::this_task::checkpoint();
    });
    while (!begun) co_await skua::this_task::yield();
    h.request_stop();
    requested = true;
    EXPECT_THROW(co_await h, skua::task_stopped);
    EXPECT_TRUE(ended);
  });
}

TEST_P(Rulings, S8_the_first_failure_stops_the_siblings_and_all_are_awaited) {
  run([]() -> task<> {
    auto const begin = skua::clock::now();
    try {
      co_await skua::when_all(sleep_holding(1h), failure_after(2s, "second"), failure_after(1s, "first"), value_after(500ms, 1));
      ADD_FAILURE() << "must throw";
    } catch (std::runtime_error const& e) {
      EXPECT_STREQ(e.what(), "first");
    }
    EXPECT_EQ(token::live, 0);
    EXPECT_LT(skua::clock::now() - begin, 2s);
  });
}

TEST_P(Rulings, S8_later_failures_go_to_the_failure_handler) {
  run([]() -> task<> {
    auto fail_in_destructor_time = [](char const* what) -> task<> {
      co_await skua::this_task::yield();
      throw std::runtime_error(what);
    };
    EXPECT_THROW(co_await skua::when_all(fail_in_destructor_time("a"), fail_in_destructor_time("b")), std::runtime_error);
  });
  // Both branches were past their last suspension point or were stopped there: one failure is thrown, the other reported or never happened.
  EXPECT_LE(unhandled - unhandled_before, 1);
}

TEST_P(Rulings, S8_a_branch_that_ends_stopped_stops_the_whole) {
  run([]() -> task<> {
    auto h = skua::spawn([]() -> task<> { co_await skua::when_all(sleep_holding(1h), value_after(1s, 3), sleep_holding(2h)); });
    co_await skua::sleep_for(2s);
    h.request_stop();
    EXPECT_THROW(co_await h, skua::task_stopped);
    EXPECT_EQ(token::live, 0);   // the value that was there is destroyed
  });
}

TEST_P(Rulings, S8_failure_before_stop) {
  run([]() -> task<> {
    static std::atomic<bool> caught;
    caught = false;
    auto h = skua::spawn([]() -> task<> {
      try {
        co_await skua::when_all(failure_after(1s), sleep_holding(1h));
      } catch (std::runtime_error const&) {
        caught = true;
      }
      co_await skua::sleep_for(1h);   // sees the stop
    });
    co_await skua::sleep_for(2s);
    h.request_stop();
    EXPECT_THROW(co_await h, skua::task_stopped);
    EXPECT_TRUE(caught);
  });
}

TEST_P(Rulings, S9_the_first_value_wins_and_losers_are_stopped_and_awaited) {
  run([]() -> task<> {
    auto r = co_await skua::when_any(value_after(3s, 3), failure_after(1s), value_after(2s, 2), value_after(1h, 4));
    EXPECT_EQ(r.index(), 2u);
    EXPECT_EQ(std::get<2>(r).value, 2);
    EXPECT_EQ(token::live, 1);
  });
  EXPECT_EQ(unhandled - unhandled_before, 1);   // the loser's failure
}

TEST_P(Rulings, S9_if_all_fail_the_failures_are_thrown_together) {
  run([]() -> task<> {
    try {
      co_await skua::when_any(failure_after(2s, "a"), failure_after(1s, "b"));
      ADD_FAILURE() << "must throw";
    } catch (skua::all_failed const& e) {
      EXPECT_EQ(e.failures().size(), 2u);
      EXPECT_THROW(std::rethrow_exception(e.failures()[0]), std::runtime_error);
    }
  });
}

TEST_P(Rulings, S10_a_value_or_an_error_that_is_there_is_the_outcome) {
  run([]() -> task<> {
    EXPECT_EQ((co_await skua::timeout(2s, value_after(1s, 5))).value, 5);
    EXPECT_THROW(co_await skua::timeout(2s, failure_after(1s)), std::runtime_error);
    EXPECT_THROW(co_await skua::timeout(1s, value_after(2s, 5)), skua::timeout_error);
    EXPECT_THROW(co_await skua::timeout(0s, value_after(2s, 5)), skua::timeout_error);
    EXPECT_EQ((co_await skua::timeout(-1s, []() -> task<token> { co_return token(6); }())).value, 6);   // never suspends
  });
}

TEST_P(Rulings, S10_of_nested_timeouts_the_one_that_fired_throws) {
  // Which of three nested limits is the shortest; what the innermost does when it is stopped is the same in all.
  run([]() -> task<> {
    static int thrown_at;
    auto guard = [](int level, std::chrono::seconds d, task<> t) -> task<> {
      try {
        co_await skua::timeout(d, std::move(t));
      } catch (skua::timeout_error const&) {
        if (thrown_at == 0) thrown_at = level;
        throw;
      }
    };
    for (int shortest = 1; shortest <= 3; ++shortest) {
      thrown_at = 0;
      auto limit = [shortest](int level) { return std::chrono::seconds(level == shortest ? 1 : 10 + level); };
      EXPECT_THROW(co_await guard(1, limit(1), guard(2, limit(2), guard(3, limit(3), sleep_holding(1h)))), skua::timeout_error);
      EXPECT_EQ(thrown_at, shortest);
    }
  });
}

TEST_P(Rulings, S10_a_stop_from_outside_dominates_the_timeout) {
  run([]() -> task<> {
    static std::atomic<bool> caught;
    caught = false;
    auto h = skua::spawn([]() -> task<> {
      try {
        co_await skua::timeout(10s, sleep_holding(1h));
      } catch (...) {
        caught = true;
      }
    });
    co_await skua::sleep_for(1s);
    h.request_stop();
    EXPECT_THROW(co_await h, skua::task_stopped);
    EXPECT_FALSE(caught);
  });
}

TEST_P(Rulings, S11_awaiting_a_stopped_task_throws_and_ones_own_stop_wins) {
  run([]() -> task<> {
    static std::atomic<bool> caught;
    caught = false;
    auto inner = std::make_shared<skua::join_handle<>>(skua::spawn([]() -> task<> { co_await skua::sleep_for(1h); }));
    auto outer = skua::spawn([inner]() -> task<> {
      try {
        co_await *inner;
      } catch (skua::task_stopped const&) {
        caught = true;
      }
    });
    co_await skua::sleep_for(1s);
    outer.request_stop();
    EXPECT_THROW(co_await outer, skua::task_stopped);
    EXPECT_FALSE(caught);
    inner->request_stop();
    EXPECT_THROW(co_await *inner, skua::task_stopped);
  });
}

TEST_P(Rulings, S12_dropping_the_handle_requests_stop_and_its_failure_goes_to_the_handler) {
  run([]() -> task<> {
    static std::atomic<bool> started;
    started = false;
    {
      auto h = skua::spawn([]() -> task<> {
        token t;
        co_await stop_when_started(started);
      });
      while (!started) co_await skua::this_task::yield();
    }
    skua::spawn_detached([]() -> task<> {
      co_await skua::sleep_for(1s);
      throw std::runtime_error("nobody awaits this");
    });
    co_await skua::sleep_for(2s);
  });
  EXPECT_EQ(unhandled - unhandled_before, 1);   // S23 as well
}

TEST_P(Rulings, S12_spawn_copies_callable_and_arguments) {
  run([]() -> task<> {
    auto make = [] {
      std::string text = "kept alive";
      return skua::spawn([](std::string const& s) -> task<std::string> {
        co_await skua::sleep_for(1s);
        co_return s;
      },
                         text);
    };
    auto h = make();
    EXPECT_EQ(co_await h, "kept alive");
  });
}

TEST_P(Rulings, S16_one_spawned_task_is_one_allocation) {
  run([]() -> task<> {
    auto spawn_one = [] { return skua::spawn([](int v) -> task<int> { co_return v; }, 1); };
    co_await spawn_one();   // learns the frame's size
    auto h = spawn_one();
    if constexpr (!SKUA_ASAN) {   // under AddressSanitizer every frame has its own life
      auto const block = reinterpret_cast<std::uintptr_t>(h.block());
      auto const frame = reinterpret_cast<std::uintptr_t>(h.block()->promise()->frame());
      EXPECT_GT(frame, block);
      EXPECT_LT(frame, block + h.block()->block_units * 32u);
    }
    EXPECT_EQ(co_await h, 1);
  });
}

TEST_P(Rulings, S22_shutdown_reports_who_is_alive_and_the_destructor_joins) {
  skua::options o = settings();
  o.backend = "epoll";
  std::atomic<bool> go{false};
  {
    skua::runtime other(o);
    auto h = other.spawn(skua::named("stubborn"), [&go]() -> task<> {
      while (!go) std::this_thread::sleep_for(1ms);
      co_return;
    });
    h.detach();
    skua::shutdown_report const r = other.shutdown(20ms);
    ASSERT_EQ(r.survivors.size(), 1u);
    EXPECT_EQ(r.survivors[0].name, "stubborn");
    go = true;
    EXPECT_TRUE(other.shutdown(10s).clean());
    EXPECT_THROW(other.block_on([]() -> task<> { co_return; }), skua::usage_error);
  }
}

TEST(ManyWorkers, S24_fixed_sizes_hold_256_workers) {
  skua::options o;
  o.workers = 256;
  skua::runtime rt(o);
  int const n = rt.block_on([]() -> task<int> {
    std::vector<skua::join_handle<int>> all;
    for (int i = 0; i < 5000; ++i)
      all.push_back(skua::spawn([](int v) -> task<int> {
        co_await skua::sleep_for(1ms);
        co_return v % 2;
      },
                                i));
    int sum = 0;
    for (auto& h : all) sum += co_await h;
    co_return sum;
  });
  EXPECT_EQ(n, 2500);
}

} // namespace
