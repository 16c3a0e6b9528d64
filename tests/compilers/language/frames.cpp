// SPDX-License-Identifier: Apache-2.0
// Where frames come from and who may be a coroutine: generators, members, lambdas, allocators, frames that destroy themselves, alignment.
//@@ configs: O0 O1 O2 O3 asan
#include "pieces.hpp"
#include <cstddef>
#include <cstdint>
#include <new>
using namespace probe;

//@ - shared: a generator, for co_yield
template <class T> class generator {
public:
  struct promise_type : frame_memory {
    T const* current = nullptr;
    promise_type() {}
    generator get_return_object() { return generator(std::coroutine_handle<promise_type>::from_promise(*this)); }
    std::suspend_always initial_suspend() noexcept { return {}; }
    std::suspend_always final_suspend() noexcept { return {}; }
    std::suspend_always yield_value(T const& v) {
      current = &v;
      return {};
    }   // the temporary lives until resumed
    void return_void() {}
    void unhandled_exception() { throw; }
  };
  explicit generator(std::coroutine_handle<promise_type> h) : h_(h) {}
  generator(generator&& o) : h_(std::exchange(o.h_, nullptr)) {}
  ~generator() {
    if (h_) h_.destroy();
  }
  bool next() {
    h_.resume();
    return !h_.done();
  }
  T const& value() const { return *h_.promise().current; }

private:
  std::coroutine_handle<promise_type> h_;
};
static generator<tracked> yields(tracked from) {
  for (int i = from.value();; ++i) {
    tracked l(i);
    co_yield tracked(i);
    co_yield l;
  }
}

//@ co_yield_temporaries must co_yield T(..): alive while suspended; to the end
static generator<std::string> yields_strings(int n) {
  for (int i = 0; i < n; ++i) co_yield std::string(20, 'a') + std::to_string(i);
}
PROBE_CALL(co_yield_temporaries) {
  auto g = yields_strings(3);
  int n = 0;
  while (g.next()) n += int(g.value().size());
  CHECK(n == 63);
}

//@ escaped_exception must unhandled_exception rethrows out of resume(), the frame is destroyed afterwards
static generator<tracked> yields_or_throws(int n) {
  for (int i = 0; i < n; ++i) co_yield tracked(i);
  if (n == 3) throw 7;
}
PROBE_CALL(escaped_exception) {
  auto g = yields_or_throws(3);
  CHECK(caught([&] { while (g.next()); }) == 7);
}

//@ escaped_exception_at_the_end rule2 the same, and the body cannot end in another way
static generator<tracked> yields_and_throws(int n) {
  for (int i = 0; i < n; ++i) co_yield tracked(i);
  throw 7;
}
PROBE_CALL(escaped_exception_at_the_end) {
  auto g = yields_and_throws(3);
  CHECK(caught([&] { while (g.next()); }) == 7);
}

//@ generator_destroyed_in_the_middle must destroyed while suspended at co_yield T(..)
PROBE_CALL(generator_destroyed_in_the_middle) {
  for (int n = 0; n < 5; ++n) {
    {
      auto g = yields(4);
      for (int i = 0; i < n; ++i) CHECK(g.next() && g.value().value() == 4 + i / 2);
    }
    CHECK(living.empty());
  }
}

//@ - shared: an object with coroutine members
struct object {
  tracked t;
  explicit object(int v) : t(v) {}
  virtual ~object() = default;
  task<int> by_reference(tracked a) {
    co_await later();
    co_return t.value() + a.value();
  }
  virtual task<int> overridden() const {
    co_await later();
    co_return t.value();
  }
  static task<int> fixed(tracked a) {
    co_await later();
    co_return a.value();
  }
  task<int> operator()(int i) const& {
    co_await later(i);
    co_return t.value();
  }
  auto by_value() {
    return [self = *this](int i) -> task<int> {
      co_await later();
      co_return self.t.value() + i;
    };
  }
};

//@ members_and_lambdas must member coroutines (this by reference), *this by value, static, virtual, operator(), generic lambda, template
struct derived : object {
  using object::object;
  task<int> overridden() const override { co_return co_await object::overridden() + 100; }
};
template <class T, int N> static task<int> templated(T t, auto u) {
  co_await later();
  co_return t.value() + N + u;
}
PROBE(members_and_lambdas) {
  derived d(1);
  object& o = d;
  int r = co_await o.by_reference(2) + co_await o.overridden() + co_await object::fixed(3) + co_await o(0);
  auto copy = o.by_value();
  r += co_await copy(4) + co_await templated<tracked, 5>(tracked(6), 7L);
  auto generic = [](auto a, auto&... more) -> task<int> {
    co_await later();
    co_return a.value() + (more.value() + ...);
  };
  tracked x(8), y(9);
  r += co_await generic(tracked(10), x, y);
  CHECK(r == 3 + 101 + 3 + 1 + 5 + 18 + 27);
}

//@ promise_sees_parameters must the promise constructor and operator new receive (this, parameters)
static int seen;
class sees {
public:
  struct promise_type {
    std::coroutine_handle<> next;
    template <class This> promise_type(This& o, tracked& t, int n) { seen += o.t.value() + t.value() + n; }
    promise_type(tracked& t) { seen += 1000 * t.value(); }
    template <class This> static void* operator new(std::size_t s, This& o, tracked&, int n) {
      seen += 100 * (o.t.value() + n);
      return new_frame(s);
    }
    static void* operator new(std::size_t s) { return new_frame(s); }
    static void operator delete(void* p, std::size_t s) { delete_frame(p, s); }
    sees get_return_object() { return {}; }
    std::suspend_never initial_suspend() { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() {}
  };
};
struct user : object {
  using object::object;
  sees member(tracked t, int n) {
    co_await later();
    CHECK(t.value() + n == 5);
  }
};
static sees free_function(tracked t) {
  co_await later();
  CHECK(t.value() == 2);
}
PROBE_CALL(promise_sees_parameters) {
  user u(1);
  u.member(2, 3), free_function(2), run_ready();
  CHECK(seen == 2406);
}

//@ promise_sees_derived_this must promise(base&, ..), the coroutine is a member of a class derived from base
class sees_base {
public:
  struct promise_type : task<void>::promise_type {
    promise_type(object& o, int n) { CHECK(o.t.value() + n == 3); }
    sees_base get_return_object() { return {}; }
    std::suspend_never initial_suspend() { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
  };
};
struct derived_user : object {
  using object::object;
  sees_base member(int) { co_return; }
};
PROBE_CALL(promise_sees_derived_this) {
  derived_user u(1);
  u.member(2);
}

//@ - shared: a coroutine type that takes its memory from an allocator argument
static int allocated;
template <class T> struct counting_allocator {
  using value_type = T;
  int* count;
  explicit counting_allocator(int* c) : count(c) {}
};
class uses_allocator {
public:
  struct promise_type : task<void>::promise_type {
    template <class A, class... Args> static void* operator new(std::size_t n, std::allocator_arg_t, A& a, Args&...) {
      ++*a.count;
      return new_frame(n);
    }
    template <class This, class A, class... Args> static void* operator new(std::size_t n, This&, std::allocator_arg_t, A& a, Args&...) {
      *a.count += 10;
      return new_frame(n);
    }
    static void operator delete(void* p, std::size_t n) { delete_frame(p, n); }
    uses_allocator get_return_object() { return {}; }
    std::suspend_never initial_suspend() { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
  };
};
using allocator = counting_allocator<std::byte>;
static uses_allocator allocates(std::allocator_arg_t, allocator, tracked t) {
  co_await later();
  CHECK(t.value() == 1);
}
struct allocates_member {
  uses_allocator f(std::allocator_arg_t, allocator, tracked t) {
    co_await later();
    CHECK(t.value() == 2);
  }
};
static void allocating_lambda() {
  [](std::allocator_arg_t, allocator, tracked t) -> uses_allocator {
    co_await later();
    CHECK(t.value() == 3);
  }(std::allocator_arg, allocator(&allocated), 3);
  run_ready();
}

//@ allocator_arg must promise operator new(size, [this,] std::allocator_arg, Alloc&, Args&...); for free and member functions
PROBE_CALL(allocator_arg) {
  allocator a(&allocated);
  allocates(std::allocator_arg, a, 1), allocates_member().f(std::allocator_arg, a, 2), run_ready();
  CHECK(allocated == 11);
}

//@ allocator_arg_lambda must the same for a lambda, if both forms of operator new are there
PROBE_CALL(allocator_arg_lambda) {
  allocating_lambda();
  CHECK(allocated == 1 || allocated == 10);
}

//@ allocator_arg_lambda_object note the lambda object comes first, as the standard says
PROBE_CALL(allocator_arg_lambda_object) {
  allocating_lambda();
  CHECK(allocated == 10);
}

//@ allocation_failure must get_return_object_on_allocation_failure; a throwing operator new
static int allocation_mode;
class may_fail {
public:
  struct promise_type : task<void>::promise_type {
    static void* operator new(std::size_t n) noexcept { return allocation_mode == 0 ? nullptr : new_frame(n); }
    static void operator delete(void* p, std::size_t n) { delete_frame(p, n); }
    static may_fail get_return_object_on_allocation_failure() { return may_fail(false); }
    may_fail get_return_object() { return may_fail(true); }
    std::suspend_never initial_suspend() { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
  };
  explicit may_fail(bool b) : good(b) {}
  bool good;
};
class fails_by_throwing {
public:
  struct promise_type : task<void>::promise_type {
    static void* operator new(std::size_t) { throw 6; }
    fails_by_throwing get_return_object() { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
  };
};
static may_fail fallible(tracked) { co_await later(); }
static fails_by_throwing throwing_new(tracked) { co_return; }
PROBE_CALL(allocation_failure) {
  for (allocation_mode = 0; allocation_mode < 2; ++allocation_mode) {
    bool good = fallible(1).good;
    run_ready();
    CHECK(good == (allocation_mode == 1) && living.empty());
  }
  int c = caught([] { throwing_new(1); });
  CHECK(c == 6 && living.empty());
}

//@ self_destroying_final must final awaiter destroys the frame, then transfers; result already in the parent
class fire;
template <class P> class destroys_itself {
public:
  bool await_ready() const noexcept { return false; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<P> h) noexcept {
    auto next = h.promise().next;
    h.destroy();
    return next;
  }
  void await_resume() noexcept {}
};
class fire {
public:
  struct promise_type : frame_memory {
    std::coroutine_handle<> next;
    int* out = nullptr;
    promise_type() {}
    fire get_return_object() { return fire(std::coroutine_handle<promise_type>::from_promise(*this)); }
    std::suspend_always initial_suspend() const noexcept { return {}; }
    destroys_itself<promise_type> final_suspend() const noexcept { return {}; }
    void return_value(int v) { *out = v; }
    void unhandled_exception() { std::abort(); }
  };
  explicit fire(std::coroutine_handle<promise_type> h) : h_(h) {}
  bool await_ready() const noexcept { return false; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> next) {
    h_.promise().next = next, h_.promise().out = &result_;
    return h_;
  }
  int await_resume() { return result_; }

private:
  std::coroutine_handle<promise_type> h_;
  int result_ = 0;
};
static fire fired(tracked t, int depth) {
  tracked l(1);
  if (depth > 0) co_return co_await fired(2, depth - 1) + 1;
  co_await later();
  co_return t.value();
}
PROBE(self_destroying_final) {
  int r = co_await fired(2, 3) + co_await fired(5, 0);
  CHECK(r == 10 && living.empty() && frames.size() == 1);
}

//@ handle_round_trip must from_promise, from_address, done, promise() with an ordinary promise
PROBE_CALL(handle_round_trip) {
  auto t = make(1);
  auto h = t.handle();
  CHECK(decltype(h)::from_promise(h.promise()) == h && decltype(h)::from_address(h.address()) == h && !h.done());
  CHECK(static_cast<void*>(&h.promise()) == static_cast<char*>(h.address()) + 16);   // the prototype of the fork-join pool relies on it
}

//@ overaligned_promise rule5 alignas(64) promise: from_promise agrees and the promise is aligned
class overaligned {
public:
  struct alignas(64) promise_type {
    std::coroutine_handle<> self;
    overaligned get_return_object() {
      auto h = std::coroutine_handle<promise_type>::from_promise(*this);
      return overaligned(h, this);
    }
    std::suspend_always initial_suspend() noexcept { return {}; }
    std::suspend_always final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() {}
  };
  overaligned(std::coroutine_handle<promise_type> a, promise_type* b) : h(a), p(b) {}
  std::coroutine_handle<promise_type> h;
  promise_type* p;
};
static overaligned over() { co_return; }
PROBE_CALL(overaligned_promise) {
  for (int i = 0; i < 20; ++i) {
    auto o = over();
    CHECK(&o.h.promise() == o.p && reinterpret_cast<std::uintptr_t>(o.p) % 64 == 0);
    o.h.resume();
    CHECK(o.h.done());
  }
}

//@ overaligned_local rule5 alignas(64) local and parameter across a suspension
struct alignas(64) line {
  int v;
  explicit line(int i) : v(i) {}
};
[[gnu::noinline]] static bool aligned(void const* p) { return reinterpret_cast<std::uintptr_t>(p) % 64 == 0; }
static task<bool> over_locals(line p) {
  line l(1);
  co_await later();
  co_return aligned(&l) && aligned(&p);
}
PROBE(overaligned_local) {
  std::vector<std::unique_ptr<char[]>> shift;
  for (int i = 0; i < 20; ++i) {
    shift.push_back(std::make_unique<char[]>(std::size_t(24 + i)));
    bool r = co_await over_locals(line(1));
    CHECK(r);
  }
}

//@ big_locals_and_statics must arrays, statics, shadowed names, references to members across suspensions
PROBE(big_locals_and_statics) {
  static int count = 0;
  char big[5000] = {};
  int& first = count;
  int v = 1;
  {
    int v = co_await later(2);
    big[4999] = char(v);
    {
      int v = co_await later(3);
      first += v;
    }
    first += v;
  }
  CHECK(count == 5 && big[4999] == 2 && v == 1);
}
