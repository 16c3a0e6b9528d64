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

namespace skua::detail {

struct select_branch;
struct select_operation;

// What one sort of branch can do. All noexcept.
struct select_source {
  spin_lock<>* (*lock)(select_branch&) noexcept;   // a channel's; null: an event
  // Completes at once, if it can. A channel: with its lock; who was taken is woken by the caller.
  bool (*try_now)(select_branch&, taken_waiter&) noexcept;
  // A channel: with its lock. True: an event that has come meanwhile, nobody knows of the branch.
  bool (*enlist)(select_branch&, select_operation&) noexcept;
  // It was enlisted, and another branch has won. False: it is late.
  bool (*take_back)(select_branch&) noexcept;
};

struct select_branch {
  select_source const* source;   // null: it waits for nothing (a stop, the default)
  unsigned number = 0;           // in its select
  bool enabled = true, enlisted = false;
  explicit select_branch(select_source const* s) noexcept : source(s) {}
  select_branch(select_branch const&) = delete;
};

struct select_operation : operation, leaf_frame {
  static constexpr unsigned none = select_core<real_sync>::nobody;

  select_core<real_sync> claims;
  scheduler* owner = nullptr;
  select_branch* const* branches;   // `count` of them
  spin_lock<>** locks;              // room for `count`
  unsigned count;
  unsigned stop_branch = none, default_branch = none;

  select_operation(select_branch* const* b, spin_lock<>** l, unsigned n) noexcept;
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
  bool try_branches(taken_waiter& taken) noexcept;
  std::int32_t take_back_losers() noexcept;
};

// The operation of an event branch was completed, and a worker runs it.
std::coroutine_handle<> select_event_woken(select_operation& s, unsigned number) noexcept;

inline bool withdraw_event(operation&) noexcept { return false; }   // never asked: no stop request knows of it
inline constexpr operation_kind select_event_kind{"select", withdraw_event};

// A branch that waits for an event by an operation of its own. That operation belongs to a branch word of its own, armed from the start: so completing
// it schedules it, like any other, and a worker then runs `woken`.
template <class Operation>
struct event_branch : select_branch, Operation, leaf_frame {
  branch_word word;
  select_operation* select = nullptr;

  template <class... A>
  explicit event_branch(select_source const* s, A... a) noexcept : select_branch(s), Operation(select_event_kind, a...), leaf_frame(event_woken) {}
  void arm(select_operation& s) noexcept {
    operation& op = *this;
    select = &s;
    word.branch = static_cast<void*>(tl.current);
    word.word_.store(core::of(op), std::memory_order_relaxed);   // published with the operation
    op.home = &word;
    op.frame = handle().address();
  }

private:
  static std::coroutine_handle<> event_woken(leaf_frame& f) noexcept {
    auto& self = static_cast<event_branch&>(f);
    return select_event_woken(*self.select, self.number);
  }
};

} // namespace skua::detail
