// SPDX-License-Identifier: Apache-2.0
// with_task_group (S13): how it ends on every path, limits, start, handles. Virtual time. tests/model/group_model.cpp has the protocol;
// task_group_failure_test.cpp has failures, task_group_stop_test.cpp stops.
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

class TaskGroup : public several_workers {};
INSTANTIATE_TEST_SUITE_P(, TaskGroup, testing::Values(1u, 2u, 4u), by_workers);

// ---------------------------------------------------------------------------------------------- ends

TEST_P(TaskGroup, S13_ends_when_the_body_and_every_task_have_ended) {
  std::atomic<int> gone = 0;
  auto body = [&]() -> task<> {
    auto const begin = skua::clock::now();
    int const n = co_await skua::with_task_group([&](task_group& g) -> task<int> {
      for (int i = 1; i <= 5; ++i) g.spawn(sleep_with, std::chrono::seconds(i), std::ref(gone));
      EXPECT_EQ(g.size(), 5u);
      co_return 7;   // at once
    });
    EXPECT_EQ(n, 7);
    EXPECT_EQ(gone, 5);
    EXPECT_EQ(skua::clock::now() - begin, 5s);
    co_await skua::with_task_group([&](task_group& g) -> task<> {   // the body is the last
      g.spawn(sleep_with, 1s, std::ref(gone));
      co_await skua::sleep_for(2s);
    });
    EXPECT_EQ(gone, 6);
    EXPECT_EQ(skua::clock::now() - begin, 7s);
    co_await skua::with_task_group([](task_group&) -> task<> { co_return; });   // nothing in it
    EXPECT_EQ((co_await skua::with_task_group([](task_group&) -> task<owned> { co_return owned(3); })).value(), 3);
  };
  rt.block_on(body);
  EXPECT_EQ(owned::alive, 0);
}

TEST_P(TaskGroup, S13_tasks_may_spawn_into_it_and_refer_to_the_block_around_it) {
  struct tree {
    static task<> grow(task_group& g, std::atomic<int>& count, int depth) {
      ++count;
      for (int i = 0; i < 3 && depth != 0; ++i) g.spawn(grow, std::ref(g), std::ref(count), depth - 1);
      if (depth % 2) co_await skua::this_task::yield();
    }
  };
  auto body = []() -> task<> {
    std::atomic<int> count = 0;
    co_await skua::with_task_group([&](task_group& g) -> task<> {
      g.spawn(tree::grow, std::ref(g), std::ref(count), 6);
      co_return;
    });
    EXPECT_EQ(count, 1 + 3 + 9 + 27 + 81 + 243 + 729);
  };
  rt.block_on(body);
}

TEST_P(TaskGroup, S13_callables_arguments_and_results_die_before_it_ends) {
  auto body = []() -> task<> {
    co_await skua::with_task_group([&](task_group& g) -> task<> {
      for (int i = 0; i < 20; ++i) {
        g.spawn([kept = owned(i)](owned const& also) -> task<> {
          co_await skua::this_task::yield();
          EXPECT_EQ(kept.value(), also.value());
        },
                owned(i));
      }
      co_return;
    });
    EXPECT_EQ(owned::alive, 0);
  };
  rt.block_on(body);
}

TEST_P(TaskGroup, many_tasks_come_and_go) {
  std::atomic<int> count = 0;
  auto body = [&]() -> task<> {
    co_await skua::with_task_group([&](task_group& g) -> task<> {
      for (int round = 0; round < 50; ++round) {
        for (int i = 0; i < 100; ++i) {
          g.spawn([](std::atomic<int>& n) -> task<> {
            ++n;
            co_return;
          },
                  std::ref(count));
        }
        co_await g.join();
        EXPECT_EQ(count, (round + 1) * 100);
        EXPECT_EQ(g.size(), 0u);
      }
    });
  };
  rt.block_on(body);
}

// ---------------------------------------------------------------------------------------------- handles

TEST_P(TaskGroup, handles_give_results_and_may_be_dropped_or_outlive_it) {
  auto body = []() -> task<> {
    skua::child_handle<int> kept;
    int const sum = co_await skua::with_task_group([&](task_group& g) -> task<int> {
      auto a = g.spawn(after, 2s, 1);
      auto b = g.spawn(after(1s, 2));
      g.spawn(after, 3s, 100);   // dropped: it goes on
      kept = g.spawn(after, 4s, 4);
      EXPECT_FALSE(a.done());
      co_return co_await a + co_await b;
    });
    EXPECT_EQ(sum, 3);
    EXPECT_TRUE(kept.done());
    EXPECT_EQ(co_await kept, 4);
    EXPECT_THROW(co_await kept, skua::usage_error);
    EXPECT_THROW(co_await skua::child_handle<>(), skua::usage_error);
  };
  rt.block_on(body);
}

TEST_P(TaskGroup, handles_are_branches_of_a_select) {
  auto body = []() -> task<> {
    int const sum = co_await skua::with_task_group([&](task_group& g) -> task<int> {
      auto slow = g.spawn(after, 3s, 1);
      auto const quick = g.spawn(after, 1s, 2);
      bool slow_ended = false, quick_ended = false;
      int sum = 0, timers = 0;
      while (!slow_ended || !quick_ended)
        co_await skua::select(skua::on(slow, [&](int n) { slow_ended = true, sum += n; }).only_if(!slow_ended),
                              skua::on(quick, [&](int n) { quick_ended = true, sum += 10 * n; }).only_if(!quick_ended),
                              skua::on(skua::sleep_for(2s), [&] { ++timers; }).only_if(quick_ended));
      EXPECT_LE(timers, 1);   // due with the slow one
      skua::child_handle<> empty;
      EXPECT_THROW(co_await skua::select(skua::on(empty, [] {})), skua::usage_error);
      co_return sum;
    });
    EXPECT_EQ(sum, 21);
  };
  rt.block_on(body);
}

TEST_P(TaskGroup, a_task_that_is_stopped_by_its_handle_disturbs_nobody) {
  std::atomic<int> gone = 0;
  auto body = [&]() -> task<> {
    int const n = co_await skua::with_task_group([&](task_group& g) -> task<int> {
      auto h = g.spawn(sleep_with, 1h, std::ref(gone));
      auto other = g.spawn(after, 2s, 5);
      co_await skua::sleep_for(1s);
      h.request_stop();
      EXPECT_FALSE((co_await skua::stopped_as_optional(h)).has_value());
      EXPECT_FALSE(g.stop_requested());
      co_return co_await other;
    });
    EXPECT_EQ(n, 5);
  };
  rt.block_on(body);
  EXPECT_EQ(gone, 1);
}

TEST_P(TaskGroup, names_are_those_of_spawn) {
  auto body = []() -> task<> {
    std::string name = co_await skua::with_task_group([](task_group& g) -> task<std::string> {
      co_return co_await g.spawn(skua::named("worker"), []() -> task<std::string> { co_return std::string(skua::this_task::name()); });
    });
    EXPECT_EQ(name, "worker");
  };
  rt.block_on(body);
}

// ---------------------------------------------------------------------------------------------- limits

TEST_P(TaskGroup, max_concurrency_is_kept_and_tasks_start_in_order) {
  std::atomic<int> running = 0, most = 0;
  std::vector<int> order;
  std::mutex m;
  auto one = [&](int i) -> task<> {
    {
      std::lock_guard const g(m);
      order.push_back(i);
    }
    int const now = ++running;
    int seen = most;
    while (seen < now && !most.compare_exchange_weak(seen, now)) {}
    co_await skua::sleep_for(1s);
    --running;
  };
  auto body = [&]() -> task<> {
    auto const begin = skua::clock::now();
    co_await skua::with_task_group({.max_concurrency = 3}, [&](task_group& g) -> task<> {
      for (int i = 0; i < 12; ++i) g.spawn(one, i);
      EXPECT_EQ(g.size(), 12u);
      co_return;
    });
    EXPECT_EQ(skua::clock::now() - begin, 4s);
    EXPECT_LE(most, 3);
    EXPECT_EQ(order.size(), 12u);
    if (GetParam() == 1) {
      for (int i = 0; i < 12; ++i) EXPECT_EQ(order[static_cast<std::size_t>(i)] / 3, i / 3);
    }
  };
  rt.block_on(body);
}

TEST_P(TaskGroup, room_makes_the_spawner_wait) {
  auto body = []() -> task<> {
    auto const begin = skua::clock::now();
    co_await skua::with_task_group({.max_concurrency = 2}, [&](task_group& g) -> task<> {
      for (int i = 0; i < 6; ++i) {
        co_await g.room();
        EXPECT_LE(g.size(), 1u);
        g.spawn(after, 1s, i);
      }
      EXPECT_EQ(skua::clock::now() - begin, 2s);
    });
    EXPECT_EQ(skua::clock::now() - begin, 3s);
  };
  rt.block_on(body);
}

// INV-GROUP-6: the place that one does not use is the next one's, although no other task leaves.
TEST_P(TaskGroup, who_waited_for_room_and_spawns_nothing_lets_the_next_one_go_on) {
  auto body = []() -> task<> {
    co_await skua::with_task_group({.max_concurrency = 1}, [&](task_group& g) -> task<> {
      g.spawn(after, 1s, 0);
      skua::event last;
      auto waits = [&](bool is_last) -> task<> {
        co_await g.room();
        EXPECT_EQ(g.size(), 0u);
        if (is_last) last.set();
        co_await last.wait();
      };
      co_await skua::timeout(1h, skua::when_all(waits(false), waits(false), waits(false), waits(true)));
    });
  };
  rt.block_on(body);
}

TEST_P(TaskGroup, a_stop_reaches_tasks_that_wait_for_their_turn_and_who_waits_for_room) {
  std::atomic<int> began = 0;
  auto body = [&]() -> task<> {
    auto starts = [&](int) -> task<> {
      ++began;
      co_await skua::sleep_for(1h);
      ADD_FAILURE() << "went on";
    };
    EXPECT_THROW(co_await skua::timeout(1s, skua::with_task_group({.max_concurrency = 1}, [&](task_group& g) -> task<> {
                                          for (int i = 0; i < 5; ++i) g.spawn(starts, i);
                                          co_await g.room();   // may have won against the stop (S4)
                                          co_await skua::this_task::checkpoint();
                                          ADD_FAILURE() << "went on";
                                        })),
                 skua::timeout_error);
    EXPECT_THROW(co_await skua::timeout(1s, skua::with_task_group([&](task_group& g) -> task<> {
                                          g.spawn(starts, 1);
                                          co_await g.join();   // may have won against the stop (S4)
                                          co_await skua::this_task::checkpoint();
                                          ADD_FAILURE() << "went on";
                                        })),
                 skua::timeout_error);
  };
  rt.block_on(body);
}

// ---------------------------------------------------------------------------------------------- start

task<> serve(skua::started<int> ready, int port) {
  co_await skua::sleep_for(1s);
  ready(port);
  co_await skua::sleep_for(1h);
}

TEST_P(TaskGroup, start_waits_until_the_task_says_that_it_is_ready) {
  auto body = []() -> task<> {
    auto const begin = skua::clock::now();
    co_await skua::with_task_group([&](task_group& g) -> task<> {
      EXPECT_EQ(co_await g.start<int>(serve, 80), 80);
      EXPECT_EQ(skua::clock::now() - begin, 1s);
      EXPECT_EQ(g.size(), 1u);
      co_await g.start([](skua::started<> ready) -> task<> {
        ready();
        co_return;
      });
      g.request_stop();
    });
    EXPECT_EQ(skua::clock::now() - begin, 1s);
  };
  rt.block_on(body);
}

TEST_P(TaskGroup, start_of_a_task_that_ends_before_says_how) {
  auto body = []() -> task<> {
    EXPECT_THROW(co_await skua::with_task_group([](task_group& g) -> task<> {
                   co_await g.start([](skua::started<>) -> task<> {
                     co_await skua::sleep_for(1s);
                     throw std::runtime_error("cannot listen");
                   });
                 }),
                 std::runtime_error);
    EXPECT_THROW(co_await skua::with_task_group([](task_group& g) -> task<> {
                   co_await g.start([](skua::started<>) -> task<> { co_return; });
                 }),
                 skua::usage_error);
    EXPECT_THROW(co_await skua::timeout(1s, skua::with_task_group([](task_group& g) -> task<> {
                                          co_await g.start([](skua::started<>) -> task<> { co_await skua::sleep_for(1h); });
                                        })),
                 skua::timeout_error);
  };
  rt.block_on(body);
}

} // namespace
