// SPDX-License-Identifier: Apache-2.0
// Memory runs out at every point: each program is run with its n-th allocation failing, for every n until it passes; then with every allocation
// failing from the n-th on, as long as it lasts. It must pass or end with bad_alloc, and nothing else: no terminate, no hang, no frame, task or value
// left (leaked blocks: run it under AddressSanitizer, where every frame is an allocation of its own; otherwise frames come from slabs). Asking for a
// stop, stopping and unwinding must need no memory at all (S26).
//
// Not under ThreadSanitizer, whose operator new cannot be replaced.
//
// usage: allocation_stress [--seconds S] [--workers N]      --seconds is ignored: it ends when it has passed
#include "skua/detail/config.hpp"
#if SKUA_TSAN
#include <cstdio>
int main() {
  std::puts("skipped: operator new belongs to ThreadSanitizer");
  return 77;
}
#else
#include "skua/blocking.hpp"
#include "skua/future.hpp"
#include "skua/runtime.hpp"
#include "skua/time.hpp"
#include "skua/when_all.hpp"
#include "skua/when_any.hpp"
#include "tests/support/failing_memory.hpp"
#include <cstdlib>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

// ---------------------------------------------------------------------------------------------- programs

task<> awaits() {
  co_await yields(3);
  STRESS_CHECK((co_await value_after(1, 5)).n == 5);
  co_await skua::sleep_for(1us);
}
task<> spawns() {
  auto h = skua::spawn(value_after, 2, 6);
  auto named = skua::spawn(skua::named("a name that is too long for any small buffer"), value_after, 1, 7);
  auto made = skua::spawn(value_after(0, 8));
  auto lambda = skua::spawn([v = std::make_unique<int>(9)](std::string const& s) -> task<value> {
    co_await skua::this_task::yield();
    co_return value(*v + static_cast<int>(s.size()));
  },
                            std::string(100, 'x'));
  { auto dropped = skua::spawn(never); }
  skua::spawn_detached(yields, 2);
  STRESS_CHECK((co_await h).n == 6);
  STRESS_CHECK((co_await named).n == 7);
  STRESS_CHECK((co_await made).n == 8);
  STRESS_CHECK((co_await lambda).n == 109);
}
task<value> tree(int depth) {
  if (depth == 0) {
    co_await skua::this_task::yield();
    co_return value(1);
  }
  auto [a, b] = co_await skua::when_all(tree(depth - 1), tree(depth - 1));
  co_await skua::this_task::yield();
  co_return value(a.n + b.n);
}
task<> joins() {
  STRESS_CHECK((co_await tree(4)).n == 16);
  std::vector<task<value>> v;
  for (int i = 0; i < 20; ++i) v.push_back(value_after(i % 3, i));
  STRESS_CHECK((co_await skua::when_all(std::move(v)))[19].n == 19);
}
task<value> chain(int depth) {   // every level suspends for the first time at once, and links what is above
  if (depth == 0) co_return co_await value_after(1, 0);
  auto [a] = co_await skua::when_all(chain(depth - 1));
  co_return value(a.n + 1);
}
task<> chains() { STRESS_CHECK((co_await chain(20)).n == 20); }
task<> races() {
  (void)co_await skua::when_any(value_after(1, 3), yields(100), value_after(50, 4));   // if one fails, another one wins
  std::vector<task<value>> v;
  for (int i = 0; i < 10; ++i) v.push_back(value_after(10 - i, i));
  (void)co_await skua::when_any(std::move(v));
}
task<> limits() {
  for (int i = 0; i < 3; ++i) {
    bool late = false;
    try {
      co_await skua::timeout(10us, skua::task<>([]() -> task<> { co_await skua::timeout(1h, never()); }()));
    } catch (skua::timeout_error const&) {
      late = true;
    }
    STRESS_CHECK(late);
    co_await skua::timeout(1h, value_after(1, 1));
  }
}
task<> failures() {
  for (int i = 0; i < 3; ++i) {
    bool caught = false;
    try {
      auto fails = []() -> task<> {
        co_await skua::this_task::yield();
        throw std::runtime_error("expected");
      };
      co_await skua::when_all(never(), fails(), value_after(1, 1));
    } catch (std::runtime_error const&) {
      caught = true;
    }
    STRESS_CHECK(caught);
  }
}
task<> strays() {
  for (int i = 0; i < 2; ++i) {
    std::optional<task<value>> kept;
    auto h = skua::spawn([&kept]() -> task<value> {
      kept.emplace(value_after(1, 1));
      return value_after(2, 2);
    });
    STRESS_CHECK((co_await h).n == 2);
    h = {};
    STRESS_CHECK((co_await std::move(*kept)).n == 1);
  }
}
task<> futures() {
  skua::promise<value> p;
  auto f = p.get_future();
  auto h = skua::spawn([](skua::promise<value> q) -> task<> {
    co_await skua::this_task::yield();
    q.set_value(value(3));
  },
                       std::move(p));
  STRESS_CHECK((co_await f).n == 3);
  co_await h;
}
task<> blocking() {
  STRESS_CHECK((co_await skua::spawn_blocking([] { return 5; })) == 5);
}
task<> crowds() {   // queues grow
  std::vector<skua::join_handle<value>> all;
  for (int i = 0; i < 1500; ++i) all.push_back(skua::spawn(value_after, i % 2, i));
  for (int i = 0; i < 1500; ++i) STRESS_CHECK((co_await all[static_cast<std::size_t>(i)]).n == i);
}

// S26: from the request to the end of the join nothing is allocated.
task<> wide(int depth) {
  value const mine(0);
  if (depth == 0) {
    co_await never();
  } else {
    std::vector<task<>> v;
    for (int i = 0; i < 5; ++i) v.push_back(wide(depth - 1));
    v.push_back([]() -> task<> { co_await skua::timeout(24h, skua::task<>([]() -> task<> { co_await skua::when_any(never(), never()); }())); }());
    co_await skua::when_all(std::move(v));
  }
}
constexpr unsigned timers_of_wide = 125 + 31 * 3;   // sleeps at the ends; and at each inner level a timeout and two
skua::runtime* runtime_of_program = nullptr;
std::uint64_t timers() { return runtime_of_program->metrics().timers_armed; }
task<> stops() {
  auto const before = timers();
  auto h = skua::spawn(wide, 3);
  while (failed == 0 && timers() != before + timers_of_wide) co_await skua::this_task::yield();   // every branch is suspended, and so has its record
  if (failed == 0) {   // otherwise it may have ended already, with bad_alloc
    long const armed = left.exchange(0);
    bool const on = fail_on.exchange(true);
    h.request_stop();
    bool stopped = false;
    try {
      co_await h;
    } catch (skua::task_stopped const&) {
      stopped = true;
    }
    left = armed;
    fail_on = on;
    STRESS_CHECK(stopped);
    STRESS_CHECK(failed.exchange(0) == 0);
  } else {
    h.request_stop();
    try {
      co_await h;
    } catch (skua::task_stopped const&) {
    }
  }
}

constexpr program programs[] = {{"awaits", awaits}, {"spawns", spawns}, {"joins", joins}, {"chains", chains}, {"races", races}, {"limits", limits},
    {"failures", failures}, {"strays", strays}, {"futures", futures}, {"blocking", blocking}, {"stops", stops}, {"crowds", crowds}};

} // namespace

int main(int argc, char** argv) {
  stress_options const o(argc, argv);
  for (unsigned workers = 1; workers <= o.workers; ++workers) {
    skua::runtime rt(expecting_failures(workers));
    runtime_of_program = &rt;
    every_program(rt, programs);
    every_allocation("outside", [&] {
      auto h = rt.spawn(skua::named("from outside"), value_after, 1, 3);
      STRESS_CHECK(rt.block_on([](auto g) -> task<value> { co_return co_await g; }, std::move(h)).n == 3);
    });
  }
  every_allocation("runtimes", [&] {
    skua::runtime rt({.workers = o.workers});
    rt.block_on(yields(1));
  });
  return nothing_is_left();
}
#endif
