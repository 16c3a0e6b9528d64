// SPDX-License-Identifier: Apache-2.0
// Live schedulers by number: a task's header has no room for a pointer, and its number stays readable while its block is free.
//
// A handle may outlive its runtime, and may be used while another thread destroys it. So who comes from a number takes a *lease*:
//     leases[n]      how many threads use scheduler n.  +1 before the look at schedulers[n], -1 when done
//     schedulers[n]  the scheduler.  null -> s: announce().  s -> null: retire(), which then waits until there are no leases
// INV-LEASE-1  A scheduler that a lease has given out lives until the lease ends: the lease counts, then looks; retire() takes it away, then looks at
//              the count. seq_cst on all four.
// Numbers are given out in turn, so that one comes again only after all others: a handle that is kept for that long reports a failure to
// whatever runtime has the number by then.
#pragma once
#include "skua/detail/task_header.hpp"
#include <cstdint>

namespace skua::detail {

inline constexpr std::uint16_t most_schedulers = 4096;   // alive at a time; a guess

// A number of its own for a scheduler that is being made, from 1 on: a block that was never used says 0. Gives it back when it dies.
// Errors: usage_error, if there are too many runtimes.
class scheduler_number {
public:
  scheduler_number();
  ~scheduler_number();
  scheduler_number(scheduler_number const&) = delete;
  std::uint16_t value() const noexcept { return value_; }
  void announce(scheduler& s) noexcept;   // from here on leases find it
  void retire() noexcept;                 // no lease finds it any more, and none is left

private:
  std::uint16_t value_;
};

class scheduler_lease {
public:
  explicit scheduler_lease(std::uint16_t number) noexcept;
  ~scheduler_lease();
  scheduler_lease(scheduler_lease const&) = delete;
  scheduler* get() const noexcept { return scheduler_; }   // null: it is gone

private:
  std::uint16_t const number_;
  scheduler* scheduler_;
};

} // namespace skua::detail
