// SPDX-License-Identifier: Apache-2.0
// Structured bindings of what co_await yields: the hidden object is destroyed once, at the end of its scope (GCC 124584).
//@@ configs: O0 O1 O2 O3 asan
#include "pieces.hpp"
using namespace probe;

//@ binding_aggregate must auto [a, b] = co_await x, an aggregate
PROBE(binding_aggregate) {
  auto [a, b] = co_await make_two();
  co_await later();
  CHECK(a.value() + b.value() == 3);
}

//@ binding_pair must auto [a, b] = co_await x, a std::pair (tuple protocol)
static task<std::pair<tracked, tracked>> make_pair() {
  co_await later();
  co_return std::pair<tracked, tracked>(1, 2);
}
PROBE(binding_pair) {
  auto [a, b] = co_await make_pair();
  co_await later();
  CHECK(a.value() + b.value() == 3);
}

//@ binding_tuple_in_loop must for (..) { auto [a, b] = co_await x; co_await y; }
PROBE(binding_tuple_in_loop) {
  for (int i = 0; i < 3; ++i) {
    auto [a, b] = co_await make_tuple(i);
    co_await later();
    if (b == 1) continue;
    CHECK(a.value() == i);
  }
}

//@ binding_tuple_of_call must auto [a, b] = f(); co_await y, no co_await in the initialiser
static std::tuple<tracked, int> plain_tuple(int i) { return {tracked(i), i}; }
PROBE(binding_tuple_of_call) {
  for (int i = 0; i < 3; ++i) {
    auto [a, b] = plain_tuple(i);
    co_await later();
    CHECK(a.value() == b);
  }
}

//@ binding_tuple_destroyed must frame destroyed while auto [a, b] is alive
static task<void> binds_and_waits() {
  auto [a, b] = co_await make_tuple(1);
  co_await later();
  CHECK(a.value() == b);
}
PROBE_CALL(binding_tuple_destroyed) { run_and_destroy(binds_and_waits(), 1); }

//@ binding_initialiser_throws must auto [a, b] = co_await x, x throws
static task<std::tuple<tracked, int>> throws_tuple() {
  co_await later();
  throw 7;
}
PROBE(binding_initialiser_throws) {
  int c = 0;
  for (int i = 0; i < 2; ++i) try {
      auto [a, b] = co_await throws_tuple();
      c += b;
    } catch (int e) { c += e; }
  CHECK(c == 14);
}

//@ binding_trivial_tuple must auto [a, b] = co_await x, a tuple of integers
static task<std::tuple<long, long>> longs(long i) {
  co_await later();
  co_return std::tuple<long, long>(i, 2 * i);
}
PROBE(binding_trivial_tuple) {
  for (long i = 0; i < 3; ++i) {
    auto [a, b] = co_await longs(i);
    co_await later();
    CHECK(b == 2 * a && a == i);
  }
}

//@ binding_named_first must auto t = co_await x; auto& [a, b] = t
PROBE(binding_named_first) {
  for (int i = 0; i < 3; ++i) {
    auto t = co_await make_tuple(i);
    auto& [a, b] = t;
    co_await later();
    CHECK(a.value() == b);
  }
}

//@ binding_forwarding_ref must auto&& [a, b] = co_await x
PROBE(binding_forwarding_ref) {
  for (int i = 0; i < 3; ++i) {
    auto&& [a, b] = co_await make_tuple(i);
    co_await later();
    CHECK(a.value() == b);
  }
}

//@ binding_range_for must for (auto& [k, v] : co_await x) co_await y
PROBE(binding_range_for) {
  int s = 0;
  for (auto& [k, v] : co_await entries()) {
    co_await later();
    s += k * v.value();
  }
  CHECK(s == 5);
}

//@ binding_range_for_copy must for (auto [k, v] : co_await x) co_await y, by value
PROBE(binding_range_for_copy) {
  int s = 0;
  for (auto [k, v] : co_await entries()) {
    co_await later();
    s += k * v.value();
  }
  CHECK(s == 5);
}
