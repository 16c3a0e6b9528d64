// SPDX-License-Identifier: Apache-2.0
// The oneTBB bridge: bounded concurrency, results, exceptions, stop.
#include "skua/arena.hpp"
#include "skua/runtime.hpp"
#include "skua/spawn.hpp"
#include "skua/time.hpp"
#include "skua/when_all.hpp"
#include "tests/support/tbb_threads.hpp"
#include <algorithm>
#include <atomic>
#include <gtest/gtest.h>
#include <numeric>
#include <random>
#include <semaphore>
#include <stdexcept>
#include <string>
#include <tbb/blocked_range.h>
#include <tbb/parallel_for.h>
#include <tbb/parallel_reduce.h>
#include <tbb/parallel_sort.h>
#include <vector>

namespace {

using namespace std::chrono_literals;
using skua::in_arena;
using skua::task;

skua::options two_workers() { return {.workers = 2}; }

class InArena : public skua_test::tbb_threads {};

TEST_F(InArena, sorts_in_parallel_while_the_task_waits) {
  skua::runtime rt(two_workers());
  std::vector<unsigned> v(200'000);
  std::iota(v.begin(), v.end(), 0u);
  std::shuffle(v.begin(), v.end(), std::mt19937(1));
  rt.block_on([](std::vector<unsigned>* w) -> task<> {
    tbb::task_arena arena(2);
    co_await in_arena(arena, [w] { tbb::parallel_sort(*w); });
  }, &v);
  EXPECT_TRUE(std::is_sorted(v.begin(), v.end()));
}

TEST_F(InArena, gives_values_and_references_and_throws) {
  skua::runtime rt(two_workers());
  rt.block_on([]() -> task<> {
    tbb::task_arena arena(2);
    int const sum = co_await in_arena(arena, [] {
      return tbb::parallel_reduce(tbb::blocked_range<int>(0, 1000), 0,
                                  [](auto const& r, int s) {
                                    for (int i = r.begin(); i != r.end(); ++i) s += i;
                                    return s;
                                  },
                                  std::plus<>());
    });
    EXPECT_EQ(sum, 499'500);
    int x = 0;
    int& same = co_await in_arena(1, [&x]() -> int& { return x; });
    EXPECT_EQ(&same, &x);
    bool caught = false;
    try {
      co_await in_arena(arena, [] { tbb::parallel_for(0, 100, [](int i) { if (i == 50) throw std::range_error("50"); }); });
    } catch (std::range_error const&) {
      caught = true;
    }
    EXPECT_TRUE(caught);
  });
}

// However many tasks share it, an arena never uses more threads than it has slots.
TEST_F(InArena, gives_const_results_and_rvalue_references) {
  skua::runtime rt(two_workers());
  rt.block_on([]() -> task<> {
    std::string s = "moved from";
    EXPECT_EQ(co_await in_arena(1, []() -> std::string const { return "const"; }), "const");
    EXPECT_EQ(&static_cast<std::string const&>(co_await in_arena(1, [&]() -> std::string&& { return std::move(s); })), &s);
  });
}

TEST_F(InArena, bounds_the_threads_of_all_tasks_together) {
  skua::runtime rt({.workers = 2, .max_blocking_threads = 8});
  std::atomic<int> inside{0}, most{0};
  rt.block_on([](std::atomic<int>* in, std::atomic<int>* max) -> task<> {
    tbb::task_arena arena(2);
    std::vector<task<>> users;
    for (int i = 0; i < 8; ++i)
      users.push_back([](tbb::task_arena* a, std::atomic<int>* n, std::atomic<int>* m) -> task<> {
        co_await in_arena(*a, [=] {
          tbb::parallel_for(0, 32, [=](int) {
            int const now = ++*n;
            for (int seen = *m; now > seen && !m->compare_exchange_weak(seen, now);) {
            }
            for (int spin = 0; spin < 2'000; ++spin) skua::detail::cpu_pause();
            --*n;
          });
        });
      }(&arena, in, max));
    co_await skua::when_all(std::move(users));
  }, &inside, &most);
  EXPECT_GE(most, 1);
  EXPECT_LE(most, 2);
}

TEST_F(InArena, needs_at_least_one_thread) {
  EXPECT_THROW((void)in_arena(0, [] {}), std::invalid_argument);
}

// S7: what has begun is waited for.
TEST_F(InArena, that_has_begun_is_waited_for) {
  skua::runtime rt(two_workers());
  std::binary_semaphore begun{0}, go_on{0};
  auto h = rt.spawn([](auto* b, auto* g) -> task<int> {
    co_return co_await in_arena(1, [=] {
      b->release();
      g->acquire();
      return 3;
    });
  }, &begun, &go_on);
  begun.acquire();
  h.request_stop();
  EXPECT_FALSE(h.done());
  go_on.release();
  EXPECT_EQ(rt.block_on([](auto handle) -> task<int> { co_return co_await handle; }, std::move(h)), 3);
}

} // namespace
