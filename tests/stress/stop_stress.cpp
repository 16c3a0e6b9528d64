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
#include "tests/support/stress_rounds.hpp"
#include <condition_variable>
#include <deque>
#include <functional>
#include <iostream>
#include <memory>
#include <mutex>
#include <sstream>
#include <stdexcept>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::task;

// ---------------------------------------------------------------------------------------------- what is counted

std::atomic<long> live_frames{0}, live_values{0};
struct frame_guard {
  frame_guard() { live_frames.fetch_add(1, std::memory_order_relaxed); }
  frame_guard(frame_guard const&) = delete;
  ~frame_guard() { live_frames.fetch_sub(1, std::memory_order_release); }
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

struct totals {
  std::atomic<std::uint64_t> stopped{0}, finished{0}, failed{0}, points{0}, timed_out{0}, dropped{0};
};
totals total;

// ---------------------------------------------------------------------------------------------- threads from outside

// Does what it is given, one after the other.
class foreign_thread {
public:
  foreign_thread() : thread_([this] { run(); }) {}
  ~foreign_thread() {
    post(nullptr);
    thread_.join();
  }
  void post(std::function<void()> f) {
    {
      std::lock_guard const lock(mutex_);
      work_.push_back(std::move(f));
    }
    changed_.notify_one();
  }

private:
  void run() {
    for (;;) {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return !work_.empty(); });
      std::function<void()> const f = std::move(work_.front());
      work_.pop_front();
      lock.unlock();
      if (!f) return;
      f();
    }
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> work_;
  std::thread thread_;
};
foreign_thread* completer;
foreign_thread* requester;

skua::future<value> from_a_foreign_thread(std::uint64_t of) {
  auto p = std::make_shared<skua::promise<value>>();
  skua::future<value> f = p->get_future();
  completer->post([p, of] { p->set_value(value(of)); });
  return f;
}

// ---------------------------------------------------------------------------------------------- one tree

struct control {
  std::atomic<int> countdown{0};
  bool by_thread = false;
  std::atomic<bool> asked{false};                            // a foreign thread still uses the handle
  std::atomic<skua::join_handle<value> const*> target{nullptr};
};

// A suspension point is near.
void point(control& c) {
  total.points.fetch_add(1, std::memory_order_relaxed);
  if (c.countdown.fetch_sub(1, std::memory_order_relaxed) != 1) return;
  if (!c.by_thread) return c.target.load()->request_stop();
  c.asked = true;
  requester->post([&c] {
    c.target.load()->request_stop();
    c.asked = false;
  });
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
    total.timed_out.fetch_add(1, std::memory_order_relaxed);
  }
}
task<> joined(control& c, rng& r, int depth) {
  frame_guard const g;
  std::uint64_t const a = r.next();
  skua::join_handle<value> h = skua::spawn(node, std::ref(c), a, depth);
  point(c);
  if (r.one_in(4)) h.request_stop();
  if (r.one_in(4)) {   // dropped: S12
    total.dropped.fetch_add(1, std::memory_order_relaxed);
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

// ---------------------------------------------------------------------------------------------- rounds

constexpr std::size_t trees = 32;
struct round_of_trees {
  control controls[trees];
  skua::join_handle<value> handles[trees];
};

task<value> tree(control& c, std::uint64_t seed) {
  frame_guard const g;
  while (c.target.load() == nullptr) co_await skua::this_task::yield();
  value v = co_await node(c, seed, 3);
  co_return v;
}

task<> play(round_of_trees& all, std::uint64_t seed) {
  rng r{seed};
  std::uint64_t seeds[trees];
  for (std::size_t i = 0; i < trees; ++i) {
    control& c = all.controls[i];
    constexpr unsigned lengths[] = {4, 12, 40, 120, 120};
    c.countdown = static_cast<int>(1 + r.below(lengths[r.below(5)]));
    c.by_thread = r.one_in(2);
    seeds[i] = r.next();
    all.handles[i] = skua::spawn(tree, std::ref(c), seeds[i]);
    c.target = &all.handles[i];
  }
  for (std::size_t i = 0; i < trees; ++i) {
    skua::join_handle<value>& h = all.handles[i];
    // A tree that waits for ever before its countdown has run down is stopped from here, sooner or later.
    for (int n = 0; n < 40 && !h.done(); ++n) co_await skua::this_task::yield();
    h.request_stop();
    try {
      (co_await h).must_be_of(seeds[i]);
      ++total.finished;
    } catch (skua::task_stopped const&) {
      ++total.stopped;
    } catch (std::runtime_error const&) {
      ++total.failed;
    } catch (skua::all_failed const&) {
      ++total.failed;
    }
  }
}

// Every other round somebody looks at the tasks meanwhile, which must change nothing.
void wait_until(skua::runtime const& rt, char const* what, auto condition) {
  auto const limit = std::chrono::steady_clock::now() + 60s;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > limit) {
      rt.dump(std::cout);
      std::printf("%ld frames, %ld values, %lld stops under way\n", live_frames.load(), live_values.load(),
                  static_cast<long long>(skua::detail::attention_count.count.load()));
      stress_failed(what, __FILE__, __LINE__);
    }
    if (std::ostringstream out; seed_of_round % 2 == 0) rt.dump(out);
    std::this_thread::yield();
  }
}

} // namespace

int main(int argc, char** argv) {
  stress_options const o(argc, argv);
  std::uint64_t rounds = 0;
  {
    foreign_thread c, q;
    completer = &c;
    requester = &q;
    skua::runtime rt({.workers = o.workers, .backend = o.backend, .on_unhandled_failure = [](skua::failure const&) {}});
    for (; o.go_on(rounds); ++rounds) {
      std::uint64_t const seed = o.seed + rounds;
      seed_of_round = seed;
      auto all = std::make_unique<round_of_trees>();
      auto h = rt.spawn(play, std::ref(*all), seed);
      wait_until(rt, "a round ends", [&] { return h.done(); });
      rt.block_on([](auto g) -> task<> { co_await g; }, std::move(h));
      wait_until(rt, "tasks that were dropped end", [&] { return rt.metrics().live_tasks == 0; });
      wait_until(rt, "their frames and values die", [] { return live_frames == 0 && live_values == 0; });
      for (auto& one : all->controls) wait_until(rt, "the requester lets go", [&] { return !one.asked; });
      all.reset();
    }
  }
  check_nothing_is_left();
  std::printf("ok: %llu rounds of %zu trees: %llu stopped, %llu finished, %llu failed; %llu points, %llu timed out, %llu dropped\n",
              static_cast<unsigned long long>(rounds), trees, static_cast<unsigned long long>(total.stopped.load()),
              static_cast<unsigned long long>(total.finished.load()), static_cast<unsigned long long>(total.failed.load()),
              static_cast<unsigned long long>(total.points.load()), static_cast<unsigned long long>(total.timed_out.load()),
              static_cast<unsigned long long>(total.dropped.load()));
  return 0;
}
