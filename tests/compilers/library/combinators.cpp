// SPDX-License-Identifier: Apache-2.0
// when_all and its kin, and what users bind their results to.
//@@ configs: O0 O1 O2 O3 asan tsan
#include "skua_probe.hpp"
#include <algorithm>
#include <ranges>
#include <string>
#include <tuple>
#include <variant>
using namespace probe;

//@ when_all_bound must auto [a, b] = co_await when_all(..), a suspension behind it
PROBE(when_all_bound) {
  auto [a, b] = co_await skua::when_all(make(1), make(2, 2ms));
  co_await wait();
  CHECK(a.value() == 1 && b.value() == 2);
}
//@ when_all_bound_in_a_loop must the same in a loop with continue and break
PROBE(when_all_bound_in_a_loop) {
  int sum = 0;
  for (int i = 0; i < 5; ++i) {
    auto [a, b, c] = co_await skua::when_all(make(i), plus(i, 1), make(2));
    if (i == 1) continue;
    co_await wait();
    if (b == 4) break;
    sum += a.value() + b + c.value();
  }
  CHECK(sum == 3 + 7);
}
//@ when_all_bound_otherwise must auto&& [..], auto const [..], const auto& t, std::tie, a named tuple and auto& [..]
PROBE(when_all_bound_otherwise) {
  auto&& [a, b] = co_await skua::when_all(make(1), make(2));
  auto const [c, d] = co_await skua::when_all(make(3), make(4));
  auto const& t = co_await skua::when_all(make(5), make(6));
  tracked e, f;
  std::tie(e, f) = co_await skua::when_all(make(7), make(8));
  auto named = co_await skua::when_all(make(9), make(10));
  auto& [g, h] = named;
  co_await wait();
  CHECK(a.value() + b.value() + c.value() + d.value() + std::get<0>(t).value() + std::get<1>(t).value() == 21);
  CHECK(e.value() + f.value() + g.value() + h.value() == 34);
}
//@ when_all_bound_and_stopped must the frame is destroyed while the bound objects live
static task<> binds_and_waits() {
  auto [a, b] = co_await skua::when_all(make(1), make(2));
  co_await for_ever(tracked(a.value() + b.value()));
}
PROBE(when_all_bound_and_stopped) {
  try {
    co_await skua::timeout(20ms, binds_and_waits());
    CHECK(!"it waits for ever");
  } catch (skua::timeout_error const&) {
  }
}
//@ when_all_throws must auto [a, b] = co_await when_all(.., one that throws): nothing is bound, siblings are stopped
PROBE(when_all_throws) {
  int caught = 0;
  for (int i = 0; i < 2; ++i) {
    try {
      auto [a, b, c] = co_await skua::when_all(make(1, 5ms), throws(7, tracked(1)), make(2, 0ms));
      caught = a.value() + b + c.value() + 1000;
    } catch (int e) {
      caught += e;
    }
  }
  CHECK(caught == 14);
}
//@ when_all_kinds must of void and values, of lambdas, of a vector, nested, of sleeps and handles
PROBE(when_all_kinds) {
  tracked x(3);
  auto f = [&x](tracked y) -> task<int> {
    co_await wait();
    co_return x.value() + y.value();
  };
  auto [a, b] = co_await skua::when_all(f(1), [](tracked t) -> task<int> { co_return t.value(); }(tracked(2)));
  std::vector<task<tracked>> some;
  for (int i = 0; i < 20; ++i) some.push_back(make(i));
  int sum = 0;
  for (auto& t : co_await skua::when_all(std::move(some))) sum += t.value();
  auto [c, d] = co_await skua::when_all(skua::when_all(make(1), make(2)), skua::when_all(plus(1, 1), plus(2, 2)));
  auto [e, g] = c;
  auto [h, i] = d;
  co_await skua::when_all(wait(), skua::sleep_for(1ms));
  CHECK(a == 4 && b == 2 && sum == 190 && e.value() + g.value() + h + i == 9);
}
//@ when_all_recursive must fork-join recursion with a bound result, and through a suspension
static task<int> leaves(int depth) {
  if (depth == 0) {
    if (depth % 2 == 0) co_await skua::this_task::yield();
    co_return 1;
  }
  tracked t(depth);
  auto [a, b] = co_await skua::when_all(leaves(depth - 1), leaves(depth - 1));
  CHECK(t.value() == depth);
  co_return a + b;
}
PROBE(when_all_recursive) { CHECK(co_await leaves(10) == 1024); }
//@ when_any_variant must std::visit(.., co_await when_any(..)), get<0>, losers destroyed
PROBE(when_any_variant) {
  auto r = co_await skua::when_any(make(1, 1ms), plus(5, 5), make(3, 1h));
  CHECK(r.index() < 2);
  int const v = std::visit([](auto const& x) {
    if constexpr (std::is_same_v<std::remove_cvref_t<decltype(x)>, tracked>)
      return x.value();
    else
      return static_cast<int>(x);
  }, co_await skua::when_any(plus(1, 2), make(9, 1h)));
  CHECK(v == 3);
}
//@ when_any_bound must auto [index, value] = co_await when_any(vector)
PROBE(when_any_bound) {
  for (int round = 0; round < 3; ++round) {
    std::vector<task<tracked>> some;
    for (int i = 0; i < 5; ++i) some.push_back(make(i, i == round ? 1ms : std::chrono::milliseconds(1h)));
    auto [index, value] = co_await skua::when_any(std::move(some));
    co_await wait();
    CHECK(static_cast<int>(index) == round && value.value() == round);
  }
}
//@ when_all_settled_bound must auto [a, b] = co_await when_all_settled(..)
PROBE(when_all_settled_bound) {
  auto [a, b, c] = co_await skua::when_all_settled(make(1), throws(2), wait());
  co_await wait();
  CHECK(a && a->value() == 1 && b.failed() && c);
}
//@ settled_range must for (auto& o : co_await when_all_settled(vector)), a suspension in its body
PROBE(settled_range) {
  std::vector<task<int>> some;
  for (int i = 0; i < 6; ++i) some.push_back(i % 2 ? throws(i, tracked(i)) : value_of(tracked(i)));
  int good = 0, failed = 0;
  for (auto& o : co_await skua::when_all_settled(std::move(some))) {
    co_await wait();
    o ? good += *o : ++failed;
  }
  CHECK(good == 6 && failed == 3);
}
//@ for_each_with_captures must co_await for_each_concurrent(range | views, n, [&, x] (T) { .. })
PROBE(for_each_with_captures) {
  std::vector<tracked> const all = {1, 2, 3, 4, 5};
  std::atomic<int> sum = 0;
  tracked x(10);
  co_await skua::for_each_concurrent(all, 2, [&sum, x](tracked const& t) -> task<> {
    co_await wait();
    sum += t.value() + x.value();
  });
  co_await skua::for_each_concurrent(std::views::iota(0, 10) | std::views::transform([](int i) { return tracked(i); }), 3, [&](tracked t) -> task<> {
    sum += co_await value_of(t);
  });
  CHECK(sum == 65 + 45);
}
//@ as_completed_with_captures must co_await as_completed(tasks, [&, x](outcome<T>) { .. }), a function and a coroutine
PROBE(as_completed_with_captures) {
  auto some = [] {
    std::vector<task<tracked>> v;
    for (int i = 0; i < 4; ++i) v.push_back(make(i, std::chrono::milliseconds(4 - i)));
    return v;
  };
  std::string order;
  tracked x(1);
  co_await skua::as_completed(some(), [&order, x](skua::outcome<tracked> o) { order += static_cast<char>('0' + o->value() * x.value()); });
  co_await skua::as_completed(some(), [&](skua::outcome<tracked> o) -> task<> {
    co_await wait();
    order += static_cast<char>('0' + o->value());
  });
  CHECK(order.size() == 8 && order.starts_with("3210"));
}
