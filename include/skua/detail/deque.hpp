// SPDX-License-Identifier: Apache-2.0
// The work-stealing deque: one owner pushes and pops at the bottom, any thread takes from the top.
//
// Source: Chase, Lev: Dynamic circular work-stealing deque, SPAA 2005; orders after Lê, Pop, Cohen, Zappa Nardelli, PPoPP 2013, with
// seq_cst operations in place of their stand-alone fences (ThreadSanitizer does not model fences, and xchg is cheaper than mfence).
//
// Lifecycle: constant-initialised and trivially destructible, so that it can live in a constinit thread_local. The owner calls init() before
// thieves know of it (a push without init() does the same), release() when none of them can look any more.
//
//   owner                                              any thread
//   push       slot[b] = x; bottom = b + 1             steal   t = top; b = bottom; x = slot[t]; CAS top t -> t + 1
//   pop        bottom = b - 1; look at top; x = slot[b - 1]; the last item only by CAS top t -> t + 1, as a thief would take it
//   take_oldest    as steal, without the look at bottom
//
// bottom_  written by the owner alone. It goes down by one in pop() and is put back when pop() finds nothing.
// top_     only ever grows, by one, by CAS: whoever's CAS succeeds has the item with that index.
// Indices are 64 bits and never wrap; the items are those with indices in [top, bottom), item i in slot[i & mask] of the newest ring.
//
// INV-DEQUE-1  An item is taken exactly once.
//              By index t, through the CAS of top from t to t + 1: there is one such CAS. By pop() without a CAS: only if top < b after
//              bottom = b; every thief that later sees top = b reads bottom <= b behind it, in the one order of the seq_cst operations
//              (hence seq_cst on: the exchange of bottom, both loads of top, thieves' load of bottom, every CAS of top).
// INV-DEQUE-2  What a thief reads from a slot and then wins by CAS is the item with that index. The owner reuses a slot only after it has
//              seen top beyond the old index, and then the CAS of whoever read the slot too late fails.
// INV-DEQUE-3  Rings live until release(): a thief may still be reading an old one. Their sizes double, so they cost at most as much again.
// INV-DEQUE-4  top_cache_ <= top. "Full" is at worst a false alarm, answered by reading top; the owner's push leaves the thieves' line alone.
// Checked by tests/model/deque_model.cpp (1 to 3, and the item's contents), tests/stress/deque_stress.cpp.
//
// In the same two lines live words that belong to whoever looks at the deque, so that a look at a victim costs two cache lines:
//   progress  items the owner has started. Owner: plain increment (relaxed load and store). Thieves: relaxed load, a hint.
//   lifo      the task made runnable last: lifo_slot.hpp.
//   cost_ns, grant   what thieves learnt about work from here. Written by thieves only, relaxed: hints, any value is correct.
//
// Rejected: a fence in pop (mfence, 2.5 times the xchg) · membarrier in steal in place of the xchg (an EPYC, one worker: at best 17 % of fib, 7 % of
// skynet, nothing in nqueens; each steal 2 us dearer, and some containers refuse it) · continuation stealing (spikes: equal at best, and it moves the
// caller to another thread).
//
// Thread safety: as said at each member.
#pragma once
#include "bad_alloc.hpp"
#include "item.hpp"
#include "lifo_slot.hpp"
#include "sync.hpp"
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <new>
#include <type_traits>
#include <utility>

namespace skua::detail {

template <class Sync>
struct deque_ring {
  template <class T>
  using var = typename Sync::template var<T>;
  using slot = typename Sync::template atomic<item>;

  // Written before the ring is published, constant afterwards.
  var<std::int64_t> mask;       // capacity - 1; the capacity is a power of two
  var<slot*> slots;
  var<deque_ring*> previous;    // INV-DEQUE-3

  // Null: no memory.
  static deque_ring* make(std::int64_t capacity, deque_ring* before) noexcept {
    slot* const slots = new (std::nothrow) slot[static_cast<std::size_t>(capacity)];
    deque_ring* const r = slots != nullptr ? new (std::nothrow) deque_ring(capacity, slots, before) : nullptr;
    if (r == nullptr) delete[] slots;
    return r;
  }
  deque_ring(deque_ring const&) = delete;
  ~deque_ring() { delete[] static_cast<slot*>(slots); }

private:
  deque_ring(std::int64_t capacity, slot* s, deque_ring* before) : mask(capacity - 1), slots(s), previous(before) {}
};

// What the owner touches on every push and pop. The first five are private to work_deque.
template <class Sync>
struct alignas(cache_line) deque_owner_line {
  template <class T>
  using atomic = typename Sync::template atomic<T>;
  template <class T>
  using var = typename Sync::template var<T>;

  atomic<std::int64_t> bottom_{0};
  var<typename deque_ring<Sync>::slot*> slots_{nullptr};   // of the newest ring: the owner's copy
  var<std::int64_t> mask_{-1};                             // of the newest ring; -1: there is none
  var<std::int64_t> top_cache_{0};                         // INV-DEQUE-4
  atomic<deque_ring<Sync>*> ring_{nullptr};                // the newest ring, for thieves
  atomic<std::uint64_t> progress{0};
  lifo_slot<Sync> lifo;
};

// What thieves write.
template <class Sync>
struct alignas(cache_line) deque_thief_line {
  template <class T>
  using atomic = typename Sync::template atomic<T>;

  atomic<std::int64_t> top_{0};
  atomic<std::uint32_t> cost_ns{0};   // run time, cold, of what was stolen from here last; 0: not known
  atomic<std::uint32_t> grant{1};     // how many a thief may take at once
};

template <class Sync = real_sync>
class work_deque : deque_owner_line<Sync>, deque_thief_line<Sync> {
  using ring = deque_ring<Sync>;
  using owner_line = deque_owner_line<Sync>;
  using thief_line = deque_thief_line<Sync>;
  using owner_line::bottom_, owner_line::slots_, owner_line::mask_, owner_line::top_cache_, owner_line::ring_;
  using thief_line::top_;

public:
  static constexpr std::int64_t default_capacity = 256;   // 2 KiB; a guess: fork-join needs its depth, a server its burst

  using owner_line::progress, owner_line::lifo;
  using thief_line::cost_ns, thief_line::grant;

  constexpr work_deque() noexcept = default;
  work_deque(work_deque const&) = delete;
  work_deque& operator=(work_deque const&) = delete;

  // Owner, before thieves know of it. Capacity: a power of two. Does nothing if there is a ring. Throws bad_alloc.
  void init(std::int64_t capacity = default_capacity) {
    SKUA_CHECK(capacity > 0 && std::has_single_bit(static_cast<std::uint64_t>(capacity)), "deque capacity: not a power of two");
    if (mask_ >= 0) return;
    ring* const first = ring::make(capacity, nullptr);
    if (first == nullptr) throw_bad_alloc();
    adopt(first);
  }

  // Owner, when no thread can look any more: gives the rings back and starts from scratch. Items that are left are forgotten.
  void release() noexcept {
    for (ring* r = ring_.load(std::memory_order_relaxed); r != nullptr;) delete std::exchange(r, r->previous);   // relaxed: own stores
    ring_.store(nullptr, std::memory_order_relaxed);                                                             // relaxed: nobody looks
    slots_ = nullptr;
    mask_ = -1;
    top_cache_ = 0;
    bottom_.store(0, std::memory_order_relaxed);
    top_.store(0, std::memory_order_relaxed);
    progress.store(0, std::memory_order_relaxed);
    lifo.reset(false);
    cost_ns.store(0, std::memory_order_relaxed);
    grant.store(1, std::memory_order_relaxed);
  }

  // Owner. x is not 0. Throws bad_alloc if it is full and cannot grow; then nothing has changed.
  SKUA_INLINE void push(item x) {
    SKUA_DCHECK(x != 0, "pushed nothing");
    std::int64_t const b = bottom_.load(std::memory_order_relaxed);   // relaxed: own store
    if (b - top_cache_ > mask_) [[unlikely]]
      if (!grow(b, 1)) throw_bad_alloc();
    slots_[b & mask_].store(x, std::memory_order_relaxed);            // relaxed: published by the next line
    bottom_.store(b + 1, std::memory_order_release);                  // release: pairs with bottom in steal(): slot, ring, item's contents
  }

  // Owner. Makes room for n more items, for push_reserved(). False: no memory; nothing has changed.
  [[nodiscard]] SKUA_INLINE bool try_reserve(std::int64_t n) noexcept {
    std::int64_t const b = bottom_.load(std::memory_order_relaxed);   // relaxed: own store
    return b + n - 1 - top_cache_ <= mask_ || grow(b, n);
  }
  SKUA_INLINE void reserve(std::int64_t n) {
    if (!try_reserve(n)) [[unlikely]] throw_bad_alloc();
  }
  // Owner. As push(), where there is room: reserved, or popped just now. (A pop leaves room: thieves only make more.)
  SKUA_INLINE void push_reserved(item x) noexcept {
    SKUA_DCHECK(x != 0, "pushed nothing");
    std::int64_t const b = bottom_.load(std::memory_order_relaxed);   // as in push()
    slots_[b & mask_].store(x, std::memory_order_relaxed);
    bottom_.store(b + 1, std::memory_order_release);
  }
  // Owner. As push_reserved() of make(0), make(1) .. make(n - 1); thieves see them a few at a time.
  template <std::size_t Few = 16, class Make>
  SKUA_INLINE void push_reserved_each(std::size_t n, Make make) noexcept {
    std::int64_t b = bottom_.load(std::memory_order_relaxed);   // as in push()
    typename deque_ring<Sync>::slot* const slots = slots_;
    std::int64_t const mask = mask_;
    for (std::size_t i = 0; i != n;) {
      item const x = make(i);
      SKUA_DCHECK(x != 0, "pushed nothing");
      slots[b++ & mask].store(x, std::memory_order_relaxed);
      if (++i % Few == 0) bottom_.store(b, std::memory_order_release);   // of very many the first ones run meanwhile
    }
    bottom_.store(b, std::memory_order_release);   // as in push(), of all of them
  }

  // Owner. The newest item; 0: there is none.
  SKUA_INLINE item pop() noexcept {
    std::int64_t const b = bottom_.load(std::memory_order_relaxed) - 1;   // relaxed: own store
    bottom_.exchange(b, std::memory_order_seq_cst);                       // store/load race with steal(): INV-DEQUE-1
    std::int64_t const t = top_.load(std::memory_order_seq_cst);          // pairs with the CAS in steal(): INV-DEQUE-1
    if (t < b) [[likely]] {
      item const x = slots_[b & mask_].load(std::memory_order_relaxed);   // relaxed: own store
      if (x == 0) __builtin_unreachable();                                // push() never stores 0: saves the caller's second test
      return x;
    }
    return pop_last(b, t);
  }

  // Owner. The oldest item, as a thief would take it; 0: there is none.
  item take_oldest() noexcept {
    std::int64_t t = top_.load(std::memory_order_relaxed);            // relaxed: the CAS decides
    std::int64_t const b = bottom_.load(std::memory_order_relaxed);   // relaxed: own store
    while (t < b) {
      item const x = slots_[t & mask_].load(std::memory_order_relaxed);
      // seq_cst: whoever sees this top must not see a bottom from before an earlier pop(): INV-DEQUE-1.
      if (top_.compare_exchange_weak(t, t + 1, std::memory_order_seq_cst, std::memory_order_relaxed)) return x;
    }
    return 0;
  }

  // Any thread. The oldest item; 0: there is none, or another thread was faster: then `lost` is set (it is never cleared).
  item steal(bool& lost) noexcept {
    std::int64_t t = top_.load(std::memory_order_seq_cst);             // before bottom: INV-DEQUE-1
    std::int64_t const b = bottom_.load(std::memory_order_seq_cst);    // store/load race with pop(); acquire: pairs with push()
    if (t >= b) return 0;
    ring* const r = ring_.load(std::memory_order_acquire);             // acquire: pairs with adopt(). Not older than b's push.
    item const x = r->slots[t & r->mask].load(std::memory_order_relaxed);   // may be a later item's: INV-DEQUE-2
    if (!top_.compare_exchange_strong(t, t + 1, std::memory_order_seq_cst, std::memory_order_relaxed)) {   // pairs with pop()
      lost = true;
      return 0;
    }
    return x;
  }

  // Any thread. seq_cst, so that a thread that has announced something (idle protocol) sees a push that did not see the announcement.
  bool looks_empty() const noexcept {
    std::int64_t const t = top_.load(std::memory_order_seq_cst);   // top first: a thief in between makes it look fuller, not emptier
    return bottom_.load(std::memory_order_seq_cst) <= t;
  }

  // Any thread: hints. Their difference may be off, also negative.
  std::int64_t bottom_hint() const noexcept { return bottom_.load(std::memory_order_relaxed); }
  std::int64_t top_hint() const noexcept { return top_.load(std::memory_order_relaxed); }

private:
  // Owner. At most one item is left: the CAS that thieves use decides it.
  SKUA_PRESERVE_MOST SKUA_NOINLINE item pop_last(std::int64_t b, std::int64_t t) noexcept {
    item x = 0;
    if (t == b) {
      x = slots_[b & mask_].load(std::memory_order_relaxed);   // relaxed: own store
      if (!top_.compare_exchange_strong(t, t + 1, std::memory_order_seq_cst, std::memory_order_relaxed)) x = 0;   // pairs with steal()
    }
    // relaxed: every index below b + 1 has been taken, so a thief that reads this finds nothing to read.
    bottom_.store(b + 1, std::memory_order_relaxed);
    return x;
  }

  // Owner. Makes room for n items, if only by looking at top again. False: no memory; nothing has changed.
  SKUA_PRESERVE_MOST SKUA_COLD bool grow(std::int64_t b, std::int64_t n) noexcept {
    // acquire: pairs with the CAS of thieves; their reads of slots that are reused now came before it: INV-DEQUE-2.
    top_cache_ = top_.load(std::memory_order_acquire);
    if (b + n - 1 - top_cache_ <= mask_) return true;
    std::int64_t capacity = mask_ < 0 ? default_capacity : 2 * (mask_ + 1);
    while (b + n - top_cache_ > capacity) capacity *= 2;
    ring* const bigger = ring::make(capacity, ring_.load(std::memory_order_relaxed));
    if (bigger == nullptr) return false;
    for (std::int64_t i = top_cache_; i < b; ++i)   // relaxed: own stores, published by adopt()
      bigger->slots[i & bigger->mask].store(slots_[i & mask_].load(std::memory_order_relaxed), std::memory_order_relaxed);
    adopt(bigger);
    return true;
  }

  void adopt(ring* r) noexcept {
    slots_ = r->slots;
    mask_ = r->mask;
    ring_.store(r, std::memory_order_release);   // release: pairs with ring_ in steal(): the ring and its copied slots
  }
};

static_assert(sizeof(deque_owner_line<real_sync>) == cache_line && sizeof(deque_thief_line<real_sync>) == cache_line);
static_assert(sizeof(work_deque<>) == 2 * cache_line && alignof(work_deque<>) == cache_line);
static_assert(std::is_trivially_destructible_v<work_deque<>>);
static_assert(std::atomic<item>::is_always_lock_free && std::atomic<std::int64_t>::is_always_lock_free);

} // namespace skua::detail
