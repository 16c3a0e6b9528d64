// SPDX-License-Identifier: Apache-2.0
// failure: what the failure handler is told of an exception that nobody awaits (S23).
#pragma once
#include <cstdint>
#include <exception>
#include <source_location>
#include <string_view>

namespace skua {

// An exception that reached nobody: of a detached task, of a task whose handle was dropped, of a further branch of a when_all that had
// failed already (S8), of abandoned blocking work.
//
// Lifetime: `error` may be kept; the text of `task_name` is valid until the handler returns.
struct failure {
  std::exception_ptr error;
  std::string_view task_name;         // as given by spawn(named(..), ..); empty if none was
  std::source_location spawned_at;    // where spawn was called; of the failed branch's task
  std::uint64_t task_id = 0;          // 0: no task (abandoned blocking work)
};

} // namespace skua
