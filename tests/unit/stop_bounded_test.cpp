// SPDX-License-Identifier: Apache-2.0
// S2: whoever requests a stop visits a bounded number of suspended branches itself, and a worker does the rest, in turns between which others run. Visits are
// counted, by the branches' stop bits: the only worker is busy, or is the requester itself, so nobody else has done anything when they are looked at.
#include "skua/runtime.hpp"
#include "skua/task_group.hpp"
#include "skua/time.hpp"
#include "skua/timeout.hpp"
#include "skua/when_all.hpp"
#include "skua/when_any.hpp"
#include "tests/support/leak_check.hpp"
#include "tests/support/values.hpp"
#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::task;

#if SKUA_ASAN || SKUA_TSAN
constexpr int many = 20'000;
#else
constexpr int many = 100'000;
#endif
constexpr int bound = skua::detail::stop_sink::requester_allowance;

class StopBounded : public leak_check {
public:
  using word = skua::detail::branch_word;
  std::vector<word const*> words;   // of the branches, which are suspended and have not been destroyed
  int marked = -1;                  // how many of them had their stop when somebody looked first
  int gone = 0;                     // branches, since then
  std::atomic<bool> all_there{false};
  std::atomic<bool> hold{false};    // the last of them keeps the only worker until this is over: time stands still, and nobody else walks

  void look() {
    if (marked < 0) marked = static_cast<int>(std::count_if(words.begin(), words.end(), [](word const* w) { return w->stop_requested(); }));
  }
  // Its destructor is the first code of the program that runs after the stop.
  struct looks {
    StopBounded& test;
    explicit looks(StopBounded& t) noexcept : test(t) {}
    looks(looks const&) = delete;
    ~looks() {
      test.look();
      ++test.gone;
    }
  };
  task<> suspended() {
    looks l(*this);
    co_await skua::this_task::yield();   // from here on it has a record
    words.push_back(skua::detail::word_if_any(skua::detail::tl.current->up));
    if (words.size() == many) all_there = true;
    while (hold && all_there) std::this_thread::yield();
    co_await skua::sleep_for(1h);
  }
  std::vector<task<>> all() {
    words.reserve(many);
    std::vector<task<>> v;
    for (int i = 0; i < many; ++i) v.push_back(suspended());
    return v;
  }
  // A bystander gets on while the walk is under way.
  task<> bystander(std::atomic<bool>& go_on, std::vector<int>& seen) {
    while (go_on) {
      seen.push_back(gone);
      co_await skua::this_task::yield();
    }
  }
  skua::runtime rt{skua::options{.workers = 1, .backend = "virtual"}};
};

TEST_F(StopBounded, S2_a_request_from_a_thread_visits_at_most_64_branches_of_a_hundred_thousand) {
  hold = true;
  auto h = rt.spawn([this]() -> task<> { co_await skua::when_all(all()); });
  while (!all_there) std::this_thread::yield();
  h.request_stop();
  look();
  EXPECT_GT(marked, 0);
  EXPECT_LE(marked, bound);
  hold = false;
  EXPECT_THROW(rt.block_on([](auto g) -> task<> { co_await g; }, std::move(h)), skua::task_stopped);
  EXPECT_EQ(gone, many);
}

// A parameter is destroyed with the frame: behind the stop that the failure has requested, and before anything else runs.
task<> fails_when(std::atomic<bool>& condition, auto) {
  while (!condition) co_await skua::this_task::yield();
  throw std::runtime_error("sibling");
}

TEST_F(StopBounded, S2_S8_a_branch_that_fails_visits_at_most_64_siblings_itself_and_others_run_between_the_rest) {
  std::atomic<bool> go_on{true};
  std::vector<int> seen;
  auto body = [&]() -> task<> {
    auto other = skua::spawn([&] { return bystander(go_on, seen); });
    auto v = all();
    struct by_value {
      StopBounded* test;
      explicit by_value(StopBounded* t) noexcept : test(t) {}
      by_value(by_value&& o) noexcept : test(std::exchange(o.test, nullptr)) {}
      ~by_value() {
        if (test != nullptr && test->all_there) test->look();
      }
    };
    v.push_back(fails_when(all_there, by_value(this)));
    EXPECT_THROW(co_await skua::when_all(std::move(v)), std::runtime_error);
    go_on = false;
    co_await other;
  };
  rt.block_on(body);
  EXPECT_GT(marked, 0);
  EXPECT_LE(marked, bound);
  EXPECT_EQ(gone, many);
  EXPECT_GT(std::count_if(seen.begin(), seen.end(), [](int n) { return n > 0 && n < many; }), 0) << "the bystander did not run in between";
}

TEST_F(StopBounded, S2_S9_the_winner_of_a_race_visits_at_most_64_losers_itself) {
  auto body = [&]() -> task<> {
    auto wins = [this]() -> task<> {
      while (!all_there) co_await skua::this_task::yield();
    };
    auto v = all();
    v.push_back(wins());
    auto const won = co_await skua::when_any(std::move(v));
    EXPECT_EQ(won.index, static_cast<std::size_t>(many));
  };
  rt.block_on(body);
  EXPECT_GT(marked, 0);
  EXPECT_LE(marked, bound);   // seen by the first loser that is unwound: only what the winner has reached can be
  EXPECT_EQ(gone, many);
}

TEST_F(StopBounded, S2_S10_a_timer_visits_at_most_64_branches_of_what_it_stops) {
  auto body = [&]() -> task<> {
    auto inside = [this]() -> task<> { co_await skua::when_all(all()); };
    EXPECT_THROW(co_await skua::timeout(1s, inside()), skua::timeout_error);
  };
  rt.block_on(body);
  EXPECT_GT(marked, 0);
  EXPECT_LE(marked, bound);
  EXPECT_EQ(gone, many);
}

TEST_F(StopBounded, S2_a_group_that_is_stopped_tells_a_bounded_number_of_its_tasks_at_once_and_others_run_between_the_rest) {
  std::atomic<bool> go_on{true};
  std::vector<int> seen;
  auto body = [&]() -> task<> {
    auto other = skua::spawn([&] { return bystander(go_on, seen); });
    words.reserve(many);
    co_await skua::with_task_group([&](skua::task_group& g) -> task<> {
      for (int i = 0; i < many; ++i) g.spawn([this] { return suspended(); });
      while (!all_there) co_await skua::this_task::yield();
      g.request_stop();
      look();
    });
    go_on = false;
    co_await other;
  };
  rt.block_on(body);
  EXPECT_GT(marked, 0);
  EXPECT_LE(marked, bound);
  EXPECT_EQ(gone, many);
  EXPECT_GT(std::count_if(seen.begin(), seen.end(), [](int n) { return n > 0 && n < many; }), 0) << "the bystander did not run in between";
}

} // namespace
