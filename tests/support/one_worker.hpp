// SPDX-License-Identifier: Apache-2.0
// A fixture in which a test takes the same course each time: one worker, virtual time. A task that was spawned has come to its first wait after a few yields.
//
//     class Channel : public skua_test::one_worker {};
//     TEST_F(Channel, is_fair) { run([]() -> task<> { .. co_await let_them_wait(); .. }); }
#pragma once
#include "skua/runtime.hpp"
#include "skua/shield.hpp"
#include "tests/support/leak_check.hpp"
#include "tests/support/values.hpp"
#include <utility>

namespace skua_test {

class one_worker : public leak_check {
protected:
  template <class F>
  void run(F f) {
    rt.block_on(std::move(f));
  }
  skua::runtime rt{skua::options{.workers = 1, .backend = "virtual"}};
};

inline skua::task<> let_them_wait() { return yield_times(5); }
template <class T>
skua::task<> stop_and_join(skua::join_handle<T>& h) {
  h.request_stop();
  (void)co_await skua::settle(h);
}

} // namespace skua_test
