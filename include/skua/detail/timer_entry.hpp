// SPDX-License-Identifier: Apache-2.0
// What a timer leaves in the frame that awaits it. No memory is ever allocated for a timer.
//
//     next, prev   its ring (scheduler/timer_ring.hpp).  prev == nullptr: in no ring: never armed, disarmed, or taken by an expirer
//                  next, while in no ring, belongs to whoever took the entry out (an expirer's chain)
//     deadline_ns  written when it is inserted, constant while it is linked
//     home         written by arm(): the queue (bits 6..63), and the kind that arm() was given (bits 0..5), which tells an expirer what the
//                  entry is a part of. Constant until it is armed again
//
// Size. 32 bytes: an operation has 32 as well and is aligned to 16, so both make one cache line, and an entry of 24 would not make the frame
// smaller. Rejected for that reason: an index of the queue in the upper bits of the deadline (nanoseconds since boot need 57 bits for
// four years) or of a pointer (not portable). The wheel alone needs 24: basic_wheel_entry.
//
// Templated on `Sync` so that the model test sees every access to these plain fields; in the runtime `var<T>` is T.
//
// Thread safety: the entry belongs to the queue's lock from arm() to the end of disarm() or fire: scheduler/timer_queue.hpp.
#pragma once
#include "sync.hpp"
#include <cstdint>

namespace skua::detail {

// No deadline. An entry armed with it stays until it is disarmed.
inline constexpr std::uint64_t timer_never_ns = ~std::uint64_t{0};

template <class Sync>
struct timer_link {
  template <class T>
  using var = typename Sync::template var<T>;

  var<timer_link*> next{};
  var<timer_link*> prev{};
};

template <class Sync>
struct basic_wheel_entry : timer_link<Sync> {
  typename Sync::template var<std::uint64_t> deadline_ns{};

  bool linked() const noexcept { return this->prev != nullptr; }
};

template <class Sync>
struct basic_timer_entry : basic_wheel_entry<Sync> {
  typename Sync::template var<std::uintptr_t> home{};

  static constexpr unsigned kinds = 64;   // a queue is aligned to a cache line
  unsigned kind() const noexcept { return static_cast<unsigned>(home & (kinds - 1)); }
};

using timer_entry = basic_timer_entry<real_sync>;
static_assert(sizeof(basic_wheel_entry<real_sync>) == 24 && sizeof(timer_entry) == 32);

} // namespace skua::detail
