// SPDX-License-Identifier: Apache-2.0
// event: a flag that tasks wait for. auto_reset_event: a flag that lets one task through.
#pragma once
#include "detail/auto_reset_core.hpp"
#include "detail/waiter.hpp"
#include <coroutine>

namespace skua {

// A flag; tasks wait until it is set. set() lets all through that wait, and all that come later, until reset().
//
// Thread safety: set, reset and is_set from any thread, be it the runtime's or not; wait on workers.
// Stop: wait is a suspension point; a stopped wait ends at once and changes nothing.
// Errors: none (bad_alloc at a branch's first suspension).
// Lifetime: must outlive its waits. A task that set() has let through may destroy it at once, also while the setter is still inside set(), if no other
// task is inside wait(). Destroying it while tasks wait ends the process.
// Fairness: all that wait when set() comes are let through together, even if reset() follows at once. A wait allocates nothing.
//
//     skua::event ready;
//     co_await ready.wait();          // .. ready.set() elsewhere
class event {
public:
  explicit event(bool set = false) noexcept : set_(set) {}
  event(event const&) = delete;
  ~event() { SKUA_CHECK(waiting_.empty(), "an event was destroyed while tasks wait for it"); }

  void set() noexcept { detail::wake(raise()); }
  void reset() noexcept {
    detail::locked_scope const g(lock_);
    set_ = false;
  }
  bool is_set() const noexcept {
    detail::locked_scope const g(lock_);   // INV-WAIT-5
    return set_;
  }

  class [[nodiscard("wait does nothing until it is awaited")]] awaiter : public detail::sync_awaiter<awaiter> {
  public:
    void await_resume() const noexcept {}
    // For skua's own parts.
    struct parts_type {
      event& of;
    };
    static constexpr bool gives_out = false;
    parts_type parts() const noexcept { return {event_}; }
    explicit awaiter(parts_type p) noexcept : sync_awaiter(this_kind), event_(p.of) {}

  private:
    friend class event;
    friend class detail::sync_awaiter<awaiter>;
    explicit awaiter(event& e) noexcept : awaiter(parts_type{e}) {}
    detail::spin_lock<>& lock() noexcept { return event_.lock_; }
    detail::wait_list& list() noexcept { return event_.waiting_; }
    bool take() noexcept { return event_.set_; }
    static constexpr detail::operation_kind this_kind{"event", withdraw_this};
    event& event_;
  };
  awaiter wait() noexcept { return awaiter(*this); }

private:
  detail::waiter_ring raise() noexcept {
    detail::locked_scope const g(lock_);
    set_ = true;
    return waiting_.take_all();
  }
  mutable detail::spin_lock<> lock_;
  bool set_;
  detail::wait_list waiting_;
};

// A flag that one wait() consumes: set() lets one task through, the one that has waited longest or the next that comes. Setting it when it is set
// changes nothing: signals do not add up (counting_semaphore counts).
//
// Thread safety: set, try_wait and reset from any thread; wait on workers.
// Stop: a stopped wait ends at once and consumes nothing. If set() has let it through before, it goes on, and its next suspension point sees the
// stop: a signal is never lost (S4).
// Errors, lifetime: as event.
// Fairness: first come, first served; nobody overtakes a task that waits. A wait allocates nothing.
class auto_reset_event {
public:
  explicit auto_reset_event(bool set = false) noexcept : core_(set) {}
  auto_reset_event(auto_reset_event const&) = delete;
  ~auto_reset_event() { SKUA_CHECK(core_.unused(), "an auto_reset_event was destroyed while tasks wait for it"); }

  void set() noexcept {
    if (detail::waiter_links* const w = core_.raise()) detail::wake(*w);
  }
  // Consumes the signal if there is one.
  [[nodiscard]] bool try_wait() noexcept { return core_.try_consume(); }
  void reset() noexcept { (void)try_wait(); }

  class [[nodiscard("wait does nothing until it is awaited")]] awaiter : public detail::sync_awaiter<awaiter> {
  public:
    void await_resume() const noexcept {}
    // For skua's own parts.
    struct parts_type {
      auto_reset_event& of;
    };
    static constexpr bool gives_out = true;
    parts_type parts() const noexcept { return {event_}; }
    explicit awaiter(parts_type p) noexcept : sync_awaiter(this_kind), event_(p.of) {}

  private:
    friend class auto_reset_event;
    friend class detail::sync_awaiter<awaiter>;
    explicit awaiter(auto_reset_event& e) noexcept : awaiter(parts_type{e}) {}
    detail::spin_lock<>& lock() noexcept { return event_.core_.lock(); }
    detail::wait_list& list() noexcept { return event_.core_.list(); }
    bool take() noexcept { return event_.core_.consume(); }
    static constexpr detail::operation_kind this_kind{"auto_reset_event", withdraw_this};
    auto_reset_event& event_;
  };
  awaiter wait() noexcept { return awaiter(*this); }

private:
  detail::auto_reset_core<detail::runtime_waiting> core_;
};

} // namespace skua
