// SPDX-License-Identifier: Apache-2.0
// Statements with co_await in their conditions and bodies: conditionals, switches, loops, handlers, returns.
//@@ configs: O0 O1 O2 O3 asan
#include "pieces.hpp"
using namespace probe;

//@ conditional_class must T x = c ? co_await a : T()
PROBE(conditional_class) {
  for (bool c : {true, false}) {
    tracked x = c ? co_await later(tracked(1)) : tracked(2);
    CHECK(x.value() == (c ? 1 : 2));
  }
}

//@ conditional_both_await must T x = c ? co_await a : co_await b
PROBE(conditional_both_await) {
  for (bool c : {true, false}) {
    tracked x = c ? co_await make(1) : co_await make(2);
    CHECK(x.value() == 2 - c);
  }
}

//@ - shared: a choice, and how often it was made
static int made_;
static task<int> choose(int v) {
  ++made_;
  co_await later();
  co_return v;
}
static task<tracked> choose_class(int v) {
  ++made_;
  co_await later();
  co_return tracked(v);
}
static int value_in(tracked const& t) { return t.value(); }
static bool is_true(bool b) { return b; }
static bool yes() { return (void)living.size(), true; }

//@ conditional_awaited must co_await (c ? f() : g()): one of them
PROBE(conditional_awaited) {
  tracked r(0);
  r = co_await (yes() ? choose_class(1) : choose_class(2));
  int s = co_await (yes() ? choose(3) : choose(4)) + 1;
  CHECK(made_ == 2 && r.value() + s == 5 && living.size() == 1);
}

//@ logical_condition must if (c && co_await f()), if (!(d || co_await f())), bool x = c && co_await f(): no more than is asked for
PROBE(logical_condition) {
  int r = 0;
  if (!yes() && co_await choose(1)) r = 1;
  if (!yes() && value_in(co_await choose_class(1)) == 1) r = 2;
  if (yes() || !co_await choose(1)) r += 10;
  if (!(yes() || co_await choose(1))) r = 3;
  bool s = !yes() && co_await choose(1);
  s = !yes() && co_await choose(1);
  CHECK(r == 10 && !s && made_ == 0 && living.empty());
}

//@ conditional_assigned rule13 x = c ? co_await f() : co_await g() of a class: one of them
PROBE(conditional_assigned) {
  tracked r(0);
  r = yes() ? co_await choose_class(1) : co_await choose_class(2);
  CHECK(made_ == 1 && r.value() == 1 && living.size() == 1);
}

//@ conditional_operand rule13 (c ? co_await f() : co_await g()) + 1, f(c ? co_await ..): one of them
PROBE(conditional_operand) {
  int r = (yes() ? co_await choose(1) : co_await choose(2)) + 1;
  r += value_in(yes() ? co_await choose_class(3) : co_await choose_class(4));
  CHECK(made_ == 2 && r == 5 && living.empty());
}

//@ conditional_one_side rule13 x = c ? co_await f() : T(), not taken: nothing is awaited
PROBE(conditional_one_side) {
  tracked r(0);
  r = !yes() ? co_await choose_class(1) : tracked(2);
  CHECK(made_ == 0 && r.value() == 2 && living.size() == 1);
}

//@ conditional_returned rule13 co_return c ? co_await f() : co_await g()
static task<int> chosen(bool c) { co_return c ? co_await choose(1) : co_await choose(2); }
PROBE(conditional_returned) {
  int r = co_await chosen(true);
  CHECK(made_ == 1 && r == 1);
}

//@ conditional_as_condition rule13 if (c ? co_await f() : co_await g())
PROBE(conditional_as_condition) {
  int r = 0;
  if (yes() ? co_await choose(1) : co_await choose(0)) r = 1;
  CHECK(made_ == 1 && r == 1);
}

//@ logical_loop rule13 while (c && co_await f()): nothing is awaited
PROBE(logical_loop) {
  while (!yes() && co_await choose(1)) break;
  CHECK(made_ == 0);
}

//@ logical_operand rule13 f(c && co_await g()), (c && co_await g()) + 1: nothing is awaited
PROBE(logical_operand) {
  int r = is_true(!yes() && co_await choose(1)) ? 1 : 0;
  r += (!yes() && co_await choose(1)) + 1;
  CHECK(made_ == 0 && r == 1);
}

//@ conditional_int must int x = c ? co_await a : 0
PROBE(conditional_int) {
  for (bool c : {true, false}) {
    int x = c ? co_await later(1) : 2;
    CHECK(x == (c ? 1 : 2));
  }
}

//@ conditional_argument must co_await f(c ? T(1) : T(2))
PROBE(conditional_argument) {
  for (bool c : {true, false}) {
    int r = co_await value_of(c ? tracked(1) : tracked(2));
    CHECK(r == 2 - c);
  }
}

//@ switch_co_return must switch (co_await x) { case 1: co_return 10; }
static task<int> switched(int v) {
  switch (co_await later(v)) {
  case 1: co_return 10;
  case 2: co_return 20;
  default: co_return 30;
  }
  co_return 0;
}
PROBE(switch_co_return) {
  for (int i : {1, 2, 3}) {
    int r = co_await switched(i);
    CHECK(r == 10 * i);
  }
}

//@ switch_co_return_await must switch (co_await x) { case 1: co_return co_await y; }
static task<int> switched_await(int v) {
  switch (co_await later(v)) {
  case 1: co_return co_await later(10);
  case 2: co_return co_await later(20);
  }
  co_return 0;
}
PROBE(switch_co_return_await) {
  for (int i : {1, 2}) {
    int r = co_await switched_await(i);
    CHECK(r == 10 * i);
  }
}

//@ switch_break must switch (co_await x) with break
PROBE(switch_break) {
  int r = 0;
  switch (co_await later(2)) {
  case 1: r = 10; break;
  case 2: r = co_await later(20); break;
  default: r = 30;
  }
  CHECK(r == 20);
}

//@ switch_named_first must int v = co_await x; switch (v) { case 1: co_return co_await y; }
static task<int> switched_named(int a) {
  int v = co_await later(a);
  switch (v) {
  case 1: co_return co_await later(10);
  case 2: co_return 20;
  }
  co_return 0;
}
PROBE(switch_named_first) {
  for (int i : {1, 2}) {
    int r = co_await switched_named(i);
    CHECK(r == 10 * i);
  }
}

//@ statement_expression rule7 ({ co_await x; }), a GNU extension (TRY macros): a value, an early co_return
static task<int> tries(int v) {
  tracked t = __extension__({
    tracked r = co_await make(v);
    if (r.value() < 0) co_return -1;
    r;
  });
  co_return t.value();
}
PROBE(statement_expression) {
  int r = __extension__({
            int v = co_await later(1);
            v + 1;
          }) +
          co_await tries(3) + co_await tries(-3);
  CHECK(r == 4);
}

//@ braces_of_awaits must int a[] = {co_await x, co_await y}; vector{co_await ..}
PROBE(braces_of_awaits) {
  int a[] = {co_await later(1), co_await later(2)};
  std::vector<tracked> v{co_await make(3), co_await make(4)};
  CHECK(a[0] == 1 && a[1] == 2 && v[0].value() == 3 && v[1].value() == 4);
}

//@ co_return_forms must co_return {..}; co_return T(co_await x); co_return void call
static task<constructed> returns_braces() { co_return {co_await make(1), co_await later(2)}; }
static task<tracked> returns_local(tracked p) {
  tracked t = co_await make(p.value());
  co_return t;
}
static task<void> returns_void() { co_return (void)co_await make(1); }
PROBE(co_return_forms) {
  constructed c = co_await returns_braces();
  copies = 0;
  tracked t = co_await returns_local(2);
  co_await returns_void();
  CHECK(c.n + t.value() == 4 && copies == 0);
}

//@ throw_expression must throw T(co_await x), caught by value and by reference
PROBE(throw_expression) {
  int c = 0;
  try {
    throw tracked(co_await later(3));
  } catch (tracked const& t) { c = t.value(); }
  CHECK(c == 3 && living.empty());
}

//@ if_and_while_conditions must if (auto x = co_await a; ..), while (co_await b), for (..; co_await c; ..)
PROBE(if_and_while_conditions) {
  int n = 0;
  if (auto t = co_await make(1); t.value() == 1) n += 1;
  if (auto p = std::make_unique<tracked>(co_await make(2))) n += p->value();
  while (co_await value_of(n) < 6) ++n;
  for (int i = co_await later(0); co_await value_of_ref(tracked(i)) < 3; i += co_await later(1)) ++n;
  do ++n;
  while (co_await value_of(tracked(n)) < 12);
  CHECK(n == 12 && living.empty());
}

//@ range_for must for (auto& x : co_await v) co_await y, with break and continue
static task<std::vector<tracked>> make_vector() {
  co_await later();
  co_return std::vector<tracked>(5, tracked(2));
}
PROBE(range_for) {
  int s = 0;
  for (auto& x : co_await make_vector()) {
    tracked t(x);
    co_await later();
    if (++s == 4) continue;
    s += co_await value_of(x.value());
    if (s > 6) break;
  }
  CHECK(s == 7 && living.empty());
}

//@ loop_break_continue must for (..) { T t; co_await x; continue / break; }
PROBE(loop_break_continue) {
  int n = 0;
  for (int i = 0; i < 5; ++i) {
    tracked t(i);
    int v = co_await value_of(i);
    if (v == 1) continue;
    if (v == 3) break;
    n += t.value();
  }
  CHECK(n == 2 && living.empty());
}

//@ try_inside_and_after must try { co_await } catch { flag }; co_await after the handler; rethrow
static task<int> rethrows(tracked t) {
  std::exception_ptr e;
  try {
    co_await throws();
  } catch (...) { e = std::current_exception(); }
  co_await later();
  std::rethrow_exception(e);
}
PROBE(try_inside_and_after) {
  int c = 0;
  try {
    tracked t(1);
    co_await rethrows(tracked(2));
  } catch (int i) { c = i; }
  c += co_await later(1);
  CHECK(c == 8 && living.empty());
}

//@ throw_through_temporaries must co_await f(T, co_await throws())
PROBE(throw_through_temporaries) {
  int c = 0;
  try {
    co_await sum(co_await value_of(tracked(1)), co_await throws());
  } catch (int i) { c = i; }
  CHECK(c == 7 && living.empty());
}

//@ temporaries_die_at_semicolon must f(T(1)).x alive at resume, dead after ;
struct owner {
  tracked t;
  explicit owner(int v) : t(v) {}
  later<int> wait() const { return later<int>(t.value()); }
};
PROBE(temporaries_die_at_semicolon) {
  int r = co_await owner(3).wait() + int(living.size());
  CHECK(r == 4 && living.empty());
}
