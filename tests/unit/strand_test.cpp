// SPDX-License-Identifier: Apache-2.0
// strand: one function at a time, in order; results, failures, stop, destruction.
#include "skua/strand.hpp"
#include "skua/runtime.hpp"
#include "skua/this_task.hpp"
#include "tests/support/leak_check.hpp"
#include "tests/support/values.hpp"
#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

namespace {

using namespace skua_test;
using skua::strand;
using skua::task;

class Strand : public leak_check {
protected:
  template <class F>
  void run(F f) {
    rt.block_on(std::move(f));
  }
  skua::runtime rt{skua::options{.workers = 4}};
};

TEST_F(Strand, runs_functions_one_at_a_time) {
  constexpr int tasks = 16, each = SKUA_TSAN || SKUA_ASAN ? 1'000 : 10'000;
  run([&]() -> task<> {
    strand s;
    long counter = 0;   // not atomic
    std::vector<skua::join_handle<>> all;
    for (int t = 0; t < tasks; ++t)
      all.push_back(skua::spawn([&]() -> task<> {
        long last = 0;
        for (int i = 0; i < each; ++i) {
          long const n = co_await s.run([&] { return ++counter; });
          EXPECT_GT(n, last);
          last = n;
        }
      }));
    for (auto& h : all) co_await h;
    EXPECT_EQ(counter, static_cast<long>(tasks) * each);
  });
}

TEST_F(Strand, gives_results_of_every_kind) {
  run([]() -> task<> {
    strand s;
    int target = 1;
    co_await s.run([&] { target = 2; });
    int& r = co_await s.run([&]() -> int& { return target; });
    EXPECT_EQ(&r, &target);
    EXPECT_EQ(*co_await s.run([p = std::make_unique<int>(5)]() mutable { return std::move(p); }), 5);
    EXPECT_THROW(co_await s.run([] { throw std::out_of_range("strand"); }), std::out_of_range);
    EXPECT_EQ(co_await s.run([] { return 7; }), 7);
  });
}

TEST_F(Strand, executes_for_those_who_came_while_it_was_busy_in_their_order) {
  skua::runtime two({.workers = 2});
  two.block_on([]() -> task<> {
    strand s;
    std::atomic<bool> inside = false, go = false;
    std::vector<int> order;
    auto first = skua::spawn([&]() -> task<> {
      co_await s.run([&] {
        inside = true;
        while (!go) std::this_thread::yield();
        order.push_back(0);
      });
    });
    co_await until([&] { return inside.load(); });
    std::vector<skua::join_handle<>> all;
    std::atomic<int> came = 0;
    for (int i = 1; i <= 200; ++i) {   // more than one task executes at once
      all.push_back(skua::spawn([&, i]() -> task<> {
        ++came;
        co_await s.run([&order, i] { order.push_back(i); });
      }));
      co_await until([&] { return came == i; });
    }
    auto stopped = skua::spawn([&]() -> task<> {
      ++came;
      co_await s.run([&] { order.push_back(-1); });
    });
    co_await until([&] { return came == 201; });
    stopped.request_stop();
    EXPECT_THROW(co_await stopped, skua::task_stopped);   // S4: it has not run
    go = true;
    co_await first;
    for (auto& h : all) co_await h;
    std::vector<int> expected;
    for (int i = 0; i <= 200; ++i) expected.push_back(i);
    EXPECT_EQ(order, expected);
  });
}

TEST_F(Strand, may_be_destroyed_by_the_last_to_return) {
  constexpr int rounds = SKUA_TSAN || SKUA_ASAN ? 1'000 : 10'000;
  run([&]() -> task<> {
    for (int i = 0; i < rounds; ++i) {
      auto* const s = new strand;
      std::atomic<int> left = 2;
      auto use = [](strand* at, std::atomic<int>* l) -> task<> {
        co_await at->run([] {});
        if (--*l == 0) delete at;
      };
      auto a = skua::spawn(use, s, &left);
      auto b = skua::spawn(use, s, &left);
      co_await a;
      co_await b;
    }
  });
}

} // namespace
