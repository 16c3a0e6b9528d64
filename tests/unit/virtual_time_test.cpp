// SPDX-License-Identifier: Apache-2.0
// What virtual time waits for, and programs that cannot go on (docs/virtual-time.md).
#include "skua/blocking.hpp"
#include "skua/error.hpp"
#include "skua/event.hpp"
#include "skua/outside_work.hpp"
#include "skua/runtime.hpp"
#include "skua/shield.hpp"
#include "skua/time.hpp"
#include "skua/when_all.hpp"
#include "tests/support/several_workers.hpp"
#include "tests/support/values.hpp"
#include <atomic>
#include <chrono>
#include <optional>
#include <string>
#include <thread>
#include <utility>

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::task;

class VirtualTime : public leak_check, public testing::WithParamInterface<unsigned> {
protected:
  static skua::options soon(std::chrono::milliseconds stuck_after = 50ms) {
    return {.workers = GetParam(), .backend = "virtual", .stuck_after = stuck_after};
  }
};
INSTANTIATE_TEST_SUITE_P(, VirtualTime, testing::Values(1u, 2u), by_workers);

task<> waits_for(skua::event& e) { co_await e.wait(); }

// ---------------------------------------------------------------------------------------------- stuck

TEST_P(VirtualTime, a_program_that_cannot_go_on_ends_with_a_list_of_its_tasks) {
  skua::event never_set;
  std::atomic<int> gone{0};
  skua::runtime rt(soon());
  std::string const text = message_of<skua::stuck_error>([&] {
    rt.block_on([&]() -> task<> {
      auto h = skua::spawn(skua::named("reader"), [&]() -> task<> {
        witness const w(gone);
        co_await skua::sleep_for(1h);
        co_await waits_for(never_set);
      });
      co_await h;
    });
  });
  EXPECT_NE(text.find("stuck: no task can run"), std::string::npos) << text;
  EXPECT_NE(text.find("'reader' spawned at "), std::string::npos) << text;
  EXPECT_NE(text.find("waits for: event"), std::string::npos) << text;
  EXPECT_NE(text.find("waits for: join"), std::string::npos) << text;
  while (gone != 1) std::this_thread::yield();   // every task was stopped
  EXPECT_EQ(rt.block_on(value_of(3)), 3) << "and the runtime goes on";
  EXPECT_EQ(rt.metrics().failures_unhandled, 0u) << "what the tasks came to when they were stopped is no failure of its own";
}

TEST_P(VirtualTime, the_list_shows_what_each_branch_waits_for) {
  skua::event never_set;
  skua::runtime rt(soon());
  std::string const text = message_of<skua::stuck_error>([&] {
    rt.block_on([&]() -> task<> {
      auto gone = [&]() -> task<> { co_await skua::this_task::yield(); };
      auto inner = [&]() -> task<> { co_await skua::when_all(waits_for(never_set), never()); };
      co_await skua::when_all(inner(), gone(), [&]() -> task<> { co_await waits_for(never_set); }());
    });
  });
  EXPECT_NE(text.find("waits for: its branches\n"), std::string::npos) << text;
  EXPECT_NE(text.find("\n  branch waits for: event\n"), std::string::npos) << text;
  EXPECT_NE(text.find("\n  branch waits for: its branches\n"), std::string::npos) << text;
  EXPECT_NE(text.find("\n    branch waits for: event\n"), std::string::npos) << text;
  EXPECT_NE(text.find("\n    branch waits for: future\n"), std::string::npos) << text;
  EXPECT_NE(text.find("\n  1 more: running, queued or ended\n"), std::string::npos) << text;
}

TEST_P(VirtualTime, every_thread_that_waits_is_told) {
  skua::runtime rt(soon());
  std::atomic<int> told{0};
  auto const wait = [&] {
    try {
      rt.block_on(never());
    } catch (skua::stuck_error const&) {
      ++told;
    }
  };
  std::thread other(wait);
  wait();
  other.join();
  EXPECT_EQ(told, 2);
}

TEST_P(VirtualTime, a_runtime_that_nobody_waits_for_may_rest) {
  skua::event e;
  skua::runtime rt(soon(1ms));
  auto h = rt.spawn([&]() -> task<int> {
    co_await e.wait();
    co_return 4;
  });
  std::this_thread::sleep_for(50ms);   // many times as long: nothing may happen
  e.set();
  EXPECT_EQ(rt.block_on([](auto joined) -> task<int> { co_return co_await joined; }, std::move(h)), 4);
}

TEST_P(VirtualTime, a_thread_outside_may_wake_a_task_in_time) {
  skua::runtime rt(soon(1h));
  skua::promise<int> p;
  auto f = p.get_future();
  std::thread outside([&] { p.set_value(5); });
  EXPECT_EQ(rt.block_on([](auto awaited) -> task<int> { co_return co_await awaited; }, std::move(f)), 5);
  outside.join();
}

TEST_P(VirtualTime, of_zero_patience_waits_for_ever) {
  skua::runtime rt(soon(0ms));
  skua::promise<int> p;
  auto f = p.get_future();
  std::thread outside([&] {
    std::this_thread::sleep_for(50ms);
    p.set_value(5);
  });
  EXPECT_EQ(rt.block_on([](auto awaited) -> task<int> { co_return co_await awaited; }, std::move(f)), 5);
  outside.join();
}

TEST(VirtualTimeDeathTest, a_program_that_cannot_even_be_stopped_ends_the_process) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  auto const hang = [] {
    skua::run({.workers = 1, .backend = "virtual", .stuck_after = 20ms}, []() -> task<> { co_await skua::shield(never()); }());
  };
  EXPECT_DEATH(hang(), "stuck: .*although every task was stopped");
}

// ---------------------------------------------------------------------------------------------- outside work

// Time stands still, and nobody is stuck, while a blocking call runs.
TEST_P(VirtualTime, waits_for_blocking_calls) {
  skua::runtime rt(soon(1ms));
  rt.block_on([]() -> task<> {
    auto const begin = skua::clock::now();
    std::atomic<bool> slept{false};
    auto h = skua::spawn([&]() -> task<> {
      co_await skua::sleep_for(1h);
      slept = true;
    });
    co_await skua::spawn_blocking([&] {
      std::this_thread::sleep_for(50ms);
      EXPECT_FALSE(slept);
    });
    EXPECT_EQ(skua::clock::now(), begin);
    co_await h;
    EXPECT_EQ(skua::clock::now() - begin, 1h);
  });
}

// It is not under way while it waits: otherwise both would wait for ever.
TEST_P(VirtualTime, goes_on_while_blocking_work_waits_in_block_on) {
  skua::runtime rt(soon(0ms));
  rt.block_on([&]() -> task<> {
    auto const begin = skua::clock::now();
    auto const asks_back = [&](std::chrono::hours n) -> task<> {
      co_await skua::spawn_blocking([&] {
        for (int i = 0; i < 20; ++i) {
          auto const before = skua::clock::now();
          rt.block_on([](std::chrono::hours h) -> task<> { co_await skua::sleep_for(h); }(n));
          EXPECT_EQ(skua::clock::now() - before, n);   // and stands still again as soon as it goes on
        }
      });
    };
    co_await skua::when_all(asks_back(1h), asks_back(1h));
    EXPECT_EQ(skua::clock::now() - begin, 20h);
  }());
}
TEST_P(VirtualTime, blocking_work_that_waits_in_block_on_for_nothing_is_told) {
  skua::runtime rt(soon());
  skua::event never_set;
  bool told = false;
  EXPECT_THROW(rt.block_on([&]() -> task<> {
    co_await skua::spawn_blocking([&] {
      try {
        rt.block_on(waits_for(never_set));
      } catch (skua::stuck_error const&) {
        told = true;
      }
    });
  }()),
               skua::stuck_error);
  EXPECT_TRUE(told);
}

TEST_P(VirtualTime, waits_for_outside_work) {
  skua::runtime rt(soon(1ms));
  std::thread outside;
  rt.block_on([&]() -> task<> {
    auto const begin = skua::clock::now();
    std::atomic<bool> slept{false};
    auto h = skua::spawn([&]() -> task<> {
      co_await skua::sleep_for(1h);
      slept = true;
    });
    skua::promise<int> p;
    auto f = p.get_future();
    outside = std::thread([&slept, p = std::move(p), w = skua::outside_work()]() mutable {
      std::this_thread::sleep_for(50ms);
      EXPECT_FALSE(slept);
      p.set_value(6);
    });
    EXPECT_EQ(co_await f, 6);
    EXPECT_EQ(skua::clock::now(), begin);
    co_await h;
    EXPECT_EQ(skua::clock::now() - begin, 1h) << "it ended with the thread's function";
  });
  outside.join();
}

TEST_P(VirtualTime, jumps_when_outside_work_has_ended_without_a_word) {
  skua::runtime rt(soon(1h));
  skua::outside_work first(rt), moved(std::move(first));
  std::thread outside([w = std::move(moved)]() mutable {
    std::this_thread::sleep_for(20ms);
    auto const ended = std::move(w);
  });
  rt.block_on([]() -> task<> { co_await skua::sleep_for(1h); });
  outside.join();
}

TEST_P(VirtualTime, outside_work_may_outlive_the_runtime) {
  std::optional<skua::outside_work> w;
  {
    skua::runtime rt(soon());
    w.emplace(rt);
    skua::outside_work another(rt);
    another = std::move(*w);
    *w = std::move(another);
  }
  w.reset();
}

TEST_P(VirtualTime, outside_work_needs_a_runtime) { EXPECT_THROW((void)skua::outside_work(), skua::usage_error); }

} // namespace
