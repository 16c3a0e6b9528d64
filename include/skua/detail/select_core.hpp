// SPDX-License-Identifier: Apache-2.0
// The words of a select: who has won, and who is still on the way. skua/select.hpp explains; tests/model/select_model.cpp checks this code.
//
// A select registers one branch at each of its sources, and suspends as *one* operation. A source that could complete a branch must first claim the
// select; if it cannot, the branch is dead, the source passes over it, and nothing has happened there.
//
// select_core.claim_
//     0        open
//     1 + i    branch i has won: its source writes the result, then completes the select's operation
//     stopped  a stop has taken the select back: no branch will ever win
//     Only 0 -> anything, once (INV-SELECT-1).
//
// Two sorts of sources:
//     channel   (and whatever else gives out something that could be lost: a lock, a permit, a signal) has a lock. Branches are enlisted, claimed and
//               taken out under it. Whoever claims does so before it moves a message, so a branch that
//               loses has had no effect. Once a branch was taken out under the lock, or found to be out, nobody touches it any more.
//     event     a timer, a joined task, a flag, readiness of a descriptor: gives no lock, and completes an operation of the branch's own, which claims
//               when a worker runs it. To wait for an event has no effect, so nothing can be lost. Taking it back may be refused: then that operation
//               is *late*, on its way.
// What a channel has claimed may be completed through an operation of the branch's own as well; it finds the claim to be its own.
//
// An event may have come in vain: a connection that somebody else has accepted. So a branch may *confirm* its victory, when everything else was taken
// back; if it cannot, the select is reopened and starts again. (Rejected: to accept first and claim then. A loser could not put the connection back.)
//
// A select starts with the locks of all its channels held together, in the order of their addresses: it looks at all of them, performs the first
// operation that can be performed, or enlists at all of them. So whoever is looking for a partner is not yet known to anybody, and one claim is enough:
// two selects can meet, and neither has to claim itself. Events are looked at, and enlisted, without those locks: they may ask the kernel.
// (Rejected: claiming both sides one after the other, which needs a third state "claiming", waiting for it, and an order between selects.)
//
// select_core.late_     counts the parties that are late. Each late party: -1 when it has found the claim taken. The select: +n, once it has tried to
//                       take every branch back and n were refused. Whoever makes it 0 goes on with the select (as token_join.hpp).
//
// INV-SELECT-1  One winner: every change of claim_ is a CAS from 0.
// INV-SELECT-2  The select's operation is completed once: by the winner; or, if a stop has claimed it, by the last late party (by nobody, if there is
//               none: then withdraw() says that it has been given back).
// INV-SELECT-3  When the coroutine goes on, or its frame is destroyed, nobody will touch the select, its branches or their results: channel branches were
//               taken out under their locks, events were taken back or have been counted.
#pragma once
#include "config.hpp"
#include "sync.hpp"
#include <atomic>
#include <cstdint>

namespace skua::detail {

template <class Sync>
class select_core {
public:
  static constexpr std::uint32_t open = 0, stopped = ~std::uint32_t{0}, nobody = ~std::uint32_t{0};

  // A source that is about to complete branch `i`. True: it must write the branch's result, then complete the select's operation.
  // acquire: what enlisted the branch (for a channel its lock says so as well). release: pairs with outcome().
  [[nodiscard]] bool claim(std::uint32_t i) noexcept { return claim_as(i + 1); }

  // 0: nobody has won yet.
  std::uint32_t outcome() const noexcept { return claim_.load(std::memory_order_acquire); }   // acquire: pairs with the claim
  // Of the branches; nobody: none. The awaiting branch's, and whoever goes on with it.
  std::uint32_t winner() const noexcept { return winner_; }

  // It was awaited before.
  bool decided() const noexcept { return settled_ || outcome() != open; }

  // Branch `i` was performed before anybody knew of the select.
  void settle(std::uint32_t i) noexcept {
    winner_ = i;
    settled_ = true;
  }

  // The winner could not confirm. Nobody knows of the select (INV-SELECT-3): it begins again.
  void reopen() noexcept {
    claim_.store(open, std::memory_order_relaxed);   // published when it is enlisted
    late_.store(0, std::memory_order_relaxed);
    winner_ = nobody;
    settled_ = false;
  }

  enum class duty : unsigned char {
    nothing,   // somebody else goes on with it: touch it no more
    resume,    // the coroutine goes on
    unwind     // the coroutine is to be unwound
  };

  // The operation's frame is resumed: it was completed, or the last late party has come. `take_back()`: every branch but winner(); how many are late.
  template <class TakeBack>
  [[nodiscard]] duty woken(TakeBack take_back) noexcept {
    if (settled_) return duty::resume;
    std::uint32_t const was = outcome();
    if (was == stopped) return duty::unwind;   // withdraw() has taken everything back, and the late ones have come
    winner_ = was - 1;
    std::int32_t const late = take_back();
    settled_ = true;
    return late == 0 || leave(late) ? duty::resume : duty::nothing;
  }

  // A worker, for a stop. True: given back, and nobody will come. `is_event`: the stop is one of the things waited for, so it completes the select.
  // `complete()`: the operation's; true: schedule it (which cannot be here: the stop has it in hand).
  template <class TakeBack, class Complete>
  [[nodiscard]] bool withdraw(bool is_event, TakeBack take_back, Complete complete) noexcept {
    if (!claim_as(stopped)) return false;   // the winner is about to complete it
    std::int32_t const late = take_back();
    if (late != 0 && !leave(late)) return false;   // INV-SELECT-2: the last one completes it
    if (!is_event) return true;
    [[maybe_unused]] bool const schedule = complete();
    SKUA_DCHECK(!schedule, "a stop is being dispatched: whoever asked has the operation in hand");
    return false;
  }

  // A worker runs the completed operation of event branch `i`. True: it goes on with the select's frame. False: it touches nothing any more.
  template <class Complete>
  [[nodiscard]] bool event_came(std::uint32_t i, Complete complete) noexcept {
    if (outcome() == i + 1 || claim(i)) return complete();   // its own: its source has claimed
    bool const was_stopped = outcome() == stopped;   // before arrive(): the select may be gone after it
    if (!arrive()) return false;
    return !was_stopped || complete();
  }

private:
  bool claim_as(std::uint32_t what) noexcept {
    std::uint32_t expected = open;
    return claim_.compare_exchange_strong(expected, what, std::memory_order_acq_rel, std::memory_order_relaxed);
  }
  // Parties refused to be taken back. True: they have all arrived by now.
  // acq_rel: what they did happens before the end of the frame; what we did, before what they do with us.
  bool leave(std::int32_t late) noexcept { return late_.fetch_add(late, std::memory_order_acq_rel) + late == 0; }
  // A late party has found the claim taken. True: it was the last, and goes on with the select.
  bool arrive() noexcept { return late_.fetch_sub(1, std::memory_order_acq_rel) == 1; }

  typename Sync::template atomic<std::uint32_t> claim_{open};
  typename Sync::template atomic<std::int32_t> late_{0};
  typename Sync::template var<std::uint32_t> winner_{nobody};
  typename Sync::template var<bool> settled_{false};   // nobody knows of it any more but, perhaps, late parties
};

} // namespace skua::detail
