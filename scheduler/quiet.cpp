// SPDX-License-Identifier: Apache-2.0
// quiet_bell.hpp, bound to the workers.
#include "scheduler/scheduler.hpp"

namespace skua::detail {

bool scheduler::quiescent() const noexcept {
  // Not before all workers have entered: no item has run, and `counters` is being written.
  if (!entered_->try_wait()) return outside_spawned_.load(std::memory_order_acquire) == 0;
  auto const each = [this](auto f) {
    for (auto const& w : workers_) f(*w->counters);
  };
  return decltype(bell_)::quiescent(each, outside_spawned_);
}

void scheduler::listen(quiet_listener& l) noexcept {
  bell_.listen(l, [] { raise_attention(); }, told_reliably());   // no pointer to it: GCC below -O2 cannot inline that, and it must be inlined
}

void scheduler::ignore(quiet_listener& l) noexcept {
  lower_attention();
  bell_.ignore(l);
}

bool scheduler::told_reliably() noexcept {
  static bool const once = register_heavy_barrier();
  return once;
}

void scheduler::look_if_quiet() noexcept {
  bell_.look([this] { return quiescent(); });
}

} // namespace skua::detail
