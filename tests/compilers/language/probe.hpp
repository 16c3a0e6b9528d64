// SPDX-License-Identifier: Apache-2.0
// What every probe shares: a failed check, objects and frames that are counted by address, a task, a generator-free event loop.
//
// A probe is one construct. It ends the process: 0 = right, 1 = wrong (a check failed, and says which), a signal = crash. `main` runs the
// probe named by argv[1], then demands that every tracked object and every frame is gone and that no freed frame was written to.
// Single-threaded except where a probe starts threads itself. Types of this file have user-declared constructors, so that a compiler which
// mishandles aggregates (rule 1) fails only in the probes that are about aggregates.
#pragma once
#include <algorithm>
#include <coroutine>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <exception>
#include <utility>
#include <vector>

namespace probe {

[[noreturn, gnu::noinline, gnu::cold]] inline void fail(char const* file, int line, char const* what) {
  std::fprintf(stderr, "%s:%d: %s\n", file, line, what);
  std::_Exit(1);
}
#define CHECK(condition) ((condition) ? void() : ::probe::fail(__FILE__, __LINE__, #condition))

// An object that knows whether it lives. Each is destroyed exactly once, where it was constructed; a bitwise copy is caught.
inline std::vector<void const*> living;
inline int copies = 0;
class tracked {
public:
  tracked(int v = 0) : value_(v) { born(); }
  tracked(tracked const& o) : value_(o.value()) { born(), ++copies; }
  tracked(tracked&& o) noexcept : value_(o.value()) { born(), o.value_ = -1; }
  tracked& operator=(tracked const& o) { return value(), value_ = o.value(), *this; }
  ~tracked() { died(); }
  [[gnu::noinline]] int value() const { return CHECK(std::ranges::count(living, this) == 1), value_; }

private:
  [[gnu::noinline]] void born() { CHECK(std::ranges::count(living, this) == 0), living.push_back(this); }
  [[gnu::noinline]] void died() { CHECK(std::erase(living, this) == 1); }
  int value_;
};

// Frames. A freed frame is filled with a pattern and kept; whoever writes to it afterwards is caught at the end of the probe.
struct block {
  unsigned char* at;
  std::size_t size;
  block(unsigned char* a, std::size_t s) : at(a), size(s) {}
};
inline std::vector<block> frames, freed;
inline bool keep_freed_frames = true;
[[gnu::noinline]] inline void* new_frame(std::size_t n) {
  void* p = std::malloc(n);
  if (keep_freed_frames) frames.emplace_back(static_cast<unsigned char*>(p), n);
  return p;
}
[[gnu::noinline]] inline void delete_frame(void* p, std::size_t n) noexcept {
  if (!keep_freed_frames) return std::free(p);
  auto it = std::ranges::find(frames, p, &block::at);
  CHECK(it != frames.end());    // freed twice
  CHECK(it->size == n);         // sized delete with the wrong size
  std::memset(p, 0xdb, n);
  freed.push_back(*it), frames.erase(it);
}
inline void check_freed_frames() {
  for (block const& b : freed) CHECK(std::all_of(b.at, b.at + b.size, [](unsigned char c) { return c == 0xdb; })), std::free(b.at);
  freed.clear();
}
struct frame_memory {   // base of every promise here
  static void* operator new(std::size_t n) { return new_frame(n); }
  static void operator delete(void* p, std::size_t n) noexcept { delete_frame(p, n); }
};

template <class Promise> struct transfer_to_next {
  transfer_to_next() noexcept {}
  bool await_ready() const noexcept { return false; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> h) const noexcept { return h.promise().next; }
  void await_resume() const noexcept {}
};
template <class T> struct result_of : frame_memory {
  std::vector<T> value;   // at most one
  template <class U = T> void return_value(U&& v) { value.emplace_back(std::forward<U>(v)); }
  T take() { return std::move(value.front()); }
};
template <> struct result_of<void> : frame_memory {
  void return_void() noexcept {}
  void take() noexcept {}
};

// Lazy; transfers symmetrically to its awaiter; its temporary owns the frame until the end of the full expression.
template <class T> class [[nodiscard]] task {
public:
  struct promise_type : result_of<T> {
    std::coroutine_handle<> next = std::noop_coroutine();
    std::exception_ptr error;
    promise_type() noexcept {}
    task get_return_object() noexcept { return task(std::coroutine_handle<promise_type>::from_promise(*this)); }
    std::suspend_always initial_suspend() const noexcept { return {}; }
    transfer_to_next<promise_type> final_suspend() const noexcept { return {}; }
    void unhandled_exception() noexcept { error = std::current_exception(); }
  };
  class awaiter {
  public:
    explicit awaiter(std::coroutine_handle<promise_type> h) noexcept : h_(h) {}
    bool await_ready() const noexcept { return false; }
    std::coroutine_handle<> await_suspend(std::coroutine_handle<> next) const noexcept { return h_.promise().next = next, h_; }
    T await_resume() const {
      if (h_.promise().error) std::rethrow_exception(h_.promise().error);
      return h_.promise().take();
    }

  private:
    std::coroutine_handle<promise_type> h_;
  };
  task(task&& o) noexcept : h_(std::exchange(o.h_, nullptr)) {}
  ~task() {
    if (h_) h_.destroy();
  }
  awaiter operator co_await() && noexcept { return awaiter(h_); }
  std::coroutine_handle<promise_type> handle() const noexcept { return h_; }
  std::coroutine_handle<promise_type> release() noexcept { return std::exchange(h_, nullptr); }

private:
  explicit task(std::coroutine_handle<promise_type> h) noexcept : h_(h) {}
  std::coroutine_handle<promise_type> h_;
};

// co_await later(v): suspends once, then is v.
inline std::deque<std::coroutine_handle<>> ready;
template <class T = int> class later {
public:
  explicit later(T v = T()) : value_(std::move(v)) {}
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> h) const { ready.push_back(h); }
  T await_resume() { return std::move(value_); }

private:
  T value_;
};

inline void run_ready(int steps = 1 << 30) {
  for (; steps > 0 && !ready.empty(); --steps) {
    auto h = ready.front();
    ready.pop_front(), h.resume();
  }
}
template <class T> T run(task<T> t) {
  t.handle().resume(), run_ready();
  CHECK(t.handle().done());
  return typename task<T>::awaiter(t.handle()).await_resume();
}
// Starts t, lets it suspend `steps` times more, destroys it there.
template <class T> void run_and_destroy(task<T> t, int steps = 0) {
  t.handle().resume(), run_ready(steps), ready.clear();
  CHECK(!t.handle().done());
}

struct entry {
  char const* name;
  task<void> (*coroutine)() = nullptr;
  void (*function)() = nullptr;
  static std::vector<entry>& all() {
    static std::vector<entry> v;
    return v;
  }
  entry(char const* n, task<void> (*f)()) : name(n), coroutine(f) { all().push_back(*this); }
  entry(char const* n, void (*f)()) : name(n), function(f) { all().push_back(*this); }
};
// PROBE(name) { a coroutine body }     PROBE_CALL(name) { an ordinary body, which runs coroutines itself }
#define PROBE(name) \
  static ::probe::task<void> name(); \
  static ::probe::entry name##_entry(#name, name); \
  static ::probe::task<void> name()
#define PROBE_CALL(name) \
  static void name(); \
  static ::probe::entry name##_entry(#name, name); \
  static void name()

} // namespace probe

int main(int, char** argv) {
  for (auto& e : probe::entry::all()) {
    if (std::strcmp(e.name, argv[1]) != 0) continue;
    try {
      e.coroutine ? probe::run(e.coroutine()) : e.function();
    } catch (...) { CHECK(!"an exception left the probe"); }
    CHECK(probe::living.empty());
    CHECK(probe::frames.empty());
    probe::check_freed_frames();
    return 0;
  }
  return 3;
}
