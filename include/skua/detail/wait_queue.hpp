// SPDX-License-Identifier: Apache-2.0
// The wait queue that every lock, event, semaphore and channel is built on: waiters in the order of their arrival, under the primitive's spin lock.
//
// A primitive is a spin_lock, plain fields and one or more wait_lists. A waiter is an operation with links; it lies in the awaiting frame.
//
//     enqueue    the awaiting branch, in await_suspend:  begin(w, h) (false: unwind) · lock · look whether it must wait at all · push_back · unlock
//                · suspend(w). Nothing of the primitive may be touched after the unlock, nothing of the frame after suspend().
//     complete   whoever changes the primitive, any thread:  lock · change it · take waiters out of the list, write their results · unlock ·
//                wake(what was taken). Nothing but the taken waiters may be touched after the unlock, and each of them only until its complete().
//     withdraw   a worker, for a stop (operation_kind::withdraw):  lock · still in the list: take it out · unlock.  True if it was there; false: a
//                completer has it, and will complete it.
//
//     waiter                      from            to              who
//                                 in no list      in a list       enqueue, under the lock
//                                 in a list       taken           complete, under the lock; the completer has it in hand
//                                 in a list       withdrawn       withdraw, under the lock; the worker unwinds its branch
//                                 taken           (the branch's)  the completer's complete(), without the lock
//
// INV-WAIT-1  A waiter is in one list at most, and `epoch` equals the list's exactly while it is. Links and epoch are changed under the lock; those of
//             a taken waiter by the completer that has it.
// INV-WAIT-2  A waiter is taken or withdrawn, never both: both happen under the lock, and only to a waiter that is in the list.
// INV-WAIT-3  A completer reads what it needs of a waiter (its links above all) before it completes it, and nothing afterwards.
// INV-WAIT-4  Destruction after waking. A woken task may destroy the primitive at once, while its completer is still inside set(), unlock() or
//             release(). Proof: the store that unlocks is the completer's last access to the primitive. It comes before complete() in program order,
//             complete() is a release, and the waiter goes on only after an acquire that reads it (arm, dispatch or the queues): so the last access
//             happens before everything that the woken task does. The same holds for the worker that withdraws for a stop: the branch that it works
//             for is unwound, or goes on, only when it is through. What a program must still not do: destroy a primitive while another task is
//             inside an operation on it, be it woken already (a stop may be looking for it in the list).
// INV-WAIT-5  The same for who did not wait: state is read and written under the lock alone, so who has seen a change has locked after the store that
//             was its author's last access. Hence no fast path may look at the state without the lock, unless the word that it looks at is the
//             lock itself, or is written by the very last access (once_core.hpp).
// INV-WAIT-6  What a primitive gives out is never lost (S4). A stop wins if withdraw() finds the waiter in the list. Otherwise the waiter was taken, and what
//             it was given (a lock, a permit, a value) is delivered: its coroutine goes on as if there were no stop, and its next suspension point
//             sees it. When a withdrawal lets others go on (it stood before them), the withdrawing worker is their completer.
//
// INV-WAIT-7  A waiter may be a branch of a select (select_core.hpp), which another branch decides meanwhile. What gives something out that can be lost (a
//             lock, a permit, a message) therefore claims such a waiter under the lock, before it gives (take_live in waiter.hpp): one that cannot be
//             claimed is dropped from the list, and has had no effect. What only tells (a flag is set) needs no claim: the branch itself claims when it runs.
//
// What follows for a primitive: await_resume() must not touch it, but for what the waiter owns by then (a lock that was handed over). Destroying one
// that tasks wait for is a bug of the program, which its destructor finds.
//
// Rejected: a lock-free list (a withdrawal from the middle needs the list's lock in all but name, and the uncontended cost is the same: one RMW);
// waking under the lock (the woken task runs into it at once, on another core); completers that pop one waiter at a time (the second lock may be one on
// freed memory, INV-WAIT-4).
//
// Templated on the atomics; tests/model/wait_queue_model.cpp checks this code (as an event, which a latch is too, and a semaphore of single permits). What a
// primitive adds is in a core of its own, with a model: mutex, condition, once, semaphore, shared_mutex, barrier, auto_reset, strand, watch,
// broadcast, channel.
#pragma once
#include "spin_lock.hpp"
#include "sync.hpp"
#include <cstddef>
#include <cstdint>

namespace skua::detail {

// `Operation`: stop_core<Sync>::operation, or what is derived from it.
template <class Sync, class Operation>
struct basic_waiter : Operation {
  using Operation::Operation;
  typename Sync::template var<basic_waiter*> before{nullptr}, behind{nullptr};   // its neighbours in a ring; null: it is in none
  typename Sync::template var<std::uint64_t> epoch{0};                           // of the list it is in; 0: in none
};

// Waiters in order, linked in a ring; whoever has the ring has the waiters. One pointer, to the oldest.
template <class Sync, class Operation>
class basic_waiter_ring {
public:
  using waiter = basic_waiter<Sync, Operation>;

  basic_waiter_ring() noexcept = default;
  basic_waiter_ring(basic_waiter_ring&& o) noexcept : oldest_(o.front()) { o.oldest_ = nullptr; }
  basic_waiter_ring& operator=(basic_waiter_ring&&) = delete;

  bool empty() const noexcept { return front() == nullptr; }
  waiter* front() const noexcept { return oldest_; }
  bool has_one() const noexcept { return !empty() && static_cast<waiter*>(front()->behind) == front(); }

  void push_back(waiter& w) noexcept {
    if (empty()) {
      w.before = &w;
      w.behind = &w;
      oldest_ = &w;
    } else {
      waiter& first = *front();
      waiter& last = *static_cast<waiter*>(first.before);
      w.before = &last;
      w.behind = &first;
      last.behind = &w;
      first.before = &w;
    }
  }
  void push_front(waiter& w) noexcept {
    push_back(w);
    oldest_ = &w;
  }
  void remove(waiter& w) noexcept {
    waiter* const next = w.behind;
    if (next == &w) {
      oldest_ = nullptr;
    } else {
      waiter* const previous = w.before;
      previous->behind = next;
      next->before = previous;
      if (front() == &w) oldest_ = next;
    }
    w.before = nullptr;
    w.behind = nullptr;
  }
  // The oldest, the newest; null: it is empty.
  waiter* pop_front() noexcept { return take(front()); }
  waiter* pop_back() noexcept { return empty() ? nullptr : take(front()->before); }
  // All of `o`, behind what is here.
  void append(basic_waiter_ring&& o) noexcept {
    if (o.empty()) return;
    if (empty()) {
      oldest_ = o.front();
    } else {
      waiter &a = *front(), &b = *o.front();
      waiter &last_a = *static_cast<waiter*>(a.before), &last_b = *static_cast<waiter*>(b.before);
      last_a.behind = &b;
      b.before = &last_a;
      last_b.behind = &a;
      a.before = &last_b;
    }
    o.oldest_ = nullptr;
  }

private:
  waiter* take(waiter* w) noexcept {
    if (w != nullptr) remove(*w);
    return w;
  }
  typename Sync::template var<waiter*> oldest_{nullptr};
};

// A primitive's list. Every member under the primitive's lock, but for the constructor and the check in the destructor.
template <class Sync, class Operation>
class basic_wait_list {
public:
  using waiter = basic_waiter<Sync, Operation>;
  using ring = basic_waiter_ring<Sync, Operation>;

  basic_wait_list() noexcept = default;
  // Two lists under one lock, between which waiters move, count their epochs apart: contains() tells them from each other.
  explicit basic_wait_list(std::uint64_t first_epoch) noexcept : epoch_(first_epoch) {}
  basic_wait_list(basic_wait_list const&) = delete;

  bool empty() const noexcept { return ring_.empty(); }
  waiter* front() const noexcept { return ring_.front(); }
  bool contains(waiter const& w) const noexcept { return static_cast<std::uint64_t>(w.epoch) == static_cast<std::uint64_t>(epoch_); }   // INV-WAIT-1

  void push_back(waiter& w) noexcept {
    w.epoch = static_cast<std::uint64_t>(epoch_);
    ring_.push_back(w);
  }
  void push_front(waiter& w) noexcept {   // one that was in it before and has not had its turn
    w.epoch = static_cast<std::uint64_t>(epoch_);
    ring_.push_front(w);
  }
  // The oldest; null: nobody waits.
  [[nodiscard]] waiter* take() noexcept {
    waiter* const w = ring_.pop_front();
    if (w != nullptr) w->epoch = 0;
    return w;
  }
  // All of them, in constant time: they are taken because the list's epoch is another one from here on.
  [[nodiscard]] ring take_all() noexcept {
    epoch_ = static_cast<std::uint64_t>(epoch_) + 1;
    return ring(static_cast<ring&&>(ring_));
  }
  // A worker, for a stop. True: the waiter is the caller's again. False: a completer has it (INV-WAIT-2).
  [[nodiscard]] bool withdraw(waiter& w) noexcept {
    if (!contains(w)) return false;
    ring_.remove(w);
    w.epoch = 0;
    return true;
  }

private:
  ring ring_;
  typename Sync::template var<std::uint64_t> epoch_{1};
};

} // namespace skua::detail
