// SPDX-License-Identifier: Apache-2.0
// Stop in the large: a million levels on a stack of 256 KiB (S3), wide scopes that a worker walks on (S2), and destructors that throw (S5).
#include "skua/runtime.hpp"
#include "skua/time.hpp"
#include "skua/when_all.hpp"
#include "tests/support/leak_check.hpp"
#include "tests/support/small_stacks.hpp"
#include "tests/support/values.hpp"
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::task;

#if SKUA_ASAN || SKUA_TSAN
constexpr long deep = 20'000;
#else
constexpr long deep = 1'000'000;
#endif

class StopDepth : public leak_check {
protected:
  std::atomic<long> alive{0};
  std::atomic<bool> reached{false};

  struct guard {
    std::atomic<long>& n;
    explicit guard(std::atomic<long>& a) : n(a) { ++n; }
    guard(guard const&) = delete;
    ~guard() { --n; }
  };
  task<> leaf() {
    guard g(alive);
    reached = true;
    co_await skua::sleep_for(1h);
  }
  task<> awaits(long n) {
    guard g(alive);
    if (n == 0) co_await leaf();
    if (n != 0) co_await awaits(n - 1);
  }
  task<> joins(long n) {
    guard g(alive);
    if (n == 0) co_await leaf();
    if (n != 0) co_await skua::when_all(joins(n - 1));
  }
  task<> pairs(long n) {   // a suspended sibling on every level
    guard g(alive);
    if (n == 0) co_await leaf();
    if (n != 0) co_await skua::when_all(leaf(), pairs(n - 1));
  }
  task<> limits(long n) {
    guard g(alive);
    if (n == 0) co_await leaf();
    if (n != 0) co_await skua::timeout(2h, limits(n - 1));
  }

  task<> fails(long n) {
    guard g(alive);
    if (n == 0) co_await fail_after(3, "the deepest");
    if (n != 0) co_await skua::when_all(leaf(), fails(n - 1));
  }

  void stop_in(auto make, long levels) {
    small_stacks s;
    skua::runtime rt({.workers = 2});
    auto h = rt.spawn(make);
    while (!reached) std::this_thread::yield();
    while (alive < levels) std::this_thread::yield();
    h.request_stop();
    EXPECT_THROW(rt.block_on([](auto g) -> task<> { co_await g; }, std::move(h)), skua::task_stopped);
    EXPECT_EQ(alive, 0);
  }
};

TEST_F(StopDepth, chain_of_a_million_awaits_is_unwound_on_a_small_stack__S3) {
  stop_in([this] { return awaits(deep); }, deep);
}
TEST_F(StopDepth, chain_of_a_million_joins_is_unwound_on_a_small_stack__S3) {
  stop_in([this] { return joins(deep); }, deep);
}
TEST_F(StopDepth, tree_of_a_hundred_thousand_levels_is_unwound_on_a_small_stack__S3) {
  stop_in([this] { return pairs(deep / 10); }, deep / 5);
}
TEST_F(StopDepth, chain_of_timeouts_is_unwound_on_a_small_stack__S3_S10) {
  stop_in([this] { return limits(deep / 10); }, deep / 10);
}

TEST_F(StopDepth, timeout_around_a_million_joins_unwinds_them_on_a_small_stack__S3_S10) {
  small_stacks s;
  skua::runtime rt({.workers = 1, .backend = "virtual"});
  auto body = [this]() -> task<> { EXPECT_THROW(co_await skua::timeout(1ms, joins(deep / 4)), skua::timeout_error); };
  rt.block_on(body);
  EXPECT_EQ(alive, 0);
}

// S2: the requester visits 64 branches, workers the rest; everything is found however wide and deep it is.
TEST_F(StopDepth, wide_scopes_are_walked_on_by_workers__S2) {
  skua::runtime rt({.workers = 2});
  auto wide = [this](auto self, int depth) -> task<> {
    guard g(alive);
    std::vector<task<>> v;
    for (int i = 0; i < 12; ++i) v.push_back(depth == 0 ? leaf() : self(self, depth - 1));
    co_await skua::when_all(std::move(v));
  };
  for (int round = 0; round < 5; ++round) {
    auto h = rt.spawn([&] { return wide(wide, 3); });
    long const all = 1 + 12 + 144 + 1728 + 12 * 1728;
    while (alive < (round < 3 ? all : all / (round * round))) std::this_thread::yield();
    h.request_stop();
    EXPECT_THROW(rt.block_on([](auto g) -> task<> { co_await g; }, std::move(h)), skua::task_stopped);
    EXPECT_EQ(alive, 0);
  }
}

TEST_F(StopDepth, failure_crosses_a_thousand_joins_with_suspended_siblings__S8) {
  skua::runtime rt({.workers = 2});
  EXPECT_EQ(message_of([&] { rt.block_on(fails(1000)); }), "the deepest");
  EXPECT_EQ(alive, 0);
}

// ---------------------------------------------------------------------------------------------- destructors that throw

struct throws_when_destroyed {
  ~throws_when_destroyed() noexcept(false) { throw std::runtime_error("from a destructor"); }
};
task<> holds_a_grudge() {
  throws_when_destroyed t;
  co_await never();
}
void stop_a_grudge() {
  skua::runtime rt({.workers = 1, .backend = "virtual"});
  rt.block_on([]() -> task<> {
    auto h = skua::spawn(skua::named("grudge"), holds_a_grudge);
    co_await yield_times(2);
    h.request_stop();
    co_await h;
  });
}
TEST(StopDeathTest, destructor_that_throws_during_a_stop_ends_the_process_with_name_and_place__S5) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_DEATH(stop_a_grudge(), "a destructor threw while a stop unwound task [0-9]+ 'grudge' .*stop_depth_test.cpp");
}

} // namespace
