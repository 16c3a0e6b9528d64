// SPDX-License-Identifier: Apache-2.0
// Is it worth taking work from that worker? A function of what a look at it shows, and of what this thief remembers of earlier looks. No
// atomics and no clock of its own: stealing.cpp is the mechanism.
//
// The owner pays one plain increment for each item that it starts (`progress`). The idle side pays for everything else: each look pulls two
// of the owner's lines, so looks are `look_pause_ns` apart, and what is taken must be worth the move. The rules, in order:
//
//   STUCK    progress, bottom and LIFO slot have not moved for `silent_us`: the owner runs one long item, or lost its core, or takes a timer
//            interrupt (longer than that in some virtual machines). Take half, or the LIFO slot. Until items of this victim have proved worth it: 1,
//            then 4, 16, .. each time the silence has doubled.
//   FAST     the owner needs less than `fast_item_ns` an item: leave it alone. Taking costs ten times as much as running.
//   CROWD    unless it has a crowd of them that come back: for `crowd_us` its queue has been longer than `crowd_items`, and so many were run and
//            queued anew. Then the move is paid once, and earned at every turn: half, of woken tasks (a spawned one mostly ends). A batch proves right
//            if its items came back, and ran about as fast here; otherwise the next attempt waits, each time twice as long.
//   KNOWN    what was taken from here was worth it. Spawned tasks: half, at most `grant`, at most `target_work_us`, if half is worth `least_work_us`.
//            Branches of a fork-join: the oldest alone, if those taken from so long a queue were worth `least_work_us`.
//   PROBE    nothing is known, or the last ones proved too small while the owner is not FAST: one; again after a pause that doubles.
//   STARVED  none of these took anything, but the oldest item has not been taken for `starve_us`: take that one. Or the LIFO slot, if for so long
//            it holds the same item and its owner has started none: a computation that forks, and so moves `bottom`, but never returns to its loop.
//
// INV-POLICY-1  As long as a thief looks, no item in a deque stays its oldest for longer than `starve_us` (plus a look), nor any in a LIFO slot behind an
//               owner that starts nothing; and nothing stays in a queue for longer than twice `silent_us` behind one that shows no sign of life.
// INV-POLICY-2  `pending` is said until that is decided, so a watcher that obeys it never gives up on an owner that is silent.
// Checked by tests/unit/steal_policy_test.cpp.
//
// Rejected (spawn spike): one estimate of the cost for branches (the last steals of a tree are always tiny and drown the first) · half of a
// fork-join queue (it is nearly all of the work) · trusting a single cold item (it costs 1 to 5 us however small it is) · the victim's rate alone,
// or the cost alone · counting a stolen joiner's further life as the cost of the item (small trees looked large).
#pragma once
#include "scheduler/tuning.hpp"
#include "skua/detail/item.hpp"
#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace skua::detail {

// What a look shows. Read without order between the fields: a hint; the deque's own protocol decides.
struct observation {
  std::int64_t bottom = 0, top = 0;
  std::uint64_t progress = 0;
  item lifo = 0;
  std::uint32_t cost_ns = 0, grant = 1;
  std::int64_t queued() const noexcept { return bottom > top ? bottom - top : 0; }
};

enum class steal_rule : unsigned char { none, stuck, starved, known, probe, crowd };

struct steal_verdict {
  steal_rule why = steal_rule::none;
  std::int64_t take = 0;   // so many from the top
  bool lifo = false;       // the LIFO slot
  bool pending = false;    // nothing yet, but there is work and its owner has not moved: look again soon
  bool active = false;     // the owner has moved since the last look, or has work
};

// Points in time and durations in ticks of a counter, of which `per_us` make a microsecond.
struct tick_time {
  std::uint64_t now;
  std::uint64_t per_us;
};

// One thief's memory of one victim.
class victim_view {
public:
  steal_verdict look(observation const& o, tick_time t) noexcept {
    steal_verdict v;
    v.active = note_signs_of_life(o, t);
    note_rate(o, t);
    note_crowd(o, t);
    std::int64_t const n = o.queued();
    if (n == 0 && o.lifo == 0) return v;
    v.active = true;
    std::uint64_t const silent = t.now - moved_at_;
    v.pending = silent != 0;
    if (silent >= tuning::silent_us * t.per_us) {
      take_from_stuck(v, o, silent);
    } else {
      if (is_fast(t))
        take_crowd(v, o, t);
      else if (n != 0 && !take_known(v, o))
        take_probe(v, o, t);
      if (v.take == 0) take_starved(v, o, t);
    }
    return v;
  }

  // What was just taken from there, while `queued` items were.
  void took(bool branch, std::int64_t queued) noexcept {
    branches_ = branch;
    taken_at_ = bucket(std::max<std::int64_t>(queued, 1));
  }
  bool took_branch() const noexcept { return branches_; }

  // The last batch took `ran_ns` for `items` items. Returns the cost of one, over all batches, each counting half as much as the next.
  std::uint32_t learn(std::uint64_t ran_ns, std::uint64_t items) noexcept {
    sum_ns_ = sum_ns_ / 2 + std::min(ran_ns, most_ns);
    sum_items_ = sum_items_ / 2 + fraction * items;
    std::uint64_t const cost = fraction * sum_ns_ / sum_items_;
    if (cost >= tuning::worth_item_ns) probe_us_ = tuning::first_probe_us;
    return static_cast<std::uint32_t>(std::min(cost, most_ns)) | 1;   // 0 stands for "not known"
  }

  // The last item was a branch, and took `ran_ns`. What the oldest branch holds grows with the number of branches queued behind it,
  // exponentially in a balanced tree: so the cost is kept by that number.
  void learn_branch(std::uint64_t ran_ns) noexcept {
    std::uint32_t& cost = branch_cost_[taken_at_];
    auto const ran = static_cast<std::uint32_t>(std::min(ran_ns, most_ns)) | 1;
    cost = cost == 0 ? ran : cost - cost / 4 + ran / 4;
    if (ran >= tuning::least_work_us * 1000) probe_us_ = tuning::first_probe_us;
  }

  // The last batch, of `taken` items by the rule CROWD, took `ran_ns` for `items` items. Was it worth it?
  bool learn_crowd(std::uint64_t ran_ns, std::uint64_t items, std::uint64_t taken, tick_time t) noexcept {
    bool const came_back = items >= tuning::crowd_turns * taken;
    crowd_proven_ = came_back && ran_ns * t.per_us <= 2 * items * crowd_item_ticks_ * 1000;
    crowd_pause_us_ = crowd_proven_ ? tuning::first_crowd_pause_us : std::min(2 * crowd_pause_us_, tuning::last_crowd_pause_us);
    crowd_again_at_ = crowd_proven_ ? 0 : t.now + std::uint64_t{crowd_pause_us_} * t.per_us;
    return crowd_proven_;
  }

private:
  static constexpr std::int64_t buckets = 16;   // of queue lengths: a guess; longer queues count as 16
  static constexpr std::uint64_t most_ns = 1'000'000'000;
  static constexpr std::uint64_t fraction = 16;   // sum_items_ counts sixteenths
  static std::size_t bucket(std::int64_t queued) noexcept { return static_cast<std::size_t>(std::min(queued, buckets) - 1); }

  bool note_signs_of_life(observation const& o, tick_time t) noexcept {
    if (o.top != top_ || !had_oldest_) {   // another one is the oldest item, or it came since the last look
      top_ = o.top;
      top_moved_at_ = t.now;
    }
    had_oldest_ = o.queued() != 0;
    if (o.progress != progress_ || o.lifo != lifo_) lifo_moved_at_ = t.now;
    // An owner that pushes is not stuck, although it starts nothing: hence `bottom`.
    if (o.progress == progress_ && o.bottom == bottom_ && o.lifo == lifo_) return false;
    progress_ = o.progress;
    bottom_ = o.bottom;
    lifo_ = o.lifo;
    moved_at_ = t.now;
    stuck_take_ = 1;
    stuck_again_ = 0;
    return true;
  }

  void note_rate(observation const& o, tick_time t) noexcept {
    if (t.now - window_at_ < tuning::window_us * t.per_us) return;
    if (o.progress != window_progress_) {
      item_ticks_ = (t.now - window_at_) / (o.progress - window_progress_);
      rated_at_ = t.now;
    } else if (t.now - rated_at_ > tuning::starve_us * t.per_us) {
      item_ticks_ = 0;
    }
    window_at_ = t.now;
    window_progress_ = o.progress;
  }
  void note_crowd(observation const& o, tick_time t) noexcept {
    if (o.queued() >= tuning::crowd_items && crowd_at_ != 0) return;
    crowd_at_ = o.queued() >= tuning::crowd_items ? t.now : 0;
    crowd_progress_ = o.progress;
    crowd_bottom_ = o.bottom;
  }
  bool is_fast(tick_time t) const noexcept { return item_ticks_ != 0 && item_ticks_ * 1000 < tuning::fast_item_ns * t.per_us; }

  void take_from_stuck(steal_verdict& v, observation const& o, std::uint64_t silent) noexcept {
    bool const proven =
        o.cost_ns >= tuning::proof_item_ns || (o.cost_ns >= tuning::worth_item_ns && o.grant >= tuning::proof_grant);
    if (!proven && silent < stuck_again_) return;
    std::int64_t const n = o.queued();
    v.why = steal_rule::stuck;
    v.take = std::min((n + 1) / 2, proven ? std::int64_t{tuning::most_grant} : stuck_take_);
    v.lifo = n == 0;
    stuck_take_ = std::min<std::int64_t>(4 * stuck_take_, tuning::most_grant);
    stuck_again_ = 2 * silent;
  }

  void take_crowd(steal_verdict& v, observation const& o, tick_time t) noexcept {
    std::int64_t const n = o.queued();
    if (n < tuning::crowd_items || t.now < crowd_again_at_) return;
    bool const comes_back = t.now - crowd_at_ >= tuning::crowd_us * t.per_us && o.progress - crowd_progress_ >= static_cast<std::uint64_t>(n) &&
                            o.bottom - crowd_bottom_ >= n;
    if (!crowd_proven_ && !comes_back) return;
    v.why = steal_rule::crowd;
    v.take = std::min<std::int64_t>(n / 2, tuning::most_grant);
    crowd_item_ticks_ = item_ticks_;
  }

  void take_starved(steal_verdict& v, observation const& o, tick_time t) noexcept {
    std::uint64_t const limit = tuning::starve_us * t.per_us;
    if (o.queued() != 0 && t.now - top_moved_at_ >= limit) {
      v.take = 1;
      top_moved_at_ = t.now;
    }
    v.lifo = o.lifo != 0 && t.now - lifo_moved_at_ >= limit;
    if (v.take != 0 || v.lifo) v.why = steal_rule::starved;
  }

  // False: nothing is known that would decide.
  bool take_known(steal_verdict& v, observation const& o) noexcept {
    std::int64_t const n = o.queued();
    if (branches_) {
      if (branch_cost(n) < tuning::least_work_us * 1000) return false;
      v.why = steal_rule::known;
      v.take = 1;
      return true;
    }
    if (o.cost_ns < tuning::worth_item_ns) return false;
    std::int64_t const half = (n + 1) / 2;
    if (static_cast<std::uint64_t>(half) * o.cost_ns < tuning::least_work_us * 1000) return true;   // decided: too little
    v.why = steal_rule::known;
    v.take = std::min<std::int64_t>(half, o.grant);
    v.take = std::min(v.take, std::max<std::int64_t>(1, tuning::target_work_us * 1000 / o.cost_ns));
    return true;
  }

  void take_probe(steal_verdict& v, observation const& o, tick_time t) noexcept {
    // First look long enough to know whether the owner is fast.
    if (t.now - last_look_at_ > 10 * t.per_us) series_at_ = t.now;
    last_look_at_ = t.now;
    if (t.now - series_at_ < tuning::window_us * t.per_us) return;
    bool const unknown = !branches_ && o.cost_ns == 0;
    if (!unknown && t.now < probe_at_) return;
    v.why = steal_rule::probe;
    v.take = 1;
    probe_us_ = unknown ? tuning::first_probe_us : std::min(2 * probe_us_, tuning::last_probe_us);
    probe_at_ = t.now + probe_us_ * t.per_us;
  }

  // Of the longest queue known that is no longer than this one.
  std::uint32_t branch_cost(std::int64_t queued) const noexcept {
    for (std::size_t i = bucket(queued) + 1; i-- != 0;)
      if (branch_cost_[i] != 0) return branch_cost_[i];
    return 0;
  }

  // Signs of life.
  std::uint64_t progress_ = 0, moved_at_ = 0, top_moved_at_ = 0, lifo_moved_at_ = 0;
  std::int64_t bottom_ = 0, top_ = 0;
  item lifo_ = 0;
  bool had_oldest_ = false;
  // Rate: ticks an item; 0: not known.
  std::uint64_t window_at_ = 0, window_progress_ = 0, item_ticks_ = 0, rated_at_ = 0;
  // STUCK.
  std::int64_t stuck_take_ = 1;
  std::uint64_t stuck_again_ = 0;
  // CROWD. crowd_at_: since when the queue was long at every look; 0: it is not.
  std::uint64_t crowd_at_ = 0, crowd_progress_ = 0, crowd_again_at_ = 0, crowd_item_ticks_ = 0;
  std::int64_t crowd_bottom_ = 0;
  std::uint32_t crowd_pause_us_ = tuning::first_crowd_pause_us;
  bool crowd_proven_ = false;
  // What stolen work was worth.
  bool branches_ = false;
  std::size_t taken_at_ = 0;
  std::uint32_t branch_cost_[buckets] = {};
  std::uint64_t sum_ns_ = 0, sum_items_ = 0;
  // PROBE.
  std::uint64_t probe_at_ = 0, last_look_at_ = 0, series_at_ = 0;
  std::uint32_t probe_us_ = tuning::first_probe_us;
};

} // namespace skua::detail
