// SPDX-License-Identifier: Apache-2.0
// The steal policy as the pure function that it is: looks at a made-up victim, in made-up time.
#include "scheduler/steal_policy.hpp"
#include <gtest/gtest.h>
#include <rapidcheck.h>

namespace {

using namespace skua::detail;

constexpr std::uint64_t per_us = 1000;   // a tick is a nanosecond

// A victim, and a thief who looks at it every so often.
struct StealPolicy : testing::Test {
  observation victim;
  victim_view view;
  std::uint64_t now = 1'000'000'000;

  steal_verdict look() { return view.look(victim, {now, per_us}); }
  steal_verdict look_after(std::uint64_t ns) {
    now += ns;
    return look();
  }
  void run_items(unsigned n) { victim.progress += n; }
  void queue(std::int64_t n) { victim.bottom = victim.top + n; }

  // Looks for `ns` while the owner starts an item every `item_ns` (0: none) and keeps its queue as it is. The first verdict that takes.
  steal_verdict watch(std::uint64_t ns, std::uint64_t item_ns) {
    std::uint64_t const end = now + ns;
    std::uint64_t started = now;
    while (now < end) {
      now += 300;
      if (item_ns != 0)
        for (; started + item_ns <= now; started += item_ns) run_items(1);
      if (steal_verdict const v = look(); v.why != steal_rule::none) return v;
    }
    return {};
  }
};

TEST_F(StealPolicy, takes_nothing_from_an_idle_worker_and_calls_it_inactive) {
  look();
  steal_verdict const v = look_after(1000);
  EXPECT_EQ(v.why, steal_rule::none);
  EXPECT_FALSE(v.active);
  EXPECT_FALSE(v.pending);
}

TEST_F(StealPolicy, a_silent_owner_with_work_is_pending_and_stuck_after_20_us) {
  queue(8);
  look();
  for (int i = 0; i != 19; ++i) {
    steal_verdict const v = look_after(1000);
    if (v.why == steal_rule::probe) continue;   // nothing was known
    EXPECT_EQ(v.why, steal_rule::none);
    EXPECT_TRUE(v.pending);
    EXPECT_TRUE(v.active);
  }
  EXPECT_EQ(look_after(2000).why, steal_rule::stuck);
}

TEST_F(StealPolicy, takes_more_from_an_unproven_stuck_owner_each_time_the_silence_has_doubled) {
  queue(1000);
  look();
  std::int64_t expected = 1;
  for (std::uint64_t silence = 20'000; expected <= 64; silence *= 2, expected *= 4) {
    now = 1'000'000'000 + silence;
    steal_verdict const v = look();
    EXPECT_EQ(v.why, steal_rule::stuck);
    EXPECT_EQ(v.take, expected);
    EXPECT_EQ(look_after(silence / 2).why, steal_rule::none) << "asked again too early";
  }
}

TEST_F(StealPolicy, takes_half_from_a_stuck_owner_whose_items_are_proven) {
  queue(100);
  victim.cost_ns = tuning::proof_item_ns;
  look();
  EXPECT_EQ(look_after(20'000).take, 50);
  victim.cost_ns = tuning::worth_item_ns;
  victim.grant = tuning::proof_grant;
  EXPECT_EQ(look_after(20'000).take, 50);
}

TEST_F(StealPolicy, takes_the_lifo_slot_of_a_stuck_owner) {
  victim.lifo = 64;
  victim.cost_ns = tuning::proof_item_ns;
  look();
  EXPECT_FALSE(look_after(10'000).lifo);
  steal_verdict const v = look_after(10'000);
  EXPECT_EQ(v.why, steal_rule::stuck);
  EXPECT_TRUE(v.lifo);
  EXPECT_EQ(v.take, 0);
}

// It forks for ever: pushes and pops, and takes its own branches without its loop. Looks are a nap apart, as on a machine of one core.
TEST_F(StealPolicy, takes_the_lifo_slot_of_an_owner_that_moves_but_starts_nothing_when_it_starves__S21) {
  victim.lifo = 64;
  look();
  for (int i = 1; i != 4; ++i) {
    victim.top += 2;
    queue(i % 2);
    EXPECT_FALSE(look_after(60'000).lifo);
  }
  victim.top += 2;
  queue(0);
  steal_verdict const v = look_after(60'000);
  EXPECT_EQ(v.why, steal_rule::starved);
  EXPECT_TRUE(v.lifo);
}

TEST_F(StealPolicy, leaves_the_lifo_slot_to_an_owner_that_starts_items) {
  for (int i = 0; i != 1000; ++i) {   // a pair of tasks that wake each other: the slot may hold the same one at each look
    victim.lifo = 64;
    run_items(1);
    ASSERT_FALSE(look_after(50'000).lifo);
  }
}

TEST_F(StealPolicy, an_owner_that_only_pushes_is_not_stuck) {
  for (int i = 0; i != 300; ++i) {
    queue(i + 1);
    steal_verdict const v = look_after(300);
    EXPECT_NE(v.why, steal_rule::stuck);
  }
}

TEST_F(StealPolicy, leaves_a_fast_owner_alone_until_its_oldest_item_starves) {
  queue(500);
  watch(20'000, 100);   // learns the rate; may probe meanwhile
  ++victim.top;
  look();
  EXPECT_EQ(watch(190'000, 100).why, steal_rule::none);
  steal_verdict const v = watch(20'000, 100);
  EXPECT_EQ(v.why, steal_rule::starved);
  EXPECT_EQ(v.take, 1);
}

// A fast owner with `n` items that come back: each is queued again after it has run. The first verdict that takes more than a starved item.
struct StealPolicyOfACrowd : StealPolicy {
  steal_verdict watch_crowd(std::uint64_t ns, std::int64_t n, std::int64_t requeued_of_1000 = 1000) {
    for (std::uint64_t const end = now + ns; now < end;) {
      run_items(1000);
      victim.top += 1000;
      victim.bottom = std::max(victim.top + n, victim.bottom + requeued_of_1000);
      if (steal_verdict const v = look_after(20'000); v.why != steal_rule::none && v.why != steal_rule::starved) return v;
    }
    return {};
  }
  // A batch that was run at this many ns an item.
  bool learn(std::uint64_t turns, std::uint64_t item_ns) { return view.learn_crowd(500 * turns * item_ns, 500 * turns, 500, {now, per_us}); }
};

TEST_F(StealPolicyOfACrowd, takes_half_of_many_that_come_back) {
  queue(1000);
  look();
  steal_verdict const v = watch_crowd(1'000'000, 1000);
  EXPECT_EQ(v.why, steal_rule::crowd);
  EXPECT_EQ(v.take, 500);
  EXPECT_GE(now, 1'000'000'000 + tuning::crowd_us * per_us);
}

TEST_F(StealPolicyOfACrowd, leaves_few_alone) {
  queue(tuning::crowd_items - 1);
  look();
  EXPECT_EQ(watch_crowd(10'000'000, tuning::crowd_items - 1).why, steal_rule::none);
}

TEST_F(StealPolicyOfACrowd, leaves_many_alone_that_run_once) {
  queue(10'000'000);
  look();
  EXPECT_EQ(watch_crowd(10'000'000, 0, 0).why, steal_rule::none);
}

TEST_F(StealPolicyOfACrowd, a_queue_that_was_short_in_between_is_no_crowd) {
  for (int i = 0; i != 100; ++i) {
    queue(1000);
    look();
    EXPECT_NE(watch_crowd(150'000, 1000).why, steal_rule::crowd);
    queue(3);
    look_after(20'000);
  }
}

TEST_F(StealPolicyOfACrowd, takes_again_at_once_after_a_batch_that_was_right) {
  queue(1000);
  look();
  ASSERT_EQ(watch_crowd(1'000'000, 1000).why, steal_rule::crowd);   // at 20 ns an item
  EXPECT_TRUE(learn(tuning::crowd_turns, 30));
  EXPECT_EQ(watch_crowd(20'000, 1000).why, steal_rule::crowd) << "the first look";
}

TEST_F(StealPolicyOfACrowd, waits_twice_as_long_after_each_batch_that_was_wrong) {
  queue(1000);
  look();
  for (std::uint64_t pause = 2 * tuning::first_crowd_pause_us; pause < tuning::last_crowd_pause_us; pause *= 2) {
    ASSERT_EQ(watch_crowd(2'000'000, 1000).why, steal_rule::crowd);
    bool const came_back = pause % 4 == 0;
    EXPECT_FALSE(came_back ? learn(tuning::crowd_turns, 50) : learn(1, 20)) << "too slow here, or over at once";
    EXPECT_EQ(watch_crowd((pause - 100) * per_us, 1000).why, steal_rule::none);
  }
}

TEST_F(StealPolicy, takes_half_of_what_is_known_to_be_worth_it_within_grant_and_target) {
  queue(100);
  victim.cost_ns = 1000;
  victim.grant = 4;
  EXPECT_EQ(watch(10'000, 1000).take, 4);
  victim.grant = 512;
  steal_verdict const v = watch(10'000, 1000);
  EXPECT_EQ(v.why, steal_rule::known);
  EXPECT_EQ(v.take, 10);   // 10 us of work
  victim.cost_ns = 50'000;
  EXPECT_EQ(watch(10'000, 1000).take, 1);
}

TEST_F(StealPolicy, leaves_what_is_not_worth_the_move) {
  queue(4);
  victim.cost_ns = 400;   // half of the queue: 0.8 us
  EXPECT_EQ(watch(150'000, 400).why, steal_rule::none);
}

TEST_F(StealPolicy, probes_the_unknown_once_it_knows_that_the_owner_is_not_fast) {
  queue(10);
  steal_verdict const v = watch(10'000, 1000);
  EXPECT_EQ(v.why, steal_rule::probe);
  EXPECT_EQ(v.take, 1);
}

TEST_F(StealPolicy, probes_ever_more_rarely_when_probes_prove_nothing) {
  queue(10);
  victim.cost_ns = 100;   // the last ones were too small
  std::uint64_t last = 0, before = 0;
  unsigned probes = 0;
  for (std::uint64_t end = now + 10'000'000; now < end;) {
    ++victim.top, ++victim.bottom;   // its oldest item moves: nothing starves
    run_items(1);
    if (look_after(1000).why != steal_rule::probe) continue;
    std::uint64_t const pause = now - last;
    if (++probes > 2 && before < tuning::last_probe_us * per_us) {
      EXPECT_GE(pause, before * 3 / 2);
    }
    before = pause;
    last = now;
  }
  EXPECT_GE(probes, 6u);
  EXPECT_LE(probes, 15u);
}

TEST_F(StealPolicy, takes_one_branch_where_branches_from_so_long_a_queue_were_worth_it) {
  queue(12);
  view.took(true, 12);
  view.learn_branch(30'000);
  view.took(true, 2);
  view.learn_branch(500);
  steal_verdict const v = watch(3000, 1000);
  EXPECT_EQ(v.why, steal_rule::known);
  EXPECT_EQ(v.take, 1);
  queue(2);   // the last branches of the tree
  EXPECT_NE(watch(40'000, 1000).why, steal_rule::known);
}

TEST_F(StealPolicy, an_item_that_came_while_nobody_looked_does_not_count_as_starved) {
  watch(20'000, 100);
  now += 10'000'000;   // the thief slept
  queue(1);
  EXPECT_EQ(watch(10'000, 100).why, steal_rule::none);
}

TEST_F(StealPolicy, the_cost_of_an_item_follows_what_was_measured_last) {
  EXPECT_NEAR(view.learn(10'000, 10), 1000, 2);
  for (int i = 0; i != 8; ++i) view.learn(100'000, 10);
  EXPECT_NEAR(view.learn(100'000, 10), 10'000, 100);
  EXPECT_NE(view.learn(0, 1000), 0u) << "0 stands for not known";
}

// INV-POLICY-1, INV-POLICY-2.
TEST(StealPolicyProperty, nothing_stays_for_ever_and_no_verdict_exceeds_what_is_there) {
  EXPECT_TRUE(rc::check([] {
    victim_view view;
    observation o;
    o.cost_ns = *rc::gen::inRange<std::uint32_t>(0, 30'000);
    o.grant = std::uint32_t{1} << *rc::gen::inRange(0, 10);
    o.top = *rc::gen::inRange(0, 1000);
    o.bottom = o.top + *rc::gen::inRange(1, 300);
    bool const branches = *rc::gen::arbitrary<bool>();
    std::uint64_t const item_ns = *rc::gen::inRange<std::uint64_t>(20, 50'000);
    bool const silent = *rc::gen::inRange(0, 4) == 0;
    std::uint64_t const began = 1'000'000'000, step = *rc::gen::inRange<std::uint64_t>(100, 3000);
    if (branches) {
      view.took(true, o.queued());
      view.learn_branch(*rc::gen::inRange<std::uint64_t>(1, 100'000));
    }
    std::uint64_t const limit = silent ? 2 * tuning::silent_us * per_us : tuning::starve_us * per_us;
    bool taken = false;
    for (std::uint64_t t = began; t < began + limit + 2 * step && !taken; t += step) {
      if (!silent) o.progress = (t - began) / item_ns;
      steal_verdict const v = view.look(o, {t, per_us});
      RC_ASSERT(v.active);
      RC_ASSERT(v.take <= (o.queued() + 1) / 2);
      RC_ASSERT((v.why == steal_rule::none) == (v.take == 0));
      RC_ASSERT(!v.lifo);
      if (silent && v.why == steal_rule::none && t != began) RC_ASSERT(v.pending);
      taken = v.take != 0;
    }
    RC_ASSERT(taken);
  }));
}

} // namespace
