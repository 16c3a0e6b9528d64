// SPDX-License-Identifier: Apache-2.0
// Timers, for operations that wait for a time. scheduler/timer_queue.hpp has the protocol, scheduler/timers.cpp the glue.
//
// What is armed is a timer_entry in the awaiting frame, in the queue of the worker that arms it. When it fires, its kind says what it is part of:
//     operation   a timer_operation: it is completed, and scheduled
//     timeout     of a timeout: timeout_fired(entry) is called
//
// Thread safety: on workers only, unless it says otherwise.
#pragma once
#include "operation.hpp"
#include "timer_entry.hpp"
#include <cstdint>

namespace skua::detail {

enum class timer_kind : unsigned { operation, timeout };

// An operation that waits for a time.
struct timer_operation : operation, timer_entry {
  explicit timer_operation(operation_kind const& k) noexcept : operation(k) {}
};
static_assert(sizeof(timer_operation) == 64);

// The clock of the runtime that this worker, or this blocking thread, belongs to; on any other thread the kernel's monotonic one.
std::uint64_t clock_now_ns() noexcept;

// A time that is not before now, and at most 2 us after it: for relative deadlines. Half the price of a clock (scheduler/tick_clock.hpp).
std::uint64_t deadline_base_ns() noexcept;

// The entry is free. Once it returns, the timer may have fired. A deadline that has passed fires at the next look at the clock.
void arm_timer(timer_operation& op, std::uint64_t deadline_ns) noexcept;
void arm_timeout(timer_entry& timer, std::uint64_t deadline_ns) noexcept;

// The entry was armed. True: nobody will touch it any more. False: it is firing; its owner must outlive that.
[[nodiscard("false: the timer is firing, and its frame must outlive that")]] bool disarm_timer(timer_entry& timer) noexcept;

// A timeout's time is up: called once, by whoever expires timers, which may be a thread that is no worker (timeout.cpp).
void timeout_fired(timer_entry& timer, stop_sink& sink) noexcept;

} // namespace skua::detail
