// SPDX-License-Identifier: Apache-2.0
// Suspension and stop, bound to the runtime; stop_core.hpp has the protocol. Everything here is paid by branches that suspend, fail or
// are stopped; a branch that runs to its end never comes here.
//
// What a leaf awaitable does
//   await_ready    must not finish early while attention(): a stop that happened before is seen on entry, before any effect (S1)
//   await_suspend  if (!begin(op, h)) return unwind(h.address());   the record is made (may throw bad_alloc, before any effect: S26),
//                                                                   stop is looked at
//                  publish                   at its source (a lock, a list, a word); from here on a completer may come
//                  return suspend(op)        arms; suspends, goes on at once, or withdraws and unwinds. Touch nothing after it
//   completer      takes it from the source; writes the result; complete_and_schedule(op), or if (complete(op)) batch it. Touch nothing after
//   withdraw       op.kind->withdraw(op), on a worker: take it back from the source. False: somebody has taken it, and will complete it
//   A source that can never be in flight (yield) needs neither.
#pragma once
#include "promise.hpp"
#include "stop_core.hpp"
#include <coroutine>
#include <cstdint>
#include <exception>

namespace skua::detail {

using core = stop_core<real_sync>;
using branch_word = core::branch_word;

struct operation;
struct operation_kind;
branch_word* word_of_task(std::uintptr_t up) noexcept;   // inline in task_header.hpp
void note_waiting(std::uintptr_t up, operation_kind const& kind) noexcept;   // the same

// What is the same for all operations of one sort. `what` is shown by inspection: "sleep", "join", "read".
struct operation_kind {
  char const* what;
  bool (*withdraw)(operation&) noexcept;
};

// A leaf awaitable's state; lives in the awaiting frame. 32 bytes.
struct alignas(16) operation : core::operation {
  void* frame = nullptr;                  // the coroutine that awaits
  operation_kind const* kind = nullptr;
  item next = 0;                          // for whoever has it in hand: injection queue, completion batch, timer list
  explicit operation(operation_kind const& k) noexcept : kind(&k) {}
  operation(operation const&) = delete;
};
static_assert(sizeof(operation) == 32 && alignof(operation) == 16, "four flag bits below an operation's address");

SKUA_INLINE item item_of(operation& op, item k) noexcept { return reinterpret_cast<item>(&op) | k; }

// What a branch has waited for last, for inspection, and two flags of when_any: one word, so that a record stays a cache line. Written by the branch's own
// thread; relaxed: a hint to inspection, and the flags are read by others when the join has ended.
class branch_notes {
public:
  operation_kind const* waits_for() const noexcept { return reinterpret_cast<operation_kind const*>(get() & ~both); }   // null: not known
  void note_waiting(operation_kind const& k) noexcept { set(reinterpret_cast<std::uintptr_t>(&k) | (get() & both)); }
  bool race() const noexcept { return get() & race_bit; }   // a branch of when_any whose value would decide the race, and has not
  void enter_race() noexcept { set(get() | race_bit); }
  void win_race() noexcept { set(get() & ~race_bit); }
  bool ended_lost() const noexcept { return get() & lost_bit; }   // it ended without a value
  void end_lost() noexcept { set(get() | lost_bit); }

private:
  static constexpr std::uintptr_t race_bit = 1, lost_bit = 2, both = 3;
  static_assert(alignof(operation_kind) >= 4);
  std::uintptr_t get() const noexcept { return word_.load(std::memory_order_relaxed); }
  void set(std::uintptr_t w) noexcept { word_.store(w, std::memory_order_relaxed); }
  std::atomic<std::uintptr_t> word_{0};
};

// Of a branch that has suspended at least once. Made by the branch's own thread, or by the one branch below that links it; freed by the
// thread that goes on with the scope's parent. One cache line: a scope's head keeps six bits below its address.
struct branch_record : core::record {
  std::uintptr_t up = 0;   // the branch's original word
  void* out = nullptr;
  branch_notes notes;
  item link = 0;           // in the injection queue, while a stop request is to be continued here
};
static_assert(sizeof(branch_record) <= 64);

// A promise's `up` may be redirected to a record by the one branch below that links it, while another branch below looks: hence the
// atomic access wherever the branch itself is not running.
SKUA_INLINE std::uintptr_t up_of(promise_base& b) noexcept {
  return std::atomic_ref<std::uintptr_t>(b.up).load(std::memory_order_acquire);   // pairs with make_record(): the record's fields
}

// The branch's word, if it has suspended before (or is a task); null otherwise.
SKUA_INLINE branch_word* word_if_any(std::uintptr_t up) noexcept {
  if ((up & tag::mask) == tag::observed) return reinterpret_cast<branch_record*>(up & ~tag::mask);
  if ((up & tag::mask) == tag::root) return word_of_task(up);
  return nullptr;
}

// Makes the record of the running branch, and of the branches above it that have none, and links them (join.cpp). Throws bad_alloc, before
// any effect (S26).
SKUA_COLD branch_word& make_word(promise_base& branch);
SKUA_INLINE branch_word& word_of(promise_base& branch) {
  if (branch_word* w = word_if_any(branch.up)) [[likely]] return *w;
  return make_word(branch);
}

[[noreturn]] SKUA_COLD void not_on_a_worker();

// The running branch is about to suspend in `op`. False: stopped; the caller unwinds instead. Throws bad_alloc (first suspension of a branch),
// usage_error when the coroutine was resumed by a thread that is no worker.
SKUA_INLINE bool begin(operation& op, std::coroutine_handle<> h) {
  if (tl.words == nullptr) [[unlikely]] not_on_a_worker();
  op.frame = h.address();
  branch_word& w = word_of(*tl.current);
  note_waiting(tl.current->up, *op.kind);
  op.home = &w;
  return !w.stop_requested();
}
SKUA_INLINE promise_base& branch_of(operation const& op) noexcept {
  return *static_cast<promise_base*>(static_cast<void*>(static_cast<branch_word*>(op.home)->branch));
}

// arm() did not suspend (cold).
std::coroutine_handle<> not_suspended(operation& op, core::armed a) noexcept;

// Arms the published operation. Goes on with `next` meanwhile (0: back to the worker loop).
SKUA_INLINE std::coroutine_handle<> suspend(operation& op) noexcept {
  core::armed const a = core::arm(op);
  if (a == core::armed::suspended) [[likely]] return next_or_loop(next_local());
  return not_suspended(op, a);
}

// Whoever completes the operation calls it. True: the caller must schedule it, as item_of(op, kind::woken).
[[nodiscard]] SKUA_INLINE bool complete(operation& op) noexcept { return core::complete(op); }
// Schedules it on `s`: on this worker if it is one of s, else by injection.
SKUA_INLINE void complete_and_schedule(scheduler& s, operation& op) noexcept {
  if (complete(op)) schedule(s, item_of(op, kind::woken));
}

// Is a stop requested of the running branch? Costs one load while no stop is under way anywhere.
SKUA_COLD bool stop_requested_slow();
SKUA_INLINE bool stop_requested() { return attention() && stop_requested_slow(); }

// Budget of operations that complete without suspending (D11). False: the caller must suspend through the queue once.
SKUA_INLINE bool spend_budget() noexcept {
  if (tl.op_budget == 0) [[unlikely]] return false;
  --tl.op_budget;
  return true;
}

// The operation has completed without waiting, and its result may be held over a yield. Goes on at once, or, if the budget is spent, behind everything
// else in the queue. It is not armed meanwhile: a stop finds the branch running, and its next suspension point sees it.
SKUA_COLD std::coroutine_handle<> yield_completed(operation& op) noexcept;   // scheduler/wait_queue.cpp
// The running branch has queued itself behind everything else, as its budget is spent: what runs meanwhile. (The same file.)
SKUA_COLD std::coroutine_handle<> let_others_run() noexcept;
SKUA_INLINE std::coroutine_handle<> go_on_fairly(operation& op) noexcept {
  if (spend_budget()) [[likely]] return handle_of(op.frame);
  return yield_completed(op);
}

// As suspend(), for an operation that is often completed before it is armed.
SKUA_INLINE std::coroutine_handle<> suspend_fairly(operation& op) noexcept {
  core::armed const a = core::arm(op);
  if (a == core::armed::suspended) [[likely]] return next_or_loop(next_local());
  return a == core::armed::completed ? go_on_fairly(op) : not_suspended(op, a);
}

struct join_base;
struct errand;

// Collects what a stop request finds, and hands it to the workers in batches. No user code runs here, nothing is allocated (S2).
class stop_sink {
public:
  explicit stop_sink(scheduler& s) noexcept : scheduler_(s) {}
  ~stop_sink() { flush(); }
  stop_sink(stop_sink const&) = delete;
  void stopping(core::operation& o) noexcept { add(item_of(static_cast<operation&>(o), kind::stopping)); }
  void ended(core::scope& s) noexcept;                              // join.cpp: a walker was inside, so a stop has come from outside
  void looked(core::scope& s) noexcept;                             // join.cpp: somebody looked, and no stop has come
  void claimed(core::scope& s) noexcept;                            // join.cpp
  void do_errand(errand& e) noexcept;                               // join.cpp
  void go_on(join_base& j) noexcept;                                // join.cpp: the same for a join that ended without one
  void arrived(core::scope& s) noexcept;                            // join.cpp: all parties are there, and no walk is under way: as the last of them
  void walked(core::record& outermost) noexcept;                    // join.cpp
  void more(core::record& at) noexcept;                             // join.cpp
  static constexpr unsigned requester_allowance = 64;               // records that a requester visits itself (S2); a guess

private:
  void add(item x) noexcept {
    items_[count_++] = x;
    if (count_ == 32) flush();
  }
  void flush() noexcept {
    if (count_ != 0) inject(scheduler_, items_, count_);
    count_ = 0;
  }
  scheduler& scheduler_;
  unsigned count_ = 0;
  item items_[32];
};

} // namespace skua::detail
