// SPDX-License-Identifier: Apache-2.0
// What the LIFO slot returns, with one thread that plays the owner and the thieves; tests/model/lifo_slot_model.cpp and deque_stress have more of them.
#include "skua/detail/lifo_slot.hpp"
#include <gtest/gtest.h>

namespace {

using skua::detail::item;
using skua::detail::real_sync;

// With the barrier, if the kernel has it, and without.
class LifoSlot : public testing::TestWithParam<bool> {
protected:
  LifoSlot() { slot.reset(GetParam() && skua::detail::register_heavy_barrier()); }
  skua::detail::lifo_slot<real_sync> slot;
  static constexpr item a = 16, b = 32, c = 48;
};

TEST_P(LifoSlot, gives_its_owner_what_it_was_given_last) {
  EXPECT_TRUE(slot.looks_empty());
  EXPECT_EQ(slot.take(), 0u);
  EXPECT_EQ(slot.put(a), 0u);
  EXPECT_FALSE(slot.looks_empty());
  EXPECT_EQ(slot.put(b), a);
  EXPECT_EQ(slot.take(), b);
  EXPECT_TRUE(slot.looks_empty());
}

TEST_P(LifoSlot, gives_a_thief_what_it_has_seen_and_nothing_else) {
  EXPECT_EQ(slot.put(a), 0u);
  EXPECT_EQ(slot.peek(), a);
  EXPECT_EQ(slot.steal(0, b), 0u);
  EXPECT_EQ(slot.steal(0, a), a);
  EXPECT_EQ(slot.steal(1, a), 0u);
  EXPECT_EQ(slot.peek(), 0u);
}

TEST_P(LifoSlot, looks_empty_once_its_item_was_stolen) {
  EXPECT_EQ(slot.put(a), 0u);
  EXPECT_EQ(slot.steal(0, a), a);
  EXPECT_TRUE(slot.looks_empty());
  EXPECT_EQ(slot.take(), 0u);
  EXPECT_TRUE(slot.looks_empty());
}

TEST_P(LifoSlot, does_not_give_its_owner_back_what_was_stolen) {
  EXPECT_EQ(slot.put(a), 0u);
  EXPECT_EQ(slot.steal(7, a), a);
  EXPECT_EQ(slot.put(b), 0u);
  EXPECT_EQ(slot.steal(7, b), b);
  EXPECT_EQ(slot.put(c), 0u);
  EXPECT_EQ(slot.take(), c);
}

TEST_P(LifoSlot, takes_back_an_item_that_was_stolen_from_it_before) {
  EXPECT_EQ(slot.put(a), 0u);
  EXPECT_EQ(slot.steal(0, a), a);
  EXPECT_EQ(slot.put(a), 0u);
  EXPECT_FALSE(slot.looks_empty());
  EXPECT_EQ(slot.put(b), a);
  EXPECT_EQ(slot.take(), b);
}

INSTANTIATE_TEST_SUITE_P(Barrier, LifoSlot, testing::Bool(), [](auto const& info) { return info.param ? "with" : "without"; });

} // namespace
