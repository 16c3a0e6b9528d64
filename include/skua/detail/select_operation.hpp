// SPDX-License-Identifier: Apache-2.0
// A select, apart from the types of its branches: start, completion, stop. select_core.hpp has the protocol; scheduler/select.cpp the code.
//
// What it suspends as is a leaf frame (leaf_frame.hpp): whoever completes the select resumes that frame, which takes the losers back before the coroutine
// goes on, and waits for those that are late.
#pragma once
#include "channel_state.hpp"
#include "leaf_frame.hpp"
#include "operation.hpp"
#include "select_core.hpp"
#include "spin_lock.hpp"
#include "task_header.hpp"
#include <coroutine>
#include <cstdint>
#include <utility>

namespace skua::detail {

struct select_branch;
struct select_operation;

// Who was taken when a branch was performed at once; to be woken behind the locks.
struct select_taken : taken_waiter {
  waiter_ring others;
  void wake_all() noexcept {
    wake();
    detail::wake(std::move(others));
  }
};

// What one sort of branch can do. All noexcept.
struct select_source {
  source_lock (*lock)(select_branch&) noexcept;   // a channel's; null: an event
  // Completes at once, if it can. A channel: with its lock; who was taken is woken by the caller.
  bool (*try_now)(select_branch&, select_taken&) noexcept;
  // A channel: with its lock. True: an event that has come meanwhile, nobody knows of the branch.
  bool (*enlist)(select_branch&, select_operation&) noexcept;
  // It was enlisted, and another branch has won. False: it is late.
  bool (*take_back)(select_branch&) noexcept;
  // An event that has won, when nobody else knows of the select: performs it. False: it has come in vain. Null: there is nothing to be performed.
  bool (*confirm)(select_branch&) noexcept = nullptr;
};

struct select_branch {
  select_source const* source;   // null: it waits for nothing (a stop, the default)
  unsigned number = 0;           // in its select
  bool enabled = true, enlisted = false;
  explicit select_branch(select_source const* s) noexcept : source(s) {}
  // For a channel, or else for an event.
  bool waits_for(bool channel) const noexcept { return enabled && source != nullptr && (source->lock != nullptr) == channel; }
  select_branch(select_branch const&) = delete;
};

struct select_operation : operation, leaf_frame {
  static constexpr unsigned none = select_core<real_sync>::nobody;

  select_core<real_sync> claims;
  scheduler* owner = nullptr;
  select_branch* const* branches;   // `count` of them
  source_lock* locks;               // room for `count`
  unsigned count;
  unsigned stop_branch = none, default_branch = none;
  bool performed = false;           // the winner was performed before anybody knew of it

  select_operation(select_branch* const* b, source_lock* l, unsigned n) noexcept;
  // When the coroutine goes on: who has won.
  unsigned winner() const noexcept { return claims.winner() == none ? stop_branch : claims.winner(); }
  // Goes on at once, or suspends. Throws usage_error if no branch is enabled, bad_alloc at a branch's first suspension; then nothing has happened.
  std::coroutine_handle<> start(std::coroutine_handle<> h);

private:
  friend std::coroutine_handle<> select_event_woken(select_operation& s, unsigned number) noexcept;
  static std::coroutine_handle<> woken(leaf_frame&) noexcept;
  static bool withdraw(operation&) noexcept;
  static operation_kind const select_kind;
  unsigned lock_channels() noexcept;
  void unlock_channels(unsigned n) noexcept;
  bool try_branches(bool channels, unsigned first, select_taken& taken) noexcept;
  std::coroutine_handle<> go_on_performed(select_taken& taken) noexcept;
  std::coroutine_handle<> run() noexcept;
  std::coroutine_handle<> go_on_confirmed() noexcept;
  std::int32_t take_back_losers() noexcept;
};

// The operation of an event branch was completed, and a worker runs it.
std::coroutine_handle<> select_event_woken(select_operation& s, unsigned number) noexcept;

inline constexpr operation_kind select_event_kind{"select", withdraw_nothing};

// What the own operation of a branch resumes. The operation belongs to a branch word of its own, armed from the start: so completing it schedules it,
// like any other, and a worker then runs the leaf.
struct select_leaf : leaf_frame {
  branch_word word;
  select_operation* select = nullptr;
  unsigned branch = 0;   // its number

  explicit select_leaf(step s = came) noexcept : leaf_frame(s) {}
  void arm(operation& op, select_operation& s, unsigned number) noexcept {
    select = &s;
    branch = number;
    word.branch = static_cast<void*>(tl.current);
    word.word_.store(core::of(op), std::memory_order_relaxed);   // published with the operation
    op.home = &word;
    op.frame = handle().address();
  }

private:
  static std::coroutine_handle<> came(leaf_frame& f) noexcept {
    auto& self = static_cast<select_leaf&>(f);
    return select_event_woken(*self.select, self.branch);
  }
};

// A branch that waits for an event by an operation of its own.
template <class Operation>
struct event_branch : select_branch, Operation, select_leaf {
  template <class... A>
  explicit event_branch(select_source const* s, A... a) noexcept : select_branch(s), Operation(select_event_kind, a...) {}
  void arm(select_operation& s) noexcept { select_leaf::arm(*this, s, number); }
};

inline source_lock source_lock_of(spin_lock<>& l) noexcept { return source_lock(l); }
inline source_lock source_lock_of(source_lock l) noexcept { return l; }

// A branch that waits as `Awaiter` does, which says what that is (waiter.hpp).
template <class Awaiter>
struct sync_branch : select_branch, Awaiter, select_leaf {
  using result_type = decltype(std::declval<Awaiter&>().await_resume());
  struct spec {
    typename Awaiter::parts_type parts;
    using branch = sync_branch;
  };
  bool (*const withdraw)(operation&) noexcept;   // the awaiter's

  explicit sync_branch(spec&& s) noexcept : select_branch(how()), Awaiter(std::move(s.parts)), withdraw(its_operation().kind->withdraw) {
    its_operation().kind = Awaiter::gives_out ? &select_waiter_kind : &select_event_kind;
  }
  result_type take() { return this->await_resume(); }

private:
  waiter& its_operation() noexcept { return *this; }
  static sync_branch& self(select_branch& b) noexcept { return static_cast<sync_branch&>(b); }
  void enlist_in(select_operation& s) noexcept {
    arm(its_operation(), s, number);
    its_operation().owner = s.owner;
    this->enlist_now();
  }
  static source_lock lock_of(select_branch& b) noexcept { return source_lock_of(self(b).its_lock()); }
  static constexpr select_source how_to_give{lock_of,
                                             [](select_branch& b, select_taken& taken) noexcept { return self(b).take_now(taken.others); },
                                             [](select_branch& b, select_operation& s) noexcept {
                                               self(b).enlist_in(s);
                                               return false;
                                             },
                                             [](select_branch& b) noexcept {
                                               (void)self(b).withdraw(self(b).its_operation());   // false: dropped as a dead branch, INV-WAIT-7
                                               return true;
                                             }};
  static constexpr select_source how_to_tell{nullptr,
                                             [](select_branch& b, select_taken& taken) noexcept {
                                               locked_scope const g(self(b).its_lock());
                                               return self(b).take_now(taken.others);
                                             },
                                             [](select_branch& b, select_operation& s) noexcept {
                                               locked_scope const g(self(b).its_lock());
                                               waiter_ring none;
                                               if (self(b).take_now(none)) return true;
                                               self(b).enlist_in(s);
                                               return false;
                                             },
                                             [](select_branch& b) noexcept { return self(b).withdraw(self(b).its_operation()); }};
  static select_source const* how() noexcept {
    if constexpr (Awaiter::gives_out)
      return &how_to_give;
    else
      return &how_to_tell;
  }
};

} // namespace skua::detail
