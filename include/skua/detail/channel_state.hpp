// SPDX-License-Identifier: Apache-2.0
// What the ends of a channel share, bound to the runtime: channel_core.hpp has the protocol.
//
// Elements are moved under the lock, so T's move constructor must not use the channel; it cannot throw (channel_cell).
#pragma once
#include "channel_buffer.hpp"
#include "channel_core.hpp"
#include "task_header.hpp"
#include "waiter.hpp"
#include <type_traits>

namespace skua::detail {

struct select_operation;
[[nodiscard]] bool claim_select(select_operation& s, unsigned branch) noexcept;   // select.hpp
operation& operation_of(select_operation& s, scheduler*& owner) noexcept;

struct channel_waiting;
using channel_base = channel_base_of<channel_waiting>;
template <class Buffer>
using channel_state = channel_core<channel_waiting, Buffer>;
using taken_waiter = basic_taken_waiter<channel_waiting>;

// Somebody who waits at a channel: a send, a recv, or a branch of a select.
struct channel_waiter : waiter {
  channel_base* channel;
  void* slot;   // receiving<V>* or sending<V>*
  select_operation* select = nullptr;
  unsigned branch = 0;   // its number in the select
  channel_waiter(operation_kind const& k, channel_base* c, void* s) noexcept : waiter(k), channel(c), slot(s) {}
};
static_assert(std::is_trivially_destructible_v<channel_waiter>);

struct channel_waiting : runtime_waiting {
  static constexpr unsigned closes_at_once = 32;   // so that nobody waits long for the lock; a guess
  SKUA_INLINE static channel_waiter& of(links& w) noexcept { return static_cast<channel_waiter&>(static_cast<waiter&>(w)); }
  SKUA_INLINE static void* slot(links& w) noexcept { return of(w).slot; }
  static bool may_take(links& w) noexcept { return of(w).select == nullptr || claim_select(*of(w).select, of(w).branch); }
  static void wake(links& w) noexcept {
    if (of(w).select == nullptr) [[likely]] return detail::wake(w);
    scheduler* owner;
    operation& op = operation_of(*of(w).select, owner);
    complete_and_schedule(*owner, op);
  }
  static void free(channel_base& c) noexcept;
};
inline void channel_waiting::free(channel_base& c) noexcept { delete &c; }
extern template class channel_base_of<channel_waiting>;   // scheduler/channel.cpp

} // namespace skua::detail
