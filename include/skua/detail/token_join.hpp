// SPDX-License-Identifier: Apache-2.0
// The arithmetic of a token join; join.hpp has the protocol, tests/model/join_model.cpp checks this code.
//
//   left   plain; branches that have not ended at home. Touched by the token's holder only (INV-JOIN-1).
//   away   atomic; starts at 0, -1 for each away branch that ends, +left once, when the token is surrendered. Whoever brings it to 0
//          together with the surrender done is the last (INV-JOIN-2). Both RMWs are acq_rel: release publishes this branch's result,
//          acquire takes the others' for whoever goes on with the parent.
#pragma once
#include <atomic>
#include <cstdint>

namespace skua::detail {

template <class Sync>
struct alignas(8) token_count {
  template <class T>
  using var = typename Sync::template var<T>;

  var<std::uint32_t> left;
  typename Sync::template atomic<std::int32_t> away;

  void start(std::uint32_t branches) noexcept {
    left = branches;
    away.store(0, std::memory_order_relaxed);   // published with the branches, by the deque
  }
  // The token's branch has ended. True: it was the last of all.
  [[nodiscard]] bool end_home() noexcept {
    left = left - 1;
    return left == 0;
  }
  // The token's holder found no sibling. True: all others have ended as well.
  [[nodiscard]] bool surrender() noexcept {
    std::int32_t const outstanding = static_cast<std::int32_t>(static_cast<std::uint32_t>(left));
    return away.fetch_add(outstanding, std::memory_order_acq_rel) == -outstanding;
  }
  // An away branch has ended. True: it was the last of all.
  [[nodiscard]] bool end_away() noexcept { return away.fetch_sub(1, std::memory_order_acq_rel) == 1; }
};

} // namespace skua::detail
