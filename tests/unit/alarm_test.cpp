// SPDX-License-Identifier: Apache-2.0
// The alarm: when the driver is told of the next deadline (INV-ALARM-1, INV-ALARM-2). One worker, under a driver whose clock the test moves.
#include "scheduler/driver.hpp"
#include "scheduler/scheduler.hpp"
#include "scheduler/tuning.hpp"
#include "tests/support/job.hpp"
#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <functional>
#include <gtest/gtest.h>
#include <memory>
#include <mutex>
#include <optional>
#include <semaphore>
#include <vector>

namespace {

using namespace skua::detail;
using skua_test::job;

constexpr std::uint64_t lag = 250'000;

class played_driver final : public driver {
public:
  char const* name() const noexcept override { return "played"; }
  bool real_time() const noexcept override { return false; }
  std::uint64_t alarm_lag_ns() const noexcept override { return lag; }
  std::uint64_t now_ns() noexcept override { return now_; }
  void start(driver_host& h) override { host_ = &h; }
  void stop() noexcept override {}
  void before_wait() noexcept override {}
  void role_released() noexcept override {}
  void kick() noexcept override {
    std::lock_guard const guard(mutex_);
    kicked_ = true;
    changed_.notify_all();
  }
  void set_alarm(std::uint64_t ns) noexcept override {
    std::lock_guard const guard(mutex_);
    told_.push_back(ns);
    changed_.notify_all();
  }
  void wait(std::uint64_t timeout_ns, ready_list& out) noexcept override {
    std::unique_lock lock(mutex_);
    while (!std::exchange(kicked_, false)) {
      if (alarm() <= now_) {
        lock.unlock();
        host_->expire_timers(now_, out);
        if (out.size() != 0) return;
        lock.lock();
      } else if (timeout_ns == 0) {
        return;
      } else {
        rests_ = true;
        changed_.notify_all();
        changed_.wait(lock, [&] { return kicked_ || alarm() <= now_; });
        rests_ = false;
      }
    }
  }

  // ------------------------------------------------------------------------------------------------ for the test

  // The alarm, when the worker waits and nothing is due.
  std::uint64_t alarm_at_rest() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return rests_ && !kicked_ && alarm() > now_; });
    return alarm();
  }
  void move_to(std::uint64_t ns) {
    std::lock_guard const guard(mutex_);
    now_ = ns;
    changed_.notify_all();
  }
  // What the driver was told, one after the other, since the last time.
  std::vector<std::uint64_t> told() {
    std::lock_guard const guard(mutex_);
    std::vector<std::uint64_t> const all(told_.begin() + static_cast<std::ptrdiff_t>(reported_), told_.end());
    reported_ = told_.size();
    return all;
  }

private:
  std::uint64_t alarm() const { return told_.empty() ? forever_ns : told_.back(); }

  driver_host* host_ = nullptr;
  std::atomic<std::uint64_t> now_{1};
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::uint64_t> told_;   // the last one is the alarm
  std::size_t reported_ = 0;
  bool kicked_ = false, rests_ = false;
};

class Alarm : public testing::Test {
protected:
  void SetUp() override { s.start(driver); }
  void TearDown() override {   // fires what a test that failed has left
    driver.move_to(forever_ns / 2);
    driver.alarm_at_rest();
    s.stop();
  }

  job& make(std::function<void()> f = [] {}) { return *jobs.emplace_back(std::make_unique<job>(std::move(f))); }
  // On the worker, which then comes to rest.
  void arm(std::function<void()> f) {
    std::binary_semaphore done{0};
    item const x = make([&] {
                     f();
                     done.release();
                   }).as_item();
    s.inject_items(&x, 1, false);
    done.acquire();
  }
  // `count` jobs, a nanosecond apart.
  void arm_crowd(std::size_t count, std::uint64_t first_ns) {
    arm([&] {
      for (std::size_t i = 0; i != count; ++i) make([&] { ++ran; }).arm_at(first_ns + i);
    });
  }

  static constexpr std::size_t crowd = tuning::timer_crowd;
  played_driver driver;
  std::vector<std::unique_ptr<job>> jobs;
  std::atomic<std::size_t> ran{0};
  scheduler s{{.workers = 1, .name = "test"}};
};

using times = std::vector<std::uint64_t>;

TEST_F(Alarm, is_the_earliest_deadline_while_the_worker_rests) {
  arm([&] {
    make().arm_at(5'000);
    make().arm_at(9'000);
    make().arm_at(3'000);
  });
  EXPECT_EQ(driver.alarm_at_rest(), 3'000u);
  driver.move_to(3'000);
  EXPECT_EQ(driver.alarm_at_rest(), 5'000u);
  driver.move_to(20'000);
  EXPECT_EQ(driver.alarm_at_rest(), forever_ns);
}

// INV-ALARM-2: what a crowd leaves is told late, and punctual before the worker waits.
TEST_F(Alarm, lags_while_a_crowd_runs_and_is_punctual_again_when_the_worker_rests) {
  std::uint64_t const next = 1'000 + lag / 2;
  times during;
  arm_crowd(crowd, 1'000);
  arm([&] {
    make([&] { during = driver.told(); }).arm_at(1'000 + crowd);
    make().arm_at(next);
  });
  EXPECT_EQ(driver.alarm_at_rest(), 1'000u);
  driver.told();
  std::uint64_t const now = 1'000 + crowd;
  driver.move_to(now);
  EXPECT_EQ(driver.alarm_at_rest(), next);
  EXPECT_EQ(ran, crowd);
  EXPECT_EQ(during, times{now + lag});
  EXPECT_EQ(driver.told(), times{next});
  driver.move_to(next);
  EXPECT_EQ(driver.alarm_at_rest(), forever_ns);
}

TEST_F(Alarm, does_not_lag_behind_a_few_timers_nor_where_the_next_one_is_far_away) {
  for (auto const& [count, distance] : {std::pair(crowd - 2, lag / 2), std::pair(2 * crowd, 2 * lag)}) {
    std::uint64_t const begin = driver.now_ns() + 1'000, now = begin + count, next = now + distance;
    times during;
    arm_crowd(count, begin);
    arm([&] {
      make([&] { during = driver.told(); }).arm_at(now);
      make().arm_at(next);
    });
    EXPECT_EQ(driver.alarm_at_rest(), begin);
    driver.told();
    driver.move_to(now);
    EXPECT_EQ(driver.alarm_at_rest(), next);
    EXPECT_EQ(during, times{next}) << count;
    driver.move_to(next);
    EXPECT_EQ(driver.alarm_at_rest(), forever_ns);
  }
}

// What a member of the crowd arms is another matter: it may be earlier than what was told.
TEST_F(Alarm, is_set_for_what_is_armed_while_it_lags) {
  times during;
  arm_crowd(crowd, 1'000);
  arm([&] {
    make([&] {
      driver.told();
      make().arm_at(5'000);
      during = driver.told();
    }).arm_at(1'000 + crowd);
    make().arm_at(1'000 + lag / 2);
  });
  EXPECT_EQ(driver.alarm_at_rest(), 1'000u);
  driver.move_to(1'000 + crowd);
  EXPECT_EQ(driver.alarm_at_rest(), 5'000u);
  EXPECT_EQ(during, times{5'000});
  driver.move_to(1'000 + lag);
  EXPECT_EQ(driver.alarm_at_rest(), forever_ns);
}

// Each expiry leaves a timer that is due; each alarm costs a system call, and an interrupt.
TEST_F(Alarm, is_set_seldom_in_a_large_crowd) {
  constexpr std::size_t many = 40 * ready_list::capacity;
  arm_crowd(many, 1'000);
  EXPECT_EQ(driver.alarm_at_rest(), 1'000u);
  driver.told();
  driver.move_to(1'000 + many);
  EXPECT_EQ(driver.alarm_at_rest(), forever_ns);
  EXPECT_EQ(ran, many);
  EXPECT_LE(driver.told().size(), 3u);
}

// Whoever is no worker runs nothing: the rest is due at once.
TEST_F(Alarm, does_not_lag_for_a_thread_that_fires_timers_for_others) {
  std::binary_semaphore blocked{0}, go_on{0};
  arm_crowd(2 * crowd, 1'000);
  arm([&] { make().arm_at(1'000 + lag / 2); });
  EXPECT_EQ(driver.alarm_at_rest(), 1'000u);
  item const x = make([&] {
                   blocked.release();
                   go_on.acquire();
                 }).as_item();
  s.inject_items(&x, 1, false);
  blocked.acquire();
  driver.told();
  driver.move_to(1'000 + 2 * crowd);
  ready_list out;
  EXPECT_EQ(s.expire_timers(driver.now_ns(), out), 1'000 + lag / 2);
  EXPECT_EQ(out.size(), 2 * crowd);
  EXPECT_EQ(driver.told(), times{1'000 + lag / 2});
  s.submit(out.begin(), out.size(), false);
  go_on.release();
  EXPECT_EQ(driver.alarm_at_rest(), 1'000 + lag / 2);
  EXPECT_EQ(ran, 2 * crowd);
  driver.move_to(1'000 + lag);
  EXPECT_EQ(driver.alarm_at_rest(), forever_ns);
}

} // namespace
