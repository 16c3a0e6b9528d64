// SPDX-License-Identifier: Apache-2.0
// The last stop of a failure that nobody awaits (S23): never silent, never throws.
#pragma once
#include "skua/detail/failure_report.hpp"
#include "skua/options.hpp"
#include <string>

namespace skua::detail {

// What an exception says of itself: what(), nested ones behind ": caused by". Never throws; shortened if there is no memory.
std::string describe(std::exception_ptr const& error) noexcept;

// What the handler is told of a report.
failure to_failure(failure_report const& r) noexcept;

// Any thread. Calls the handler of `o`, or prints; terminates if `o` says so.
void deliver_failure(options const& o, failure const& f) noexcept;

} // namespace skua::detail
