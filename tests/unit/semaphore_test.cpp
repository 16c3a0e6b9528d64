// SPDX-License-Identifier: Apache-2.0
// counting_semaphore: permits, weights, order, stop.
#include "skua/semaphore.hpp"
#include "skua/runtime.hpp"
#include "skua/time.hpp"
#include "skua/timeout.hpp"
#include "tests/support/leak_check.hpp"
#include "tests/support/values.hpp"
#include <atomic>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::counting_semaphore;
using skua::semaphore_permit;
using skua::task;

constexpr int rounds = SKUA_TSAN || SKUA_ASAN ? 2'000 : 20'000;

class Semaphore : public leak_check {
protected:
  skua::runtime one{skua::options{.workers = 1, .backend = "virtual"}};
};

task<> take(counting_semaphore& s, std::uint64_t n, std::string& said, char name) {
  (void)(co_await s.acquire(n)).forget();
  said += name;
}

TEST_F(Semaphore, gives_what_it_has) {
  counting_semaphore s(3);
  one.block_on([](counting_semaphore& s) -> task<> {
    auto a = co_await s.acquire();
    auto b = co_await s.acquire(2);
    EXPECT_EQ(b.count(), 2u);
    EXPECT_EQ(s.available(), 0u);
    EXPECT_FALSE(s.try_acquire());
    b.release();
    EXPECT_FALSE(b);
    EXPECT_EQ(s.available(), 2u);
    semaphore_permit moved = std::move(a);
    EXPECT_FALSE(a);   // NOLINT(bugprone-use-after-move)
    moved = s.try_acquire(2);
    EXPECT_TRUE(moved);
    EXPECT_EQ(s.available(), 1u);
  }, std::ref(s));
  EXPECT_EQ(s.available(), 3u);
}

TEST_F(Semaphore, forgotten_permits_are_gone_and_new_ones_can_be_added) {
  counting_semaphore s(2);
  one.block_on([](counting_semaphore& s) -> task<> {
    EXPECT_EQ((co_await s.acquire(2)).forget(), 2u);
    EXPECT_EQ(s.available(), 0u);
    s.release(5);
    EXPECT_EQ(s.available(), 5u);
  }, std::ref(s));
}

TEST_F(Semaphore, serves_in_order_and_nobody_overtakes) {
  counting_semaphore s(0);
  one.block_on([](counting_semaphore& s) -> task<> {
    std::string said;
    auto a = skua::spawn(take, std::ref(s), std::uint64_t{3}, std::ref(said), 'a');
    co_await skua::this_task::yield();
    auto b = skua::spawn(take, std::ref(s), std::uint64_t{1}, std::ref(said), 'b');
    co_await skua::this_task::yield();
    s.release(2);   // enough for b, but a came first
    EXPECT_FALSE(s.try_acquire());
    co_await yield_times(3);
    EXPECT_EQ(said, "");
    s.release(2);
    co_await a;
    co_await b;
    EXPECT_EQ(said, "ab");
    EXPECT_EQ(s.available(), 0u);
  }, std::ref(s));
}

TEST_F(Semaphore, acquiring_nothing_waits_for_those_in_front_only) {
  counting_semaphore s(0);
  one.block_on([](counting_semaphore& s) -> task<> {
    std::string said;
    co_await take(s, 0, said, '-');
    auto a = skua::spawn(take, std::ref(s), std::uint64_t{1}, std::ref(said), 'a');
    co_await skua::this_task::yield();
    auto b = skua::spawn(take, std::ref(s), std::uint64_t{0}, std::ref(said), 'b');
    co_await yield_times(3);
    EXPECT_EQ(said, "-");
    s.release();
    co_await a;
    co_await b;
    EXPECT_EQ(said, "-ab");
  }, std::ref(s));
}

TEST_F(Semaphore, a_stopped_acquire_lets_those_behind_it_go_on) {
  counting_semaphore s(2);
  one.block_on([](counting_semaphore& s) -> task<> {
    std::string said;
    auto a = skua::spawn(take, std::ref(s), std::uint64_t{5}, std::ref(said), 'a');
    co_await skua::this_task::yield();
    auto b = skua::spawn(take, std::ref(s), std::uint64_t{1}, std::ref(said), 'b');
    auto c = skua::spawn(take, std::ref(s), std::uint64_t{1}, std::ref(said), 'c');
    co_await yield_times(3);
    EXPECT_EQ(said, "");
    a.request_stop();
    EXPECT_THROW(co_await a, skua::task_stopped);
    co_await b;
    co_await c;
    EXPECT_EQ(s.available(), 0u);
  }, std::ref(s));
}

TEST_F(Semaphore, permits_given_before_the_stop_are_delivered_and_given_back__S4) {
  counting_semaphore s(0);
  one.block_on([](counting_semaphore& s) -> task<> {
    bool got = false, past = false;
    auto h = skua::spawn([](counting_semaphore& s, bool& got, bool& past) -> task<> {
      auto const permit = co_await s.acquire(2);
      got = true;
      co_await skua::this_task::yield();
      past = true;
    }, std::ref(s), std::ref(got), std::ref(past));
    co_await skua::this_task::yield();
    s.release(2);
    EXPECT_EQ(s.available(), 0u);
    h.request_stop();
    EXPECT_THROW(co_await h, skua::task_stopped);
    EXPECT_TRUE(got);
    EXPECT_FALSE(past);
    EXPECT_EQ(s.available(), 2u);
  }, std::ref(s));
}

TEST_F(Semaphore, a_timeout_takes_nothing) {
  counting_semaphore s(1);
  one.block_on([](counting_semaphore& s) -> task<> {
    auto acquires = [](counting_semaphore& s) -> task<semaphore_permit> { co_return co_await s.acquire(2); };
    EXPECT_THROW((void)co_await skua::timeout(1ms, acquires(s)), skua::timeout_error);
    EXPECT_EQ(s.available(), 1u);
  }, std::ref(s));
}

TEST_F(Semaphore, checks_for_a_stop_on_entry__S1) {
  skua::runtime rt({.workers = 2});
  counting_semaphore s(1);
  std::atomic<int> begun{0};
  auto h = rt.spawn([&]() -> task<> {
    ++begun;
    while (!skua::this_task::stop_requested()) co_await value_of(0);
    (void)(co_await s.acquire()).forget();
  });
  while (begun == 0) std::this_thread::yield();
  h.request_stop();
  EXPECT_THROW(rt.block_on([](auto g) -> task<> { co_await g; }, std::move(h)), skua::task_stopped);
  EXPECT_EQ(s.available(), 1u);
}

// Never more than the permits are out, and all come back, whoever is stopped.
TEST_F(Semaphore, bounds_what_runs_at_once_on_many_workers) {
  skua::runtime rt({.workers = 4});
  counting_semaphore s(5);
  std::atomic<int> inside{0}, most{0}, stopped{0};
  rt.block_on([](counting_semaphore& s, std::atomic<int>& inside, std::atomic<int>& most, std::atomic<int>& stopped) -> task<> {
    std::vector<skua::join_handle<>> all;
    for (int t = 0; t < 32; ++t)
      all.push_back(skua::spawn([](counting_semaphore& s, std::atomic<int>& inside, std::atomic<int>& most, int t) -> task<> {
        for (int i = 0; i < rounds / 40; ++i) {
          auto const n = 1 + (i + t) % 3;
          auto const permit = co_await s.acquire(static_cast<std::uint64_t>(n));
          int const now = inside += n;
          for (int seen = most; seen < now && !most.compare_exchange_weak(seen, now);) {
          }
          if (i % 3 == 0) {
            struct leave {
              std::atomic<int>& inside;
              int n;
              ~leave() { inside -= n; }
            } const l{inside, n};
            co_await skua::this_task::yield();
          } else {
            inside -= n;
          }
        }
      }, std::ref(s), std::ref(inside), std::ref(most), t));
    for (std::size_t t = 0; t < all.size(); t += 3) all[t].request_stop();
    for (auto& h : all) {
      try {
        co_await h;
      } catch (skua::task_stopped const&) {
        ++stopped;
      }
    }
  }, std::ref(s), std::ref(inside), std::ref(most), std::ref(stopped));
  EXPECT_LE(most, 5);
  EXPECT_EQ(inside, 0);
  EXPECT_EQ(s.available(), 5u);
}

TEST_F(Semaphore, more_permits_than_can_be_counted_are_refused) {
  constexpr std::uint64_t most = ~std::uint64_t{0};
  counting_semaphore s(most - 1);
  s.release();
  EXPECT_THROW(s.release(), skua::usage_error);
  EXPECT_THROW(s.release(most), skua::usage_error);
  EXPECT_EQ(s.available(), most);
  {
    auto const permit = s.try_acquire(2);
    s.release();
    EXPECT_THROW(s.release(2), skua::usage_error);
    EXPECT_EQ(s.available(), most - 1);
  }
  EXPECT_EQ(s.available(), most - 1) << "what is given back beyond it is dropped";
}

TEST_F(Semaphore, the_one_served_may_destroy_it_at_once) {
  skua::runtime rt({.workers = 2});
  for (int i = 0; i < rounds / 2; ++i) {
    auto* const s = new counting_semaphore(0);
    auto h = rt.spawn([](counting_semaphore* s) -> task<> {
      (void)(co_await s->acquire()).forget();
      delete s;
    }, s);
    for (int spin = 0; spin < i % 50; ++spin) skua::detail::cpu_pause();
    s->release();
    rt.block_on([](auto g) -> task<> { co_await g; }, std::move(h));
  }
}

} // namespace
