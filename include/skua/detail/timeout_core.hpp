// SPDX-License-Identifier: Apache-2.0
// The arithmetic of a timeout, and what it decides; skua/timeout.hpp has the protocol, tests/model/timeout_model.cpp checks this code.
//
//   left   2: the branch and the timer. The branch arrives only if its disarming was refused; the timer when it has fired. If the timer was
//          disarmed, the branch goes on by itself and `left` stays 2.
// INV-TIMEOUT-1  Exactly one party goes on with the parent: the branch that disarmed the timer, or the one that arrives last; and it is the
//                last to touch the join. The RMW is acq_rel: release: what this party did; acquire: what the other one did.
#pragma once
#include "stop_core.hpp"
#include <atomic>

namespace skua::detail {

template <class Sync>
class timeout_parties {
public:
  // True: the other one has arrived before.
  [[nodiscard]] bool arrive() noexcept { return left_.fetch_sub(1, std::memory_order_acq_rel) == 1; }

private:
  typename Sync::template atomic<int> left_{2};
};

enum class timeout_outcome : unsigned char { result, timed_out, stopped };

// S10, when the scope has left its parent. `lost`: the branch came to no value. `from_outside`: a stop had reached the parent by then.
template <class Core>
[[nodiscard]] timeout_outcome decide_timeout(typename Core::word head, bool lost, bool from_outside) noexcept {
  if ((head & Core::head_failed) || !lost) return timeout_outcome::result;   // an error or a value that is there
  return from_outside ? timeout_outcome::stopped : timeout_outcome::timed_out;   // nobody else can have stopped it
}

} // namespace skua::detail
