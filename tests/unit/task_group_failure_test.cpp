// SPDX-License-Identifier: Apache-2.0
// with_task_group (S13): failures of tasks and of the body. Virtual time.
#include "skua/event.hpp"
#include "skua/runtime.hpp"
#include "skua/select.hpp"
#include "skua/task_group.hpp"
#include "skua/time.hpp"
#include "skua/when_all.hpp"
#include "tests/support/several_workers.hpp"
#include "tests/support/timed_values.hpp"
#include "tests/support/values.hpp"
#include <atomic>
#include <chrono>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::stop_reason;
using skua::task;
using skua::task_group;

class TaskGroupFailures : public several_workers {};
INSTANTIATE_TEST_SUITE_P(, TaskGroupFailures, testing::Values(1u, 2u, 4u), by_workers);

std::vector<std::string> messages(skua::task_group_error const& e) {
  std::vector<std::string> all;
  for (auto const& f : e.failures()) all.push_back(message_of([&] { std::rethrow_exception(f); }));
  return all;
}

TEST_P(TaskGroupFailures, S13_the_failure_of_a_task_stops_the_rest_and_is_thrown) {
  std::atomic<int> gone = 0, body_gone = 0;
  stop_reason why{};
  auto body = [&]() -> task<> {
    auto const begin = skua::clock::now();
    try {
      co_await skua::with_task_group([&](task_group& g) -> task<> {
        struct asks {
          stop_reason& to;
          std::atomic<int>& gone;
          ~asks() {
            to = skua::this_task::stop_reason();
            ++gone;
          }
        } a{why, body_gone};
        for (int i = 0; i < 10; ++i) g.spawn(sleep_with, 1h, std::ref(gone));
        g.spawn(fail_in, 1s, std::string("first"));
        co_await skua::sleep_for(1h);
      });
      ADD_FAILURE() << "must throw";
    } catch (std::runtime_error const& e) {
      EXPECT_STREQ(e.what(), "first");
    }
    EXPECT_EQ(gone, 10);
    EXPECT_EQ(body_gone, 1);
    EXPECT_EQ(why, stop_reason::sibling);
    EXPECT_EQ(skua::clock::now() - begin, 1s);
  };
  rt.block_on(body);
}

TEST_P(TaskGroupFailures, S13_the_failure_of_the_body_stops_the_tasks_and_is_thrown) {
  std::atomic<int> gone = 0;
  auto body = [&]() -> task<> {
    for (auto what : {skua::on_error::stop_rest, skua::on_error::collect}) {
      gone = 0;
      auto const begin = skua::clock::now();
      auto fails = [&](task_group& g) -> task<> {
        for (int i = 0; i < 10; ++i) g.spawn(sleep_with, 1h, std::ref(gone));
        co_await skua::sleep_for(1s);
        throw std::out_of_range("body");
      };
      if (what == skua::on_error::collect)
        EXPECT_THROW(co_await skua::with_task_group({.on_error = what}, fails), skua::task_group_error);
      else
        EXPECT_THROW(co_await skua::with_task_group(fails), std::out_of_range);
      EXPECT_EQ(gone, 10);
      EXPECT_EQ(skua::clock::now() - begin, 1s);
    }
  };
  rt.block_on(body);
}

TEST_P(TaskGroupFailures, several_failures_are_all_kept_in_time_order) {
  auto body = []() -> task<> {
    try {
      co_await skua::with_task_group([](task_group& g) -> task<> {
        g.spawn(fails_late, std::string("third"));
        g.spawn(fail_in, 1s, std::string("first"));
        co_await skua::shield(fail_in(1500ms, "second"));
      });
      ADD_FAILURE() << "must throw";
    } catch (skua::task_group_error const& e) {
      EXPECT_EQ(messages(e), (std::vector<std::string>{"first", "second", "third"}));
    }
  };
  rt.block_on(body);
}

TEST_P(TaskGroupFailures, a_failure_that_the_body_has_from_a_handle_is_one_failure) {
  auto body = []() -> task<> {
    EXPECT_THROW(co_await skua::with_task_group([](task_group& g) -> task<> {
                   auto h = g.spawn(fail_in, 1s, std::string("only"));
                   co_await skua::shield(h);   // not stopped by its failure, and rethrows it
                 }),
                 std::runtime_error);
  };
  rt.block_on(body);
}

TEST_P(TaskGroupFailures, failures_that_other_tasks_have_from_handles_are_kept_once) {
  auto body = []() -> task<> {
    try {
      co_await skua::with_task_group({.on_error = skua::on_error::collect}, [](task_group& g) -> task<> {
        auto const pass_on = [](skua::child_handle<> of) -> task<> { co_await of; };
        for (int i = 3; i != 0; --i) g.spawn(pass_on, g.spawn(fail_in, i * 1s, std::to_string(i)));
        co_return;
      });
      ADD_FAILURE() << "must throw";
    } catch (skua::task_group_error const& e) {
      EXPECT_EQ(messages(e), (std::vector<std::string>{"1", "2", "3"}));
    }
  };
  rt.block_on(body);
}

// Every failure is heard of once: by whoever awaits the task, or by the failure handler; from the handler at once, however long the group lives.
TEST_P(TaskGroupFailures, report_lets_the_others_end_and_tells_the_failure_handler__S23) {
  std::mutex lock;
  std::vector<std::string> reported;
  skua::runtime reporting({.workers = GetParam(), .backend = "virtual", .on_unhandled_failure = [&](skua::failure const& f) {
                             std::lock_guard const g(lock);
                             EXPECT_EQ(f.kind, skua::failure_kind::task);
                             reported.push_back(std::string(f.task_name) + ":" + message_of([&] { std::rethrow_exception(f.error); }));
                           }});
  auto const so_far = [&] {
    std::lock_guard const g(lock);
    return reported;
  };
  skua::child_handle<> kept;
  auto body = [&]() -> task<> {
    int ended = 0;
    co_await skua::with_task_group({.on_error = skua::on_error::report}, [&](task_group& g) -> task<> {
      g.spawn(skua::named("first"), fail_in, 1s, std::string("a"));
      auto awaited = g.spawn(fail_in, 2s, std::string("b"));
      kept = g.spawn(fail_in, 3s, std::string("c"));
      auto last = g.spawn(after, 5s, 4);
      skua::outcome<> const b = co_await skua::settle(awaited);
      EXPECT_EQ(message_of([&] { std::rethrow_exception(b.error()); }), "b");
      EXPECT_EQ(so_far(), std::vector<std::string>{"first:a"});
      ended = co_await last;
    });
    EXPECT_EQ(ended, 4);
    EXPECT_EQ(so_far(), std::vector<std::string>{"first:a"});   // somebody may still await the third
    kept = {};
    EXPECT_EQ(so_far(), (std::vector<std::string>{"first:a", ":c"}));

    std::atomic<int> gone = 0;
    EXPECT_THROW(co_await skua::with_task_group({.on_error = skua::on_error::report}, [&](task_group& g) -> task<> {
                   g.spawn(sleep_with, 1h, std::ref(gone));
                   g.spawn(fail_in, 1s, std::string("d"));
                   co_await skua::sleep_for(2s);
                   throw std::out_of_range("body");   // stops the rest, and is thrown as it is
                 }),
                 std::out_of_range);
    EXPECT_EQ(gone, 1);
    EXPECT_EQ(so_far().size(), 3u);
  };
  reporting.block_on(body);
}

TEST_P(TaskGroupFailures, collect_lets_the_others_end_and_throws_all_failures) {
  auto body = []() -> task<> {
    int ended = 0;
    auto const begin = skua::clock::now();
    try {
      co_await skua::with_task_group({.on_error = skua::on_error::collect}, [&](task_group& g) -> task<> {
        g.spawn(fail_in, 2s, std::string("b"));
        g.spawn(fail_in, 1s, std::string("a"));
        auto h = g.spawn(after, 5s, 4);
        ended = co_await h;
      });
      ADD_FAILURE() << "must throw";
    } catch (skua::task_group_error const& e) {
      EXPECT_EQ(messages(e), (std::vector<std::string>{"a", "b"}));
    }
    EXPECT_EQ(ended, 4);
    EXPECT_EQ(skua::clock::now() - begin, 5s);
    EXPECT_THROW(co_await skua::with_task_group({.on_error = skua::on_error::collect},
                                                [](task_group& g) -> task<owned> {
                                                  g.spawn(fail_in, 1s, std::string("one"));
                                                  co_return owned(1);   // its value is destroyed
                                                }),
                 skua::task_group_error);
  };
  rt.block_on(body);
  EXPECT_EQ(owned::alive, 0);
}

TEST_P(TaskGroupFailures, an_exception_of_the_body_before_its_first_suspension_point_leaves_nothing_behind) {
  std::atomic<int> gone = 0;
  auto body = [&]() -> task<> {
    EXPECT_THROW(co_await skua::with_task_group([&](task_group& g) -> task<> {
                   g.spawn(sleep_with, 1h, std::ref(gone));
                   throw std::runtime_error("at once");
                   co_return;
                 }),
                 std::runtime_error);
    EXPECT_THROW(co_await skua::with_task_group([](task_group&) -> task<> { throw std::runtime_error("when called"); }), std::runtime_error);
    EXPECT_THROW(co_await skua::with_task_group({.max_concurrency = 0}, [](task_group&) -> task<> { co_return; }), skua::usage_error);
  };
  rt.block_on(body);
}

} // namespace
