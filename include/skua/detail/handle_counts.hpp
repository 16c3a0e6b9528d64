// SPDX-License-Identifier: Apache-2.0
// Who holds a shared state of several ends: handles, and among them senders. tests/model/watch_model.cpp and
// broadcast_model.cpp check this code.
//
// INV-HANDLE-1  A sender is a handle as well, and drops the sender first: so whoever closes for the last sender still holds the state.
// INV-HANDLE-2  Whoever drops the last handle frees the state, and sees what was done through all the others.
//
// Thread safety: all members from any thread; each by somebody who has a handle.
#pragma once
#include "config.hpp"
#include <atomic>
#include <cstdint>

namespace skua::detail {

template <class Sync>
class handle_counts {
public:
  // relaxed: who copies has one.
  void add() noexcept { handles_.fetch_add(1, std::memory_order_relaxed); }
  void add_sender() noexcept {
    add();
    senders_.fetch_add(1, std::memory_order_relaxed);
  }
  // acq_rel, here and below: each pairs with those before it. True: it was the last sender; the caller closes. It drops its handle as well.
  [[nodiscard]] bool drop_sender() noexcept { return senders_.fetch_sub(1, std::memory_order_acq_rel) == 1; }
  // True: it was the last one; the caller frees the state.
  [[nodiscard]] bool drop() noexcept { return handles_.fetch_sub(1, std::memory_order_acq_rel) == 1; }

private:
  typename Sync::template atomic<std::uint32_t> handles_{0}, senders_{0};
};

} // namespace skua::detail
