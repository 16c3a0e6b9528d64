// SPDX-License-Identifier: Apache-2.0
// barrier: a number of tasks wait for each other, again and again.
#pragma once
#include "detail/waiter.hpp"
#include "error.hpp"
#include <coroutine>
#include <cstddef>
#include <utility>

namespace skua {

// `expected` tasks wait for each other: the last to arrive lets all go on, and the next phase begins.
//
// Thread safety: arrive_and_wait on workers; arrive_and_drop from any thread.
// Stop: arrive_and_wait is a suspension point. A stopped task takes its arrival back: it has not arrived, and the others still wait for as many as before. A
// task that may be stopped and on which others wait calls arrive_and_drop, for example from a destructor. If the phase had ended before, it goes on, and
// its next suspension point sees the stop (S4).
// Errors: usage_error if more are dropped than are expected, or one arrives when all were (bad_alloc at a branch's first suspension).
// Lifetime: as latch. Fairness: all go on together. A wait allocates nothing.
//
//     skua::barrier b(4);
//     for (;;) { compute(part); if (co_await b.arrive_and_wait()) publish(); }
class barrier {
public:
  explicit barrier(std::size_t expected) : expected_(expected), left_(expected) {
    if (expected == 0) throw usage_error("skua: a barrier for nobody");
  }
  barrier(barrier const&) = delete;
  ~barrier() { SKUA_CHECK(waiting_.empty(), "a barrier was destroyed while tasks wait for it"); }

  class [[nodiscard("arrive_and_wait does nothing until it is awaited")]] awaiter : detail::waiter {
  public:
    bool await_ready() const noexcept { return false; }
    std::coroutine_handle<> await_suspend(std::coroutine_handle<> h) {
      if (!detail::begin(*this, h)) [[unlikely]] return detail::unwind(h.address());
      owner = detail::tl.owner;
      detail::waiter_ring through;
      {
        detail::locked_scope const g(barrier_.lock_);
        if (barrier_.left_ == 0) [[unlikely]] throw usage_error("skua: all were dropped from this barrier");
        last_ = barrier_.left_ == 1;
        if (!last_) barrier_.waiting_.push_back(*this);
        barrier_.arrive_locked(through);
      }
      // INV-WAIT-4: whoever has been let through may destroy the barrier; *this, if it is the last, is not known to anybody.
      if (!last_) return detail::suspend(*this);
      detail::wake(std::move(through));
      return detail::go_on_fairly(*this);
    }
    bool await_resume() const noexcept { return last_; }

  private:
    friend class barrier;
    explicit awaiter(barrier& b) noexcept : waiter(this_kind), barrier_(b) {}
    static bool withdraw(detail::operation& op) noexcept {
      auto& self = static_cast<awaiter&>(op);
      detail::locked_scope const g(self.barrier_.lock_);
      bool const mine = self.barrier_.waiting_.withdraw(self);
      if (mine) ++self.barrier_.left_;
      return mine;
    }
    static constexpr detail::operation_kind this_kind{"barrier", withdraw};
    barrier& barrier_;
    bool last_ = false;
  };
  // True for the one that was the last to arrive; for nobody, if that was by arrive_and_drop().
  awaiter arrive_and_wait() noexcept { return awaiter(*this); }
  // Arrives without waiting, and is not expected in later phases.
  void arrive_and_drop() {
    detail::waiter_ring through;
    {
      detail::locked_scope const g(lock_);
      if (expected_ == 0) [[unlikely]] throw usage_error("skua: more were dropped from a barrier than it expects");
      --expected_;
      arrive_locked(through);
    }
    detail::wake(std::move(through));
  }

private:
  void arrive_locked(detail::waiter_ring& through) noexcept {
    if (--left_ != 0) return;
    left_ = expected_;
    through.append(waiting_.take_all());
  }
  detail::spin_lock<> lock_;
  std::size_t expected_, left_;   // tasks of each phase; of this phase, that have not arrived
  detail::wait_list waiting_;
};

} // namespace skua
