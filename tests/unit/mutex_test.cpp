// SPDX-License-Identifier: Apache-2.0
// mutex and scoped_lock: exclusion, fairness, stop, destruction. tests/model/mutex_model.cpp has the protocol.
#include "skua/mutex.hpp"
#include "skua/outside_work.hpp"
#include "skua/runtime.hpp"
#include "skua/time.hpp"
#include "tests/support/leak_check.hpp"
#include "tests/support/values.hpp"
#include <atomic>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::mutex;
using skua::scoped_lock;
using skua::task;

constexpr int rounds = SKUA_TSAN || SKUA_ASAN ? 2'000 : 20'000;

class Mutex : public leak_check {
protected:
  // Deterministic: one worker, which runs what was queued in order.
  skua::runtime one{skua::options{.workers = 1, .backend = "virtual"}};
};

task<> append_under(mutex& m, std::string& to, char name, int yields = 0) {
  auto const lock = co_await m.lock();
  to += name;
  co_await yield_times(yields);
  to += name;
}

TEST_F(Mutex, is_free_at_first_and_after_each_unlock) {
  mutex m;
  one.block_on([](mutex& m) -> task<> {
    for (int i = 0; i < 3; ++i) {
      auto lock = co_await m.lock();
      EXPECT_TRUE(lock.owns_lock());
      EXPECT_FALSE(m.try_lock());
      lock.unlock();
      EXPECT_FALSE(lock);
      EXPECT_TRUE(m.try_lock());   // and gives it up at once
    }
  }, std::ref(m));
}

TEST_F(Mutex, excludes_others_over_suspensions) {
  mutex m;
  std::string said;
  one.block_on([](mutex& m, std::string& said) -> task<> {
    std::vector<skua::join_handle<>> all;
    for (char name = 'a'; name != 'f'; ++name) {
      all.push_back(skua::spawn(append_under, std::ref(m), std::ref(said), name, 9));
      co_await skua::this_task::yield();
    }
    for (auto& h : all) co_await h;
  }, std::ref(m), std::ref(said));
  EXPECT_EQ(said, "aabbccddee");   // and those who wait come in the order of their arrival
}

TEST_F(Mutex, lock_moves_with_its_owner) {
  mutex m, n;
  one.block_on([](mutex& m, mutex& n) -> task<> {
    scoped_lock a = co_await m.lock();
    scoped_lock b = std::move(a);
    EXPECT_FALSE(a);   // NOLINT(bugprone-use-after-move)
    EXPECT_TRUE(b);
    auto h = skua::spawn([](scoped_lock l) -> task<> {
      co_await skua::this_task::yield();
      EXPECT_TRUE(l);
    }, std::move(b));
    scoped_lock c = co_await n.lock();
    EXPECT_FALSE(m.try_lock());
    c = co_await m.lock();   // gives n up
    EXPECT_TRUE(n.try_lock());
    EXPECT_FALSE(m.try_lock());
    co_await h;
  }, std::ref(m), std::ref(n));
}

TEST_F(Mutex, lock_may_be_given_up_by_another_thread) {
  mutex m;
  one.block_on([](mutex& m) -> task<> {
    scoped_lock l = co_await m.lock();
    std::thread t([&, w = skua::outside_work()] { l.unlock(); });
    auto const again = co_await m.lock();
    EXPECT_TRUE(again);
    t.join();
  }, std::ref(m));
}

TEST_F(Mutex, released_lock_is_unlocked_by_hand) {
  mutex m;
  one.block_on([](mutex& m) -> task<> {
    scoped_lock l = co_await m.lock();
    mutex* const owned = l.release();
    EXPECT_EQ(owned, &m);
    EXPECT_FALSE(m.try_lock());
    owned->unlock_released();
    EXPECT_TRUE(m.try_lock());
  }, std::ref(m));
}

TEST_F(Mutex, misuse_is_a_clear_error) {
  mutex m;
  EXPECT_THROW(m.unlock_released(), skua::usage_error);
  scoped_lock none;
  EXPECT_THROW(none.unlock(), skua::usage_error);
}

TEST(MutexDeathTest, is_not_destroyed_while_it_is_locked) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        alignas(mutex) unsigned char place[sizeof(mutex)];
        auto* const m = new (place) mutex;
        (void)m->try_lock().release();
        m->~mutex();
      },
      "mutex was destroyed");
}

TEST_F(Mutex, an_exception_gives_it_up) {
  mutex m;
  auto body = [](mutex& m) -> task<> {
    auto const lock = co_await m.lock();
    throw std::runtime_error("in the section");
  };
  EXPECT_THROW(one.block_on(body, std::ref(m)), std::runtime_error);
  EXPECT_TRUE(m.try_lock());
}

// Fairness: barging, and its bound.
TEST_F(Mutex, is_taken_again_at_once_by_a_task_that_does_not_suspend) {
  mutex m;
  one.block_on([](mutex& m) -> task<> {
    std::atomic<int> others{0};
    auto other = [](mutex& m, std::atomic<int>& n) -> task<> {
      auto const lock = co_await m.lock();
      ++n;
    };
    auto lock = co_await m.lock();
    auto h = skua::spawn(other, std::ref(m), std::ref(others));
    co_await skua::this_task::yield();   // it waits now
    for (int i = 0; i < 10; ++i) {
      lock.unlock();
      lock = co_await m.lock();
      EXPECT_EQ(others, 0);
    }
    lock.unlock();
    co_await h;
    EXPECT_EQ(others, 1);
  }, std::ref(m));
}

TEST_F(Mutex, a_waiter_is_overtaken_once_and_then_handed_the_mutex) {
  mutex m;
  one.block_on([](mutex& m) -> task<> {
    int turns = 0;
    bool done = false;
    auto waiter = [](mutex& m, bool& done) -> task<> {
      auto const lock = co_await m.lock();
      done = true;
    };
    auto lock = co_await m.lock();
    auto h = skua::spawn(waiter, std::ref(m), std::ref(done));
    co_await skua::this_task::yield();
    while (!done) {
      lock.unlock();                       // calls the waiter, or hands the mutex over
      lock = co_await m.lock();            // overtakes it, once
      co_await skua::this_task::yield();   // held while the waiter has its turn
      ++turns;
    }
    EXPECT_EQ(turns, 2);
    lock.unlock();
    co_await h;
  }, std::ref(m));
}

TEST_F(Mutex, that_is_always_free_still_lets_other_tasks_run) {   // D11
  mutex m;
  one.block_on([](mutex& m) -> task<> {
    bool other_ran = false;
    auto h = skua::spawn([&]() -> task<> {
      other_ran = true;
      co_return;
    });
    for (int i = 0; !other_ran; ++i) {
      auto const lock = co_await m.lock();
      EXPECT_LT(i, 10'000);
      if (i == 10'000) break;
    }
    co_await h;
  }, std::ref(m));
}

// Stop.
TEST_F(Mutex, checks_for_a_stop_on_entry__S1) {
  mutex m;
  std::atomic<int> begun{0}, past{0};
  skua::runtime rt({.workers = 2});
  auto h = rt.spawn([&]() -> task<> {
    ++begun;
    while (!skua::this_task::stop_requested()) co_await value_of(0);
    auto const lock = co_await m.lock();
    ++past;
  });
  while (begun == 0) std::this_thread::yield();
  h.request_stop();
  EXPECT_THROW(rt.block_on([](auto g) -> task<> { co_await g; }, std::move(h)), skua::task_stopped);
  EXPECT_EQ(past, 0);
  EXPECT_TRUE(m.try_lock());
}

TEST_F(Mutex, a_stopped_lock_leaves_the_queue_and_holds_nobody_up) {
  mutex m;
  one.block_on([](mutex& m) -> task<> {
    std::string said;
    auto lock = co_await m.lock();
    auto a = skua::spawn(append_under, std::ref(m), std::ref(said), 'a', 0);
    co_await skua::this_task::yield();
    auto b = skua::spawn(append_under, std::ref(m), std::ref(said), 'b', 0);
    co_await skua::this_task::yield();
    a.request_stop();
    EXPECT_THROW(co_await a, skua::task_stopped);   // while the mutex is held: it waits for nobody
    EXPECT_FALSE(b.done());
    lock.unlock();
    co_await b;
    EXPECT_EQ(said, "bb");
  }, std::ref(m));
  EXPECT_TRUE(m.try_lock());
}

TEST_F(Mutex, a_waiter_that_was_called_and_is_stopped_passes_it_on) {
  mutex m;
  one.block_on([](mutex& m) -> task<> {
    std::string said;
    auto lock = co_await m.lock();
    auto a = skua::spawn(append_under, std::ref(m), std::ref(said), 'a', 0);
    co_await skua::this_task::yield();
    auto b = skua::spawn(append_under, std::ref(m), std::ref(said), 'b', 0);
    co_await skua::this_task::yield();
    lock.unlock();      // a is called
    a.request_stop();   // before it runs
    co_await b;
    EXPECT_EQ(said, "bb");
    EXPECT_THROW(co_await a, skua::task_stopped);
  }, std::ref(m));
  EXPECT_TRUE(m.try_lock());
}

TEST_F(Mutex, one_that_was_handed_over_is_delivered_and_the_next_point_sees_the_stop__S4) {
  mutex m;
  one.block_on([](mutex& m) -> task<> {
    bool owned = false, past = false;
    auto waiter = [](mutex& m, bool& owned, bool& past) -> task<> {
      auto const lock = co_await m.lock();
      owned = true;
      co_await skua::this_task::yield();
      past = true;
    };
    auto lock = co_await m.lock();
    auto h = skua::spawn(waiter, std::ref(m), std::ref(owned), std::ref(past));
    co_await skua::this_task::yield();
    lock.unlock();   // called
    lock = co_await m.lock();
    co_await skua::this_task::yield();   // it insists now
    lock.unlock();                       // handed over
    EXPECT_FALSE(m.try_lock());
    h.request_stop();
    EXPECT_THROW(co_await h, skua::task_stopped);
    EXPECT_TRUE(owned);
    EXPECT_FALSE(past);
  }, std::ref(m));
  EXPECT_TRUE(m.try_lock());
}

TEST_F(Mutex, a_timeout_around_lock_owns_nothing) {
  mutex m;
  one.block_on([](mutex& m) -> task<> {
    auto const lock = co_await m.lock();
    auto locks = [](mutex& m) -> task<scoped_lock> { co_return co_await m.lock(); };
    EXPECT_THROW((void)co_await skua::timeout(1ms, locks(m)), skua::timeout_error);
  }, std::ref(m));
  EXPECT_TRUE(m.try_lock());
}

// Many workers.
TEST_F(Mutex, guards_a_plain_counter_on_many_workers) {
  for (unsigned workers : {1u, 2u, 4u}) {
    skua::runtime rt({.workers = workers});
    mutex m;
    long counter = 0;   // a race if it is not guarded
    auto body = [](mutex& m, long& counter) -> task<> {
      constexpr int tasks = 16;
      std::vector<skua::join_handle<>> all;
      for (int t = 0; t < tasks; ++t)
        all.push_back(skua::spawn([](mutex& m, long& counter, int t) -> task<> {
          for (int i = 0; i < rounds / 10; ++i) {
            auto const lock = co_await m.lock();
            ++counter;
            if ((i + t) % 7 == 0) co_await skua::this_task::yield();
          }
        }, std::ref(m), std::ref(counter), t));
      for (auto& h : all) co_await h;
    };
    rt.block_on(body, std::ref(m), std::ref(counter));
    EXPECT_EQ(counter, 16L * (rounds / 10));
  }
}

// As soon as the waiter owns the mutex it destroys it, while the owner before may still be inside unlock().
struct shared_thing {
  mutex m;
  int uses = 2;
};
TEST_F(Mutex, the_next_owner_may_destroy_it_at_once) {
  skua::runtime rt({.workers = 2});
  auto use = [](shared_thing* s) -> task<> {
    auto lock = co_await s->m.lock();
    if (--s->uses != 0) co_return;
    lock.unlock();
    delete s;
  };
  for (int i = 0; i < rounds / 2; ++i) {
    auto* const s = new shared_thing;
    auto a = rt.spawn(use, s);
    auto b = rt.spawn(use, s);
    rt.block_on([](auto x, auto y) -> task<> {
      co_await x;
      co_await y;
    }, std::move(a), std::move(b));
  }
}

TEST_F(Mutex, a_stop_and_an_unlock_race_and_leave_it_free) {
  skua::runtime rt({.workers = 2});
  constexpr int tries = rounds / 20;
  int owned = 0, stopped = 0;
  auto wants = [](mutex& m) -> task<> { auto const lock = co_await m.lock(); };
  auto join = [](auto x, auto y, int& owned, int& stopped) -> task<> {
    try {
      co_await x;
      ++owned;
    } catch (skua::task_stopped const&) {
      ++stopped;
    }
    co_await y;
  };
  for (int i = 0; i < tries; ++i) {
    mutex m;
    scoped_lock held = m.try_lock();
    auto b = rt.spawn(wants, std::ref(m));
    auto c = rt.spawn(wants, std::ref(m));
    for (int spin = 0; spin < i % 53 * 10; ++spin) skua::detail::cpu_pause();
    std::thread t;
    if (i % 50 == 0) {
      t = std::thread([&] { held.unlock(); });
    }
    b.request_stop();
    if (!t.joinable()) held.unlock();
    rt.block_on(join, std::move(b), std::move(c), std::ref(owned), std::ref(stopped));
    if (t.joinable()) t.join();
    ASSERT_TRUE(m.try_lock());
  }
  EXPECT_EQ(owned + stopped, tries);
}

TEST_F(Mutex, is_used_by_tasks_of_two_runtimes) {
  skua::runtime a({.workers = 1}), b({.workers = 1});
  mutex m;
  long counter = 0;
  auto body = [](mutex& m, long& counter) -> task<> {
    for (int i = 0; i < rounds / 10; ++i) {
      auto const lock = co_await m.lock();
      ++counter;
      if (i % 5 == 0) co_await skua::this_task::yield();
    }
  };
  auto x = a.spawn(body, std::ref(m), std::ref(counter));
  auto y = b.spawn(body, std::ref(m), std::ref(counter));
  a.block_on([](auto h) -> task<> { co_await h; }, std::move(x));
  b.block_on([](auto h) -> task<> { co_await h; }, std::move(y));
  EXPECT_EQ(counter, 2L * (rounds / 10));
}

} // namespace
