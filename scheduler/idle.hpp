// SPDX-License-Identifier: Apache-2.0
// Sleeping and waking: who watches, who sleeps, who must wake whom. The words and every transition on them, templated on `Sync` so that
// tests/model/idle_model.cpp checks this very code. idle_loop.hpp puts them in order; parking.cpp binds them to futexes, the driver and the queues.
//
// A worker is in one of these states
//     running                runs items; counted nowhere
//     watching               looks at the others for work. While anybody watches, no producer wakes anybody
//     watching, napping      holds the poller role and waits in the driver for a nap's length: the *sentinel*. Counts as watching
//     asleep                 on its own futex, without a time-out
//     asleep, polling        holds the poller role and waits in the driver without a time-out. A sleeper like any other, and the last to be woken
//
// Shared words
//   idle      asleep - 2^32 x watching, signed (+ `bias`, where the kernel refuses membarrier). So it is positive exactly when somebody sleeps and
//             nobody watches: one compare after a push. Every change is a seq_cst RMW, so its values form one history that all of the below is
//             argued in, and whoever changes it has seen what happened before every earlier change.
//   signal    one per worker: awake, asleep, polling, napping.
//                 awake -> asleep / polling / napping   its worker, before it is counted
//                 asleep, polling -> awake              by CAS: a waker, or its worker by rise(); whoever does has counted one sleeper off `idle`
//                                                       *before*. So every claim finds a sleeper, and sleepers <= signals that say so
//                 napping -> awake                      an injector by CAS (then it kicks), or its worker
//   poller    the worker that holds the poller role, + 1; 0: it is free.  0 -> w: w, CAS.  w -> 0: w.
//
// The duties
//   pusher    stores the item, then reads idle (plain, inlined: worker.hpp). Positive: wake_one().
//   injector  pushes (seq_cst), then notify_injected(): wakes a sleeper if nobody watches, else ends the sentinel's nap.
//   watcher   whoever makes idle positive, by going to sleep or by leaving the watch, is the last watcher: it looks at every queue, behind a
//             barrier on all threads; when something is there it goes on watching, or wakes one.
//   holder    keeps the role, woken or not, until it has left the driver's wait (which consumes the kick); then, and before it runs anything, it
//             gives it up on every path by give_up_role() and tells the driver.
//
// INV-IDLE-1  If an item is queued and a worker sleeps, then somebody watches (a sleeper that has been claimed counts), or its pusher is about to
//             read a positive `idle`, or whoever made it positive is about to look. (Weaker than "is never left": a watcher may leave an item to its
//             owner, by steal_policy.hpp, but only while it keeps watching.)
// INV-IDLE-2  The RMW that makes idle positive by ending a watch is followed, on the same thread, by a barrier on all threads and a look at all
//             queues. A pusher's plain load came before that barrier (then its item is seen) or reads that RMW or a later one.
//             If all workers are asleep no barrier is needed: their pushes happened before their own RMWs.
// INV-IDLE-3  Whether anybody watches is read off the value that the RMW replaced, never off an earlier load: the watcher may have gone meanwhile.
// INV-IDLE-4  An injected item is never left: injector (push, then idle, then poller, signal) and nap (signal, then the queue) are a store/load pair of
//             seq_cst operations; and a watcher that goes on to sleep or to nap looks after it has said so.
// INV-IDLE-5  At most one worker waits in the driver: the holder of the role. When all workers sleep, one of them holds it.
// INV-IDLE-6  A kick is written only for a holder that has been claimed (polling or napping -> awake), and is consumed only by a holder. One
//             that comes late is consumed by the next holder, as an empty turn.
//
// Mistakes that were made in prototypes, each now a mutant in tests/model/idle_model.mutants: no look before sleeping; none on leaving the watch; a
// sleeper that trusts an earlier look at the sentinel; no kick of the napping sentinel; the waker frees the role when it kicks (a second worker takes
// it and swallows the kick); the role given up after the second look without telling the driver; a worker that sees work on its second look goes on
// without being counted as a watcher (whoever pushed that work may have relied on it); a sleeper that rises by its signal alone, while a waker
// has already counted a sleeper off: the waker looks for it for ever; a sleeper that finds every sleeper claimed and waits to be taken, while one
// of those claims is another riser's and goes back.
//
// Rejected: a mask of sleepers (S24: any number of workers) · one condition variable (wakes in turn, cold caches) · a fence after every push
// (20 cycles a spawn; the barrier costs a sleeper 0.3 us) · a generation count per queue.
//
// Thread safety: any thread, where nothing else is said.
#pragma once
#include "skua/detail/sync.hpp"
#include <atomic>
#include <cstdint>

namespace skua::detail {

template <class Sync>
class idle_core {
  template <class T>
  using atomic = typename Sync::template atomic<T>;

public:
  using word = std::int64_t;
  static constexpr word one_asleep = 1, one_watching = -(word{1} << 32);
  // Added once where membarrier is refused: idle is positive for every pusher then, so that wake_one_after_push() always runs.
  static constexpr word refused_bias = word{1} << 62;

  enum state : std::uint32_t { awake, asleep, polling, napping };
  struct alignas(cache_line) slot {
    atomic<std::uint32_t> signal{awake};
  };

  // `slots`: one per worker. Before any worker runs.
  idle_core(atomic<word>& idle, slot* slots, unsigned workers, bool have_barrier) noexcept
      : idle_(idle), slots_(slots), workers_(workers), bias_(have_barrier ? 0 : refused_bias) {
    idle_.store(bias_, std::memory_order_relaxed);   // published by the start of the workers
  }

  // ------------------------------------------------------------------------------------------------ watching

  // running -> watching.
  void start_watching() noexcept { idle_.fetch_add(one_watching, std::memory_order_seq_cst); }

  // watching -> running. The caller does not hold the role any more. True: nobody sleeps and nobody watches, every worker is busy.
  template <class Env>
  bool stop_watching(Env& env) noexcept {
    word const v = change(-one_watching);
    if (v > 0) look_and_wake(env, v);   // INV-IDLE-2
    return v == 0;
  }

  // ------------------------------------------------------------------------------------------------ sleeping

  // watching -> asleep, or with the role polling. False: something is queued; it is watching still (or again). `pass_on`: it has seen that work and
  // left it to its owner; rather than to look for ever it wakes another one, who can nap because it holds the role.
  template <class Env>
  [[nodiscard]] bool lie_down(unsigned self, state how, Env& env, bool pass_on = false) noexcept {
    slots_[self].signal.store(how, std::memory_order_seq_cst);   // before the count: every claim finds a sleeper
    word const v = change(one_asleep - one_watching);
    if (v <= 0) return true;   // INV-IDLE-3: whoever watches will look when it stops
    if (v != workers_) barrier();   // INV-IDLE-2
    if (!env.anything_queued()) return true;
    if (pass_on) return wake_one(env, true), true;   // maybe ourselves
    rise(self, how, one_watching);   // INV-IDLE-1: counted as a watcher again in the same step. By us or by a waker: all the same
    return false;
  }

  // asleep -> watching: returns when it has been claimed.
  template <class Env>
  void sleep(unsigned self, Env& env) noexcept {
    auto& signal = slots_[self].signal;
    // acquire: pairs with the CAS in take(): what the waker did before.
    while (signal.load(std::memory_order_acquire) == asleep) env.wait_on(signal, asleep);
  }

  // polling -> watching or running, when the driver's wait has returned. True: by itself; it is counted as `as` says (one_watching, or 0
  // for running). False: it has been claimed, and counts as watching.
  bool rise(unsigned self, state from, word as) noexcept {
    auto& signal = slots_[self].signal;
    typename Sync::backoff wait;
    word v = idle_.load(std::memory_order_relaxed);   // relaxed: the CAS decides
    do
      for (; sleepers(v) == 0; v = idle_.load(std::memory_order_relaxed)) {
        // Every sleeper has been claimed, so a waker is about to take our signal; or another one that rises gives its claim back. Within
        // nanoseconds, unless that thread loses its processor.
        if (signal.load(std::memory_order_acquire) == awake) return false;
        wait.pause();
      }
    while (!idle_.compare_exchange_weak(v, v - one_asleep + as, std::memory_order_seq_cst, std::memory_order_relaxed));
    std::uint32_t expected = from;
    if (signal.compare_exchange_strong(expected, awake, std::memory_order_seq_cst, std::memory_order_acquire)) return true;
    // A waker took us, on its own claim: ours goes back. It counts us as watching, so idle is not positive.
    idle_.fetch_add(one_asleep - as, std::memory_order_seq_cst);
    return false;
  }

  // A holder whose wait has returned for no reason may wait again as long as nobody has claimed it.
  bool still_polling(unsigned self) const noexcept { return slots_[self].signal.load(std::memory_order_acquire) == polling; }

  // ------------------------------------------------------------------------------------------------ the poller role

  [[nodiscard]] bool take_role(unsigned self) noexcept {
    std::uint32_t free = 0;
    // seq_cst: against the driver, which reads role_held() after it has said that it goes deep.
    return poller_.compare_exchange_strong(free, self + 1, std::memory_order_seq_cst, std::memory_order_relaxed);
  }
  // The holder, outside the driver's wait, before it runs anything: INV-IDLE-6.
  template <class Env>
  void give_up_role(Env& env) noexcept {
    poller_.store(0, std::memory_order_seq_cst);   // seq_cst: as in take_role()
    env.role_released();
  }
  bool role_held() const noexcept { return poller_.load(std::memory_order_seq_cst) != 0; }

  // The holder, watching, is about to wait for the length of a nap. False: something was injected; it does not wait.
  template <class Env>
  [[nodiscard]] bool begin_nap(unsigned self, Env& env) noexcept {
    slots_[self].signal.store(napping, std::memory_order_seq_cst);   // store/load race with notify_injected(): INV-IDLE-4
    if (!env.anything_injected()) return true;
    end_nap(self);
    return false;
  }
  void end_nap(unsigned self) noexcept { slots_[self].signal.store(awake, std::memory_order_relaxed); }

  // By a watcher: does every other worker sleep?
  bool alone() const noexcept { return value(idle_.load(std::memory_order_relaxed)) == word{workers_} - one_asleep + one_watching; }
  // By the polling holder: does every worker sleep, itself included? Nobody has been claimed then.
  bool all_asleep() const noexcept { return value(idle_.load(std::memory_order_seq_cst)) == word{workers_}; }

  // ------------------------------------------------------------------------------------------------ waking

  // After a push on a worker's own queue, when the plain load of idle was positive.
  template <class Env>
  bool wake_one_after_push(Env& env) noexcept {
    // Without membarrier this RMW takes its place: it comes before a sleeper's RMW, which has then seen the push, or after it and sees the sleeper.
    if (bias_ != 0) idle_.fetch_add(0, std::memory_order_seq_cst);
    return wake_one(env, false);
  }

  // If somebody sleeps and nobody watches: one sleeper -> watching. Prefers futex sleepers, so that the poller goes on polling.
  template <class Env>
  bool wake_one(Env& env, bool prefer_poller) noexcept {
    word v = idle_.load(std::memory_order_seq_cst);
    do
      if (value(v) <= 0) return false;
    while (!idle_.compare_exchange_weak(v, v - one_asleep + one_watching, std::memory_order_seq_cst, std::memory_order_seq_cst));
    claims_.fetch_add(1, std::memory_order_seq_cst);   // pairs with claims(), around a look at everything else
    claim(env, prefer_poller);
    return true;
  }
  // Grows with each sleeper that is woken, before it can do anything.
  std::uint64_t claims() const noexcept { return claims_.load(std::memory_order_seq_cst); }

  // After an injection. True: every worker is busy; nobody was told.
  template <class Env>
  [[nodiscard]] bool notify_injected(Env& env, bool prefer_poller) noexcept {
    word const v = value(idle_.load(std::memory_order_seq_cst));   // after the push: INV-IDLE-4
    if (v == 0) return true;
    if (v > 0) return wake_one(env, prefer_poller), false;   // if none sleeps any more, they rose after the push, and look
    std::uint32_t const holder = poller_.load(std::memory_order_seq_cst);
    if (holder != 0 && take(slots_[holder - 1], napping)) env.kick();
    return false;
  }

  // Nobody sleeps and nobody watches.
  bool all_busy() const noexcept { return value(idle_.load(std::memory_order_seq_cst)) == 0; }

private:
  word value(word v) const noexcept { return v - bias_; }
  static std::uint32_t sleepers(word v) noexcept { return static_cast<std::uint32_t>(v); }   // watchers count in multiples of 2^32
  word change(word by) noexcept { return value(idle_.fetch_add(by, std::memory_order_seq_cst)) + by; }
  void barrier() noexcept {
    if (bias_ == 0) Sync::heavy_barrier();
  }

  template <class Env>
  void look_and_wake(Env& env, word v) noexcept {
    if (v != workers_) barrier();
    if (env.anything_queued()) wake_one(env, false);
  }

  static bool take(slot& s, std::uint32_t from) noexcept {
    // release: what happened before, to the sleeper. acquire: what it did before it slept.
    return s.signal.load(std::memory_order_seq_cst) == from &&
           s.signal.compare_exchange_strong(from, awake, std::memory_order_seq_cst, std::memory_order_relaxed);
  }

  // One sleeper has been counted off `idle`, so at least one signal is there for this claim.
  template <class Env>
  void claim(Env& env, bool prefer_poller) noexcept {
    typename Sync::backoff wait;
    for (;; wait.pause()) {
      if (prefer_poller && claim_poller(env)) return;
      for (unsigned i = 0; i != workers_; ++i)
        if (take(slots_[i], asleep)) return env.wake(slots_[i].signal);
      if (claim_poller(env)) return;
    }
  }
  template <class Env>
  bool claim_poller(Env& env) noexcept {
    std::uint32_t const holder = poller_.load(std::memory_order_seq_cst);
    if (holder == 0 || !take(slots_[holder - 1], polling)) return false;
    env.kick();   // it keeps the role until it has left the driver's wait: INV-IDLE-6
    return true;
  }

  atomic<word>& idle_;
  slot* const slots_;
  unsigned const workers_;
  word const bias_;
  alignas(cache_line) atomic<std::uint32_t> poller_{0};
  atomic<std::uint64_t> claims_{0};
};

} // namespace skua::detail
