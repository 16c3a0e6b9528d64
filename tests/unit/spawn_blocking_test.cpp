// SPDX-License-Identifier: Apache-2.0
// spawn_blocking and abandon inside a runtime; blocking_pool_test.cpp has the pool by itself.
#include "skua/blocking.hpp"
#include "skua/future.hpp"
#include "skua/runtime.hpp"
#include "skua/spawn.hpp"
#include "skua/time.hpp"
#include "skua/timeout.hpp"
#include "skua/when_all.hpp"
#include <atomic>
#include <chrono>
#include <csignal>
#include <fcntl.h>
#include <fstream>
#include <gtest/gtest.h>
#include <memory>
#include <semaphore>
#include <spawn.h>
#include <stdexcept>
#include <string>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace {

using namespace std::chrono_literals;
using skua::spawn_blocking;
using skua::task;

skua::options two_workers() { return {.workers = 2}; }

TEST(SpawnBlocking, gives_what_the_function_returns) {
  skua::runtime rt(two_workers());
  EXPECT_EQ(rt.block_on([]() -> task<int> { co_return co_await spawn_blocking([](int a, int b) { return a * b; }, 6, 7); }), 42);
}

TEST(SpawnBlocking, runs_on_a_thread_that_is_no_worker) {
  skua::runtime rt(two_workers());
  rt.block_on([]() -> task<> {
    auto const worker = std::this_thread::get_id();
    auto const elsewhere = co_await spawn_blocking([] {
      EXPECT_EQ(skua::detail::tl.words, nullptr);
      return std::this_thread::get_id();
    });
    EXPECT_NE(worker, elsewhere);
    EXPECT_NE(skua::detail::tl.words, nullptr) << "and goes on on a worker";
  });
}

TEST(SpawnBlocking, carries_void_references_and_what_only_moves) {
  skua::runtime rt(two_workers());
  rt.block_on([]() -> task<> {
    int x = 1;
    co_await spawn_blocking([](int& n) { n = 2; }, std::ref(x));
    EXPECT_EQ(x, 2);
    int& same = co_await spawn_blocking([](int& n) -> int& { return n; }, std::ref(x));
    EXPECT_EQ(&same, &x);
    auto p = std::make_unique<int>(3);
    auto q = co_await spawn_blocking([](std::unique_ptr<int> r) { return r; }, std::move(p));
    EXPECT_EQ(*q, 3);
    std::string text = "kept";
    auto size = co_await spawn_blocking(&std::string::size, text);
    EXPECT_EQ(size, 4u);
  });
}

TEST(SpawnBlocking, throws_what_the_function_throws) {
  skua::runtime rt(two_workers());
  EXPECT_THROW(rt.block_on([]() -> task<> { co_await spawn_blocking([] { throw std::runtime_error("disk"); }); }), std::runtime_error);
}

TEST(SpawnBlocking, lets_the_worker_go_on_meanwhile) {
  skua::runtime rt({.workers = 1});
  rt.block_on([]() -> task<> {
    std::binary_semaphore go_on{0};
    auto blocked = skua::spawn([](std::binary_semaphore* s) -> task<> { co_await spawn_blocking([s] { s->acquire(); }); }, &go_on);
    co_await skua::sleep_for(1ms);
    EXPECT_FALSE(blocked.done());
    go_on.release();
    co_await blocked;
  });
}

// More calls than threads: all of them happen, those beyond the maximum in their turn.
TEST(SpawnBlocking, waits_for_a_thread_when_all_are_busy) {
  skua::runtime rt({.workers = 2, .max_blocking_threads = 2});
  rt.block_on([]() -> task<> {
    std::atomic<int> running{0}, most{0}, ran{0};
    std::vector<task<>> calls;
    for (int i = 0; i < 50; ++i)
      calls.push_back([](std::atomic<int>* run, std::atomic<int>* max, std::atomic<int>* total) -> task<> {
        co_await spawn_blocking([=] {
          int const now = ++*run;
          for (int seen = *max; now > seen && !max->compare_exchange_weak(seen, now);) {
          }
          std::this_thread::yield();
          --*run;
          ++*total;
        });
      }(&running, &most, &ran));
    co_await skua::when_all(std::move(calls));
    EXPECT_EQ(ran, 50);
    EXPECT_LE(most, 2);
  });
}

// S1: what is stopped before it begins never happens.
TEST(SpawnBlocking, that_waits_for_its_turn_is_withdrawn_by_a_stop) {
  skua::runtime rt({.workers = 2, .max_blocking_threads = 1});
  rt.block_on([]() -> task<> {
    std::binary_semaphore go_on{0}, begun{0};
    std::atomic<bool> happened{false};
    auto first = skua::spawn([](auto* b, auto* s) -> task<> {
      co_await spawn_blocking([=] {
        b->release();
        s->acquire();
      });
    }, &begun, &go_on);
    while (!begun.try_acquire()) co_await skua::sleep_for(100us);
    auto second = skua::spawn([](auto* h) -> task<> { co_await spawn_blocking([h] { *h = true; }); }, &happened);
    co_await skua::sleep_for(1ms);
    second.request_stop();
    bool stopped = false;
    try {
      co_await second;
    } catch (skua::task_stopped const&) {
      stopped = true;
    }
    EXPECT_TRUE(stopped) << "at once, not when the thread is free";
    go_on.release();
    co_await first;
    co_await spawn_blocking([] {});
    EXPECT_FALSE(happened);
  });
}

// S7: work that has begun is waited for; a timeout around it returns late, with the value.
TEST(SpawnBlocking, that_has_begun_is_waited_for) {
  skua::runtime rt(two_workers());
  rt.block_on([]() -> task<> {
    std::binary_semaphore go_on{0}, begun{0};
    std::atomic<bool> ended{false};
    auto h = skua::spawn([](auto* b, auto* s, auto* e) -> task<int> {
      int const n = co_await spawn_blocking([=] {
        b->release();
        s->acquire();
        *e = true;
        return 5;
      });
      co_return n;   // no suspension point behind it: the value is delivered (S4)
    }, &begun, &go_on, &ended);
    while (!begun.try_acquire()) co_await skua::sleep_for(100us);
    h.request_stop();
    co_await skua::sleep_for(2ms);
    EXPECT_FALSE(h.done());
    go_on.release();
    EXPECT_EQ(co_await h, 5);
    EXPECT_TRUE(ended);
  });
}

TEST(SpawnBlocking, its_timeout_returns_late_with_the_value) {
  skua::runtime rt(two_workers());
  int const n = rt.block_on([]() -> task<int> {
    std::atomic<bool> begun = false;
    int result = 0;
    for (auto limit = 1ms; !begun; limit *= 2) {   // a limit that passes before it has begun stops it
      auto blocks = [&]() -> task<int> { co_return co_await spawn_blocking([&] {
                                           begun = true;
                                           std::this_thread::sleep_for(2 * limit);
                                           return 9;
                                         }); };
      try {
        result = co_await skua::timeout(limit, blocks());
      } catch (skua::timeout_error const&) {
      }
    }
    co_return result;
  });
  EXPECT_EQ(n, 9);
}

TEST(SpawnBlocking, may_use_the_runtime_from_its_thread) {
  skua::runtime rt(two_workers());
  int const n = rt.block_on([](skua::runtime* r) -> task<int> {
    co_return co_await spawn_blocking([r] { return r->block_on([]() -> task<int> { co_return 8; }); });
  }, &rt);
  EXPECT_EQ(n, 8);
}

TEST(SpawnBlocking, keeps_virtual_time_standing_still) {
  skua::runtime rt({.workers = 1, .backend = "virtual"});
  rt.block_on([]() -> task<> {
    auto const before = skua::clock::now();
    auto sleeper = skua::spawn([]() -> task<> { co_await skua::sleep_for(1h); });
    co_await spawn_blocking([] { std::this_thread::sleep_for(20ms); });
    EXPECT_LT(skua::clock::now() - before, 1h);
    EXPECT_FALSE(sleeper.done());
    co_await sleeper;
    EXPECT_GE(skua::clock::now() - before, 1h);
  });
}

TEST(Abandon, gives_results_and_exceptions_as_spawn_blocking_does) {
  skua::runtime rt(two_workers());
  rt.block_on([]() -> task<> {
    EXPECT_EQ(co_await skua::abandon(spawn_blocking([](int n) { return n; }, 4)), 4);
    co_await skua::abandon(spawn_blocking([] {}));
    bool caught = false;
    try {
      co_await skua::abandon(spawn_blocking([] { throw std::runtime_error("x"); }));
    } catch (std::runtime_error const&) {
      caught = true;
    }
    EXPECT_TRUE(caught);
  });
}

// S7: the explicit form returns at once; the work owns its state and runs on.
TEST(Abandon, does_not_wait_for_work_that_has_begun) {
  std::atomic<int> reported{0};
  std::binary_semaphore go_on{0}, begun{0};
  auto const token = std::make_shared<int>(1);
  {
    skua::runtime rt({.workers = 2, .on_unhandled_failure = [&](skua::failure const& f) {
                        EXPECT_EQ(f.task_id, 0u);
                        ++reported;
                      }});
    rt.block_on([](auto* b, auto* s, auto kept) -> task<> {
      auto h = skua::spawn([](auto* b2, auto* s2, auto kept2) -> task<> {
        co_await skua::abandon(spawn_blocking([b2, s2, kept2] {
          b2->release();
          s2->acquire();
          throw std::runtime_error("too late");
        }));
      }, b, s, kept);
      while (!b->try_acquire()) co_await skua::sleep_for(100us);
      h.request_stop();
      bool stopped = false;
      try {
        co_await h;   // returns while the work is still blocked
      } catch (skua::task_stopped const&) {
        stopped = true;
      }
      EXPECT_TRUE(stopped);
    }, &begun, &go_on, token);
    EXPECT_EQ(reported, 0);
    EXPECT_GT(token.use_count(), 1) << "the work still owns what it uses";
    go_on.release();
  }   // the runtime waits for it
  EXPECT_EQ(reported, 1);
  EXPECT_EQ(token.use_count(), 1);
}

TEST(Abandon, a_stop_and_the_end_of_the_work_race_without_loss) {
  auto const token = std::make_shared<int>(1);
  {
    skua::runtime rt(two_workers());
    for (int i = 0; i < 500; ++i) {
      auto h = rt.spawn([](auto kept) -> task<> { co_await skua::abandon(spawn_blocking([kept] { return kept; })); }, token);
      for (int spin = 0; spin < i * 4; ++spin) skua::detail::cpu_pause();
    }   // dropping the handle requests stop
  }
  EXPECT_EQ(token.use_count(), 1);
}

TEST(SpawnBlocking, a_stop_and_the_end_of_the_work_race_without_loss) {
  auto const token = std::make_shared<int>(1);
  {
    skua::runtime rt(two_workers());
    for (int i = 0; i < 500; ++i) {
      auto h = rt.spawn([](auto kept) -> task<> { co_await spawn_blocking([kept] { return kept; }); }, token);
      for (int spin = 0; spin < i * 4; ++spin) skua::detail::cpu_pause();
    }
  }
  EXPECT_EQ(token.use_count(), 1);
}

// docs/hazards.md. What `cat` has blocked, while it waits for its input.
std::string blocked_in_a_program(posix_spawnattr_t const* attributes) {
  int input[2];
  EXPECT_EQ(::pipe2(input, O_CLOEXEC), 0);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, input[0], 0);
  char name[] = "cat";
  char* const arguments[] = {name, nullptr};
  pid_t child = -1;
  EXPECT_EQ(::posix_spawnp(&child, name, &actions, attributes, arguments, environ), 0);
  posix_spawn_file_actions_destroy(&actions);
  std::ifstream status("/proc/" + std::to_string(child) + "/status");
  std::string blocked;
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("SigBlk:")) blocked = line.substr(line.find_last_of(" \t") + 1);
  ::close(input[0]);
  ::close(input[1]);   // it ends
  EXPECT_EQ(::waitpid(child, nullptr, 0), child);
  return blocked;
}
TEST(SpawnBlocking, a_program_that_is_started_there_has_all_signals_blocked_unless_told_otherwise) {
  skua::runtime rt(two_workers());
  rt.block_on([]() -> task<> {
    std::string const inherited = co_await spawn_blocking(blocked_in_a_program, nullptr);
    EXPECT_TRUE(std::stoull(inherited, nullptr, 16) & 1u << (SIGTERM - 1)) << inherited;
    posix_spawnattr_t none_blocked;
    posix_spawnattr_init(&none_blocked);
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_setsigmask(&none_blocked, &none);
    posix_spawnattr_setflags(&none_blocked, POSIX_SPAWN_SETSIGMASK);
    EXPECT_EQ(std::stoull(co_await spawn_blocking(blocked_in_a_program, &none_blocked), nullptr, 16), 0u);
    posix_spawnattr_destroy(&none_blocked);
  });
}

} // namespace
