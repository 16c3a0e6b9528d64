// SPDX-License-Identifier: Apache-2.0
// branches: what differs from when_all (when_all_test.cpp): tasks are added, values stay where they are, nothing is allocated.
#include "skua/branches.hpp"
#include "skua/runtime.hpp"
#include "skua/spawn.hpp"
#include "tests/support/several_workers.hpp"
#include "tests/support/values.hpp"
#include <atomic>
#include <string>
#include <vector>

namespace {

using namespace skua_test;
using skua::task;

class Branches : public reporting_workers {
protected:
  ~Branches() override { EXPECT_EQ(owned::alive, 0); }
};
INSTANTIATE_TEST_SUITE_P(, Branches, testing::Values(1u, 2u), by_workers);

task<owned> owned_after(int yields, int n) {
  co_await yield_times(yields);
  co_return owned(n);
}
TEST_P(Branches, give_their_values_in_the_order_in_which_they_were_added) {
  rt.block_on([]() -> task<> {
    skua::branches<owned, 8> some;
    static_assert(some.capacity() == 8);
    EXPECT_TRUE(some.empty());
    for (int i = 0; i != 8; ++i) some.add(owned_after(i % 3, i));
    EXPECT_EQ(some.size(), 8u);
    EXPECT_EQ(some.begin(), some.end());   // not yet
    co_await some;
    EXPECT_EQ(some.size(), 8u);
    int n = 0;
    for (owned const& o : some) EXPECT_EQ(o.value(), n++);
    EXPECT_EQ(n, 8);
    EXPECT_EQ(some[5].value(), 5);
    EXPECT_EQ(owned::alive, 8);
  });
}

TEST_P(Branches, may_be_none) {
  rt.block_on([]() -> task<> {
    skua::branches<int, 1> none;
    co_await none;
    EXPECT_EQ(none.begin(), none.end());
  });
}

task<unsigned> count(unsigned depth) {
  if (depth == 0) co_return 1u;
  skua::branches<unsigned, 4> below;
  for (unsigned i = 0; i != 1 + depth % 4; ++i) below.add(count(depth - 1));
  co_await below;
  unsigned sum = 0;
  for (unsigned n : below) sum += n;
  co_return sum;
}
TEST_P(Branches, make_trees) { EXPECT_EQ(rt.block_on(count, 10u), 3u * 2 * 1 * 4 * 3 * 2 * 1 * 4 * 3 * 2); }

TEST_P(Branches, that_fail_stop_the_others__S8) {
  rt.block_on([]() -> task<> {
    skua::branches<owned, 4> some;
    some.add(owned_after(0, 1));
    some.add([]() -> task<owned> { co_await fail_after(1, "first"); co_return owned(0); }());
    some.add(never_value<owned>());
    std::string what;
    try {
      co_await some;
    } catch (std::runtime_error const& e) {
      what = e.what();
    }
    EXPECT_EQ(what, "first");
    EXPECT_EQ(some.begin(), some.end());
    EXPECT_EQ(owned::alive, 0);
  });
  EXPECT_TRUE(reported().empty());
}

TEST_P(Branches, are_stopped_with_their_task) {
  std::atomic<int> begun{0}, gone{0};
  auto h = rt.spawn([&]() -> task<> {
    skua::branches<owned, 4> some;
    some.add(owned_after(0, 1));
    some.add([](std::atomic<int>& b, std::atomic<int>& g) -> task<owned> {
      witness const w(g);
      ++b;
      co_await never();
      co_return owned(0);
    }(begun, gone));
    some.add(never_value<owned>());
    co_await some;
    ADD_FAILURE() << "it goes on";
  });
  rt.block_on([&]() -> task<> {
    co_await until([&] { return begun == 1; });
    h.request_stop();
    try {
      co_await h;
      ADD_FAILURE() << "it was not stopped";
    } catch (skua::task_stopped const&) {
    }
  });
  EXPECT_EQ(gone, 1);
}

TEST_P(Branches, that_are_not_awaited_never_begin) {
  std::atomic<int> begun{0};
  rt.block_on([&]() -> task<> {
    skua::branches<int, 3> some;
    for (int i = 0; i != 3; ++i) some.add([](std::atomic<int>& b) -> task<int> { co_return ++b; }(begun));
    co_return;
  });
  EXPECT_EQ(begun, 0);
}

TEST_P(Branches, refuse_one_too_many_an_empty_task_and_a_second_await) {
  rt.block_on([]() -> task<> {
    skua::branches<int, 1> one;
    EXPECT_THROW(one.add(task<int>{}), skua::usage_error);
    one.add(value_of(1));
    EXPECT_THROW(one.add(value_of(2)), skua::usage_error);
    co_await one;
    EXPECT_THROW(one.add(value_of(2)), skua::usage_error);
    bool refused = false;
    try {
      co_await one;
    } catch (skua::usage_error const&) {
      refused = true;
    }
    EXPECT_TRUE(refused);
    EXPECT_EQ(one[0], 1);
  });
}

} // namespace
