// SPDX-License-Identifier: Apache-2.0
// The end of a runtime: whom its stop reaches, when a task counts as ended, what is reported (S7, S22). More of it: runtime_test.cpp, rulings_test.cpp.
#include "skua/as_completed.hpp"
#include "skua/blocking.hpp"
#include "skua/finally.hpp"
#include "skua/runtime.hpp"
#include "skua/shield.hpp"
#include "skua/task_group.hpp"
#include "skua/this_task.hpp"
#include "skua/time.hpp"
#include "tests/support/leak_check.hpp"
#include "tests/support/values.hpp"
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <fcntl.h>
#include <functional>
#include <source_location>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::task;

class Shutdown : public leak_check {};

// What is written to stderr while it lives can be read meanwhile.
class stderr_pipe {
public:
  stderr_pipe() : former_(::dup(2)) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) std::abort();
    from_ = ends[0];
    ::dup2(ends[1], 2);
    ::close(ends[1]);
  }
  ~stderr_pipe() {
    ::dup2(former_, 2);
    ::close(former_);
    ::close(from_);
  }
  stderr_pipe(stderr_pipe const&) = delete;
  // Everything up to the end of the line that has it.
  std::string read_until(std::string_view what) const {
    std::string all;
    char c;
    while (::read(from_, &c, 1) == 1) {
      all += c;
      if (c == '\n' && all.find(what) != std::string::npos) break;
    }
    return all;
  }

private:
  int former_, from_ = -1;
};

TEST_F(Shutdown, with_a_limit_of_ages_waits) {
  skua::runtime rt({.workers = 1});
  std::atomic<bool> begun = false, ended = false;
  auto h = rt.spawn([&]() -> task<> {
    co_await skua::shield([&]() -> task<> {
      begun = true;
      co_await skua::sleep_for(20ms);
      ended = true;
    }());
  });
  while (!begun) std::this_thread::yield();
  EXPECT_TRUE(rt.shutdown(std::chrono::seconds::max()).clean());
  EXPECT_TRUE(ended);
}

// INV-TASK-6: a task counts as gone when nothing is left but what its handle's owner frees. The order in which finish() says so.
TEST_F(Shutdown, a_task_counts_as_gone_behind_the_end_of_its_result) {
  using state = skua::detail::task_state<skua::detail::real_sync>;
  auto const order = [](state& s, bool dropped_in_between) {
    std::string calls;
    (void)s.finish(
        [&] {
          calls += "ended ";
          if (dropped_in_between) { EXPECT_FALSE(s.release()); }   // the task's end finds it, and destroys
        },
        [&] { calls += "destroy "; }, [&] { calls += "gone"; });
    return calls;
  };
  state kept, dropped, dropped_now;
  EXPECT_EQ(order(kept, false), "ended gone");
  EXPECT_TRUE(kept.release());   // its owner destroys
  EXPECT_FALSE(dropped.release());
  EXPECT_EQ(order(dropped, false), "destroy ended gone");
  EXPECT_EQ(order(dropped_now, true), "ended destroy gone");
}
// So a clean shutdown comes behind the destructor of a result that nobody wants.
TEST_F(Shutdown, waits_for_the_destructor_of_a_result_that_nobody_wants) {
  struct slow {
    std::atomic<int>* step;
    explicit slow(std::atomic<int>& s) noexcept : step(&s) {}
    slow(slow&& o) noexcept : step(std::exchange(o.step, nullptr)) {}
    ~slow() {
      if (step == nullptr) return;
      *step = 1;
      while (*step == 1) std::this_thread::yield();
      *step = 3;
    }
  };
  std::atomic<int> step = 0;
  skua::runtime rt({.workers = 1});
  std::atomic<bool> detached = false;   // before it ends: otherwise detach() destroys the result, on this thread
  auto h = rt.spawn([&]() -> task<slow> {
    while (!detached) co_await skua::this_task::yield();
    co_return slow(step);
  });
  std::move(h).detach();
  detached = true;
  while (step != 1) std::this_thread::yield();
  EXPECT_EQ(rt.metrics().live_tasks, 1u);
  EXPECT_FALSE(rt.shutdown(1ms).clean());
  step = 2;
  EXPECT_TRUE(rt.shutdown(1h).clean());
  EXPECT_EQ(step, 3);
}

// S15: the tasks of a group are reached through the group, and so not through a shield.
TEST_F(Shutdown, reaches_nothing_behind_a_shield_not_even_tasks_of_a_group) {
  std::atomic<int> begun = 0, sum = 0;
  std::vector<skua::promise<int>> promises(6);
  auto add = [&](std::size_t i) -> task<> {
    auto f = promises[i].get_future();
    ++begun;
    sum += co_await f;
  };
  auto add_two = [&](std::size_t i) {
    return skua::with_task_group([&add, i](skua::task_group& g) -> task<> {
      g.spawn(add, i);
      g.spawn(add, i + 1);
      co_return;
    });
  };
  {
    skua::runtime rt({.workers = 1});
    rt.spawn([&]() -> task<> { co_await skua::shield(add_two(0)); }).detach();
    rt.spawn([&]() -> task<> { co_await skua::finally(skua::this_task::yield(), [&] { return add_two(2); }); }).detach();
    rt.spawn([&]() -> task<> {
        co_await skua::shield([&]() -> task<> {
          std::vector<task<>> both;
          both.push_back(add(4));
          both.push_back(add(5));
          co_await skua::as_completed(std::move(both), [](skua::outcome<>) {});
        }());
      }).detach();
    while (begun != 6) std::this_thread::yield();
    rt.request_stop();
    for (int i = 0; i != 3; ++i) rt.block_on(yield_times(10));   // what the request has found was injected before, and comes first
    EXPECT_EQ(rt.shutdown(0s).survivors.size(), 9u);
    for (int i = 0; auto& p : promises) p.set_value(++i);
    EXPECT_TRUE(rt.shutdown(30s).clean());
  }
  EXPECT_EQ(sum, 21);
}

// Without a shield they are reached, for whatever reason the group is stopped.
TEST_F(Shutdown, reaches_the_tasks_of_a_group) {
  std::atomic<int> begun = 0;
  skua::runtime rt({.workers = 2});
  rt.spawn([&]() -> task<> {
      co_await skua::with_task_group([&](skua::task_group& g) -> task<> {
        for (int i = 0; i != 3; ++i)
          g.spawn([&]() -> task<> {
            ++begun;
            co_await never();
          });
        co_return;
      });
    }).detach();
  while (begun != 3) std::this_thread::yield();
  EXPECT_TRUE(rt.shutdown(30s).clean());
}

// It is alive, and a survivor of a shutdown, until its failure was reported or its result is gone.
TEST_F(Shutdown, a_task_without_an_owner_has_ended_when_nothing_is_left_of_it) {
  std::atomic<int> step = 0;
  auto linger = [&step] {
    step = 1;
    while (step != 2) std::this_thread::yield();
  };
  struct result {
    decltype(linger)* at_end;
    explicit result(decltype(linger)& f) noexcept : at_end(&f) {}
    result(result&& o) noexcept : at_end(std::exchange(o.at_end, nullptr)) {}
    ~result() {
      if (at_end != nullptr) (*at_end)();
    }
  };
  auto const with_result = [&](std::atomic<bool>& detached) -> task<result> {
    while (!detached) co_await skua::this_task::yield();
    co_return result(linger);
  };
  auto const failing = [](std::atomic<bool>& detached) -> task<> {
    while (!detached) co_await skua::this_task::yield();
    throw std::runtime_error("nobody awaits this");
  };
  auto const check = [&](auto const& f) {
    skua::runtime rt({.workers = 1, .on_unhandled_failure = [&](skua::failure const&) { linger(); }});
    std::atomic<bool> detached = false;
    rt.spawn(f, std::ref(detached)).detach();
    detached = true;
    while (step != 1) std::this_thread::yield();
    EXPECT_EQ(rt.metrics().live_tasks, 1u);
    EXPECT_EQ(rt.shutdown(0s).survivors.size(), 1u);
    step = 2;
    EXPECT_TRUE(rt.shutdown(30s).clean());
  };
  check(with_result);
  step = 0;
  check(failing);
}

// ---------------------------------------------------------------------------------------------- reports

TEST_F(Shutdown, reports_who_is_alive_when_the_limit_passes__S22) {
  skua::runtime rt({.workers = 2});
  std::atomic<bool> let_go = false;
  std::atomic<int> begun = 0;
  auto busy = rt.spawn(skua::named("stubborn"), [&]() -> task<> {
    ++begun;
    while (!let_go) co_await value_of(0);   // never looks
  });
  auto blocked = rt.spawn([&]() -> task<> {
    co_await skua::spawn_blocking([&] {
      ++begun;
      while (!let_go) std::this_thread::sleep_for(1ms);
    });
  });
  auto polite = rt.spawn(never);
  while (begun != 2) std::this_thread::yield();
  skua::shutdown_report first;
  auto const blocked_waits = [&] { return std::ranges::count(first.survivors, "spawn_blocking", &skua::survivor::waits_for) == 1; };
  do first = rt.shutdown(20ms);
  while (first.survivors.size() > 2 || !blocked_waits());   // until the polite one has ended, and the other come to its wait, however slow this machine is
  ASSERT_EQ(first.survivors.size(), 2u);
  EXPECT_TRUE(polite.done());
  auto const stubborn = std::ranges::find(first.survivors, "stubborn", &skua::survivor::name);
  ASSERT_NE(stubborn, first.survivors.end());
  EXPECT_EQ(stubborn->id, busy.id());
  auto const other = std::ranges::find(first.survivors, blocked.id(), &skua::survivor::id);
  ASSERT_NE(other, first.survivors.end());
  EXPECT_NE(std::string(other->spawned_at.file_name()).find("shutdown_test.cpp"), std::string::npos);
  EXPECT_EQ(other->waits_for, "spawn_blocking");
  ASSERT_EQ(first.blocking.size(), 1u);
  EXPECT_EQ(first.blocking[0].task_id, blocked.id());
  EXPECT_FALSE(first.blocking[0].abandoned);
  let_go = true;
  EXPECT_TRUE(rt.shutdown(10s).clean());
  EXPECT_TRUE(rt.shutdown(0s).clean());
  busy.detach();
  blocked.detach();
}

TEST_F(Shutdown, and_dump_name_blocking_work_that_was_abandoned__S7_S22) {
  skua::runtime rt({.workers = 1});
  std::atomic<bool> let_go = false, begun = false;
  unsigned const line = std::source_location::current().line() + 1;
  auto h = rt.spawn(skua::named("resolver"), [&]() -> task<> {
    co_await skua::abandon(skua::spawn_blocking([&] {
      begun = true;
      while (!let_go) std::this_thread::sleep_for(1ms);
    }));
  });
  while (!begun) std::this_thread::yield();
  auto const id = h.id();
  h.request_stop();
  EXPECT_THROW(rt.block_on([](auto joined) -> task<> { co_await joined; }, std::move(h)), skua::task_stopped);
  std::stringstream dump;
  rt.dump(dump);
  EXPECT_NE(dump.str().find("blocking work of task " + std::to_string(id) + " 'resolver' spawned at "), std::string::npos) << dump.str();
  EXPECT_NE(dump.str().find(" ms, abandoned\n"), std::string::npos) << dump.str();
  skua::shutdown_report const first = rt.shutdown(5ms);
  EXPECT_TRUE(first.survivors.empty());
  EXPECT_FALSE(first.clean());
  ASSERT_EQ(first.blocking.size(), 1u);
  EXPECT_EQ(first.blocking[0].task_id, id);
  EXPECT_EQ(first.blocking[0].task_name, "resolver");
  EXPECT_EQ(first.blocking[0].spawned_at.line(), line);
  EXPECT_TRUE(first.blocking[0].abandoned);
  EXPECT_GE(first.blocking[0].running_for, 5ms);
  let_go = true;
  EXPECT_TRUE(rt.shutdown(10s).clean()) << "it waits for abandoned work, too";
}

// The destructor says what it waits for.
TEST_F(Shutdown, destructor_names_blocking_work_it_waits_for__S22) {
  std::atomic<bool> let_go = false, begun = false;
  std::string text;
  std::thread releaser;
  {
    stderr_pipe said;
    releaser = std::thread([&] {
      text = said.read_until("shutdown still waits for blocking work of task ");
      let_go = true;
    });
    skua::runtime rt({.workers = 1, .shutdown_grace = 1ms});
    auto h = rt.spawn(skua::named("resolver"), [&]() -> task<> {
      co_await skua::abandon(skua::spawn_blocking([&] {
        begun = true;
        while (!let_go) std::this_thread::sleep_for(1ms);
      }));
    });
    while (!begun) std::this_thread::yield();
  }
  releaser.join();
  EXPECT_NE(text.find("'resolver'"), std::string::npos) << text;
}

} // namespace
