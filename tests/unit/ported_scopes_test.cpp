// SPDX-License-Identifier: Apache-2.0
// Behaviours that the test suites of Tokio and asyncio check and that no test of ours had: time, scopes. docs/ported-tests*.md says which is from where.
// Virtual time, one worker, unless a test says otherwise.
#include "skua/skua.hpp"
#include "tests/support/leak_check.hpp"
#include "tests/support/one_worker.hpp"
#include "tests/support/values.hpp"
#include <atomic>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::task;

class Ported : public one_worker {};
using PortedScopes = Ported;
using PortedTime = Ported;

// ---------------------------------------------------------------- time

TEST_F(PortedTime, interval_that_is_reset_begins_a_new_period) {
  run([]() -> task<> {
    auto const begin = skua::clock::now();
    skua::interval every(100ms);
    co_await every.tick();
    co_await skua::sleep_for(50ms);
    every.reset();
    EXPECT_EQ(every.next() - begin, 150ms);
    co_await every.tick();
    EXPECT_EQ(skua::clock::now() - begin, 150ms);
    co_await every.tick();
    EXPECT_EQ(skua::clock::now() - begin, 250ms);
  });
}

TEST_F(PortedTime, interval_of_ages_ticks_once) {
  run([]() -> task<> {
    skua::interval every(std::chrono::hours(24 * 365 * 100));
    co_await every.tick();
    bool late = false;
    try {
      co_await skua::timeout(1h, every.tick());
    } catch (skua::timeout_error const&) {
      late = true;
    }
    EXPECT_TRUE(late);
  });
}

TEST_F(PortedTime, timeout_in_the_past_ends_what_has_to_wait_and_nothing_else) {
  run([]() -> task<> {
    auto const past = skua::clock::now();
    co_await skua::sleep_for(1s);
    EXPECT_EQ(co_await skua::timeout_at(past, value_of(1)), 1);   // no suspension point: it came to its value
    skua::channel<int> ch(1);
    bool late = false;
    try {
      (void)co_await skua::timeout_at(past, ch.recv());
    } catch (skua::timeout_error const&) {
      late = true;
    }
    EXPECT_TRUE(late);
    EXPECT_TRUE(ch.try_send(5));
    EXPECT_EQ(ch.size(), 1u);   // nobody waits for it any more
  });
}

TEST(PortedOnTheRealClock, timeout_fires_although_what_is_inside_never_has_to_wait) {
  skua::runtime rt({.workers = 1});
  rt.block_on([]() -> task<> {
    skua::channel<int> ch(1);
    bool late = false;
    try {
      co_await skua::timeout(5ms, [](skua::channel<int> c) -> task<> {
        for (;;) {   // ends only by the timeout
          (void)c.try_send(1);
          (void)co_await c.recv();
        }
      }(ch));
    } catch (skua::timeout_error const&) {
      late = true;
    }
    EXPECT_TRUE(late);
  });
}

TEST_F(PortedTime, a_failure_during_the_stop_of_a_timeout_is_what_is_thrown) {
  run([]() -> task<> {
    auto clean_up = []() -> task<> {
      co_await skua::sleep_for(1s);
      throw std::runtime_error("not cleaned up");
    };
    std::string what;
    try {
      co_await skua::timeout(1s, skua::finally(never(), clean_up));
    } catch (std::runtime_error const& e) {
      what = e.what();
    }
    EXPECT_EQ(what, "not cleaned up");
  });
}

// ---------------------------------------------------------------- tasks and scopes

TEST_F(PortedScopes, stopping_an_inner_group_leaves_the_outer_one_and_its_siblings_alone) {
  run([]() -> task<> {
    std::atomic<int> gone = 0;
    int sibling = 0;
    co_await skua::with_task_group([&](skua::task_group& outer) -> task<> {
      auto s = outer.spawn([&]() -> task<> {
        co_await skua::sleep_for(10s);
        sibling = 1;
      });
      auto inner = outer.spawn([&]() -> task<> {
        co_await skua::with_task_group([&](skua::task_group& g) -> task<> {
          for (int i = 0; i < 3; ++i)
            g.spawn([&]() -> task<> {
              witness const w(gone);
              co_await never();
            });
          co_await skua::sleep_for(1s);
          g.request_stop();
        });
      });
      co_await inner;
      EXPECT_EQ(gone, 3);
      EXPECT_FALSE(outer.stop_requested());
      EXPECT_FALSE(s.done());
    });
    EXPECT_EQ(sibling, 1);
  });
}

TEST_F(PortedScopes, a_group_that_is_empty_again_takes_more_tasks) {
  run([]() -> task<> {
    int n = 0;
    auto count = [&]() -> task<> {
      co_await skua::this_task::yield();
      ++n;
    };
    co_await skua::with_task_group([&](skua::task_group& g) -> task<> {
      co_await g.join();   // nobody: at once
      for (int round = 1; round <= 3; ++round) {
        for (int i = 0; i < 2; ++i) g.spawn(count);
        EXPECT_EQ(g.size(), 2u);
        co_await g.join();
        EXPECT_EQ(g.size(), 0u);
        EXPECT_EQ(n, 2 * round);
      }
    });
  });
}

TEST_F(PortedScopes, a_failure_of_the_outer_or_the_inner_group_stops_the_other_and_comes_out_as_it_is) {
  run([]() -> task<> {
    auto fail_in = [](std::chrono::seconds t, std::string what) -> task<> {
      co_await skua::sleep_for(t);
      throw std::runtime_error(what);
    };
    auto nested = [&](std::chrono::seconds outer, std::chrono::seconds inner) -> task<> {
      co_await skua::with_task_group([=](skua::task_group& g) -> task<> {
        g.spawn(fail_in, outer, std::string("outer"));
        co_await skua::with_task_group([=](skua::task_group& h) -> task<> {
          h.spawn(fail_in, inner, std::string("inner"));
          co_return;
        });
      });
    };
    auto const begin = skua::clock::now();
    for (auto [outer, inner, what] : {std::tuple{1s, 10s, "outer"}, std::tuple{10s, 1s, "inner"}}) {
      std::string thrown;
      try {
        co_await nested(outer, inner);
      } catch (std::runtime_error const& e) {
        thrown = e.what();
      }
      EXPECT_EQ(thrown, what);
    }
    EXPECT_EQ(skua::clock::now() - begin, 2s);   // the other one was stopped
  });
}

TEST_F(PortedScopes, a_failure_stops_tasks_that_multiply) {
  run([]() -> task<> {
    int born = 0;
    std::string what;
    struct hydra {
      static task<> grow(skua::task_group& g, int& n) {
        ++n;
        co_await skua::sleep_for(1ms);
        g.spawn(grow, std::ref(g), std::ref(n));
        g.spawn(grow, std::ref(g), std::ref(n));
      }
    };
    try {
      co_await skua::with_task_group([&](skua::task_group& g) -> task<> {
        g.spawn(hydra::grow, std::ref(g), std::ref(born));
        while (born < 100) co_await skua::sleep_for(1ms);
        throw std::runtime_error("hercules");
      });
    } catch (std::runtime_error const& e) {
      what = e.what();
    }
    EXPECT_EQ(what, "hercules");
    EXPECT_GE(born, 100);
  });
}

TEST_F(PortedScopes, a_task_that_stops_itself_ends_at_its_next_suspension_point) {
  run([]() -> task<> {
    bool before = false, behind = false;
    skua::join_handle<> self;
    self = skua::spawn([&]() -> task<> {
      co_await skua::this_task::yield();
      self.request_stop();
      before = true;
      co_await skua::this_task::checkpoint();
      behind = true;
    });
    bool stopped = false;
    try {
      co_await self;
    } catch (skua::task_stopped const&) {
      stopped = true;
    }
    EXPECT_TRUE(stopped && before && !behind);
  });
}

TEST_F(PortedScopes, a_handle_that_is_inside_a_shield_may_be_stopped_itself) {
  run([]() -> task<> {
    auto inner = skua::spawn(never);
    auto outer = skua::spawn([&]() -> task<bool> {
      try {
        co_await skua::shield(inner);
      } catch (skua::task_stopped const&) {
        co_return true;
      }
      co_return false;
    });
    co_await let_them_wait();
    outer.request_stop();   // waits outside
    co_await let_them_wait();
    EXPECT_FALSE(outer.done());
    inner.request_stop();
    EXPECT_TRUE(co_await outer);   // it came to its value, and no suspension point was left
  });
}

TEST_F(PortedScopes, as_completed_under_a_timeout_has_passed_on_what_came_in_time) {
  run([]() -> task<> {
    std::vector<task<int>> all;
    for (int i = 5; i > 0; --i)
      all.push_back([](int n) -> task<int> {
        co_await skua::sleep_for(n * 1s);
        co_return n;
      }(i));
    std::vector<int> came;
    bool late = false;
    try {
      co_await skua::timeout(3500ms, skua::as_completed(std::move(all), [&](skua::outcome<int> o) { came.push_back(*o); }));
    } catch (skua::timeout_error const&) {
      late = true;
    }
    EXPECT_TRUE(late);
    EXPECT_EQ(came, (std::vector{1, 2, 3}));
  });
}

TEST_F(PortedScopes, a_task_local_is_there_for_the_destructors_of_a_stop_and_for_nested_bindings) {
  static constinit skua::task_local<int> number;
  run([]() -> task<> {
    int seen = 0;
    struct looks {
      int& seen;
      ~looks() { seen = number.value_or(-1); }
    };
    auto inside = [&]() -> task<> {
      looks const l{seen};
      co_await never();
    };
    auto h = skua::spawn([&]() -> task<> { co_await number.with(1, number.with(2, inside())); });
    co_await let_them_wait();
    co_await stop_and_join(h);
    EXPECT_EQ(seen, 2);
    EXPECT_EQ(number.get(), nullptr);
  });
}

} // namespace
