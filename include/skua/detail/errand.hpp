// SPDX-License-Identifier: Apache-2.0
// A piece of work that a thread which must not do it itself leaves to a worker: a stop request from outside does nothing but that (S2, S6).
#pragma once
#include "worker.hpp"

namespace skua::detail {

// Lies in a join, which it keeps from ending while it is queued: it counts as one of its parties.
struct alignas(16) errand {
  using function = void (*)(errand&) noexcept;
  explicit errand(function f) noexcept : run(f) {}
  errand(errand const&) = delete;
  function run;    // on a worker, once for every time that it is queued; may be gone when it returns
  item link = 0;   // in the injection queue
  item as_item() noexcept { return reinterpret_cast<item>(this) | kind::errand; }
};

} // namespace skua::detail
