// SPDX-License-Identifier: Apache-2.0
// The tasks of a runtime: for shutdown and inspection. detail/task_header.hpp has INV-TASK-1 to 3.
#pragma once
#include "skua/detail/frame_pool.hpp"
#include "skua/detail/task_header.hpp"
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace skua::detail {

// Calls f(task_header&) for every task of the runtime that has not ended, while no block changes its owner, and none that f is given is freed
// (INV-TASK-3). f must not allocate or free tasks.
template <class F>
void for_each_task(std::uint16_t owner, F f) {
  for_each_task_block([&](void* block, std::size_t) {
    auto& h = *static_cast<task_header*>(block);
    if (h.state.ended()) return;
    // acquire: pairs with init_header(). Never 0: a block that was never used says 0, and `running`.
    if (h.owner_index.load(std::memory_order_acquire) == owner) f(h);
  });
}

} // namespace skua::detail
