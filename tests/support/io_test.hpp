// SPDX-License-Identifier: Apache-2.0
// A fixture for tests that talk to the kernel: real time, the back end that this machine chooses.
#pragma once
#include "io/epoll_order.hpp"
#include "skua/runtime.hpp"
#include "skua/this_task.hpp"
#include "tests/support/leak_check.hpp"
#include <utility>

namespace skua_test {

class io_test : public leak_check {
protected:
  io_test() { skua::detail::probe_epoll_order(); }   // or the first I/O thread does, and has descriptors of its own for a moment
  template <class F>
  static void run(F f, unsigned workers = 2) {
    skua::runtime rt{skua::options{.workers = workers}};
    rt.block_on(std::move(f));
  }
};

// On a single worker: every other task has run until it waits.
constexpr unsigned single_worker = 1;
inline skua::task<> until_all_wait() {
  for (int i = 0; i != 100; ++i) co_await skua::this_task::yield();
}

} // namespace skua_test
