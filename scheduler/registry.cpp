// SPDX-License-Identifier: Apache-2.0
#include "scheduler/registry.hpp"
#include "skua/error.hpp"
#include <array>
#include <atomic>
#include <mutex>

namespace skua::detail {

namespace {
std::array<std::atomic<scheduler*>, most_schedulers> schedulers{};
std::array<bool, most_schedulers> taken{};   // under the lock
std::mutex numbering;
} // namespace

scheduler_number::scheduler_number() : value_(0) {
  std::lock_guard g(numbering);
  for (std::uint16_t i = 1; i < most_schedulers; ++i)
    if (!taken[i]) {
      taken[i] = true;
      value_ = i;
      return;
    }
  throw usage_error("skua: too many runtimes are alive");
}

scheduler_number::~scheduler_number() {
  std::lock_guard g(numbering);
  schedulers[value_].store(nullptr, std::memory_order_release);
  taken[value_] = false;
}

// release: pairs with scheduler_at(): the scheduler itself.
void scheduler_number::announce(scheduler& s) noexcept { schedulers[value_].store(&s, std::memory_order_release); }

scheduler* scheduler_at(std::uint16_t index) noexcept { return schedulers[index].load(std::memory_order_acquire); }

} // namespace skua::detail
