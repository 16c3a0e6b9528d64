// SPDX-License-Identifier: Apache-2.0
// The word of a descriptor: what is ready, who uses it, who waits, and for which descriptor of the ones that lived here. Templated on `Sync`, so
// that tests/model/descriptor_model.cpp checks this very code. descriptor.hpp has the rest of a descriptor, io_operation.hpp the operations.
//
// Two directions, read and write, each with one user at a time (S18). A user *claims* its direction, tries its system call inline, and either gives
// the claim back or *waits*: then its operation is known to whoever harvests events, to a stop request and to close().
//
//     bit 0, 1     ready    read, write: worth trying. True in the beginning: nobody knows yet
//     bit 2, 3     end      read, write: hang-up, half-close or error was reported: worth trying even after a short transfer
//     bit 4, 5     held     read, write: claimed
//     bit 6, 7     waits    read, write: waiter_[d] is to be completed by whoever clears this bit, and by nobody else
//     bit 8        closed   no new claim, no new wait; whoever gives back the last claim releases the number (S19)
//     bit 9        shut     for reading, by our side: where a read would have to wait, it says that the stream has ended
//     16..39       tick     of the last event
//     40..63       generation of the descriptor that lives here
//
//     from                   to                          who             effect
//     not held, not closed   |held                       claim           the right to the direction, if the generation is the caller's
//     held                   -held [-ready [-end]]       finish          by the tick, see below. closed, and the last one: it releases the number
//     held, not closed       |waits -ready -end          wait            the operation is published
//     waits                  -waits                      event           takes the operation, to complete it; |ready [|end] [|shut], tick + 1
//     waits                  -waits                      withdraw        a stop takes the operation back
//     waits, not closed      -waits |closed              close           takes the operations, to complete them as cancelled; nothing is held:
//                                                                        it releases the number
//     closed, nothing held   generation + 1, ready       renew           whoever released the number, when it is used again
//
// Why a tick. A system call says what was true while it ran; an event may come before the word is told. So what clears `ready` is a compare-and-swap that
// fails if the tick is no longer the one read *before* the system call. A transfer that was short says that the kernel's buffer was exhausted: it clears
// `ready` (reading on until EAGAIN would cost a system call a request), but not `end`, whose edge will not come again. EAGAIN clears both.
// The tick has 24 bits: it is mistaken only if 2^24 n events are harvested during one system call.
//
// Why a generation. A task may be about to use a descriptor that another one closes: its claim is refused. And an event may have been fetched from
// the kernel before the descriptor was closed, and be delivered when its memory serves another one.
// It is then dropped. (With 24 bits it could be mistaken for its 16-millionth successor's; the successor would try its system call once in vain.)
//
// Why `shut` is a bit, and no shutdown(SHUT_RD): who says so need not be the reader, and may hold no claim, so the number is not his to use; the generation
// tells whose word it is. It comes as an event, with ready and end: so a read that missed it goes round once more (INV-DESC-2), and sees it in the word that
// it reads before its system call.
//
// INV-DESC-1  An operation is completed or taken back exactly once: by the one whose RMW cleared its `waits`.
// INV-DESC-2  The edge that arrives between EAGAIN and wait() is not lost: its event changes the tick, and wait() says `again`; or it comes later
//             and finds the waiter.
// INV-DESC-3  The number belongs to this descriptor as long as anybody holds a claim: it is released once, by the one whose RMW left `closed` without a
//             claim, and nobody passes it to the kernel afterwards.
// INV-DESC-4  An event or a claim of an earlier generation changes nothing.
//
// Rejected: a lock (the same number of RMWs, and the harvesting thread would wait for a worker that lost its processor); the waiters' addresses in the
// word (there are two); a waiter slot of its own that event and wait exchange with (two more seq_cst RMWs a wait).
//
// Thread safety: any thread, by the rights in the table.
#pragma once
#include "skua/detail/stop_core.hpp"
#include <atomic>
#include <cstdint>

namespace skua::detail {

enum class direction : unsigned { read = 0, write = 1 };
constexpr direction other(direction d) noexcept { return static_cast<direction>(1u - static_cast<unsigned>(d)); }

template <class Sync>
class descriptor_core {
public:
  using word = std::uint64_t;
  using operation = typename stop_core<Sync>::operation;
  template <class T>
  using var = typename Sync::template var<T>;

  static constexpr word ready(direction d) noexcept { return word{1} << static_cast<unsigned>(d); }
  static constexpr word end(direction d) noexcept { return word{4} << static_cast<unsigned>(d); }
  static constexpr word held(direction d) noexcept { return word{16} << static_cast<unsigned>(d); }
  static constexpr word waits(direction d) noexcept { return word{64} << static_cast<unsigned>(d); }
  static constexpr word both_ready = 3, both_held = 48, both_wait = 192, closed = 256, shut = 512;
  static constexpr unsigned tick_shift = 16, generation_shift = 40;
  static constexpr word one_tick = word{1} << tick_shift, tick_mask = (word{1} << 24) - 1;
  static constexpr std::uint32_t generation_of(word w) noexcept { return static_cast<std::uint32_t>(w >> generation_shift); }
  static constexpr bool worth_trying(word w, direction d) noexcept { return w & (ready(d) | end(d)); }

  word look() const noexcept { return word_.load(std::memory_order_acquire); }   // acquire: a system call that follows comes after it
  bool is_held(direction d) const noexcept { return word_.load(std::memory_order_seq_cst) & held(d); }
  std::uint32_t generation() const noexcept { return generation_of(word_.load(std::memory_order_relaxed)); }

  // ------------------------------------------------------------------------------------------------ the user of a direction

  enum class claimed : unsigned char { yes, occupied, closed };
  // `generation`: when the caller was given the descriptor; it may have been closed since. `seen`: the word, for finish() and wait().
  [[nodiscard]] claimed claim(direction d, std::uint32_t generation, word& seen) noexcept {
    word w = word_.load(std::memory_order_relaxed);
    do {
      if ((w & closed) || generation_of(w) != generation) return claimed::closed;
      if (w & held(d)) return claimed::occupied;
      // acquire: pairs with finish() of the user before, and with renew(). seq_cst: see descriptor::registered.
    } while (!word_.compare_exchange_weak(w, w | held(d), std::memory_order_seq_cst, std::memory_order_relaxed));
    seen = w | held(d);
    return claimed::yes;
  }

  enum class transfer : unsigned char {
    full,     // says nothing about what is left
    partial,  // of a stream: the kernel has no more now
    blocked   // EAGAIN
  };
  enum class duty : unsigned char { nothing, release };   // release: close the number, then renew or free the descriptor
  // Gives the claim back; the caller does not wait. `seen`: the word as it was before the last system call.
  [[nodiscard]] duty finish(direction d, word seen, transfer last) noexcept {
    word w = word_.load(std::memory_order_relaxed), next;
    do {
      next = w & ~held(d);
      if (last != transfer::full && same_tick(w, seen)) next &= ~(ready(d) | (last == transfer::blocked ? end(d) : 0));
      // release: the use of the number and of waiter_, to the next claim and to whoever releases it. acquire: the other direction's use.
    } while (!word_.compare_exchange_weak(w, next, std::memory_order_acq_rel, std::memory_order_relaxed));
    return (next & closed) && (next & both_held) == 0 ? duty::release : duty::nothing;
  }

  enum class waiting : unsigned char {
    published,   // a completer may come from here on
    again,       // an event has come: try once more
    closed       // as if it had been completed by close()
  };
  // The system call said EAGAIN, or was not worth trying; `seen`: the word as it was before.
  [[nodiscard]] waiting wait(direction d, word seen, operation& op) noexcept {
    waiter_[static_cast<unsigned>(d)] = &op;
    word w = word_.load(std::memory_order_relaxed), next;
    do {
      if (w & closed) return waiting::closed;
      if (worth_trying(w, d) && !same_tick(w, seen)) return waiting::again;   // INV-DESC-2
      next = (w & ~(ready(d) | end(d))) | waits(d);
      // release: the operation, to whoever takes it.
    } while (!word_.compare_exchange_weak(w, next, std::memory_order_release, std::memory_order_relaxed));
    return waiting::published;
  }
  // A worker, for a stop. True: the operation is the caller's again, and the claim still held. False: somebody has taken it.
  [[nodiscard]] bool withdraw(direction d) noexcept {
    return word_.fetch_and(~waits(d), std::memory_order_relaxed) & waits(d);   // relaxed: nobody else has touched the operation
  }

  // ------------------------------------------------------------------------------------------------ whoever harvests, whoever closes

  struct taken {
    operation* reader = nullptr;
    operation* writer = nullptr;
    duty then = duty::nothing;
  };
  // `bits`: ready and end of both directions, as they were reported; or shut, with ready and end of reading.
  [[nodiscard]] taken event(std::uint32_t generation, word bits) noexcept {
    word w = word_.load(std::memory_order_relaxed), next;
    do {
      if (generation_of(w) != generation || (w & closed)) return {};   // INV-DESC-4
      next = (w & ~(tick_mask << tick_shift)) | ((w + one_tick) & (tick_mask << tick_shift)) | bits;
      if (worth_trying(bits, direction::read)) next &= ~waits(direction::read);
      if (worth_trying(bits, direction::write)) next &= ~waits(direction::write);
      // acquire: the operations that are taken. release: pairs with look(), so that a system call after it sees what the event told of.
    } while (!word_.compare_exchange_weak(w, next, std::memory_order_acq_rel, std::memory_order_relaxed));
    return take(w & ~next);
  }

  // Once. The operations are to be completed as cancelled.
  [[nodiscard]] taken close() noexcept {
    word w = word_.load(std::memory_order_relaxed), next;
    do {
      SKUA_CHECK((w & closed) == 0, "a descriptor is closed once");
      next = (w | closed) & ~both_wait;
      // acquire: the operations that are taken, and the last use of the number. release: ours.
    } while (!word_.compare_exchange_weak(w, next, std::memory_order_acq_rel, std::memory_order_relaxed));
    taken t = take(w & ~next);
    if ((w & both_held) == 0) t.then = duty::release;
    return t;
  }

  // The same, if nothing is held; otherwise nothing changes. True: the number is the caller's.
  [[nodiscard]] bool close_if_unused() noexcept {
    word w = word_.load(std::memory_order_relaxed);
    do {
      if (w & (both_held | closed)) return false;
    } while (!word_.compare_exchange_weak(w, w | closed, std::memory_order_acq_rel, std::memory_order_relaxed));   // acquire: its last use
    return true;
  }

  // By whoever released the number, when it is used again: from here on it is another descriptor.
  void renew() noexcept {
    word const w = word_.load(std::memory_order_relaxed);   // closed: late events change nothing, so nobody else writes
    SKUA_CHECK((w & (closed | both_held)) == closed, "a descriptor that is in use is not opened again");
    // release: pairs with claim(): the number.
    word_.store(word{(generation_of(w) + 1) & 0xffffffu} << generation_shift | both_ready, std::memory_order_release);
  }

private:
  static bool same_tick(word a, word b) noexcept { return (((a ^ b) >> tick_shift) & tick_mask) == 0; }
  taken take(word cleared) const noexcept {
    taken t;
    if (cleared & waits(direction::read)) t.reader = waiter_[0];
    if (cleared & waits(direction::write)) t.writer = waiter_[1];
    return t;
  }

  typename Sync::template atomic<word> word_{both_ready | closed};
  var<operation*> waiter_[2]{};   // of a direction: written by its holder before wait(), read by whoever clears `waits`
};

} // namespace skua::detail
