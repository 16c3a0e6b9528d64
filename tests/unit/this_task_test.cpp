// SPDX-License-Identifier: Apache-2.0
// What a task can ask and do about itself: yield, checkpoint, stop_requested, stop_reason, id, name.
#include "skua/this_task.hpp"
#include "skua/runtime.hpp"
#include "skua/time.hpp"
#include "skua/when_all.hpp"
#include "skua/when_any.hpp"
#include "tests/support/leak_check.hpp"
#include "tests/support/values.hpp"
#include <functional>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::stop_reason;
using skua::task;

class ThisTask : public leak_check {
protected:
  skua::runtime rt{skua::options{.workers = 1, .backend = "virtual"}};
};

// More small tasks than one worker keeps: another one may take half of them, while their owner runs them (steal_policy.hpp, rule CROWD).
class ThisTaskOnManyWorkers : public leak_check {};

TEST_F(ThisTaskOnManyWorkers, a_crowd_that_yields_comes_to_its_end_and_every_turn_is_taken_once) {
  constexpr int tasks = 1000, turns = 300;
  std::vector<int> taken(tasks);
  skua::runtime rt{skua::options{.workers = 2}};
  auto counts = [](int& n) -> task<> {
    for (int i = 0; i < turns; ++i) {
      ++n;   // a task is run by one worker at a time
      co_await skua::this_task::yield();
    }
  };
  auto body = [&]() -> task<> {
    std::vector<skua::join_handle<>> all;
    for (int& n : taken) all.push_back(skua::spawn(counts, std::ref(n)));
    for (auto& h : all) co_await h;
  };
  rt.block_on(body);
  EXPECT_EQ(taken, std::vector<int>(tasks, turns));
}

TEST_F(ThisTask, yield_lets_every_other_ready_task_run_first) {
  std::vector<int> order;
  auto counts = [&](int who) -> task<> {
    for (int i = 0; i < 3; ++i) {
      order.push_back(who);
      co_await skua::this_task::yield();
    }
  };
  auto body = [&]() -> task<> { co_await skua::when_all(counts(1), counts(2), counts(3)); };
  rt.block_on(body);
  ASSERT_EQ(order.size(), 9u);
  for (std::size_t round = 0; round < 3; ++round)   // each of them once a round
    EXPECT_EQ(std::set<int>(order.begin() + static_cast<long>(3 * round), order.begin() + static_cast<long>(3 * round) + 3).size(), 3u);
}

TEST_F(ThisTask, yield_alone_goes_on) {
  rt.block_on([]() -> task<> { co_await yield_times(100'000); });
}

TEST_F(ThisTask, checkpoint_goes_on_at_once_unless_the_task_is_stopped) {
  std::vector<int> order;
  std::atomic<int> begun = 0, past = 0;
  auto body = [&]() -> task<> {
    auto other = skua::spawn([&]() -> task<> {
      order.push_back(2);
      co_return;
    });
    co_await skua::this_task::checkpoint();
    order.push_back(1);
    co_await other;
  };
  rt.block_on(body);
  EXPECT_EQ(order, (std::vector<int>{1, 2}));

  auto h = rt.spawn([&]() -> task<> {
    ++begun;
    for (;;) {
      co_await skua::this_task::checkpoint();
      ++past;
    }
  });
  while (past < 1000) std::this_thread::yield();
  h.request_stop();
  EXPECT_THROW(rt.block_on([](auto g) -> task<> { co_await g; }, std::move(h)), skua::task_stopped);
}

TEST_F(ThisTask, stop_requested_says_so_and_ends_nothing) {
  std::atomic<int> begun = 0, asked = 0;
  auto h = rt.spawn([&]() -> task<int> {
    EXPECT_FALSE(skua::this_task::stop_requested());
    ++begun;
    while (!skua::this_task::stop_requested()) std::this_thread::yield();
    ++asked;
    co_return 5;
  });
  while (begun == 0) std::this_thread::yield();
  h.request_stop();
  EXPECT_EQ(rt.block_on([](auto g) -> task<int> { co_return co_await g; }, std::move(h)), 5);
  EXPECT_EQ(asked, 1);
}

TEST_F(ThisTask, outside_a_task_it_has_no_identity_and_no_stop) {
  EXPECT_EQ(skua::this_task::id(), 0u);
  EXPECT_EQ(skua::this_task::name(), "");
  EXPECT_FALSE(skua::this_task::stop_requested());
  EXPECT_EQ(skua::this_task::stop_reason(), stop_reason::none);
}

TEST_F(ThisTask, stop_of_another_task_is_not_its_own) {
  auto body = []() -> task<> {
    auto other = skua::spawn([]() -> task<> {
      while (!skua::this_task::stop_requested()) co_await skua::this_task::yield();
    });
    other.request_stop();   // a stop is under way somewhere from here on
    EXPECT_FALSE(skua::this_task::stop_requested());
    co_await skua::this_task::checkpoint();
    co_await skua::when_all(value_of(1), []() -> task<> {
      EXPECT_FALSE(skua::this_task::stop_requested());
      co_await skua::this_task::checkpoint();
    }());
    co_await other;   // it saw the stop, and ended with a value
  };
  rt.block_on(body);
}

TEST_F(ThisTask, id_is_the_handles_and_the_same_in_branches_and_children) {
  std::set<std::uint64_t> seen;
  auto body = [&]() -> task<> {
    std::uint64_t const mine = skua::this_task::id();
    EXPECT_NE(mine, 0u);
    auto child = []() -> task<std::uint64_t> { co_return skua::this_task::id(); };
    EXPECT_EQ(co_await child(), mine);
    auto [a, b] = co_await skua::when_all(child(), [&]() -> task<std::uint64_t> {
      co_await skua::this_task::yield();
      auto [inner] = co_await skua::when_all(child());
      co_return inner;
    }());
    EXPECT_EQ(a, mine);
    EXPECT_EQ(b, mine);
    std::vector<skua::join_handle<std::uint64_t>> all;
    for (int i = 0; i < 3000; ++i) all.push_back(skua::spawn(child));   // more than one batch of ids
    for (auto& h : all) {
      std::uint64_t const id = h.id();
      EXPECT_EQ(co_await h, id);
      EXPECT_TRUE(seen.insert(id).second);
    }
    EXPECT_FALSE(seen.contains(mine));
  };
  rt.block_on(body);
}

TEST_F(ThisTask, name_is_what_spawn_was_given) {
  auto body = []() -> task<> {
    auto child = []() -> task<std::string> { co_return std::string(skua::this_task::name()); };
    EXPECT_EQ(co_await skua::spawn(child), "");
    std::string text = "acceptor";
    auto h = skua::spawn(skua::named(text), child);
    text = "changed";
    EXPECT_EQ(co_await h, "acceptor");
    EXPECT_EQ(co_await skua::spawn(skua::named(""), child), "");
  };
  rt.block_on(body);
}

// ---------------------------------------------------------------------------------------------- why

// Asks while it is unwound.
struct asks_why {
  stop_reason* to;
  ~asks_why() { *to = skua::this_task::stop_reason(); }
};
task<> asks_in_the_end(stop_reason& to) {
  asks_why a{&to};
  co_await never();
}

TEST_F(ThisTask, stop_reason_tells_requests_drops_siblings_timeouts_and_shutdown_apart) {
  stop_reason requested{}, dropped{}, sibling{}, loser{}, timed_out{}, shutdown{};
  auto body = [&]() -> task<> {
    auto h = skua::spawn(asks_in_the_end, std::ref(requested));
    co_await yield_times(2);
    h.request_stop();
    EXPECT_THROW(co_await h, skua::task_stopped);
    {
      auto d = skua::spawn(asks_in_the_end, std::ref(dropped));
      co_await yield_times(2);
    }
    co_await yield_times(2);
    EXPECT_THROW(co_await skua::when_all(asks_in_the_end(sibling), fail_after(2, "x")), std::runtime_error);
    co_await skua::when_any(asks_in_the_end(loser), value_after(2, 1));
    EXPECT_THROW(co_await skua::timeout(1ms, asks_in_the_end(timed_out)), skua::timeout_error);
    EXPECT_EQ(skua::this_task::stop_reason(), stop_reason::none);
  };
  rt.block_on(body);
  EXPECT_EQ(requested, stop_reason::requested);
  EXPECT_EQ(dropped, stop_reason::dropped);
  EXPECT_EQ(sibling, stop_reason::sibling);
  EXPECT_EQ(loser, stop_reason::sibling);
  EXPECT_EQ(timed_out, stop_reason::timed_out);
  auto h = rt.spawn(asks_in_the_end, std::ref(shutdown));
  EXPECT_TRUE(rt.shutdown(10s).clean());
  EXPECT_EQ(shutdown, stop_reason::shutdown);
}

TEST_F(ThisTask, stop_reason_names_the_outermost_cause) {
  stop_reason inner{}, outer{};
  auto body = [&]() -> task<> {
    auto two = [&](auto near, auto far, stop_reason& to) -> task<> {
      co_await skua::timeout(far, [](auto d, stop_reason& r) -> task<> { co_await skua::timeout(d, asks_in_the_end(r)); }(near, to));
    };
    EXPECT_THROW(co_await two(1ms, 1h, inner), skua::timeout_error);
    auto h = skua::spawn(two, 1h, 2h, std::ref(outer));
    co_await yield_times(2);
    h.request_stop();
    EXPECT_THROW(co_await h, skua::task_stopped);
  };
  rt.block_on(body);
  EXPECT_EQ(inner, stop_reason::timed_out);
  EXPECT_EQ(outer, stop_reason::requested);
}

} // namespace
