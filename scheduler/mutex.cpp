// SPDX-License-Identifier: Apache-2.0
// The slow half of a mutex's lock: waiting, being called, trying again. skua/detail/mutex_core.hpp has the protocol.
#include "skua/mutex.hpp"
#include "skua/condition_variable.hpp"

namespace skua::detail {

// Off the fast path: somebody owns the mutex, a stop is under way somewhere, or the budget is spent.
std::coroutine_handle<> lock_operation::start(std::coroutine_handle<> h) {
  set_parent(h);
  if (!begin(*this, handle())) return unwind(h.address());
  owner = tl.owner;
  if (!spend_budget()) return yield_first();
  if (state.enqueue(*this)) return h;
  return suspend(*this);
}

std::coroutine_handle<> lock_operation::start_waiting(std::coroutine_handle<> h, mutex*& owned) {
  set_parent(h);
  if (!begin(*this, handle())) return unwind(h.address());   // the lock's destructor gives the mutex up
  owner = tl.owner;
  owned = nullptr;
  pass_mutex(state.unlock_and_wait(*condition, *this));
  return suspend(*this);
}

// Others have their turn, before it owns anything. Not armed: a stop finds the branch running, and is seen in go_on_from().
std::coroutine_handle<> lock_operation::yield_first() noexcept {
  how = turn::first;
  return yield_completed(*this);
}

// Resumed by a completion, or back from yield_first().
std::coroutine_handle<> lock_operation::go_on_from(leaf_frame& f) noexcept {
  auto& op = static_cast<lock_operation&>(f);
  if (op.how == turn::owns) return op.parent();
  return op.again();
}

std::coroutine_handle<> lock_operation::again() noexcept {
  bool const was_called = how == turn::called;
  if (attention() && static_cast<branch_word*>(home)->stop_requested()) [[unlikely]] {
    if (was_called) pass_mutex(condition == nullptr ? state.give_up() : state.give_up(*condition, *this, notified_alone));
    return unwind(frame);
  }
  if (was_called ? state.retry(*this) : state.enqueue(*this)) return parent();
  return suspend(*this);
}

bool lock_operation::withdraw_this(operation& op) noexcept {
  auto& self = static_cast<lock_operation&>(op);
  auto const w = self.condition == nullptr ? self.state.withdraw(self) : self.state.withdraw(*self.condition, self, notified_alone);
  pass_mutex(w.next);
  return w.mine;
}

void not_locked(char const* what) { throw usage_error(what); }

} // namespace skua::detail
