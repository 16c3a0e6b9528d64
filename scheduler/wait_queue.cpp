// SPDX-License-Identifier: Apache-2.0
// The cold half of detail/waiter.hpp: waking many, and yielding when the budget is spent.
#include "scheduler/scheduler.hpp"
#include "scheduler/tuning.hpp"
#include "skua/detail/waiter.hpp"
#include <algorithm>
#include <cstdint>
#include <iterator>

namespace skua::detail {

namespace {

// On a worker of the waiters' runtime: into its deque, the newest first, so that the oldest is popped first.
void wake_here(waiter_ring& taken) noexcept {
  bool pushed = false;
  while (waiter_links* const w = taken.pop_back()) {
    scheduler& s = *static_cast<waiter*>(w)->owner;
    if (!complete(*w)) continue;   // INV-WAIT-3: only its address is used from here on, and it is scheduled by us
    item const x = item_of(*w, kind::woken);
    if (&s == tl.owner && tl.queue.try_reserve(1)) {
      tl.queue.push_reserved(x);
      pushed = true;
    } else {
      inject(s, &x, 1);
    }
  }
  if (pushed) notify_after_push();
}

// On any other thread: through the injection queue, in order, a batch at a time.
void wake_elsewhere(waiter_ring& taken) noexcept {
  item batch[32];
  std::size_t n = 0;
  scheduler* of = nullptr;
  while (waiter_links* const w = taken.pop_front()) {
    scheduler* const s = static_cast<waiter*>(w)->owner;
    if (!complete(*w)) continue;
    if (n == std::size(batch) || (n != 0 && s != of)) {
      inject(*of, batch, n);
      n = 0;
    }
    of = s;
    batch[n++] = item_of(*w, kind::woken);
  }
  if (n != 0) inject(*of, batch, n);
}

} // namespace

void wake_many(waiter_ring& taken) noexcept {
  if (static_cast<waiter*>(taken.front())->owner == tl.owner)
    wake_here(taken);
  else
    wake_elsewhere(taken);
}

std::coroutine_handle<> yield_completed(operation& op) noexcept {
  if (!tl.queue.try_reserve(1)) {   // no memory: fairness gives way
    tl.op_budget = tuning::operation_budget;
    return handle_of(op.frame);
  }
  tl.queue.push_reserved(item_of(op, kind::woken));   // from here on it may run elsewhere
  return let_others_run();
}

// A full budget of operations counts as several of the items that may follow each other without the loop: timers and injected work are not late.
std::coroutine_handle<> let_others_run() noexcept {
  constexpr std::uint32_t items = 8;   // a guess: about a thousand operations between two turns of the loop
  tl.op_budget = tuning::operation_budget;
  tl.run_budget -= std::min(tl.run_budget, items);
  if (tl.run_budget == 0) return std::noop_coroutine();
  if (item const x = tl.queue.lifo.take()) return next_or_loop(x);   // no other turn looks into it while a task yields again and again
  return next_or_loop(tl.queue.take_oldest());
}

} // namespace skua::detail
