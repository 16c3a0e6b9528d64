// SPDX-License-Identifier: Apache-2.0
// The deque seen from one thread: orders, growth, the words beside it. deque_model.cpp and deque_stress.cpp have the races.
#include "skua/detail/deque.hpp"
#include <cstdlib>
#include <deque>
#include <gtest/gtest.h>
#include <new>
#include <random>
#include <string>

namespace {
bool no_memory = false;
}

// The slots of a ring are allocated by it. The sanitizers have their own: there, tests that need memory to run out are skipped.
#if !SKUA_ASAN && !SKUA_TSAN
#define SKIP_UNLESS_MEMORY_CAN_RUN_OUT() (void)0
void* operator new[](std::size_t n, std::nothrow_t const&) noexcept {
  if (no_memory) return nullptr;
  try {
    return ::operator new[](n);
  } catch (std::bad_alloc const&) {
    return nullptr;
  }
}
#else
#define SKIP_UNLESS_MEMORY_CAN_RUN_OUT() GTEST_SKIP() << "operator new[] belongs to the sanitizer"
#endif

namespace {

using skua::detail::item;
using queue_type = skua::detail::work_deque<>;

constinit thread_local queue_type in_thread_local;   // compiles: constant-initialised, trivially destructible

class Deque : public testing::Test {
protected:
  ~Deque() override {
    no_memory = false;
    queue.release();
  }
  item steal() {
    bool lost = false;
    item const x = queue.steal(lost);
    EXPECT_FALSE(lost);
    return x;
  }
  queue_type queue;
};

TEST_F(Deque, pops_the_newest_and_steals_the_oldest) {
  queue.init(4);
  for (item x = 1; x != 4; ++x) queue.push(x);
  EXPECT_EQ(queue.pop(), 3u);
  EXPECT_EQ(steal(), 1u);
  EXPECT_EQ(queue.pop(), 2u);
  EXPECT_EQ(queue.pop(), 0u);
  EXPECT_EQ(steal(), 0u);
}

TEST_F(Deque, gives_its_owner_the_oldest_item) {
  queue.init(4);
  for (item x = 1; x != 4; ++x) queue.push(x);
  EXPECT_EQ(queue.take_oldest(), 1u);
  EXPECT_EQ(queue.take_oldest(), 2u);
  EXPECT_EQ(queue.pop(), 3u);
  EXPECT_EQ(queue.take_oldest(), 0u);
}

TEST_F(Deque, is_usable_without_init) {
  EXPECT_EQ(queue.pop(), 0u);
  EXPECT_EQ(queue.take_oldest(), 0u);
  EXPECT_EQ(steal(), 0u);
  EXPECT_TRUE(queue.looks_empty());
  queue.push(7);
  EXPECT_FALSE(queue.looks_empty());
  EXPECT_EQ(queue.pop(), 7u);
}

TEST_F(Deque, keeps_order_when_it_grows_after_it_has_wrapped) {
  queue.init(4);
  for (item x = 1; x != 5; ++x) queue.push(x);
  EXPECT_EQ(steal(), 1u);
  EXPECT_EQ(steal(), 2u);
  for (item x = 5; x != 40; ++x) queue.push(x);
  for (item x = 3; x != 20; ++x) EXPECT_EQ(steal(), x);
  for (item x = 39; x != 19; --x) EXPECT_EQ(queue.pop(), x);
  EXPECT_TRUE(queue.looks_empty());
}

TEST_F(Deque, does_not_grow_while_items_are_taken_as_fast_as_they_come) {
  queue.init(4);
  no_memory = true;
  for (item x = 1; x != 1000; ++x) {
    queue.push(x);
    queue.push(x);
    EXPECT_EQ(steal(), x);
    EXPECT_EQ(queue.pop(), x);
  }
}

TEST_F(Deque, is_unchanged_when_it_cannot_grow) {
  SKIP_UNLESS_MEMORY_CAN_RUN_OUT();
  queue.init(2);
  queue.push(1);
  queue.push(2);
  no_memory = true;
  EXPECT_THROW(queue.push(3), std::bad_alloc);
  EXPECT_FALSE(queue.try_reserve(1));
  EXPECT_THROW(queue.reserve(1), std::bad_alloc);
  no_memory = false;
  EXPECT_EQ(steal(), 1u);
  EXPECT_EQ(queue.pop(), 2u);
  EXPECT_EQ(queue.pop(), 0u);
}

TEST_F(Deque, takes_what_it_has_reserved_without_memory) {
  queue.init(2);
  queue.push(1);
  queue.reserve(100);
  no_memory = true;
  for (item x = 2; x != 102; ++x) queue.push_reserved(x);
  for (item x = 101; x != 0; --x) EXPECT_EQ(queue.pop(), x);
}

TEST_F(Deque, takes_many_at_once_in_their_order) {
  for (std::size_t const n : {0u, 1u, 2u, 15u, 16u, 17u, 100u}) {
    queue_type many;
    many.init(2);
    many.push(1);
    many.reserve(static_cast<std::int64_t>(n));
    many.push_reserved_each(n, [](std::size_t i) { return item{i + 2}; });
    for (item x = n + 1; x != 0; --x) EXPECT_EQ(many.pop(), x);
    EXPECT_EQ(many.pop(), 0u);
    many.release();
  }
}

TEST_F(Deque, has_room_for_an_item_that_was_popped_just_now) {
  queue.init(2);
  no_memory = true;
  queue.push(1);
  queue.push(2);
  for (int i = 0; i != 10; ++i) {
    item const x = queue.pop();
    queue.push_reserved(x);
  }
  EXPECT_EQ(steal(), 1u);
  for (int i = 0; i != 10; ++i) queue.push_reserved(queue.pop());   // the last one, decided by CAS: its index is not used again
  EXPECT_EQ(queue.pop(), 2u);
}

TEST_F(Deque, starts_from_scratch_after_release) {
  queue.init(2);
  for (item x = 1; x != 10; ++x) queue.push(x);
  queue.progress.store(5, std::memory_order_relaxed);
  queue.grant.store(9, std::memory_order_relaxed);
  queue.release();
  EXPECT_TRUE(queue.looks_empty());
  EXPECT_EQ(queue.pop(), 0u);
  EXPECT_EQ(queue.progress.load(), 0u);
  EXPECT_EQ(queue.grant.load(), 1u);
  queue.init(8);
  queue.push(3);
  EXPECT_EQ(queue.bottom_hint() - queue.top_hint(), 1);
  EXPECT_EQ(queue.pop(), 3u);
}

// Any sequence of operations, against std::deque.
TEST_F(Deque, behaves_like_a_double_ended_queue) {
  char const* const given = std::getenv("SKUA_SEED");
  unsigned const seed = given != nullptr ? static_cast<unsigned>(std::strtoul(given, nullptr, 10)) : std::random_device{}();
  SCOPED_TRACE("replay with SKUA_SEED=" + std::to_string(seed));
  std::mt19937 engine(seed);
  auto const random = [&] { return static_cast<unsigned>(engine()); };
  queue.init(2);
  std::deque<item> expected;
  item next = 1;
  unsigned bias = 5;
  for (int i = 0; i != 200'000; ++i) {
    if (i % 1000 == 0) bias = 3 + random() % 4;   // grows for a while, shrinks for a while
    unsigned const what = random() % 10;
    if (what < bias) {
      queue.push(next);
      expected.push_back(next++);
    } else if (what % 3 == 0) {
      item const x = expected.empty() ? 0 : expected.back();
      if (x != 0) expected.pop_back();
      ASSERT_EQ(queue.pop(), x);
    } else {
      item const x = expected.empty() ? 0 : expected.front();
      if (x != 0) expected.pop_front();
      ASSERT_EQ(what % 3 == 1 ? queue.take_oldest() : steal(), x);
    }
    ASSERT_EQ(queue.looks_empty(), expected.empty());
    ASSERT_EQ(queue.bottom_hint() - queue.top_hint(), static_cast<std::int64_t>(expected.size()));
  }
}

TEST(DequeInThreadLocal, needs_no_constructor) {
  in_thread_local.push(5);
  EXPECT_EQ(in_thread_local.pop(), 5u);
  in_thread_local.release();
}

} // namespace
