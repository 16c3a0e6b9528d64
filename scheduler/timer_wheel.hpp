// SPDX-License-Identifier: Apache-2.0
// The hierarchical timer wheel, as a pure data structure: it is handed the time, allocates nothing, and knows no thread, clock or task.
// One owner at a time; timer_queue.hpp puts a lock around it.
//
// Layout. A deadline is nanoseconds since some epoch, cut into digits:
//
//     bits  63..52   51..46   45..40   34..39  28..33  22..27  16..21   10..15   9..0
//           block    level 6  level 5  4       3       2       1        level 0  within a tick of 1.024 us
//
// Each level has 64 slots, a slot is a ring (FIFO), and a level has one word that says which of its slots are in use. An entry lies at the
// level of the highest digit in which its deadline differs from `horizon` (the time up to which all is done), in the slot that this digit names.
// When time reaches a slot of a higher level, the slot's entries are spread over the levels below, each by the same rule straight to where it
// belongs (a cascade). What differs in the block (52 days) lies in one ring, `far`, gone through when a block begins. What never comes lies in a ring that
// nobody looks at: among it, a lower bound would be the beginning of a block, and virtual time would jump there.
//
//     insert             O(1): xor, count leading zeros, append
//     remove             O(1): unlink; the bit is cleared when the ring became empty
//     advance            O(1) a slot in use, O(1) an entry and level; idle time costs nothing, the bit words are jumped over
//     an entry's way     at most one ring a level; a sleep of 10 ms passes 2, of 10 s 4
//
// INV-WHEEL-1  Every entry with deadline < horizon is in `due`. So an entry that advance() hands out has deadline <= the latest now it was
//              given: nothing ever fires early.
// INV-WHEEL-2  An entry at level k >= 1 agrees with horizon in all digits above k, and its digit k is greater. At level 0 it is greater or equal.
//              So the first slot in use of the lowest level in use holds the earliest entries, and a count of trailing zeros finds it.
// INV-WHEEL-3  A bit is set if and only if its ring is not empty.
// INV-WHEEL-4  earliest() <= the deadline of every entry. It is exact unless the entry it stood for was removed, or the first slot holds
//              more than `scan_limit` entries: then it is that slot's start. Waking there cascades the slot, so an entry
//              causes at most one wake-up a level (and a removed one at most one), and advance() always raises it beyond now.
// INV-WHEEL-5  Equal deadlines come out in the order in which they were inserted. While a cascade is interrupted, new entries that fall into the
//              slot being cascaded queue up behind it (`cascading`).
//
// Order of firing: by tick, that is to 1.024 us; within a tick that has passed as a whole: in order of insertion. A deadline that had passed when
// it was inserted comes after what was due by then. Who wakes exactly at earliest(), as a virtual clock does, gets exact order.
//
// Bounded: one advance() hands out at most max_count entries and cascades at most `cascade_limit`; it says `more` when that was not enough.
// Two passes are not bounded, and rare: a slot of the finest level that is due in part is looked through as a whole (its entries lie
// within 1.024 us), and so is the ring `far`, once in 52 days.
//
// Rejected: a finest tick of 65 us sorted when it becomes current (one cascade less, but an insertion into the current tick is
// no longer O(1), and a late worker fires out of order); 256 slots a level (fewer cascades; 24 KiB a worker); a minimum for each slot
// (the cached one and a short scan do as well); firing a coarse slot that is past as a whole without spreading it (out of order).
// Source: Varghese and Lauck, "Hashed and Hierarchical Timing Wheels", SOSP 1987, scheme 7; level by highest differing bit as in Tokio's wheel.
#pragma once
#include "timer_ring.hpp"
#include <bit>
#include <cstddef>
#include <cstdint>

namespace skua::detail {

struct timer_shape {
  static constexpr unsigned tick_bits = 10;   // finer than any wake-up is punctual, coarse enough to save two levels
  static constexpr unsigned slot_bits = 6;    // one machine word of bits a level
  static constexpr unsigned levels = 7;
  static constexpr unsigned cascade_limit = 512;   // entries; bounds how long the lock is held: 1 to 5 us in cache (bench/timer_bench)
  static constexpr unsigned scan_limit = 16;       // entries looked at for an exact minimum: a guess
};

// What advance() leaves. more: call it again at once, entries are due or a cascade was cut short.
enum class timer_progress : bool { done, more };

template <class Sync, class Shape = timer_shape>
class basic_timer_wheel {
public:
  using entry = basic_wheel_entry<Sync>;

  explicit basic_timer_wheel(std::uint64_t now_ns = 0) noexcept : horizon_(now_ns) {}
  ~basic_timer_wheel() { SKUA_CHECK(empty(), "a timer wheel died with timers in it"); }
  basic_timer_wheel(basic_timer_wheel const&) = delete;
  basic_timer_wheel& operator=(basic_timer_wheel const&) = delete;

  // `e` is not linked. Any deadline will do: one that has passed is due at once, timer_never_ns never comes.
  // True: earliest() is earlier than before.
  [[nodiscard]] bool insert(entry& e, std::uint64_t deadline_ns) noexcept {
    SKUA_DCHECK(!e.linked(), "a timer is armed twice");
    e.deadline_ns = deadline_ns;
    if (deadline_ns < horizon_) [[unlikely]]
      rings_[due].append(e);   // INV-WHEEL-1
    else if (deadline_ns == timer_never_ns) [[unlikely]]
      rings_[never].append(e);
    else if (unsigned const level = level_of(deadline_ns); level < cascade_level_) [[unlikely]]
      rings_[cascading].append(e);   // INV-WHEEL-5
    else
      rings_[use_slot(deadline_ns, level)].append(e);
    if (deadline_ns >= earliest_) [[likely]] return false;
    earliest_ = deadline_ns;
    return true;
  }

  // `e` is linked. earliest() stays as it is: who disarms nearly everything it arms would otherwise move an alarm each time.
  void remove(entry& e) noexcept {
    SKUA_DCHECK(e.linked(), "a timer is disarmed that is not armed");
    if (link* const head = ring::unlink(e)) emptied(head);
  }

  // A lower bound on all deadlines (INV-WHEEL-4). timer_never_ns: there is nothing to wait for. 0: call advance() at once.
  std::uint64_t earliest() const noexcept { return earliest_; }

  // Hands what is due at `now_ns` to sink(entry&), no longer linked, at most max_count. The sink may not call the wheel. Time is monotonic: a
  // `now_ns` before the latest counts as the latest.
  template <class Sink>
  timer_progress advance(std::uint64_t now_ns, std::size_t max_count, Sink&& sink) {
    if (now_ns < earliest_) return timer_progress::done;
    std::uint64_t rest = 0;   // what is earliest, if collect() came to know; 0: it did not
    bool const collected = collect(now_ns, rest);
    for (; max_count != 0 && !rings_[due].empty(); --max_count) {
      entry& e = rings_[due].front();
      ring::unlink(e);
      sink(e);
    }
    if (!collected || !rings_[due].empty()) {
      earliest_ = 0;
      return timer_progress::more;
    }
    earliest_ = rest != 0 ? rest : find_earliest();
    return timer_progress::done;
  }

  bool empty() const noexcept {
    std::uint64_t used = 0;
    for (unsigned k = 0; k != levels; ++k) used |= in_use_[k];
    return used == 0 && rings_[far].empty() && rings_[due].empty() && rings_[cascading].empty() && rings_[never].empty();
  }

private:
  using ring = timer_ring<Sync>;
  using link = timer_link<Sync>;
  template <class T>
  using var = typename Sync::template var<T>;

  static constexpr unsigned tick_bits = Shape::tick_bits, slot_bits = Shape::slot_bits, levels = Shape::levels;
  static constexpr unsigned slots = 1u << slot_bits, far = levels * slots, due = far + 1, cascading = far + 2, never = far + 3;
  static constexpr std::uint64_t tick_ns = std::uint64_t{1} << tick_bits;
  static_assert(slot_bits <= 6 && tick_bits + levels * slot_bits < 64);

  static constexpr unsigned shift(unsigned level) noexcept { return tick_bits + level * slot_bits; }

  // The level of a deadline >= horizon; `levels` stands for `far`.
  unsigned level_of(std::uint64_t deadline_ns) const noexcept {
    std::uint64_t const differs = (deadline_ns ^ horizon_) >> tick_bits;
    unsigned const level = (63u - static_cast<unsigned>(std::countl_zero(differs | 1))) / slot_bits;
    return level < levels ? level : levels;
  }

  // The ring in which a deadline belongs, which is about to get an entry.
  unsigned use_slot(std::uint64_t deadline_ns, unsigned level) noexcept {
    if (level == levels) [[unlikely]] return far;
    unsigned const slot = (deadline_ns >> shift(level)) & (slots - 1);
    in_use_[level] = in_use_[level] | std::uint64_t{1} << slot;   // INV-WHEEL-3
    return level * slots + slot;
  }

  void emptied(link* head) noexcept {
    auto const i = static_cast<unsigned>(static_cast<ring*>(head) - rings_);
    if (i < far) [[likely]]
      in_use_[i / slots] = in_use_[i / slots] & ~(std::uint64_t{1} << i % slots);   // INV-WHEEL-3
    else if (i == cascading)
      cascade_level_ = 0;
  }

  // The first slot in use (INV-WHEEL-2). level == levels: only `far` is.
  struct position {
    unsigned level, index;
    std::uint64_t start_ns;   // timer_never_ns: no slot is in use, and no block begins any more
  };
  position first() const noexcept {
    for (unsigned k = 0; k != levels; ++k)
      if (std::uint64_t const bits = in_use_[k]) {
        auto const slot = static_cast<unsigned>(std::countr_zero(bits));
        return {k, k * slots + slot, horizon_ >> shift(k + 1) << shift(k + 1) | std::uint64_t{slot} << shift(k)};
      }
    std::uint64_t const block = (horizon_ >> shift(levels)) + 1;
    bool const none = rings_[far].empty() || block > timer_never_ns >> shift(levels);
    return {levels, far, none ? timer_never_ns : block << shift(levels)};
  }

  // Moves horizon beyond now, and all that it passes to `due`. False: cut short by cascade_limit. `rest`: the earliest deadline that remains,
  // where the first ring had to be looked through as a whole.
  bool collect(std::uint64_t now_ns, std::uint64_t& rest) noexcept {
    std::uint64_t const end = now_ns == timer_never_ns ? now_ns : now_ns + 1;
    std::uint64_t const target = end > horizon_ ? end : std::uint64_t{horizon_};
    for (unsigned allowance = Shape::cascade_limit;;) {
      if (cascade_level_ != 0 && !cascade(allowance)) return false;
      position const p = first();
      if (p.level == 0) {
        if (p.start_ns >= target) break;
        if (target - p.start_ns < tick_ns) {
          rest = collect_part(p.index, target);
          break;   // the tick that horizon will be in; all other slots are beyond
        }
        move_all(p.index, due);
      } else {
        if (p.start_ns > target || p.start_ns == timer_never_ns) break;
        std::uint64_t start_ns = p.start_ns;
        if (p.level == levels) {
          std::uint64_t const least = earliest_of_far();
          start_ns = least >> shift(levels) << shift(levels);
          if (start_ns > target) {   // this block has begun, and nothing lies in it
            rest = least;
            break;
          }
        }
        horizon_ = start_ns;   // the digits above p.level stay, the lower ones are 0: INV-WHEEL-2 for all other slots
        move_all(p.index, cascading);
        cascade_level_ = p.level + (p.level == levels);   // of `far`, what differs in the block again queues up as well
      }
    }
    horizon_ = target;   // no slot of a higher level starts before or at it: INV-WHEEL-2
    return true;
  }

  // A block has begun: `far` is looked through, once in 52 days.
  std::uint64_t earliest_of_far() const noexcept {
    std::uint64_t least = timer_never_ns;
    for (link const* l = rings_[far].next; l != &rings_[far]; l = l->next)
      if (std::uint64_t const d = static_cast<entry const*>(l)->deadline_ns; d < least) least = d;
    return least;
  }

  void move_all(unsigned from, unsigned to) noexcept {
    emptied(rings_[to].append_run(*rings_[from].next, *rings_[from].prev));
  }

  // Spreads the ring `cascading`. False: the allowance is used up. Neighbours that go to the same slot, as sleeps of one length do, move
  // together: of all but the first and the last only the deadline is read, and nothing written.
  bool cascade(unsigned& allowance) noexcept {
    while (cascade_level_ != 0) {
      if (allowance == 0) return false;
      entry& first = rings_[cascading].front();
      entry* last = &first;
      std::uint64_t const deadline = first.deadline_ns;
      unsigned const level = level_of(deadline);
      while (--allowance != 0) {
        link* const l = last->next;
        if (l == &rings_[cascading]) break;
        entry* const e = static_cast<entry*>(l);
        if ((e->deadline_ns ^ deadline) >> shift(level) != 0) break;
        last = e;
      }
      if (link* const head = rings_[use_slot(deadline, level)].append_run(first, *last)) emptied(head);
    }
    return true;
  }

  // Moves what is due out of a slot of the finest level; the earliest deadline of what stays, or 0.
  std::uint64_t collect_part(unsigned index, std::uint64_t target) noexcept {
    ring& slot = rings_[index];
    std::uint64_t rest = 0;
    for (link *l = slot.next, *next; l != &slot; l = next) {
      next = l->next;
      entry& e = *static_cast<entry*>(l);
      if (e.deadline_ns < target) {
        if (link* const head = ring::unlink(e)) emptied(head);
        rings_[due].append(e);
      } else if (rest == 0 || e.deadline_ns < rest)
        rest = e.deadline_ns;
    }
    return rest;
  }

  // INV-WHEEL-4. Nothing is due, and no cascade is under way.
  std::uint64_t find_earliest() const noexcept {
    position const p = first();
    ring const& slot = rings_[p.index];
    std::uint64_t least = timer_never_ns;
    unsigned left = Shape::scan_limit;
    for (link const* l = slot.next; l != &slot; l = l->next) {
      if (left-- == 0) return p.start_ns;
      std::uint64_t const d = static_cast<entry const*>(l)->deadline_ns;
      if (d < least) least = d;
    }
    return least;
  }

  var<std::uint64_t> horizon_;
  var<std::uint64_t> earliest_{timer_never_ns};
  var<unsigned> cascade_level_{0};   // != 0: `cascading` is not empty, and what differs below this level queues up there
  var<std::uint64_t> in_use_[levels]{};
  ring rings_[levels * slots + 4];
};

} // namespace skua::detail
