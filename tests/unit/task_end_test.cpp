// SPDX-License-Identifier: Apache-2.0
// The end of a task: locals whose destructors throw when its value is in its place already.
#include "skua/async_generator.hpp"
#include "skua/branches.hpp"
#include "skua/runtime.hpp"
#include "skua/task.hpp"
#include "skua/task_group.hpp"
#include "skua/time.hpp"
#include "skua/timeout.hpp"
#include "skua/when_all.hpp"
#include "skua/when_any.hpp"
#include "tests/support/leak_check.hpp"
#include "tests/support/values.hpp"
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::task;

class TaskEnd : public leak_check {
protected:
  skua::runtime rt{skua::options{.workers = 2, .backend = "virtual"}};
};

struct throws_at_the_end {
  std::string what = "at the end";
  ~throws_at_the_end() noexcept(false) { throw std::runtime_error(what); }
};
task<owned> returns_and_throws(int n) {
  throws_at_the_end local;
  co_return owned(n);
}
task<int> returns_a_number_and_throws() {
  throws_at_the_end local;
  co_return 1;
}
task<owned> returns_later(int yields, int n) {
  co_await yield_times(yields);
  co_return owned(n);
}
task<std::string> message_from(task<> t) {
  try {
    co_await std::move(t);
  } catch (std::runtime_error const& e) {
    co_return e.what();
  }
  co_return "nothing";
}

// The value is in its place by then: it is destroyed, and the failure reported.
TEST_F(TaskEnd, destructor_that_throws_behind_co_return_is_a_failure_and_the_value_is_destroyed) {
  std::vector<task<> (*)()> const forms = {
      []() -> task<> { (void)co_await returns_and_throws(1); },
      []() -> task<> { (void)co_await returns_a_number_and_throws(); },
      []() -> task<> { (void)co_await skua::when_all(returns_and_throws(1), returns_later(2, 2)); },
      []() -> task<> { (void)co_await skua::when_all(returns_a_number_and_throws(), value_after(2, 2)); },
      []() -> task<> {
        std::vector<task<owned>> all;
        for (int i = 0; i < 3; ++i) all.push_back(returns_later(i, i));
        all.push_back(returns_and_throws(3));
        (void)co_await skua::when_all(std::move(all));
      },
      []() -> task<> {
        skua::branches<owned, 2> all;
        all.add(returns_later(0, 1));
        all.add(returns_and_throws(2));
        co_await all;
      },
      []() -> task<> { (void)co_await skua::spawn(returns_and_throws, 1); },
      []() -> task<> { (void)co_await skua::spawn(returns_a_number_and_throws); },
      []() -> task<> { (void)co_await skua::timeout(1h, returns_and_throws(1)); },
      []() -> task<> {
        co_await skua::with_task_group([](skua::task_group& g) -> task<> {
          g.spawn(returns_and_throws, 1);
          co_return;
        });
      },
      []() -> task<> {
        auto all = []() -> skua::async_generator<owned> {
          throws_at_the_end local;
          co_yield owned(1);
        }();
        EXPECT_EQ((co_await all.next())->value(), 1);
        (void)co_await all.next();
      },
  };
  for (std::size_t i = 0; i < forms.size(); ++i) {
    EXPECT_EQ(rt.block_on(message_from(forms[i]())), "at the end") << "form " << i;
    EXPECT_EQ(owned::alive, 0) << "form " << i;
  }
  EXPECT_EQ(message_of([&] { (void)rt.block_on(returns_and_throws(1)); }), "at the end");
  EXPECT_EQ(rt.block_on([]() -> task<int> {   // a loser of when_any: the other one's value counts
    auto const first = co_await skua::when_any(returns_and_throws(1), returns_later(3, 2));
    co_return std::get<1>(first).value();
  }), 2);
  EXPECT_EQ(owned::alive, 0);
}

task<owned> returns_once_more(bool waits) {
  try {
    throws_at_the_end local;
    co_return owned(1);
  } catch (std::runtime_error const&) {
  }
  if (waits) co_await never();
  co_return owned(2);
}
TEST_F(TaskEnd, that_catches_what_a_destructor_threw_behind_co_return_may_return_again_or_be_stopped) {
  auto body = []() -> task<> {
    EXPECT_EQ((co_await returns_once_more(false)).value(), 2);
    auto const [a, b] = co_await skua::when_all(returns_once_more(false), returns_later(1, 3));
    EXPECT_EQ(a.value() + b.value(), 5);
    EXPECT_EQ((co_await skua::spawn(returns_once_more, false)).value(), 2);
    for (bool as_branch : {false, true}) {
      auto h = skua::spawn([](bool branch) -> task<> {
        if (branch) (void)co_await skua::when_all(returns_once_more(true), returns_once_more(true));
        if (!branch) (void)co_await returns_once_more(true);
      }, as_branch);
      co_await skua::sleep_for(1ms);
      h.request_stop();
      EXPECT_THROW(co_await h, skua::task_stopped);
    }
  };
  rt.block_on(body);
  EXPECT_EQ(owned::alive, 0);
}

// A spawned task: what it gave at first is nowhere that it still needs.
template <class T>
task<T> returns_and_goes_on(T first, T second) {
  try {
    throws_at_the_end local;
    co_return first;
  } catch (std::runtime_error const&) {
  }
  for (int i = 0; i != 2; ++i) co_await skua::sleep_for(1ms);
  auto [a, b] = co_await skua::when_all(skua_test::value_of(1), skua_test::value_of(2));
  EXPECT_EQ(a + b, 3);
  co_await skua::sleep_for(1ms);
  co_return second;
}
TEST_F(TaskEnd, that_a_destructor_took_back_may_suspend_many_times) {
  auto body = []() -> task<> {
    EXPECT_EQ(co_await skua::spawn(returns_and_goes_on<int>, 1, 2), 2);
    EXPECT_EQ(co_await skua::spawn(returns_and_goes_on<std::uint64_t>, ~std::uint64_t{0}, std::uint64_t{2}), 2u);
    EXPECT_EQ(co_await skua::spawn(returns_and_goes_on<std::string>, "first", "second"), "second");
    for (int before_the_stop : {1, 2, 3}) {
      auto h = skua::spawn(returns_and_goes_on<std::uint64_t>, ~std::uint64_t{0}, std::uint64_t{2});
      co_await skua::sleep_for(before_the_stop * 1ms - 500us);
      h.request_stop();
      EXPECT_THROW(co_await h, skua::task_stopped);
    }
  };
  rt.block_on(body);
}

TEST_F(TaskEnd, destructor_that_throws_behind_co_return_of_a_detached_task_is_reported) {
  std::string told;
  {
    skua::runtime one({.workers = 1, .backend = "virtual", .on_unhandled_failure = [&](skua::failure const& f) {
                         told = message_of([&] { std::rethrow_exception(f.error); });
                       }});
    one.spawn(returns_and_throws, 1).detach();
  }
  EXPECT_EQ(told, "at the end");
  EXPECT_EQ(owned::alive, 0);
}

} // namespace
