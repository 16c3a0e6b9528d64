// SPDX-License-Identifier: Apache-2.0
// strand: run functions one after the other, without holding a lock over a suspension.
//
//     skua::strand s;
//     long const n = co_await s.run([&] { return ++counter; });
//
// Who finds the strand free runs its function at once, on its own worker; who finds it busy leaves the function there, and whoever runs the strand executes
// it too, and wakes its task with the result. So a contended section stays on one processor, and its data with it.
#pragma once
#include "detail/spawn_block.hpp"
#include "detail/strand_core.hpp"
#include "detail/waiter.hpp"
#include "future.hpp"
#include <concepts>
#include <coroutine>
#include <exception>
#include <functional>
#include <type_traits>
#include <utility>

namespace skua {

// Runs functions serially, in the order of arrival.
//
// Thread safety: run() from any number of tasks at once.
// Lifetime: must outlive every run(); may be destroyed by whoever has returned from the last one.
class strand {
  struct waiting : detail::waiter {
    void (*execute)(waiting&) noexcept;
    bool runs_the_strand = false;
    waiting(detail::operation_kind const& k, void (*e)(waiting&) noexcept) noexcept : waiter(k), execute(e) {}
  };

public:
  strand() noexcept = default;
  strand(strand const&) = delete;
  ~strand() { SKUA_CHECK(core_.unused(), "a strand was destroyed while it is used"); }

  template <class F>
  class [[nodiscard("run() does nothing until it is awaited")]] awaiter : waiting {
    using R = std::remove_cv_t<std::invoke_result_t<F&>>;
    static_assert(!detail::is_task<R>, "skua: this function is a coroutine, which the strand would not run: functions of a strand must not wait");
    enum outcome_t : unsigned char { none, value, failed };

  public:
    awaiter(strand& s, F&& f) : waiting(kind, execute_this), strand_(s), f_(std::move(f)) {}
    awaiter(awaiter const&) = delete;
    ~awaiter() { discard(); }
    bool await_ready() noexcept { return !detail::attention() && detail::spend_budget() && enter_and_run(); }
    std::coroutine_handle<> await_suspend(detail::own_coroutine h) {
      if (!detail::begin(*this, h)) [[unlikely]] return detail::unwind(h.address());
      this->owner = detail::tl.owner;
      if (!strand_.core_.enter(this)) return detail::suspend(*this);   // INV-WAIT-4: it may be gone
      execute_this(*this);
      strand_.serve();
      return detail::go_on_fairly(*this);
    }
    R await_resume() {
      if (std::exchange(this->runs_the_strand, false)) {
        execute_this(*this);
        strand_.serve();
      }
      struct guard {
        awaiter& self;
        ~guard() { self.discard(); }   // this may be kept, and awaited again
      } const g{*this};
      if (outcome_ == failed) std::rethrow_exception(error_);
      if constexpr (std::is_reference_v<R>)
        return static_cast<R>(*result_.at);
      else if constexpr (!std::is_void_v<R>)
        return std::move(result_);
    }

  private:
    void discard() noexcept {
      if (outcome_ == value) std::destroy_at(std::addressof(result_));
      if (outcome_ == failed) std::destroy_at(std::addressof(error_));
      outcome_ = none;
    }
    bool enter_and_run() noexcept {
      if (!strand_.core_.enter(nullptr)) return false;
      execute_this(*this);
      strand_.serve();
      return true;
    }
    static void execute_this(waiting& w) noexcept {
      auto& self = static_cast<awaiter&>(w);
      try {
        if constexpr (std::is_void_v<R>) {
          std::invoke(self.f_);
          ::new (static_cast<void*>(std::addressof(self.result_))) detail::stored<R>();
        } else if constexpr (std::is_reference_v<R>) {
          R r = std::invoke(self.f_);
          ::new (static_cast<void*>(std::addressof(self.result_))) detail::stored<R>{std::addressof(r)};
        } else {
          ::new (static_cast<void*>(std::addressof(self.result_))) R(std::invoke(self.f_));
        }
        self.outcome_ = value;
      } catch (...) {
        std::construct_at(std::addressof(self.error_), std::current_exception());
        self.outcome_ = failed;
      }
    }
    static bool withdraw(detail::operation& op) noexcept {
      auto& self = static_cast<awaiter&>(static_cast<waiting&>(static_cast<detail::waiter&>(static_cast<detail::waiter_links&>(op))));
      return self.strand_.core_.withdraw(self);
    }
    static constexpr detail::operation_kind kind{"strand", withdraw};

    strand& strand_;
    [[no_unique_address]] F f_;
    outcome_t outcome_ = none;
    union {
      detail::stored<R> result_;
      std::exception_ptr error_;
    };
  };

  // Executes f(), when its turn has come, and returns its result. While the strand is busy it waits, and another task may execute f, on another worker
  // and as part of *its* task: so f is short, does not wait, and does not ask this_task for anything. It must not use the same strand.
  // Stop: a suspension point; a stopped run has not executed f. Errors: what f throws; bad_alloc at a branch's first suspension. Allocates nothing.
  template <class F>
    requires std::invocable<F&>
  awaiter<F> run(F f) {
    return awaiter<F>(*this, std::move(f));
  }

private:
  static constexpr unsigned at_once = 64;   // functions of others that a task executes; a guess

  // The own function was executed: those of others, as long as there are any.
  void serve() noexcept {
    core_.serve(
        at_once, [](detail::waiter_links& w) { of(w).execute(of(w)); }, [](detail::waiter_links& w) { of(w).runs_the_strand = true; },
        [](detail::waiter_links& w) { detail::wake(w); });
  }
  static waiting& of(detail::waiter_links& w) noexcept { return static_cast<waiting&>(static_cast<detail::waiter&>(w)); }

  detail::strand_core<detail::runtime_waiting> core_;
};

} // namespace skua
