// SPDX-License-Identifier: Apache-2.0
// "Stop everywhere": random trees of tasks (when_all, when_any, timeout, spawn and join, plain awaits) whose leaves yield, sleep, fail, and
// wait for a foreign thread or for ever. Each tree is stopped at a random one of its suspension points: by the branch that is there, by a
// foreign thread, or by the task that waits for it. Then: every node gave its own value, or none; every value and every frame is destroyed exactly once; no
// task is left, and no stop request is counted as under way.
//
// usage: stop_stress [--seconds S] [--seed N] [--workers N] [--backend NAME] [--rounds N]
#include "skua/future.hpp"
#include "skua/runtime.hpp"
#include "skua/time.hpp"
#include "skua/when_all.hpp"
#include "skua/when_any.hpp"
#include "tests/support/stress_trees.hpp"
#include <memory>
#include <stdexcept>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::task;

struct totals {
  counter timed_out, dropped;
};
totals total;

foreign_thread* completer;

skua::future<value> from_a_foreign_thread(std::uint64_t of) {
  auto p = std::make_shared<skua::promise<value>>();
  skua::future<value> f = p->get_future();
  completer->post([p, of] { p->set_value(value(of)); });
  return f;
}

task<value> node(control& c, std::uint64_t seed, int depth);

task<> leaf(control& c, std::uint64_t seed) {
  frame_guard const g;
  rng r{seed};
  point(c);
  if (r.one_in(3)) co_await skua::this_task::yield();
  point(c);
  if (r.one_in(2)) (co_await from_a_foreign_thread(seed)).must_be_of(seed);
}
task<value> through_a_call(control& c, std::uint64_t seed, int depth) {
  frame_guard const g;
  value const mine(1);
  value v = co_await node(c, seed, depth);
  co_return v;
}

task<> waits(control& c, rng& r, std::uint64_t seed) {
  frame_guard const g;
  switch (r.below(6)) {
  case 0: co_await skua::this_task::yield(); break;
  case 1: co_await skua::sleep_for(std::chrono::microseconds(r.below(200))); break;
  case 2:
  case 3: (co_await from_a_foreign_thread(seed)).must_be_of(seed); break;
  case 4: co_await skua::this_task::checkpoint(); break;
  case 5:
    if (r.one_in(12)) throw std::runtime_error("node");
    if (r.one_in(16)) co_await skua::sleep_for(24h);   // only a stop ends it
    break;
  }
  point(c);
}

task<> all_of_two(control& c, rng& r, int depth) {
  frame_guard const g;
  std::uint64_t const a = r.next(), b = r.next();
  auto [x, y] = co_await skua::when_all(node(c, a, depth), node(c, b, depth));
  x.must_be_of(a);
  y.must_be_of(b);
}
task<> all_of_three(control& c, rng& r, int depth) {
  frame_guard const g;
  std::uint64_t const a = r.next(), b = r.next(), d = r.next();
  auto [x, nothing, y] = co_await skua::when_all(node(c, a, depth), leaf(c, b), through_a_call(c, d, depth));
  x.must_be_of(a);
  y.must_be_of(d);
}
task<> all_of_void(control& c, rng& r) {   // no results, no special join
  frame_guard const g;
  co_await skua::when_all(leaf(c, r.next()), leaf(c, r.next()));
}
task<> all_of_many(control& c, rng& r, int depth) {
  frame_guard const g;
  std::vector<task<value>> tasks;
  std::vector<std::uint64_t> seeds;
  for (unsigned i = r.below(5); i != 0; --i) tasks.push_back(node(c, seeds.emplace_back(r.next()), depth));
  std::vector<value> const got = co_await skua::when_all(std::move(tasks));
  STRESS_CHECK(got.size() == seeds.size());
  for (std::size_t i = 0; i < got.size(); ++i) got[i].must_be_of(seeds[i]);
}
task<> any_of_two(control& c, rng& r, int depth) {
  frame_guard const g;
  std::uint64_t const a = r.next(), b = r.next();
  auto won = co_await skua::when_any(node(c, a, depth), leaf(c, r.next()), node(c, b, depth));
  if (won.index() == 0) std::get<0>(won).must_be_of(a);
  if (won.index() == 2) std::get<2>(won).must_be_of(b);
}
task<> any_of_many(control& c, rng& r, int depth) {
  frame_guard const g;
  std::vector<task<value>> tasks;
  std::vector<std::uint64_t> seeds;
  for (unsigned i = 1 + r.below(4); i != 0; --i) tasks.push_back(node(c, seeds.emplace_back(r.next()), depth));
  auto const [index, v] = co_await skua::when_any(std::move(tasks));
  v.must_be_of(seeds[index]);
}
task<> limited(control& c, rng& r, int depth) {
  frame_guard const g;
  std::uint64_t const a = r.next();
  auto const limit = std::chrono::microseconds(r.one_in(4) ? 0 : r.one_in(2) ? r.below(100) : r.below(20'000));
  auto const begin = skua::clock::now();
  try {
    (co_await skua::timeout(limit, node(c, a, depth))).must_be_of(a);
  } catch (skua::timeout_error const&) {
    STRESS_CHECK(skua::clock::now() - begin >= limit);
    total.timed_out.add();
  }
}
task<> joined(control& c, rng& r, int depth) {
  frame_guard const g;
  std::uint64_t const a = r.next();
  skua::join_handle<value> h = skua::spawn(node, std::ref(c), a, depth);
  point(c);
  if (r.one_in(4)) h.request_stop();
  if (r.one_in(4)) {   // dropped: S12
    total.dropped.add();
    co_return;
  }
  try {
    (co_await h).must_be_of(a);
  } catch (skua::task_stopped const&) {
  }
}
task<> caught(control& c, rng& r, int depth) {
  frame_guard const g;
  try {
    co_await all_of_two(c, r, depth);
  } catch (std::runtime_error const&) {
  } catch (skua::all_failed const&) {
  }
}

task<value> node(control& c, std::uint64_t seed, int depth) {
  frame_guard const g;
  rng r{seed};
  value const mine(2);
  for (unsigned steps = 1 + r.below(3); steps != 0; --steps) {
    point(c);
    switch (depth == 0 ? r.below(3) : r.below(13)) {
    case 0:
    case 1: co_await waits(c, r, seed); break;
    case 2: co_await all_of_void(c, r); break;
    case 3:
    case 4: co_await all_of_two(c, r, depth - 1); break;
    case 5: co_await all_of_three(c, r, depth - 1); break;
    case 6: co_await all_of_many(c, r, depth - 1); break;
    case 7: co_await any_of_two(c, r, depth - 1); break;
    case 8: co_await any_of_many(c, r, depth - 1); break;
    case 9: co_await limited(c, r, depth - 1); break;
    case 10: co_await joined(c, r, depth - 1); break;
    case 11: co_await caught(c, r, depth - 1); break;
    case 12: (co_await through_a_call(c, seed, depth - 1)).must_be_of(seed); break;
    }
  }
  co_return value(seed);
}

} // namespace

int main(int argc, char** argv) {
  {
    foreign_thread c;
    completer = &c;
    stop_trees(stress_options(argc, argv), 32, node);
  }
  end_of_trees();
  std::printf("; %llu timed out, %llu dropped\n", total.timed_out.get(), total.dropped.get());
}
