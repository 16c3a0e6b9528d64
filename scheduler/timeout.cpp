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
  auto& t = static_cast<timeout_join&>(entry);
  special_join& j = *t.join;
  raise_attention();   // before the bit, as in request_stop()
  std::uintptr_t const h = core::request(j, sink, core::head_won);
  if (h & core::head_stop)
    lower_attention();
  else
    j.head.fetch_or(core::head_counted, std::memory_order_relaxed);   // ordered before the join's end by arrive()
  if (t.parties.arrive()) settle_elsewhere(j, sink);   // INV-TIMEOUT-1: the branch has ended and left the parent to us
}

} // namespace skua::detail
