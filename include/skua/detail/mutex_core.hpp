// SPDX-License-Identifier: Apache-2.0
// The word of a mutex, its list of waiters, and every transition on them. mutex.hpp explains; tests/model/mutex_model.cpp checks this code.
//
// mutex_core.word
//     bit 0  held      somebody owns the mutex
//     bit 1  busy      somebody changes the list: its spin lock
//     bit 2  waiting   the list is not empty
//     bit 3  called    a waiter was taken out of the list to try again, and has not come yet
//     bit 4  insists   the first in the list was called, came, and found the mutex taken: the next unlock hands it over
//
//     from                       to                       who                          effect
//     not held                   |held                    try_lock, anybody            a new owner; it may overtake those who wait
//     held, no waiting           -held                    unlock, the owner            free
//     held, waiting, called      -held                    unlock, the owner            free: the called one is on its way
//     held, waiting              |busy .. -held |called   unlock, the owner            the first was taken: to be called (not insists), or
//     held, waiting, insists     |busy .. -insists        unlock, the owner            .. to be given the mutex, which stays held
//     held                       |busy .. |waiting        enqueue                      queued at the end, if it is still held by then
//     busy, not held             -busy |held              enqueue, retry, under busy   free by now: it takes it
//     not held, called           |held -called            retry, the called one        owner
//     held, called               |busy .. -called |waiting |insists   retry            queued at the front
//     called                     |busy .. -called [|held for the first]    give_up     the called one is stopped
//     waiting                    |busy .. [-waiting] [-insists]            withdraw    taken out of the list, for a stop
//     any                        |busy .. |waiting [|held for the first]   notify      waiters of a condition variable come to wait here
//     not busy                   |busy                    lock_list, a select          it looks at all its sources at once
//     busy                       |held, or |waiting       take_locked, a select        it owns it; or the next unlock comes to the list
//     busy                       -busy [-waiting]         unlock_list, a select        `waiting` if somebody is in the list
//
// A waiter may be a branch of a select (`Selects`; INV-WAIT-7 in wait_queue.hpp). It is claimed when it is its turn, and then handed the mutex, never called:
// its select has been decided for it. One that cannot be claimed is dropped.
//
// Fairness is bounded barging. A mutex that is free is taken by whoever comes first: so a worker that locks and unlocks again and again does not switch
// tasks each time, and contention moves to one worker. (Always handing over: once a queue has formed, 45 ns an operation instead of 16, for good.)
// Waiters are called in the order of their arrival, one at a time. Whoever is called and has been overtaken insists: then nobody overtakes it, the
// next unlock is its. So a waiter at the front is overtaken only while it waits for its turn on a worker, once.
//
// INV-MUTEX-1  `waiting`, `called` and `insists` are changed by the holder of `busy` (`called` also by the called one, with the CAS that makes it the owner).
// INV-MUTEX-2  waiting and not held => called: somebody is on its way who takes the mutex, insists, or passes the call on. No wake-up is lost.
// INV-MUTEX-3  insists => held, not called, and who insists is the first in the list. (So nobody overtakes it.)
// INV-MUTEX-4  held => there is one owner: it runs, or it was handed the mutex and will go on with it, for a completion is always delivered (S4). No
//              mutex is owned by nobody.
// INV-MUTEX-5  unlock() touches the mutex last with the store or CAS that gives `held` up, or hands it over; so the next owner may destroy it. If it
//              calls a waiter, that one has not finished with the mutex.
//
// Memory order: the acquire of whoever becomes owner pairs with the release of the last one's unlock; with a hand-over the completion does it. Taking
// `busy` is an acquire, giving it up a release: the list.
#pragma once
#include "config.hpp"
#include "wait_queue.hpp"
#include <atomic>
#include <cstdint>

namespace skua::detail {

struct no_selects {
  template <class W>
  static constexpr bool is(W const&) noexcept {
    return false;
  }
  template <class W>
  static constexpr bool claim(W&) noexcept {
    return true;
  }
};

template <class Sync, class Operation, class Selects = no_selects>
class mutex_core {
public:
  using waiter = basic_waiter<Sync, Operation>;
  using list = basic_wait_list<Sync, Operation>;
  using word = std::uint32_t;
  static constexpr word held = 1, busy = 2, waiting = 4, called = 8, insists = 16;

  // Whom the caller must complete, once it has returned; `owns`: it has been given the mutex, otherwise it is to retry().
  struct passed {
    waiter* who = nullptr;
    bool owns = false;
  };

  [[nodiscard]] SKUA_INLINE bool try_lock() noexcept {
    word w = word_.load(relaxed);
    while ((w & held) == 0)
      if (word_.compare_exchange_weak(w, w | held, acquire, relaxed)) return true;
    return false;
  }
  // The owner.
  [[nodiscard]] SKUA_INLINE passed unlock() noexcept {
    word w = word_.load(relaxed);
    while (!must_pass(w)) [[likely]]
      if (word_.compare_exchange_weak(w, w & ~held, release, relaxed)) [[likely]] return {};   // INV-MUTEX-5
    return unlock_slow();
  }

  // A new waiter. True: it owns the mutex, and was not queued.
  [[nodiscard]] bool enqueue(waiter& o) noexcept {
    word w;
    if (!busy_unless_free(w, 0)) return true;
    for (;;) {
      list_.push_back(o);
      while (w & held)
        if (word_.compare_exchange_weak(w, (w & ~busy) | waiting, release, relaxed)) return false;
      (void)list_.withdraw(o);
      if (own_from_busy(w, 0)) return true;
    }
  }
  // The one that was called. True: it owns the mutex. False: it is queued again, at the front, and insists.
  [[nodiscard]] bool retry(waiter& o) noexcept {
    word w;
    if (!busy_unless_free(w, called)) return true;
    for (;;) {
      list_.push_front(o);
      while (w & held)
        if (word_.compare_exchange_weak(w, (w & ~(busy | called)) | waiting | insists, release, relaxed)) return false;
      (void)list_.withdraw(o);
      if (own_from_busy(w, called)) return true;
    }
  }
  // The one that was called is stopped instead: the mutex, or the call, goes to the next.
  [[nodiscard]] passed give_up() noexcept {
    take_busy();
    return settle(called);
  }
  struct withdrawn {
    bool mine;     // the waiter is the caller's again
    passed next;   // to be completed by the caller, as everywhere
  };
  // A worker, for a stop.
  [[nodiscard]] withdrawn withdraw(waiter& o) noexcept {
    take_busy();
    word const clear = list_.front() == &o ? insists : 0;   // INV-MUTEX-3
    bool const mine = list_.withdraw(o);
    return {mine, settle(clear)};
  }

  // ---------------------------------------------------------------------------------------------- for selects

  void lock_list() noexcept { take_busy(); }
  // Between lock_list() and unlock_list(). True: the caller owns the mutex. False: its owner will come to the list, which it cannot do before unlock_list().
  [[nodiscard]] bool take_locked() noexcept {
    for (word w = word_.load(relaxed);;) {
      if ((w & held) == 0) {
        if (word_.compare_exchange_weak(w, w | held, acquire, relaxed)) return true;
      } else if (word_.compare_exchange_weak(w, w | waiting, relaxed, relaxed)) {
        return false;
      }
    }
  }
  void push_locked(waiter& o) noexcept { list_.push_back(o); }
  void unlock_list() noexcept {
    [[maybe_unused]] passed const p = settle(0);
    SKUA_DCHECK(p.who == nullptr, "somebody waits at a mutex only while it is held, or is about to be (INV-MUTEX-2)");
  }

  // ---------------------------------------------------------------------------------------------- for condition variables

  // The owner waits in `other`, a list under this mutex's lock, and gives the mutex up, in one step.
  [[nodiscard]] passed unlock_and_wait(list& other, waiter& o) noexcept {
    take_busy();
    other.push_back(o);
    return pass();
  }
  // Moves waiters of `other`, the oldest or all, to those who wait for the mutex. If it is free and nobody is on the way, the first of them is given it.
  // `alone(w)`: a flag of the waiter, under busy: it was moved by a notification for one.
  template <class Alone>
  [[nodiscard]] passed notify(list& other, bool all, Alone alone) noexcept {
    take_busy();
    while (move_next(other, alone, !all) && all) {
    }
    return settle(0);
  }
  // As give_up() and withdraw(), for one that waits in `other`, or has been moved here. If it was notified alone, the next of `other` is moved in its
  // place: the notification is not lost.
  template <class Alone>
  [[nodiscard]] passed give_up(list& other, waiter& o, Alone alone) noexcept {
    take_busy();
    if (alone(o)) move_next(other, alone, true);
    return settle(called);
  }
  template <class Alone>
  [[nodiscard]] withdrawn withdraw(list& other, waiter& o, Alone alone) noexcept {
    take_busy();
    if (other.withdraw(o)) return {true, settle(0)};
    word const clear = list_.front() == &o ? insists : 0;
    bool const mine = list_.withdraw(o);
    if (mine && alone(o)) move_next(other, alone, true);
    return {mine, settle(clear)};
  }

  bool is_held() const noexcept { return word_.load(relaxed) & held; }
  bool unused() const noexcept { return word_.load(relaxed) == 0; }

private:
  static constexpr auto relaxed = std::memory_order_relaxed, acquire = std::memory_order_acquire, release = std::memory_order_release;
  static constexpr bool must_pass(word w) noexcept { return (w & (waiting | called)) == waiting; }   // INV-MUTEX-2

  void take_busy() noexcept {
    typename Sync::backoff wait;
    for (word w = word_.load(relaxed);;) {
      if ((w & busy) == 0 && word_.compare_exchange_weak(w, w | busy, acquire, relaxed)) return;
      if (w & busy) {
        wait.pause();
        w = word_.load(relaxed);
      }
    }
  }
  // As take_busy(). False: the mutex was free, the caller owns it now, and is not busy. `w`: the word.
  bool busy_unless_free(word& w, word clear) noexcept {
    typename Sync::backoff wait;
    for (w = word_.load(relaxed);;) {
      if ((w & held) == 0) {
        if (word_.compare_exchange_weak(w, (w | held) & ~clear, acquire, relaxed)) return false;
      } else if ((w & busy) == 0) {
        if (word_.compare_exchange_weak(w, w | busy, acquire, relaxed)) return w |= busy, true;
      } else {
        wait.pause();
        w = word_.load(relaxed);
      }
    }
  }
  // Under busy, as long as the mutex is free. acquire: pairs with unlock(). release: the list.
  bool own_from_busy(word& w, word clear) noexcept {
    while ((w & held) == 0)
      if (word_.compare_exchange_weak(w, (w | held) & ~(busy | clear), std::memory_order_acq_rel, relaxed)) return true;
    return false;
  }
  template <class Alone>
  bool move_next(list& other, Alone alone, bool for_one) noexcept {
    waiter* const o = other.take();
    if (o == nullptr) return false;
    alone(*o) = for_one;
    list_.push_back(*o);
    return true;
  }
  // Gives busy up, and `clear`. INV-MUTEX-2: if the mutex is free, somebody waits and nobody is on the way, the first is given it.
  passed settle(word clear) noexcept {
    for (word w = word_.load(relaxed);;) {
      if (list_.empty()) {
        if (word_.compare_exchange_weak(w, w & ~(busy | waiting | clear), release, relaxed)) return {};
      } else if ((w & ~clear) & (held | called)) {   // the owner's unlock, or the one on the way, sees to them
        if (word_.compare_exchange_weak(w, (w & ~(busy | clear)) | waiting, release, relaxed)) return {};
      } else if (word_.compare_exchange_weak(w, w | held, acquire, relaxed)) {   // acquire: pairs with unlock(), for the one that is given it
        bool select;
        waiter* const first = take_first(select);
        word_.store((first != nullptr ? held : 0) | (list_.empty() ? 0 : waiting), release);   // as in pass()
        return {first, true};
      }
    }
  }
  SKUA_NOINLINE passed unlock_slow() noexcept {
    take_busy();
    return pass();
  }
  // The owner, under busy: gives the mutex up. Nobody else changes the word meanwhile, hence a store; it is the last access (INV-MUTEX-5).
  passed pass() noexcept {
    word const w = word_.load(relaxed);
    if (!must_pass(w)) {   // they have been stopped, or called
      word_.store(w & ~(held | busy), release);
      return {};
    }
    bool select;
    waiter* const first = take_first(select);
    bool const hand_over = (w & insists) || select;
    word_.store((first == nullptr ? 0 : hand_over ? held : called) | (list_.empty() ? 0 : waiting), release);
    return {first, hand_over};
  }
  // Under busy. Null: nobody is left.
  waiter* take_first(bool& select) noexcept {
    for (;;) {
      waiter* const w = list_.take();
      select = w != nullptr && Selects::is(*w);
      if (!select || Selects::claim(*w)) return w;
    }
  }

  typename Sync::template atomic<word> word_{0};
  list list_;
};

} // namespace skua::detail
