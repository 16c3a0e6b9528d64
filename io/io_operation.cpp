// SPDX-License-Identifier: Apache-2.0
#include "skua/detail/io_operation.hpp"
#include "io/descriptor.hpp"
#include "scheduler/tuning.hpp"
#include "skua/detail/operation.hpp"
#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <new>
#include <utility>

namespace skua::detail {

namespace {

direction direction_of(io_operation const& op) noexcept { return static_cast<direction>(op.io().direction); }

descriptor::transfer how(unsigned char last) noexcept {
  static_assert(static_cast<unsigned char>(descriptor::transfer::full) == io_operation::full &&
                static_cast<unsigned char>(descriptor::transfer::partial) == io_operation::partial &&
                static_cast<unsigned char>(descriptor::transfer::blocked) == io_operation::drained);
  return static_cast<descriptor::transfer>(last);
}

bool stop_was_requested(io_operation const& op) noexcept {
  return attention() && static_cast<branch_word*>(op.home)->stop_requested();
}

} // namespace

int io_operation::number() const noexcept { return target->number; }

// False: it cannot be had, and that is the result.
bool io_operation::claim() noexcept {
  if (target == nullptr) return error = EBADF, false;
  switch (target->claim(direction_of(*this), generation, seen)) {
  case descriptor::claimed::yes: return claimed = true;
  case descriptor::claimed::occupied: return error = io_occupied, false;
  case descriptor::claimed::closed: return error = EBADF, false;
  }
  return false;
}

// After claim(), or with a fresh `seen`.
io_step io_operation::attempt() noexcept {
  if (!descriptor::worth_trying(seen, direction_of(*this)) && (io().is_empty == nullptr || !io().is_empty(*this))) return io_step::blocked;
  return io().attempt(*this);
}

void io_operation::give_up() noexcept {
  claimed = false;
  if (target->finish(direction_of(*this), seen, how(last)) == descriptor::duty::release) close_number(*target);
}

std::coroutine_handle<> io_operation::finish(int with_error) noexcept {
  error = with_error;
  give_up();   // INV-OP-1: before the coroutine goes on, which may close the descriptor
  return parent();
}

bool io_operation::try_now() noexcept {
  if (!claim()) return true;
  if (attempt() != io_step::done) return false;
  give_up();
  return true;
}

std::coroutine_handle<> io_operation::start(std::coroutine_handle<> h, bool tried) {
  set_parent(h);
  try {
    if (!begin(*this, handle())) {
      if (reports && transferred != 0) return finish(ECANCELED);
      return unwind(h.address());
    }
  } catch (std::bad_alloc const&) {
    if (transferred == 0) throw;
    return finish(ENOMEM);
  }
  owner = tl.owner;
  waits_in = descriptors_of(*owner);
  if (!claimed && !claim()) return h;
  // Not tried: await_ready() has not spent anything either, as a stop is under way somewhere. Two tasks that never wait would keep the workers, and with them
  // whoever is to be stopped, so that it went on for ever.
  if (tried ? tl.op_budget == 0 : !spend_budget()) return yield();
  return run(!tried);
}

// The claim is held. Tries and waits until there is a result, or somebody else is to be resumed.
std::coroutine_handle<> io_operation::run(bool try_first) noexcept {
  for (;;) {
    if (try_first) {
      io_step const s = attempt();
      if (s == io_step::done) return finish(error);
      if (s == io_step::unfair) return yield();
    }
    if (waits_in == nullptr) return finish(io_no_descriptors);
    if (int const e = register_descriptor(*waits_in, *target, direction_of(*this))) return finish(e);
    auto const w = target->wait(direction_of(*this), seen, *this);
    if (w == descriptor::waiting::published) return suspend(*this);   // nothing of this is ours any more
    if (w == descriptor::waiting::closed) return finish(ECANCELED);
    seen = target->look();
    try_first = true;
  }
}

// Others have their turn. The operation is not armed: a stop request finds the branch running, and is seen afterwards.
std::coroutine_handle<> io_operation::yield() noexcept {
  if (!tl.queue.try_reserve(1)) {   // no memory: fairness gives way, for another budget
    tl.op_budget = tuning::operation_budget;
    return run(true);
  }
  yielded = true;
  tl.queue.push_reserved(item_of(*this, kind::woken));
  constexpr std::uint32_t more = 24;   // a budget of system calls takes far longer than one of locks: two of them, and the loop has its turn. A guess
  tl.run_budget -= std::min(tl.run_budget, more);
  return let_others_run();
}

// Completed by an event, by close() or by a stop, or back from yield().
std::coroutine_handle<> io_operation::woken(leaf_frame& frame) noexcept {
  auto& op = static_cast<io_operation&>(frame);
  if (op.stopped) return op.finish(ECANCELED);
  if (std::exchange(op.yielded, false) && stop_was_requested(op)) {
    if (op.reports && op.transferred != 0) return op.finish(ECANCELED);
    return unwind(op.handle().address());
  }
  op.seen = op.target->look();
  if (op.seen & descriptor::closed) return op.finish(ECANCELED);
  return op.run(true);
}

// A worker, for a stop. What was transferred is not lost if it is reported: then the operation is completed instead of taken back (S4, S17).
bool io_operation::withdraw(operation& o) noexcept {
  auto& op = static_cast<io_operation&>(o);
  if (!op.target->withdraw(direction_of(op))) return false;
  if (!op.reports || op.transferred == 0) return true;
  op.stopped = true;
  [[maybe_unused]] bool const schedule = complete(op);
  SKUA_DCHECK(!schedule, "a stop is being dispatched: whoever asked has the operation in hand");
  return false;
}

} // namespace skua::detail
