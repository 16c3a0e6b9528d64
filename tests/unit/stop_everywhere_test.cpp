// SPDX-License-Identifier: Apache-2.0
// Stop everywhere: one program of scopes is run again and again, each time stopped at the next one of its suspension points, from inside and from a foreign
// thread, until it runs to its end. Every time: everything is destroyed, every clean-up has run, nobody outlived a group. tests/stress/group_stress.cpp does
// the same to random programs; stop_locks_test.cpp, stop_channels_test.cpp and stop_waits_test.cpp to each operation that waits.
#include "skua/as_completed.hpp"
#include "skua/deadline.hpp"
#include "skua/finally.hpp"
#include "skua/for_each_concurrent.hpp"
#include "skua/runtime.hpp"
#include "skua/shield.hpp"
#include "skua/stop_token.hpp"
#include "skua/task_group.hpp"
#include "skua/task_local.hpp"
#include "skua/time.hpp"
#include "skua/when_all_settled.hpp"
#include "tests/support/several_workers.hpp"
#include "tests/support/stop_everywhere.hpp"
#include "tests/support/values.hpp"
#include <atomic>
#include <chrono>
#include <ranges>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::task;
using skua::task_group;

class StopEverywhere : public several_workers {};
INSTANTIATE_TEST_SUITE_P(, StopEverywhere, testing::Values(1u, 2u), by_workers);

struct course : stop_course<int> {
  std::atomic<int> cleanups_due{0}, cleanups{0}, alive{0};
};
void point(course& c) { c.point(); }
struct alive {
  course& c;
  explicit alive(course& k) : c(k) { ++c.alive; }
  alive(alive const&) = delete;
  ~alive() { --c.alive; }
};

task<owned> step(course& c, int n) {
  alive const a(c);
  point(c);
  co_await skua::this_task::yield();
  point(c);
  co_await skua::sleep_for(1ms);
  point(c);
  co_return owned(n);
}
task<owned> cleaned(course& c, int n) {
  alive const a(c);
  ++c.cleanups_due;
  auto cleanup = [&c]() -> task<> {
    point(c);
    (void)co_await step(c, 0);
    ++c.cleanups;
  };
  owned v = co_await skua::finally(step(c, n), cleanup, 1h);
  co_return v;
}
task<> child(course& c, task_group& g, int depth) {
  alive const a(c);
  if (depth > 0) g.spawn(child, std::ref(c), std::ref(g), depth - 1);
  (void)co_await step(c, depth);
  point(c);
}
constinit skua::task_local<int> local;

task<int> program(course& c) {
  alive const a(c);
  co_await c.begin();
  int sum = 0;
  sum += (co_await cleaned(c, 1)).value();
  {
    std::atomic<int> before = c.alive.load();
    sum += (co_await skua::with_task_group({.max_concurrency = 2}, [&](task_group& g) -> task<owned> {
             alive const body(c);
             g.spawn(child, std::ref(c), std::ref(g), 2);
             point(c);
             auto h = g.spawn(cleaned, std::ref(c), 2);
             co_await g.room();
             point(c);
             g.spawn([&c]() -> task<> { (void)co_await skua::shield(step(c, 0)); });
             owned v = co_await h;
             co_await g.join();
             point(c);
             co_return v;
           })).value();
    EXPECT_EQ(c.alive, before);
  }
  sum += (co_await skua::with_deadline(skua::clock::now() + 1h, step(c, 3))).value();
  sum += (co_await local.with(7, skua::with_stop_token([&](std::stop_token) { return step(c, 4); }))).value();
  std::stop_source source;
  sum += (co_await skua::stop_on(source.get_token(), step(c, 5))).value();
  std::atomic<int> seen = 0;
  co_await skua::for_each_concurrent(std::views::iota(0, 3), 2, [&](int n) -> task<> { seen += (co_await step(c, n)).value(); });
  std::vector<task<owned>> some;
  for (int i = 0; i < 3; ++i) some.push_back(step(c, i));
  co_await skua::as_completed(std::move(some), [&](skua::outcome<owned> o) -> task<> {
    point(c);
    co_await skua::this_task::yield();
    if (o) seen += o->value();
  });
  auto [x, y] = co_await skua::when_all_settled(step(c, 6), cleaned(c, 7));
  co_await skua::this_task::checkpoint();
  sum += x->value() + y->value() + seen;
  co_return sum;
}

TEST_P(StopEverywhere, a_program_of_scopes_ends_cleanly_wherever_it_is_stopped) {
  for (bool by_thread : {false, true}) {
    int stops = 0;
    for (bool finished = false; !finished; ++stops) {
      course c{{.left = stops + 1, .by_thread = by_thread}};
      auto body = [&]() -> task<> {
        auto h = skua::spawn(program, std::ref(c));
        c.target = &h;
        try {
          EXPECT_EQ(co_await h, 1 + 2 + 3 + 4 + 5 + 6 + 7 + 3 + 3);
          finished = c.left > 0;
        } catch (skua::task_stopped const& e) {
          EXPECT_EQ(e.reason(), skua::stop_reason::requested);
        }
      };
      rt.block_on(body);
      EXPECT_EQ(c.alive, 0) << "stopped at point " << stops + 1;
      EXPECT_EQ(c.cleanups, c.cleanups_due) << "stopped at point " << stops + 1;
      EXPECT_EQ(owned::alive, 0) << "stopped at point " << stops + 1;
      ASSERT_LT(stops, 1000);
    }
    EXPECT_GT(stops, 50);
  }
}

} // namespace
