// SPDX-License-Identifier: Apache-2.0
// A descriptor of our own: its number, its word (descriptor_core.hpp) and which epoll set knows it.
//
// Lifecycle: open_descriptor() gives a number a descriptor; it is registered with the epoll set of the runtime that first *waits* on it (a connection whose
// data is always there is never registered), for reading or for writing, edge-triggered, and stays so until it is closed. close_descriptor() cancels who
// waits; the number goes back to the kernel when the last claim has been given back.
//
// The memory is type-stable and never unmapped: a late event finds a descriptor, looks at its generation, and drops. An event names its descriptor by
// index and generation (`epoll_data`), so it needs no pointer.
//
// registered   serial number of the driver in whose set it was put last, << 2 | the directions it is in that set for. Written under `lock`; read by anybody
//              who holds a claim. A descriptor may be waited for in several runtimes, one after the other or one for each direction: it is in the sets
//              of all of them then, and an operation goes back to its own runtime, whoever harvests its event. A set that is told of it again is told of
//              both directions if the other one is in use: that one may be waiting in it. A user claims, then looks here whether it has to tell the set;
//              another runtime writes here what it tells its own, and then one that tells the set again looks for claims. seq_cst on all of it: one of the
//              two sees the other (Dekker's algorithm).
//
// Thread safety: any thread.
#pragma once
#include "io/descriptor_core.hpp"
#include "scheduler/driver.hpp"
#include "skua/detail/socket_handle.hpp"
#include "skua/detail/spin_lock.hpp"
#include "skua/detail/sync.hpp"
#include <atomic>
#include <cstdint>

namespace skua::detail {

class epoll_driver;

struct alignas(cache_line) descriptor : descriptor_core<real_sync> {
  int number = -1;
  std::uint32_t index = 0;                  // in the table; constant
  short_transfer short_one = short_transfer::means_nothing;   // as `number`: constant while it is open
  std::atomic<std::uint64_t> registered{0};
  spin_lock<> lock;                         // of registration
  descriptor* next_free = nullptr;

  std::uint64_t epoll_data() const noexcept { return std::uint64_t{index} << 32 | generation(); }
};
static_assert(sizeof(descriptor) == 64);

// open_descriptor() takes over a number; throws bad_alloc, then the number is closed. adopt_descriptor(): then it stays the caller's.
// close_descriptor(): the number is closed as soon as nobody uses it. Whoever waits is completed with operation_canceled.
// (skua/detail/socket_handle.hpp declares them.)

// Nobody uses it: gives the number out, and forgets the descriptor. -1: somebody does; nothing has changed.
[[nodiscard]] int release_descriptor(descriptor& d) noexcept;

// From now on reads give what has arrived, then the end of the stream; who waits in one goes on. Nothing if it was closed, whatever lives there now.
void shut_for_reading(descriptor& d, std::uint32_t generation) noexcept;
bool is_shut_for_reading(descriptor const& d, std::uint32_t generation) noexcept;

// A claim was given back, and finish() said so.
void close_number(descriptor& d) noexcept;

// The epoll driver of the runtime that this worker belongs to, `s`; null if it has another one. Implemented where the runtime is put together.
epoll_driver* descriptors_of(scheduler& s) noexcept;

// By the holder of direction `dir`, on a worker, before wait(): events of this direction will be delivered to `by`. 0, or an errno.
int register_descriptor(epoll_driver& by, descriptor& d, direction dir) noexcept;

// By whoever harvests for `by`: `events` as epoll has them. Completes operations into `out`, at most two.
void deliver_event(epoll_driver const& by, std::uint64_t epoll_data, std::uint32_t events, ready_list& out) noexcept;

// Numbers that are open, of the whole process: for tests and metrics.
std::uint64_t open_descriptors() noexcept;

} // namespace skua::detail
