// SPDX-License-Identifier: Apache-2.0
// when_any: the first value wins, losers are stopped and awaited, failures (S9), stop. Every test runs on one worker and on two.
#include "skua/when_any.hpp"
#include "skua/runtime.hpp"
#include "skua/time.hpp"
#include "skua/when_all.hpp"
#include "tests/support/several_workers.hpp"
#include "tests/support/values.hpp"
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::task;

class WhenAny : public reporting_workers {
protected:
  WhenAny() { fragile::moves_left = 1 << 30; }
};
INSTANTIATE_TEST_SUITE_P(, WhenAny, testing::Values(1u, 2u), by_workers);

task<owned> owned_after(std::chrono::milliseconds t, int n) {
  co_await skua::sleep_for(t);
  co_return owned(n);
}
task<int> after(std::chrono::milliseconds t, int n) {
  co_await skua::sleep_for(t);
  co_return n;
}
task<int> fails_in(std::chrono::milliseconds t, std::string what) {
  co_await skua::sleep_for(t);
  throw std::runtime_error(what);
}

TEST_P(WhenAny, first_value_wins_and_the_losers_are_stopped_and_awaited__S9) {
  std::atomic<int> gone = 0;
  auto waits = [&](int yields) -> task<int> {
    witness w(gone);
    co_await yield_times(yields);
    co_await never();
    co_return -1;
  };
  auto body = [&]() -> task<> {
    auto r = co_await skua::when_any(waits(0), after(5ms, 7), waits(3));
    EXPECT_EQ(gone, 2);
    EXPECT_EQ(r.index(), 1u);
    EXPECT_EQ(std::get<1>(r), 7);
  };
  rt.block_on(body);
}

TEST_P(WhenAny, gives_values_of_every_kind__S9) {
  auto body = []() -> task<> {
    auto a = co_await skua::when_any(owned_after(3ms, 1), owned_after(1ms, 2), never());
    EXPECT_EQ(std::get<1>(a).value(), 2);
    auto b = co_await skua::when_any([]() -> task<> { co_await skua::sleep_for(1ms); }(), owned_after(1h, 3));
    EXPECT_EQ(b.index(), 0u);
    static_assert(std::is_same_v<std::variant_alternative_t<0, decltype(b)>, std::monostate>);
    auto c = co_await skua::when_any(value_of(4));
    EXPECT_EQ(std::get<0>(c), 4);
    std::vector<task<owned>> v;
    for (int i = 0; i < 50; ++i) v.push_back(owned_after(i == 33 ? 1ms : 2ms, i));
    auto [index, value] = co_await skua::when_any(std::move(v));
    EXPECT_EQ(index, 33u);
    EXPECT_EQ(value.value(), 33);
  };
  rt.block_on(body);
  EXPECT_EQ(owned::alive, 0);
}

TEST_P(WhenAny, loser_that_finishes_all_the_same_has_its_value_destroyed__S9) {
  std::atomic<int> begun = 0;
  auto stubborn = [&](int n) -> task<owned> {   // no suspension point after its start
    ++begun;
    while (!skua::this_task::stop_requested()) co_await value_of(0);
    co_return owned(n);
  };
  auto quick = [&]() -> task<owned> {
    while (GetParam() == 2 && begun != 1) co_await value_of(0);
    co_return owned(2);
  };
  auto body = [&]() -> task<> {
    auto r = co_await skua::when_any(quick(), stubborn(1));
    EXPECT_EQ(std::get<0>(r).value(), 2);
    EXPECT_EQ(begun, 1);
  };
  rt.block_on(body);
  EXPECT_EQ(owned::alive, 0);
}

TEST_P(WhenAny, failure_of_a_loser_goes_to_the_failure_handler_and_stops_nobody__S9_S23) {
  auto body = []() -> task<> {
    auto r = co_await skua::when_any(fails_in(1ms, "early"), after(5ms, 3), fails_in(2ms, "second"));
    EXPECT_EQ(r.index(), 1u);
  };
  rt.block_on(body);
  EXPECT_EQ(reported(), (std::vector<std::string>{"early", "second"}));
}

TEST_P(WhenAny, all_failed_carries_every_failure_in_the_order_of_the_arguments__S9) {
  auto texts = [](skua::all_failed const& e) {
    std::string s;
    for (auto const& f : e.failures()) s += message_of([&] { std::rethrow_exception(f); }) + ' ';
    return s;
  };
  auto tuple = []() -> task<> { co_await skua::when_any(fails_in(3ms, "a"), fail_with("b"), fails_in(1ms, "c")); };
  try {
    rt.block_on(tuple);
    ADD_FAILURE();
  } catch (skua::all_failed const& e) {
    EXPECT_EQ(texts(e), "a b c ");
  }
  auto vector = []() -> task<> {
    std::vector<task<int>> v;
    for (int i = 0; i < 4; ++i) v.push_back(fails_in(std::chrono::milliseconds(4 - i), std::to_string(i)));
    (void)co_await skua::when_any(std::move(v));
  };
  try {
    rt.block_on(vector);
    ADD_FAILURE();
  } catch (skua::all_failed const& e) {
    EXPECT_EQ(texts(e), "0 1 2 3 ");
  }
  EXPECT_TRUE(reported().empty());
}

TEST_P(WhenAny, stopped_from_outside_stops_every_branch_and_ends_stopped__S3) {
  std::atomic<int> begun = 0, gone = 0;
  auto body = [&]() -> task<> {
    auto h = skua::spawn([&]() -> task<> {
      auto waits = [&]() -> task<int> {
        witness w(gone);
        ++begun;
        co_await never();
        co_return 1;
      };
      co_await skua::when_any(waits(), waits(), waits());
      ADD_FAILURE() << "went on";
    });
    co_await until([&] { return begun == 3; });
    h.request_stop();
    EXPECT_THROW(co_await h, skua::task_stopped);
    EXPECT_EQ(gone, 3);
  };
  rt.block_on(body);
}

TEST_P(WhenAny, stopped_with_some_branches_failed_ends_stopped_and_reports_them__S9) {
  std::atomic<bool> begun = false;
  auto body = [&]() -> task<> {
    auto fails = [&]() -> task<int> {
      begun = true;
      throw std::runtime_error("lost");
      co_return 0;
    };
    auto h = skua::spawn([&]() -> task<> { co_await skua::when_any(fails(), never_value<int>()); });
    co_await until([&] { return begun.load(); });
    h.request_stop();
    EXPECT_THROW(co_await h, skua::task_stopped);
  };
  rt.block_on(body);
  EXPECT_EQ(reported(), (std::vector<std::string>{"lost"}));
}

TEST_P(WhenAny, value_that_is_there_wins_over_a_stop_and_the_next_checkpoint_stops__S4) {
  std::atomic<int> begun = 0, won = 0, past = 0;
  auto h = rt.spawn([&]() -> task<> {
    auto computes = [&]() -> task<int> {
      ++begun;
      while (!skua::this_task::stop_requested()) co_await value_of(0);
      co_return 4;
    };
    auto r = co_await skua::when_any(computes(), never_value<int>());
    won = std::get<0>(r);
    co_await skua::this_task::yield();
    ++past;
  });
  while (begun == 0) std::this_thread::yield();
  h.request_stop();
  EXPECT_THROW(rt.block_on([](auto g) -> task<> { co_await g; }, std::move(h)), skua::task_stopped);
  EXPECT_EQ(won, 4);
  EXPECT_EQ(past, 0);
}

TEST_P(WhenAny, is_a_checkpoint_and_starts_no_branch_of_a_stopped_task__S1) {
  std::atomic<int> begun = 0, started = 0;
  auto branch = [&]() -> task<int> {
    ++started;
    co_return 1;
  };
  auto h = rt.spawn([&]() -> task<> {
    ++begun;
    while (!skua::this_task::stop_requested()) co_await value_of(0);
    co_await skua::when_any(branch(), branch());
  });
  while (begun == 0) std::this_thread::yield();
  h.request_stop();
  EXPECT_THROW(rt.block_on([](auto g) -> task<> { co_await g; }, std::move(h)), skua::task_stopped);
  EXPECT_EQ(started, 0);
}

TEST_P(WhenAny, nests_with_when_all_and_itself) {
  auto race = [](int n) -> task<int> {
    auto r = co_await skua::when_any(after(std::chrono::milliseconds(n % 5), n), after(1h, -1), never_value<int>());
    co_return std::get<0>(r);
  };
  auto body = [&]() -> task<> {
    std::vector<task<int>> all;
    for (int i = 0; i < 40; ++i) all.push_back(race(i));
    std::vector<int> const got = co_await skua::when_all(std::move(all));
    for (int i = 0; i < 40; ++i) EXPECT_EQ(got[static_cast<std::size_t>(i)], i);
    auto both = [&]() -> task<int> {
      auto [a, b] = co_await skua::when_all(race(1), race(2));
      co_return a + b;
    };
    auto r = co_await skua::when_any(both(), never_value<int>());
    EXPECT_EQ(std::get<0>(r), 3);
  };
  rt.block_on(body);
}

TEST_P(WhenAny, race_that_ends_at_once_does_not_start_the_losers_in_vain) {
  std::atomic<int> started = 0;
  auto body = [&]() -> task<> {
    auto loses = [&]() -> task<int> {
      ++started;
      co_await skua::this_task::yield();   // S1: the first checkpoint of a queued branch whose scope is stopped
      ADD_FAILURE() << "went on";
      co_return 2;
    };
    for (int i = 0; i < 100; ++i) {
      auto r = co_await skua::when_any(value_of(1), loses(), loses());
      EXPECT_EQ(r.index(), 0u);
    }
  };
  if (GetParam() == 1) rt.block_on(body);
}

TEST_P(WhenAny, result_whose_move_throws_leaves_no_other_behind) {
  auto fragile_value = [](int n) -> task<fragile> { co_return fragile(n); };
  auto body = [&](int moves) -> task<> {
    fragile::moves_left = moves;
    co_await skua::when_any(fragile_value(1), fragile_value(2));
  };
  for (int moves = 0; moves < 6; ++moves) {
    try {
      rt.block_on(body, moves);
    } catch (std::runtime_error const&) {
    } catch (skua::all_failed const&) {
    }
    EXPECT_EQ(fragile::alive, 0) << moves;
  }
}

TEST_P(WhenAny, of_nothing_or_of_a_moved_task_is_a_usage_error) {
  auto body = []() -> task<int> {
    int errors = 0;
    try {
      (void)co_await skua::when_any(std::vector<task<int>>());
    } catch (skua::usage_error const&) {
      ++errors;
    }
    try {
      co_await skua::when_any(value_of(1), task<int>());
    } catch (skua::usage_error const&) {
      ++errors;
    }
    try {
      std::vector<task<int>> v;
      v.push_back(value_of(1));
      v.emplace_back();
      (void)co_await skua::when_any(std::move(v));
    } catch (skua::usage_error const&) {
      ++errors;
    }
    co_return errors;
  };
  EXPECT_EQ(rt.block_on(body), 3);
}

} // namespace
