// SPDX-License-Identifier: Apache-2.0
// stop_reason: why a stop was requested.
#pragma once
#include <string_view>

namespace skua {

enum class stop_reason : unsigned char {
  none,       // no stop was requested
  requested,  // request_stop() of a handle or a group, a std::stop_token
  dropped,    // the join_handle was dropped (S12)
  sibling,    // another branch of the same when_all, or another task of the same group, failed or was stopped, or another branch of when_any won
  timed_out,  // a timeout or deadline around it passed
  shutdown,   // the runtime is shutting down
  parent      // the task that its group belongs to was stopped
};

// A few words for people: "the runtime is shutting down".
constexpr std::string_view to_string(stop_reason r) noexcept {
  switch (r) {
  case stop_reason::none: return "not stopped";
  case stop_reason::requested: return "a stop was requested";
  case stop_reason::dropped: return "its handle was dropped";
  case stop_reason::sibling: return "a sibling failed or won";
  case stop_reason::timed_out: return "its time was up";
  case stop_reason::shutdown: return "the runtime is shutting down";
  case stop_reason::parent: return "the task around it was stopped";
  }
  return "?";
}

} // namespace skua
