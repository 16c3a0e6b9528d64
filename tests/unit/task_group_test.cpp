// SPDX-License-Identifier: Apache-2.0
// with_task_group (S13): how it ends on every path, failures, stop from everywhere, limits, start, handles. Virtual time. tests/model/group_model.cpp has the
// protocol, tests/stress/group_stress.cpp stops it everywhere.
#include "skua/blocking.hpp"
#include "skua/finally.hpp"
#include "skua/runtime.hpp"
#include "skua/task_group.hpp"
#include "skua/time.hpp"
#include "skua/when_all.hpp"
#include "tests/support/leak_check.hpp"
#include "tests/support/values.hpp"
#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::stop_reason;
using skua::task;
using skua::task_group;

class TaskGroup : public leak_check, public testing::WithParamInterface<unsigned> {
protected:
  skua::runtime rt{skua::options{.workers = GetParam(), .backend = "virtual"}};
};
INSTANTIATE_TEST_SUITE_P(, TaskGroup, testing::Values(1u, 2u, 4u), [](auto const& i) { return std::to_string(i.param) + "_workers"; });

task<int> after(std::chrono::nanoseconds t, int n) {
  co_await skua::sleep_for(t);
  co_return n;
}
task<> fail_in(std::chrono::nanoseconds t, std::string what) {
  co_await skua::sleep_for(t);
  throw std::runtime_error(what);
}
task<> sleep_with(std::chrono::nanoseconds t, std::atomic<int>& gone) {
  witness w(gone);
  co_await skua::sleep_for(t);
}
std::vector<std::string> messages(skua::task_group_error const& e) {
  std::vector<std::string> all;
  for (auto const& f : e.failures()) all.push_back(message_of([&] { std::rethrow_exception(f); }));
  return all;
}

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

// ---------------------------------------------------------------------------------------------- failures

TEST_P(TaskGroup, S13_the_failure_of_a_task_stops_the_rest_and_is_thrown) {
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

TEST_P(TaskGroup, S13_the_failure_of_the_body_stops_the_tasks_and_is_thrown) {
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

// Fails when it is stopped: from inside a shield, where it is not.
task<> fails_late(std::string what) {
  co_await skua::shield([](std::string w) -> task<> {
    co_await skua::sleep_for(2s);
    throw std::runtime_error(w);
  }(std::move(what)));
}

TEST_P(TaskGroup, several_failures_are_all_kept_in_time_order) {
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

TEST_P(TaskGroup, a_failure_that_the_body_has_from_a_handle_is_one_failure) {
  auto body = []() -> task<> {
    EXPECT_THROW(co_await skua::with_task_group([](task_group& g) -> task<> {
                   auto h = g.spawn(fail_in, 1s, std::string("only"));
                   co_await skua::shield(h);   // not stopped by its failure, and rethrows it
                 }),
                 std::runtime_error);
  };
  rt.block_on(body);
}

TEST_P(TaskGroup, collect_lets_the_others_end_and_throws_all_failures) {
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

TEST_P(TaskGroup, an_exception_of_the_body_before_its_first_suspension_point_leaves_nothing_behind) {
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

// ---------------------------------------------------------------------------------------------- stop

TEST_P(TaskGroup, S13_a_stop_from_outside_reaches_body_and_tasks_and_all_are_awaited) {
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

TEST_P(TaskGroup, S13_spawning_into_a_stopped_group_starts_nothing) {
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

TEST_P(TaskGroup, request_stop_ends_it_without_an_error) {
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
TEST_P(TaskGroup, a_task_of_another_kind_may_stop_it_as_long_as_its_body_waits_for_that) {
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

TEST_P(TaskGroup, tasks_of_a_stopped_group_are_told_why) {
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

TEST_P(TaskGroup, failure_before_stop_before_value) {
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

TEST_P(TaskGroup, a_deep_tree_of_groups_is_stopped) {
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

// ---------------------------------------------------------------------------------------------- what asyncio had to mend

TEST_P(TaskGroup, a_stop_from_outside_after_its_own_request_stop_is_not_swallowed__cpython_155433) {
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

TEST_P(TaskGroup, a_task_that_stops_its_group_before_it_suspends_is_stopped__cpython_155418) {
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

TEST_P(TaskGroup, a_failure_of_a_group_that_is_held_back_leaves_nothing_to_a_timeout_around_it__cpython_133747) {
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

TEST_P(TaskGroup, a_task_whose_spawned_task_fails_is_stopped__cpython_128550) {
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

TEST_P(TaskGroup, a_stop_of_the_outer_group_and_a_failure_in_the_inner_one_are_both_seen__cpython_116720) {
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

TEST_P(TaskGroup, a_stop_that_meets_the_end_of_a_timeout_is_seen_behind_it__cpython_86296) {
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
