// SPDX-License-Identifier: Apache-2.0
// What the running branch inherits: deadlines and task-local values, looked up in the joins around it.
//
// The joins above a running branch cannot end or change while it runs: each waits for it, directly or through a task of its group. So plain reads do, but for
// a promise's `up`, which a sibling below may redirect to a record meanwhile (up_of).
#include "skua/deadline.hpp"
#include "skua/detail/group_state.hpp"
#include "skua/detail/task_header.hpp"
#include "skua/task_local.hpp"
#include <algorithm>

namespace skua::detail {

namespace {

// Calls f(special_join&) for every special join around the running branch, from the inside out, until it says false.
template <class F>
void for_each_scope(F f) {
  promise_base* b = tl.current;
  while (b != nullptr) {
    std::uintptr_t up = up_of(*b);
    if ((up & tag::mask) == tag::observed) up = record_at(up)->up;
    join_base* j;
    if ((up & tag::mask) == tag::root) {
      task_header& h = header_at(up);
      if (h.kind->scope == nullptr) return;
      j = h.kind->scope(&h);   // the task of a group
    } else {
      j = &join_at(up);
    }
    if ((j->head.load(std::memory_order_relaxed) & core::head_special) && !f(static_cast<special_join&>(*j))) return;
    b = j->parent_branch;
  }
}

} // namespace

std::uint64_t enclosing_deadline_ns() noexcept {
  std::uint64_t earliest = timer_never_ns;
  for_each_scope([&](special_join& j) {
    if (j.decide == timeout_decides) earliest = std::min<std::uint64_t>(earliest, static_cast<timeout_join&>(j).deadline_ns);
    return (j.head.load(std::memory_order_relaxed) & core::head_shield) == 0;   // S15
  });
  return earliest;
}

verdict local_decides(special_join& j, bool) noexcept { return any_failed(j) || j.lost == 0 ? verdict::resume : verdict::unwind; }

void const* find_local(void const* key) noexcept {
  void const* found = nullptr;
  for_each_scope([&](special_join& j) {
    if (j.decide != local_decides || static_cast<local_join&>(j).key != key) return true;
    found = static_cast<local_join&>(j).value;
    return false;
  });
  return found;
}

} // namespace skua::detail
