// SPDX-License-Identifier: Apache-2.0
// condition_variable: waiting under a mutex, notifications, stop. tests/model/condition_model.cpp has the protocol.
#include "skua/condition_variable.hpp"
#include "skua/runtime.hpp"
#include "skua/time.hpp"
#include "tests/support/leak_check.hpp"
#include "tests/support/values.hpp"
#include <atomic>
#include <deque>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::condition_variable;
using skua::mutex;
using skua::scoped_lock;
using skua::task;

struct monitor {
  mutex m;
  condition_variable changed{m};
  int value = 0;
  std::string said;
};

class ConditionVariable : public leak_check {
protected:
  skua::runtime one{skua::options{.workers = 1, .backend = "virtual"}};
  monitor shared;
};

task<> wait_once(monitor& s, char name) {
  auto lock = co_await s.m.lock();
  co_await s.changed.wait(lock);
  EXPECT_TRUE(lock);
  EXPECT_FALSE(s.m.try_lock());
  s.said += name;
}
task<> wait_for_value(monitor& s, int v, char name) {
  auto lock = co_await s.m.lock();
  co_await s.changed.wait(lock, [&] { return s.value >= v; });
  s.said += name;
}
// Spawns and lets it run until it waits (one worker).
template <class F, class... A>
task<skua::join_handle<>> started(F f, A... a) {
  auto h = skua::spawn(f, a...);
  co_await yield_times(3);
  co_return std::move(h);
}

TEST_F(ConditionVariable, gives_the_mutex_up_while_it_waits) {
  one.block_on([](monitor& s) -> task<> {
    auto h = co_await started(wait_once, std::ref(s), 'a');
    EXPECT_TRUE(s.m.try_lock());
    s.changed.notify_one();
    co_await h;
    EXPECT_EQ(s.said, "a");
  }, std::ref(shared));
}

TEST_F(ConditionVariable, notify_one_lets_the_one_go_on_that_has_waited_longest) {
  one.block_on([](monitor& s) -> task<> {
    auto a = co_await started(wait_once, std::ref(s), 'a');
    auto b = co_await started(wait_once, std::ref(s), 'b');
    auto c = co_await started(wait_once, std::ref(s), 'c');
    s.changed.notify_one();
    co_await a;
    EXPECT_FALSE(b.done());
    s.changed.notify_one();
    s.changed.notify_one();
    co_await b;
    co_await c;
    EXPECT_EQ(s.said, "abc");
  }, std::ref(shared));
}

TEST_F(ConditionVariable, notify_all_lets_all_go_on_one_after_the_other) {
  one.block_on([](monitor& s) -> task<> {
    std::vector<skua::join_handle<>> all;
    for (char name = 'a'; name != 'g'; ++name) all.push_back(co_await started(wait_once, std::ref(s), name));
    {
      auto const lock = co_await s.m.lock();
      s.changed.notify_all();
      co_await yield_times(3);
      EXPECT_EQ(s.said, "");   // the mutex is held
    }
    for (auto& h : all) co_await h;
    EXPECT_EQ(s.said, "abcdef");
  }, std::ref(shared));
}

TEST_F(ConditionVariable, a_notification_for_nobody_is_not_kept) {
  one.block_on([](monitor& s) -> task<> {
    s.changed.notify_one();
    s.changed.notify_all();
    auto a = co_await started(wait_once, std::ref(s), 'a');
    co_await yield_times(5);
    EXPECT_FALSE(a.done());
    s.changed.notify_one();
    co_await a;
  }, std::ref(shared));
}

TEST_F(ConditionVariable, waits_for_what_is_asked_for) {
  one.block_on([](monitor& s) -> task<> {
    s.value = 1;
    co_await wait_for_value(s, 1, '-');   // true already: does not wait
    auto a = co_await started(wait_for_value, std::ref(s), 3, 'a');
    for (int i = 2; i <= 3; ++i) {
      EXPECT_FALSE(a.done());
      {
        auto const lock = co_await s.m.lock();
        s.value = i;
      }
      s.changed.notify_one();
      co_await yield_times(3);
    }
    co_await a;
    EXPECT_EQ(s.said, "-a");
  }, std::ref(shared));
}

TEST_F(ConditionVariable, wait_for_says_whether_it_came_in_time) {
  one.block_on([](monitor& s) -> task<> {
    auto waits = [](monitor& s, std::chrono::milliseconds limit) -> task<bool> {
      auto lock = co_await s.m.lock();
      bool const in_time = co_await s.changed.wait_for(lock, limit, [&] { return s.value == 1; });
      EXPECT_TRUE(lock);
      EXPECT_FALSE(s.m.try_lock());
      co_return in_time;
    };
    EXPECT_FALSE(co_await waits(s, 5ms));
    auto h = skua::spawn(waits, std::ref(s), 50ms);
    co_await skua::sleep_for(10ms);
    {
      auto const lock = co_await s.m.lock();
      s.value = 1;
      s.changed.notify_all();
    }
    EXPECT_TRUE(co_await h);
    EXPECT_TRUE(co_await waits(s, 5ms));
  }, std::ref(shared));
}

TEST_F(ConditionVariable, wants_a_lock_on_its_own_mutex) {
  one.block_on([](monitor& s) -> task<> {
    scoped_lock none;
    EXPECT_THROW(co_await s.changed.wait(none), skua::usage_error);
    mutex other;
    auto wrong = co_await other.lock();
    EXPECT_THROW(co_await s.changed.wait(wrong), skua::usage_error);
    EXPECT_TRUE(wrong);
  }, std::ref(shared));
}

// Stop.
TEST_F(ConditionVariable, a_stopped_wait_does_not_lock_the_mutex_again) {
  one.block_on([](monitor& s) -> task<> {
    auto h = co_await started(wait_once, std::ref(s), 'a');
    auto const lock = co_await s.m.lock();
    h.request_stop();
    EXPECT_THROW(co_await h, skua::task_stopped);   // although the mutex is held here
    EXPECT_EQ(s.said, "");
  }, std::ref(shared));
  EXPECT_TRUE(shared.m.try_lock());
}

TEST_F(ConditionVariable, destructors_of_a_stopped_wait_see_an_empty_lock) {
  one.block_on([](monitor& s) -> task<> {
    struct sees {
      scoped_lock& lock;
      int& owned;
      ~sees() { owned = lock.owns_lock() ? 1 : 0; }
    };
    int owned = -1;
    auto h = skua::spawn([](monitor& s, int& owned) -> task<> {
      auto lock = co_await s.m.lock();
      sees const at_the_end{lock, owned};
      co_await s.changed.wait(lock);
    }, std::ref(s), std::ref(owned));
    co_await yield_times(3);
    h.request_stop();
    EXPECT_THROW(co_await h, skua::task_stopped);
    EXPECT_EQ(owned, 0);
  }, std::ref(shared));
}

TEST_F(ConditionVariable, a_stop_seen_on_entry_gives_the_mutex_up__S1) {
  skua::runtime rt({.workers = 2});
  std::atomic<bool> locked{false};
  auto h = rt.spawn([](monitor& s, std::atomic<bool>& locked) -> task<> {
    auto lock = co_await s.m.lock();
    locked = true;
    while (!skua::this_task::stop_requested()) co_await value_of(0);
    co_await s.changed.wait(lock);
    s.said += '!';
  }, std::ref(shared), std::ref(locked));
  while (!locked) std::this_thread::yield();
  h.request_stop();
  EXPECT_THROW(rt.block_on([](auto g) -> task<> { co_await g; }, std::move(h)), skua::task_stopped);
  EXPECT_EQ(shared.said, "");
  EXPECT_TRUE(shared.m.try_lock());
}

TEST_F(ConditionVariable, a_notification_for_one_that_is_stopped_goes_to_the_next) {
  one.block_on([](monitor& s) -> task<> {
    auto a = co_await started(wait_once, std::ref(s), 'a');
    auto b = co_await started(wait_once, std::ref(s), 'b');
    {
      auto const lock = co_await s.m.lock();
      s.changed.notify_one();   // a waits for the mutex now
      a.request_stop();
      EXPECT_THROW(co_await a, skua::task_stopped);
    }
    co_await b;
    EXPECT_EQ(s.said, "b");
  }, std::ref(shared));
}

// Two are notified together and wait for the mutex; one more comes to wait behind them. The first is called and stopped before it runs, or the second
// while the first owns the mutex.
TEST_F(ConditionVariable, a_notification_for_all_is_not_passed_on_to_later_ones) {
  for (int stopped : {0, 1}) {
    one.block_on([](monitor& s, int stopped) -> task<> {
      s.said.clear();
      s.value = 0;
      skua::join_handle<> a[2];
      for (int i = 0; i < 2; ++i)
        a[i] = co_await started([](monitor& s, char name) -> task<> {
          auto lock = co_await s.m.lock();
          co_await s.changed.wait(lock);
          s.said += name;
          while (s.value == 0) co_await skua::this_task::yield();
        }, std::ref(s), "ab"[i]);
      auto late = skua::spawn([](monitor& s, skua::join_handle<>& first, bool stop) -> task<> {
        auto lock = co_await s.m.lock();
        s.changed.notify_all();
        if (stop) first.request_stop();
        co_await s.changed.wait(lock);
        s.said += 'c';
      }, std::ref(s), std::ref(a[0]), stopped == 0);
      co_await until([&] { return !s.said.empty(); });
      EXPECT_EQ(s.said, stopped == 0 ? "b" : "a");
      if (stopped == 1) a[1].request_stop();
      EXPECT_THROW(co_await a[stopped], skua::task_stopped);
      s.value = 1;
      co_await a[1 - stopped];
      co_await yield_times(20);
      EXPECT_FALSE(late.done());
      s.changed.notify_one();
      co_await late;
    }, std::ref(shared), stopped);
  }
}

// Many workers: a bounded buffer; every item is consumed once.
TEST_F(ConditionVariable, carries_a_bounded_buffer_on_many_workers) {
  constexpr int items = SKUA_TSAN || SKUA_ASAN ? 2'000 : 20'000, sides = 4;
  struct buffer {
    mutex m;
    condition_variable not_empty{m}, not_full{m};
    std::deque<int> items;
  };
  skua::runtime rt({.workers = 4});
  buffer b;
  std::atomic<long> sum{0};
  rt.block_on([](buffer& b, std::atomic<long>& sum) -> task<> {
    std::vector<skua::join_handle<>> all;
    for (int side = 0; side < sides; ++side) {
      all.push_back(skua::spawn([](buffer& b) -> task<> {
        for (int i = 1; i <= items; ++i) {
          auto lock = co_await b.m.lock();
          co_await b.not_full.wait(lock, [&] { return b.items.size() < 3; });
          b.items.push_back(i);
          b.not_empty.notify_one();
        }
      }, std::ref(b)));
      all.push_back(skua::spawn([](buffer& b, std::atomic<long>& sum) -> task<> {
        for (int i = 0; i < items; ++i) {
          auto lock = co_await b.m.lock();
          while (b.items.empty()) co_await b.not_empty.wait(lock);
          sum += b.items.front();
          b.items.pop_front();
          lock.unlock();
          b.not_full.notify_one();
        }
      }, std::ref(b), std::ref(sum)));
    }
    for (auto& h : all) co_await h;
  }, std::ref(b), std::ref(sum));
  EXPECT_EQ(sum, sides * (static_cast<long>(items) * (items + 1) / 2));
  EXPECT_TRUE(b.items.empty());
}

} // namespace
