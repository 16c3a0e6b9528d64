// SPDX-License-Identifier: Apache-2.0
// The cold half of timeouts: the timer fires, the last party goes on, who caused the stop. skua/timeout.hpp has the protocol.
#include "skua/timeout.hpp"
#include "scheduler/scheduler.hpp"
#include "skua/detail/join.hpp"
#include <cstddef>

namespace skua::detail {

bool timeout_arrived(special_join&, timeout_join& t) noexcept {
  // The disarming was refused: the timer fires. acq_rel: what the timer did happens before the parent goes on.
  return t.parties.fetch_sub(1, std::memory_order_acq_rel) == 1;
}

verdict timeout_decides(special_join& j, bool from_outside) noexcept {
  std::uintptr_t const h = j.head.load(std::memory_order_relaxed);
  if ((h & core::head_failed) || j.lost == 0) return verdict::resume;   // an error or a value that is there
  if (from_outside) return verdict::unwind;
  return h & core::head_won ? verdict::resume : verdict::unwind;        // resumes to throw timeout_error
}

void timeout_fired(timer_entry& entry, stop_sink& sink) noexcept {
  auto& t = *reinterpret_cast<timeout_join*>(reinterpret_cast<char*>(&entry) - offsetof(timeout_join, timer));
  special_join& j = *t.join;
  raise_attention();   // before the bit, as in request_stop()
  std::uintptr_t const h = core::request(j, sink, core::head_won);
  if (h & core::head_stop)
    lower_attention();
  else
    j.head.fetch_or(core::head_counted, std::memory_order_relaxed);   // ordered before the join's end by `parties`
  // 1: the branch has arrived before us and left the parent to us.
  if (t.parties.fetch_sub(1, std::memory_order_acq_rel) == 1) settle_elsewhere(j, sink);
}

} // namespace skua::detail
