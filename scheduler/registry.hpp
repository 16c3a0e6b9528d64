// SPDX-License-Identifier: Apache-2.0
// Live schedulers by number: a task's header has no room for a pointer, and its number stays readable while its block is free.
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
  void announce(scheduler& s) noexcept;   // from here on scheduler_at() finds it

private:
  std::uint16_t value_;
};

} // namespace skua::detail
