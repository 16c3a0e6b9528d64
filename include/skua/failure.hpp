// SPDX-License-Identifier: Apache-2.0
// failure: what the failure handler is told of an exception that nobody awaits (S23).
#pragma once
#include "detail/compiler.hpp"
#include <cstdint>
#include <exception>
#include <source_location>
#include <string_view>

namespace skua {

// Where an exception was left over.
enum class failure_kind : unsigned char {
  task,        // of a detached task, or of one whose handle was dropped, or of a group with on_error::report: nobody ever hears of it
  blocking,    // of blocking work that was abandoned: nor of this
  when_all,    // a later failure of a when_all (for_each_concurrent ..), behind the one that was rethrown (S8)
  when_any,    // of a loser of a when_any: another branch came to a value (S9)
  task_group,  // of a task group, behind the one that was rethrown (there was no memory for task_group_error)
  stopped      // of a branch of a scope that was stopped from outside, and ended so
};
// In words: "failed and nobody awaited it", "a later failure of a when_all, behind the one that was rethrown" ..
char const* to_string(failure_kind k) noexcept;
// Did the program hear of an outcome all the same? Then it is a matter of logging: terminate_on_unhandled_failure does not apply to it.
constexpr bool is_secondary(failure_kind k) noexcept { return k >= failure_kind::when_all; }

// An exception that reached nobody.
//
// Lifetime: `error` may be kept; the text of `task_name` is valid until the handler returns.
struct failure {
  std::exception_ptr error;
  std::string_view task_name;         // as given by spawn(named(..), ..); empty if none was
  std::source_location spawned_at;    // where spawn was called; a branch's: of the task that it is a part of
  std::uint64_t task_id = 0;          // a branch's: of that task; 0: no task (abandoned blocking work)
  failure_kind kind = failure_kind::task;
};

} // namespace skua
