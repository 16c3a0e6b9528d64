// SPDX-License-Identifier: Apache-2.0
// "Stop everywhere" for scopes: random trees of task groups, whose tasks spawn into their own group and into those around it, with limits, shields, clean-ups,
// timeouts, deadlines, stop tokens, and bodies and tasks that fail, wait for each other, or stop their group. Each tree is stopped at a random one of its
// suspension points (stress_trees.hpp). Then: no task outlived its group; every clean-up ran
// as often as it began to apply; every value and every frame is destroyed exactly once; no task is left, and no stop request is counted as under way.
//
// usage: group_stress [--seconds S] [--seed N] [--workers N] [--backend NAME] [--rounds N]
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
#include "skua/when_all.hpp"
#include "skua/when_all_settled.hpp"
#include "tests/support/stress_trees.hpp"
#include <memory>
#include <ranges>
#include <stdexcept>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::task;
using skua::task_group;

struct totals {
  counter groups, children, refused, cleaned;
};
totals total;

// Of one group: what must be gone when it has ended. Lies in the block around it.
struct ledger {
  std::atomic<int> alive{0};
  ~ledger() { STRESS_CHECK(alive == 0); }
};
class entry {   // of a task, from before it is spawned until callable and arguments are destroyed
public:
  explicit entry(ledger& l) noexcept : l_(&l) { l.alive.fetch_add(1, std::memory_order_relaxed); }
  entry(entry&& o) noexcept : l_(std::exchange(o.l_, nullptr)) {}
  entry& operator=(entry&&) = delete;
  ~entry() {
    if (l_ != nullptr) l_->alive.fetch_sub(1, std::memory_order_release);
  }

private:
  ledger* l_;
};
constinit skua::task_local<std::uint64_t> who;

task<value> node(control& c, std::uint64_t seed, int depth);

task<> waits(control& c, rng& r) {
  frame_guard const g;
  point(c);
  switch (r.below(6)) {
  case 0:
  case 1: co_await skua::this_task::yield(); break;
  case 2: co_await skua::sleep_for(std::chrono::microseconds(r.below(200))); break;
  case 3: co_await skua::this_task::checkpoint(); break;
  case 4:
    if (r.one_in(10)) throw std::runtime_error("node");
    break;
  case 5:
    if (r.one_in(12)) co_await skua::sleep_for(24h);   // only a stop ends it
    break;
  }
  point(c);
}

task<value> child(control& c, task_group& g, ledger& l, std::uint64_t seed, int depth, entry mine) {
  frame_guard const f;
  rng r{seed};
  value const held(1);
  point(c);
  if (r.one_in(3)) {
    std::uint64_t const s = r.next();
    g.spawn(child, std::ref(c), std::ref(g), std::ref(l), s, depth - 1, entry(l));   // a sibling; dropped
    total.children.add();
  }
  if (r.one_in(20)) g.request_stop();
  if (depth > 0 && r.one_in(2)) (co_await node(c, seed, depth - 1)).must_be_of(seed);
  for (unsigned n = r.below(3); n != 0; --n) co_await waits(c, r);
  if (r.one_in(40)) throw std::runtime_error("child");
  (void)mine;
  co_return value(seed);
}

task<> grouped(control& c, rng& r, int depth) {
  frame_guard const f;
  total.groups.add();
  ledger l;
  skua::task_group_options o;
  if (r.one_in(3)) o.on_error = r.one_in(2) ? skua::on_error::collect : skua::on_error::report;
  if (r.one_in(3)) o.max_concurrency = 1 + r.below(3);
  value const kept(3);
  try {
    co_await skua::with_task_group(o, [&](task_group& g) -> task<> {
      frame_guard const body_frame;
      std::vector<skua::child_handle<value>> handles;
      std::vector<std::uint64_t> seeds;
      for (unsigned n = r.below(6); n != 0; --n) {
        if (r.one_in(5)) co_await g.room();
        seeds.push_back(r.next());
        handles.push_back(g.spawn(child, std::ref(c), std::ref(g), std::ref(l), seeds.back(), depth, entry(l)));
        total.children.add();
        point(c);
      }
      if (r.one_in(4)) co_await waits(c, r);
      if (r.one_in(6)) g.request_stop();
      for (std::size_t i = 0; i < handles.size(); ++i) {
        if (r.one_in(4)) {
          if (r.one_in(2)) handles[i].request_stop();
          handles[i] = {};
          continue;
        }
        if (!r.one_in(2)) continue;
        try {
          (co_await handles[i]).must_be_of(seeds[i]);
        } catch (skua::task_stopped const&) {
          total.refused.add();
        }
      }
      if (r.one_in(4)) co_await g.join();
      if (r.one_in(20)) throw std::runtime_error("body");
    });
  } catch (skua::task_group_error const&) {
    of_trees.failed.add();
  }
}

task<> cleaned(control& c, rng& r, int depth) {
  frame_guard const f;
  std::uint64_t const a = r.next();
  int applied = 0;
  struct check {
    int& n;
    ~check() { STRESS_CHECK(n == 1); }
  } const once{applied};
  rng mine{r.next()};
  auto cleanup = [&]() -> task<> {
    frame_guard const g;
    ++applied;
    total.cleaned.add();
    STRESS_CHECK(!skua::this_task::stop_requested());
    for (unsigned n = mine.below(3); n != 0; --n) co_await skua::this_task::yield();
  };
  if (r.one_in(2))
    (co_await skua::finally(node(c, a, depth), cleanup)).must_be_of(a);
  else
    (co_await skua::finally(node(c, a, depth), cleanup, 1h)).must_be_of(a);
}

task<> limited(control& c, rng& r, int depth) {
  frame_guard const f;
  std::uint64_t const a = r.next();
  auto const limit = std::chrono::microseconds(r.one_in(4) ? 0 : r.one_in(2) ? r.below(100) : r.below(20'000));
  try {
    if (r.one_in(2))
      (co_await skua::with_deadline(skua::clock::now() + limit, node(c, a, depth))).must_be_of(a);
    else
      (co_await skua::timeout(limit, skua::with_task_group([&](task_group& g) -> task<value> {
                                auto h = g.spawn(node(c, a, depth));
                                value v = co_await h;
                                co_return v;
                              })))
          .must_be_of(a);
  } catch (skua::timeout_error const&) {
  }
}

task<> by_token(control& c, rng& r, int depth) {
  frame_guard const f;
  std::uint64_t const a = r.next();
  std::stop_source source;
  if (r.one_in(2)) {
    try {
      auto asks = [](std::stop_source s, unsigned n) -> task<> {
        for (; n != 0; --n) co_await skua::this_task::yield();
        s.request_stop();
      };
      unsigned const n = r.below(20);
      if (r.one_in(2)) requester->post([source]() mutable { source.request_stop(); });
      auto [v, nothing] = co_await skua::when_all(skua::stop_on(source.get_token(), node(c, a, depth)), asks(source, n));
      v.must_be_of(a);
      (void)nothing;
    } catch (skua::task_stopped const&) {
    }
  } else {
    std::atomic<int> told = 0;
    (co_await skua::with_stop_token([&](std::stop_token t) -> task<value> {
      std::stop_callback const cb(t, [&] { ++told; });
      value v = co_await node(c, a, depth);
      co_return v;
    })).must_be_of(a);
  }
}

task<> combined(control& c, rng& r, int depth) {
  frame_guard const f;
  switch (r.below(4)) {
  case 0: {
    std::uint64_t const a = r.next(), b = r.next();
    auto [x, y] = co_await skua::when_all_settled(node(c, a, depth), node(c, b, depth));
    if (x) x->must_be_of(a);
    if (y) y->must_be_of(b);
    break;
  }
  case 1: {
    unsigned const limit = 1 + r.below(3);
    std::uint64_t const seed = r.next();
    co_await skua::for_each_concurrent(std::views::iota(0u, r.below(5)), limit,
                                       [&c, seed, depth](unsigned i) -> task<> { (co_await node(c, seed + i, depth)).must_be_of(seed + i); });
    break;
  }
  case 2: {
    std::vector<task<value>> tasks;
    std::vector<std::uint64_t> seeds;
    for (unsigned i = r.below(4); i != 0; --i) tasks.push_back(node(c, seeds.emplace_back(r.next()), depth));
    co_await skua::as_completed(std::move(tasks), [&](std::size_t i, skua::outcome<value> o) -> task<> {
      co_await skua::this_task::yield();
      if (o) o->must_be_of(seeds[i]);
    });
    break;
  }
  case 3: {
    std::uint64_t const a = r.next();
    (co_await who.with(a, [](control& k, std::uint64_t s, int d) -> task<value> {
      value v = co_await node(k, s, d);
      STRESS_CHECK(*who.get() == s);
      co_return v;
    }(c, a, depth)))
        .must_be_of(a);
    break;
  }
  }
}

task<value> node(control& c, std::uint64_t seed, int depth) {
  frame_guard const g;
  rng r{seed};
  value const mine(2);
  for (unsigned steps = 1 + r.below(3); steps != 0; --steps) {
    point(c);
    switch (depth <= 0 ? 0 : r.below(10)) {
    case 0:
    case 1: co_await waits(c, r); break;
    case 2:
    case 3:
    case 4: co_await grouped(c, r, depth - 1); break;
    case 5: co_await cleaned(c, r, depth - 1); break;
    case 6: co_await limited(c, r, depth - 1); break;
    case 7: co_await by_token(c, r, depth - 1); break;
    case 8: co_await combined(c, r, depth - 1); break;
    case 9: {
      std::uint64_t const a = r.next();
      auto o = co_await skua::settle(node(c, a, depth - 1));
      if (o) o->must_be_of(a);
      if (!r.one_in(3)) break;
      co_await skua::shield(skua::sleep_for(std::chrono::microseconds(r.below(100))));
      break;
    }
    }
  }
  co_return value(seed);
}

} // namespace

int main(int argc, char** argv) {
  stop_trees(stress_options(argc, argv), 16, node);
  end_of_trees();
  std::printf("; %llu groups, %llu children, %llu awaited a stopped one, %llu cleaned up\n", total.groups.get(), total.children.get(), total.refused.get(),
              total.cleaned.get());
}
