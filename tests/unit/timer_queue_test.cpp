// SPDX-License-Identifier: Apache-2.0
// The timer queue on one thread, and the handshake between disarm() and expire() on two. The model (tests/model/timer_model.cpp) has every
// interleaving, tests/stress/timer_stress.cpp the load.
#include "scheduler/timer_queue.hpp"
#include <array>
#include <atomic>
#include <gtest/gtest.h>
#include <memory>
#include <thread>
#include <vector>

namespace {

using namespace skua::detail;
using list = std::vector<timer_entry*>;

struct TimerQueue : testing::Test {
  timer_queue queue{1000};
  std::uint64_t next = 0;   // what the last expiry answered

  list expire(std::uint64_t now, std::size_t most = 100) {
    list fired;
    next = queue.expire(now, most, [&](timer_entry& t) { fired.push_back(&t); });
    return fired;
  }
};

TEST_F(TimerQueue, publishes_its_earliest_deadline_and_says_when_the_alarm_must_be_earlier) {
  std::array<timer_entry, 3> t;
  EXPECT_EQ(queue.next_deadline(), timer_never_ns);
  EXPECT_TRUE(queue.arm(t[0], 5000));
  EXPECT_FALSE(queue.arm(t[1], 6000));
  EXPECT_TRUE(queue.arm(t[2], 4000));
  EXPECT_EQ(queue.next_deadline(), 4000u);
  EXPECT_EQ(expire(3999), list{});
  EXPECT_EQ(next, 4000u);
  EXPECT_EQ(expire(5000), (list{&t[2], &t[0]}));
  EXPECT_EQ(next, 6000u);
  EXPECT_EQ(queue.next_deadline(), 6000u);
  EXPECT_TRUE(timer_queue::disarm(t[1]));
}

TEST_F(TimerQueue, answers_0_while_more_are_due) {
  std::array<timer_entry, 5> t;
  for (auto& x : t) (void)queue.arm(x, 2000);
  EXPECT_EQ(expire(2000, 2), (list{&t[0], &t[1]}));
  EXPECT_EQ(next, 0u);
  EXPECT_EQ(queue.next_deadline(), 0u);
  EXPECT_EQ(expire(2000, 2), (list{&t[2], &t[3]}));
  EXPECT_EQ(expire(2000, 2), (list{&t[4]}));
  EXPECT_EQ(next, timer_never_ns);
}

TEST_F(TimerQueue, finds_the_queue_of_a_timer_and_keeps_its_kind) {
  timer_queue other{1000};
  timer_entry a, b;
  (void)queue.arm(a, 5000, 3);
  (void)other.arm(b, 5000, 63);
  EXPECT_EQ(a.kind(), 3u);
  EXPECT_EQ(b.kind(), 63u);
  EXPECT_TRUE(timer_queue::disarm(b));
  EXPECT_TRUE(timer_queue::disarm(a));
  (void)other.arm(a, 5000);   // the same entry again, elsewhere
  EXPECT_EQ(a.kind(), 0u);
  EXPECT_TRUE(timer_queue::disarm(a));
}

TEST_F(TimerQueue, lets_what_fires_arm_and_disarm) {
  timer_entry a, b, c;
  (void)queue.arm(a, 2000);
  (void)queue.arm(b, 3000);
  unsigned rounds = 0;
  next = queue.expire(2000, 10, [&](timer_entry& t) {
    ++rounds;
    EXPECT_TRUE(timer_queue::disarm(b));
    (void)queue.arm(t, 2500);
    (void)queue.arm(c, 2000);
  });
  EXPECT_EQ(rounds, 1u);
  EXPECT_EQ(expire(2500), (list{&c, &a}));
}

TEST_F(TimerQueue, refuses_to_disarm_what_is_firing) {
  std::array<timer_entry, 2> t;
  for (auto& x : t) (void)queue.arm(x, 2000);
  unsigned fired = 0;
  queue.expire(2000, 10, [&](timer_entry& x) {
    ++fired;
    if (&x == &t[0]) {
      EXPECT_FALSE(timer_queue::disarm(t[0]));
      EXPECT_FALSE(timer_queue::disarm(t[1]));   // taken out, to be fired next
    }
  });
  EXPECT_EQ(fired, 2u);
}

// A frame that dies by a count of two, as that of timeout() does.
struct frame {
  timer_entry timer;
  std::atomic<int> parties{2};
};

TEST_F(TimerQueue, gives_a_timer_back_exactly_once_whoever_comes_first) {
  constexpr unsigned rounds = 20'000;
  std::atomic<unsigned> at{0};
  std::atomic<bool> done{false};
  unsigned fired = 0, disarmed = 0;
  auto const leave = [](frame* f) {
    if (f->parties.fetch_sub(1, std::memory_order_acq_rel) == 1) delete f;
  };
  std::thread expirer([&] {
    while (!done.load(std::memory_order_acquire)) {
      queue.expire(2000 + at.load(std::memory_order_relaxed), 3, [&](timer_entry& t) {
        ++fired;
        leave(reinterpret_cast<frame*>(&t));
      });
      std::this_thread::yield();
    }
  });
  for (unsigned i = 0; i != rounds; ++i) {
    frame* const f = new frame;
    (void)queue.arm(f->timer, 2001 + i);
    if (i != 0) at.store(i + 1, std::memory_order_relaxed);   // now it is due; the first one never is
    while (i % 64 == 1 && f->parties.load(std::memory_order_relaxed) == 2) std::this_thread::yield();   // this one fires
    if (timer_queue::disarm(f->timer)) {
      ++disarmed;
      delete f;
    } else
      leave(f);
  }
  done.store(true, std::memory_order_release);
  expirer.join();
  EXPECT_EQ(fired + disarmed, rounds);
  EXPECT_GT(fired, 0u);
  EXPECT_GT(disarmed, 0u);
}

} // namespace
