// SPDX-License-Identifier: Apache-2.0
// shared_mutex: readers together, writers alone, in order; stop.
#include "skua/shared_mutex.hpp"
#include "skua/runtime.hpp"
#include "skua/this_task.hpp"
#include "tests/support/leak_check.hpp"
#include "tests/support/values.hpp"
#include <atomic>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace skua_test;
using skua::shared_mutex;
using skua::task;

constexpr int rounds = SKUA_TSAN || SKUA_ASAN ? 2'000 : 20'000;

class SharedMutex : public leak_check {
protected:
  skua::runtime one{skua::options{.workers = 1, .backend = "virtual"}};
  shared_mutex m;
};

task<> read(shared_mutex& m, std::string& said, char name, int yields = 0) {
  auto const lock = co_await m.lock_shared();
  said += name;
  co_await yield_times(yields);
}
task<> write(shared_mutex& m, std::string& said, char name, int yields = 0) {
  auto const lock = co_await m.lock();
  said += name;
  co_await yield_times(yields);
}

TEST_F(SharedMutex, is_owned_by_many_readers_or_one_writer) {
  one.block_on([](shared_mutex& m) -> task<> {
    auto a = co_await m.lock_shared();
    auto b = co_await m.lock_shared();
    EXPECT_TRUE(m.try_lock_shared());
    EXPECT_FALSE(m.try_lock());
    a.unlock();
    EXPECT_FALSE(m.try_lock());
    b.unlock();
    auto c = co_await m.lock();
    EXPECT_FALSE(m.try_lock());
    EXPECT_FALSE(m.try_lock_shared());
    c.unlock();
    EXPECT_TRUE(m.try_lock());
  }, std::ref(m));
}

TEST_F(SharedMutex, a_writer_is_not_starved_by_readers_that_come_after_it) {
  one.block_on([](shared_mutex& m) -> task<> {
    std::string said;
    auto reading = co_await m.lock_shared();
    auto w = skua::spawn(write, std::ref(m), std::ref(said), 'W', 2);
    co_await skua::this_task::yield();
    auto a = skua::spawn(read, std::ref(m), std::ref(said), 'a', 2);
    co_await skua::this_task::yield();
    auto b = skua::spawn(read, std::ref(m), std::ref(said), 'b', 2);
    co_await yield_times(3);
    EXPECT_FALSE(m.try_lock_shared());   // nobody overtakes
    EXPECT_EQ(said, "");
    reading.unlock();
    co_await w;
    co_await a;
    co_await b;
    EXPECT_EQ(said, "Wab");
  }, std::ref(m));
}

TEST_F(SharedMutex, readers_that_stand_behind_each_other_go_on_together) {
  one.block_on([](shared_mutex& m) -> task<> {
    std::string said;
    auto writing = co_await m.lock();
    std::vector<skua::join_handle<>> all;
    for (char name : {'a', 'b', 'W', 'c'}) {
      all.push_back(name == 'W' ? skua::spawn(write, std::ref(m), std::ref(said), name, 3) : skua::spawn(read, std::ref(m), std::ref(said), name, 3));
      co_await skua::this_task::yield();
    }
    writing.unlock();
    co_await yield_times(2);
    EXPECT_TRUE(said == "ab" || said == "ba") << said;
    for (auto& h : all) co_await h;
    EXPECT_EQ(said.substr(2), "Wc");
  }, std::ref(m));
}

TEST_F(SharedMutex, downgrade_lets_readers_in_and_no_writer) {
  one.block_on([](shared_mutex& m) -> task<> {
    std::string said;
    auto writing = co_await m.lock();
    auto a = skua::spawn(read, std::ref(m), std::ref(said), 'a', 0);
    co_await skua::this_task::yield();
    auto w = skua::spawn(write, std::ref(m), std::ref(said), 'W', 0);
    co_await skua::this_task::yield();
    {
      auto const reading = writing.downgrade();
      EXPECT_FALSE(writing);
      co_await a;
      EXPECT_FALSE(w.done());
    }
    co_await w;
    EXPECT_EQ(said, "aW");
  }, std::ref(m));
}

TEST_F(SharedMutex, a_stopped_writer_lets_the_readers_behind_it_go_on) {
  one.block_on([](shared_mutex& m) -> task<> {
    std::string said;
    auto const reading = co_await m.lock_shared();
    auto w = skua::spawn(write, std::ref(m), std::ref(said), 'W', 0);
    co_await skua::this_task::yield();
    auto a = skua::spawn(read, std::ref(m), std::ref(said), 'a', 0);
    co_await yield_times(3);
    EXPECT_EQ(said, "");
    w.request_stop();
    EXPECT_THROW(co_await w, skua::task_stopped);
    co_await a;
    EXPECT_EQ(said, "a");
  }, std::ref(m));
}

TEST_F(SharedMutex, a_lock_given_before_the_stop_is_delivered_and_given_up__S4) {
  one.block_on([](shared_mutex& m) -> task<> {
    std::string said;
    auto reading = co_await m.lock_shared();
    auto w = skua::spawn(write, std::ref(m), std::ref(said), 'W', 1);
    co_await skua::this_task::yield();
    reading.unlock();
    EXPECT_FALSE(m.try_lock_shared());
    w.request_stop();
    EXPECT_THROW(co_await w, skua::task_stopped);
    EXPECT_EQ(said, "W");
    EXPECT_TRUE(m.try_lock());
  }, std::ref(m));
}

TEST_F(SharedMutex, checks_for_a_stop_on_entry__S1) {
  skua::runtime rt({.workers = 2});
  std::atomic<int> begun{0}, past{0};
  auto h = rt.spawn([&]() -> task<> {
    ++begun;
    while (!skua::this_task::stop_requested()) co_await value_of(0);
    auto const lock = co_await m.lock_shared();
    ++past;
  });
  while (begun == 0) std::this_thread::yield();
  h.request_stop();
  EXPECT_THROW(rt.block_on([](auto g) -> task<> { co_await g; }, std::move(h)), skua::task_stopped);
  EXPECT_EQ(past, 0);
  EXPECT_TRUE(m.try_lock());
}

TEST_F(SharedMutex, guards_plain_data_on_many_workers) {
  skua::runtime rt({.workers = 4});
  struct data {
    long a = 0, b = 0;   // equal whenever nobody writes
  } d;
  std::atomic<long> writes{0};
  rt.block_on([](shared_mutex& m, data& d, std::atomic<long>& writes) -> task<> {
    std::vector<skua::join_handle<>> all;
    for (int t = 0; t < 16; ++t)
      all.push_back(skua::spawn([](shared_mutex& m, data& d, std::atomic<long>& writes, int t) -> task<> {
        for (int i = 0; i < rounds / 20; ++i) {
          if ((i + t) % 5 == 0) {
            auto lock = co_await m.lock();
            ++d.a;
            if (i % 2 == 0) co_await skua::this_task::yield();
            ++d.b;
            ++writes;
            if (i % 3 == 0) {
              auto const reading = lock.downgrade();
              EXPECT_EQ(d.a, d.b);
            }
          } else {
            auto const lock = co_await m.lock_shared();
            long const before = d.a;
            if (i % 4 == 0) co_await skua::this_task::yield();
            EXPECT_EQ(d.a, d.b);
            EXPECT_EQ(d.a, before);
          }
        }
      }, std::ref(m), std::ref(d), std::ref(writes), t));
    for (auto& h : all) co_await h;
  }, std::ref(m), std::ref(d), std::ref(writes));
  EXPECT_EQ(d.a, writes);
}

TEST_F(SharedMutex, the_last_user_may_destroy_it_at_once) {
  struct shared_thing {
    shared_mutex m;
    std::atomic<int> uses{2};
  };
  skua::runtime rt({.workers = 2});
  auto use = [](shared_thing* s, bool writes) -> task<> {
    if (writes) {
      auto const lock = co_await s->m.lock();
    } else {
      auto const lock = co_await s->m.lock_shared();
    }
    if (--s->uses == 0) delete s;
  };
  for (int i = 0; i < rounds / 2; ++i) {
    auto* const s = new shared_thing;
    auto a = rt.spawn(use, s, true);
    auto b = rt.spawn(use, s, i % 2 == 0);
    rt.block_on([](auto x, auto y) -> task<> {
      co_await x;
      co_await y;
    }, std::move(a), std::move(b));
  }
}

} // namespace
