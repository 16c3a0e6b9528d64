// SPDX-License-Identifier: Apache-2.0
// The words of the stop protocol, and every transition on them. docs/stop.md explains; this file is what is model-checked.
//
// Templated on the atomics (`Sync`), so that the models in tests/model check this very code. It knows nothing of coroutines, queues or
// memory. What it decides it returns to the caller, or hands to the caller's `Sink`:
//     sink.stopping(operation&)       taken by a stop request: a worker must call dispatch_stopping() on it
//     sink.ended(scope&)              all branches arrived while a walker was inside: a worker must go on with the parent
//     sink.more(record& at)           the walk's allowance is used up: a worker must call resume_walk(at)
//     sink.walked(record& outermost)  such a walk has ended, in the list where it began: the caller calls end_walk(the scope of that list)
//     sink.looked(scope&)             all branches arrived while somebody looked, and no stop came: a worker must go on with the parent
//     sink.arrived(scope&)            a walk from within has ended behind all parties of the scope: the caller goes on as the last of them (detach)
//     sink.claimed(scope&)        optional: a request from outside has come to this special scope, the first that stops it. Called once at most,
//                                 while the scope cannot end (INV-STOP-5): a group hears of it here (group_core.hpp)
//
// branch_word.word: one word per branch that has suspended; says what the branch waits for
//     bit 0  stop    requested; sticky (level-triggered, S4)
//     bit 1  done    operation: its completion has come, whoever has the operation in hand delivers it
//                    scope: all branches have arrived, the walker hands on
//     bit 2  inner   the pointer is a scope, not an operation
//     bit 3  held    scope: a walker is inside. operation: its stop gave way, the completer in flight resumes it
//     4..63  0 (the branch runs, is queued, or is *arming*: its thread is inside await_suspend), operation*, scope*
//
//     from              to                  who                        effect
//     0                 op                  arm                        suspended
//     0 / stop          |done               complete                   arrived early: the arming thread goes on by itself
//     done [stop]       0 [stop]            arm                        not suspended: completed
//     stop              (stop)              arm                        not suspended: must withdraw
//     op                0                   complete                   the completer schedules it
//     op                op|stop             request                    the requester schedules it, for dispatch_stopping
//     op|stop           op|stop|done        complete                   dispatch_stopping will deliver it (S4)
//     op|stop [done]    stop                dispatch_stopping          unwind, or (done) resume with the value
//     stop, op|stop     op|stop|held        give_way                   the source said: a completer is in flight; wait for it
//     op|stop|held      stop                complete                   the completer schedules it, with the value
//     0 / stop          s|inner [stop]      connect                    by the first branch of s to suspend
//     s|inner           s|inner|stop|held   request                    the walker goes into s
//     ..|held           ..                  leave_walk                 the walker has left s
//     s|inner [stop]    0 [stop]            end_scope                  the last branch goes on with the parent
//     ..|held           ..|held|done        end_scope                  the last branch leaves that to the walker
//     ..|held|done      stop                leave_walk                 sink.ended
//     s|inner [stop]    ..|held             look_into                  somebody looks at s, and stops nothing
//     ..|held           ..                  leave_look
//     s|inner|held      s|inner|stop|held   request                    the looker, who holds s already, walks in the requester's place
//     s|i|held|done     0                   leave_look                 sink.looked
//     0 [stop]          (unchanged)         end_scope                  s was never connected: it ends as if it were
//
// scope.head: one word per join, in the parent's frame; 0 until something happens
//     bit 0  stop     requested
//     bit 1  failed   a branch threw
//     bit 2  shield   requests from outside turn round here; constant
//     bit 3  special  the join has rules of its own (timeout, when_any, shield); constant
//     bit 4  won      when_any: a branch has its value; timeout: the timer has fired
//     bit 5  counted  the first request came from within: it is counted in the attention word, and `within` is valid
//     6..63  list of the records of its branches, in no order; grows only, freed as a whole when the scope has ended
//
// scope.within: of a walk from within, which was begun by a party of the scope. Whoever comes first leaves the scope's end to the other one.
//     idle      it was not cut off: the party itself has walked, and so the scope could not end
//     walking   it was cut off: a worker goes on with it
//     walked    it has ended                        from walking: resume_walk
//     arrived   all parties have arrived            from any: walk_is_over; if it was walking, the walk goes on in their place
//
// The source of an operation (wait list, timer wheel, state word) is the referee of a race between stop and completion: withdraw() takes the
// operation back, or answers that somebody has it, and then that completer will call complete(). The word only decides who schedules.
//
// INV-STOP-1  An operation is scheduled exactly once: by whoever takes it out of "armed" first. The other one leaves its bit only.
// INV-STOP-2  A frame is destroyed or resumed only by the thread that has scheduled or dispatched it, and only when no completer can
//             come: withdraw() said so, or its `done` was seen.
// INV-STOP-3  Every record in a stopped scope's list gets its stop: the request takes the list with the RMW that sets the bit;
//             whoever pushes later sees the bit in the word that its CAS replaces, and requests its own record.
// INV-STOP-4  The list of a scope is not empty => the scope is connected to the word above, or the branch that made it
//             non-empty is still on its way to do so (and so has not ended, and the scope cannot end).
// INV-STOP-5  A walker reads a scope's list only while the scope cannot end: it `held` the word above, or it runs on a branch of the
//             scope that has not ended, or it counts as one of the scope's parties (a timeout's timer), or `within` says `walking`.
// INV-STOP-6  A word's stop bit is set once, so a scope is held by one walker at most, and `above` is written by one thread. Who sets a scope's stop
//             bit first walks its list, and nobody else: from outside (held), or from within (counted), never both.
// INV-STOP-7  Where a walk is under way, or about to be (below a word or in a scope that was stopped, unless its shield turned the stop round), a looker
//             holds no word that has not its stop. So who enters a scope that is being stopped has its stop when enter() returns, whoever looks. A request
//             that meets a looker elsewhere leaves the rest to it. A looker reads records, and writes none.
//
// Origin: the token-join and stop prototypes measured for this project (docs/decisions/002-stop.md).
#pragma once
#include "sync.hpp"
#include <atomic>
#include <cstdint>

namespace skua::detail {

template <class Sync>
struct stop_core {
  using word = std::uintptr_t;
  using atomic_word = typename Sync::template atomic<word>;
  template <class T>
  using var = typename Sync::template var<T>;
  static constexpr auto relaxed = std::memory_order_relaxed, acquire = std::memory_order_acquire,
                        acq_rel = std::memory_order_acq_rel;

  static constexpr word stop = 1, done = 2, inner = 4, held = 8, word_bits = 15;
  static constexpr word head_stop = 1, head_failed = 2, head_shield = 4, head_special = 8, head_won = 16, head_counted = 32,
                        head_bits = 63;

  struct branch_word {
    atomic_word word_{0};
    var<void*> branch{};   // the promise of the branch's root coroutine; written once, before the word is known to anybody
    bool stop_requested() const noexcept { return word_.load(acquire) & stop; }
  };
  struct record : branch_word {
    var<record*> next{};    // in the scope's list; written before the push
    var<record*> above{};   // a walker's way back; INV-STOP-6
  };
  struct operation {
    var<branch_word*> home{};   // of the branch that awaits; written before the operation is published
  };
  struct scope {
    atomic_word head;
    atomic_word within;   // valid once `counted` is set in head: most scopes never need it, and nobody initialises it
  };
  static constexpr word idle = 0, walking = 1, walked = 2, arrived = 3;

  template <class T>
  static word of(T& x) noexcept {
    return reinterpret_cast<word>(&x);
  }
  static record* list(word head) noexcept { return reinterpret_cast<record*>(head & ~head_bits); }

  // ------------------------------------------------------------------------------------------------ operations

  enum class armed { suspended, completed, stopped };

  // The branch's thread, when the operation is published. suspended: touch nothing any more. stopped: withdraw it.
  [[nodiscard]] static armed arm(operation& o) noexcept {
    atomic_word& w = static_cast<branch_word*>(o.home)->word_;
    word seen = 0;
    // release: the frame, to whoever schedules it. acquire (on failure): the completer's result.
    if (w.compare_exchange_strong(seen, of(o), acq_rel, acquire)) return armed::suspended;
    if ((seen & done) == 0) return armed::stopped;
    w.fetch_and(~done, acq_rel);   // acquire: pairs with complete(); only a request can change the word beside us
    return armed::completed;
  }

  // Stop is set, and withdraw() has failed: a completer is in flight. `from`: stop (arming) or op|stop (dispatched).
  [[nodiscard]] static armed give_way(operation& o, word from) noexcept {
    atomic_word& w = static_cast<branch_word*>(o.home)->word_;
    if (w.compare_exchange_strong(from, of(o) | stop | held, acq_rel, acquire)) return armed::suspended;
    w.store(stop, relaxed);   // done: the completer has gone, later requests see stop: nobody else writes
    return armed::completed;
  }
  [[nodiscard]] static armed give_way_arming(operation& o) noexcept { return give_way(o, stop); }

  // A worker, for an operation from sink.stopping(). `withdraw()`: true when the source has given it back and nobody can come.
  template <class Withdraw>
  [[nodiscard]] static armed dispatch_stopping(operation& o, Withdraw withdraw) noexcept {
    atomic_word& w = static_cast<branch_word*>(o.home)->word_;
    if (w.load(acquire) & done) {   // acquire: pairs with complete()
      w.store(stop, relaxed);
      return armed::completed;
    }
    if (!withdraw()) return give_way(o, of(o) | stop);
    w.store(stop, relaxed);
    return armed::stopped;
  }

  // Whoever completes the operation, once, after it took it from its source and wrote the result. True: schedule it.
  // False: touch nothing any more.
  [[nodiscard]] static bool complete(operation& o) noexcept {
    atomic_word& w = static_cast<branch_word*>(o.home)->word_;
    word seen = of(o), next;
    do {
      next = seen == of(o) ? 0 : seen == (of(o) | stop | held) ? stop : seen | done;
    } while (!w.compare_exchange_strong(seen, next, acq_rel, relaxed));   // acquire: the frame; release: the result
    return (next & done) == 0;
  }

  // ------------------------------------------------------------------------------------------------ stop requests

  // For the caller who keeps the word alive (a handle, a list). True: this request was the first. Visits at most `allowance` records
  // itself; the rest is handed to the sink (S2).
  template <class Sink>
  static bool request(branch_word& r, Sink& sink, unsigned allowance = ~0u) noexcept {
    bool first = false;
    if (scope* s = mark(r, sink, first)) go_into(r, *s, sink, allowance);
    return first;
  }
  // For the scope's own branches and parties, before they arrive: not turned round by its shield. `why`: head_failed, head_won or 0.
  // Returns the old head. Visits at most `allowance` records itself, as above.
  template <class Sink>
  static word request(scope& s, Sink& sink, word why, unsigned allowance = ~0u) noexcept {
    word const h = s.head.fetch_or(head_stop | why, acq_rel);   // acquire: the records in the list
    if (h & head_stop) return h;
    s.within.store(idle, relaxed);   // this and `counted`: ordered before the scope's end by the caller's own arrival
    s.head.fetch_or(head_counted, relaxed);
    if (record* r = list(h); r != nullptr) {
      r->above = nullptr;
      if (record* const rest = walk(r, sink, allowance)) {
        s.within.store(walking, relaxed);
        sink.more(*rest);
      }
    }
    return h;
  }
  // A worker, for sink.more().
  template <class Sink>
  static void resume_walk(record& at, Sink& sink, unsigned allowance = ~0u) noexcept {
    record* r = &at;
    if (record* const rest = walk(r, sink, allowance)) return sink.more(*rest);
    sink.walked(*r);
  }
  // For sink.walked(). `above`: the word above the scope.
  template <class Sink>
  static void end_walk(scope& s, branch_word* above, Sink& sink) noexcept {
    if ((s.head.load(relaxed) & head_counted) == 0) return leave_walk(*above, sink);   // INV-STOP-6: from outside
    // release: we have read the last record. acquire: the branches' results.
    if (s.within.exchange(walked, acq_rel) == arrived) sink.arrived(s);
  }
  // All parties of `s` have arrived; before detach(). False: a walk from within is under way and goes on in our place. Touch nothing any more.
  [[nodiscard]] static bool walk_is_over(scope& s) noexcept {
    if ((s.head.load(relaxed) & head_counted) == 0 || s.within.load(relaxed) == idle) return true;
    return s.within.exchange(arrived, acq_rel) != walking;   // release: the results. acquire: the walk, before the records are freed
  }

  enum class ended { go_on, go_on_stopped, walker_goes_on };

  // All branches of `s` have arrived; `r` is the word that points to it. go_on_stopped: a stop has reached the word above by now (S10:
  // this is the one point where it is decided whether a stop came from outside).
  [[nodiscard]] static ended end_scope(branch_word& r, scope& s) noexcept {
    word seen = of(s) | inner, next;
    do {
      next = (seen & held) ? seen | done : seen & stop;
    } while (!r.word_.compare_exchange_strong(seen, next, acq_rel, relaxed));   // release: the results, to leave_walk
    return next & done ? ended::walker_goes_on : next & stop ? ended::go_on_stopped : ended::go_on;
  }
  // The same where nobody may have made the word above, or connected the scope to it (it is 0 then): no branch suspended, but one was lost
  // without a record (INV-STOP-4).
  [[nodiscard]] static ended detach(branch_word* above, scope& s) noexcept {
    return above != nullptr ? end_scope(*above, s) : ended::go_on;
  }

  // ------------------------------------------------------------------------------------------------ inspection

  struct sight {
    scope* at = nullptr;   // cannot end before leave_look(); null: none
    bool stopped = false;  // its word was, when we came: whoever stopped it walks
    bool calm = true;      // nobody walks below, or is about to (INV-STOP-7)
  };
  // Any thread, for the caller who keeps the word alive; one look at a time for each word. The scope that the branch waits in. `calm`: of what is above.
  [[nodiscard]] static sight look_into(branch_word& r, bool calm) noexcept {
    word w = r.word_.load(relaxed);
    do {
      if ((w & (inner | held | done)) != inner || !(calm || (w & stop))) return {};
    } while (!r.word_.compare_exchange_weak(w, w | held, acq_rel, relaxed));   // acquire: the scope
    return {reinterpret_cast<scope*>(w & ~word_bits), (w & stop) != 0};
  }
  // The records below.
  static record* look_at(sight& v) noexcept {
    word const h = v.at->head.load(acquire);   // acquire: the records
    v.calm = (h & head_stop) == 0 && (!v.stopped || (h & head_shield));
    return list(h);
  }
  template <class Sink>
  static void leave_look(branch_word& r, sight const& v, Sink& sink, unsigned allowance = ~0u) noexcept {
    if (v.stopped) return leave_walk(r, sink);
    word w = r.word_.load(relaxed), next;
    do {
      if (w & stop) return go_into(r, *v.at, sink, allowance);   // we walk in the requester's place
      next = w & done ? 0 : w & ~held;
    } while (!r.word_.compare_exchange_weak(w, next, acq_rel, relaxed));   // release: we have read. acquire: the branches' results
    if (w & done) sink.looked(*v.at);
  }

  // ------------------------------------------------------------------------------------------------ records

  // A branch of `s` suspends for the first time, and has made its record `r`. Links it, and what is missing above it, from the
  // inside out, so that a request can find it; a request that came first is delivered here.
  // `tree.above(s)` returns {word of the branch that awaits s, the scope to push it to or null if it existed already}.
  // The walk is not cut off: the branch itself, which is on a worker, must see its stop at once (S1), and must not see it before those that await it do
  // (S10). There is little below the new records: what has suspended there since.
  template <class Tree, class Sink>
  static void enter(scope& s, record& r, Tree& tree, Sink& sink) noexcept {
    scope* at = &s;
    record* made = &r;
    for (;;) {
      word const h = push(*at, *made);
      if (h & head_stop) request(*made, sink);   // INV-STOP-3
      if (list(h) != nullptr) return;            // INV-STOP-4
      auto const place = tree.above(*at);
      if (place.outer == nullptr) {
        word const w = place.word->word_.fetch_or(of(*at) | inner, acq_rel);   // "connect"
        if (w & stop) {
          if (record* below = claim_from_outside(*at, sink)) {
            below->above = nullptr;
            (void)walk(below, sink, ~0u);
          }
        }
        return;
      }
      place.word->word_.store(of(*at) | inner, relaxed);   // published by the push
      at = place.outer;
      made = static_cast<record*>(place.word);
    }
  }

private:
  static word push(scope& s, record& r) noexcept {
    word h = s.head.load(relaxed);
    do r.next = list(h);
    while (!s.head.compare_exchange_strong(h, of(r) | (h & head_bits), acq_rel, relaxed));
    return h;
  }

  // `s` is held by `r`.
  template <class Sink>
  static void go_into(branch_word& r, scope& s, Sink& sink, unsigned allowance) noexcept {
    record* const below = claim_from_outside(s, sink);
    if (below == nullptr) return leave_walk(r, sink);
    below->above = nullptr;
    record* at = below;
    if (record* const rest = walk(at, sink, allowance)) return sink.more(*rest);
    leave_walk(r, sink);
  }

  // Sets the stop bit. An operation is handed to the sink, a scope is held and returned.
  template <class Sink>
  static scope* mark(branch_word& r, Sink& sink, bool& first) noexcept {
    word w = r.word_.load(relaxed), next;
    do {
      if (w & stop) return nullptr;
      next = w | stop | (w & inner ? held : 0);
    } while (!r.word_.compare_exchange_strong(w, next, acq_rel, relaxed));   // acquire: what the word points to
    first = true;
    if ((w & inner) && (w & held)) return nullptr;   // somebody looks, and will walk: leave_look
    if (w & inner) return reinterpret_cast<scope*>(w & ~word_bits);
    if (w & ~word_bits) sink.stopping(*reinterpret_cast<operation*>(w & ~word_bits));
    return nullptr;
  }

  // Sets the scope's stop bit on behalf of a request from further out. The list, if this was the first request.
  template <class Sink>
  static record* claim_from_outside(scope& s, Sink& sink) noexcept {
    if (s.head.load(relaxed) & head_shield) return nullptr;
    word const h = s.head.fetch_or(head_stop, acq_rel);   // acquire: the records in the list
    if constexpr (requires { sink.claimed(s); }) {
      if ((h & (head_stop | head_special)) == head_special) sink.claimed(s);
    }
    return h & head_stop ? nullptr : list(h);
  }

  template <class Sink>
  static void leave_walk(branch_word& r, Sink& sink) noexcept {
    word const w = r.word_.fetch_and(~held, acq_rel);   // acquire: the branches' results, to hand them on
    if ((w & done) == 0) return;
    scope* s = reinterpret_cast<scope*>(w & ~word_bits);
    r.word_.store(stop, relaxed);   // the scope has ended, later requests see stop: nobody else writes
    sink.ended(*s);
  }

  // Depth first over the records from `r` on, and all below; `above` of the outermost ones is null. Iterative, no memory; its whole state is one
  // pointer, so it can be cut off anywhere. Returns the record at which it was cut off; null: it has ended, and `r` is one of the outermost.
  template <class Sink>
  [[nodiscard]] static record* walk(record*& r, Sink& sink, unsigned allowance) noexcept {
    for (;;) {
      if (allowance-- == 0) return r;
      bool first;
      if (scope* s = mark(*r, sink, first)) {
        if (record* below = claim_from_outside(*s, sink)) {
          below->above = r;
          r = below;
          continue;
        }
        leave_walk(*r, sink);
      }
      record* beside;
      while ((beside = r->next) == nullptr) {
        record* const up = r->above;
        if (up == nullptr) return nullptr;
        leave_walk(*up, sink);
        r = up;
        if (allowance-- == 0) return r;   // resumed there: it has its stop, so the walk goes on beside and above
      }
      beside->above = static_cast<record*>(r->above);
      r = beside;
    }
  }
};

} // namespace skua::detail
