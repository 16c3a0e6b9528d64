// SPDX-License-Identifier: Apache-2.0
// runtime: block_on, spawn from outside, several runtimes, the end of one with tasks alive (S12, S22), failures nobody awaits (S23), many
// workers (S24), signals (S25), fairness (S21).
#include "skua/runtime.hpp"
#include "skua/blocking.hpp"
#include "skua/event.hpp"
#include "skua/shield.hpp"
#include "skua/task_group.hpp"
#include "skua/time.hpp"
#include "skua/timeout.hpp"
#include "skua/when_all.hpp"
#include "tests/support/leak_check.hpp"
#include "tests/support/values.hpp"
#include <algorithm>
#include <atomic>
#include <csignal>
#include <memory>
#include <source_location>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::task;

class Runtime : public leak_check {};

task<owned> owned_after(int yields, int n) {
  co_await yield_times(yields);
  co_return owned(n);
}

// ---------------------------------------------------------------------------------------------- blocking on it

TEST_F(Runtime, blocks_until_the_task_has_ended_and_gives_what_it_gave) {
  skua::runtime rt({.workers = 2});
  EXPECT_EQ(rt.block_on(owned_after(3, 5)).value(), 5);
  EXPECT_EQ(rt.block_on(owned_after, 0, 6).value(), 6);
  rt.block_on(yield_times(2));
  EXPECT_THROW(rt.block_on(fail_after(2, "x")), std::runtime_error);
  EXPECT_EQ(rt.block_on([&]() -> task<int> {
    auto h = skua::spawn(value_after, 1, 7);
    co_return co_await h;
  }),
            7);
  EXPECT_EQ(owned::alive, 0);
}

TEST_F(Runtime, run_makes_one_for_a_single_task_and_stops_what_is_left) {
  EXPECT_EQ(skua::run(value_after(3, 4)), 4);
  std::atomic<int> gone = 0;
  auto body = [](std::atomic<int>& g) -> task<int> {
    skua::spawn([&g]() -> task<> {
      witness w(g);
      co_await never();
    }).detach();
    co_await yield_times(20);
    co_return 9;
  };
  EXPECT_EQ(skua::run({.workers = 2, .backend = "virtual"}, body(gone)), 9);
  EXPECT_EQ(gone, 1);
  EXPECT_THROW(skua::run(fail_with("main")), std::runtime_error);
}

TEST_F(Runtime, blocked_on_by_many_threads_at_once) {
  skua::runtime rt({.workers = 2});
  std::vector<std::thread> threads;
  std::atomic<int> sum = 0;
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&, i] {
      for (int n = 0; n < 50; ++n) sum += rt.block_on(value_after(n % 3, i));
    });
  for (auto& t : threads) t.join();
  EXPECT_EQ(sum, 50 * 28);
}

TEST_F(Runtime, task_that_is_stopped_while_a_thread_blocks_on_it_throws_task_stopped__S11) {
  skua::runtime rt({.workers = 1});
  std::atomic<bool> begun = false;
  std::thread stopper([&] {
    while (!begun) std::this_thread::yield();
    rt.request_stop();
  });
  EXPECT_THROW(rt.block_on([&]() -> task<> {
    begun = true;
    for (;;) co_await skua::this_task::yield();
  }),
               skua::task_stopped);
  stopper.join();
  EXPECT_EQ(rt.block_on(value_of(1)), 1);   // tasks that are spawned later are not affected
}

TEST_F(Runtime, blocking_it_from_inside_is_a_usage_error) {
  skua::runtime rt({.workers = 1}), other({.workers = 1});
  auto body = [&]() -> task<int> {
    int errors = 0;
    for (skua::runtime* r : {&rt, &other}) {
      try {
        (void)r->block_on(value_of(1));
      } catch (skua::usage_error const&) {
        ++errors;
      }
      try {
        (void)r->shutdown(1ms);
      } catch (skua::usage_error const&) {
        ++errors;
      }
    }
    try {
      (void)skua::run(value_of(1));
    } catch (skua::usage_error const&) {
      ++errors;
    }
    EXPECT_EQ(co_await other.spawn(value_of, 5), 5);   // this does not block
    co_return errors;
  };
  EXPECT_EQ(rt.block_on(body), 5);
}

// ---------------------------------------------------------------------------------------------- spawning from outside

TEST_F(Runtime, takes_tasks_from_many_threads) {
  skua::runtime rt({.workers = 2});
  std::vector<std::thread> threads;
  std::atomic<long> sum = 0;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&, i] {
      for (int n = 0; n < 2000; ++n)
        rt.spawn([&sum](int k) -> task<> {
            if (k % 7 == 0) co_await skua::this_task::yield();
            sum += k;
          },
                 n + i)
            .detach();
    });
  for (auto& t : threads) t.join();
  while (rt.metrics().live_tasks != 0) std::this_thread::yield();
  EXPECT_EQ(sum, 4 * 2000 * 1999 / 2 + 2000 * 6);
  EXPECT_EQ(rt.metrics().tasks_spawned, 8000u);
  EXPECT_EQ(rt.metrics().tasks_ended, 8000u);
}

TEST_F(Runtime, two_can_pass_tasks_to_and_fro) {
  skua::runtime a({.workers = 1}), b({.workers = 2});
  struct ping {
    static task<int> pong(skua::runtime& here, skua::runtime& there, int n) {
      if (n == 0) co_return 0;
      co_return 1 + co_await there.spawn([&here, &there, n] { return pong(there, here, n - 1); });
    }
  };
  EXPECT_EQ(a.block_on(ping::pong(a, b, 100)), 100);
}

TEST_F(Runtime, fifty_live_and_die) {
  for (int i = 0; i < 25; ++i) {
    skua::runtime a({.workers = 1}), b({.workers = 2, .backend = "virtual"});
    EXPECT_EQ(a.block_on(value_after(2, i)) + b.block_on(value_after(1, i)), 2 * i);
  }
}

TEST_F(Runtime, that_was_never_used_ends) {
  skua::runtime rt;
  EXPECT_GE(rt.workers(), 1u);
}

// ---------------------------------------------------------------------------------------------- the end

TEST_F(Runtime, stops_and_joins_every_task_when_it_is_destroyed__S12) {
  std::atomic<int> gone = 0, begun = 0;
  {
    skua::runtime rt({.workers = 2});
    for (int i = 0; i < 100; ++i)
      rt.spawn([&]() -> task<> {
          ++begun;
          witness w(gone);
          co_await skua::when_all(never(), skua::task<>(yield_times(3)), []() -> task<> { co_await skua::sleep_for(1h); }());
        }).detach();
    while (begun != 100) std::this_thread::yield();
  }
  EXPECT_EQ(gone, 100);
}

TEST_F(Runtime, handles_may_outlive_it) {
  skua::join_handle<owned> made;
  skua::join_handle<> stopped, failed;
  {
    skua::runtime rt({.workers = 1, .on_unhandled_failure = [](skua::failure const&) {}});
    made = rt.spawn(owned_after, 1, 3);
    stopped = rt.spawn(never);
    while (!made.done()) std::this_thread::yield();
  }
  EXPECT_TRUE(made.done() && stopped.done());
  stopped.request_stop();
  skua::runtime second({.workers = 1});
  EXPECT_EQ(second.block_on([](skua::join_handle<owned> h) -> task<int> { co_return (co_await h).value(); }, std::move(made)), 3);
  EXPECT_THROW(second.block_on([](auto h) -> task<> { co_await h; }, std::move(stopped)), skua::task_stopped);
  EXPECT_EQ(owned::alive, 0);
}

TEST_F(Runtime, takes_no_tasks_after_shutdown_and_destroys_what_it_was_given) {
  skua::runtime rt({.workers = 1});
  EXPECT_TRUE(rt.shutdown(1s).clean());
  auto const argument = std::make_shared<int>(1);
  EXPECT_THROW(rt.spawn([](std::shared_ptr<int>) -> task<> { co_return; }, argument).detach(), skua::usage_error);
  EXPECT_THROW(rt.block_on([](std::shared_ptr<int>) -> task<> { co_return; }, argument), skua::usage_error);
  EXPECT_THROW(rt.spawn(value_of(1)).detach(), skua::usage_error);
  EXPECT_EQ(argument.use_count(), 1);
}

TEST_F(Runtime, tasks_that_spawn_others_while_it_ends_are_joined_too) {
  {   // A walk over all tasks takes long in a process that had many once: longer than a link of the chain lives.
    skua::runtime crowd({.workers = 2});
    crowd.block_on([]() -> task<> {
      std::vector<skua::join_handle<>> all;
      for (int i = 0; i != 200'000; ++i) all.push_back(skua::spawn(never));
      co_return;
    });
  }
  std::atomic<int> begun = 0, gone = 0;
  struct chain {
    static task<> link(std::atomic<int>& b, std::atomic<int>& g) {
      ++b;
      witness w(g);
      co_await skua::sleep_for(10us);
      skua::spawn_detached(link, std::ref(b), std::ref(g));
    }
  };
  for (int round = 0; round < 10; ++round) {
    skua::runtime rt({.workers = 2});
    int const before = begun;
    for (int i = 0; i < 20; ++i) rt.spawn(chain::link, std::ref(begun), std::ref(gone)).detach();
    while (begun < before + 100) std::this_thread::yield();
  }
  EXPECT_EQ(begun, gone);
}

TEST_F(Runtime, knows_the_line_of_every_form_of_spawn) {
  skua::runtime rt({.workers = 1});
  auto waits = [](auto...) -> task<> { co_await never(); };
  std::vector<unsigned> lines;
  auto const here = [&](std::source_location at = std::source_location::current()) { lines.push_back(at.line()); };
  std::vector<skua::join_handle<>> kept;
  std::atomic<bool> in_group{false};
  here(), kept.push_back(rt.spawn(waits));
  here(), kept.push_back(rt.spawn(waits, 1));
  here(), kept.push_back(rt.spawn(waits, 1, 2));
  here(), kept.push_back(rt.spawn(waits, 1, 2, 3));
  here(), kept.push_back(rt.spawn(waits, 1, 2, 3, 4));
  here(), kept.push_back(rt.spawn(waits, 1, 2, 3, 4, 5));
  here(), kept.push_back(rt.spawn(waits, 1, 2, 3, 4, 5, 6));
  here(), kept.push_back(rt.spawn(skua::named("n"), waits));
  rt.block_on([&]() -> task<> {
    here(), kept.push_back(skua::spawn(waits, 1));
    here(), kept.push_back(skua::spawn(skua::named("m"), waits, 1));
    here(), skua::spawn_detached(waits);
    here(), skua::spawn_detached(waits, 1);
    here(), skua::spawn_detached(waits, 1, 2);
    here(), skua::spawn_detached(skua::named("d"), waits, 1, 2);
    here(), skua::spawn_detached(waits, 1, 2, 3, 4);
    here(), kept.push_back(skua::spawn(waits, 1, 2, 3, 4, 5));
    here(), kept.push_back(skua::spawn(skua::named("l"), waits, 1, 2, 3, 4, 5));
    here(), skua::spawn_detached([&]() -> task<> {
      co_await skua::with_task_group([&](skua::task_group& g) -> task<> {
        here(), g.spawn(waits);
        here(), g.spawn(waits, 1, 2, 3);
        here(), g.spawn(skua::named("g"), waits, 1, 2, 3, 4, 5);
        in_group = true;
        co_await never();
      });
    });
    while (!in_group) co_await skua::this_task::yield();
  });
  std::stringstream dump;
  rt.dump(dump);
  std::vector<unsigned> seen;
  for (std::string line; std::getline(dump, line);) {
    if (!line.starts_with("task ")) continue;   // of a branch
    auto const at = line.find("runtime_test.cpp:");
    ASSERT_NE(at, std::string::npos) << line;
    seen.push_back(static_cast<unsigned>(std::stoul(line.substr(at + std::string_view("runtime_test.cpp:").size()))));
  }
  std::ranges::sort(seen);
  EXPECT_EQ(seen, lines);
}

// The line of the task in whose frame it is called.
unsigned own_line(skua::runtime const& rt) {
  std::stringstream dump;
  rt.dump(dump);
  std::string const mine = "task " + std::to_string(skua::this_task::id()) + " spawned at ";
  for (std::string line; std::getline(dump, line);)
    if (auto const at = line.find("runtime_test.cpp:"); line.starts_with(mine) && at != std::string::npos)
      return static_cast<unsigned>(std::stoul(line.substr(at + std::string_view("runtime_test.cpp:").size())));
  return 0;
}
TEST_F(Runtime, knows_the_line_of_block_on_of_a_groups_start_and_of_spawn_with_twelve_arguments) {
  skua::runtime rt({.workers = 2});
  unsigned here = 0;
  auto const note = [&](std::source_location at = std::source_location::current()) { here = at.line(); };
  auto const line = [&](auto...) -> task<unsigned> { co_return own_line(rt); };
  EXPECT_EQ((note(), rt.block_on(line)), here);
  EXPECT_EQ((note(), rt.block_on(line, 1, 2, 3)), here);
  EXPECT_EQ((note(), rt.block_on(line())), here);
  rt.block_on([&]() -> task<> {
    note();
    EXPECT_EQ(co_await skua::spawn(line, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12), here + 1);
    auto more = skua::spawn(line, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13);   // it is not kept
    EXPECT_EQ(co_await more, 0u);
    co_await skua::with_task_group([&](skua::task_group& g) -> task<> {
      unsigned seen = 0;
      note();
      co_await g.start([&](skua::started<> s, int, int) -> task<> { co_return seen = own_line(rt), s(); }, 1, 2);
      EXPECT_EQ(seen, here + 1);
    });
  });
}

// Dumps until each of `lines` is there; each is looked for only once.
void expect_lines(skua::runtime const& rt, std::vector<std::string> const& lines) {
  std::string text;
  for (std::string const& line : lines)
    do {
      std::ostringstream out;
      rt.dump(out);
      text = out.str();
      std::this_thread::yield();
    } while (text.find("\n" + line + "\n") == std::string::npos);
}
task<> sleeps_inside() { co_await skua::sleep_for(1h); }

TEST_F(Runtime, a_dump_shows_what_each_branch_waits_for_whatever_the_number_of_workers_and_who_asks) {
  for (unsigned workers : {1u, 2u}) {
    skua::runtime rt({.workers = workers});
    auto h = rt.spawn([]() -> task<> {
      co_await skua::when_all(sleeps_inside(), []() -> task<> { co_await skua::timeout(2h, never()); }());
    });
    std::vector<std::string> const lines{"  branch waits for: sleep", "  branch waits for: its branches", "    branch waits for: future"};
    expect_lines(rt, lines);
    rt.block_on([&]() -> task<> {
      expect_lines(rt, lines);
      co_return;
    });
  }
}

TEST_F(Runtime, a_dump_shows_what_a_stopped_task_waits_for_inside_a_shield) {
  skua::runtime rt({.workers = 2});
  skua::event done;
  auto h = rt.spawn([&]() -> task<> {
    co_await skua::shield([](skua::event& e) -> task<> { co_await skua::when_all(e.wait(), e.wait()); }(done));
  });
  expect_lines(rt, {"  branch waits for: its branches", "    branch waits for: event"});
  h.request_stop();
  expect_lines(rt, {"  branch waits for: its branches", "    branch waits for: event"});
  done.set();
}

TEST_F(Runtime, what_is_spawned_while_it_ends_is_born_stopped) {
  std::atomic<bool> spawned{false}, reached{false};
  skua::stop_reason why = skua::stop_reason::none;
  {
    skua::runtime rt({.workers = 1});
    rt.spawn([&]() -> task<> {
        while (!skua::this_task::stop_requested()) std::this_thread::yield();   // until the walk has told it
        skua::spawn_detached([&]() -> task<> {
          why = skua::this_task::stop_reason();
          spawned = true;
          co_await skua::this_task::yield();
          reached = true;
        });
        co_return;
      }).detach();
  }
  EXPECT_TRUE(spawned);   // it runs to its first checkpoint (S1)
  EXPECT_FALSE(reached);
  EXPECT_EQ(why, skua::stop_reason::shutdown);
}

// ---------------------------------------------------------------------------------------------- failures nobody awaits

TEST_F(Runtime, tells_the_handler_of_a_failure_with_name_place_and_id_and_counts_it__S23) {
  struct told {
    std::string name, text, file;
    std::uint64_t id;
  } what{};
  skua::runtime rt({.workers = 1, .on_unhandled_failure = [&](skua::failure const& f) {
                      what = {std::string(f.task_name), message_of([&] { std::rethrow_exception(f.error); }), f.spawned_at.file_name(), f.task_id};
                    }});
  std::uint64_t id = 0;
  rt.block_on([&]() -> task<> {
    auto h = skua::spawn(skua::named("careless"), [] { return fail_after(1, "whoops"); });
    id = h.id();
    h.detach();
    co_await yield_times(5);
  });
  EXPECT_EQ(what.name, "careless");
  EXPECT_EQ(what.text, "whoops");
  EXPECT_EQ(what.id, id);
  EXPECT_NE(what.file.find("runtime_test.cpp"), std::string::npos);
  EXPECT_EQ(rt.metrics().failures_unhandled, 1u);
}

TEST(RuntimeDeathTest, may_end_the_process_on_a_failure_nobody_awaits__S23) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_DEATH(
      {
        skua::runtime rt({.workers = 1, .terminate_on_unhandled_failure = true});
        rt.spawn(fail_with("fatal")).detach();
        for (;;) std::this_thread::sleep_for(1s);
      },
      "fatal");
}

// ---------------------------------------------------------------------------------------------- many workers, fairness, signals

TEST_F(Runtime, of_three_hundred_workers_works__S24) {
  skua::runtime rt({.workers = 300});
  EXPECT_EQ(rt.workers(), 300u);
  struct tree {
    static task<long> node(int depth) {
      if (depth == 0) {
        co_await skua::this_task::yield();
        co_return 1;
      }
      auto [a, b] = co_await skua::when_all(node(depth - 1), node(depth - 1));
      co_return a + b;
    }
  };
  EXPECT_EQ(rt.block_on(tree::node(12)), 4096);
  auto sleepers = []() -> task<> {
    std::vector<task<>> v;
    for (int i = 0; i < 1000; ++i) v.push_back([](int n) -> task<> { co_await skua::sleep_for(std::chrono::microseconds(100 * (n % 20))); }(i));
    co_await skua::when_all(std::move(v));
  };
  rt.block_on(sleepers);
}

TEST_F(Runtime, endless_fork_join_on_every_worker_starves_no_other_task__S21) {
  skua::runtime rt({.workers = 2});
  std::atomic<bool> enough = false;
  struct fib {
    static task<long> of(int n) {
      if (n < 2) co_return n;
      auto [a, b] = co_await skua::when_all(of(n - 1), of(n - 2));
      co_return a + b;
    }
  };
  auto computes = [&]() -> task<> {
    while (!enough) co_await fib::of(15);
  };
  auto a = rt.spawn(computes), b = rt.spawn(computes);
  rt.block_on([]() -> task<> {
    for (int i = 0; i < 20; ++i) co_await skua::sleep_for(100us);
    co_await yield_times(20);
  });
  enough = true;
  rt.block_on([](auto x, auto y) -> task<> {
    co_await x;
    co_await y;
  },
              std::move(a), std::move(b));
}

TEST_F(Runtime, leaves_signal_handlers_alone__S25) {
  auto handlers = [] {
    std::vector<void (*)(int)> all;
    for (int s = 1; s < NSIG; ++s) {
      struct sigaction a{};
      ::sigaction(s, nullptr, &a);
      all.push_back(a.sa_handler);
    }
    return all;
  };
  auto const before = handlers();
  {
    skua::runtime rt({.workers = 2});
    rt.block_on([]() -> task<> { co_await skua::sleep_for(1ms); });
    EXPECT_EQ(handlers(), before);
  }
  EXPECT_EQ(handlers(), before);
}

} // namespace
