// SPDX-License-Identifier: Apache-2.0
// The scheduler below coroutines: items whose "frame" is a function, on workers in virtual time.
#include "scheduler/scheduler.hpp"
#include "scheduler/virtual_driver.hpp"
#include "skua/metrics.hpp"
#include "tests/support/job.hpp"
#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <gtest/gtest.h>
#include <memory>
#include <optional>
#include <pthread.h>
#include <semaphore>
#include <signal.h>
#include <thread>
#include <vector>

namespace {

using namespace skua::detail;
using namespace std::chrono_literals;
using skua_test::job;

class Scheduler : public testing::Test {
protected:
  void start(unsigned workers) {
    s.emplace(scheduler_setup{.workers = workers, .name = "test"});
    s->start(driver);
  }
  void TearDown() override {
    if (s) s->stop();
  }
  job& make(std::function<void()> f) { return *jobs.emplace_back(std::make_unique<job>(std::move(f))); }
  void inject(job& j) {
    item const x = j.as_item();
    s->inject_items(&x, 1, false);
  }
  skua::metrics counted() const {
    skua::metrics m;
    s->collect(m);
    return m;
  }
  // Until every worker sleeps: on the way there it has done all there was to do.
  void settle() {
    while (!s->others_asleep()) std::this_thread::yield();
  }

  virtual_driver driver;
  std::optional<scheduler> s;
  std::vector<std::unique_ptr<job>> jobs;
};

TEST_F(Scheduler, starts_and_stops_with_nothing_to_do) {
  for (unsigned workers : {1u, 2u, 5u, 40u}) {
    scheduler idle({.workers = workers});
    virtual_driver d;
    idle.start(d);
    idle.stop();
  }
}

TEST_F(Scheduler, runs_what_is_injected_on_a_worker) {
  start(2);
  std::binary_semaphore ran{0};
  scheduler* where = nullptr;
  inject(make([&] {
    where = tl.owner;
    ran.release();
  }));
  ran.acquire();
  EXPECT_EQ(where, &*s);
  EXPECT_EQ(tl.owner, nullptr);
}

TEST_F(Scheduler, runs_a_share_of_injected_items_in_order) {
  start(1);
  std::vector<int> order;
  std::vector<item> batch;
  for (int i = 0; i != 20; ++i) batch.push_back(make([&order, i] { order.push_back(i); }).as_item());
  s->inject_items(batch.data(), batch.size(), false);
  settle();
  ASSERT_EQ(order.size(), 20u);
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
}

TEST_F(Scheduler, wakes_a_sleeper_for_work_that_its_owner_does_not_come_back_to) {
  start(2);
  std::binary_semaphore helped{0};
  // Again where the other one was still on its way to sleep: it may have seen the injected item, and have come by itself.
  for (std::uint64_t rounds = 1; counted().wakes == 0; ++rounds) {
    settle();
    job& helper = make([&] { helped.release(); });
    inject(make([&] {
      schedule(*s, helper.as_item());
      helped.acquire();   // this worker does not return before the other one has run it
    }));
    settle();
    EXPECT_GE(counted().steals, rounds);
  }
}

TEST_F(Scheduler, an_injected_item_does_not_wait_for_busy_workers_to_finish) {   // S21
  start(2);
  std::atomic<int> busy{0};
  std::atomic<bool> ran{false}, wanted{false};
  for (int i = 0; i != 2; ++i)
    inject(make([&] {
      ++busy;
      while (!ran) {   // as forks of a computation that never returns would ask
        if (attention() && wanted_in_loop()) {
          wanted = true;
          return;
        }
        std::this_thread::yield();
      }
    }));
  while (busy != 2) std::this_thread::yield();
  inject(make([&] { ran = true; }));
  settle();
  EXPECT_TRUE(wanted);
  EXPECT_TRUE(ran);
  EXPECT_FALSE(attention()) << "whoever drains the queue lowers it";
}

TEST_F(Scheduler, a_pair_that_wakes_each_other_does_not_starve_a_bystander) {   // D11
  start(1);
  std::atomic<bool> bystander_ran{false};
  unsigned turns = 0;
  job *ping = nullptr, *pong = nullptr;
  auto const bounce = [&](job*& other) {
    return [&] {
      if (!bystander_ran && ++turns < 100'000) push_lifo(other->as_item());
    };
  };
  ping = &make(bounce(pong));
  pong = &make(bounce(ping));
  job& bystander = make([&] { bystander_ran = true; });
  inject(make([&] {
    tl.queue.push(bystander.as_item());
    push_lifo(ping->as_item());
  }));
  settle();
  EXPECT_TRUE(bystander_ran);
  EXPECT_LE(turns, 2 * tuning::run_budget);
}

TEST_F(Scheduler, virtual_time_jumps_from_deadline_to_deadline) {
  start(2);
  std::vector<std::uint64_t> fired;
  std::vector<std::uint64_t> const deadlines = {86'400'000'000'000, 5, 3'000'000, 1'000'000'000};
  std::binary_semaphore done{0};
  inject(make([&] {
    for (std::uint64_t d : deadlines)
      make([&] {
        fired.push_back(s->now_ns());
        if (fired.size() == 4) done.release();
      }).arm_at(d);
  }));
  done.acquire();
  EXPECT_EQ(fired, (std::vector<std::uint64_t>{5, 3'000'000, 1'000'000'000, 86'400'000'000'000}));
  EXPECT_EQ(counted().timers_armed, 4u);
  EXPECT_EQ(counted().timers_fired, 4u);
}

TEST_F(Scheduler, virtual_time_stands_still_while_anything_runs) {
  start(2);
  std::binary_semaphore fired{0};
  std::uint64_t seen = 0;
  job& timer = make([&] { fired.release(); });
  inject(make([&] {
    timer.arm_at(1'000'000);
    std::this_thread::sleep_for(20ms);
    seen = s->now_ns();
  }));
  fired.acquire();
  EXPECT_EQ(seen, 0u);
  EXPECT_EQ(s->now_ns(), 1'000'000u);
}

TEST_F(Scheduler, a_timer_that_was_disarmed_does_not_fire) {
  start(1);
  std::binary_semaphore fired{0};
  job& kept = make([&] { fired.release(); });
  job& withdrawn = make([] { ADD_FAILURE(); });
  inject(make([&] {
    withdrawn.arm_at(1000);
    kept.arm_at(2000);
    EXPECT_TRUE(disarm_timer(withdrawn));
  }));
  fired.acquire();
  settle();
  EXPECT_EQ(counted().timers_fired, 1u);
}

TEST_F(Scheduler, more_timers_than_a_list_holds_fire_all_the_same) {
  start(2);
  constexpr unsigned many = 3 * ready_list::capacity;
  std::atomic<unsigned> fired{0};
  inject(make([&] {
    for (unsigned i = 0; i != many; ++i) make([&] { ++fired; }).arm_at(1'000'000);
  }));
  settle();
  while (fired < many) std::this_thread::yield();
  settle();
  EXPECT_EQ(fired, many);
  EXPECT_EQ(counted().timers_fired, many);
}

TEST_F(Scheduler, a_time_that_has_passed_fires_while_the_worker_is_busy_with_others) {
  start(1);
  bool fired = false;
  unsigned turns = 0;
  job* again = nullptr;
  job& timer = make([&] { fired = true; });
  again = &make([&] {
    if (++turns == 1) timer.arm_at(0);
    if (!fired && turns < 10'000) push_lifo(again->as_item());
  });
  inject(*again);
  settle();
  EXPECT_TRUE(fired);
  EXPECT_LE(turns, 2 * tuning::run_budget + 1);
}

TEST_F(Scheduler, is_quiescent_when_as_many_tasks_have_ended_as_were_spawned) {
  start(2);
  EXPECT_TRUE(s->quiescent());
  s->count_outside_spawn();
  EXPECT_FALSE(s->quiescent());
  inject(make([&] { worker_counters::add(tl.counters.spawned); }));
  settle();
  EXPECT_EQ(counted().live_tasks, 2u);
  inject(make([&] { worker_counters::add(tl.counters.gone, 2); }));
  settle();
  EXPECT_TRUE(s->quiescent());
}

TEST_F(Scheduler, workers_have_names_and_take_no_signals) {
  start(1);
  char name[16] = "";
  sigset_t blocked;
  sigemptyset(&blocked);
  inject(make([&] {
    pthread_getname_np(pthread_self(), name, sizeof name);
    pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
  }));
  settle();
  EXPECT_STREQ(name, "test-w0");
  EXPECT_TRUE(sigismember(&blocked, SIGINT) && sigismember(&blocked, SIGTERM) && sigismember(&blocked, SIGUSR1));
}

TEST_F(Scheduler, with_many_workers_everything_runs_exactly_once) {   // S24
  start(260);
  constexpr unsigned many = 20'000;
  std::vector<std::atomic<int>> ran(many);
  std::atomic<unsigned> left{many};
  std::vector<item> batch;
  for (unsigned i = 0; i != many; ++i)
    batch.push_back(make([&, i] {
                      ran[i].fetch_add(1);
                      left.fetch_sub(1);
                    }).as_item());
  for (unsigned i = 0; i < many; i += 100) s->inject_items(batch.data() + i, 100, false);
  while (left != 0) std::this_thread::yield();
  for (auto& n : ran) ASSERT_EQ(n.load(), 1);
}

} // namespace
