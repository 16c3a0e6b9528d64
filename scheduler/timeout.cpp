// SPDX-License-Identifier: Apache-2.0
// The cold half of timeouts: the timer fires, the last party goes on, who caused the stop. skua/timeout.hpp has the protocol.
#include "skua/timeout.hpp"
#include "scheduler/scheduler.hpp"
#include "skua/detail/join.hpp"

namespace skua::detail {

verdict timeout_decides(special_join& j, bool from_outside) noexcept {
  std::uintptr_t const h = j.head.load(std::memory_order_relaxed);
  return decide_timeout<core>(h, j.lost != 0, from_outside) == timeout_outcome::stopped ? verdict::unwind : verdict::resume;
}

void timeout_fired(timer_entry& entry, stop_sink& sink) noexcept {
  auto& j = static_cast<timeout_join&>(entry);
  request_by_party(j, sink, core::head_won);
  if (j.parties.arrive()) settle_elsewhere(j, sink);   // INV-TIMEOUT-1: the branch has ended and left the parent to us
}

} // namespace skua::detail
