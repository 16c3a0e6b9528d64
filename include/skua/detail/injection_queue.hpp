// SPDX-License-Identifier: Apache-2.0
// The injection queue: from any thread to any worker, without allocation and without waiting on the pusher's side.
//
// An intrusive queue of tagged words. `Link` says where the link word of an item lies:
//     struct link { static item& next(item) noexcept; };       // of a type to which an item can be assigned, and back
//
//   inbox   a stack that is only pushed to (CAS) and only taken whole (exchange), newest first. So there is no ABA: a CAS that succeeds puts its
//           batch on top of whatever is there, and needs nothing from it but its address.
//   stock   the private list of whoever holds the lock: oldest first. A consumer moves the inbox behind it and takes its share from its front.
//
// A push allocates nothing, waits for nothing and is lock-free: a stop request from a foreign thread, and an operation completed by one, cannot
// fail. A consumer that does not get the lock does not wait either: somebody else is handing out, and says `more` when something is left.
//
// inbox_   0 or the newest item.  -> x: any thread, CAS seq_cst.  -> 0: lock holder, exchange acq_rel.
// head_    the oldest item of the stock; 0: none; `moving`: the holder is between emptying the inbox and filling the stock.
//          Written by the lock holder only.
//
// INV-INJECT-1  An item that is pushed is taken exactly once. Items of one batch, and batches of one thread, are taken in order.
// INV-INJECT-2  looks_empty() does not overlook what was pushed before it began and is not taken: it reads the inbox, then head_, and an inbox
//               that the holder has emptied was emptied after head_ became non-zero.
// INV-INJECT-3  From push to take the link word belongs to the queue. Before the push it is the pusher's, and the pusher does not touch the item
//               after it; a taken item is not touched any more either.
// Checked by tests/model/injection_model.cpp.
//
// Rejected: a mutex and a vector (allocates; a pusher that loses its processor blocks everybody) · a Vyukov queue (a push that is half done hides
// everything behind it, and the idle protocol would take that for empty) · popping single items off the stack (ABA).
//
// Thread safety: all members from any thread.
#pragma once
#include "item.hpp"
#include "spin_lock.hpp"
#include "sync.hpp"
#include <algorithm>
#include <atomic>
#include <cstddef>

namespace skua::detail {

// What take() has done.
struct injection_share {
  std::size_t count = 0;   // items written to `out`
  bool more = false;       // some are left: another worker may be woken for them
  bool busy = false;       // somebody else is taking: not the same as empty; count is 0
};

template <class Sync>
struct alignas(cache_line) injection_inbox {
  typename Sync::template atomic<item> inbox_{0};
};

template <class Sync>
struct alignas(cache_line) injection_stock {
  spin_lock<Sync> lock_;
  typename Sync::template atomic<item> head_{0};
  typename Sync::template var<item> tail_{0};          // with the lock: the newest item of the stock, if there is one
  typename Sync::template var<std::size_t> count_{0};  // with the lock: items in the stock
};

template <class Sync, class Link>
class injection_queue : injection_inbox<Sync>, injection_stock<Sync> {
  static constexpr item moving = ~item{0};
  using injection_inbox<Sync>::inbox_;
  using injection_stock<Sync>::lock_, injection_stock<Sync>::head_, injection_stock<Sync>::tail_, injection_stock<Sync>::count_;

public:
  constexpr injection_queue() noexcept = default;
  injection_queue(injection_queue const&) = delete;
  injection_queue& operator=(injection_queue const&) = delete;
  ~injection_queue() { SKUA_DCHECK(looks_empty(), "an injection queue died with items in it"); }

  void push(item x) noexcept { push_chain(x, x); }

  // A batch, in order, by one CAS.
  void push(item const* items, std::size_t count) noexcept {
    if (count == 0) return;
    for (std::size_t i = 1; i != count; ++i) Link::next(items[i]) = items[i - 1];   // plain: published by the CAS
    push_chain(items[count - 1], items[0]);
  }

  // A batch that is linked already: from each item to the one that is to be taken before it, down to `oldest`.
  void push_chain(item newest, item oldest) noexcept {
    SKUA_DCHECK(newest != 0 && oldest != 0, "injected nothing");
    item below = inbox_.load(std::memory_order_relaxed);   // relaxed: the CAS decides; what is below is not looked at
    do Link::next(oldest) = below;
    // release: pairs with the exchange in take(): links, and the items' contents. seq_cst: a pusher that then reads who sleeps, against a
    // sleeper that says so and then calls looks_empty().
    while (!inbox_.compare_exchange_weak(below, newest, std::memory_order_seq_cst, std::memory_order_relaxed));
  }

  // The caller's fair share, one of `workers`, of what is there, oldest first, at most `max` and at least one if there is any.
  // Does not wait. `busy` must not be taken for empty: the holder may have looked before the last push.
  [[nodiscard]] injection_share take(item* out, std::size_t max, unsigned workers) noexcept {
    if (empty_hint() || max == 0) return {};
    if (!lock_.try_lock()) return {.busy = true};
    item x = head_.load(std::memory_order_relaxed);                     // relaxed: written with the lock
    if (inbox_.load(std::memory_order_relaxed) != 0) x = move_inbox(x); // relaxed: a push that is missed is not older than this call
    std::size_t const stock = count_;
    std::size_t const share = std::min(max, (stock + workers - 1) / workers);
    for (std::size_t i = 0; i != share; ++i) {
      out[i] = x;
      x = i + 1 != stock ? static_cast<item>(Link::next(x)) : 0;        // the newest has a stale link
    }
    count_ = stock - share;
    head_.store(x, std::memory_order_relaxed);   // relaxed: to the next holder by the lock; to looks_empty(): INV-INJECT-2
    lock_.unlock();
    return {.count = share, .more = x != 0};
  }

  // seq_cst, for a worker that has announced that it is about to sleep; pairs with the CAS in push_chain(). INV-INJECT-2.
  bool looks_empty() const noexcept {
    return inbox_.load(std::memory_order_seq_cst) == 0 &&   // also acquire: pairs with the exchange in move_inbox(): head_ = moving
           head_.load(std::memory_order_seq_cst) == 0;
  }

  // Cheap, and may be late.
  bool empty_hint() const noexcept {
    return inbox_.load(std::memory_order_relaxed) == 0 && head_.load(std::memory_order_relaxed) == 0;
  }

private:
  // Lock holder; the inbox is not empty. Puts what is in it behind the stock, whose head is given, and returns the new head. Walks over
  // everything that was injected since the last time, once.
  item move_inbox(item head) noexcept {
    if (head == 0) head_.store(moving, std::memory_order_relaxed);   // relaxed: published by the exchange
    // acquire: pairs with push_chain(): links. release: pairs with looks_empty(): head_ is not 0.
    item const newest = inbox_.exchange(0, std::memory_order_acq_rel);
    item first = newest, newer = 0;
    std::size_t moved = 1;
    for (item x = newest;; ++moved) {   // reverses: the link of an item leads to the next younger one afterwards
      item const older = Link::next(x);
      if (newer != 0) Link::next(x) = newer;
      first = newer = x;
      if (older == 0) break;
      x = older;
    }
    if (head == 0)
      head = first;
    else
      Link::next(tail_) = first;
    tail_ = newest;
    count_ = count_ + moved;
    return head;
  }
};

static_assert(sizeof(injection_inbox<real_sync>) == cache_line && sizeof(injection_stock<real_sync>) == cache_line);

} // namespace skua::detail
