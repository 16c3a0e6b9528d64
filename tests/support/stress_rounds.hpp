// SPDX-License-Identifier: Apache-2.0
// How the rounds of a stress test end, and the whole of it.
#pragma once
#include "skua/detail/frame_pool.hpp"
#include "skua/detail/worker.hpp"
#include "skua/runtime.hpp"
#include "tests/support/stress.hpp"
#include <chrono>
#include <iostream>
#include <thread>
#include <utility>

namespace skua_test {

// A round's task, from outside. One that does not end within a minute is a failure, with a list of what everybody waits for.
inline void await_round(skua::runtime& rt, skua::join_handle<> h) {
  auto const limit = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (!h.done()) {
    if (std::chrono::steady_clock::now() > limit) {
      rt.dump(std::cout);
      stress_failed("a round ends", __FILE__, __LINE__);
    }
    std::this_thread::yield();
  }
  rt.block_on([](auto g) -> skua::task<> { co_await g; }, std::move(h));
}

// When every runtime has gone.
inline void check_nothing_is_left() {
  STRESS_CHECK(skua::detail::live_task_blocks() == 0);
  STRESS_CHECK(skua::detail::live_frames() == 0);
  STRESS_CHECK(skua::detail::attention_count.count == 0);
}

} // namespace skua_test
