// SPDX-License-Identifier: Apache-2.0
// What may happen between "suspended" and "await_suspend has returned": the frame is destroyed, resumed, finished by another thread. The compiler
// must not touch it any more (LLVM 56301, 65018, 65054; GCC 121961), nor remember thread-local addresses over a suspension. A freed frame is filled with a
// pattern that is checked at the end. Every shape runs in the ramp (no initial suspension), after a resumption, and in a loop.
//@@ configs: O0 O1 O2 O3 lto asan tsan
#include "probe.hpp"
#include <cerrno>
#include <latch>
#include <pthread.h>
#include <thread>
#include <vector>
using namespace probe;

// An eager coroutine that nobody owns: it ends by itself, or somebody destroys it.
class detached {
public:
  struct promise_type : frame_memory {
    promise_type() {}
    detached get_return_object() { return {}; }
    std::suspend_never initial_suspend() const noexcept { return {}; }
    std::suspend_never final_suspend() const noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { std::abort(); }
  };
};
// Runs body(A(..)) for an awaiter type A that destroys its own frame while it suspends: at the 1st, 2nd and 3rd suspension.
static int destroy_at;
static bool now() { return --destroy_at == 0; }
template <class A> static detached three_times(tracked p) {
  tracked l(1);
  co_await A(p);
  co_await A(l);
  for (;;) {
    tracked t(2);
    co_await A(t);
  }
}
template <class A> static detached once_more(tracked p) {
  tracked l(1);
  int r = co_await A(p) + co_await A(tracked(3));
  co_await A(l);
  CHECK(r == 4);
  co_await A(l);
}
template <class A> static void destroys_its_frame() {
  auto const before = frames.size();
  for (int at : {1, 2, 3, 4})
    for (int body : {0, 1}) {
      destroy_at = at;
      body == 0 ? three_times<A>(1) : once_more<A>(1);
      run_ready();
      CHECK(living.empty() && frames.size() == before);
      check_freed_frames();
    }
}
// Destroys h if it is time, else queues it. Out of line: the compiler cannot see that the frame goes.
[[gnu::noinline]] static std::coroutine_handle<> destroy_or_queue(std::coroutine_handle<> h) {
  if (now()) return h.destroy(), std::noop_coroutine();
  ready.push_back(h);
  return std::noop_coroutine();
}
template <class Derived> struct base_awaiter {
  int v;
  explicit base_awaiter(tracked const& t) : v(t.value()) {}
  bool await_ready() const noexcept { return false; }
  int await_resume() const noexcept { return v; }
};

//@ destroyed_returning_handle must await_suspend destroys the frame, returns a handle
struct returns_handle : base_awaiter<returns_handle> {
  using base_awaiter::base_awaiter;
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> h) noexcept { return destroy_or_queue(h); }
};
PROBE_CALL(destroyed_returning_handle) { destroys_its_frame<returns_handle>(); }

//@ destroyed_returning_void must await_suspend destroys the frame, returns void
struct returns_void : base_awaiter<returns_void> {
  using base_awaiter::base_awaiter;
  void await_suspend(std::coroutine_handle<> h) noexcept { destroy_or_queue(h); }
};
PROBE_CALL(destroyed_returning_void) { destroys_its_frame<returns_void>(); }

//@ destroyed_returning_true must await_suspend destroys the frame, returns true
struct returns_true : base_awaiter<returns_true> {
  using base_awaiter::base_awaiter;
  bool await_suspend(std::coroutine_handle<> h) noexcept {
    destroy_or_queue(h);
    return true;
  }
};
PROBE_CALL(destroyed_returning_true) { destroys_its_frame<returns_true>(); }

//@ destroyed_may_throw must the same, await_suspend not noexcept and out of line
struct may_throw : base_awaiter<may_throw> {
  using base_awaiter::base_awaiter;
  [[gnu::noinline]] std::coroutine_handle<> await_suspend(std::coroutine_handle<> h) {
    if (v == 77) throw 1;
    return destroy_or_queue(h);
  }
};
PROBE_CALL(destroyed_may_throw) { destroys_its_frame<may_throw>(); }

//@ destroyed_after_member_store must LLVM 56301: a flag is set before the publication and taken back only if that failed
struct stores_member : base_awaiter<stores_member> {
  using base_awaiter::base_awaiter;
  bool suspended = false;
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> h) noexcept {
    suspended = true;
    std::coroutine_handle<> next = destroy_or_queue(h);
    if (next != nullptr) return next;
    suspended = false;
    return h;
  }
  int await_resume() const noexcept { return suspended ? v : 100; }
};
PROBE_CALL(destroyed_after_member_store) { destroys_its_frame<stores_member>(); }

//@ destroyed_with_reference_member must LLVM 65054: reference member, handle chosen from an array, exchange
struct reference_member : base_awaiter<reference_member> {
  tracked const& t;
  explicit reference_member(tracked const& x) : base_awaiter(x), t(x) {}
  [[gnu::noinline]] std::coroutine_handle<> await_suspend(std::coroutine_handle<> h) const noexcept {
    CHECK(t.value() == v);
    std::coroutine_handle<> both[2] = {std::noop_coroutine(), destroy_or_queue(h)};
    return std::exchange(both[ready.size() & 1], nullptr);
  }
};
PROBE_CALL(destroyed_with_reference_member) { destroys_its_frame<reference_member>(); }

//@ destroyed_while_transferring must destroys its frame and transfers to another coroutine
static task<void> other(int& n) {
  for (;;) {
    ++n;
    co_await std::suspend_always();
  }
}
static std::coroutine_handle<> other_handle;
struct transfers : base_awaiter<transfers> {
  using base_awaiter::base_awaiter;
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> h) noexcept {
    destroy_or_queue(h);
    return other_handle;
  }
};
PROBE_CALL(destroyed_while_transferring) {
  int n = 0;
  auto o = other(n);
  other_handle = o.handle();
  destroys_its_frame<transfers>();
  CHECK(n == 20);
}

//@ destroyed_by_temporary_owner must the parent's temporary task is destroyed while the child suspends (chain destruction from inside)
static std::coroutine_handle<> outermost;
struct destroys_outermost : base_awaiter<destroys_outermost> {
  using base_awaiter::base_awaiter;
  std::coroutine_handle<> await_suspend(std::coroutine_handle<>) noexcept {
    outermost.destroy();
    return std::noop_coroutine();
  }
};
static task<int> inner(int n, tracked t) {
  tracked l(n);
  if (n > 0) co_return co_await inner(n - 1, tracked(4));
  co_return co_await destroys_outermost(t);
}
PROBE_CALL(destroyed_by_temporary_owner) {
  for (int n : {0, 1, 5}) {
    auto h = inner(n, 3).release();
    outermost = h;
    h.resume();
    CHECK(living.empty() && frames.empty());
  }
}

//@ resumed_inside_await_suspend must await_suspend hands the handle to a thread that finishes the coroutine before it returns
struct finished_elsewhere : base_awaiter<finished_elsewhere> {
  using base_awaiter::base_awaiter;
  void await_suspend(std::coroutine_handle<> h) {
    std::thread([h] { h.resume(); }).join();
  }
};
static detached finishes(tracked p) {
  tracked l(1);
  co_await finished_elsewhere(p);
  co_await finished_elsewhere(l);
  CHECK(p.value() + l.value() == 3);
}
PROBE_CALL(resumed_inside_await_suspend) {
  finishes(2);
  CHECK(living.empty() && frames.empty());
}

//@ not_suspended_after_all must await_suspend returns false / its own handle
template <class R> struct goes_on : base_awaiter<goes_on<R>> {
  using base_awaiter<goes_on<R>>::base_awaiter;
  R await_suspend(std::coroutine_handle<> h) noexcept {
    if constexpr (std::is_same_v<R, bool>)
      return false;
    else
      return h;
  }
};
static task<int> on_and_on(tracked p) {
  int s = 0;
  for (int i = 0; i < 100; ++i) s += co_await goes_on<bool>(p) + co_await goes_on<std::coroutine_handle<>>(tracked(1));
  co_return s;
}
PROBE(not_suspended_after_all) {
  int r = co_await on_and_on(2);
  CHECK(r == 300);
}

//@ - shared: a hop to another thread, and what must differ there
struct hop {
  hop() {}
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> h) {
    std::thread([h] { h.resume(); }).join();
  }
  void await_resume() const noexcept {}
};
static thread_local int dynamic_tls = 1;
inline constinit thread_local int exec_tls [[gnu::tls_model("initial-exec")]] = 2;
[[gnu::noinline]] static int& out_of_line() { return dynamic_tls; }

//@ tls_out_of_line must thread-local through a noinline function, across hops between threads
static detached tls_1() {
  int* a = &out_of_line();
  for (int i = 0; i < 3; ++i) {
    co_await hop();
    int* b = &out_of_line();
    CHECK(a != b);
    a = b;
  }
}
PROBE_CALL(tls_out_of_line) { tls_1(); }

//@ tls_direct must &thread_local, constinit initial-exec, across hops
static detached tls_2() {
  int* a = &dynamic_tls;
  int* c = &exec_tls;
  for (int i = 0; i < 3; ++i) {
    co_await hop();
    int* b = &dynamic_tls;
    int* d = &exec_tls;
    CHECK(a != b && c != d && *b == 1 && *d == 2);
    *d = 2;
    a = b, c = d;
  }
}
PROBE_CALL(tls_direct) { tls_2(); }

//@ tls_values must a thread-local written before and read after a hop
static detached tls_3() {
  exec_tls = 5;
  co_await hop();
  int now_there = exec_tls;
  exec_tls = 7;
  co_await hop();
  CHECK(now_there == 2 && exec_tls == 2);
}
PROBE_CALL(tls_values) {
  tls_3();
  CHECK(exec_tls == 5);
  exec_tls = 2;
}

//@ tls_errno_and_self must errno, pthread_self, this_thread::get_id across hops
static detached tls_4() {
  int* e = &errno;
  auto p = pthread_self();
  auto id = std::this_thread::get_id();
  co_await hop();
  CHECK(e != &errno && !pthread_equal(p, pthread_self()) && id != std::this_thread::get_id());
}
PROBE_CALL(tls_errno_and_self) { tls_4(); }

//@ tls_in_symmetric_transfer must read in await_suspend, in final_suspend and after a child that hopped
static task<int> child() {
  co_await hop();
  co_return exec_tls;
}
static detached tls_5() {
  int* a = &exec_tls;
  *a = 9;
  int there = co_await child();
  CHECK(a != &exec_tls && there == 2 && exec_tls == 2);
}
PROBE_CALL(tls_in_symmetric_transfer) {
  tls_5();
  exec_tls = 2;
}

//@ latch_seen_by_tsan note what happened before an arrival at a std::latch has happened before the wait is over, and ThreadSanitizer knows
PROBE_CALL(latch_seen_by_tsan) {   // libstdc++ 16 spins on the counter in its shared library, which is not instrumented
  struct meeting {
    std::latch both{2};
    int written = 0;
  };
  std::vector<meeting> all(1000);
  std::thread t([&] {
    for (meeting& m : all) {
      m.written = 1;
      m.both.arrive_and_wait();
    }
  });
  for (meeting& m : all) {
    m.both.arrive_and_wait();
    CHECK(m.written == 1);
  }
  t.join();
}
