// SPDX-License-Identifier: Apache-2.0
// Operators and their operands around co_await, the order in which they are evaluated, what an awaiter may be.
//@@ configs: O0 O1 O2 O3 asan
#include "pieces.hpp"
using namespace probe;

//@ logical_operators must co_await a && co_await b || co_await c, with temporaries
PROBE(logical_operators) {
  bool r = co_await value_of(0) && co_await value_of(1);
  bool s = co_await value_of(1) && (co_await value_of(0) || co_await value_of_ref(tracked(2)));
  CHECK(!r && s && living.empty());
}

//@ comma_and_arithmetic must (co_await a, co_await b) + x * co_await c
PROBE(comma_and_arithmetic) {
  int x = 2, r = (co_await value_of(1), co_await value_of(3)) + x * co_await later(4);
  CHECK(r == 11);
}

//@ - shared: a step that logs when it starts
static std::string log_;
static task<int> step(char c) {
  log_ += c;
  co_await later();
  co_return 0;
}

//@ evaluation_order must <<, comma, &&, call chains: left first; one co_await in an assignment
PROBE(evaluation_order) {
  int v[1] = {};
  [[maybe_unused]] int s = co_await step('a') << co_await step('b');
  (co_await step('c'), co_await step('d'));
  v[co_await step('e')] = 0;
  CHECK(log_ == "abcde");
}

//@ assignment_order rule6 v[co_await b] = co_await a: the right side first
PROBE(assignment_order) {
  int v[1] = {};
  v[co_await step('b')] = co_await step('a');
  CHECK(log_ == "ab");
}

//@ compound_assignment must s += co_await f(), int and std::string
PROBE(compound_assignment) {
  int s = 1;
  std::string t;
  for (int i = 0; i < 3; ++i) s += co_await value_of(i), t += co_await text("ab");
  CHECK(s == 4 && t.size() == 54);
}

//@ string_concatenation must co_await a + "," + co_await b
PROBE(string_concatenation) {
  std::string s = co_await text("a") + "," + co_await text("b") + std::string(20, 'c');
  CHECK(s.size() == 55);
}

//@ reference_extends_lifetime must const T& r = co_await x; T&& q = co_await y
PROBE(reference_extends_lifetime) {
  tracked const& r = co_await make(1);
  tracked&& q = co_await make(2);
  co_await later();
  CHECK(r.value() + q.value() == 3 && living.size() == 2);
}

//@ discarded_class_result must co_await x; (void)co_await x; result destroyed at the ;
PROBE(discarded_class_result) {
  co_await make(1);
  (void)co_await make(2);
  CHECK(living.empty());
}

//@ member_of_result must (co_await x).member, .function(), ->, cast, &&
PROBE(member_of_result) {
  int r = (co_await make(1)).value() + (co_await make_two()).b.value() + co_await std::move(std::get<0>(std::tuple(value_of(3))));
  std::unique_ptr<tracked> p = std::make_unique<tracked>(co_await make(4));
  CHECK(r + p->value() == 10 && static_cast<long>((co_await make(5)).value()) == 5);
}

//@ push_back_and_emplace must v.push_back(co_await x)
PROBE(push_back_and_emplace) {
  std::vector<tracked> v;
  for (int i = 0; i < 4; ++i) v.push_back(co_await make(i)), v.emplace_back(co_await later(i));
  CHECK(v[6].value() == 3);
}

//@ fold_and_pack must (co_await f(args), ...), g(co_await f(args)...)
template <class... A> static task<int> folded(A... a) {
  int s = (co_await value_of(a) + ...);
  s += co_await sum(co_await value_of(a)...);
  co_return s;
}
PROBE(fold_and_pack) {
  int r = co_await folded(1, 2);
  CHECK(r == 6);
}

//@ operator_co_await must member && and &, free operator co_await, converting temporaries
struct by_value_category {
  int v;
  explicit by_value_category(int i) : v(i) {}
  auto operator co_await() & { return later(v); }
  auto operator co_await() && { return later(-v); }
};
struct by_free {
  tracked t;
  explicit by_free(int i) : t(i) {}
};
static later<int> operator co_await(by_free const& f) { return later<int>(f.t.value()); }
PROBE(operator_co_await) {
  by_value_category x(2);
  int r = co_await x + co_await by_value_category(3) + co_await by_free(4);
  CHECK(r == 3 && living.empty());
}

//@ await_transform must by promise; temporary made by it
struct transforming {
  struct promise_type : task<void>::promise_type {
    transforming get_return_object() { return transforming(std::coroutine_handle<promise_type>::from_promise(*this)); }
    std::suspend_never initial_suspend() const noexcept { return {}; }
    std::suspend_always final_suspend() const noexcept { return {}; }
    auto await_transform(int v) { return later<tracked>(tracked(v)); }
    template <class A> A&& await_transform(A&& a) { return static_cast<A&&>(a); }
  };
  std::coroutine_handle<promise_type> h;
  explicit transforming(std::coroutine_handle<promise_type> x) : h(x) {}
  ~transforming() { h.destroy(); }
};
static transforming transformed(int& r) {
  r = (co_await 3).value();
  tracked t = co_await later(tracked(4));
  r += t.value() + co_await value_of(1);
}
PROBE_CALL(await_transform) {
  int r = 0;
  transforming t = transformed(r);
  run_ready();
  CHECK(t.h.done() && r == 8);
}

//@ move_only_awaiter must awaiter returned by value; kept in a local; no_unique_address member
class move_only {
public:
  explicit move_only(std::unique_ptr<int> p) : p_(std::move(p)) {}
  move_only(move_only&&) = default;
  bool await_ready() const { return false; }
  void await_suspend(std::coroutine_handle<> h) { ready.push_back(h); }
  std::unique_ptr<int> await_resume() { return std::move(p_); }

private:
  struct empty {};
  [[no_unique_address, maybe_unused]] empty first_;
  std::unique_ptr<int> p_;
  [[no_unique_address]] std::allocator<int> second_;
};
static move_only make_awaiter(int v) { return move_only(std::make_unique<int>(v)); }
PROBE(move_only_awaiter) {
  move_only a = make_awaiter(1);
  auto p = co_await make_awaiter(2);
  CHECK(*p + *co_await std::move(a) + *co_await make_awaiter(3) == 6);
}

//@ class_argument_and_reference_result must T& r = co_await x; co_await x is an lvalue
class refers {
public:
  explicit refers(tracked& t) : t_(&t) {}
  bool await_ready() { return false; }
  void await_suspend(std::coroutine_handle<> h) { ready.push_back(h); }
  tracked& await_resume() { return *t_; }

private:
  tracked* t_;
};
PROBE(class_argument_and_reference_result) {
  tracked t(1);
  tracked& r = co_await refers(t);
  co_await refers(t) = tracked(5);
  auto c = co_await refers(t);
  CHECK(&r == &t && c.value() == 5);
}
