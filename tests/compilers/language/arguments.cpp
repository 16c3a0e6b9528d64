// SPDX-License-Identifier: Apache-2.0
// What is written between the brackets of an awaited call: aggregates, braced lists, lambdas, default arguments. Is every temporary constructed once, destroyed
// once, at the right time, and is the value right?
//@@ configs: O0 O1 O2 O3 asan
#include "pieces.hpp"
using namespace probe;

//@ aggregate_by_value must co_await f({T, n, T})
PROBE(aggregate_by_value) {
  int r = co_await take({1, 2, 3});
  CHECK(r == 6);
}

//@ aggregate_named_type must co_await f(S{T, n, T})
PROBE(aggregate_named_type) {
  int r = co_await take(options{1, 2, 3});
  CHECK(r == 6);
}

//@ aggregate_designated must co_await f(S{.host = T})
PROBE(aggregate_designated) {
  int r = co_await take(options{.host = 5});
  CHECK(r == 10);
}

//@ aggregate_const_ref must co_await f(S{..}), f takes const S&
PROBE(aggregate_const_ref) {
  int r = co_await take_const({1, 2, 3});
  CHECK(r == 6);
}

//@ aggregate_rvalue_ref must co_await f(S{..}), f takes S&&
PROBE(aggregate_rvalue_ref) {
  int r = co_await take_rvalue({1, 2, 3});
  CHECK(r == 6);
}

//@ aggregate_empty_braces must co_await f({})
PROBE(aggregate_empty_braces) {
  int r = co_await take({});
  CHECK(r == 5);
}

//@ aggregate_default_argument must f(S = {}) called without it
PROBE(aggregate_default_argument) {
  int r = co_await take_default(1);
  CHECK(r == 6);
}

//@ aggregate_std_array must co_await f(std::array<T, 2>{T, T})
static task<int> take_array(std::array<tracked, 2> a) {
  co_await later();
  co_return a[0].value() + a[1].value();
}
PROBE(aggregate_std_array) {
  int r = co_await take_array(std::array<tracked, 2>{tracked(1), tracked(2)});
  CHECK(r == 3);
}

//@ aggregate_awaiter must co_await A{T}, the awaiter is an aggregate
struct aggregate_awaiter_t {
  tracked t;
  bool await_ready() const { return false; }
  void await_suspend(std::coroutine_handle<> h) { ready.push_back(h); }
  int await_resume() { return t.value(); }
};
PROBE(aggregate_awaiter) {
  int r = co_await aggregate_awaiter_t{4};
  CHECK(r == 4);
  co_await aggregate_awaiter_t{5};
}

//@ aggregate_awaiter_throws must await_suspend of an aggregate awaiter throws
struct aggregate_thrower {
  tracked t;
  bool await_ready() const { return false; }
  void await_suspend(std::coroutine_handle<>) { throw t.value(); }
  void await_resume() {}
};
PROBE(aggregate_awaiter_throws) {
  int c = 0;
  try {
    co_await aggregate_thrower{4};
  } catch (int i) { c = i; }
  CHECK(c == 4);
}

//@ aggregate_local_braces must S s{T, co_await x}
PROBE(aggregate_local_braces) {
  options o{tracked(1), co_await later(2), tracked(3)};
  CHECK(o.host.value() + o.port == 3);
}

//@ aggregate_new_braces must new S{T, co_await x}
PROBE(aggregate_new_braces) {
  std::unique_ptr<options> o(new options{tracked(1), co_await later(2)});
  CHECK(o->port == 2);
}

//@ aggregate_trivial must co_await f({1, 2}), trivially destructible
struct point {
  int x, y;
};
static task<int> take_point(point p) {
  co_await later();
  co_return p.x + p.y;
}
PROBE(aggregate_trivial) {
  int r = co_await take_point({1, 2});
  CHECK(r == 3);
}

//@ aggregate_named_first must S s{..}; co_await f(std::move(s))
PROBE(aggregate_named_first) {
  options o{1, 2, 3};
  int r = co_await take(std::move(o));
  CHECK(r == 6);
}

//@ initializer_list_argument must co_await f({T, T}) to std::initializer_list
static task<int> take_list(std::initializer_list<tracked> l) {
  co_await later();
  int s = 0;
  for (auto& t : l) s += t.value();
  co_return s;
}
PROBE(initializer_list_argument) {
  int r = co_await take_list({1, 2});
  CHECK(r == 3);
}

//@ vector_braces must co_await f(std::vector<T>{1, 2, 3})
static task<int> take_vector(std::vector<tracked> l) {
  co_await later();
  int s = 0;
  for (auto& t : l) s += t.value();
  co_return s;
}
PROBE(vector_braces) {
  int r = co_await take_vector(std::vector<tracked>{1, 2, 3});
  CHECK(r == 6);
}

//@ -
static task<int> take_strings(std::vector<std::string> l) {
  co_await later();
  std::size_t n = 0;
  for (auto& t : l) n += t.size();
  co_return int(n);
}

//@ vector_of_strings_braces rule11 co_await f(std::vector<std::string>{"a", "b"}): elements whose constructors make temporaries (allocators) of their own
PROBE(vector_of_strings_braces) {
  int r = co_await take_strings(std::vector<std::string>{"a", "a string that does not fit into its object"});
  CHECK(r == 43);
}

//@ strings_braces must co_await f({"a", "b"}) to a vector of strings
PROBE(strings_braces) {
  int r = co_await take_strings({"a", "a string that does not fit into its object"});
  CHECK(r == 43);
}

//@ array_reference_argument must co_await f({T, T}) to const T(&)[2]
static task<int> take_array_ref(tracked const (&a)[2]) {
  co_await later();
  co_return a[0].value() + a[1].value();
}
PROBE(array_reference_argument) {
  int r = co_await take_array_ref({1, 2});
  CHECK(r == 3);
}

//@ string_pairs_braces must co_await f({{"a", "b"}}) to a vector of pairs of strings
static task<int> take_pairs(std::vector<std::pair<std::string, std::string>> v) {
  co_await later();
  co_return int(v.size());
}
PROBE(string_pairs_braces) {
  int r = co_await take_pairs({{"a", "b"}, {"c", "d"}});
  CHECK(r == 2);
}

//@ lambda_captures_called must co_await [c]() -> task {..}()
PROBE(lambda_captures_called) {
  tracked c(4);
  int r = co_await [c]() -> task<int> {
    co_await later();
    co_return c.value();
  }();
  CHECK(r == 4);
}

//@ lambda_coroutine_first must co_await [c]() -> task {..}() + co_await x
PROBE(lambda_coroutine_first) {
  tracked c(4);
  int r = co_await [c]() -> task<int> {
    co_await later();
    co_return c.value();
  }() + co_await later(5);
  CHECK(r == 9);
}

//@ lambda_coroutine_second rule12 co_await x + co_await [c]() -> task {..}()
PROBE(lambda_coroutine_second) {
  tracked c(4);
  int r = co_await later(5) + co_await [c]() -> task<int> {
    co_await later();
    co_return c.value();
  }();
  CHECK(r == 9);
}

//@ lambda_coroutine_in_a_condition rule12 if (co_await x && co_await []() -> task {..}())
PROBE(lambda_coroutine_in_a_condition) {
  bool both = false;
  if (co_await later(1) == 1 && co_await []() -> task<int> {
        co_await later();
        co_return 2;
      }() == 2)
    both = true;
  CHECK(both);
}

//@ lambdas_in_one_expression must co_await f([c] {..}) + co_await f([c] {..}): lambdas that are no coroutines
template <class F> static task<int> call_later(F f) {
  co_await later();
  co_return f();
}
PROBE(lambdas_in_one_expression) {
  tracked c(4);
  int r = co_await call_later([c] { return c.value(); }) + co_await call_later([c] { return c.value() + 1; });
  CHECK(r == 9);
}

//@ lambda_captures_argument must co_await f([c] {..})
template <class F> static task<int> call(F f) {
  co_await later();
  co_return f();
}
PROBE(lambda_captures_argument) {
  tracked c(4);
  int r = co_await call([c] { return c.value(); });
  CHECK(r == 4);
}

//@ lambda_init_capture must co_await f([c = T] {..})
template <class F> static task<int> call_it(F f) {
  co_await later();
  co_return f();
}
PROBE(lambda_init_capture) {
  int r = co_await call_it([c = tracked(4)] { return c.value(); });
  CHECK(r == 4);
}

//@ lambda_to_std_function must co_await f([c] {..}) to std::function
static task<int> call_function(std::function<int()> f) {
  co_await later();
  co_return f();
}
PROBE(lambda_to_std_function) {
  tracked c(4);
  int r = co_await call_function([c] { return c.value(); });
  CHECK(r == 4);
}

//@ lambda_trivial_captures must co_await f([&x, i] {..})
template <class F> static task<int> call_ref(F f) {
  co_await later();
  co_return f();
}
PROBE(lambda_trivial_captures) {
  int x = 1, i = 3;
  int r = co_await call_ref([&x, i] { return x + i; });
  CHECK(r == 4);
}

//@ lambda_captures_an_await must auto f = [x = co_await y] {..}
PROBE(lambda_captures_an_await) {
  auto f = [x = co_await make(4)] { return x.value(); };
  CHECK(f() == 4);
}

//@ lambda_named_first must auto f = [c]..; co_await f()
PROBE(lambda_named_first) {
  tracked c(4);
  auto f = [c]() -> task<int> {
    co_await later();
    co_return c.value();
  };
  int r = co_await f();
  CHECK(r == 4);
}

//@ lambda_captureless must co_await [](T a, int b) -> task {..}(T, 2)
PROBE(lambda_captureless) {
  int r = co_await [](tracked a, int b) -> task<int> {
    co_await later();
    co_return a.value() + b;
  }(tracked(1), 2);
  CHECK(r == 3);
}

//@ constructed_braces must co_await f(C{T, 2}), C has a constructor
static task<int> take_constructed(constructed c) {
  co_await later();
  co_return c.t.value() + c.n;
}
PROBE(constructed_braces) {
  int r = co_await take_constructed(constructed{1, 2}) + co_await take_constructed({3, 4});
  CHECK(r == 10);
}

//@ library_arguments must co_await f(pair, tuple, optional, string)
static task<int> take_library(std::pair<tracked, int> p, std::tuple<tracked> t, std::optional<tracked> o, std::string s) {
  co_await later();
  co_return p.first.value() + p.second + std::get<0>(t).value() + o->value() + int(s.size());
}
PROBE(library_arguments) {
  int r = co_await take_library(std::pair(tracked(1), 2), std::tuple(tracked(3)), tracked(4), "a string that is allocated.....");
  CHECK(r == 41);
}

//@ default_argument_class must f(T = T(3)) called without it
static task<int> defaulted(int a, tracked t = tracked(3)) {
  co_await later();
  co_return a + t.value();
}
PROBE(default_argument_class) {
  int r = co_await defaulted(1);
  CHECK(r == 4);
}

//@ reference_arguments must co_await f(const T&) with a temporary; alive until the ;
PROBE(reference_arguments) {
  int r = co_await value_of_ref(tracked(4));
  CHECK(r == 4 && living.empty());
}

//@ nested_awaits must co_await f(co_await g(T), co_await h(T))
PROBE(nested_awaits) {
  int r = co_await sum(co_await value_of(tracked(1)), co_await value_of_ref(co_await make(2)));
  CHECK(r == 3);
}
