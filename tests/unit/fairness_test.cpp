// SPDX-License-Identifier: Apache-2.0
// D11: what completes at once, again and again, lets the other tasks of its worker run. Here what is neither lock nor channel; those are tested beside the
// rest of what they do.
#include "skua/as_completed.hpp"
#include "skua/event.hpp"
#include "skua/readiness.hpp"
#include "skua/runtime.hpp"
#include "skua/select.hpp"
#include "skua/shield.hpp"
#include "skua/spawn.hpp"
#include "skua/task_group.hpp"
#include "skua/this_task.hpp"
#include "skua/udp.hpp"
#include "tests/support/leak_check.hpp"
#include <functional>
#include <gtest/gtest.h>
#include <memory>
#include <sys/eventfd.h>
#include <unistd.h>
#include <vector>

namespace {

using skua::on;
using skua::select;
using skua::task;

task<int> number(int n) { co_return n; }

class Fairness : public skua_test::leak_check {
protected:
  static constexpr int many = 2'000;   // more than the budget, by far

  // Calls once(i) again and again while a task beside it waits for its turn.
  template <class F>
  static task<int> rounds_until_another_ran(F once) {
    auto const ran = std::make_shared<bool>(false);
    auto const other = skua::spawn([ran]() -> task<> {
      *ran = true;
      co_return;
    });
    int rounds = 0;
    while (!*ran && rounds != many) co_await once(rounds++);
    co_return rounds;   // not a suspension point: `once` may be stopped
  }
  static task<std::vector<skua::join_handle<int>>> ended_tasks() {
    std::vector<skua::join_handle<int>> handles;
    for (int i = 0; i != many; ++i) handles.push_back(skua::spawn(number, i));
    for (auto const& h : handles)
      while (!h.done()) co_await skua::this_task::yield();
    co_return handles;
  }
  template <class F>
  static void run(F f) {
    skua::runtime rt({.workers = 1});
    rt.block_on(std::move(f));
  }
};

TEST_F(Fairness, of_joins_of_tasks_that_have_ended__D11) {
  run([]() -> task<> {
    auto handles = co_await ended_tasks();
    auto join = [&](int i) -> task<> { EXPECT_EQ(co_await handles[static_cast<unsigned>(i)], i); };
    EXPECT_LT(co_await rounds_until_another_ran(join), many);
  });
}

TEST_F(Fairness, of_joins_that_are_selected__D11) {
  run([]() -> task<> {
    auto handles = co_await ended_tasks();
    auto join = [&](int i) -> task<> { co_await select(on(handles[static_cast<unsigned>(i)], [i](int n) { EXPECT_EQ(n, i); })); };
    EXPECT_LT(co_await rounds_until_another_ran(join), many);
  });
}

// Somebody else may join it meanwhile, which is a mistake.
TEST_F(Fairness, of_a_join_does_not_give_a_result_twice) {
  run([]() -> task<> {
    auto handles = co_await ended_tasks();
    int results = 0, refused = 0;
    auto join_all = [&]() -> task<> {
      for (auto& h : handles)
        try {
          co_await h;
          ++results;
        } catch (skua::usage_error const&) {
          ++refused;
        }
    };
    auto other = skua::spawn(join_all);
    co_await join_all();
    co_await other;
    EXPECT_EQ(results, many);
    EXPECT_EQ(refused, many);
  });
}

TEST_F(Fairness, of_a_select_that_takes_its_own_stop__D11) {
  run([]() -> task<> {
    int rounds = many;
    auto stopped = skua::spawn([&]() -> task<> {
      skua::event never;
      auto stops = [&](int) -> task<> { co_await select(on(never.wait(), [] { ADD_FAILURE(); }), on(skua::stopping, [] {})); };
      rounds = co_await rounds_until_another_ran(stops);
    });
    stopped.request_stop();
    co_await stopped;
    EXPECT_LT(rounds, many);
  });
}

TEST_F(Fairness, of_groups_without_tasks__D11) {
  run([]() -> task<> {
    auto body = [](skua::task_group& g) -> task<> {
      EXPECT_LT(co_await rounds_until_another_ran([&](int) -> task<> { co_await g.join(); }), many);
      EXPECT_LT(co_await rounds_until_another_ran([&](int) -> task<> { co_await g.room(); }), many);
    };
    co_await skua::with_task_group({.max_concurrency = 1}, body);
  });
}

TEST_F(Fairness, of_what_has_completed_already__D11) {
  run([]() -> task<> {
    std::vector<task<int>> tasks;
    for (int i = 0; i != many; ++i) tasks.push_back(number(i));
    bool ran = false;
    int before = 0;
    skua::join_handle<> other;
    co_await skua::as_completed(std::move(tasks), [&](skua::outcome<int>) {
      if (!other) other = skua::spawn([&ran]() -> task<> { ran = true; co_return; });
      if (!ran) ++before;
    });
    EXPECT_LT(before, many);
    co_await other;
  });
}

TEST_F(Fairness, of_a_descriptor_that_is_always_ready__D11) {
  run([]() -> task<> {
    int const fd = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    EXPECT_LT(co_await rounds_until_another_ran([fd](int) -> task<> { co_await skua::writable(fd); }), many);
    ::close(fd);
  });
}

// The other one waits for its turn in the LIFO slot.
TEST_F(Fairness, of_sockets_that_are_always_ready__D11) {
  run([]() -> task<> {
    auto socket = skua::udp_socket::bind(skua::endpoint::loopback(0));
    auto const to = socket.local_endpoint();
    EXPECT_LT(co_await rounds_until_another_ran([&](int) { return socket.send_to("x", to); }), many);
  });
}

// While a stop is under way anywhere, operations do not end in await_ready(): they must be counted all the same.
TEST_F(Fairness, of_sockets_while_a_stop_is_under_way__D11) {
  skua::runtime rt({.workers = 1});
  int const rounds = rt.block_on([]() -> task<int> {
    skua::event go_on;
    auto const takes_its_time = [](skua::event& e) -> task<> { co_await skua::shield(e.wait()); };
    auto stopping = skua::spawn(takes_its_time, std::ref(go_on));
    co_await skua::this_task::yield();
    stopping.request_stop();
    auto socket = skua::udp_socket::bind(skua::endpoint::loopback(0));
    auto const to = socket.local_endpoint();
    int const n = co_await rounds_until_another_ran([&](int) { return socket.send_to("x", to); });
    go_on.set();
    co_await skua::stopped_as_optional(stopping);
    co_return n;
  });
  EXPECT_LT(rounds, many);
}

} // namespace
