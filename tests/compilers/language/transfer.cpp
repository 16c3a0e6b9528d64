// SPDX-License-Identifier: Apache-2.0
// Symmetric transfer must not grow the stack: loops of ten million, chains a hundred thousand deep, on 256 KiB of stack (8 MiB under a sanitizer).
//@@ configs: O0 O1 O2 O3 lto asan tsan ubsan
#include "probe.hpp"
#include <sys/resource.h>
#include <unistd.h>
using namespace probe;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SLOW 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SLOW 1
#endif
#endif
#ifdef SLOW
static constexpr int loops = 1'000'000, depth = 100'000, kilobytes = 8192;
#else
static constexpr int loops = 10'000'000, depth = 100'000, kilobytes = 256;
#endif
// The limit holds for the main thread at once, because its stack grows on demand.
static bool const limited = [] {
  rlimit r{};
  getrlimit(RLIMIT_STACK, &r);
  r.rlim_cur = kilobytes * 1024;
  keep_freed_frames = false;
  return setrlimit(RLIMIT_STACK, &r) == 0;
}();

//@ await_in_a_loop must for 10M: s += co_await child()
static task<int> child(int i) { co_return i & 1; }
static task<long> awaits_in_a_loop(int n) {
  long s = 0;
  for (int i = 0; i < n; ++i) s += co_await child(i);
  co_return s;
}
PROBE_CALL(await_in_a_loop) { CHECK(limited && run(awaits_in_a_loop(loops)) == loops / 2); }

//@ ping_pong must two coroutines transfer to each other 10M times
static std::coroutine_handle<> side[2];
class to_the_other {
public:
  explicit to_the_other(int i) : i_(i) {}
  bool await_ready() const noexcept { return false; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> h) const noexcept {
    side[i_] = h;
    return side[1 - i_];
  }
  void await_resume() const noexcept {}

private:
  int i_;
};
static task<void> ping(int me, int n, int& count) {
  for (int i = 0; i < n; ++i) {
    ++count;
    co_await to_the_other(me);
  }
}
PROBE_CALL(ping_pong) {
  int n = 0;
  auto a = ping(0, loops / 2, n), b = ping(1, loops, n);
  side[1] = b.handle();
  a.handle().resume();
  CHECK(a.handle().done() && n >= loops - 1);
}

//@ deep_chain must a chain of 100k coroutines awaiting each other; results come back
static task<long> deep(int n) {
  if (n == 0) co_return 0;
  co_return co_await deep(n - 1) + 1;
}
PROBE_CALL(deep_chain) {
  task<long> t = deep(depth);
  t.handle().resume();
  CHECK(t.handle().done() && t.handle().promise().take() == depth);
}

//@ deep_chain_throws must an exception through 100k coroutines
static task<long> deep_throw(int n) {
  if (n == 0) throw 7;
  co_return co_await deep_throw(n - 1) + 1;
}
PROBE_CALL(deep_chain_throws) {
  task<long> t = deep_throw(depth / 10);
  t.handle().resume();
  CHECK(t.handle().done() && t.handle().promise().error);
}

//@ resume_in_a_loop must suspend and resume from a loop, 10M: no transfer
static task<void> waits(int n) {
  for (int i = 0; i < n; ++i) co_await std::suspend_always();
}
PROBE_CALL(resume_in_a_loop) {
  auto t = waits(loops);
  for (int i = 0; i <= loops; ++i) t.handle().resume();
  CHECK(t.handle().done());
}

//@ self_destroying_loop must children that destroy themselves at their final point, 10M
class once {
public:
  struct promise_type : frame_memory {
    std::coroutine_handle<> next;
    promise_type() {}
    once get_return_object() { return once(std::coroutine_handle<promise_type>::from_promise(*this)); }
    std::suspend_always initial_suspend() const noexcept { return {}; }
    struct last {
      bool await_ready() const noexcept { return false; }
      std::coroutine_handle<> await_suspend(std::coroutine_handle<promise_type> h) const noexcept {
        auto next = h.promise().next;
        h.destroy();
        return next;
      }
      void await_resume() const noexcept {}
    };
    last final_suspend() const noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { std::abort(); }
  };
  explicit once(std::coroutine_handle<promise_type> h) : h_(h) {}
  bool await_ready() const noexcept { return false; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> next) const noexcept {
    h_.promise().next = next;
    return h_;
  }
  void await_resume() const noexcept {}

private:
  std::coroutine_handle<promise_type> h_;
};
static once fire(long& n) {
  ++n;
  co_return;
}
static task<long> fires(int n) {
  long s = 0;
  for (int i = 0; i < n; ++i) co_await fire(s);
  co_return s;
}
PROBE_CALL(self_destroying_loop) { CHECK(run(fires(loops)) == loops); }
