// SPDX-License-Identifier: Apache-2.0
// promise and future: every kind of value, every kind of end, from every kind of thread. tests/model/future_model.cpp has the protocol.
#include "skua/future.hpp"
#include "skua/runtime.hpp"
#include "skua/spawn.hpp"
#include "skua/this_task.hpp"
#include "skua/time.hpp"
#include "skua/timeout.hpp"
#include <atomic>
#include <cstdint>
#include <gtest/gtest.h>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using skua::future;
using skua::promise;
using skua::task;

template <class T>
task<T> await(future<T> f) {
  co_return co_await f;
}
task<int> await_where_it_is(future<int>* at) {
  future<int>& f = *at;
  co_return co_await f;
}
skua::options two_workers() { return {.workers = 2}; }

// Counts its instances, so that a value that is lost or destroyed twice shows.
struct counted {
  static inline std::atomic<int> alive{0};
  int value;
  explicit counted(int v) : value(v) { ++alive; }
  counted(counted&& o) noexcept : value(o.value) { ++alive; }
  counted& operator=(counted&&) = delete;
  ~counted() { --alive; }
};

TEST(Future, gives_a_value_that_was_set_before) {
  skua::runtime rt(two_workers());
  promise<int> p;
  auto f = p.get_future();
  EXPECT_FALSE(f.ready());
  p.set_value(42);
  EXPECT_TRUE(f.ready());
  EXPECT_EQ(rt.block_on(await(std::move(f))), 42);
}

TEST(Future, gives_a_value_that_a_foreign_thread_sets_later) {
  skua::runtime rt(two_workers());
  promise<std::string> p;
  auto h = rt.spawn(await<std::string>, p.get_future());
  std::thread t([&] { p.set_value("from outside"); });
  EXPECT_EQ(rt.block_on([](auto handle) -> task<std::string> { co_return co_await handle; }, std::move(h)), "from outside");
  t.join();
}

task<int> set_by_another_task() {
  promise<int> p;
  auto f = p.get_future();
  auto setter = skua::spawn([](promise<int> q) -> task<> {
    co_await skua::this_task::yield();
    q.set_value(7);
  }, std::move(p));
  int const n = co_await f;
  co_await setter;
  co_return n;
}
TEST(Future, gives_a_value_that_another_task_sets) {
  skua::runtime rt(two_workers());
  EXPECT_EQ(rt.block_on(set_by_another_task()), 7);
}

TEST(Future, carries_void_references_and_values_that_only_move) {
  skua::runtime rt(two_workers());
  promise<> nothing;
  auto f = nothing.get_future();
  nothing.set_value();
  rt.block_on(await(std::move(f)));

  int target = 1;
  promise<int&> reference;
  auto g = reference.get_future();
  reference.set_value(target);
  EXPECT_EQ(&rt.block_on(await(std::move(g))), &target);

  promise<std::unique_ptr<int>> unique;
  auto h = unique.get_future();
  unique.set_value(std::make_unique<int>(3));
  EXPECT_EQ(*rt.block_on(await(std::move(h))), 3);
}

TEST(Future, throws_the_exception_that_was_set) {
  skua::runtime rt(two_workers());
  promise<int> p;
  auto f = p.get_future();
  p.set_exception(std::make_exception_ptr(std::out_of_range("no")));
  EXPECT_THROW(rt.block_on(await(std::move(f))), std::out_of_range);
}

TEST(Future, throws_broken_promise_if_the_promise_dies_without_an_outcome) {
  skua::runtime rt(two_workers());
  std::optional<promise<int>> p(std::in_place);
  auto h = rt.spawn(await<int>, p->get_future());
  p.reset();
  EXPECT_THROW(rt.block_on([](auto handle) -> task<int> { co_return co_await handle; }, std::move(h)), skua::broken_promise);
}

TEST(Future, destroys_a_value_that_nobody_awaits_once) {
  {
    promise<counted> p;
    auto f = p.get_future();
    p.set_value(counted(1));
    EXPECT_EQ(counted::alive, 1);
  }
  EXPECT_EQ(counted::alive, 0);
  {
    promise<counted> p;
    { auto const f = p.get_future(); }
    EXPECT_TRUE(p.abandoned());
    p.set_value(counted(2));
  }
  EXPECT_EQ(counted::alive, 0);
  { promise<counted> const never_asked_for; }
}

TEST(Future, destroys_an_awaited_value_once) {
  skua::runtime rt(two_workers());
  promise<counted> p;
  auto f = p.get_future();
  p.set_value(counted(5));
  EXPECT_EQ(rt.block_on(await(std::move(f))).value, 5);
  EXPECT_EQ(counted::alive, 0);
}

TEST(Promise, is_set_once) {
  promise<int> p;
  auto const f = p.get_future();
  EXPECT_TRUE(p.try_set_value(1));
  EXPECT_FALSE(p.try_set_value(2));
  EXPECT_FALSE(p.try_set_exception(std::make_exception_ptr(1)));
  EXPECT_THROW(p.set_value(3), skua::usage_error);
  EXPECT_THROW(p.set_exception(std::make_exception_ptr(1)), skua::usage_error);
}

TEST(Promise, can_be_set_again_when_constructing_the_value_threw) {
  struct picky {
    explicit picky(int n) {
      if (n < 0) throw std::invalid_argument("negative");
    }
  };
  promise<picky> p;
  auto const f = p.get_future();
  EXPECT_THROW(p.set_value(-1), std::invalid_argument);
  EXPECT_FALSE(f.ready());
  EXPECT_TRUE(p.try_set_value(1));
}

TEST(Promise, misuse_is_a_clear_error) {
  promise<int> p;
  auto const f = p.get_future();
  EXPECT_THROW((void)p.get_future(), skua::usage_error);
  EXPECT_THROW(p.set_exception(nullptr), skua::usage_error);
  promise<int> moved(std::move(p));
  EXPECT_THROW(p.set_value(1), skua::usage_error);
  EXPECT_FALSE(moved.abandoned());
  moved.set_value(1);
}

task<> await_twice() {
  promise<int> p;
  auto f = p.get_future();
  p.set_value(1);
  EXPECT_EQ(co_await f, 1);
  EXPECT_FALSE(f);
  bool refused = false;
  try {
    (void)co_await f;
  } catch (skua::usage_error const&) {
    refused = true;
  }
  EXPECT_TRUE(refused);
}
TEST(Future, is_awaited_once) {
  skua::runtime rt(two_workers());
  rt.block_on(await_twice());
}

task<> await_in_two_tasks() {
  promise<int> p;
  auto f = p.get_future();
  auto first = skua::spawn(await_where_it_is, &f);
  co_await skua::sleep_for(1ms);
  bool refused = false;
  try {
    (void)co_await f;
  } catch (skua::usage_error const&) {
    refused = true;
  }
  EXPECT_TRUE(refused);
  p.set_value(1);
  EXPECT_EQ(co_await first, 1);
}
TEST(Future, is_awaited_by_one_task_at_a_time) {
  skua::runtime rt({.workers = 1, .backend = "virtual"});
  rt.block_on(await_in_two_tasks());
}

// S4, S10: a stopped await leaves the future as it was.
task<> await_again_after_a_timeout() {
  promise<int> p;
  auto f = p.get_future();
  bool late = false;
  try {
    (void)co_await skua::timeout(1ms, await_where_it_is(&f));
  } catch (skua::timeout_error const&) {
    late = true;
  }
  EXPECT_TRUE(late);
  EXPECT_TRUE(static_cast<bool>(f));
  p.set_value(11);
  EXPECT_EQ(co_await f, 11);
}
TEST(Future, can_be_awaited_again_after_a_timeout) {
  skua::runtime rt(two_workers());
  rt.block_on(await_again_after_a_timeout());
}

// S1: a stop that happened before is seen on entry, although the value is there.
task<int> ready_when_stopped(std::atomic<bool>* go, future<int> f) {
  while (!go->load()) std::this_thread::yield();
  co_return co_await f;
}
TEST(Future, that_is_ready_still_sees_a_stop_first) {
  skua::runtime rt(two_workers());
  promise<int> p;
  auto f = p.get_future();
  p.set_value(1);
  std::atomic<bool> go{false};
  auto h = rt.spawn(ready_when_stopped, &go, std::move(f));
  h.request_stop();
  go = true;
  EXPECT_THROW(rt.block_on([](auto handle) -> task<int> { co_return co_await handle; }, std::move(h)), skua::task_stopped);
}

// Trap 25: as soon as it has the value, the waiter destroys everything, while the setter may still be inside set_value().
struct meeting {
  promise<int> p;
  future<int> f = p.get_future();
};
task<int> take_and_destroy(meeting* m) {
  int const n = co_await m->f;
  delete m;
  co_return n;
}
TEST(Future, keeps_values_of_any_alignment) {
  struct alignas(128) wide {
    explicit wide(bool* aligned) noexcept { *aligned = reinterpret_cast<std::uintptr_t>(this) % 128 == 0; }
  };
  for (int i = 0; i < 20; ++i) {   // an awaiting frame would not be aligned
    bool aligned = false;
    skua::promise<wide> p;
    auto const f = p.get_future();
    p.set_value(&aligned);
    EXPECT_TRUE(f.ready());
    EXPECT_TRUE(aligned);
  }
}

TEST(Future, that_is_always_ready_lets_other_tasks_run__D11) {
  skua::runtime rt({.workers = 1});
  rt.block_on([]() -> task<> {
    bool ran = false;
    auto h = skua::spawn([&ran]() -> task<> {
      ran = true;
      co_return;
    });
    int rounds = 0;
    for (; !ran && rounds < 10'000; ++rounds) {
      skua::promise<int> p;
      auto f = p.get_future();
      p.set_value(rounds);
      EXPECT_EQ(co_await f, rounds);
    }
    EXPECT_LT(rounds, 10'000);
    co_await h;
  });
}

TEST(Future, the_waiter_may_destroy_promise_and_future_at_once) {
  skua::runtime rt(two_workers());
  constexpr int rounds = SKUA_TSAN || SKUA_ASAN ? 2'000 : 20'000;
  for (int i = 0; i < rounds; ++i) {
    auto* const m = new meeting;
    auto h = rt.spawn(take_and_destroy, m);
    for (int spin = 0; spin < i % 50; ++spin) skua::detail::cpu_pause();
    m->p.set_value(i);
    ASSERT_EQ(rt.block_on([](auto handle) -> task<int> { co_return co_await handle; }, std::move(h)), i);
  }
}

// A stop races with the value: either the value is delivered, or the task is stopped and the value destroyed; nothing leaks.
TEST(Future, a_stop_and_a_value_race_without_loss) {
  {
    skua::runtime rt(two_workers());
    constexpr int rounds = SKUA_TSAN || SKUA_ASAN ? 2'000 : 20'000;
    int delivered = 0, stopped = 0;
    for (int i = 0; i < rounds; ++i) {
      promise<counted> p;
      auto h = rt.spawn(await<counted>, p.get_future());
      std::thread* setter = nullptr;
      std::thread t;
      if (i % 100 == 0) {
        t = std::thread([&] { p.set_value(counted(i)); });
        setter = &t;
      }
      for (int spin = 0; spin < i % 97; ++spin) skua::detail::cpu_pause();
      h.request_stop();
      if (setter == nullptr) p.set_value(counted(i));
      try {
        int const got = rt.block_on([](auto handle) -> task<int> {
          counted const c = co_await handle;
          co_return c.value;
        }, std::move(h));
        ASSERT_EQ(got, i);
        ++delivered;
      } catch (skua::task_stopped const&) {
        ++stopped;
      }
      if (setter != nullptr) t.join();
    }
    EXPECT_EQ(delivered + stopped, rounds);
  }
  EXPECT_EQ(counted::alive, 0);
}

TEST(Future, the_runtime_may_end_while_the_setter_is_on_its_way_out) {
  for (int i = 0; i < 300; ++i) {
    promise<int> p;
    auto f = p.get_future();
    std::thread t([&] { p.set_value(i); });
    {
      skua::runtime rt({.workers = 1});
      ASSERT_EQ(rt.block_on(await(std::move(f))), i);
    }
    t.join();
  }
}

TEST(Promise, one_of_many_setters_wins) {
  skua::runtime rt(two_workers());
  for (int i = 0; i < 200; ++i) {
    promise<int> p;
    auto h = rt.spawn(await<int>, p.get_future());
    std::atomic<int> winners{0};
    std::vector<std::thread> threads;
    for (int n = 1; n <= 3; ++n)
      threads.emplace_back([&, n] {
        if (p.try_set_value(n)) winners += n;
      });
    int const got = rt.block_on([](auto handle) -> task<int> { co_return co_await handle; }, std::move(h));
    for (auto& t : threads) t.join();
    ASSERT_EQ(winners, got);
  }
}

} // namespace
