// SPDX-License-Identifier: Apache-2.0
// latch and barrier: counts, phases, stop.
#include "skua/barrier.hpp"
#include "skua/latch.hpp"
#include "skua/runtime.hpp"
#include "skua/this_task.hpp"
#include "tests/support/leak_check.hpp"
#include "tests/support/values.hpp"
#include <atomic>
#include <thread>
#include <vector>

namespace {

using namespace skua_test;
using skua::barrier;
using skua::latch;
using skua::task;

constexpr int rounds = SKUA_TSAN || SKUA_ASAN ? 2'000 : 20'000;

class Latch : public leak_check {
protected:
  skua::runtime one{skua::options{.workers = 1, .backend = "virtual"}};
};
class Barrier : public Latch {};

TEST_F(Latch, opens_when_the_count_is_zero) {
  latch l(3);
  one.block_on([](latch& l) -> task<> {
    auto h = skua::spawn([](latch& l) -> task<> { co_await l.wait(); }, std::ref(l));
    l.count_down(2);
    co_await yield_times(3);
    EXPECT_FALSE(h.done());
    EXPECT_FALSE(l.try_wait());
    l.count_down();
    co_await h;
    EXPECT_TRUE(l.try_wait());
    co_await l.wait();
  }, std::ref(l));
}

TEST_F(Latch, of_zero_is_open) {
  latch l(0);
  one.block_on([](latch& l) -> task<> { co_await l.wait(); }, std::ref(l));
}

TEST_F(Latch, misuse_is_a_clear_error) {
  EXPECT_THROW(latch(-1), skua::usage_error);
  latch l(1);
  EXPECT_THROW(l.count_down(2), skua::usage_error);
  EXPECT_THROW(l.count_down(-1), skua::usage_error);
  l.count_down();
  EXPECT_THROW(one.block_on([](latch& l) -> task<> { co_await l.arrive_and_wait(); }, std::ref(l)), skua::usage_error);
}

TEST_F(Latch, gathers_tasks_of_many_workers_and_a_thread) {
  skua::runtime rt({.workers = 4});
  latch l(9);
  std::atomic<int> through{0};
  std::vector<skua::join_handle<>> all;
  for (int i = 0; i < 8; ++i)
    all.push_back(rt.spawn([](latch& l, std::atomic<int>& through) -> task<> {
      co_await l.arrive_and_wait();
      ++through;
    }, std::ref(l), std::ref(through)));
  EXPECT_EQ(through, 0);
  std::thread t([&] { l.count_down(); });
  rt.block_on([](std::vector<skua::join_handle<>>& all) -> task<> {
    for (auto& h : all) co_await h;
  }, std::ref(all));
  t.join();
  EXPECT_EQ(through, 8);
}

TEST_F(Latch, a_task_that_is_stopped_after_it_arrived_has_counted) {
  latch l(2);
  one.block_on([](latch& l) -> task<> {
    auto h = skua::spawn([](latch& l) -> task<> { co_await l.arrive_and_wait(); }, std::ref(l));
    co_await skua::this_task::yield();
    h.request_stop();
    EXPECT_THROW(co_await h, skua::task_stopped);
    EXPECT_FALSE(l.try_wait());
    l.count_down();
    EXPECT_TRUE(l.try_wait());
  }, std::ref(l));
}

TEST_F(Latch, the_waiter_may_destroy_it_at_once) {
  skua::runtime rt({.workers = 2});
  for (int i = 0; i < rounds / 2; ++i) {
    auto* const l = new latch(1);
    auto h = rt.spawn([](latch* l) -> task<> {
      co_await l->wait();
      delete l;
    }, l);
    for (int spin = 0; spin < i % 50; ++spin) skua::detail::cpu_pause();
    l->count_down();
    rt.block_on([](auto g) -> task<> { co_await g; }, std::move(h));
  }
}

TEST_F(Barrier, lets_all_go_on_when_the_last_arrives_and_names_it) {
  barrier b(3);
  one.block_on([](barrier& b) -> task<> {
    int last = 0, through = 0;
    auto arrives = [](barrier& b, int& last, int& through) -> task<> {
      if (co_await b.arrive_and_wait()) ++last;
      ++through;
    };
    for (int phase = 1; phase <= 4; ++phase) {
      auto x = skua::spawn(arrives, std::ref(b), std::ref(last), std::ref(through));
      auto y = skua::spawn(arrives, std::ref(b), std::ref(last), std::ref(through));
      co_await yield_times(3);
      EXPECT_EQ(through, 3 * (phase - 1));
      co_await arrives(b, last, through);
      co_await x;
      co_await y;
      EXPECT_EQ(through, 3 * phase);
      EXPECT_EQ(last, phase);
    }
  }, std::ref(b));
}

TEST_F(Barrier, of_one_never_waits) {
  barrier b(1);
  one.block_on([](barrier& b) -> task<> {
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(co_await b.arrive_and_wait());
  }, std::ref(b));
}

TEST_F(Barrier, one_that_drops_is_not_waited_for_again) {
  barrier b(2);
  one.block_on([](barrier& b) -> task<> {
    auto h = skua::spawn([](barrier& b) -> task<> { EXPECT_FALSE(co_await b.arrive_and_wait()); }, std::ref(b));
    co_await skua::this_task::yield();
    b.arrive_and_drop();
    co_await h;
    EXPECT_TRUE(co_await b.arrive_and_wait());
    b.arrive_and_drop();
    EXPECT_THROW(b.arrive_and_drop(), skua::usage_error);
    EXPECT_THROW((void)co_await b.arrive_and_wait(), skua::usage_error);
  }, std::ref(b));
  EXPECT_THROW(barrier(0), skua::usage_error);
}

TEST_F(Barrier, a_stopped_task_takes_its_arrival_back) {
  barrier b(2);
  one.block_on([](barrier& b) -> task<> {
    auto arrives = [](barrier& b) -> task<> { (void)co_await b.arrive_and_wait(); };
    auto x = skua::spawn(arrives, std::ref(b));
    co_await skua::this_task::yield();
    x.request_stop();
    EXPECT_THROW(co_await x, skua::task_stopped);
    auto y = skua::spawn(arrives, std::ref(b));
    co_await yield_times(3);
    EXPECT_FALSE(y.done());
    (void)co_await b.arrive_and_wait();
    co_await y;
  }, std::ref(b));
}

// No task is in a phase that another has not reached.
TEST_F(Barrier, keeps_tasks_of_many_workers_in_step) {
  constexpr int tasks = 8;
  skua::runtime rt({.workers = 4});
  barrier b(tasks);
  std::atomic<int> arrived{0}, last{0};
  rt.block_on([](barrier& b, std::atomic<int>& arrived, std::atomic<int>& last) -> task<> {
    std::vector<skua::join_handle<>> all;
    for (int t = 0; t < tasks; ++t)
      all.push_back(skua::spawn([](barrier& b, std::atomic<int>& arrived, std::atomic<int>& last) -> task<> {
        for (int phase = 1; phase <= rounds / 10; ++phase) {
          ++arrived;
          if (co_await b.arrive_and_wait()) ++last;
          int const n = arrived;
          EXPECT_GE(n, phase * tasks);
          EXPECT_LE(n, (phase + 1) * tasks - 1);   // this one has not arrived at the next
        }
      }, std::ref(b), std::ref(arrived), std::ref(last)));
    for (auto& h : all) co_await h;
  }, std::ref(b), std::ref(arrived), std::ref(last));
  EXPECT_EQ(last, rounds / 10);
}

} // namespace
