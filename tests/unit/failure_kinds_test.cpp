// SPDX-License-Identifier: Apache-2.0
// Where a failure was left over: what the handler is told, and the line that is printed (S8, S9, S12, S23).
#include "skua/blocking.hpp"
#include "skua/failure.hpp"
#include "skua/runtime.hpp"
#include "skua/shield.hpp"
#include "skua/time.hpp"
#include "skua/when_all.hpp"
#include "skua/when_any.hpp"
#include "tests/support/leak_check.hpp"
#include "tests/support/values.hpp"
#include <algorithm>
#include <chrono>
#include <mutex>
#include <semaphore>
#include <source_location>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::failure_kind;
using skua::task;

struct told {
  failure_kind kind;
  std::string name, text;
  unsigned line;
  bool operator==(told const&) const = default;
};

class FailureKinds : public leak_check {
protected:
  skua::options quiet() {
    return {.workers = 1, .backend = "virtual", .on_unhandled_failure = [this](skua::failure const& f) {
              std::lock_guard const g(lock);
              heard.push_back({f.kind, std::string(f.task_name), message_of([&] { std::rethrow_exception(f.error); }), f.spawned_at.line()});
            }};
  }
  std::mutex lock;
  std::vector<told> heard;
};

task<int> fails_in(std::chrono::nanoseconds t, char const* what) {
  if (t > 0ns) co_await skua::sleep_for(t);
  throw std::runtime_error(what);
}
task<int> fails_when_stopped(char const* what) {   // its clean-up fails, in a branch of its own that is past its last suspension point
  while (!skua::this_task::stop_requested()) co_await skua::shield(skua::sleep_for(1ms));
  throw std::runtime_error(what);
}

task<> both_fail() {
  std::string text;
  try {
    co_await skua::when_all(fails_in(1ms, "first"), fails_when_stopped("second"));
  } catch (std::runtime_error const& e) {
    text = e.what();
  }
  EXPECT_EQ(text, "first");
}

TEST_F(FailureKinds, of_a_later_failure_of_when_all__S8_S23) {
  skua::runtime rt(quiet());
  unsigned line = 0;
  rt.block_on([&]() -> task<> {
    line = std::source_location::current().line() + 1;
    auto h = skua::spawn(skua::named("gatherer"), []() -> task<> {
      co_await both_fail();
    });
    co_await h;
  });
  EXPECT_EQ(heard, (std::vector<told>{{failure_kind::when_all, "gatherer", "second", line}}));
}

TEST_F(FailureKinds, of_a_loser_of_when_any__S9_S23) {
  skua::runtime rt(quiet());
  rt.block_on([]() -> task<> {
    auto r = co_await skua::when_any(fails_in(1ms, "loser"), value_of(3), fails_in(0ns, "early"));
    EXPECT_EQ(r.index(), 1u);
    auto s = co_await skua::when_any(fails_in(1ms, "loser"), [](int n) -> task<int> {
      co_await skua::sleep_for(2ms);
      co_return n;
    }(4));
    EXPECT_EQ(s.index(), 1u);
  });
  ASSERT_FALSE(heard.empty());
  for (told const& t : heard) EXPECT_EQ(t.kind, failure_kind::when_any);
  EXPECT_EQ(heard.back().text, "loser");
}

TEST_F(FailureKinds, of_a_when_any_that_is_stopped__S9_S23) {
  skua::runtime rt(quiet());
  rt.block_on([]() -> task<> {
    try {
      co_await skua::timeout(5ms, []() -> task<> { co_await skua::when_any(fails_in(1ms, "early"), fails_in(1h, "never")); }());
    } catch (skua::timeout_error const&) {
    }
  });
  ASSERT_EQ(heard.size(), 1u);
  EXPECT_EQ(heard[0].kind, failure_kind::stopped);
  EXPECT_EQ(heard[0].text, "early");
}

TEST_F(FailureKinds, of_a_task_that_nobody_awaits__S12_S23) {
  skua::runtime rt(quiet());
  rt.block_on([]() -> task<> {
    skua::spawn_detached(skua::named("careless"), fails_in, 0ns, "whoops");
    co_await skua::sleep_for(1ms);
  });
  ASSERT_EQ(heard.size(), 1u);
  EXPECT_EQ(heard[0].kind, failure_kind::task);
  EXPECT_EQ(heard[0].name, "careless");
}

TEST_F(FailureKinds, of_blocking_work_that_was_abandoned__S7_S23) {
  std::binary_semaphore go{0};
  {
    skua::runtime rt(quiet());
    std::binary_semaphore begun{0};
    auto h = rt.spawn([&]() -> task<> {
      co_await skua::abandon(skua::spawn_blocking([&] {
        begun.release();
        go.acquire();
        throw std::runtime_error("too late");
      }));
    });
    begun.acquire();
    h.request_stop();
    EXPECT_THROW(rt.block_on([](auto joined) -> task<> { co_await joined; }, std::move(h)), skua::task_stopped);   // before it has ended
    go.release();
  }
  ASSERT_EQ(heard.size(), 1u);
  EXPECT_EQ(heard[0].kind, failure_kind::blocking);
}

// One line each, which says what it is and where.
TEST_F(FailureKinds, are_printed_as_one_line__S8_S9_S23) {
  testing::internal::CaptureStderr();
  {
    skua::runtime rt({.workers = 1, .backend = "virtual"});
    rt.block_on([]() -> task<> {
      auto h = skua::spawn(skua::named("main loop"), []() -> task<> {
        co_await both_fail();
        co_await skua::when_any(fails_in(1ms, "loser"), [](int n) -> task<int> {
          co_await skua::sleep_for(2ms);
          co_return n;
        }(4));
      });
      co_await h;
    });
  }
  std::string const text = testing::internal::GetCapturedStderr();
  EXPECT_EQ(std::ranges::count(text, '\n'), 2) << text;
  EXPECT_NE(text.find("'main loop' (spawned at "), std::string::npos) << text;
  EXPECT_NE(text.find("): a later failure of a when_all, behind the one that was rethrown: second\n"), std::string::npos) << text;
  EXPECT_NE(text.find("): a failure of a when_any's loser, another branch came to a value: loser\n"), std::string::npos) << text;
}

// What stands behind an outcome does not end the process; otherwise a race would decide about it.
TEST_F(FailureKinds, that_are_secondary_do_not_terminate__S8_S9) {
  testing::internal::CaptureStderr();
  skua::runtime rt({.workers = 1, .backend = "virtual", .terminate_on_unhandled_failure = true});
  rt.block_on([]() -> task<> {
    co_await both_fail();
  });
  EXPECT_NE(testing::internal::GetCapturedStderr().find("second"), std::string::npos);
  EXPECT_EQ(rt.metrics().failures_unhandled, 1u);
}

} // namespace
