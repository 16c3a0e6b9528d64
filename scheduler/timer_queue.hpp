// SPDX-License-Identifier: Apache-2.0
// One worker's timers: the wheel behind a small lock, its earliest deadline for all to see, and the firing handshake.
//
// Who calls
//   arm      the worker that runs the awaiting coroutine, on its own queue. True: the caller must see to it that the alarm is not later than
//            this deadline (driver::set_alarm).
//   disarm   any worker: a stop request may be dispatched elsewhere than where the timer was armed. It is the timer's withdraw():
//            true    the timer was taken out; nobody touches it any more, its frame may die
//            false   an expirer has taken it and *is firing it*: `fire` will be called, or is being called. The caller gives way to it
//                    (stop_core.hpp, give_way): it may not free the timer, and learns of the end by its operation's word.
//   expire   the owner in its loop; the I/O thread or the holder of the poller role as the backstop for a busy or sleeping owner. Several at once
//            are fine. Due timers are taken out under the lock; `fire` is called outside it, so it may arm, disarm and schedule.
//
// A timer's life, as the lock sees it
//     free      -> armed      arm
//     armed     -> free       disarm, true
//     armed     -> firing     expire, under the lock. It is in the expirer's chain, linked by `next`, with prev == nullptr
//     firing    -> free       the expirer, outside the lock, at the latest when it calls fire(timer): it has read `next` before
//
// Shared words
//   lock_            protects the wheel, and of every armed timer next, prev, deadline. disarm() may read `prev` of a timer that is
//                    firing, and nothing else of it: the caller keeps the frame alive until it is told the outcome.
//   next_deadline_   a lower bound on the deadlines of all armed timers; timer_never_ns: none; 0: some are due now. Written under the lock, read by
//                    anybody without. It is not raised by disarm(): a stale value costs one wake-up, which corrects it.
//   timer.home       the queue. Written by arm before the timer can be found; read by disarm, ordered after arm by what told its caller of the
//                    operation (the branch's word).
//
// INV-TIMER-1  A timer that was armed is given back exactly once: by one disarm() that returns true, or by one call of fire().
// INV-TIMER-2  Once disarm() returned true, or fire(timer) has been called, the queue never touches the timer again.
// INV-TIMER-3  disarm() returns false only if fire(timer) has not returned, so its caller may wait for that without a time-out.
// INV-TIMER-4  Whenever the lock is free, next_deadline_ <= the deadline of every armed timer.
// INV-TIMER-5  Every value that next_deadline_ takes is told to the caller who put it there: arm() by true (it is that deadline), expire() by its
//              result. If each sees to it that the alarm is not later, no timer is overlooked. Two callers may come to the alarm in
//              the wrong order: whoever sets it *later* must look at next_deadline() again behind that.
// INV-TIMER-6  No timer fires before its deadline (INV-WHEEL-1).
//
// Rejected instead of the lock: an owner-only wheel with a stack of foreign disarms, which must be waited for before the frame may die; it
// saves one RMW (6 ns) an operation and costs a stop request from elsewhere a hand-over.
//
// Model: tests/model/timer_model.cpp (INV-TIMER-1 to 5), with seeded mutants in tests/model/timer_model.mutants.
#pragma once
#include "skua/detail/spin_lock.hpp"
#include "timer_wheel.hpp"

namespace skua::detail {

template <class Sync, class Shape = timer_shape>
class alignas(cache_line) basic_timer_queue {
public:
  using entry = basic_timer_entry<Sync>;

  explicit basic_timer_queue(std::uint64_t now_ns = 0) noexcept : wheel_(now_ns) {}

  // `t` is free. True: earlier than all deadlines before it, see to the alarm. Once it returns, the timer may have fired.
  [[nodiscard("true: the alarm may be too late")]] bool arm(entry& t, std::uint64_t deadline_ns, unsigned kind = 0) noexcept {
    SKUA_DCHECK(kind < entry::kinds, "a timer has six bits for its kind");
    locked const guard(lock_);
    t.home = reinterpret_cast<std::uintptr_t>(this) | kind;
    if (!wheel_.insert(t, deadline_ns)) [[likely]] return false;
    publish_locked();
    return true;
  }

  // `t` was armed, and the caller's protocol keeps it alive. False: an expirer is firing it.
  [[nodiscard("false: the timer is firing, and its frame must outlive that")]] static bool disarm(entry& t) noexcept {
    basic_timer_queue& q = *reinterpret_cast<basic_timer_queue*>(t.home & ~std::uintptr_t{entry::kinds - 1});
    locked const guard(q.lock_);
    if (!t.linked()) [[unlikely]] return false;   // INV-TIMER-3: taken by an expirer under this lock
    q.wheel_.remove(t);
    return true;
  }

  // Takes at most max_count timers that are due at `now_ns`, in order, and calls fire(entry&) for each; max_count > 0. What then is the lower
  // bound on the deadlines of the rest: timer_never_ns if there are none, 0 if more are due (or a cascade goes on): call it again.
  template <class Fire>
  std::uint64_t expire(std::uint64_t now_ns, std::size_t max_count, Fire&& fire) {
    // relaxed: a hint. To miss an arm() that runs beside us is to have come before it, and that arm() sees to the alarm.
    if (std::uint64_t const next = next_deadline(); next > now_ns) return next;
    chain due{nullptr};
    std::uint64_t const next = take(now_ns, max_count, due);
    while (due.first != nullptr) {
      entry& t = *due.first;
      due.first = following(t);   // INV-TIMER-2: before it fires
      fire(t);
    }
    return next;
  }

  // A lower bound on the deadlines of all armed timers (INV-TIMER-4). Any thread; out of date as soon as it is read.
  std::uint64_t next_deadline() const noexcept { return next_deadline_.load(std::memory_order_relaxed); }

private:
  class locked {
  public:
    explicit locked(spin_lock<Sync>& l) noexcept : lock_(l) { lock_.lock(); }
    ~locked() { lock_.unlock(); }
    locked(locked const&) = delete;

  private:
    spin_lock<Sync>& lock_;
  };

  // Timers that an expirer has taken out, linked by `next`. Its own: no lock.
  struct chain {
    entry* first;
  };
  static entry* following(entry& t) noexcept { return static_cast<entry*>(static_cast<timer_link<Sync>*>(t.next)); }

  std::uint64_t take(std::uint64_t now_ns, std::size_t max_count, chain& due) noexcept {
    entry* last = nullptr;
    locked const guard(lock_);
    wheel_.advance(now_ns, max_count, [&](basic_wheel_entry<Sync>& e) {
      entry& t = static_cast<entry&>(e);
      t.next = nullptr;
      if (last == nullptr)
        due.first = &t;
      else
        last->next = &t;
      last = &t;
    });
    publish_locked();
    return wheel_.earliest();
  }

  // relaxed: its readers decide again under the lock, or are ordered by the alarm they were woken by.
  void publish_locked() noexcept { next_deadline_.store(wheel_.earliest(), std::memory_order_relaxed); }

  typename Sync::template atomic<std::uint64_t> next_deadline_{timer_never_ns};   // own line: read by others, seldom written
  alignas(cache_line) spin_lock<Sync> lock_;                                              // with the wheel's first words
  basic_timer_wheel<Sync, Shape> wheel_;
};

using timer_queue = basic_timer_queue<real_sync>;
static_assert(sizeof(timer_queue) <= 8192 && alignof(timer_queue) >= timer_entry::kinds);

} // namespace skua::detail
