// SPDX-License-Identifier: Apache-2.0
// latch: counts down to zero, once.
#pragma once
#include "detail/waiter.hpp"
#include "error.hpp"
#include <coroutine>
#include <cstddef>
#include <utility>

namespace skua {

// A count that goes down to zero once; tasks wait for that.
//
// Thread safety: count_down and try_wait from any thread; wait and arrive_and_wait on workers.
// Stop: wait is a suspension point; a stopped wait changes nothing. arrive_and_wait that is stopped on entry has not counted down; one that is stopped while it
// waits has: what it arrived for is done.
// Errors: usage_error when it is counted down below zero (bad_alloc at a branch's first suspension; arrive_and_wait has counted nothing then).
// Lifetime: who was let through may destroy it at once, also while the last count_down is still under way, if no other task is inside wait. Destroying
// it while tasks wait ends the process.
// Fairness: all go on together. A wait allocates nothing.
class latch {
public:
  explicit latch(std::ptrdiff_t count) : left_(count) {
    if (count < 0) throw usage_error("skua: a latch of less than zero");
  }
  latch(latch const&) = delete;
  ~latch() { SKUA_CHECK(waiting_.empty(), "a latch was destroyed while tasks wait for it"); }

  void count_down(std::ptrdiff_t n = 1) {
    detail::waiter_ring through;
    {
      detail::locked_scope const g(lock_);
      if (n < 0 || n > left_) [[unlikely]] throw usage_error("skua: a latch was counted down below zero");
      count_locked(n, through);
    }
    detail::wake(std::move(through));
  }
  [[nodiscard]] bool try_wait() const noexcept {
    detail::locked_scope const g(lock_);   // INV-WAIT-5
    return left_ == 0;
  }

  class [[nodiscard("wait does nothing until it is awaited")]] awaiter : public detail::sync_awaiter<awaiter> {
  public:
    void await_resume() const noexcept {}
    // For skua's own parts.
    struct parts_type {
      latch& of;
    };
    static constexpr bool gives_out = false;
    parts_type parts() const noexcept { return {latch_}; }
    explicit awaiter(parts_type p) noexcept : sync_awaiter(this_kind), latch_(p.of) {}

  private:
    friend class latch;
    friend class detail::sync_awaiter<awaiter>;
    explicit awaiter(latch& l) noexcept : awaiter(parts_type{l}) {}
    detail::spin_lock<>& lock() noexcept { return latch_.lock_; }
    detail::wait_list& list() noexcept { return latch_.waiting_; }
    bool take() noexcept { return latch_.left_ == 0; }
    static constexpr detail::operation_kind this_kind{"latch", withdraw_this};
    latch& latch_;
  };
  // Until the count is zero.
  awaiter wait() noexcept { return awaiter(*this); }

  class [[nodiscard("arrive_and_wait does nothing until it is awaited")]] arriving : detail::waiter {
  public:
    bool await_ready() const noexcept { return false; }
    std::coroutine_handle<> await_suspend(detail::own_coroutine h) {
      if (!detail::begin(*this, h)) [[unlikely]] return detail::unwind(h.address());
      owner = detail::tl.owner;
      detail::waiter_ring through;
      bool waits;
      {
        detail::locked_scope const g(latch_.lock_);
        if (latch_.left_ == 0) [[unlikely]] throw usage_error("skua: a latch was counted down below zero");
        waits = latch_.left_ != 1;
        if (waits) latch_.waiting_.push_back(*this);
        latch_.count_locked(1, through);
      }
      detail::wake(std::move(through));
      return waits ? detail::suspend(*this) : detail::go_on_fairly(*this);
    }
    void await_resume() const noexcept {}

  private:
    friend class latch;
    explicit arriving(latch& l) noexcept : waiter(this_kind), latch_(l) {}
    static bool withdraw(detail::operation& op) noexcept {
      auto& self = static_cast<arriving&>(op);
      return detail::withdraw_waiter(self.latch_.lock_, self.latch_.waiting_, self);
    }
    static constexpr detail::operation_kind this_kind{"latch", withdraw};
    latch& latch_;
  };
  // Counts down by one and waits for zero.
  arriving arrive_and_wait() noexcept { return arriving(*this); }

private:
  void count_locked(std::ptrdiff_t n, detail::waiter_ring& through) noexcept {
    left_ -= n;
    if (left_ == 0) through.append(waiting_.take_all());
  }
  mutable detail::spin_lock<> lock_;
  std::ptrdiff_t left_;
  detail::wait_list waiting_;
};

} // namespace skua
