// SPDX-License-Identifier: Apache-2.0
// barrier: a number of tasks wait for each other, again and again.
#pragma once
#include "detail/barrier_core.hpp"
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
  using core = detail::barrier_core<detail::runtime_waiting>;

public:
  explicit barrier(std::size_t expected) : core_(expected) {
    if (expected == 0) throw usage_error("skua: a barrier for nobody");
  }
  barrier(barrier const&) = delete;
  ~barrier() { SKUA_CHECK(core_.unused(), "a barrier was destroyed while tasks wait for it"); }

  class [[nodiscard("arrive_and_wait does nothing until it is awaited")]] awaiter : detail::waiter {
  public:
    bool await_ready() const noexcept { return false; }
    std::coroutine_handle<> await_suspend(detail::own_coroutine h) {
      if (!detail::begin(*this, h)) [[unlikely]] return detail::unwind(h.address());
      owner = detail::tl.owner;
      last_ = false;   // of an earlier await: this may be one that was kept
      detail::waiter_ring through;
      // INV-WAIT-4: whoever has been let through may destroy the barrier; *this, if it is the last, is not known to anybody.
      switch (barrier_.core_.arrive(*this, through)) {
      case core::arrived::waits: return detail::suspend(*this);
      case core::arrived::nobody_is_expected: throw usage_error("skua: all were dropped from this barrier");
      case core::arrived::last: break;
      }
      last_ = true;
      detail::wake(std::move(through));
      return detail::go_on_fairly(*this);
    }
    bool await_resume() const noexcept { return last_; }

  private:
    friend class barrier;
    explicit awaiter(barrier& b) noexcept : waiter(this_kind), barrier_(b) {}
    static bool withdraw(detail::operation& op) noexcept {
      auto& self = static_cast<awaiter&>(op);
      return self.barrier_.core_.withdraw(self);
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
    if (!core_.arrive_and_drop(through)) throw usage_error("skua: more were dropped from a barrier than it expects");
    detail::wake(std::move(through));
  }

private:
  core core_;
};

} // namespace skua
