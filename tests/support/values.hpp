// SPDX-License-Identifier: Apache-2.0
// Values and coroutines that tests are made of.
#pragma once
#include "skua/future.hpp"
#include "skua/spawn.hpp"
#include "skua/task.hpp"
#include "skua/this_task.hpp"
#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

namespace skua_test {

// A value with an owner, like an accepted socket: one that is lost or destroyed twice shows in `alive`.
class owned {
public:
  static inline std::atomic<int> alive{0};
  explicit owned(int v) : value_(std::make_unique<int>(v)) { ++alive; }
  owned(owned&& o) noexcept : value_(std::move(o.value_)) { ++alive; }
  owned& operator=(owned&& o) noexcept {
    value_ = std::move(o.value_);
    return *this;
  }
  ~owned() { --alive; }
  int value() const { return *value_; }   // moved from: crashes

private:
  std::unique_ptr<int> value_;
};

// Throws when it is moved while `moves_left` is 0; otherwise counts down.
class fragile {
public:
  static inline std::atomic<int> alive{0}, moves_left{1 << 30};
  explicit fragile(int v) : value(v) { ++alive; }
  fragile(fragile&& o) : value(o.value) {
    if (moves_left-- <= 0) throw std::runtime_error("broke in the move");
    ++alive;
  }
  fragile& operator=(fragile&&) = delete;
  ~fragile() { --alive; }
  int value;
};

// Says when the scope, and so the coroutine that it is in, has been destroyed.
class witness {
public:
  explicit witness(std::atomic<int>& count) noexcept : count_(&count) {}
  witness(witness const&) = delete;
  ~witness() { ++*count_; }

private:
  std::atomic<int>* count_;
};

// Waits until it is stopped.
inline skua::task<> never() {
  skua::promise<> p;
  auto f = p.get_future();
  co_await f;
}
template <class T>
skua::task<T> never_value() {
  co_await never();
  throw std::logic_error("never() has returned");
}

inline skua::task<> yield_times(int n) {
  for (int i = 0; i < n; ++i) co_await skua::this_task::yield();
}
// Yields until `condition()` is true.
template <class F>
skua::task<> until(F condition) {
  while (!condition()) co_await skua::this_task::yield();
}

inline skua::task<int> value_of(int n) { co_return n; }
inline skua::task<int> value_after(int yields, int n) {
  co_await yield_times(yields);
  co_return n;
}
inline skua::task<int> fail_with(std::string what) {
  throw std::runtime_error(what);
  co_return 0;
}
inline skua::task<int> fail_after(int yields, std::string what) {
  co_await yield_times(yields);
  throw std::runtime_error(what);
}

// What the function throws; empty: nothing, or something else.
template <class E = std::exception, class F>
std::string message_of(F f) {
  try {
    f();
  } catch (E const& e) {
    return e.what();
  }
  return {};
}

} // namespace skua_test
