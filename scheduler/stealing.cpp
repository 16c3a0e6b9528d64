// SPDX-License-Identifier: Apache-2.0
// Choosy thieves: the mechanism. steal_policy.hpp says when a look at a victim means "take".
//
// A batch that was stolen is *settled* when the thief looks for work again, or before it goes on with a continuation that waited for a stolen item (what
// the joiner does with its further life is not the item's cost): run time over items gives the cost, which the victim's hints and this thief's view
// keep. A batch that was worth it is credit: so long the thief may spin the next time. A crowd (rule CROWD) is settled only when the thief runs dry: what
// its tasks do after they were joined is what they were taken for.
// INV-COST-1  A watcher spins no longer than it ran stolen work, plus `observe_us` per wake-up and twice `silent_us` per silent owner.
#include "scheduler/scheduler.hpp"
#include <algorithm>
#include <sched.h>
#include <utility>

namespace skua::detail {

item scheduler::look_at_others(worker& w, sighting& seen) noexcept {
  std::uint32_t r = w.random;   // xorshift: another victim first each time
  r ^= r << 13;
  r ^= r >> 17;
  r ^= r << 5;
  w.random = r;
  unsigned const n = setup_.workers;
  unsigned at = r % n;
  for (unsigned i = 0; i != n; ++i, at = at + 1 == n ? 0 : at + 1) {
    if (at == tl.index) continue;
    work_deque<>& q = workers_[at]->local->queue;
    observation const o{.bottom = q.bottom_hint(),
                        .top = q.top_hint(),
                        .progress = q.progress.load(std::memory_order_relaxed),
                        .lifo = q.lifo.peek(),
                        .cost_ns = q.cost_ns.load(std::memory_order_relaxed),
                        .grant = q.grant.load(std::memory_order_relaxed)};
    steal_verdict const v = w.views[at].look(o, {cpu_ticks(), ticks_per_us_});
    seen.active |= v.active;
    seen.pending |= v.pending;
    if (v.why == steal_rule::none) continue;
    if (item const x = take_from(w, at, v, o)) return x;
  }
  return 0;
}

item scheduler::take_from(worker& w, unsigned victim, steal_verdict const& v, observation const& o) noexcept {
  work_deque<>& q = workers_[victim]->local->queue;
  item first = 0;
  std::uint64_t taken = 0;
  if (v.lifo && o.lifo != 0) {
    first = q.lifo.steal(tl.index, o.lifo);
    taken += first != 0;
  }
  bool const crowd = v.why == steal_rule::crowd;
  int races = crowd ? tuning::crowd_races : 0;   // that may be lost: the owner of a crowd takes its oldest item all the time
  for (std::int64_t i = 0; i < v.take;) {
    if (first != 0 && !tl.queue.try_reserve(1)) break;
    bool lost = false;
    item const x = q.steal(lost);
    if (lost && races-- > 0) continue;
    if (x == 0) break;
    ++i;
    ++taken;
    if (first == 0)
      first = x;
    else
      tl.queue.push_reserved(x);
    if ((x & kind::mask) == kind::branch) break;   // half of a fork-join queue would be nearly all of the work
    if (crowd && (x & kind::mask) != kind::woken) break;
  }
  if (first == 0) return 0;
  worker_counters::add(tl.counters.steals);
  worker_counters::add(tl.counters.stolen_items, taken);
  victim_view& view = w.views[victim];
  view.took((first & kind::mask) == kind::branch, o.queued());
  w.batch = {&q, &view, cpu_ticks(), tl.queue.progress.load(std::memory_order_relaxed), taken, crowd};
  tl.batch_open = !crowd;
  return first;
}

void scheduler::settle_own_batch() noexcept {
  tl.batch_open = false;
  worker& w = self();
  stolen_batch const b = std::exchange(w.batch, {});
  std::uint64_t const ran = cpu_ticks() - b.began_ticks;
  std::uint64_t const ran_ns = ran * 1000 / ticks_per_us_;
  std::uint64_t const items = std::max<std::uint64_t>(tl.queue.progress.load(std::memory_order_relaxed) - b.progress, 1);
  if (b.crowd) {
    if (!b.view->learn_crowd(ran_ns, items, b.taken, {cpu_ticks(), ticks_per_us_})) return;
  } else if (b.view->took_branch()) {
    b.view->learn_branch(ran_ns);
    if (ran_ns < tuning::worth_item_ns) return;
  } else {
    std::uint32_t const cost = b.view->learn(ran_ns, items);
    b.from->cost_ns.store(cost, std::memory_order_relaxed);
    std::uint32_t const grant = b.from->grant.load(std::memory_order_relaxed);
    if (cost < tuning::worth_item_ns) return b.from->grant.store(1, std::memory_order_relaxed);
    if (grant < tuning::most_grant) b.from->grant.store(4 * grant, std::memory_order_relaxed);
  }
  w.credit_ticks = std::min(w.credit_ticks + ran, ticks(tuning::most_credit_us));
}

void settle_batch_slow() noexcept { tl.owner->settle_own_batch(); }

// Looks for `budget_ticks`, at least once; longer while an owner with work has not moved, until that is decided (INV-POLICY-2).
item scheduler::search(worker& w, std::uint64_t budget_ticks, bool& active) noexcept {
  std::uint64_t const began = cpu_ticks();
  auto const charge = [&] { w.credit_ticks -= std::min(w.credit_ticks, cpu_ticks() - began); };
  active = false;
  for (;;) {
    if (item const x = take_injected()) return charge(), x;
    sighting seen;
    if (item const x = look_at_others(w, seen)) return charge(), x;
    active |= seen.active;
    std::uint64_t const now = cpu_ticks();
    std::uint64_t const limit = seen.pending ? std::max(budget_ticks, ticks(2 * tuning::silent_us)) : budget_ticks;
    if (now - began >= limit || stopping_.load(std::memory_order_relaxed)) return charge(), 0;
    // An owner that does not move may have been preempted by this very thread: let it run before it is called stuck.
    if (seen.pending) ::sched_yield();
    for (std::uint64_t const pause = ticks_per_us_ * tuning::look_pause_ns / 1000; cpu_ticks() - now < pause;) cpu_pause();
  }
}

} // namespace skua::detail
