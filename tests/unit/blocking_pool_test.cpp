// SPDX-License-Identifier: Apache-2.0
// The blocking pool by itself: order, bounds, elasticity, withdrawal, its end. spawn_blocking_test.cpp has the runtime around it.
#include "scheduler/blocking_pool.hpp"
#include "skua/detail/config.hpp"
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <deque>
#include <dlfcn.h>
#include <filesystem>
#include <functional>
#include <gtest/gtest.h>
#include <latch>
#include <memory>
#include <mutex>
#include <pthread.h>
#include <random>
#include <semaphore>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#if !SKUA_TSAN && !SKUA_ASAN   // the sanitizers have their own
namespace {
std::atomic<bool> no_more_threads{false};
}
// Stands before the C library's: lets a test run out of threads.
extern "C" int pthread_create(pthread_t* t, pthread_attr_t const* a, void* (*f)(void*), void* x) {
  if (no_more_threads.load()) return EAGAIN;
  static auto* const real = reinterpret_cast<decltype(&pthread_create)>(dlsym(RTLD_NEXT, "pthread_create"));
  return real(t, a, f, x);
}
#endif

namespace {

using namespace std::chrono_literals;
using skua::detail::blocking_job;
using skua::detail::blocking_pool;

struct job : blocking_job {
  std::function<void()> work;
  explicit job(std::function<void()> w) : blocking_job(run_work, [](blocking_job&) noexcept {}), work(std::move(w)) {}
  static void run_work(blocking_job& j) noexcept { static_cast<job&>(j).work(); }
};

// A job that is in hand until it is let go.
struct gate {
  std::binary_semaphore begun{0}, go_on{0};
  job held{[this] {
    begun.release();
    go_on.acquire();
  }};
};

skua::options with_threads(unsigned n, std::chrono::milliseconds keep_alive = 10s) {
  return {.max_blocking_threads = n, .blocking_keep_alive = keep_alive};
}
std::size_t threads_of_this_process() {
  std::size_t n = 0;
  for ([[maybe_unused]] auto const& e : std::filesystem::directory_iterator("/proc/self/task")) ++n;
  return n;
}
bool in_time(blocking_pool& p) { return p.wait_drained(std::chrono::steady_clock::now() + 20s); }

TEST(BlockingPool, runs_a_job_on_a_thread_of_its_own) {
  blocking_pool pool(with_threads(4));
  EXPECT_EQ(pool.threads(), 0u);
  std::thread::id where;
  job j([&] { where = std::this_thread::get_id(); });
  pool.submit(j);
  ASSERT_TRUE(in_time(pool));
  EXPECT_NE(where, std::thread::id());
  EXPECT_NE(where, std::this_thread::get_id());
  EXPECT_EQ(pool.threads(), 1u);
}

TEST(BlockingPool, runs_waiting_jobs_in_the_order_of_submission) {
  blocking_pool pool(with_threads(1));
  gate g;
  pool.submit(g.held);
  g.begun.acquire();
  std::vector<int> order;
  std::deque<job> jobs;
  for (int i = 0; i < 100; ++i) pool.submit(jobs.emplace_back([&order, i] { order.push_back(i); }));
  EXPECT_EQ(pool.active(), 1u);
  EXPECT_EQ(pool.outstanding(), 101u);
  g.go_on.release();
  ASSERT_TRUE(in_time(pool));
  ASSERT_EQ(order.size(), 100u);
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
}

TEST(BlockingPool, grows_to_its_maximum_and_no_further) {
  blocking_pool pool(with_threads(3));
  std::deque<gate> gates(5);
  for (gate& g : gates) pool.submit(g.held);
  for (int i = 0; i < 3; ++i) gates[static_cast<std::size_t>(i)].begun.acquire();
  EXPECT_EQ(pool.threads(), 3u);
  EXPECT_EQ(pool.active(), 3u);
  EXPECT_FALSE(gates[3].begun.try_acquire());
  for (gate& g : gates) g.go_on.release();
  ASSERT_TRUE(in_time(pool));
  EXPECT_EQ(pool.threads(), 3u);
}

// A caller that makes one call after the other needs one thread, also if it is back before the thread has gone idle.
TEST(BlockingPool, one_job_after_the_other_needs_one_thread) {
  struct announced : blocking_job {
    std::atomic<int> ended{0};
    announced() : blocking_job([](blocking_job&) noexcept {}, tell) {}
    static void tell(blocking_job& j) noexcept {
      auto& self = static_cast<announced&>(j);
      self.ended = 1;
      self.ended.notify_one();
    }
  };
  constexpr std::size_t n = 1'000;
  auto const jobs = std::make_unique<announced[]>(n);
  blocking_pool pool(with_threads(8));
  for (std::size_t i = 0; i < n; ++i) {
    pool.submit(jobs[i]);
    jobs[i].ended.wait(0);
    ASSERT_EQ(pool.threads(), 1u);
  }
}

TEST(BlockingPool, lets_idle_threads_end_and_makes_new_ones_afterwards) {
  std::thread([] {}).join();   // ThreadSanitizer's own thread comes with the first one
  std::size_t const before = threads_of_this_process();
  blocking_pool pool(with_threads(4, 1ms));
  for (int round = 0; round < 3; ++round) {
    std::deque<gate> gates(4);
    for (gate& g : gates) pool.submit(g.held);
    for (gate& g : gates) g.begun.acquire();
    EXPECT_EQ(pool.threads(), 4u);
    for (gate& g : gates) g.go_on.release();
    ASSERT_TRUE(in_time(pool));
    for (int i = 0; i < 10'000 && pool.threads() != 0; ++i) std::this_thread::sleep_for(1ms);
    EXPECT_EQ(pool.threads(), 0u);
  }
  pool.stop();
  // A joined thread may show for a moment longer.
  for (int i = 0; i < 1'000 && threads_of_this_process() > before; ++i) std::this_thread::sleep_for(1ms);
  EXPECT_LE(threads_of_this_process(), before);
}

TEST(BlockingPool, a_job_that_waits_can_be_withdrawn_and_never_runs) {
  blocking_pool pool(with_threads(1));
  gate g;
  pool.submit(g.held);
  g.begun.acquire();
  bool ran_first = false, ran_middle = false, ran_last = false;
  job first([&] { ran_first = true; }), middle([&] { ran_middle = true; }), last([&] { ran_last = true; });
  for (job* j : {&first, &middle, &last}) pool.submit(*j);
  EXPECT_TRUE(pool.withdraw(middle));
  EXPECT_FALSE(pool.withdraw(middle));
  EXPECT_EQ(pool.outstanding(), 3u);
  g.go_on.release();
  ASSERT_TRUE(in_time(pool));
  EXPECT_TRUE(ran_first && ran_last);
  EXPECT_FALSE(ran_middle);
}

TEST(BlockingPool, a_job_that_has_begun_cannot_be_withdrawn) {
  blocking_pool pool(with_threads(1));
  gate g;
  pool.submit(g.held);
  g.begun.acquire();
  EXPECT_FALSE(pool.withdraw(g.held));
  g.go_on.release();
  ASSERT_TRUE(in_time(pool));
  EXPECT_FALSE(pool.withdraw(g.held));
}

TEST(BlockingPool, waiting_for_it_ends_at_the_deadline_while_a_job_runs) {
  blocking_pool pool(with_threads(1));
  gate g;
  pool.submit(g.held);
  EXPECT_FALSE(pool.wait_drained(std::chrono::steady_clock::now() + 5ms));
  g.go_on.release();
  EXPECT_TRUE(in_time(pool));
}

TEST(BlockingPool, says_when_it_is_drained) {
  std::atomic<int> drained{0};
  {
    gate g;
    job j([] {});
    blocking_pool pool(with_threads(1), [&] { ++drained; });
    pool.submit(g.held);
    g.begun.acquire();
    pool.submit(j);
    EXPECT_TRUE(pool.withdraw(j));
    EXPECT_EQ(drained, 0);
    g.go_on.release();
  }
  EXPECT_EQ(drained, 1);
}

TEST(BlockingPool, its_threads_have_names_and_block_all_signals) {
  blocking_pool pool({.max_blocking_threads = 1, .name = "gull"});
  char name[16] = "";
  bool blocked = false;
  job j([&] {
    pthread_getname_np(pthread_self(), name, sizeof name);
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    blocked = sigismember(&mask, SIGTERM) == 1 && sigismember(&mask, SIGUSR1) == 1 && sigismember(&mask, SIGALRM) == 1;
  });
  pool.submit(j);
  ASSERT_TRUE(in_time(pool));
  EXPECT_STREQ(name, "gull-b0");
  EXPECT_TRUE(blocked);
  sigset_t mask;
  pthread_sigmask(SIG_SETMASK, nullptr, &mask);
  EXPECT_EQ(sigismember(&mask, SIGTERM), 0) << "the submitter's own mask is as before";
}

#if !SKUA_TSAN && !SKUA_ASAN
TEST(BlockingPool, refuses_a_job_when_there_is_no_thread_and_none_can_be_had) {
  blocking_pool pool(with_threads(2));
  bool ran = false;
  job j([&] { ran = true; });
  no_more_threads = true;
  EXPECT_THROW(pool.submit(j), std::system_error);
  EXPECT_EQ(pool.outstanding(), 0u);
  no_more_threads = false;
  pool.submit(j);
  ASSERT_TRUE(in_time(pool));
  EXPECT_TRUE(ran);
}

TEST(BlockingPool, makes_do_with_the_threads_it_has_when_no_more_can_be_had) {
  blocking_pool pool(with_threads(2));
  gate g;
  pool.submit(g.held);
  g.begun.acquire();
  bool ran = false;
  job j([&] { ran = true; });
  no_more_threads = true;
  EXPECT_NO_THROW(pool.submit(j));
  no_more_threads = false;
  EXPECT_EQ(pool.threads(), 1u);
  g.go_on.release();
  ASSERT_TRUE(in_time(pool));
  EXPECT_TRUE(ran);
}
#endif

// Four threads submit, and withdraw about half again; threads come and go all the time.
TEST(BlockingPool, every_job_runs_once_or_is_withdrawn_once) {
  unsigned const seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  constexpr std::size_t submitters = 4, each = 5'000;
  blocking_pool pool(with_threads(3, 0ms));
  std::atomic<std::size_t> ran{0}, withdrawn{0};
  struct counted : blocking_job {
    std::atomic<std::size_t>* ran = nullptr;
    std::atomic<int> times{0};
    counted() : blocking_job([](blocking_job& j) noexcept {
          auto& self = static_cast<counted&>(j);
          self.times.fetch_add(1);
          self.ran->fetch_add(1);
        }, [](blocking_job&) noexcept {}) {}
  };
  auto jobs = std::make_unique<counted[]>(submitters * each);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < submitters; ++t)
    threads.emplace_back([&, t] {
      std::mt19937 random(seed + static_cast<unsigned>(t));
      for (std::size_t i = 0; i < each; ++i) {
        counted& j = jobs[t * each + i];
        j.ran = &ran;
        pool.submit(j);
        if (random() % 2 == 0) {
          counted& some = jobs[t * each + random() % (i + 1)];
          if (pool.withdraw(some)) {
            some.times.fetch_add(1);
            withdrawn.fetch_add(1);
          }
        }
      }
    });
  for (auto& t : threads) t.join();
  pool.stop();
  EXPECT_EQ(ran + withdrawn, submitters * each);
  for (std::size_t i = 0; i < submitters * each; ++i) ASSERT_EQ(jobs[i].times, 1);
}

} // namespace
