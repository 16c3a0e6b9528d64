// SPDX-License-Identifier: Apache-2.0
// The worker loop: what runs next.
//
//     a turn    one item, and what follows it without the loop (next_local()): at most `run_budget` more
//     usually   LIFO slot, deque, injection queue, others' work, sleep
//     fair      after a turn that used up its budget, and every 61st: timers that are due, then in turn the injection queue and this worker's
//               oldest item. So nothing waits behind a pair of tasks that wake each other, and local work does not starve injected work
//     pressed   S21: as fair, at once
#include "scheduler/scheduler.hpp"

namespace skua::detail {

void scheduler::run_worker() noexcept {
  worker& w = self();
  while (!stopping_.load(std::memory_order_relaxed)) {   // seen late: another turn
    item x = next_item(w);
    if (x == 0) {
      x = find_work(w);
      if (x == 0) break;   // stopping
    }
    worker_counters::add(tl.counters.polls);
    note_progress();
    tl.run_budget = tuning::run_budget;
    tl.op_budget = tuning::operation_budget;
    execute(x);
  }
  settle_batch();
}

item scheduler::next_item(worker& w) noexcept {
  ++w.turn;
  if (attention()) [[unlikely]]
    if (item const x = pressed_turn(w)) return x;
  if (tl.run_budget == 0 || w.turn % tuning::run_budget == 0) [[unlikely]]
    if (item const x = fair_turn(w)) return x;
  if (item const x = own_item()) return x;
  return take_injected();
}

item scheduler::own_item() noexcept {
  if (item const x = tl.queue.lifo.take()) return x;
  return tl.queue.looks_empty() ? 0 : tl.queue.pop();
}

item scheduler::fair_turn(worker& w) noexcept {
  if (item const x = expire_due(w)) return x;
  bool const injected_first = w.turn % 2 == 0;   // 61 is odd: they take turns
  if (injected_first)
    if (item const x = take_injected()) return x;
  if (item const x = tl.queue.take_oldest()) return x;
  return injected_first ? 0 : take_injected();
}

// Somebody wants this worker in its loop, or a stop request is under way (then there is nothing to do here).
item scheduler::pressed_turn(worker& w) noexcept {
  if (w.pressed.load(std::memory_order_relaxed) && w.pressed.exchange(false, std::memory_order_relaxed)) {
    lower_attention();
    if (item const x = expire_due(w)) return x;
    if (item const x = tl.queue.take_oldest()) return x;
  }
  if (!pressed_.load(std::memory_order_relaxed)) return 0;
  if (w.turn % 2 == 0) return 0;   // every other turn, so that local work goes on as well
  if (item const x = take_injected()) return x;
  if (anything_injected()) return 0;   // another worker is taking
  if (unpress() && anything_injected()) press();   // INV-PRESS-1: injected in between
  return 0;
}

// Queues a batch so that it runs in order; returns the first.
item scheduler::adopt(item const* items, std::size_t count) noexcept {
  if (count > 1) {
    if (tl.queue.try_reserve(static_cast<std::int64_t>(count - 1))) {
      tl.queue.push_reserved_each(count - 1, [&](std::size_t pushed) { return items[count - 1 - pushed]; });   // the last one pushed is popped first
    } else {
      inject_items(items + 1, count - 1, false);
    }
  }
  return items[0];
}

// ------------------------------------------------------------------------------------------------ the door from the headers

void schedule(scheduler& s, item x) noexcept {
  if (tl.owner == &s && tl.queue.try_reserve(1))
    push_lifo(x);
  else
    s.inject_items(&x, 1, false);
}

void wake_one_slow(scheduler_words& words) noexcept { static_cast<scheduler&>(words).wake_after_push(); }

bool wanted_in_loop() noexcept { return tl.owner->wanted_here(); }

} // namespace skua::detail
