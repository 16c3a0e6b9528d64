// SPDX-License-Identifier: Apache-2.0
// How many outside_work objects a runtime has. They may outlive it, so the count is shared.
//
//     held     +1 by whoever makes one, -1 at its end, under the lock, which then tells the driver
//     driver_  null when the runtime is gone
// INV-OUTSIDE-1  The driver lives while it is told: the runtime takes it away under the lock.
#pragma once
#include "scheduler/driver.hpp"
#include <atomic>
#include <cstdint>
#include <mutex>

namespace skua::detail {

struct outside_count {
  explicit outside_count(driver& d) noexcept : driver_(&d) {}

  void begin() noexcept { held.fetch_add(1, std::memory_order_relaxed); }   // relaxed: a worker that makes one is awake; a thread outside races with the jump
  void end() noexcept {
    std::lock_guard const guard(mutex_);
    // release: what was made runnable before; pairs with the look of at_rest().
    if (held.fetch_sub(1, std::memory_order_release) == 1 && driver_ != nullptr) driver_->note_rest();
  }
  void runtime_ends() noexcept {
    std::lock_guard const guard(mutex_);
    driver_ = nullptr;
  }

  std::atomic<std::uint64_t> held{0};

private:
  std::mutex mutex_;
  driver* driver_;
};

} // namespace skua::detail
