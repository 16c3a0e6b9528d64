// SPDX-License-Identifier: Apache-2.0
// with_task_group (S13), stopped from everywhere, and the cases that asyncio had to mend. Virtual time. tests/stress/group_stress.cpp stops it everywhere.
#include "skua/blocking.hpp"
#include "skua/finally.hpp"
#include "skua/runtime.hpp"
#include "skua/task_group.hpp"
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
using skua::task_group;

class TaskGroupStop : public several_workers {};
INSTANTIATE_TEST_SUITE_P(, TaskGroupStop, testing::Values(1u, 2u, 4u), by_workers);

// ---------------------------------------------------------------------------------------------- stop

TEST_P(TaskGroupStop, S13_a_stop_from_outside_reaches_body_and_tasks_and_all_are_awaited) {
  std::atomic<int> gone = 0, ready = 0;
  auto body = [&]() -> task<> {
    for (int n : {0, 1, 3, 300}) {
      for (bool body_suspends : {true, false}) {
        gone = ready = 0;
        auto h = skua::spawn([&, n]() -> task<> {
          co_await skua::with_task_group([&](task_group& g) -> task<> {
            for (int i = 0; i < n; ++i) g.spawn(sleep_with, 1h, std::ref(gone));
            ready = 1;
            if (body_suspends || n == 0) co_await skua::sleep_for(1h);
          });
          ADD_FAILURE() << "went on";
        });
        co_await until([&] { return ready != 0; });
        std::thread([&] { h.request_stop(); }).join();
        EXPECT_THROW(co_await h, skua::task_stopped);
        EXPECT_EQ(gone, n);
      }
    }
  };
  rt.block_on(body);
}

TEST_P(TaskGroupStop, S13_spawning_into_a_stopped_group_starts_nothing) {
  std::atomic<int> ran = 0;
  auto body = [&]() -> task<> {
    co_await skua::with_task_group([&](task_group& g) -> task<> {
      g.request_stop();
      auto h = g.spawn([&ran, kept = owned(1)](owned) -> task<> {
        ++ran;
        co_return;
      },
                       owned(2));
      EXPECT_EQ(owned::alive, 0);   // destroyed here
      EXPECT_TRUE(h.done());
      EXPECT_TRUE(g.stop_requested());
      EXPECT_EQ(g.size(), 0u);
      auto awaits = [](auto child) -> task<stop_reason> {
        try {
          co_await child;
        } catch (skua::task_stopped const& e) {
          co_return e.reason();
        }
        co_return stop_reason::none;
      };
      EXPECT_EQ(co_await skua::shield(awaits(std::move(h))), stop_reason::requested);
    });
    EXPECT_EQ(ran, 0);
  };
  rt.block_on(body);
}

TEST_P(TaskGroupStop, request_stop_ends_it_without_an_error) {
  std::atomic<int> gone = 0;
  auto body = [&]() -> task<> {
    // By the body, which comes to its value.
    EXPECT_EQ(co_await skua::with_task_group([&](task_group& g) -> task<int> {
                g.spawn(sleep_with, 1h, std::ref(gone));
                co_await skua::sleep_for(1s);
                g.request_stop();
                g.request_stop();
                co_return 3;
              }),
              3);
    EXPECT_EQ(gone, 1);
    // By the body, which goes on to its next suspension point.
    bool behind = false;
    co_await skua::with_task_group([&](task_group& g) -> task<> {
      g.request_stop();
      co_await skua::this_task::checkpoint();
      behind = true;
    });
    EXPECT_FALSE(behind);
    // By a task; the body has no value then.
    stop_reason why{};
    auto by_a_task = [&](task_group& g) -> task<int> {
      struct asks {
        stop_reason& to;
        ~asks() { to = skua::this_task::stop_reason(); }
      } a{why};
      g.spawn(sleep_with, 1h, std::ref(gone));
      g.spawn([](task_group& group) -> task<> {
        co_await skua::sleep_for(1s);
        group.request_stop();
      },
              std::ref(g));
      co_await skua::sleep_for(1h);
      co_return 1;
    };
    EXPECT_THROW(co_await skua::with_task_group(by_a_task), skua::task_stopped);
    EXPECT_EQ(why, stop_reason::requested);
    EXPECT_EQ(gone, 2);
    // By a foreign thread that a task waits for.
    co_await skua::with_task_group([&](task_group& g) -> task<> {
      g.spawn(sleep_with, 1h, std::ref(gone));
      g.spawn([](task_group& group) -> task<> { co_await skua::spawn_blocking([&group] { group.request_stop(); }); }, std::ref(g));
      co_await skua::sleep_for(1h);
    });
    EXPECT_EQ(gone, 3);
  };
  rt.block_on(body);
}

// Who asks need be no part of it. The stop ends what keeps the group alive while it is being asked.
TEST_P(TaskGroupStop, a_task_of_another_kind_may_stop_it_as_long_as_its_body_waits_for_that) {
  std::atomic<int> gone = 0;
  auto body = [&]() -> task<> {
    for (int round = 0; round < 200; ++round) {
      co_await skua::with_task_group([&](task_group& g) -> task<> {
        for (int i = 0; i < 5; ++i) g.spawn(sleep_with, 1h, std::ref(gone));
        auto other = skua::spawn([&g]() -> task<> {
          g.request_stop();
          co_return;
        });
        co_await other;
      });
    }
  };
  rt.block_on(body);
  EXPECT_LE(gone, 1000);
}

TEST_P(TaskGroupStop, tasks_of_a_stopped_group_are_told_why) {
  stop_reason parent{}, sibling{};
  struct asks {
    static task<> why(stop_reason& to) {
      struct at_the_end {
        stop_reason& to;
        ~at_the_end() { to = skua::this_task::stop_reason(); }
      } a{to};
      co_await skua::sleep_for(1h);
    }
  };
  auto body = [&]() -> task<> {
    EXPECT_THROW(co_await skua::timeout(1s, skua::with_task_group([&](task_group& g) -> task<> {
                                          g.spawn(asks::why, std::ref(parent));
                                          co_return;
                                        })),
                 skua::timeout_error);
    EXPECT_THROW(co_await skua::with_task_group([&](task_group& g) -> task<> {
                   g.spawn(asks::why, std::ref(sibling));
                   g.spawn(fail_in, 1s, std::string("no"));
                   co_return;
                 }),
                 std::runtime_error);
  };
  rt.block_on(body);
  EXPECT_EQ(parent, stop_reason::parent);
  EXPECT_EQ(sibling, stop_reason::sibling);
}

TEST_P(TaskGroupStop, failure_before_stop_before_value) {
  std::atomic<int> caught = 0;
  auto body = [&]() -> task<> {
    auto h = skua::spawn([&]() -> task<> {
      try {
        co_await skua::with_task_group([&](task_group& g) -> task<> {
          g.spawn(fails_late, std::string("although it is stopped"));
          co_await skua::sleep_for(1h);
        });
      } catch (std::runtime_error const&) {
        ++caught;
      }
      co_await skua::this_task::checkpoint();
      ADD_FAILURE() << "went on";
    });
    co_await skua::sleep_for(1s);
    h.request_stop();
    EXPECT_THROW(co_await h, skua::task_stopped);
    EXPECT_EQ(caught, 1);
  };
  rt.block_on(body);
}

TEST_P(TaskGroupStop, a_deep_tree_of_groups_is_stopped) {
  struct tree {
    static task<> grow(int depth, std::atomic<int>& alive) {
      struct counted {
        std::atomic<int>& n;
        explicit counted(std::atomic<int>& c) : n(c) { ++n; }
        ~counted() { --n; }
      } c(alive);
      if (depth == 0) {
        co_await skua::sleep_for(1h);
        co_return;
      }
      co_await skua::with_task_group([&](task_group& g) -> task<> {
        for (int i = 0; i < 3; ++i) g.spawn(grow, depth - 1, std::ref(alive));
        co_return;
      });
    }
  };
  std::atomic<int> alive = 0;
  auto body = [&]() -> task<> {
    EXPECT_THROW(co_await skua::timeout(1s, tree::grow(5, alive)), skua::timeout_error);
    EXPECT_EQ(alive, 0);
  };
  rt.block_on(body);
}

// ---------------------------------------------------------------------------------------------- what asyncio had to mend

TEST_P(TaskGroupStop, a_stop_from_outside_after_its_own_request_stop_is_not_swallowed__cpython_155433) {
  auto body = []() -> task<> {
    auto slow_to_stop = []() -> task<> {
      co_await skua::finally(skua::sleep_for(1h), [] { return skua::sleep_for(1s); });
    };
    EXPECT_THROW(co_await skua::timeout(500ms, skua::with_task_group([&](task_group& g) -> task<> {
                                          g.spawn(slow_to_stop);
                                          co_await skua::sleep_for(100ms);
                                          g.request_stop();
                                          co_await skua::sleep_for(1h);
                                        })),
                 skua::timeout_error);
    // With a value it has completed, only late: nothing is thrown away (S10). Differs from asyncio on purpose.
    EXPECT_EQ(co_await skua::timeout(500ms, skua::with_task_group([&](task_group& g) -> task<int> {
                                       g.spawn(slow_to_stop);
                                       co_await skua::sleep_for(100ms);
                                       g.request_stop();
                                       co_return 3;
                                     })),
              3);
  };
  rt.block_on(body);
}

TEST_P(TaskGroupStop, a_task_that_stops_its_group_before_it_suspends_is_stopped__cpython_155418) {
  auto body = []() -> task<> {
    co_await skua::with_task_group([](task_group& g) -> task<> {
      g.spawn([](task_group& group) -> task<> {
        group.request_stop();
        co_await never();
      },
              std::ref(g));
      co_return;
    });
  };
  rt.block_on(body);
}

TEST_P(TaskGroupStop, a_failure_of_a_group_that_is_held_back_leaves_nothing_to_a_timeout_around_it__cpython_133747) {
  auto body = []() -> task<> {
    auto holds_back = []() -> task<> {
      std::exception_ptr e;
      try {
        co_await skua::with_task_group([](task_group& g) -> task<> {
          g.spawn(fail_in, 0s, std::string("inside"));
          co_return;
        });
      } catch (std::runtime_error const&) {
        e = std::current_exception();
      }
      co_await skua::sleep_for(1s);
      std::rethrow_exception(e);
    };
    EXPECT_THROW(co_await skua::timeout(100ms, holds_back()), skua::timeout_error);
    EXPECT_THROW(co_await skua::timeout(2s, holds_back()), std::runtime_error);
  };
  rt.block_on(body);
}

TEST_P(TaskGroupStop, a_task_whose_spawned_task_fails_is_stopped__cpython_128550) {
  auto body = []() -> task<> {
    EXPECT_THROW(co_await skua::with_task_group([](task_group& g) -> task<> {
                   g.spawn([](task_group& group) -> task<> {
                     group.spawn([]() -> task<> {
                       throw std::runtime_error("third");
                       co_return;
                     });
                     co_await never();
                   },
                           std::ref(g));
                   co_return;
                 }),
                 std::runtime_error);
  };
  rt.block_on(body);
}

TEST_P(TaskGroupStop, a_stop_of_the_outer_group_and_a_failure_in_the_inner_one_are_both_seen__cpython_116720) {
  auto body = []() -> task<> {
    int behind = 0, caught = 0;
    // Both at the same time: the outer group's task fails while the inner group fails by itself.
    try {
      co_await skua::with_task_group([&](task_group& outer) -> task<> {
        outer.spawn(fail_in, 1s, std::string("outer"));
        try {
          co_await skua::with_task_group([](task_group& inner) -> task<> {
            inner.spawn(fails_late, std::string("inner"));   // after 2 s, although it is stopped after 1
            co_return;
          });
        } catch (std::runtime_error const& e) {
          EXPECT_STREQ(e.what(), "inner");
          ++caught;
        }
        co_await skua::this_task::checkpoint();   // sees the outer group's stop
        ++behind;
      });
      ADD_FAILURE() << "must throw";
    } catch (std::runtime_error const& e) {
      EXPECT_STREQ(e.what(), "outer");
    }
    EXPECT_EQ(caught, 1);
    EXPECT_EQ(behind, 0);
  };
  rt.block_on(body);
}

TEST_P(TaskGroupStop, a_stop_that_meets_the_end_of_a_timeout_is_seen_behind_it__cpython_86296) {
  std::atomic<int> behind = 0;
  auto body = [&]() -> task<> {
    auto h = skua::spawn([&]() -> task<> {
      co_await skua::timeout(100s, skua::with_task_group([](task_group& g) -> task<> {
                               g.spawn(after, 1s, 1);
                               co_return;
                             }));
      co_await skua::sleep_for(1s);
      ++behind;
    });
    co_await skua::sleep_for(1s);
    h.request_stop();   // as the task inside ends
    EXPECT_THROW(co_await h, skua::task_stopped);
  };
  for (int i = 0; i < 50; ++i) rt.block_on(body);
  EXPECT_EQ(behind, 0);
}

} // namespace
