// SPDX-License-Identifier: Apache-2.0
// What the probes of the library share: objects that are counted by address, on any thread, and a main that runs one probe.
//
// A probe is the body of a task. It runs on two workers in virtual time, so that nothing depends on the machine's speed. 0 = right; 1 = a check failed, and
// says which; anything else is a crash. At the end every object, every coroutine frame and every task must be gone.
#pragma once
#include <skua/skua.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <mutex>
#include <set>
#include <utility>
#include <vector>

namespace probe {

using namespace std::chrono_literals;
using skua::task;

[[noreturn, gnu::noinline, gnu::cold]] inline void fail(char const* file, int line, char const* what) {
  std::fprintf(stderr, "%s:%d: %s\n", file, line, what);
  std::_Exit(1);
}
#define CHECK(condition) ((condition) ? void() : ::probe::fail(__FILE__, __LINE__, #condition))

// An object that knows whether it lives: it is destroyed exactly once, where it was constructed.
class living_set {
public:
  bool add(void const* p) {
    std::lock_guard const g(mutex_);
    return all_.insert(p).second;
  }
  bool remove(void const* p) {
    std::lock_guard const g(mutex_);
    return all_.erase(p) == 1;
  }
  bool has(void const* p) {
    std::lock_guard const g(mutex_);
    return all_.contains(p);
  }
  bool empty() {
    std::lock_guard const g(mutex_);
    return all_.empty();
  }

private:
  std::mutex mutex_;
  std::set<void const*> all_;
};
inline living_set living;

class tracked {
public:
  tracked(int v = 0) : value_(v) { born(); }
  tracked(tracked const& o) : value_(o.value()) { born(); }
  tracked(tracked&& o) noexcept : value_(o.value()) {
    born();
    o.value_ = -1;
  }
  tracked& operator=(tracked const& o) {
    value_ = (value(), o.value());
    return *this;
  }
  ~tracked() { CHECK(living.remove(this)); }
  [[gnu::noinline]] int value() const {
    CHECK(living.has(this));
    return value_;
  }

private:
  [[gnu::noinline]] void born() { CHECK(living.add(this)); }
  int value_;
};

// The same, and it can only be moved.
class owned {
public:
  explicit owned(int v) : t_(v) {}
  owned(owned&&) noexcept = default;
  int value() const { return t_.value(); }

private:
  tracked t_;
};

struct settings {   // an aggregate with members that need destruction
  tracked first;
  int second = 2;
  tracked third = 3;
};

// Small coroutines. Each suspends once, on a timer.
inline task<> wait() { co_await skua::sleep_for(1ms); }
inline task<int> plus(int a, int b) {
  co_await skua::sleep_for(1ms);
  co_return a + b;
}
inline task<tracked> make(int v, std::chrono::milliseconds after = 1ms) {
  co_await skua::sleep_for(after);
  co_return tracked(v);
}
inline task<int> value_of(tracked t) {
  co_await skua::sleep_for(1ms);
  co_return t.value();
}
inline task<int> throws(int what, tracked = 0) {
  co_await skua::sleep_for(1ms);
  throw what;
}
inline task<> for_ever(tracked = 0) { co_await skua::sleep_for(1h); }

struct entry {
  char const* name;
  task<> (*body)();
  static std::vector<entry>& all() {
    static std::vector<entry> v;
    return v;
  }
  entry(char const* n, task<> (*f)()) : name(n), body(f) { all().push_back(*this); }
};
#define PROBE(name) \
  static ::skua::task<> name(); \
  static ::probe::entry name##_entry(#name, name); \
  static ::skua::task<> name()

inline int run(entry const& e) {
  try {
    skua::runtime rt(skua::options{.workers = 2, .backend = "virtual", .name = "probe"});
    rt.block_on(e.body());
    CHECK(rt.shutdown(10s).clean());
    CHECK(rt.metrics().live_tasks == 0);
    CHECK(rt.metrics().live_frames == 0);
  } catch (std::exception const& e) {
    fail(__FILE__, __LINE__, e.what());
  } catch (...) {
    fail(__FILE__, __LINE__, "an exception left the probe");
  }
  CHECK(living.empty());
  return 0;
}

} // namespace probe

int main(int, char** argv) {
  for (auto const& e : probe::entry::all())
    if (std::strcmp(e.name, argv[1]) == 0) return probe::run(e);
  std::fprintf(stderr, "there is no probe %s\n", argv[1]);
  return 3;
}
