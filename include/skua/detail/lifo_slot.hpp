// SPDX-License-Identifier: Apache-2.0
// The LIFO slot: one item beside a worker's deque, the one that was made runnable last. Its owner fills and empties it all the time; a thief takes what has
// lain in it for long (steal_policy.hpp: STUCK, STARVED), which is rare. So the owner pays with plain loads and stores, and the thief with a barrier on
// all threads. (An exchange on each side was a seventh of what a ping-pong over channels costs.)
//
//   owner                                                       any thread
//   put x    older = slot; slot = x; look at claim; older       steal   claim: 0 -> mine, by CAS; heavy_barrier(); x = slot;
//   take     x = slot; slot = 0; look at claim; x                       claim: mine -> x, by CAS
//
// slot_    written by the owner alone. It still holds an item that was stolen until the owner's next put() or take().
// claim_   bit 62    constant: the kernel refuses membarrier. The owner goes the long way every time, and an RMW on `claim_` takes the barrier's place
//          the rest  0                    nobody steals
//                    a thief's number     (bit 63) it looks into the slot, and has not decided
//                    an item              that one was stolen, and the owner does not know yet
//              0 -> number       a thief, CAS
//              number -> item    that thief, CAS, after the barrier
//              number -> 0       that thief: there is nothing; or the owner, CAS: it was faster, and keeps what it has
//              item -> 0         the owner, store: what it has just removed is that item, so it has nothing
//
// INV-LIFO-1  An item that was put is taken exactly once: by put() or take(), which return it, or by one steal().
//             The barrier cuts the owner's program in two. If its store to the slot comes before the cut, the thief reads that or a later one, so not the
//             item that was removed. Otherwise the owner's look at `claim_` comes behind the cut as well and sees the thief's number, or what
//             became of it; and then one CAS decides.
// INV-LIFO-2  Between two operations of the owner: `claim_` holds an item => the slot holds the same.
//
// A thief is known by its number, so a CAS of one that the owner has turned away does not succeed on the claim of the next one.
//
// Thread safety: put, take: the owner. steal: one thread a number at a time. The rest: as said.
// Checked by tests/model/lifo_slot_model.cpp, tests/stress/deque_stress.cpp.
#pragma once
#include "item.hpp"
#include "sync.hpp"
#include <atomic>
#include <cstdint>

namespace skua::detail {

template <class Sync>
class lifo_slot {
  template <class T>
  using atomic = typename Sync::template atomic<T>;

public:
  constexpr lifo_slot() noexcept = default;
  lifo_slot(lifo_slot const&) = delete;

  // Owner, before thieves know of it, or when they do not look any more. `have_barrier`: what register_heavy_barrier() has said.
  void reset(bool have_barrier) noexcept {
    slot_.store(0, std::memory_order_relaxed);
    claim_.store(have_barrier ? 0 : no_barrier, std::memory_order_relaxed);
  }

  // Owner. Returns what was in it: 0, or an item that is the caller's to queue.
  [[nodiscard]] SKUA_INLINE item put(item x) noexcept {
    item const older = slot_.load(std::memory_order_relaxed);   // relaxed: own store
    slot_.store(x, std::memory_order_release);                  // release: pairs with steal(): the item's contents
    return older == 0 ? 0 : removed(older);
  }
  // Owner. 0: there is none.
  [[nodiscard]] SKUA_INLINE item take() noexcept {
    item const x = slot_.load(std::memory_order_relaxed);   // relaxed: own store
    if (x == 0) return 0;
    slot_.store(0, std::memory_order_relaxed);              // relaxed: says nothing but "not that one any more"
    return removed(x);
  }

  // Any thread. `thief`: its number, unique among those who may be here. `seen`: what it has seen in it; another one is the owner's to run, which
  // is awake. 0: it is gone, or somebody is faster.
  [[nodiscard]] item steal(std::uint32_t thief, item seen) noexcept {
    item const free = claim_.load(std::memory_order_relaxed);   // relaxed: the CAS decides
    if ((free & ~no_barrier) != 0) return 0;
    item const mine = free | undecided | thief;
    // acquire: pairs with settle(): what the owner had stored into the slot by then.
    if (item c = free; !claim_.compare_exchange_strong(c, mine, std::memory_order_acquire, std::memory_order_relaxed)) return 0;
    if (free == 0) Sync::heavy_barrier();                   // INV-LIFO-1
    item const x = slot_.load(std::memory_order_acquire) == seen ? seen : 0;   // acquire: pairs with put(): the item's contents
    // relaxed: the owner compares what it finds there, and looks at nothing behind it.
    item c = mine;
    return claim_.compare_exchange_strong(c, free | x, std::memory_order_relaxed, std::memory_order_relaxed) ? x : 0;
  }

  // Any thread. seq_cst, as work_deque::looks_empty().
  bool looks_empty() const noexcept {
    item const x = slot_.load(std::memory_order_seq_cst);
    return x == 0 || (claim_.load(std::memory_order_seq_cst) & ~no_barrier) == x;   // INV-LIFO-2
  }
  // Any thread: a hint. What is in it, 0: nothing.
  item peek() const noexcept {
    item const x = slot_.load(std::memory_order_relaxed);
    return (claim_.load(std::memory_order_relaxed) & ~no_barrier) == x ? 0 : x;
  }

private:
  static constexpr item undecided = item{1} << 63, no_barrier = item{1} << 62;   // no address has these bits

  // The owner has replaced `x`, and looks whether it is still its own. 0: it was stolen.
  SKUA_INLINE item removed(item x) noexcept {
    Sync::light_barrier();   // the store to the slot comes before this load: INV-LIFO-1
    // relaxed: `x` and its contents are what this thread has put there.
    return claim_.load(std::memory_order_relaxed) == 0 ? x : settle(x);
  }
  SKUA_PRESERVE_MOST SKUA_NOINLINE item settle(item x) noexcept {
    item c = claim_.load(std::memory_order_relaxed);
    // Where there is no barrier: comes before the CAS of a thief, which then sees the slot (release, acquire), or behind it and sees the thief.
    if ((c & no_barrier) != 0) c = claim_.fetch_add(0, std::memory_order_acq_rel);
    for (;;) {
      item const free = c & no_barrier;
      if (c == free) return x;
      if (c == (free | x)) {
        claim_.store(free, std::memory_order_release);   // release: pairs with the CAS in steal(): the slot
        return 0;
      }
      if ((c & undecided) == 0) return x;   // what is in the slot now has been stolen meanwhile: that is for the next operation to see
      // relaxed: where a thief relies on it, the RMW above has released the slot.
      if (claim_.compare_exchange_weak(c, free, std::memory_order_relaxed, std::memory_order_relaxed)) return x;
    }
  }

  atomic<item> slot_{0};
  atomic<item> claim_{no_barrier};   // until reset() says otherwise
};

} // namespace skua::detail
