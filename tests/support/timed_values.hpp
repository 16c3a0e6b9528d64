// SPDX-License-Identifier: Apache-2.0
// Coroutines that take their time, and come to a value, fail, or say how they ended. For virtual time.
#pragma once
#include "skua/shield.hpp"
#include "skua/stop_reason.hpp"
#include "skua/this_task.hpp"
#include "skua/time.hpp"
#include "tests/support/values.hpp"
#include <atomic>
#include <chrono>
#include <stdexcept>
#include <string>
#include <utility>

namespace skua_test {

inline skua::task<int> after(std::chrono::nanoseconds t, int n) {
  co_await skua::sleep_for(t);
  co_return n;
}
inline skua::task<> fail_in(std::chrono::nanoseconds t, std::string what) {
  co_await skua::sleep_for(t);
  throw std::runtime_error(what);
}
// Counts when it has been destroyed.
inline skua::task<> sleep_with(std::chrono::nanoseconds t, std::atomic<int>& gone) {
  witness w(gone);
  co_await skua::sleep_for(t);
}
// Fails when it is stopped: from inside a shield, where it is not.
inline skua::task<> fails_late(std::string what) { co_await skua::shield(fail_in(std::chrono::seconds(2), std::move(what))); }

// Asks why while it is unwound.
struct asks_why {
  skua::stop_reason& to;
  ~asks_why() { to = skua::this_task::stop_reason(); }
};
inline skua::task<> asks(skua::stop_reason& to) {
  asks_why a{to};
  co_await skua::sleep_for(std::chrono::hours(1));
}

} // namespace skua_test
