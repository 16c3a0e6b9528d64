// SPDX-License-Identifier: Apache-2.0
// A coroutine's life: an exception at every point of it, parameters, destruction while it is suspended.
//@@ configs: O0 O1 O2 O3 asan
#include "pieces.hpp"
using namespace probe;

// A coroutine type whose parts can be told to throw; `step` counts how far it came.
static int throw_at, step;
static void point(int n) {
  step = n;
  if (n == throw_at) throw n;
}
class fragile {
public:
  class at_start {
  public:
    at_start() { point(3); }
    bool await_ready() {
      point(4);
      return false;
    }
    void await_suspend(std::coroutine_handle<>) { point(5); }
    void await_resume() { point(6); }
  };
  struct promise_type : frame_memory {
    tracked member = 1;
    explicit promise_type(tracked& parameter) {
      CHECK(parameter.value() == 9);
      point(1);
    }
    fragile get_return_object() {
      point(2);
      return fragile(std::coroutine_handle<promise_type>::from_promise(*this));
    }
    at_start initial_suspend() { return {}; }
    std::suspend_always final_suspend() noexcept { return {}; }
    void return_void() { point(8); }
    void unhandled_exception() { throw; }
  };
  explicit fragile(std::coroutine_handle<promise_type> h) : h_(h) {}   // does not own: see owning_result_of_a_failed_start
  std::coroutine_handle<promise_type> h_;
};
static fragile fragile_body(tracked t) {
  tracked local(2);
  point(7);
  co_return;
}
// Starts and resumes it; everything thrown before the body started must leave the call itself, with everything destroyed.
static void try_fragile(int at) {
  throw_at = at, step = 0;
  std::coroutine_handle<> started;
  int c = caught([&] {
    fragile f = fragile_body(9);
    started = f.h_;
    started.resume();
  });
  if (started) {
    CHECK(started.done());
    started.destroy();
  }
  CHECK(c == at && step == (at ? at : 8) && living.empty() && frames.empty());
}

//@ fragile_without_throw must the control for the next ones: nothing throws
PROBE_CALL(fragile_without_throw) { try_fragile(0); }

//@ throw_in_promise_constructor must the promise's constructor throws
PROBE_CALL(throw_in_promise_constructor) { try_fragile(1); }

//@ throw_in_get_return_object must get_return_object throws
PROBE_CALL(throw_in_get_return_object) { try_fragile(2); }

//@ throw_in_initial_suspend must initial_suspend throws (the call)
PROBE_CALL(throw_in_initial_suspend) { try_fragile(3); }

//@ throw_in_initial_await_ready must await_ready of the initial awaiter throws
PROBE_CALL(throw_in_initial_await_ready) { try_fragile(4); }

//@ throw_in_initial_await_suspend must await_suspend of the initial awaiter throws
PROBE_CALL(throw_in_initial_await_suspend) { try_fragile(5); }

//@ owning_result_of_a_failed_start rule2 initial_suspend throws, and the return object's destructor destroys the frame (CWG 2935)
class owns {
public:
  struct promise_type : task<void>::promise_type {
    owns get_return_object() { return owns(std::coroutine_handle<promise_type>::from_promise(*this)); }
    std::suspend_always initial_suspend() { throw 3; }
    std::suspend_always final_suspend() noexcept { return {}; }
  };
  explicit owns(std::coroutine_handle<promise_type> h) : h_(h) {}
  ~owns() { h_.destroy(); }
  std::coroutine_handle<promise_type> h_;
};
static owns fails_to_start(tracked) { co_return; }
PROBE_CALL(owning_result_of_a_failed_start) {
  CHECK(caught([] { fails_to_start(1); }) == 3);
}

//@ throw_from_body_to_resume must unhandled_exception rethrows: resume() throws, the frame is at its final point
PROBE_CALL(throw_from_body_to_resume) { try_fragile(6), try_fragile(7), try_fragile(8); }

//@ throw_in_parameter_copy must the copy of the 2nd parameter into the frame throws
struct throws_when_moved {
  tracked t;
  throws_when_moved() : t(5) {}
  throws_when_moved(throws_when_moved&& o) : t(o.t) { throw 5; }
};
static task<void> moved_params(tracked, throws_when_moved, tracked) { co_return; }
PROBE_CALL(throw_in_parameter_copy) {
  CHECK(caught([] { (void)moved_params(1, throws_when_moved(), 2); }) == 5 && living.empty() && frames.empty());
}

//@ throw_in_awaiter must await_ready, await_suspend, await_resume throw, with live temporaries
class thrower {
public:
  thrower(int at, tracked t) : at_(at), t_(std::move(t)) {}
  bool await_ready() {
    if (at_ == 1) throw 1;
    return false;
  }
  void await_suspend(std::coroutine_handle<> h) {
    if (at_ == 2) throw 2;
    ready.push_back(h);
  }
  void await_resume() {
    if (at_ == 3) throw 3;
  }

private:
  int at_;
  tracked t_;
};
PROBE(throw_in_awaiter) {
  for (int at : {1, 2, 3}) {
    int c = 0;
    try {
      tracked l(1);
      co_await thrower(at, tracked(2));
    } catch (int i) { c = i; }
    CHECK(c == at && living.empty());
  }
}

//@ throw_in_operator_co_await must operator co_await and await_transform-like conversions throw
struct throws_to_await {
  tracked t;
  throws_to_await() : t(1) {}
  later<int> operator co_await() const { throw 4; }
};
PROBE(throw_in_operator_co_await) {
  int c = 0;
  try {
    co_await throws_to_await();
  } catch (int i) { c = i; }
  CHECK(c == 4 && living.empty());
}

//@ throw_through_three_levels must exceptions through children with locals
static task<int> level(int n) {
  tracked t(n);
  if (n == 0) co_return co_await throws();
  co_return co_await level(n - 1) + t.value();
}
PROBE(throw_through_three_levels) {
  int c = 0;
  try {
    co_await level(3);
  } catch (int i) { c = i; }
  CHECK(c == 7 && living.empty());
}

//@ - shared: objects that log their end
static std::string log_;
struct logs {
  tracked t;
  explicit logs(int v) : t(v) {}
  logs(logs&& o) : t(std::move(o.t)) {}
  ~logs() {
    if (t.value() >= 0) log_ += char('0' + t.value());
  }
};
static task<void> ordered(logs, tracked const& r, tracked&& m, logs) {
  logs local(3);
  co_await later();
  CHECK(r.value() == 7 && m.value() == 8);
}

//@ parameters_destroyed_once must by value, reference, rvalue; destroyed with the frame, after the locals
PROBE_CALL(parameters_destroyed_once) {
  tracked r(7), m(8);
  run(ordered(logs(1), r, std::move(m), logs(2)));
  CHECK(log_ == "321" || log_ == "312");
}

//@ parameters_in_reverse_order note the copies are destroyed in reverse order (the standard leaves it open)
PROBE_CALL(parameters_in_reverse_order) {
  tracked r(7), m(8);
  run(ordered(logs(1), r, std::move(m), logs(2)));
  CHECK(log_ == "321");
}

//@ destroy_before_start must parameters are destroyed, the body never ran
PROBE_CALL(destroy_before_start) {
  {
    auto t = value_of(tracked(1));
    CHECK(living.size() == 1);
  }
  CHECK(living.empty());
}

//@ destroy_suspended_with_temporaries must full expression with live temporaries, locals and parameters
static task<int> sum3(tracked a, tracked const& b, int c) {
  co_await later();
  co_await later();
  co_return a.value() + b.value() + c;
}
static task<void> deep_temporaries(tracked p) {
  tracked l(1);
  std::string s(30, 'x');
  int r = co_await sum3(tracked(2), co_await make(3), co_await value_of(p)) + int(s.size());
  CHECK(!r);
}
PROBE_CALL(destroy_suspended_with_temporaries) {
  for (int steps = 0; steps < 4; ++steps) {
    run_and_destroy(deep_temporaries(4), steps);
    CHECK(living.empty());
  }
}

//@ destroy_suspended_in_try must inside try, in a loop, in a range-for, in an if condition
static task<void> many_places(int where) {
  try {
    for (int i = 0; i < 2; ++i) {
      tracked t(i);
      if (where == 1) co_await later();
    }
    if (tracked t(3); where == 2 && co_await value_of(t) == 3) co_await later();
    for (tracked& t : std::vector<tracked>(2)) {
      tracked u(t);
      if (where == 3) co_await later(), co_await value_of(u);
    }
    tracked a[2] = {1, 2};
    co_await later();
  } catch (...) { CHECK(!"caught"); }
}
PROBE_CALL(destroy_suspended_in_try) {
  for (int w = 1; w < 5; ++w)
    for (int s = 0; s < (w < 4 ? 2 : 1); ++s) {
      run_and_destroy(many_places(w), s);
      CHECK(living.empty());
    }
}

//@ destroy_chain must 1000 coroutines awaiting each other, destroyed from the outermost
static task<int> chain(int n, tracked t) {
  tracked l(n);
  if (n == 0)
    co_await later();
  else
    co_return co_await chain(n - 1, tracked(n)) + t.value();
  co_return 0;
}
PROBE_CALL(destroy_chain) {
  run_and_destroy(chain(1000, 1));
  CHECK(living.empty() && frames.empty());
}
