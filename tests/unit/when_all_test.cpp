// SPDX-License-Identifier: Apache-2.0
// when_all: results of every kind, failure (S8), stop (S1, S4, S8), misuse. Every test runs on one worker and on two.
#include "skua/when_all.hpp"
#include "skua/runtime.hpp"
#include "skua/time.hpp"
#include "tests/support/several_workers.hpp"
#include "tests/support/values.hpp"
#include <algorithm>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::task;

class WhenAll : public reporting_workers {
protected:
  WhenAll() { fragile::moves_left = 1 << 30; }
};
INSTANTIATE_TEST_SUITE_P(, WhenAll, testing::Values(1u, 2u), by_workers);

// ---------------------------------------------------------------------------------------------- results

task<int&> reference_to(int& n) { co_return n; }
task<owned> owned_after(int yields, int n) {
  co_await yield_times(yields);
  co_return owned(n);
}
TEST_P(WhenAll, gives_results_of_every_kind_in_the_order_of_the_arguments) {
  auto body = []() -> task<> {
    int n = 3;
    auto [a, b, c, d, e] = co_await skua::when_all(value_of(1), yield_times(2), reference_to(n), owned_after(3, 4),
                                                   []() -> task<std::unique_ptr<int>> { co_return std::make_unique<int>(5); }());
    EXPECT_EQ(a, 1);
    static_assert(std::is_same_v<decltype(b), std::monostate>);
    static_assert(std::is_same_v<decltype(c), int&>);
    EXPECT_EQ(&c, &n);
    EXPECT_EQ(d.value(), 4);
    EXPECT_EQ(*e, 5);
    auto [single] = co_await skua::when_all(value_after(1, 6));
    EXPECT_EQ(single, 6);
    co_await skua::when_all(yield_times(1), yield_times(2), yield_times(3));
  };
  rt.block_on(body);
  EXPECT_EQ(owned::alive, 0);
}

TEST_P(WhenAll, of_a_vector_or_a_range_gives_a_vector) {
  auto body = []() -> task<> {
    std::vector<task<int>> some;
    for (int i = 0; i < 100; ++i) some.push_back(value_after(i % 3, i));
    std::vector<int> const values = co_await skua::when_all(std::move(some));
    for (int i = 0; i < 100; ++i) EXPECT_EQ(values[static_cast<std::size_t>(i)], i);
    EXPECT_TRUE((co_await skua::when_all(std::vector<task<int>>())).empty());
    std::vector<task<>> nothing;
    for (int i = 0; i < 10; ++i) nothing.push_back(yield_times(i));
    co_await skua::when_all(std::move(nothing));
    std::vector<task<owned>> owners;
    for (int i = 0; i < 10; ++i) owners.push_back(owned_after(i, i));
    EXPECT_EQ((co_await skua::when_all(std::move(owners)))[9].value(), 9);
  };
  rt.block_on(body);
  EXPECT_EQ(owned::alive, 0);
}

task<long> fib(int n, int every) {
  if (n % every == 0) co_await skua::this_task::yield();
  if (n < 2) co_return n;
  auto [a, b] = co_await skua::when_all(fib(n - 1, every), fib(n - 2, every));
  co_return a + b;
}
TEST_P(WhenAll, nests_to_any_depth_and_suspends_anywhere) {
  EXPECT_EQ(rt.block_on(fib(18, 1000)), 2584);
  EXPECT_EQ(rt.block_on(fib(14, 1)), 377);
  EXPECT_EQ(rt.block_on(fib(15, 4)), 610);
}

task<fragile> fragile_value(int n) { co_return fragile(n); }
TEST_P(WhenAll, result_whose_move_throws_leaves_no_other_behind) {
  for (int moves = 3; moves < 12; ++moves) {
    auto tuple = [](int m) -> task<> {
      fragile::moves_left = m;
      auto [a, b, c] = co_await skua::when_all(fragile_value(1), fragile_value(2), fragile_value(3));
    };
    auto vector = [](int m) -> task<> {
      std::vector<task<fragile>> v;
      for (int i = 0; i < 4; ++i) v.push_back(fragile_value(i));
      fragile::moves_left = m;
      (void)co_await skua::when_all(std::move(v));
    };
    try {
      rt.block_on(tuple, moves);
    } catch (std::runtime_error const&) {
    }
    EXPECT_EQ(fragile::alive, 0) << moves;
    try {
      rt.block_on(vector, moves);
    } catch (std::runtime_error const&) {
    }
    EXPECT_EQ(fragile::alive, 0) << moves;
  }
}

// ---------------------------------------------------------------------------------------------- failure

TEST_P(WhenAll, first_failure_stops_the_others_awaits_them_and_is_rethrown__S8) {
  std::atomic<int> gone = 0;
  auto waits = [&]() -> task<owned> {
    witness w(gone);
    co_await never();
    co_return owned(1);
  };
  auto body = [&]() -> task<> {
    co_await skua::when_all(waits(), fail_after(3, "first"), waits(), owned_after(0, 2));
  };
  EXPECT_EQ(message_of([&] { rt.block_on(body); }), "first");
  EXPECT_EQ(gone, 2);
  EXPECT_EQ(owned::alive, 0);
  EXPECT_TRUE(reported().empty());
}

TEST_P(WhenAll, first_failure_in_time_wins_and_the_others_are_reported__S8) {
  auto body = []() -> task<> {
    auto fails_late = [](std::string what) -> task<> {   // sees no stop: it does not suspend any more
      while (!skua::this_task::stop_requested()) co_await value_of(0);
      throw std::runtime_error(what);
    };
    co_await skua::when_all(fails_late("second"), fails_late("third"), fail_after(0, "first"));
  };
  if (GetParam() == 1) return;   // the first branch would never end
  EXPECT_EQ(message_of([&] { rt.block_on(body); }), "first");
  EXPECT_EQ(reported(), (std::vector<std::string>{"second", "third"}));
}
TEST_P(WhenAll, failures_that_do_not_suspend_are_thrown_and_reported_once_each__S8) {
  auto body = []() -> task<> {
    co_await skua::when_all(fail_with("a"), fail_with("b"), fail_with("c"));
  };
  std::vector<std::string> all{message_of([&] { rt.block_on(body); })};
  for (auto const& s : reported()) all.push_back(s);
  std::ranges::sort(all);
  EXPECT_EQ(all, (std::vector<std::string>{"a", "b", "c"}));
}

TEST_P(WhenAll, of_a_vector_fails_in_the_same_way__S8) {
  std::atomic<int> gone = 0;
  auto body = [&](int failing) -> task<> {
    std::vector<task<owned>> v;
    for (int i = 0; i < 50; ++i)
      v.push_back([](int n, int f, std::atomic<int>& g) -> task<owned> {
        witness w(g);
        co_await yield_times(n % 4);
        if (n == f) throw std::runtime_error("one of fifty");
        if (n % 5 == 1) co_await never();
        co_return owned(n);
      }(i, failing, gone));
    (void)co_await skua::when_all(std::move(v));
  };
  for (int failing : {0, 17, 49}) {
    gone = 0;
    EXPECT_EQ(message_of([&] { rt.block_on(body, failing); }), "one of fifty");
    EXPECT_EQ(gone, 50);
    EXPECT_EQ(owned::alive, 0);
  }
}

TEST_P(WhenAll, may_fail_and_be_caught_again_and_again) {
  auto body = []() -> task<int> {
    int caught = 0;
    for (int i = 0; i < 200; ++i) {
      try {
        co_await skua::when_all(fail_after(i % 3, "x"), never(), value_of(i));
      } catch (std::runtime_error const&) {
        ++caught;
      }
    }
    co_return caught;
  };
  EXPECT_EQ(rt.block_on(body), 200);
}

TEST_P(WhenAll, failure_deep_inside_stops_cousins_on_every_level__S8) {
  std::atomic<int> gone = 0, leaves = 0;
  struct tree {
    static task<> node(int depth, bool fails, std::atomic<int>& l, std::atomic<int>& g) {
      witness w(g);
      if (depth != 0) {
        co_await skua::when_all(node(depth - 1, false, l, g), node(depth - 1, fails, l, g));
      } else if (fails) {
        co_await until([&] { return l == 63; });   // all others: a fork that comes after the failure begins no branch
        co_await fail_after(4, "the leaf");
      } else {
        ++l;
        co_await never();
      }
    }
  };
  EXPECT_EQ(message_of([&] { rt.block_on(tree::node(6, true, leaves, gone)); }), "the leaf");
  EXPECT_EQ(gone, 127);
}

// ---------------------------------------------------------------------------------------------- stop

TEST_P(WhenAll, is_a_checkpoint_and_starts_no_branch_of_a_stopped_task__S1) {
  std::atomic<int> started = 0, before = 0, gone = 0;
  auto branch = [&]() -> task<> {
    ++started;
    co_return;
  };
  auto body = [&]() -> task<> {
    auto h = skua::spawn([&]() -> task<> {
      witness w(gone);
      while (!skua::this_task::stop_requested()) co_await value_of(0);
      ++before;
      co_await skua::when_all(branch(), branch());
      ADD_FAILURE() << "went on";
    });
    h.request_stop();
    EXPECT_THROW(co_await h, skua::task_stopped);
    auto v = skua::spawn([&]() -> task<> {
      while (!skua::this_task::stop_requested()) co_await value_of(0);
      std::vector<task<>> tasks;
      for (int i = 0; i < 3; ++i) tasks.push_back(branch());
      co_await skua::when_all(std::move(tasks));
    });
    v.request_stop();
    EXPECT_THROW(co_await v, skua::task_stopped);
  };
  rt.block_on(body);
  EXPECT_EQ(started, 0);
  EXPECT_EQ(before, 1);
  EXPECT_EQ(gone, 1);
}

TEST_P(WhenAll, stopped_from_outside_ends_stopped_when_all_branches_have_ended__S3_S8) {
  std::atomic<int> begun = 0, gone = 0;
  auto body = [&]() -> task<> {
    auto h = skua::spawn([&]() -> task<> {
      auto waits = [&](int yields) -> task<owned> {
        witness w(gone);
        ++begun;
        co_await yield_times(yields);
        co_await never();
        co_return owned(1);
      };
      try {
        co_await skua::when_all(waits(0), waits(3), owned_after(1, 5), waits(1));
      } catch (...) {
        ADD_FAILURE() << "a stop is no exception (D2)";
      }
      ADD_FAILURE() << "went on";
    });
    co_await until([&] { return begun == 3; });
    co_await yield_times(10);
    h.request_stop();
    EXPECT_THROW(co_await h, skua::task_stopped);
    EXPECT_EQ(gone, 3);
  };
  rt.block_on(body);
  EXPECT_EQ(owned::alive, 0);
}

TEST_P(WhenAll, values_that_are_there_are_delivered_although_a_stop_came__S4) {
  std::atomic<int> begun = 0, delivered = 0, past = 0;
  auto h = rt.spawn([&]() -> task<> {
    auto computes = [&]() -> task<int> {   // no suspension point
      ++begun;
      while (!skua::this_task::stop_requested()) co_await value_of(0);
      co_return 4;
    };
    auto [a, b] = co_await skua::when_all(computes(), computes());
    delivered = a + b;
    co_await skua::this_task::checkpoint();
    ++past;
  });
  while (begun == 0) std::this_thread::yield();
  h.request_stop();
  EXPECT_THROW(rt.block_on([](auto g) -> task<> { co_await g; }, std::move(h)), skua::task_stopped);
  EXPECT_EQ(delivered, 8);
  EXPECT_EQ(past, 0);
}

TEST_P(WhenAll, failure_in_a_stopped_scope_is_thrown_and_the_next_checkpoint_stops__S8) {
  std::atomic<int> begun = 0, caught = 0, past = 0;
  auto h = rt.spawn([&]() -> task<> {
    auto fails = [&]() -> task<> {
      ++begun;
      while (!skua::this_task::stop_requested()) co_await value_of(0);
      throw std::runtime_error("in a stopped scope");
    };
    try {
      co_await skua::when_all(never(), fails());
    } catch (std::runtime_error const&) {
      ++caught;
    }
    co_await skua::this_task::yield();
    ++past;
  });
  while (begun == 0) std::this_thread::yield();
  h.request_stop();
  EXPECT_THROW(rt.block_on([](auto g) -> task<> { co_await g; }, std::move(h)), skua::task_stopped);
  EXPECT_EQ(caught, 1);
  EXPECT_EQ(past, 0);
}

// ---------------------------------------------------------------------------------------------- misuse, lifetime

TEST_P(WhenAll, task_that_was_moved_from_is_a_usage_error_and_no_branch_starts) {
  std::atomic<int> started = 0;
  auto branch = [&]() -> task<int> {
    ++started;
    co_return 1;
  };
  auto body = [&]() -> task<int> {
    int errors = 0;
    try {
      co_await skua::when_all(branch(), task<int>(), branch());
    } catch (skua::usage_error const&) {
      ++errors;
    }
    try {
      std::vector<task<int>> v;
      v.push_back(branch());
      v.emplace_back();
      (void)co_await skua::when_all(std::move(v));
    } catch (skua::usage_error const&) {
      ++errors;
    }
    co_return errors;
  };
  EXPECT_EQ(rt.block_on(body), 2);
  EXPECT_EQ(started, 0);
}

TEST_P(WhenAll, branches_may_use_the_awaiting_frame) {
  auto body = []() -> task<int> {
    std::atomic<int> sum = 0;
    auto add = [&sum](int n) -> task<> {
      co_await yield_times(n % 3);
      sum += n;
    };
    std::vector<task<>> v;
    for (int i = 1; i <= 100; ++i) v.push_back(add(i));
    co_await skua::when_all(std::move(v));
    co_return sum;
  };
  EXPECT_EQ(rt.block_on(body), 5050);
}

TEST_P(WhenAll, of_a_hundred_thousand_branches_grows_the_queue) {
  auto body = []() -> task<long> {
    std::vector<task<int>> v;
    for (int i = 0; i < 100'000; ++i) v.push_back(value_after(i % 2, i % 7));
    long sum = 0;
    for (int n : co_await skua::when_all(std::move(v))) sum += n;
    co_return sum;
  };
  long expected = 0;
  for (int i = 0; i < 100'000; ++i) expected += i % 7;
  EXPECT_EQ(rt.block_on(body), expected);
}

} // namespace
