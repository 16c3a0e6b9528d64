// SPDX-License-Identifier: Apache-2.0
// Injected items: where their link lies, how a worker takes its share, and what happens when every worker is busy (INV-PRESS-1, scheduler.hpp).
#include "scheduler/scheduler.hpp"
#include "skua/detail/errand.hpp"
#include "skua/detail/join.hpp"
#include "skua/detail/task_header.hpp"

namespace skua::detail {

item& injected_link::next(item x) noexcept {
  void* const p = reinterpret_cast<void*>(x & ~kind::mask);
  switch (x & kind::mask) {
  case kind::woken:
  case kind::stopping: return static_cast<operation*>(p)->next;
  case kind::ended_scope: return static_cast<join_base*>(static_cast<core::scope*>(p))->link();
  case kind::spawned: return static_cast<task_header*>(p)->link;
  case kind::walk: return static_cast<branch_record*>(p)->link;
  case kind::errand: return static_cast<errand*>(p)->link;
  }
  SKUA_CHECK(false, "branches are never injected");
  return static_cast<operation*>(p)->next;
}

// This worker's share; the first of it is returned, the others are queued so that they run in order. Taken without regard to worth.
item scheduler::take_injected() noexcept {
  if (injected_.empty_hint()) return 0;
  item share[tuning::injection_share];
  std::size_t const room = tl.queue.try_reserve(tuning::injection_share - 1) ? tuning::injection_share : 1;
  injection_share const got = injected_.take(share, room, setup_.workers);
  if (got.count == 0) return 0;
  worker_counters::add(tl.counters.injected, got.count);
  item const x = adopt(share, got.count);
  if (got.count > 1) notify_after_push();
  if (got.more) press_if_waiting();
  return x;
}

void scheduler::press_if_waiting() noexcept {
  if (!pressed_.load(std::memory_order_seq_cst) && !injected_.looks_empty() && idle_->all_busy()) press();
}

void scheduler::press() noexcept {
  if (!pressed_.exchange(true, std::memory_order_seq_cst)) raise_attention();
}

bool scheduler::unpress() noexcept {
  if (!pressed_.exchange(false, std::memory_order_seq_cst)) return false;
  lower_attention();
  return true;
}

} // namespace skua::detail
