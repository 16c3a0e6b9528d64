// SPDX-License-Identifier: Apache-2.0
// What a task can ask about itself, and the errors of calls from the wrong place.
#include "skua/this_task.hpp"
#include "skua/detail/join.hpp"
#include "skua/detail/task_header.hpp"
#include "skua/error.hpp"
#include "skua/spawn.hpp"
#include "skua/stop_token.hpp"
#include "skua/timeout.hpp"
#include <string>

namespace skua {

char const* task_stopped::what() const noexcept {
  switch (reason_) {
  case stop_reason::none: break;
  case stop_reason::requested: return "skua: the awaited task was stopped: a stop was requested";
  case stop_reason::dropped: return "skua: the awaited task was stopped: its handle was dropped";
  case stop_reason::sibling: return "skua: the awaited task was stopped: a sibling failed or won";
  case stop_reason::timed_out: return "skua: the awaited task was stopped: its time was up";
  case stop_reason::shutdown: return "skua: the awaited task was stopped: the runtime is shutting down";
  case stop_reason::parent: return "skua: the awaited task was stopped: the task around it was stopped";
  }
  return "skua: the awaited task was stopped";
}

namespace this_task {

std::uint64_t id() noexcept {
  detail::task_header const* const t = detail::current_task();
  return t != nullptr ? t->id : 0;
}

std::string_view name() noexcept {
  detail::task_header const* const t = detail::current_task();
  return t != nullptr ? t->name() : "";
}

skua::stop_reason stop_reason() {
  using namespace detail;
  if (!stop_requested()) return skua::stop_reason::none;
  // From the inside out, as long as the word above is stopped as well: the outermost stop is the cause of those within.
  promise_base* b = tl.current;
  for (;;) {
    std::uintptr_t const up = up_of(*b);
    if ((up & tag::mask) == tag::root) return header_at(up).reason.load(std::memory_order_acquire);
    join_base& j = join_at(record_at(up)->up);
    std::uintptr_t const h = j.head.load(std::memory_order_acquire);
    branch_word* const above = h & core::head_shield ? nullptr : word_if_any(up_of(*j.parent_branch));
    if (above == nullptr || !above->stop_requested()) {
      if ((h & core::head_special) && (h & core::head_won) && !(h & core::head_failed)) {
        auto const decide = static_cast<special_join&>(j).decide;
        if (decide == timeout_decides) return skua::stop_reason::timed_out;
        if (decide == token_decides || decide == group_decides) return skua::stop_reason::requested;
      }
      return skua::stop_reason::sibling;
    }
    b = j.parent_branch;
  }
}

} // namespace this_task

namespace detail {

void join_misused(join_misuse what) {
  throw usage_error(what == join_misuse::empty ? "skua: this join_handle is empty: it was moved from, or detached"
                    : what == join_misuse::awaited_by_another
                        ? "skua: this join_handle's task is being awaited by somebody else"
                        : "skua: this join_handle's task was joined before and has given its result; in a loop of selects: on(handle, f).only_if(not yet)");
}

void not_in_runtime(char const* what) {
  throw usage_error(std::string("skua: ") + what + " was called outside the runtime; use runtime::" + what + " there");
}

} // namespace detail

} // namespace skua
