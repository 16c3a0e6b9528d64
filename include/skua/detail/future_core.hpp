// SPDX-License-Identifier: Apache-2.0
// The word that a promise and its future share, and every transition on it. future.hpp explains; tests/model/future_model.cpp checks this code.
//
// future_core.word
//     bit 0  claimed       somebody writes the outcome, or has written it
//     bit 1  ready         the outcome is there; bits 4..63 mean nothing any more
//     bit 2  promise_gone  implies ready
//     bit 3  future_gone   set from the start; get_future() clears it once
//     4..63  0, or the operation that awaits the future
//
//     from                   to                    who                     effect
//     not claimed            |claimed              claim                   the right to write the outcome, to exactly one
//     claimed, not ready     -claimed              unclaim                 constructing the value threw: somebody may try again
//     claimed, not ready     |ready                publish                 the operation that was there is the publisher's to complete
//     not ready, no waiter   |op                   wait                    the branch's thread, before it arms
//     op, not ready          -op                   withdraw                a worker, for a stop; refused once ready: the publisher has it
//     any                    |promise_gone, |ready drop_promise            as publish; it has claimed before, if nobody else had
//     any                    |future_gone          drop_future             whoever sets the second of these two frees the state
//
// INV-FUT-1  One outcome: claim() says true to one party only, for as long as that one does not unclaim.
// INV-FUT-2  A published operation is completed exactly once, by the one whose RMW set `ready`: publish() takes it with that RMW, wait() and
//            withdraw() change the word by CAS on a value without `ready`.
// INV-FUT-3  After publish() the publisher touches neither the state nor the promise, only the operation it was given, and that until
//            complete(): the waiter may go on at once and destroy promise, future and frame while the publisher is still on its way out.
// INV-FUT-4  The state is freed once, by whoever sets the second `gone` bit; by then both sides have finished with it.
#pragma once
#include "sync.hpp"
#include <atomic>
#include <cstdint>

namespace skua::detail {

template <class Sync>
class future_core {
public:
  using word = std::uintptr_t;
  static constexpr word claimed = 1, ready = 2, promise_gone = 4, future_gone = 8, bits = 15;

  // The one who may call it: get_future(), once, before the future is known to anybody.
  void give_future() noexcept { word_.fetch_and(~future_gone, std::memory_order_relaxed); }   // published with the future itself
  // The same, while nobody else knows the state.
  void give_future_first() noexcept { word_.store(0, std::memory_order_relaxed); }

  // Any thread. True: the caller writes the outcome, then publishes it.
  [[nodiscard]] bool claim() noexcept {
    return (word_.fetch_or(claimed, std::memory_order_acquire) & claimed) == 0;   // acquire: pairs with unclaim()
  }
  void unclaim() noexcept { word_.fetch_and(~claimed, std::memory_order_release); }   // release: what was half written is gone

  // Whoever has claimed. The operation that awaits, to be completed by the caller; 0: nobody. Touch nothing else after it (INV-FUT-3).
  // release: the outcome, to wait(), is_ready() and the waiter. acquire: the operation's fields, from wait().
  [[nodiscard]] word publish() noexcept { return waiter(word_.fetch_or(ready, std::memory_order_acq_rel)); }

  bool is_ready() const noexcept { return word_.load(std::memory_order_acquire) & ready; }   // acquire: pairs with publish()
  bool is_claimed() const noexcept { return word_.load(std::memory_order_relaxed) & claimed; }
  bool future_is_gone() const noexcept { return word_.load(std::memory_order_acquire) & future_gone; }   // acquire: pairs with drop_future()

  enum class wait_result : unsigned char {
    waits,     // published: arm it, a completer may come from here on
    ready,     // the outcome is there; nobody knows of the operation
    occupied   // somebody else awaits this future
  };
  [[nodiscard]] wait_result wait(word op) noexcept {
    word seen = word_.load(std::memory_order_acquire);   // acquire, here and below: pairs with publish(): the outcome
    do {
      if (seen & ready) return wait_result::ready;
      if (waiter(seen) != 0) return wait_result::occupied;
      // release: the operation, to the publisher.
    } while (!word_.compare_exchange_weak(seen, seen | op, std::memory_order_acq_rel, std::memory_order_acquire));
    return wait_result::waits;
  }
  // A worker, for a stop. True: the operation is the caller's again.
  [[nodiscard]] bool withdraw() noexcept {
    word seen = word_.load(std::memory_order_relaxed);
    do {
      if (seen & ready) return false;
    } while (!word_.compare_exchange_weak(seen, seen & bits, std::memory_order_relaxed, std::memory_order_relaxed));
    return true;   // relaxed: nobody has touched the operation
  }

  enum class drop : unsigned char {
    keep,      // the other side is still there
    destroy,   // free the state
  };
  struct dropped {
    drop what;
    word waiter;   // to be completed by the caller; 0: nobody
  };
  // The promise ends. Its outcome is there, or (claim() was true) `broken` was written just now.
  [[nodiscard]] dropped drop_promise() noexcept {
    word const was = word_.fetch_or(ready | promise_gone, std::memory_order_acq_rel);   // as publish(), and as drop_future()
    return {was & future_gone ? drop::destroy : drop::keep, was & ready ? 0 : waiter(was)};
  }
  // The future ends; nobody awaits it.
  [[nodiscard]] drop drop_future() noexcept {
    // The promise has gone before: it touches the state no more, and nobody else does. acquire: what it did.
    if (word_.load(std::memory_order_acquire) & promise_gone) return drop::destroy;
    word const was = word_.fetch_or(future_gone, std::memory_order_acq_rel);   // release: what we did; acquire: what the promise did
    SKUA_CHECK(was & ready || waiter(was) == 0, "a future was destroyed while it is awaited");
    return was & promise_gone ? drop::destroy : drop::keep;
  }

private:
  static word waiter(word w) noexcept { return w & ~bits; }

  typename Sync::template atomic<word> word_{future_gone};
};

} // namespace skua::detail
