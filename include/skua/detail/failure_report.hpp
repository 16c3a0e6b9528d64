// SPDX-License-Identifier: Apache-2.0
// A failure on its way from the task that had it to the failure handler.
#pragma once
#include "../failure.hpp"
#include <exception>

namespace skua::detail {

struct task_header;

struct failure_report {
  std::exception_ptr error;
  task_header const* task;   // valid during the call; null: no task's (abandoned blocking work)
  failure_kind kind;
};

} // namespace skua::detail
