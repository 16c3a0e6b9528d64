// SPDX-License-Identifier: Apache-2.0
// event and auto_reset_event: who is let through, and when; stop; destruction right after waking.
#include "skua/event.hpp"
#include "skua/runtime.hpp"
#include "skua/time.hpp"
#include "tests/support/leak_check.hpp"
#include "tests/support/values.hpp"
#include <algorithm>
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::auto_reset_event;
using skua::event;
using skua::task;

constexpr int rounds = SKUA_TSAN || SKUA_ASAN ? 2'000 : 20'000;

class Event : public leak_check {
protected:
  skua::runtime one{skua::options{.workers = 1, .backend = "virtual"}};
};
class AutoResetEvent : public Event {};

template <class E>
task<> wait_and_say(E& e, std::string& said, char name) {
  co_await e.wait();
  said += name;
}

TEST_F(Event, lets_all_through_that_wait_and_all_that_come_later) {
  event e;
  one.block_on([](event& e) -> task<> {
    std::string said;
    std::vector<skua::join_handle<>> all;
    for (char name = 'a'; name != 'f'; ++name) {
      all.push_back(skua::spawn(wait_and_say<event>, std::ref(e), std::ref(said), name));
      co_await skua::this_task::yield();
    }
    EXPECT_EQ(said, "");
    EXPECT_FALSE(e.is_set());
    e.set();
    EXPECT_TRUE(e.is_set());
    for (auto& h : all) co_await h;
    std::sort(said.begin(), said.end());
    EXPECT_EQ(said, "abcde");
    co_await wait_and_say(e, said, 'z');
    EXPECT_EQ(said, "abcdez");
  }, std::ref(e));
}

TEST_F(Event, lets_those_through_that_waited_even_if_it_is_reset_at_once) {
  event e;
  one.block_on([](event& e) -> task<> {
    std::string said;
    auto a = skua::spawn(wait_and_say<event>, std::ref(e), std::ref(said), 'a');
    co_await skua::this_task::yield();
    e.set();
    e.reset();
    auto b = skua::spawn(wait_and_say<event>, std::ref(e), std::ref(said), 'b');
    co_await a;
    co_await yield_times(3);
    EXPECT_FALSE(b.done());
    e.set();
    co_await b;
    EXPECT_EQ(said, "ab");
  }, std::ref(e));
}

TEST_F(Event, may_be_set_from_the_start_and_twice) {
  event e(true);
  e.set();
  one.block_on([](event& e) -> task<> { co_await e.wait(); }, std::ref(e));
}

TEST_F(Event, is_set_by_a_thread_from_outside) {
  skua::runtime rt({.workers = 2});
  event e;
  std::atomic<int> through{0};
  std::vector<skua::join_handle<>> all;
  for (int i = 0; i < 100; ++i)
    all.push_back(rt.spawn([](event& e, std::atomic<int>& n) -> task<> {
      co_await e.wait();
      ++n;
    }, std::ref(e), std::ref(through)));
  std::thread t([&] { e.set(); });
  rt.block_on([](std::vector<skua::join_handle<>>& all) -> task<> {
    for (auto& h : all) co_await h;
  }, std::ref(all));
  t.join();
  EXPECT_EQ(through, 100);
}

TEST_F(Event, wakes_waiters_of_several_runtimes) {
  skua::runtime a({.workers = 1}), b({.workers = 2});
  event e;
  std::vector<skua::join_handle<>> at_a, at_b;
  auto waits = [](event& e) -> task<> { co_await e.wait(); };
  for (int i = 0; i < 50; ++i) {
    at_a.push_back(a.spawn(waits, std::ref(e)));
    at_b.push_back(b.spawn(waits, std::ref(e)));
  }
  auto join = [](std::vector<skua::join_handle<>>& all) -> task<> {
    for (auto& h : all) co_await h;
  };
  a.block_on([](event& e) -> task<> {
    e.set();
    co_return;
  }, std::ref(e));
  a.block_on(join, std::ref(at_a));
  b.block_on(join, std::ref(at_b));
}

TEST_F(Event, that_is_set_lets_other_tasks_run__D11) {
  event e(true);
  one.block_on([](event& e) -> task<> {
    bool other_ran = false;
    auto h = skua::spawn([&]() -> task<> {
      other_ran = true;
      co_return;
    });
    int i = 0;
    for (; !other_ran && i < 10'000; ++i) co_await e.wait();
    EXPECT_LT(i, 10'000);
    co_await h;
  }, std::ref(e));
}

TEST_F(Event, a_stopped_wait_ends_and_leaves_the_others) {
  event e;
  one.block_on([](event& e) -> task<> {
    std::string said;
    std::vector<skua::join_handle<>> all;
    for (char name = 'a'; name != 'f'; ++name) {
      all.push_back(skua::spawn(wait_and_say<event>, std::ref(e), std::ref(said), name));
      co_await skua::this_task::yield();
    }
    for (int stopped : {0, 2, 4}) {   // the first, one in the middle, the last
      all[static_cast<std::size_t>(stopped)].request_stop();
      EXPECT_THROW(co_await all[static_cast<std::size_t>(stopped)], skua::task_stopped);
    }
    e.set();
    co_await all[1];
    co_await all[3];
    EXPECT_TRUE(said == "bd" || said == "db") << said;
  }, std::ref(e));
}

TEST_F(Event, checks_for_a_stop_on_entry_although_it_is_set__S1) {
  skua::runtime rt({.workers = 2});
  event e(true);
  std::atomic<int> begun{0}, past{0};
  auto h = rt.spawn([&]() -> task<> {
    ++begun;
    while (!skua::this_task::stop_requested()) co_await value_of(0);
    co_await e.wait();
    ++past;
  });
  while (begun == 0) std::this_thread::yield();
  h.request_stop();
  EXPECT_THROW(rt.block_on([](auto g) -> task<> { co_await g; }, std::move(h)), skua::task_stopped);
  EXPECT_EQ(past, 0);
}

TEST_F(Event, the_waiter_may_destroy_it_at_once) {
  skua::runtime rt({.workers = 2});
  for (int i = 0; i < rounds; ++i) {
    auto* const e = new event;
    auto h = rt.spawn([](event* e) -> task<> {
      co_await e->wait();
      delete e;
    }, e);
    for (int spin = 0; spin < i % 50; ++spin) skua::detail::cpu_pause();
    e->set();
    rt.block_on([](auto g) -> task<> { co_await g; }, std::move(h));
  }
}

TEST(EventDeathTest, is_not_destroyed_while_tasks_wait) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        skua::runtime rt({.workers = 1});
        auto e = std::make_unique<event>();
        std::atomic<bool> begun = false;
        auto h = rt.spawn([&]() -> task<> {
          begun = true;
          co_await e->wait();
        });
        rt.block_on([&]() -> task<> { co_await until([&] { return begun.load(); }); });   // the only worker: it waits
        e.reset();
      },
      "event was destroyed");
}

TEST_F(AutoResetEvent, lets_one_through_for_each_set) {
  auto_reset_event e;
  one.block_on([](auto_reset_event& e) -> task<> {
    std::string said;
    std::vector<skua::join_handle<>> all;
    for (char name = 'a'; name != 'd'; ++name) {
      all.push_back(skua::spawn(wait_and_say<auto_reset_event>, std::ref(e), std::ref(said), name));
      co_await skua::this_task::yield();
    }
    for (char const* so_far : {"a", "ab", "abc"}) {
      e.set();
      co_await yield_times(5);
      EXPECT_EQ(said, so_far);
    }
    for (auto& h : all) co_await h;
    EXPECT_FALSE(e.try_wait());
  }, std::ref(e));
}

TEST_F(AutoResetEvent, keeps_one_signal_and_no_more) {
  auto_reset_event e;
  e.set();
  e.set();
  one.block_on([](auto_reset_event& e) -> task<> {
    co_await e.wait();
    EXPECT_FALSE(e.try_wait());
    e.set();
    EXPECT_TRUE(e.try_wait());
    e.set();
    e.reset();
    EXPECT_FALSE(e.try_wait());
  }, std::ref(e));
}

TEST_F(AutoResetEvent, a_signal_that_came_before_the_stop_is_delivered__S4) {
  auto_reset_event e;
  one.block_on([](auto_reset_event& e) -> task<> {
    std::string said;
    auto h = skua::spawn([](auto_reset_event& e, std::string& said) -> task<> {
      co_await e.wait();
      said += 'a';
      co_await skua::this_task::yield();
      said += '!';
    }, std::ref(e), std::ref(said));
    co_await skua::this_task::yield();
    e.set();
    h.request_stop();
    EXPECT_THROW(co_await h, skua::task_stopped);
    EXPECT_EQ(said, "a");
    EXPECT_FALSE(e.try_wait());
  }, std::ref(e));
}

// Every signal is consumed by exactly one wait, or still there.
TEST_F(AutoResetEvent, loses_no_signal_to_a_stop) {
  skua::runtime rt({.workers = 2});
  int consumed = 0, left = 0;
  for (int i = 0; i < rounds / 2; ++i) {
    auto_reset_event e;
    auto h = rt.spawn([](auto_reset_event& e) -> task<> { co_await e.wait(); }, std::ref(e));
    for (int spin = 0; spin < i % 71; ++spin) skua::detail::cpu_pause();
    std::thread t;
    if (i % 50 == 0)
      t = std::thread([&] { e.set(); });
    h.request_stop();
    if (!t.joinable()) e.set();
    bool stopped = false;
    rt.block_on([](auto g, bool& stopped) -> task<> {
      try {
        co_await g;
      } catch (skua::task_stopped const&) {
        stopped = true;
      }
    }, std::move(h), std::ref(stopped));
    if (t.joinable()) t.join();
    bool const there = e.try_wait();
    ASSERT_EQ(there, stopped);
    (there ? left : consumed)++;
  }
  EXPECT_EQ(consumed + left, rounds / 2);
}

TEST_F(AutoResetEvent, plays_ping_pong_on_many_workers) {
  skua::runtime rt({.workers = 4});
  struct table {
    auto_reset_event ping, pong;
    int ball = 0;
  } t;
  rt.block_on([](table& t) -> task<> {
    auto other = skua::spawn([](table& t) -> task<> {
      for (int i = 0; i < rounds; ++i) {
        co_await t.ping.wait();
        ++t.ball;
        t.pong.set();
      }
    }, std::ref(t));
    for (int i = 0; i < rounds; ++i) {
      t.ping.set();
      co_await t.pong.wait();
      ++t.ball;
    }
    co_await other;
  }, std::ref(t));
  EXPECT_EQ(t.ball, 2 * rounds);
}

} // namespace
