// SPDX-License-Identifier: Apache-2.0
// The wait queue by itself (order, removal, epochs), and that no primitive allocates when a task waits for it.
#include "skua/barrier.hpp"
#include "skua/condition_variable.hpp"
#include "skua/event.hpp"
#include "skua/latch.hpp"
#include "skua/once.hpp"
#include "skua/runtime.hpp"
#include "skua/semaphore.hpp"
#include "skua/shared_mutex.hpp"
#include "tests/support/allocation_count.hpp"
#include "tests/support/leak_check.hpp"
#include "tests/support/values.hpp"
#include <algorithm>
#include <array>
#include <deque>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace {

using namespace skua_test;
using skua::task;
using skua::detail::wait_list;
using skua::detail::waiter_links;
using skua::detail::waiter_ring;

bool never(skua::detail::operation&) noexcept { return false; }
constexpr skua::detail::operation_kind test_kind{"test", never};
struct node : waiter_links {
  node() : waiter_links(test_kind) {}
};

std::vector<waiter_links*> drained(waiter_ring& r) {
  std::vector<waiter_links*> all;
  while (waiter_links* const w = r.pop_front()) all.push_back(w);
  return all;
}

TEST(WaitList, gives_its_waiters_in_the_order_of_their_arrival) {
  wait_list l;
  std::array<node, 4> n;
  EXPECT_TRUE(l.empty());
  EXPECT_EQ(l.take(), nullptr);
  for (auto& x : n) l.push_back(x);
  for (auto& x : n) {
    EXPECT_EQ(l.front(), &x);
    EXPECT_TRUE(l.contains(x));
    EXPECT_EQ(l.take(), &x);
    EXPECT_FALSE(l.contains(x));
  }
  EXPECT_TRUE(l.empty());
}

TEST(WaitList, withdraws_from_anywhere_once) {
  for (std::size_t out = 0; out < 3; ++out) {
    wait_list l;
    std::array<node, 3> n;
    for (auto& x : n) l.push_back(x);
    EXPECT_TRUE(l.withdraw(n[out]));
    EXPECT_FALSE(l.withdraw(n[out]));
    waiter_ring r = l.take_all();
    std::vector<waiter_links*> expected;
    for (std::size_t i = 0; i < 3; ++i)
      if (i != out) expected.push_back(&n[i]);
    EXPECT_EQ(drained(r), expected);
  }
}

TEST(WaitList, take_all_takes_those_that_are_there_and_no_later_ones) {
  wait_list l;
  std::array<node, 4> n;
  l.push_back(n[0]);
  l.push_back(n[1]);
  waiter_ring taken = l.take_all();
  EXPECT_TRUE(l.empty());
  EXPECT_FALSE(l.withdraw(n[0]));
  EXPECT_FALSE(l.withdraw(n[1]));
  l.push_back(n[2]);
  EXPECT_TRUE(l.withdraw(n[2]));
  l.push_front(n[3]);
  EXPECT_EQ(l.front(), &n[3]);
  EXPECT_EQ(drained(taken), (std::vector<waiter_links*>{&n[0], &n[1]}));
  (void)l.take();
}

TEST(WaitList, one_in_front_comes_first) {
  wait_list l;
  std::array<node, 3> n;
  l.push_back(n[0]);
  l.push_back(n[1]);
  l.push_front(n[2]);
  waiter_ring r = l.take_all();
  EXPECT_EQ(drained(r), (std::vector<waiter_links*>{&n[2], &n[0], &n[1]}));
}

TEST(WaiterRing, appends_and_pops_at_both_ends) {
  std::array<node, 5> n;
  waiter_ring a, b, none;
  a.push_back(n[0]);
  EXPECT_TRUE(a.has_one());
  a.append(std::move(none));
  b.push_back(n[1]);
  b.push_back(n[2]);
  a.append(std::move(b));
  EXPECT_TRUE(b.empty());   // NOLINT(bugprone-use-after-move)
  waiter_ring c;
  c.append(std::move(a));
  EXPECT_FALSE(c.has_one());
  EXPECT_EQ(c.pop_back(), &n[2]);
  EXPECT_EQ(c.pop_front(), &n[0]);
  EXPECT_TRUE(c.has_one());
  EXPECT_EQ(c.pop_back(), &n[1]);
  EXPECT_EQ(c.pop_back(), nullptr);
}

// Against a deque that says what should be there.
TEST(WaitList, behaves_as_a_queue_in_random_use) {
  auto const seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  wait_list l;
  std::vector<node> n(20);
  std::deque<node*> expected;
  auto is_in = [&](node& x) { return std::find(expected.begin(), expected.end(), &x) != expected.end(); };
  for (int i = 0; i < 20'000; ++i) {
    node& x = n[random() % n.size()];
    switch (random() % 6) {
    case 0:
    case 1:
    case 2:
      if (!is_in(x)) l.push_back(x), expected.push_back(&x);
      break;
    case 3: {
      node* const front = expected.empty() ? nullptr : expected.front();
      if (front != nullptr) expected.pop_front();
      ASSERT_EQ(l.take(), front);
      break;
    }
    case 4:
      ASSERT_EQ(l.contains(x), is_in(x));
      ASSERT_EQ(l.withdraw(x), is_in(x));
      std::erase(expected, &x);
      break;
    case 5:
      if (random() % 50 == 0) {
        waiter_ring r = l.take_all();
        ASSERT_EQ(drained(r), (std::vector<waiter_links*>(expected.begin(), expected.end())));
        expected.clear();
      }
      break;
    }
  }
  (void)l.take_all();
}

// ---------------------------------------------------------------------------------------------- no allocation

struct everything {
  skua::mutex m;
  skua::condition_variable changed{m};
  skua::shared_mutex shared;
  skua::counting_semaphore permits{1};
  skua::event flag;
  skua::auto_reset_event signal;
  skua::latch start{3};
  skua::barrier together{2};
  skua::once once;
};
// Two of them meet at every primitive; each waits at some.
task<> meet_everywhere(everything& e, bool first) {
  co_await e.start.arrive_and_wait();
  for (int i = 0; i < 20; ++i) {
    {
      auto const lock = co_await e.m.lock();
      co_await skua::this_task::yield();
    }
    {
      auto const lock = co_await e.shared.lock();
      co_await skua::this_task::yield();
    }
    {
      auto const lock = co_await e.shared.lock_shared();
      co_await skua::this_task::yield();
    }
    {
      auto const permit = co_await e.permits.acquire();
      co_await skua::this_task::yield();
    }
    (void)co_await e.together.arrive_and_wait();
    if (first) {
      e.signal.set();
      co_await e.flag.wait();
      e.flag.reset();
    } else {
      co_await e.signal.wait();
      co_await yield_times(2);
      e.flag.set();
    }
    (void)co_await e.together.arrive_and_wait();
    if (first) {
      auto lock = co_await e.m.lock();
      (void)co_await e.together.arrive_and_wait();
      co_await e.changed.wait(lock);
    } else {
      (void)co_await e.together.arrive_and_wait();
      auto const lock = co_await e.m.lock();   // the other waits now
      e.changed.notify_one();
    }
    co_await e.once.call([]() -> task<> { co_await yield_times(3); });
  }
}
TEST(WaitQueue, waiting_allocates_nothing) {
  SKIP_UNLESS_ALLOCATIONS_ARE_COUNTED();
  skua::runtime rt({.workers = 2});
  auto body = []() -> task<std::uint64_t> {
    everything e;
    auto a = skua::spawn(meet_everywhere, std::ref(e), true);
    auto b = skua::spawn(meet_everywhere, std::ref(e), false);
    co_await yield_times(3);
    auto const before = allocations();
    e.start.count_down();
    co_await a;
    co_await b;
    co_return allocations() - before;
  };
  // Frames come from pools that grow now and then, on whichever worker a task has come to: sooner or later they are large enough.
  std::uint64_t last = 1;
  for (int i = 0; i < 200 && last != 0; ++i) last = rt.block_on(body);
  EXPECT_EQ(last, 0u);
}

} // namespace
