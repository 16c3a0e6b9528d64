// SPDX-License-Identifier: Apache-2.0
// Results that make difficulties: moves that throw, const results, references to what is about to go. (arena_test.cpp has those of in_arena.)
#include "skua/as_completed.hpp"
#include "skua/blocking.hpp"
#include "skua/for_each_concurrent.hpp"
#include "skua/runtime.hpp"
#include "skua/strand.hpp"
#include "skua/time.hpp"
#include "skua/watch.hpp"
#include "skua/when_all_settled.hpp"
#include "tests/support/several_workers.hpp"
#include <iterator>
#include <ranges>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::task;

class AwkwardResult : public several_workers {};
INSTANTIATE_TEST_SUITE_P(, AwkwardResult, testing::Values(1u, 2u), by_workers);

// Can be moved, or copied, so many times.
class brittle {
public:
  explicit brittle(int moves) noexcept : left_(moves) {}
  brittle(brittle&& o) : left_(o.left_ - 1) { check(); }
  brittle(brittle const& o) : left_(o.left_ - 1) { check(); }

private:
  void check() const {
    if (left_ < 0) throw std::length_error("brittle");
  }
  int left_;
};
constexpr int most_moves = 12;   // more than there are anywhere

task<brittle> brittle_value(int moves) { co_return brittle(moves); }
task<> sleep_and_say(bool& done) {
  co_await skua::sleep_for(1s);
  done = true;
}

TEST_P(AwkwardResult, one_that_cannot_be_moved_disturbs_no_other_branch_of_when_all_settled) {
  int came = 0;
  auto body = [&](int moves) -> task<> {
    bool done = false;
    try {
      auto [a, b] = co_await skua::when_all_settled(brittle_value(moves), sleep_and_say(done));
      EXPECT_TRUE(a.has_value() || a.failed());
      came += a.has_value();
    } catch (std::length_error const&) {   // when all had ended
    }
    EXPECT_TRUE(done) << moves;
  };
  for (int moves = 0; moves < most_moves; ++moves) rt.block_on(body, moves);
  EXPECT_GT(came, 0);
}

TEST_P(AwkwardResult, an_element_that_cannot_be_moved_is_a_failure_of_for_each_concurrent) {
  auto body = [](int moves) -> task<int> {
    int calls = 0;
    try {   // elements that are passed by value, and kept by whoever takes them
      co_await skua::for_each_concurrent(std::views::iota(0, 3) | std::views::transform([moves](int) { return brittle(moves); }), 2,
                                         [&](brittle) -> task<> {
                                           ++calls;
                                           co_return;
                                         });
    } catch (std::length_error const&) {
      co_return -1;
    }
    co_return calls;
  };
  EXPECT_EQ(rt.block_on(body, 0), -1);
  if (GetParam() == 1) EXPECT_EQ(rt.block_on(body, most_moves), 3);
  for (int moves = 1; moves < most_moves; ++moves) (void)rt.block_on(body, moves);
}

std::string const const_string() { return "as it is"; }

TEST_P(AwkwardResult, const_and_rvalue_references_come_out_of_functions_that_are_called_elsewhere) {
  auto body = []() -> task<> {
    std::string s = "moved from";
    auto from = [&]() -> std::string&& { return std::move(s); };
    static_assert(std::is_same_v<decltype(skua::spawn_blocking(from))::value_type, std::string&&>);
    EXPECT_EQ(co_await skua::spawn_blocking(const_string), "as it is");
    EXPECT_EQ(co_await skua::abandon(skua::spawn_blocking(const_string)), "as it is");
    EXPECT_EQ(&static_cast<std::string const&>(co_await skua::spawn_blocking(from)), &s);
    std::string const t = co_await skua::abandon(skua::spawn_blocking(from));
    EXPECT_EQ(t, "moved from");
    EXPECT_TRUE(s.empty());
    s = "again";
    skua::strand one;
    EXPECT_EQ(co_await one.run(const_string), "as it is");
    EXPECT_EQ(&static_cast<std::string const&>(co_await one.run(from)), &s);
    EXPECT_EQ(s, "again");
  };
  rt.block_on(body);
}

// A copy of it throws when it is asked to.
struct copied_with_care {
  bool* refuses;
  explicit copied_with_care(bool& r) noexcept : refuses(&r) {}
  copied_with_care(copied_with_care&& o) noexcept = default;
  copied_with_care(copied_with_care const& o) : refuses(o.refuses) {
    if (*refuses) throw std::length_error("copied");
  }
};

TEST_P(AwkwardResult, a_value_of_a_watch_that_could_not_be_copied_was_not_seen) {
  auto body = []() -> task<> {
    bool refuses = false;
    skua::watch<copied_with_care> w{copied_with_care(refuses)};
    auto rx = w.subscribe();
    w.set(copied_with_care(refuses));
    refuses = true;
    EXPECT_THROW((void)rx.get(), std::length_error);
    refuses = false;
    EXPECT_TRUE(co_await rx.changed());   // it did not wait: it would for ever
    (void)rx.get();
  };
  rt.block_on(body);
}

} // namespace
