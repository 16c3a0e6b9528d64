// SPDX-License-Identifier: Apache-2.0
// The injection queue: order, batches, fair shares, busy. injection_model.cpp has the races in full; here they run at speed.
#include "skua/detail/injection_queue.hpp"
#include <atomic>
#include <gtest/gtest.h>
#include <thread>
#include <vector>

namespace {

using skua::detail::injection_share;
using skua::detail::item;

struct node {
  item next = 0;
  int pusher = 0;
  int number = 0;
  std::atomic<int> taken{0};
};
node& node_of(item x) { return *reinterpret_cast<node*>(x & ~item{7}); }

struct link {
  static item& next(item x) noexcept { return node_of(x).next; }
};
using queue_type = skua::detail::injection_queue<skua::detail::real_sync, link>;

class InjectionQueue : public testing::Test {
protected:
  static constexpr std::size_t count = 64;
  item at(std::size_t i) { return reinterpret_cast<item>(&nodes_[i]) | i % 8; }   // tags survive
  std::vector<item> batch(std::size_t from, std::size_t to) {
    std::vector<item> r;
    for (; from != to; ++from) r.push_back(at(from));
    return r;
  }
  void push(std::size_t from, std::size_t to) { queue.push(batch(from, to).data(), to - from); }
  std::vector<item> take(std::size_t max = count, unsigned workers = 1) {
    item out[count];
    last = queue.take(out, max, workers);
    return {out, out + last.count};
  }

  alignas(8) node nodes_[count];
  queue_type queue;
  injection_share last;
};

TEST_F(InjectionQueue, is_first_in_first_out) {
  for (std::size_t i = 0; i != 5; ++i) queue.push(at(i));
  EXPECT_EQ(take(), batch(0, 5));
  EXPECT_FALSE(last.more);
  EXPECT_TRUE(queue.looks_empty());
}

TEST_F(InjectionQueue, keeps_batches_in_order) {
  push(0, 3);
  queue.push(at(3));
  push(4, 10);
  EXPECT_EQ(take(), batch(0, 10));
}

TEST_F(InjectionQueue, takes_a_chain_that_is_linked_already) {
  link::next(at(2)) = at(1);
  link::next(at(1)) = at(0);
  queue.push_chain(at(2), at(0));
  EXPECT_EQ(take(), batch(0, 3));
}

TEST_F(InjectionQueue, hands_out_fair_shares_and_says_whether_more_is_left) {
  push(0, 10);
  EXPECT_EQ(take(count, 4), batch(0, 3));   // ten by four, rounded up
  EXPECT_TRUE(last.more);
  EXPECT_EQ(take(count, 4), batch(3, 5));
  EXPECT_EQ(take(1, 1), batch(5, 6));
  push(10, 12);
  EXPECT_EQ(take(), batch(6, 12));
  EXPECT_FALSE(last.more);
}

TEST_F(InjectionQueue, gives_at_least_one_if_there_is_any) {
  queue.push(at(0));
  EXPECT_EQ(take(count, 64), batch(0, 1));
}

TEST_F(InjectionQueue, does_not_look_empty_while_its_stock_is_not_handed_out) {
  EXPECT_TRUE(queue.looks_empty());
  EXPECT_TRUE(queue.empty_hint());
  push(0, 2);
  EXPECT_FALSE(queue.looks_empty());
  EXPECT_EQ(take(1, 1), batch(0, 1));
  EXPECT_FALSE(queue.looks_empty());
  EXPECT_FALSE(queue.empty_hint());
  EXPECT_EQ(take(1, 1), batch(1, 2));
  EXPECT_TRUE(queue.looks_empty());
}

TEST_F(InjectionQueue, gives_nothing_when_empty_or_when_nothing_is_wanted) {
  EXPECT_TRUE(take().empty());
  EXPECT_FALSE(last.busy);
  push(0, 1);
  EXPECT_TRUE(take(0).empty());
  EXPECT_EQ(take().size(), 1u);
}

TEST_F(InjectionQueue, accepts_empty_batches) {
  queue.push(nullptr, 0);
  EXPECT_TRUE(queue.looks_empty());
}

TEST_F(InjectionQueue, lets_an_item_be_pushed_again) {
  for (int i = 0; i != 100; ++i) {
    push(0, 3);
    EXPECT_EQ(take(), batch(0, 3));
  }
}

// Three pushers, two takers: everything arrives once, and each taker sees each pusher's items in order.
TEST(InjectionQueueThreads, delivers_everything_once_and_in_order) {
  constexpr int pushers = 3, each = 40'000;
  std::vector<node> nodes(pushers * each);
  queue_type queue;
  std::atomic<int> taken{0};
  std::atomic<bool> wrong{false};
  std::vector<std::thread> threads;
  for (int p = 0; p != pushers; ++p)
    threads.emplace_back([&, p] {
      item batch[8];
      for (int i = 0; i != each;) {
        std::size_t n = 0;
        for (std::size_t const most = static_cast<std::size_t>(1 + i % 8); n != most && i != each; ++n, ++i) {
          node& x = nodes[static_cast<std::size_t>(p * each + i)];
          x.pusher = p;
          x.number = i;
          batch[n] = reinterpret_cast<item>(&x);
        }
        queue.push(batch, n);
      }
    });
  for (unsigned t = 0; t != 2; ++t)
    threads.emplace_back([&] {
      int newest[pushers] = {-1, -1, -1};
      while (taken.load(std::memory_order_relaxed) != pushers * each) {
        item out[16];
        injection_share const s = queue.take(out, 16, 2);
        if (s.count == 0) std::this_thread::yield();
        for (std::size_t i = 0; i != s.count; ++i) {
          node& x = node_of(out[i]);
          if (x.taken.fetch_add(1, std::memory_order_relaxed) != 0 || x.number <= newest[x.pusher]) wrong = true;
          newest[x.pusher] = x.number;
        }
        taken.fetch_add(static_cast<int>(s.count), std::memory_order_relaxed);
      }
    });
  for (auto& t : threads) t.join();
  EXPECT_FALSE(wrong);
  EXPECT_TRUE(queue.looks_empty());
  for (node const& x : nodes) ASSERT_EQ(x.taken.load(), 1);
}

} // namespace
