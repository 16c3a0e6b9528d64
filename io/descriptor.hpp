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
// registered   serial number of the driver in whose set it is, << 2 | the directions it is registered for. Written under `lock`; read by anybody who
//              holds a claim: what it says about the own direction cannot change meanwhile. A descriptor may move to the set of another runtime while
//              the other direction is idle.
//
// Thread safety: any thread.
#pragma once
#include "io/descriptor_core.hpp"
#include "scheduler/driver.hpp"
#include "skua/detail/spin_lock.hpp"
#include "skua/detail/sync.hpp"
#include <atomic>
#include <cstdint>

namespace skua::detail {

class epoll_driver;

struct alignas(64) descriptor : descriptor_core<real_sync> {
  int number = -1;
  std::uint32_t index = 0;                  // in the table; constant
  std::atomic<std::uint64_t> registered{0};
  spin_lock<> lock;                         // of registration
  descriptor* next_free = nullptr;

  std::uint64_t epoll_data() const noexcept { return std::uint64_t{index} << 32 | generation(); }
};
static_assert(sizeof(descriptor) == 64);

// Takes over `number`. Throws bad_alloc; then the number is closed.
descriptor& open_descriptor(int number);

// The number is closed as soon as nobody uses it. Whoever waits is completed with operation_canceled.
void close_descriptor(descriptor& d) noexcept;

// Nobody uses it: gives the number back, and forgets the descriptor. False: somebody does; nothing has changed.
[[nodiscard]] bool release_descriptor(descriptor& d, int& number) noexcept;

// A claim was given back, and finish() said so.
void close_number(descriptor& d) noexcept;

struct registration {
  int error;      // 0, an errno, or an io_error (io_operation.hpp)
  bool renewed;   // the descriptor has moved to another epoll set: what was known of it is void, the caller tries again
};
// By the holder of direction `dir`, on a worker, before wait(): events of this direction will be delivered to the worker's runtime.
registration register_descriptor(descriptor& d, direction dir) noexcept;

// The epoll driver of a runtime; null if it has another one. Implemented where the runtime is put together.
epoll_driver* descriptors_of(scheduler& s) noexcept;

// By whoever harvests: `events` as epoll has them. Completes operations into `out`, at most two.
void deliver_event(std::uint64_t epoll_data, std::uint32_t events, ready_list& out) noexcept;

// Numbers that are open, of the whole process: for tests and metrics.
std::uint64_t open_descriptors() noexcept;

} // namespace skua::detail
