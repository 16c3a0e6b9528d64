// SPDX-License-Identifier: Apache-2.0
// "Stop everywhere", at random: what the stress tests share that grow trees of tasks. Each tree is stopped at a random one of its suspension points: by the
// branch that is there, by a foreign thread, or by the task that waits for it. Then every value and every frame has been destroyed exactly once, no task is
// left, and no stop request is counted as under way.
//
// The program gives `node`, the tree below a seed: a coroutine that calls point(c) where it is about to wait, and whose value is value(seed).
#pragma once
#include "skua/this_task.hpp"
#include "tests/support/foreign_thread.hpp"
#include "tests/support/stress_rounds.hpp"
#include <cstdio>
#include <exception>
#include <functional>
#include <iostream>
#include <memory>
#include <sstream>
#include <vector>

namespace skua_test {

inline std::atomic<long> live_guards{0}, live_values{0};
struct frame_guard {
  frame_guard() { live_guards.fetch_add(1, std::memory_order_relaxed); }
  frame_guard(frame_guard const&) = delete;
  ~frame_guard() { live_guards.fetch_sub(1, std::memory_order_release); }
};
// A value with an owner, like an accepted socket. It says whose it is.
class value {
public:
  explicit value(std::uint64_t of) : p_(std::make_unique<std::uint64_t>(of)) { live_values.fetch_add(1, std::memory_order_relaxed); }
  value(value&& o) noexcept = default;
  value& operator=(value&&) = delete;
  ~value() {
    if (!p_) return;
    *p_ = 0;
    live_values.fetch_sub(1, std::memory_order_relaxed);
  }
  void must_be_of(std::uint64_t node) const { STRESS_CHECK(p_ && *p_ == node); }

private:
  std::unique_ptr<std::uint64_t> p_;
};

class counter {
public:
  void add() { n_.fetch_add(1, std::memory_order_relaxed); }
  unsigned long long get() const { return n_.load(std::memory_order_relaxed); }

private:
  std::atomic<unsigned long long> n_{0};
};
struct tree_totals {
  counter stopped, finished, failed, points;
};
inline tree_totals of_trees;

struct control {
  std::atomic<int> countdown{0};
  bool by_thread = false;
  std::atomic<bool> asked{false};                            // a foreign thread still uses the handle
  std::atomic<skua::join_handle<value> const*> target{nullptr};
};
inline foreign_thread* requester;

// A suspension point is near.
inline void point(control& c) {
  of_trees.points.add();
  if (c.countdown.fetch_sub(1, std::memory_order_relaxed) != 1) return;
  if (!c.by_thread) return c.target.load()->request_stop();
  c.asked = true;
  requester->post([&c] {
    c.target.load()->request_stop();
    c.asked = false;
  });
}

using tree_node = skua::task<value> (*)(control&, std::uint64_t seed, int depth);
struct planted {
  control controls;
  skua::join_handle<value> handle;
  std::uint64_t seed = 0;
};

inline skua::task<value> grow(control& c, std::uint64_t seed, tree_node node) {
  frame_guard const g;
  while (c.target.load() == nullptr) co_await skua::this_task::yield();
  value v = co_await node(c, seed, 3);
  co_return v;
}

inline skua::task<> play_trees(std::vector<planted>& all, std::uint64_t seed, tree_node node) {
  rng r{seed};
  for (planted& one : all) {
    constexpr unsigned lengths[] = {4, 12, 40, 120, 120};
    one.controls.countdown = static_cast<int>(1 + r.below(lengths[r.below(5)]));
    one.controls.by_thread = r.one_in(2);
    one.seed = r.next();
    one.handle = skua::spawn(grow, std::ref(one.controls), one.seed, node);
    one.controls.target = &one.handle;
  }
  for (planted& one : all) {
    // A tree that waits for ever before its countdown has run down is stopped from here, sooner or later.
    for (int n = 0; n < 40 && !one.handle.done(); ++n) co_await skua::this_task::yield();
    one.handle.request_stop();
    try {
      (co_await one.handle).must_be_of(one.seed);
      of_trees.finished.add();
    } catch (skua::task_stopped const&) {
      of_trees.stopped.add();
    } catch (skua::usage_error const& e) {
      stress_failed(e.what(), __FILE__, __LINE__);
    } catch (std::exception const&) {
      of_trees.failed.add();
    }
  }
}

// Every other round somebody looks at the tasks meanwhile, which must change nothing.
void wait_until(skua::runtime const& rt, char const* what, auto condition) {
  auto const limit = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > limit) {
      rt.dump(std::cout);
      std::printf("%ld frames, %ld values, %lld stops under way\n", live_guards.load(), live_values.load(),
                  static_cast<long long>(skua::detail::attention_count.count.load()));
      stress_failed(what, __FILE__, __LINE__);
    }
    if (std::ostringstream out; seed_of_round % 2 == 0) rt.dump(out);
    std::this_thread::yield();
  }
}

// The rounds. A program's own foreign threads may still hold states of promises afterwards.
inline void stop_trees(stress_options const& o, std::size_t trees, tree_node node) {
  std::uint64_t rounds = 0;
  {
    foreign_thread q;
    requester = &q;
    skua::runtime rt({.workers = o.workers, .backend = o.backend, .on_unhandled_failure = [](skua::failure const&) {}});
    for (; o.go_on(rounds); ++rounds) {
      seed_of_round = o.seed + rounds;
      std::vector<planted> all(trees);
      auto h = rt.spawn(play_trees, std::ref(all), o.seed + rounds, node);
      wait_until(rt, "a round ends", [&] { return h.done(); });
      rt.block_on([](auto g) -> skua::task<> { co_await g; }, std::move(h));
      wait_until(rt, "tasks that were dropped end", [&] { return rt.metrics().live_tasks == 0; });
      for (planted& one : all) wait_until(rt, "the requester lets go", [&] { return !one.controls.asked; });
      all.clear();
      wait_until(rt, "frames and values die", [] { return live_guards == 0 && live_values == 0; });
    }
  }
  std::printf("%llu rounds of %zu trees\n", static_cast<unsigned long long>(rounds), trees);
}

// When every foreign thread has gone. Prints the beginning of the last line.
inline void end_of_trees() {
  check_nothing_is_left();
  std::printf("ok: %llu stopped, %llu finished, %llu failed, %llu points",
              of_trees.stopped.get(), of_trees.finished.get(), of_trees.failed.get(), of_trees.points.get());
}

} // namespace skua_test
