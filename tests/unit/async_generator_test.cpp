// SPDX-License-Identifier: Apache-2.0
// async_generator: values, waiting, failure, stop and destruction in the middle.
#include "skua/async_generator.hpp"
#include "skua/runtime.hpp"
#include "skua/time.hpp"
#include "skua/timeout.hpp"
#include "tests/support/leak_check.hpp"
#include "tests/support/values.hpp"
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::async_generator;
using skua::task;

class AsyncGenerator : public leak_check {
protected:
  template <class F>
  void run(F f) {
    rt.block_on(std::move(f));
  }
  skua::runtime rt{skua::options{.workers = 2, .backend = "virtual"}};
};

async_generator<int> count_to(int n) {
  for (int i = 1; i <= n; ++i) co_yield i;
}
async_generator<std::unique_ptr<int>> with_pauses(std::atomic<int>& ended, int n) {
  witness const w(ended);
  for (int i = 0; i < n; ++i) {
    co_await skua::sleep_for(1ms);
    co_yield std::make_unique<int>(i);
  }
}
async_generator<int> doubled(async_generator<int> of) {
  while (auto n = co_await of.next()) co_yield 2 * *n;
}

TEST_F(AsyncGenerator, yields_its_values_in_order_and_then_ends) {
  run([]() -> task<> {
    auto g = count_to(3);
    EXPECT_TRUE(static_cast<bool>(g));
    for (int i = 1; i <= 3; ++i) EXPECT_EQ(co_await g.next(), i);
    EXPECT_TRUE(static_cast<bool>(g));
    EXPECT_EQ(co_await g.next(), std::nullopt);
    EXPECT_FALSE(static_cast<bool>(g));
    EXPECT_EQ(co_await g.next(), std::nullopt);
    async_generator<int> none;
    EXPECT_EQ(co_await none.next(), std::nullopt);
  });
}

TEST_F(AsyncGenerator, may_wait_between_values_that_only_move) {
  std::atomic<int> ended = 0;
  run([&]() -> task<> {
    auto g = with_pauses(ended, 4);
    auto const begin = skua::clock::now();
    int expected = 0;
    while (auto v = co_await g.next()) EXPECT_EQ(**v, expected++);
    EXPECT_EQ(expected, 4);
    EXPECT_EQ(skua::clock::now() - begin, 4ms);
    EXPECT_EQ(ended, 1);
  });
}

TEST_F(AsyncGenerator, may_use_another_one) {
  run([]() -> task<> {
    auto g = doubled(doubled(count_to(100)));
    int sum = 0;
    while (auto v = co_await g.next()) sum += *v;
    EXPECT_EQ(sum, 4 * 5050);
  });
}

TEST_F(AsyncGenerator, throws_what_it_throws_once_and_has_ended) {
  run([]() -> task<> {
    auto g = []() -> async_generator<int> {
      co_yield 1;
      throw std::out_of_range("generator");
    }();
    EXPECT_EQ(co_await g.next(), 1);
    EXPECT_THROW((void)co_await g.next(), std::out_of_range);
    EXPECT_FALSE(static_cast<bool>(g));
    EXPECT_EQ(co_await g.next(), std::nullopt);
  });
}

TEST_F(AsyncGenerator, throws_what_constructing_a_value_throws) {
  struct picky {
    int value;
    explicit picky(int n) : value(n) {
      if (n < 0) throw std::invalid_argument("negative");
    }
  };
  run([]() -> task<> {
    auto g = []() -> async_generator<picky> {
      co_yield 1;
      bool caught = false;
      try {
        co_yield -1;
      } catch (std::invalid_argument const&) {
        caught = true;
      }
      EXPECT_TRUE(caught);   // in the generator, which yielded it
      co_yield 2;
    }();
    EXPECT_EQ((co_await g.next())->value, 1);
    EXPECT_EQ((co_await g.next())->value, 2);
  });
}

TEST_F(AsyncGenerator, that_is_destroyed_in_the_middle_destroys_its_locals) {
  std::atomic<int> ended = 0;
  run([&]() -> task<> {
    {
      auto g = with_pauses(ended, 10);
      (void)co_await g.next();
      EXPECT_EQ(ended, 0);
    }
    EXPECT_EQ(ended, 1);
    { auto const never_started = with_pauses(ended, 10); }
    EXPECT_EQ(ended, 1);   // its body never began
    auto g = with_pauses(ended, 10);
    (void)co_await g.next();
    g = with_pauses(ended, 1);
    EXPECT_EQ(ended, 2);
    EXPECT_EQ(**co_await g.next(), 0);
  });
  EXPECT_EQ(ended, 3);
}

TEST_F(AsyncGenerator, can_be_moved_between_two_values_also_to_another_task) {
  std::atomic<int> ended = 0;
  run([&]() -> task<> {
    auto g = with_pauses(ended, 4);
    EXPECT_EQ(**co_await g.next(), 0);
    auto moved = std::move(g);
    EXPECT_EQ(co_await g.next(), std::nullopt);   // NOLINT(bugprone-use-after-move)
    EXPECT_EQ(**co_await moved.next(), 1);
    auto h = skua::spawn([](async_generator<std::unique_ptr<int>> of) -> task<int> {
      int sum = 0;
      while (auto v = co_await of.next()) sum += **v;
      co_return sum;
    }, std::move(moved));
    EXPECT_EQ(co_await h, 5);
  });
  EXPECT_EQ(ended, 1);
}

TEST_F(AsyncGenerator, that_is_stopped_while_it_waits_is_unwound_with_its_task) {
  std::atomic<int> ended = 0;
  run([&]() -> task<> {
    auto h = skua::spawn([&]() -> task<> {
      witness const w(ended);
      auto g = with_pauses(ended, 1'000'000);
      while (auto v = co_await g.next()) {
      }
    });
    co_await skua::sleep_for(10ms);
    h.request_stop();
    EXPECT_THROW(co_await h, skua::task_stopped);
    EXPECT_EQ(ended, 2);
  });
}

TEST_F(AsyncGenerator, that_is_stopped_inside_a_timeout_has_ended) {
  std::atomic<int> ended = 0;
  run([&]() -> task<> {
    auto g = with_pauses(ended, 10);
    auto one = [](async_generator<std::unique_ptr<int>>& of) -> task<int> { co_return **co_await of.next(); };
    EXPECT_EQ(co_await skua::timeout(5ms, one(g)), 0);
    EXPECT_THROW((void)co_await skua::timeout(10us, one(g)), skua::timeout_error);
    EXPECT_EQ(ended, 1);
    EXPECT_FALSE(static_cast<bool>(g));
    EXPECT_EQ(co_await g.next(), std::nullopt);
  });
}

TEST_F(AsyncGenerator, refuses_a_second_task_that_calls_next) {
  std::atomic<int> ended = 0;
  run([&]() -> task<> {
    auto g = with_pauses(ended, 2);
    auto h = skua::spawn([&]() -> task<> { (void)co_await g.next(); });
    co_await skua::sleep_for(10us);
    EXPECT_THROW((void)co_await g.next(), skua::usage_error);
    co_await h;
    EXPECT_EQ(**co_await g.next(), 1);
  });
}

TEST_F(AsyncGenerator, of_a_million_values_uses_one_frame) {
  run([]() -> task<> {
    auto g = count_to(1'000'000);
    long sum = 0;
    while (auto v = co_await g.next()) sum += *v;
    EXPECT_EQ(sum, 500'000'500'000);
  });
}

} // namespace
