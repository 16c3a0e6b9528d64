// SPDX-License-Identifier: Apache-2.0
// The bridge to std::stop_token, both ways (S6). Virtual time.
#include "skua/blocking.hpp"
#include "skua/runtime.hpp"
#include "skua/shield.hpp"
#include "skua/stop_token.hpp"
#include "skua/time.hpp"
#include "tests/support/several_workers.hpp"
#include "tests/support/timed_values.hpp"
#include "tests/support/values.hpp"
#include <atomic>
#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::stop_reason;
using skua::task;

class StopToken : public several_workers {};
INSTANTIATE_TEST_SUITE_P(, StopToken, testing::Values(1u, 2u), by_workers);

// ---------------------------------------------------------------------------------------------- std::stop_token

TEST_P(StopToken, S6_a_stop_token_stops_a_task_and_its_value_or_failure_wins) {
  auto body = [&]() -> task<> {
    std::stop_source source;
    EXPECT_EQ(co_await skua::stop_on(source.get_token(), after(1s, 3)), 3);
    EXPECT_THROW(co_await skua::stop_on(source.get_token(), fail_in(1s, "no")), std::runtime_error);
    stop_reason why{};
    auto asker = skua::spawn([](std::stop_source s) -> task<> {
      co_await skua::sleep_for(1s);
      s.request_stop();   // on a worker
    },
                             source);
    try {
      co_await skua::stop_on(source.get_token(), asks(why));
      ADD_FAILURE() << "must throw";
    } catch (skua::task_stopped const& e) {
      EXPECT_EQ(e.reason(), stop_reason::requested);
    }
    EXPECT_EQ(why, stop_reason::requested);
    co_await asker;
    // Requested before: to the first suspension point.
    EXPECT_THROW(co_await skua::stop_on(source.get_token(), never()), skua::task_stopped);
    EXPECT_EQ(co_await skua::stop_on(source.get_token(), value_of(4)), 4);
    EXPECT_EQ(co_await skua::stop_on(std::stop_token(), after(1s, 5)), 5);   // no source
  };
  rt.block_on(body);
}

TEST_P(StopToken, S6_a_stop_from_outside_dominates_the_token) {
  std::atomic<int> caught = 0;
  auto body = [&]() -> task<> {
    std::stop_source source;
    auto h = skua::spawn([&]() -> task<> {
      try {
        co_await skua::stop_on(source.get_token(), never());
      } catch (...) {
        ++caught;
      }
    });
    co_await skua::sleep_for(1s);
    h.request_stop();
    EXPECT_THROW(co_await h, skua::task_stopped);
  };
  rt.block_on(body);
  EXPECT_EQ(caught, 0);
}

TEST_P(StopToken, S6_a_foreign_thread_requests_through_a_token) {
  std::stop_source source;
  std::atomic<int> started = 0;
  auto h = rt.spawn([&]() -> task<> {
    started = 1;
    co_await skua::stop_on(source.get_token(), never());
  });
  std::thread t([&] {
    while (!started) std::this_thread::yield();
    source.request_stop();
  });
  t.join();
  EXPECT_THROW(rt.block_on([](auto g) -> task<> { co_await g; }, std::move(h)), skua::task_stopped);
}

TEST_P(StopToken, S6_a_stop_reaches_a_stop_source_on_a_worker) {
  std::atomic<int> called = 0, before = 0;
  std::thread::id caller;
  auto body = [&]() -> task<> {
    auto h = skua::spawn([&]() -> task<> {
      co_await skua::with_stop_token([&](std::stop_token t) -> task<> {
        std::stop_callback const cb(t, [&] {
          caller = std::this_thread::get_id();
          ++called;
        });
        before = 1;
        co_await skua::shield(until([&] { return called != 0; }));
      });   // it came to its end (S4)
      co_await skua::this_task::checkpoint();
    });
    co_await until([&] { return before != 0; });
    std::thread::id requester;
    std::thread([&] {
      requester = std::this_thread::get_id();
      h.request_stop();
    }).join();
    EXPECT_THROW(co_await h, skua::task_stopped);
    EXPECT_NE(caller, requester);
    EXPECT_EQ(called, 1);
  };
  rt.block_on(body);
}

TEST_P(StopToken, S6_blocking_work_sees_the_token_and_is_waited_for) {
  std::atomic<int> began = 0;
  auto body = [&]() -> task<> {
    auto h = skua::spawn([&]() -> task<int> {
      co_return co_await skua::with_stop_token([&](std::stop_token t) {
        return skua::spawn_blocking([&began, t] {
          began = 1;
          while (!t.stop_requested()) std::this_thread::yield();
          return 7;
        });
      });
    });
    co_await until([&] { return began != 0; });
    h.request_stop();
    EXPECT_EQ(co_await h, 7);   // it came to a value (S4)
  };
  rt.block_on(body);
}

TEST_P(StopToken, S6_a_token_tells_nothing_when_its_task_has_ended_and_failures_come_through) {
  auto body = [&]() -> task<> {
    std::stop_token kept;
    EXPECT_EQ(co_await skua::with_stop_token([&](std::stop_token t) {
                kept = t;
                return after(1s, 3);
              }),
              3);
    EXPECT_FALSE(kept.stop_requested());
    EXPECT_THROW(co_await skua::with_stop_token([](std::stop_token) { return fail_in(1s, "no"); }), std::runtime_error);
  };
  rt.block_on(body);
}

} // namespace
