// SPDX-License-Identifier: Apache-2.0
// The other kinds of channels: unbounded, and by priority. channel_test.cpp has what all kinds share.
#include "skua/channel.hpp"
#include "skua/outside_work.hpp"
#include "skua/runtime.hpp"
#include "tests/support/one_worker.hpp"
#include "tests/support/values.hpp"
#include <algorithm>
#include <memory>
#include <random>
#include <thread>
#include <vector>

namespace {

using namespace skua_test;
using skua::send_status;
using skua::task;

// ---------------------------------------------------------------------------------------------- unbounded

class UnboundedChannel : public one_worker {};

TEST_F(UnboundedChannel, never_waits_and_keeps_the_order) {
  run([]() -> task<> {
    skua::unbounded_channel<owned> ch;
    for (int round = 0; round < 3; ++round) {
      for (int i = 0; i < 5000; ++i) EXPECT_TRUE(ch.send(owned(i)));   // several chunks
      EXPECT_EQ(ch.size(), 5000u);
      for (int i = 0; i < 4000; ++i) EXPECT_EQ((co_await ch.recv())->value(), i);
      for (int i = 5000; i < 6000; ++i) EXPECT_TRUE(ch.send(owned(i)));
      for (int i = 4000; i < 6000; ++i) EXPECT_EQ((co_await ch.recv())->value(), i);
      EXPECT_TRUE(ch.empty());
    }
    for (int i = 0; i < 1000; ++i) EXPECT_TRUE(ch.send(owned(i)));
    ch.close();
    EXPECT_EQ(ch.send(owned(1)).value().value(), 1);
    EXPECT_EQ((co_await ch.recv())->value(), 0);
  });
  EXPECT_EQ(owned::alive, 0);
}

TEST_F(UnboundedChannel, hands_a_message_over_to_who_waits) {
  run([]() -> task<> {
    auto [tx, rx] = skua::unbounded_channel<int>().split();
    auto h = skua::spawn([](skua::unbounded_receiver<int> from) -> task<int> {
      int sum = 0;
      while (auto m = co_await from.recv()) sum += *m;
      co_return sum;
    }, rx);
    co_await let_them_wait();
    std::thread outside([to = std::move(tx), w = skua::outside_work()]() mutable {
      for (int i = 1; i <= 100; ++i) EXPECT_TRUE(to.send(i));
    });
    EXPECT_EQ(co_await h, 5050);
    outside.join();
  });
}

TEST(UnboundedBuffer, breathes_without_allocating) {
  skua::detail::chunk_buffer<int> b;
  using chunk = skua::detail::chunk_buffer<int>::chunk;
  int made = 0, next = 0, expected = 0;
  auto push = [&] {
    if (b.wants()) {
      b.give(std::make_unique<chunk>());
      ++made;
    }
    b.push(next++);
  };
  auto pop = [&] { EXPECT_EQ(b.pop(), expected++); };
  auto const n = static_cast<int>(skua::detail::chunk_buffer<int>::per_chunk);
  for (int i = 0; i < n + n / 2; ++i) push();
  int const before = made;
  for (int i = 0; i < 10 * n; ++i) {   // always one and a half chunks full
    pop();
    push();
  }
  EXPECT_LE(made, before + 1);
  while (!b.empty()) pop();
  EXPECT_EQ(expected, next);
}

// Nothing is freed before whoever has the lock has taken it along; and what nobody takes is used again.
TEST(UnboundedBuffer, gives_back_what_it_has_emptied_behind_the_lock) {
  using buffer = skua::detail::chunk_buffer<int>;
  buffer b;
  auto const fill = [&b](int chunks) {
    int made = 0;
    for (std::size_t i = 0; i != static_cast<std::size_t>(chunks) * buffer::per_chunk; ++i) {
      if (b.wants()) b.give(std::make_unique<buffer::chunk>()), ++made;
      b.push(0);
    }
    return made;
  };
  auto const length = [](buffer::garbage const& g) {
    int n = 0;
    for (auto* c = g.first.get(); c != nullptr; c = c->next.get()) ++n;
    return n;
  };
  EXPECT_EQ(fill(6), 5);   // it began with one
  b.clear();
  EXPECT_EQ(fill(6), 0);
  b.clear();
  {
    buffer::garbage old;
    b.take_garbage(old);
    EXPECT_EQ(length(old), 4);   // one is in use, one is kept
  }
  buffer::garbage none;
  b.take_garbage(none);
  EXPECT_EQ(length(none), 0);
  EXPECT_EQ(fill(6), 4);
}

// ---------------------------------------------------------------------------------------------- by priority

class PriorityChannel : public one_worker {};

TEST_F(PriorityChannel, gives_the_highest_priority_first_and_of_equals_the_oldest) {
  run([]() -> task<> {
    skua::priority_channel<int> ch(1000);
    std::mt19937 random(5);
    std::vector<std::pair<std::int64_t, int>> all;
    for (int i = 0; i < 1000; ++i) {
      auto const priority = static_cast<std::int64_t>(random() % 20) - 10;
      all.emplace_back(priority, i);
      EXPECT_TRUE(co_await ch.send(i, priority));
    }
    std::sort(all.begin(), all.end(), [](auto const& a, auto const& b) { return a.first != b.first ? a.first > b.first : a.second < b.second; });
    for (auto const& [priority, i] : all) EXPECT_EQ(co_await ch.recv(), i);
  });
}

TEST_F(PriorityChannel, lets_waiting_senders_in_in_the_order_in_which_they_came) {
  run([]() -> task<> {
    skua::priority_channel<int> ch(1);
    EXPECT_TRUE(co_await ch.send(0, 0));
    std::vector<skua::join_handle<>> waiting;
    for (int i = 1; i < 4; ++i) {
      waiting.push_back(skua::spawn([](skua::priority_channel<int> c, int v) -> task<> { EXPECT_TRUE(co_await c.send(v, v)); }, ch, i));
      co_await let_them_wait();
    }
    for (int i = 0; i < 4; ++i) EXPECT_EQ(co_await ch.recv(), i);
    for (auto& h : waiting) co_await h;
    EXPECT_EQ(ch.try_send(7, 1).status(), send_status::sent);
    EXPECT_EQ(ch.try_send(8, 9).value(), 8);
    ch.close();
    EXPECT_EQ(co_await ch.recv(), 7);
    EXPECT_EQ(co_await ch.recv(), std::nullopt);
  });
}

} // namespace
