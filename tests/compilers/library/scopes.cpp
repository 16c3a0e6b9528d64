// SPDX-License-Identifier: Apache-2.0
// Timeouts, groups, finally, shield, deadlines, stops as values: as users write them, and ended in every way.
//@@ configs: O0 O1 O2 O3 asan tsan
#include "skua_probe.hpp"
#include <atomic>
#include <optional>
#include <stop_token>
#include <string>
using namespace probe;

//@ timeout_that_hits must try { auto x = co_await timeout(.., f(T)); } catch (timeout_error const&)
static task<tracked> late(tracked t) {
  tracked const local(t.value());
  co_await for_ever(tracked(1));
  co_return local;
}
PROBE(timeout_that_hits) {
  int hits = 0;
  for (int i = 0; i < 3; ++i) {
    try {
      tracked const x = co_await skua::timeout(5ms, late(tracked(i)));
      CHECK(x.value() == -1);
    } catch (skua::timeout_error const&) {
      ++hits;
      continue;
    }
  }
  CHECK(hits == 3);
}
//@ timeout_that_does_not must auto x, auto [a, b], int, and an exception through co_await timeout(..)
PROBE(timeout_that_does_not) {
  tracked const x = co_await skua::timeout(1h, make(1));
  auto [a, b] = co_await skua::timeout(1h, skua::when_all(make(2), make(3)));
  int const n = co_await skua::timeout(1h, plus(1, co_await skua::timeout(1h, value_of(tracked(4)))));
  int caught = 0;
  try {
    co_await skua::timeout(1h, throws(7, tracked(1)));
  } catch (int i) {
    caught = i;
  }
  CHECK(x.value() + a.value() + b.value() + n + caught == 18);
}
//@ nested_timeouts must the inner and the outer one fire, around when_all and temporaries
PROBE(nested_timeouts) {
  std::string who;
  for (auto [inner, outer] : {std::pair(5ms, 50ms), std::pair(50ms, 5ms)}) {
    try {
      co_await skua::timeout(outer, [](auto limit, std::string& w) -> task<> {
        try {
          auto [a, b] = co_await skua::timeout(limit, skua::when_all(late(tracked(1)), late(tracked(2))));
          w += static_cast<char>('0' + a.value() + b.value());
        } catch (skua::timeout_error const&) {
          w += 'i';
        }
      }(inner, who));
    } catch (skua::timeout_error const&) {
      who += 'o';
    }
  }
  CHECK(who == "io");
}
//@ group_with_captures must co_await with_task_group([&, x](task_group& g) { g.spawn([..]{..}); })
PROBE(group_with_captures) {
  std::atomic<int> sum = 0;
  tracked x(1);
  int const r = co_await skua::with_task_group([&sum, x](skua::task_group& g) -> task<int> {
    for (int i = 0; i < 10; ++i)
      g.spawn([&sum, t = tracked(i)]() -> task<> {
        co_await wait();
        sum += t.value();
      });
    auto h = g.spawn(value_of, tracked(5));
    co_return co_await h + x.value();
  });
  CHECK(r == 6 && sum == 45);
}
//@ group_options must with_task_group({.max_concurrency = 2}, ..), room(), start<T>(), on_error::collect
PROBE(group_options) {
  std::atomic<int> now = 0, most = 0;
  co_await skua::with_task_group({.max_concurrency = 2}, [&](skua::task_group& g) -> task<> {
    for (int i = 0; i < 6; ++i) {
      co_await g.room();
      g.spawn([&](tracked) -> task<> {
        int const n = ++now;
        if (n > most) most = n;
        co_await wait();
        --now;
      }, tracked(i));
    }
  });
  int const port = co_await skua::with_task_group([](skua::task_group& g) -> task<int> {
    int const p = co_await g.start<int>([](skua::started<int> ready, tracked t) -> task<> {
      co_await wait();
      ready(t.value());
      co_await for_ever(tracked(1));
    }, tracked(8080));
    co_await wait();
    g.request_stop();
    co_return p;
  });
  bool collected = false;
  try {
    co_await skua::with_task_group({.on_error = skua::on_error::collect}, [](skua::task_group& g) -> task<> {
      g.spawn(throws, 1, tracked(1));
      g.spawn(throws, 2, tracked(2));
      co_return;
    });
  } catch (skua::task_group_error const&) {
    collected = true;
  }
  CHECK(most <= 2 && port == 8080 && collected);
}
//@ group_that_fails must a task throws, siblings with captures are stopped, the exception arrives
PROBE(group_that_fails) {
  int caught = 0;
  try {
    co_await skua::with_task_group([t = tracked(1)](skua::task_group& g) -> task<> {
      g.spawn(for_ever, tracked(2));
      g.spawn([u = tracked(3)]() -> task<> { co_await throws(u.value()); });
      co_await for_ever(tracked(t));
    });
  } catch (int i) {
    caught = i;
  }
  CHECK(caught == 3);
}
//@ finally_everywhere must finally(f(T), [&, x] { return cleanup(..); }) after a value, an exception, a stop
static task<> clean_up(int& n, tracked t) {
  co_await wait();
  n += t.value();
}
PROBE(finally_everywhere) {
  int cleaned = 0;
  tracked x(1);
  tracked const v = co_await skua::finally(make(5), [&cleaned, x] { return clean_up(cleaned, x); });
  try {
    co_await skua::finally(throws(7, tracked(2)), [&cleaned, x]() -> task<> {
      co_await wait();
      cleaned += 10 * x.value();
    });
  } catch (int i) {
    cleaned += i;
  }
  try {
    co_await skua::timeout(5ms, skua::finally(for_ever(tracked(3)), [&cleaned] { return clean_up(cleaned, tracked(100)); }, 1s));
  } catch (skua::timeout_error const&) {
  }
  CHECK(v.value() == 5 && cleaned == 1 + 10 + 7 + 100);
}
//@ shield_with_captures must co_await shield([x] { .. }()) and shield(spawn'ed lambda) under a timeout
PROBE(shield_with_captures) {
  std::atomic<int> done = 0;
  try {
    co_await skua::timeout(5ms, [](std::atomic<int>& d, tracked t) -> task<> {
      co_await skua::shield([](std::atomic<int>& e, tracked u) -> task<> {
        co_await skua::sleep_for(20ms);
        e += u.value();
      }(d, t));
      co_await wait();
      CHECK(!"stopped");
    }(done, tracked(4)));
  } catch (skua::timeout_error const&) {
  }
  CHECK(done == 4);
}
//@ stops_as_values must settle, stopped_as_optional in conditions and as results
PROBE(stops_as_values) {
  auto h = skua::spawn(make, 3, std::chrono::milliseconds(1h));
  h.request_stop();
  CHECK(!co_await skua::stopped_as_optional(h));
  if (auto v = co_await skua::stopped_as_optional(make(4)); v) CHECK(v->value() == 4);
  auto o = co_await skua::settle(throws(1, tracked(1)));
  auto p = co_await skua::settle(make(2));
  CHECK(o.failed() && p && p->value() == 2);
  auto unlucky = skua::spawn([]() -> task<int> {
    auto inner = co_await skua::settle(for_ever(tracked(1)));
    CHECK(inner.stopped());
    co_await skua::this_task::checkpoint();
    co_return 1;
  });
  co_await wait();
  unlucky.request_stop();
  CHECK(!co_await skua::stopped_as_optional(unlucky));
}
//@ task_locals must co_await local.with(T, f()), seen in branches and groups
static constinit skua::task_local<tracked> context;
static task<int> sees() {
  co_await wait();
  co_return context.get() == nullptr ? 0 : context.get()->value();
}
PROBE(task_locals) {
  CHECK(co_await sees() == 0);
  auto [a, b] = co_await context.with(tracked(5), skua::when_all(sees(), context.with(tracked(6), sees())));
  CHECK(a == 5 && b == 6 && co_await sees() == 0);
}
//@ deadlines must co_await with_deadline(..), tightened, inherited by branches
PROBE(deadlines) {
  int hits = 0;
  try {
    co_await skua::with_deadline(skua::clock::now() + 5ms, skua::when_all(late(tracked(1)), skua::timeout(1h, late(tracked(2)))));
  } catch (skua::timeout_error const&) {
    ++hits;
  }
  CHECK(hits == 1);
}
//@ stop_tokens must stop_on(token, f(T)), with_stop_token([&](std::stop_token) { .. })
PROBE(stop_tokens) {
  std::stop_source s;
  auto h = skua::spawn([&s]() -> task<bool> { co_return (co_await skua::settle(skua::stop_on(s.get_token(), for_ever(tracked(1))))).stopped(); });
  co_await wait();
  s.request_stop();
  CHECK(co_await skua::stopped_as_optional(h));
  int const n = co_await skua::with_stop_token([t = tracked(3)](std::stop_token token) -> task<int> {
    co_await wait();
    co_return token.stop_requested() ? -1 : t.value();
  });
  CHECK(n == 3);
}
