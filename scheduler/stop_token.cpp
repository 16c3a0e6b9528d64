// SPDX-License-Identifier: Apache-2.0
// The cold half of stop_on(): a std::stop_token stops a branch. skua/stop_token.hpp has the protocol.
#include "skua/stop_token.hpp"
#include "scheduler/scheduler.hpp"

namespace skua::detail {

verdict token_decides(special_join& j, bool from_outside) noexcept {
  std::uintptr_t const h = j.head.load(std::memory_order_relaxed);
  return decide_timeout<core>(h, j.lost != 0, from_outside) == timeout_outcome::stopped ? verdict::unwind : verdict::resume;
}

void token_join::token_requested() noexcept {
  state_t expected = idle;
  if (!state.compare_exchange_strong(expected, called, std::memory_order_acq_rel)) return;
  if (tl.owner == owner) return run_stopper(stop_branch);   // a worker of ours: at once, so that who asked finds it done
  stop_sink sink(*owner);
  sink.do_errand(stop_branch);   // counted: the branch's end waits for arrive()
}

void token_join::run_stopper(errand& e) noexcept {
  token_join& j = *static_cast<stopper&>(e).join;
  stop_sink sink(*tl.owner);
  request_by_party(j, sink, core::head_won);
  if (j.parties.arrive()) settle_elsewhere(j, sink);   // INV-TIMEOUT-1
}

bool token_join::branch_arrived(special_join& j) noexcept {
  auto& self = static_cast<token_join&>(j);
  state_t expected = idle;
  // acq_rel: as disarming a timer: whoever comes second sees what the other has done.
  return self.state.compare_exchange_strong(expected, closed, std::memory_order_acq_rel) || self.parties.arrive();
}

} // namespace skua::detail
