// SPDX-License-Identifier: Apache-2.0
// What the ends of a broadcast share, bound to the runtime: broadcast_core.hpp has the protocol.
//
// Lifetime: a state lives as long as a handle: a sender, or a subscription. The last sender closes.
#pragma once
#include "broadcast_core.hpp"
#include "handle_counts.hpp"
#include "shared_cell.hpp"
#include "waiter.hpp"
#include <cstddef>
#include <utility>

namespace skua::detail {

using subscription = basic_subscription<real_sync>;

template <class T>
struct broadcast_receiving : waiter, broadcast_received<real_sync, shared_cell<T>> {
  broadcast_receiving(operation_kind const& k, subscription* s) noexcept : waiter(k), broadcast_received<real_sync, shared_cell<T>>{s} {}
};
template <class T>
struct broadcast_sending : waiter, broadcast_sent<shared_cell<T>> {
  broadcast_sending(operation_kind const& k, shared_cell<T>&& v) noexcept : waiter(k), broadcast_sent<shared_cell<T>>{std::move(v)} {}
};
template <class T>
struct broadcast_ends {
  static broadcast_receiving<T>& receiver(waiter_links& w) noexcept { return static_cast<broadcast_receiving<T>&>(static_cast<waiter&>(w)); }
  static broadcast_sending<T>& sender(waiter_links& w) noexcept { return static_cast<broadcast_sending<T>&>(static_cast<waiter&>(w)); }
};

template <class T>
struct broadcast_state {
  broadcast_core<runtime_waiting, shared_cell<T>, broadcast_ends<T>> core;
  handle_counts<real_sync> handles;

  broadcast_state(std::size_t capacity, slow_receiver how) : core(capacity, how) {}
  void close() noexcept {
    waiter_ring woken;
    core.close(woken);
    wake(std::move(woken));
  }
  void unsubscribe(subscription& s) noexcept {
    core.unsubscribe(s, [](waiter_ring&& woken) { wake(std::move(woken)); });
  }
  void drop_sender() noexcept {
    if (handles.drop_sender()) close();
    drop();
  }
  void drop() noexcept {
    if (handles.drop()) delete this;
  }
};

} // namespace skua::detail
