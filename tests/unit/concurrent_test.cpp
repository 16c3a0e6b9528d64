// SPDX-License-Identifier: Apache-2.0
// when_all_settled, for_each_concurrent, as_completed, task_local. Virtual time.
#include "skua/as_completed.hpp"
#include "skua/for_each_concurrent.hpp"
#include "skua/runtime.hpp"
#include "skua/task_group.hpp"
#include "skua/task_local.hpp"
#include "skua/time.hpp"
#include "skua/when_all_settled.hpp"
#include "skua/when_any.hpp"
#include "tests/support/several_workers.hpp"
#include "tests/support/values.hpp"
#include <atomic>
#include <chrono>
#include <list>
#include <memory>
#include <ranges>
#include <span>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::outcome;
using skua::task;

class Concurrent : public several_workers {};
INSTANTIATE_TEST_SUITE_P(, Concurrent, testing::Values(1u, 2u), by_workers);

task<int> after(std::chrono::nanoseconds t, int n) {
  co_await skua::sleep_for(t);
  co_return n;
}
task<int> fail_in(std::chrono::nanoseconds t) {
  co_await skua::sleep_for(t);
  throw std::runtime_error("failed");
}
task<owned> owned_after(std::chrono::nanoseconds t, int n) {
  co_await skua::sleep_for(t);
  co_return owned(n);
}

// ---------------------------------------------------------------------------------------------- when_all_settled

TEST_P(Concurrent, when_all_settled_says_of_each_how_it_ended) {
  auto body = []() -> task<> {
    auto [a, b, c] = co_await skua::when_all_settled(after(2s, 1), fail_in(1s), skua::sleep_for(3s));
    EXPECT_EQ(*a, 1);
    EXPECT_TRUE(b.failed());
    EXPECT_TRUE(c.has_value());
    std::vector<task<owned>> many;
    for (int i = 0; i < 5; ++i) many.push_back(owned_after(std::chrono::seconds(i), i));
    auto all = co_await skua::when_all_settled(std::move(many));
    EXPECT_EQ(all.size(), 5u);
    for (int i = 0; i < 5; ++i) EXPECT_EQ(all[static_cast<std::size_t>(i)]->value(), i);
    EXPECT_TRUE((co_await skua::when_all_settled(std::vector<task<>>())).empty());
  };
  rt.block_on(body);
  EXPECT_EQ(owned::alive, 0);
}

TEST_P(Concurrent, a_vector_that_was_taken_over_is_empty_and_may_be_filled_again) {
  auto body = []() -> task<> {
    std::vector<task<int>> v;
    for (int i = 0; i < 3; ++i) {
      v.push_back(value_of(1));
      v.push_back(value_of(2));
      EXPECT_EQ((co_await skua::when_all_settled(std::move(v))).size(), 2u);
      EXPECT_TRUE(v.empty());
    }
    v.push_back(value_of(1));
    EXPECT_EQ((co_await skua::when_all(std::move(v))).size(), 1u);
    EXPECT_TRUE(v.empty());
    v.push_back(value_of(1));
    EXPECT_EQ((co_await skua::when_any(std::move(v))).value, 1);
    EXPECT_TRUE(v.empty());
  };
  rt.block_on(body);
}

TEST_P(Concurrent, when_all_settled_in_a_timeout_gives_what_came_in_time) {
  auto body = []() -> task<> {
    auto const begin = skua::clock::now();
    std::vector<task<int>> many;
    for (int i = 0; i < 5; ++i) many.push_back(after(std::chrono::seconds(i), i));
    auto all = co_await skua::timeout(2500ms, skua::when_all_settled(std::move(many)));
    EXPECT_EQ(skua::clock::now() - begin, 2500ms);
    for (int i = 0; i < 5; ++i) EXPECT_EQ(all[static_cast<std::size_t>(i)].has_value(), i < 3);
    EXPECT_TRUE(all[4].stopped());
  };
  rt.block_on(body);
}

TEST_P(Concurrent, combinators_take_tasks_from_any_range) {
  auto body = []() -> task<> {
    auto in_list = [] {
      std::list<task<int>> l;
      for (int i = 1; i <= 3; ++i) l.push_back(after(std::chrono::seconds(i), i));
      return l;
    };
    auto const made = std::views::iota(1, 4) | std::views::transform([](int i) { return after(std::chrono::seconds(i), i); });
    EXPECT_EQ(co_await skua::when_all(in_list()), (std::vector{1, 2, 3}));
    EXPECT_EQ(co_await skua::when_all(decltype(made)(made)), (std::vector{1, 2, 3}));
    auto const [index, first] = co_await skua::when_any(in_list());
    EXPECT_EQ(index, 0u);
    EXPECT_EQ(first, 1);
    EXPECT_EQ((co_await skua::when_any(decltype(made)(made))).value, 1);
    EXPECT_EQ((co_await skua::when_all_settled(in_list())).at(2).value(), 3);
    EXPECT_EQ((co_await skua::when_all_settled(decltype(made)(made))).size(), 3u);
    std::vector<int> came;
    co_await skua::as_completed(in_list(), [&](outcome<int> o) { came.push_back(*o); });
    co_await skua::as_completed(decltype(made)(made), [&](outcome<int> o) { came.push_back(*o); });
    EXPECT_EQ(came, (std::vector{1, 2, 3, 1, 2, 3}));
    std::vector<task<int>> own;   // elements that belong to somebody else
    own.push_back(after(1s, 1));
    EXPECT_EQ(co_await skua::when_all(std::span(own)), std::vector{1});
    EXPECT_FALSE(own[0]);
  };
  rt.block_on(body);
}

// ---------------------------------------------------------------------------------------------- for_each_concurrent

TEST_P(Concurrent, for_each_concurrent_keeps_its_limit) {
  std::atomic<int> running = 0, most = 0, sum = 0;
  auto one = [&](int n) -> task<> {
    int const now = ++running;
    int seen = most;
    while (seen < now && !most.compare_exchange_weak(seen, now)) {}
    co_await skua::sleep_for(1s);
    sum += n;
    --running;
  };
  auto body = [&]() -> task<> {
    auto const begin = skua::clock::now();
    std::vector<int> const numbers{1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
    co_await skua::for_each_concurrent(numbers, 3, one);
    EXPECT_EQ(sum, 55);
    EXPECT_EQ(most, 3);
    EXPECT_EQ(skua::clock::now() - begin, 4s);
    co_await skua::for_each_concurrent(std::vector<int>(), 3, one);
    co_await skua::for_each_concurrent(std::views::iota(0, 5), 100, one);
    EXPECT_EQ(sum, 65);
    EXPECT_THROW(co_await skua::for_each_concurrent(numbers, 0, one), skua::usage_error);
  };
  rt.block_on(body);
}

TEST_P(Concurrent, for_each_concurrent_takes_every_kind_of_range) {
  auto body = []() -> task<> {
    std::list<std::string> names{"a", "b", "c"};
    co_await skua::for_each_concurrent(names, 2, [](std::string& s) -> task<> {   // in place
      co_await skua::this_task::yield();
      s += s;
    });
    EXPECT_EQ(names, (std::list<std::string>{"aa", "bb", "cc"}));
    std::istringstream in("1 2 3 4");
    std::atomic<int> sum = 0;
    co_await skua::for_each_concurrent(std::views::istream<int>(in), 2, [&](int n) -> task<> {   // can be passed once
      co_await skua::this_task::yield();
      sum += n;
    });
    EXPECT_EQ(sum, 10);
    std::vector<std::unique_ptr<int>> owners;
    for (int i = 0; i < 4; ++i) owners.push_back(std::make_unique<int>(i));
    co_await skua::for_each_concurrent(std::move(owners), 3, [&](std::unique_ptr<int>& p) -> task<> {
      co_await skua::this_task::yield();
      sum += *p;
    });
    EXPECT_EQ(sum, 16);
    co_await skua::for_each_concurrent(std::views::iota(0, 3), 2, [](int) { return skua::sleep_for(1s); });   // any awaitable
  };
  rt.block_on(body);
}

TEST_P(Concurrent, for_each_concurrent_stops_on_the_first_failure_and_begins_no_more) {
  std::atomic<int> begun = 0;
  auto body = [&]() -> task<> {
    auto const begin = skua::clock::now();
    EXPECT_THROW(co_await skua::for_each_concurrent(std::views::iota(0, 100), 4,
                                                    [&](int n) -> task<> {
                                                      ++begun;
                                                      if (n == 1) co_await fail_in(1s);
                                                      co_await skua::sleep_for(1h);
                                                    }),
                 std::runtime_error);
    EXPECT_EQ(begun, 4);
    EXPECT_EQ(skua::clock::now() - begin, 1s);
    begun = 0;
    EXPECT_THROW(co_await skua::timeout(1s, skua::for_each_concurrent(std::views::iota(0, 100), 4,
                                                                      [&](int) -> task<> {
                                                                        ++begun;
                                                                        co_await skua::sleep_for(600ms);
                                                                      })),
                 skua::timeout_error);
    EXPECT_EQ(begun, 8);
  };
  rt.block_on(body);
}

// ---------------------------------------------------------------------------------------------- as_completed

TEST_P(Concurrent, as_completed_passes_outcomes_in_the_order_in_which_they_come) {
  auto body = []() -> task<> {
    std::vector<task<int>> tasks;
    for (int i : {3, 1, 2, 5, 4}) tasks.push_back(i == 2 ? fail_in(2s) : after(std::chrono::seconds(i), i));
    std::vector<int> values;
    std::vector<std::size_t> places;
    co_await skua::as_completed(std::move(tasks), [&](std::size_t place, outcome<int> o) {
      places.push_back(place);
      values.push_back(o ? *o : -1);
    });
    EXPECT_EQ(values, (std::vector{1, -1, 3, 4, 5}));
    EXPECT_EQ(places, (std::vector<std::size_t>{1, 2, 0, 4, 3}));
  };
  rt.block_on(body);
}

TEST_P(Concurrent, as_completed_awaits_one_call_at_a_time_while_the_tasks_go_on) {
  auto body = []() -> task<> {
    auto const begin = skua::clock::now();
    std::vector<task<owned>> tasks;
    for (int i = 1; i <= 4; ++i) tasks.push_back(owned_after(std::chrono::seconds(i), i));
    bool inside = false;
    int sum = 0;
    co_await skua::as_completed(std::move(tasks), [&](outcome<owned> o) -> task<> {
      EXPECT_FALSE(inside);
      inside = true;
      co_await skua::sleep_for(1500ms);
      inside = false;
      sum += o->value();
    });
    EXPECT_EQ(sum, 10);
    EXPECT_EQ(skua::clock::now() - begin, 7s);   // from the first result on, one behind the other
    std::vector<skua::join_handle<int>> handles;
    for (int i = 1; i <= 3; ++i) handles.push_back(skua::spawn(after, std::chrono::seconds(4 - i), i));
    std::vector<int> values;
    co_await skua::as_completed(std::move(handles), [&](outcome<int> o) { values.push_back(*o); });
    EXPECT_EQ(values, (std::vector{3, 2, 1}));
    co_await skua::as_completed(std::vector<task<>>(), [](outcome<>) { ADD_FAILURE(); });
  };
  rt.block_on(body);
  EXPECT_EQ(owned::alive, 0);
}

TEST_P(Concurrent, as_completed_stops_the_rest_when_a_call_throws_or_it_is_stopped_itself) {
  auto body = []() -> task<> {
    auto const begin = skua::clock::now();
    auto make = [] {
      std::vector<task<owned>> tasks;
      tasks.push_back(owned_after(1s, 1));
      tasks.push_back(owned_after(1h, 2));
      return tasks;
    };
    int calls = 0;
    EXPECT_THROW(co_await skua::as_completed(make(),
                                             [&](outcome<owned>) {
                                               ++calls;
                                               throw std::runtime_error("enough");
                                             }),
                 std::runtime_error);
    EXPECT_EQ(skua::clock::now() - begin, 1s);
    EXPECT_THROW(co_await skua::timeout(2s, skua::as_completed(make(), [&](outcome<owned>) { ++calls; })), skua::timeout_error);
    EXPECT_EQ(calls, 2);
  };
  rt.block_on(body);
  EXPECT_EQ(owned::alive, 0);
}

// ---------------------------------------------------------------------------------------------- task_local

constinit skua::task_local<std::string> request;
constinit skua::task_local<int> level;

task<> expect(std::string what, int n) {
  EXPECT_EQ(request.value_or("none"), what);
  co_await skua::this_task::yield();
  EXPECT_EQ(request.value_or("none"), what);
  EXPECT_EQ(level.value_or(0), n);
}

TEST_P(Concurrent, a_task_local_is_seen_by_all_that_runs_inside) {
  auto body = []() -> task<> {
    co_await expect("none", 0);
    co_await request.with("a", []() -> task<> {
      co_await expect("a", 0);
      co_await skua::when_all(expect("a", 0), request.with("b", level.with(2, expect("b", 2))), level.with(3, expect("a", 3)));
      co_await skua::with_task_group([](skua::task_group& g) -> task<> {
        g.spawn(expect, "a", 0);
        co_await level.with(4, [](skua::task_group& group) -> task<> {
          group.spawn(expect, "a", 0);   // of the group, not of where it was spawned
          co_await expect("a", 4);
        }(g));
      });
      co_await skua::timeout(1s, skua::shield(expect("a", 0)));
      auto apart = skua::spawn(expect, "none", 0);
      co_await apart;
    }());
    co_await expect("none", 0);
  };
  rt.block_on(body);
  EXPECT_EQ(request.get(), nullptr);
}

TEST_P(Concurrent, a_task_local_lets_values_failures_and_stops_through) {
  auto body = []() -> task<> {
    EXPECT_EQ(co_await level.with(1, after(1s, 3)), 3);
    EXPECT_THROW(co_await level.with(1, fail_in(1s)), std::runtime_error);
    EXPECT_THROW(co_await skua::timeout(1s, level.with(1, skua::sleep_for(1h))), skua::timeout_error);
    (void)level.with(1, after(1s, 3));   // never awaited
  };
  rt.block_on(body);
}

} // namespace
