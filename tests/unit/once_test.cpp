// SPDX-License-Identifier: Apache-2.0
// once and lazy: done once, by whom, and what a failure or a stop of that one means. tests/model/once_model.cpp has the protocol.
#include "skua/event.hpp"
#include "skua/lazy.hpp"
#include "skua/once.hpp"
#include "skua/runtime.hpp"
#include "skua/this_task.hpp"
#include "skua/time.hpp"
#include "tests/support/leak_check.hpp"
#include "tests/support/values.hpp"
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace skua_test;
using skua::lazy;
using skua::once;
using skua::task;

constexpr int rounds = SKUA_TSAN || SKUA_ASAN ? 1'000 : 10'000;

class Once : public leak_check {
protected:
  skua::runtime one{skua::options{.workers = 1, .backend = "virtual"}};
};
class Lazy : public Once {};

// Lets what was spawned before run until it waits (one worker).
task<> settle() { return yield_times(10); }

TEST_F(Once, is_done_by_the_first_and_awaited_by_the_others) {
  once o;
  one.block_on([](once& o) -> task<> {
    int times = 0, through = 0;
    skua::event go;
    auto calls = [](once& o, skua::event& go, int& times, int& through) -> task<> {
      co_await o.call([&]() -> task<> {
        co_await go.wait();
        ++times;
      });
      EXPECT_EQ(times, 1);
      ++through;
    };
    std::vector<skua::join_handle<>> all;
    for (int i = 0; i < 5; ++i) all.push_back(skua::spawn(calls, std::ref(o), std::ref(go), std::ref(times), std::ref(through)));
    co_await settle();
    EXPECT_FALSE(o.done());
    EXPECT_EQ(through, 0);
    go.set();
    for (auto& h : all) co_await h;
    EXPECT_TRUE(o.done());
    EXPECT_EQ(through, 5);
    co_await calls(o, go, times, through);
  }, std::ref(o));
}

TEST_F(Once, takes_a_plain_function_and_moves_it_into_the_call) {
  once o;
  one.block_on([](once& o) -> task<> {
    int n = 0;
    auto owner = std::make_unique<int>(7);
    co_await o.call([&n, owner = std::move(owner)] { n = *owner; });
    EXPECT_EQ(n, 7);
  }, std::ref(o));
}

TEST_F(Once, awaits_whatever_the_function_returns_that_can_be_awaited) {
  one.block_on([]() -> task<> {
    int done = 0;
    once first, second;
    co_await first.call([&] {
      return skua::spawn([](int& n) -> task<> {
        co_await skua::this_task::yield();
        ++n;
      }, std::ref(done));
    });
    EXPECT_EQ(done, 1);
    auto const begin = skua::clock::now();
    co_await second.call([] { return skua::sleep_for(std::chrono::hours(1)); });
    EXPECT_EQ(skua::clock::now() - begin, std::chrono::hours(1));
  });
}

TEST_F(Once, a_failure_goes_to_its_caller_and_the_next_tries) {
  once o;
  one.block_on([](once& o) -> task<> {
    int attempts = 0;
    skua::event go;
    auto calls = [](once& o, skua::event& go, int& attempts) -> task<> {
      co_await o.call([&]() -> task<> {
        co_await go.wait();
        if (++attempts < 3) throw std::runtime_error("attempt " + std::to_string(attempts));
      });
    };
    std::vector<skua::join_handle<>> all;
    for (int i = 0; i < 4; ++i) {
      all.push_back(skua::spawn(calls, std::ref(o), std::ref(go), std::ref(attempts)));
      co_await settle();
    }
    go.set();
    std::string said;
    for (auto& h : all) {
      try {
        co_await h;
        said += "ok,";
      } catch (std::runtime_error const& e) {
        said += e.what() + std::string(",");
      }
    }
    EXPECT_EQ(said, "attempt 1,attempt 2,ok,ok,");
    EXPECT_EQ(attempts, 3);
  }, std::ref(o));
}

TEST_F(Once, that_failed_with_nobody_waiting_is_as_new) {
  once o;
  one.block_on([](once& o) -> task<> {
    EXPECT_THROW(co_await o.call([] { throw std::runtime_error("no"); }), std::runtime_error);
    EXPECT_FALSE(o.done());
    co_await o.call([] {});
    EXPECT_TRUE(o.done());
  }, std::ref(o));
}

TEST_F(Once, a_runner_that_is_stopped_hands_over_to_the_next) {
  once o;
  one.block_on([](once& o) -> task<> {
    std::string said;
    skua::event go;
    auto calls = [](once& o, skua::event& go, std::string& said, char name) -> task<> {
      co_await o.call([&]() -> task<> {
        said += name;
        co_await go.wait();
      });
      said += '.';
    };
    auto a = skua::spawn(calls, std::ref(o), std::ref(go), std::ref(said), 'a');
    co_await settle();
    auto b = skua::spawn(calls, std::ref(o), std::ref(go), std::ref(said), 'b');
    co_await settle();
    a.request_stop();
    EXPECT_THROW(co_await a, skua::task_stopped);
    go.set();
    co_await b;
    EXPECT_EQ(said, "ab.");
  }, std::ref(o));
}

TEST_F(Once, a_waiter_that_is_stopped_changes_nothing) {
  once o;
  one.block_on([](once& o) -> task<> {
    skua::event go;
    auto calls = [](once& o, skua::event& go) -> task<> {
      co_await o.call([&]() -> task<> { co_await go.wait(); });
    };
    auto a = skua::spawn(calls, std::ref(o), std::ref(go));
    co_await settle();
    auto b = skua::spawn(calls, std::ref(o), std::ref(go));
    co_await settle();
    b.request_stop();
    EXPECT_THROW(co_await b, skua::task_stopped);
    EXPECT_FALSE(o.done());
    go.set();
    co_await a;
    EXPECT_TRUE(o.done());
  }, std::ref(o));
}

TEST_F(Once, one_that_was_made_the_runner_and_is_stopped_hands_on__S4) {
  once o;
  one.block_on([](once& o) -> task<> {
    std::string said;
    skua::event fail;
    auto calls = [](once& o, skua::event& fail, std::string& said, char name) -> task<> {
      co_await o.call([&]() -> task<> {
        said += name;
        if (name == 'c') co_return;
        co_await fail.wait();
        throw std::runtime_error("a");
      });
    };
    std::vector<skua::join_handle<>> all;
    for (char name : {'a', 'b', 'c'}) {
      all.push_back(skua::spawn(calls, std::ref(o), std::ref(fail), std::ref(said), name));
      co_await settle();
    }
    all[1].request_stop();   // on its way when a makes b the runner: so b sees it where it waits next
    fail.set();
    EXPECT_THROW(co_await all[0], std::runtime_error);
    EXPECT_THROW(co_await all[1], skua::task_stopped);
    co_await all[2];
    EXPECT_TRUE(o.done());
    EXPECT_EQ(said, "abc");
  }, std::ref(o));
}

// Who has seen that it is done destroys it, while the runner may still be inside.
TEST_F(Once, the_last_user_may_destroy_it_at_once) {
  struct shared_thing {
    once o;
    std::atomic<int> uses{3};
    int made = 0;
  };
  skua::runtime rt({.workers = 2});
  auto use = [](shared_thing* s) -> task<> {
    co_await s->o.call([s] { ++s->made; });
    EXPECT_EQ(s->made, 1);
    if (--s->uses == 0) delete s;
  };
  for (int i = 0; i < rounds; ++i) {
    auto* const s = new shared_thing;
    std::vector<skua::join_handle<>> all;
    for (int n = 0; n < 3; ++n) all.push_back(rt.spawn(use, s));
    rt.block_on([](std::vector<skua::join_handle<>>& all) -> task<> {
      for (auto& h : all) co_await h;
    }, std::ref(all));
  }
}

TEST_F(Lazy, is_made_by_the_first_that_needs_it) {
  int made = 0;
  lazy<std::string> l([&made]() -> task<std::string> {
    ++made;
    co_await yield_times(3);
    co_return "made";
  });
  EXPECT_EQ(l.peek(), nullptr);
  one.block_on([](lazy<std::string>& l) -> task<> {
    std::vector<skua::join_handle<>> all;
    for (int i = 0; i < 4; ++i)
      all.push_back(skua::spawn([](lazy<std::string>& l) -> task<> {
        std::string& s = co_await l.get();
        EXPECT_EQ(s, "made");
        EXPECT_EQ(&s, l.peek());
      }, std::ref(l)));
    for (auto& h : all) co_await h;
  }, std::ref(l));
  EXPECT_EQ(made, 1);
}

TEST_F(Lazy, holds_what_can_only_be_moved_or_not_even_that) {
  lazy<owned> l([]() -> task<owned> { co_return owned(3); });
  auto make = [] { return std::atomic<int>(4); };
  lazy<std::atomic<int>, decltype(make)> fixed(make);
  one.block_on([&]() -> task<> {
    EXPECT_EQ((co_await l.get()).value(), 3);
    EXPECT_EQ(co_await fixed.get(), 4);
  });
  EXPECT_EQ(owned::alive, 1);
}

TEST_F(Lazy, that_is_never_needed_is_never_made) {
  lazy<owned> const l([]() -> task<owned> { co_return owned(3); });
  EXPECT_EQ(owned::alive, 0);
}

TEST_F(Lazy, a_failure_lets_the_next_try) {
  int attempts = 0;
  lazy<int> l([&attempts]() -> task<int> {
    co_await skua::this_task::yield();
    if (++attempts == 1) throw std::runtime_error("first");
    co_return attempts;
  });
  one.block_on([](lazy<int>& l) -> task<> {
    EXPECT_THROW((void)co_await l.get(), std::runtime_error);
    EXPECT_EQ(l.peek(), nullptr);
    EXPECT_EQ(co_await l.get(), 2);
    EXPECT_EQ(co_await l.get(), 2);
  }, std::ref(l));
}

TEST_F(Lazy, a_value_whose_move_throws_is_tried_again) {
  fragile::moves_left = 0;
  lazy<fragile> l([]() -> task<fragile> { co_return fragile(1); });
  one.block_on([](lazy<fragile>& l) -> task<> {
    EXPECT_THROW((void)co_await l.get(), std::runtime_error);
    fragile::moves_left = 1 << 30;
    EXPECT_EQ((co_await l.get()).value, 1);
  }, std::ref(l));
}

TEST_F(Lazy, is_made_once_on_many_workers_whoever_is_stopped) {
  skua::runtime rt({.workers = 4});
  for (int i = 0; i < rounds / 20; ++i) {
    std::atomic<int> made{0};
    lazy<int> l([&made]() -> task<int> {
      co_await skua::this_task::yield();
      co_return ++made;
    });
    std::vector<skua::join_handle<>> all;
    for (int n = 0; n < 8; ++n)
      all.push_back(rt.spawn([](lazy<int>& l) -> task<> { EXPECT_EQ(co_await l.get(), 1); }, std::ref(l)));
    for (std::size_t n = 0; n < 7; n += 2) all[n].request_stop();
    rt.block_on([](std::vector<skua::join_handle<>>& all) -> task<> {
      for (auto& h : all) {
        try {
          co_await h;
        } catch (skua::task_stopped const&) {
        }
      }
    }, std::ref(all));
    EXPECT_EQ(made, 1);
  }
}

} // namespace
