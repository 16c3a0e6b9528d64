// SPDX-License-Identifier: Apache-2.0
// Tasks, spawn and its arguments, handles, options, failures: as users write them.
//@@ configs: O0 O1 O2 O3 asan tsan
#include "skua_probe.hpp"
#include <memory>
#include <optional>
#include <string>
#include <tuple>
using namespace probe;

//@ results must int, a move-only class, a reference, void, braces in co_return
static task<owned> gives_owned(int v) { co_return owned(v); }
static task<tracked&> gives_reference(tracked& t) {
  co_await wait();
  co_return t;
}
static task<settings> gives_braces(int v) { co_return {v, co_await plus(v, 1)}; }
PROBE(results) {
  tracked t(5);
  owned const o = co_await gives_owned(1);
  tracked& r = co_await gives_reference(t);
  settings const s = co_await gives_braces(7);
  co_await wait();
  CHECK(o.value() == 1 && &r == &t && s.second == 8 && s.third.value() == 3);
}
//@ awaits_in_one_expression must co_await f(co_await g(T), T) + co_await h()
PROBE(awaits_in_one_expression) {
  int const r = co_await plus(co_await value_of(tracked(1)), (co_await make(2)).value()) + co_await value_of(co_await make(3));
  CHECK(r == 6);
}
//@ aggregate_arguments must co_await f({T, 1}), f(S{.second = 5}), f({})
static task<int> sum_of(settings s) {
  co_await wait();
  co_return s.first.value() + s.second + s.third.value();
}
PROBE(aggregate_arguments) {
  CHECK(co_await sum_of({1, 1}) == 5);
  CHECK(co_await sum_of(settings{.first = 2, .second = 5}) == 10);
  CHECK(co_await sum_of({}) == 5);
}
//@ failure_through_calls must an exception through three coroutines with locals, a catch, then a suspension
static task<int> nested(int depth) {
  tracked t(depth);
  if (depth == 0) co_return co_await throws(7, tracked(1));
  co_return co_await nested(depth - 1) + t.value();
}
PROBE(failure_through_calls) {
  int caught = 0;
  try {
    co_await nested(3);
  } catch (int i) {
    caught = i;
  }
  co_await wait();
  CHECK(caught == 7);
}
//@ awaits_in_conditions must while (co_await a), if (auto x = co_await b; ..), switch (co_await c), c ? co_await a : b
PROBE(awaits_in_conditions) {
  int n = 0;
  while (co_await plus(n, 0) < 3) ++n;
  if (auto t = co_await make(4); t.value() == 4) n += t.value();
  switch (co_await value_of(n)) {
  case 7: n += 1; break;
  default: n = -1;
  }
  tracked const t = n == 8 ? co_await make(9) : tracked(0);
  CHECK(t.value() == 9);
}

//@ spawn_a_lambda must spawn([x, y = T, p = unique_ptr] { .. }): the captures move into the task
PROBE(spawn_a_lambda) {
  tracked x(1);
  auto h = skua::spawn([x, y = tracked(2), p = std::make_unique<tracked>(3)]() -> task<int> {
    co_await wait();
    co_return x.value() + y.value() + p->value();
  });
  CHECK(co_await h == 6);
}
//@ spawn_a_lambda_in_one_expression must co_await spawn([x] { .. })
PROBE(spawn_a_lambda_in_one_expression) {
  tracked x(4);
  int const r = co_await skua::spawn([x]() mutable -> task<int> {
    co_await wait();
    co_return x.value();
  });
  CHECK(r == 4);
}
//@ spawn_lambdas_in_one_expression rule12 co_await spawn([x] { .. }) + co_await spawn([x] { .. })
PROBE(spawn_lambdas_in_one_expression) {
  tracked x(4);
  int const r = co_await skua::spawn([x]() -> task<int> {
    co_await wait();
    co_return x.value();
  }) + 10 * co_await skua::spawn([x]() mutable -> task<int> { co_return x.value() + 1; });
  CHECK(r == 54);
}
//@ spawn_with_arguments must spawn(f, T, unique_ptr, "text", ref(x)): decayed and moved into the task
static task<int> takes_all(tracked const& a, std::unique_ptr<tracked> b, std::string c, tracked& d) {
  co_await wait();
  co_return a.value() + b->value() + static_cast<int>(c.size()) + d.value();
}
PROBE(spawn_with_arguments) {
  tracked d(100);
  CHECK(co_await skua::spawn(takes_all, tracked(1), std::make_unique<tracked>(2), "a text that does not fit into a small string", std::ref(d)) == 147);
}
//@ spawn_callables must a member function, a function object, a generic lambda, a capture-less lambda with arguments, a task
struct counter {
  tracked t{10};
  task<int> add(int n) {
    co_await wait();
    co_return t.value() + n;
  }
  task<int> operator()(int n) {
    co_await wait();
    co_return t.value() * n;
  }
};
PROBE(spawn_callables) {
  counter c;
  CHECK(co_await skua::spawn(&counter::add, &c, 1) == 11);
  CHECK(co_await skua::spawn(counter(), 2) == 20);
  CHECK(co_await skua::spawn([](auto a, auto... more) -> task<int> { co_return a.value() + (more + ...); }, tracked(1), 2, 3) == 6);
  CHECK(co_await skua::spawn([](tracked t) -> task<int> { co_await wait(); co_return t.value(); }, tracked(5)) == 5);
  CHECK(co_await skua::spawn(plus(3, 4)) == 7);
}
//@ many_tasks must a vector of handles of tasks with captures, awaited in a loop
PROBE(many_tasks) {
  std::vector<skua::join_handle<tracked>> all;
  for (int i = 0; i < 200; ++i)
    all.push_back(skua::spawn([t = tracked(i)]() -> task<tracked> {
      if (t.value() % 3 == 0) co_await wait();
      co_return t;
    }));
  int sum = 0;
  for (auto& h : all) sum += (co_await h).value();
  CHECK(sum == 199 * 100);
}
//@ named_and_detached must spawn(named("x"), ..), spawn_detached with captures, a promise that tells
PROBE(named_and_detached) {
  skua::promise<tracked> p;
  auto f = p.get_future();
  skua::spawn_detached([p = std::move(p), t = tracked(3)]() mutable -> task<> {
    co_await wait();
    p.set_value(tracked(t.value() + 1));
  });
  CHECK((co_await std::move(f)).value() == 4);
  CHECK(co_await skua::spawn(skua::named("adder"), plus, 1, 2) == 3);
}
//@ dropped_handle must a task that is stopped in the middle: frames, captures and arguments are destroyed
PROBE(dropped_handle) {
  {
    auto h = skua::spawn([t = tracked(1)](tracked u) -> task<> {
      tracked const v(u.value() + t.value());
      co_await for_ever(tracked(2));
      CHECK(!"stopped before");
    }, tracked(5));
    co_await wait();
  }
  co_await wait();
}
//@ stopped_join must request_stop, then task_stopped at the join, caught
PROBE(stopped_join) {
  auto h = skua::spawn(for_ever, tracked(1));
  h.request_stop();
  bool stopped = false;
  try {
    co_await h;
  } catch (skua::task_stopped const&) {
    stopped = true;
  }
  CHECK(stopped);
}
//@ failure_at_a_join must an exception of a task, with live temporaries in the awaiting expression
PROBE(failure_at_a_join) {
  auto h = skua::spawn(throws, 9, tracked(0));
  int caught = 0;
  try {
    caught = co_await value_of(tracked(1)) + co_await h;
  } catch (int i) {
    caught = i;
  }
  CHECK(caught == 9);
}
//@ options_by_name must run(options{.workers = 2, ..}, task), from a thread of its own
PROBE(options_by_name) {
  int const r = co_await skua::spawn_blocking([t = tracked(5)] {
    return skua::run(skua::options{.workers = 1, .backend = "virtual", .name = "inner"}, plus(t.value(), 1)) + skua::run({.workers = 2}, plus(1, 1));
  });
  CHECK(r == 8);
}
//@ blocking_calls must co_await spawn_blocking([captures] { .. }, args..), a value, void, an exception
PROBE(blocking_calls) {
  tracked x(1);
  CHECK(co_await skua::spawn_blocking([x](tracked y) { return x.value() + y.value(); }, tracked(2)) == 3);
  co_await skua::spawn_blocking([&x] { x = tracked(7); });
  int caught = 0;
  try {
    co_await skua::spawn_blocking([t = tracked(3)]() -> int { throw t.value(); });
  } catch (int i) {
    caught = i;
  }
  CHECK(caught == 3 && x.value() == 7);
}
//@ member_coroutines must virtual, const, static, operator(), with *this by value
struct base {
  tracked t{1};
  virtual ~base() = default;
  virtual task<int> get(tracked u) const {
    co_await wait();
    co_return t.value() + u.value();
  }
  auto copy() const {
    return [self = *this](int n) -> task<int> {
      co_await wait();
      co_return self.t.value() + n;
    };
  }
};
struct derived : base {
  task<int> get(tracked u) const override { co_return co_await base::get(tracked(u.value() + 1)) + 100; }
};
PROBE(member_coroutines) {
  derived d;
  base const& b = d;
  auto f = d.copy();
  CHECK(co_await b.get(1) + co_await f(4) == 108);
}
//@ deep_calls must 100,000 calls that await each other, and an exception through 10,000
static task<long> deep(int n) {
  if (n == 0) co_return 0;
  co_return co_await deep(n - 1) + 1;
}
static task<long> deep_throws(int n) {
  if (n == 0) throw 1;
  co_return co_await deep_throws(n - 1) + 1;
}
PROBE(deep_calls) {
  CHECK(co_await deep(100'000) == 100'000);
  int caught = 0;
  try {
    co_await deep_throws(10'000);
  } catch (int i) {
    caught = i;
  }
  CHECK(caught == 1);
}
//@ many_calls must a million calls from a loop, on one stack
static task<int> child(int i) { co_return i & 1; }
PROBE(many_calls) {
  long s = 0;
  for (int i = 0; i < 1'000'000; ++i) s += co_await child(i);
  CHECK(s == 500'000);
}
