// SPDX-License-Identifier: Apache-2.0
// shield, settle, stopped_as_optional: boundaries that a stop does not cross, or behind which it is a value.
//
// Each is a join of one branch (detail/single_join.hpp) with a rule of its own for how the parent goes on.
#pragma once
#include "detail/any_awaitable.hpp"
#include "detail/single_join.hpp"
#include "detail/spawn_block.hpp"
#include "outcome.hpp"
#include "spawn.hpp"
#include "task.hpp"
#include <optional>
#include <utility>

namespace skua {

namespace detail {

inline verdict always_resume(special_join&, bool) noexcept { return verdict::resume; }

template <class T>
class [[nodiscard("shield does nothing until it is awaited")]] shield_awaiter : single_join<T> {
public:
  using value_type = T;
  using single_join<T>::single_join;
  using single_join<T>::await_ready;
  SKUA_INLINE std::coroutine_handle<> await_suspend(own_coroutine h) {
    if (tl.words == nullptr) [[unlikely]] not_on_a_worker();
    this->prepare(h, core::head_shield);   // no look at the stop: what is shielded begins, whatever was requested before
    return this->enter_branch();
  }
  T await_resume() { return this->take_or_rethrow(); }
};

// A join of one branch whose stop ends here. `Looks`: the branch does not begin if the stop came before.
template <class T, bool Looks = true>
class settling_join : protected single_join<T> {
public:
  using single_join<T>::single_join;
  using single_join<T>::await_ready;
  SKUA_INLINE std::coroutine_handle<> await_suspend(own_coroutine h) {
    if (tl.words == nullptr) [[unlikely]] not_on_a_worker();
    if (Looks && attention() && stopped_at_fork()) [[unlikely]] return h;   // the branch never begins; its frame dies with us
    this->prepare(h, 0);
    this->decide = always_resume;
    return this->enter_branch();
  }

protected:
  bool never_began() const noexcept { return this->parent == nullptr; }
  // It came to no value. Its failure; null: stopped.
  std::exception_ptr take_loss() noexcept {
    lost_slot& l = *first_lost(*this);
    std::exception_ptr e = std::move(l.error);
    l.~lost_slot();
    free_records(*this);
    return e;
  }
};

template <class T, bool Looks = true>
class [[nodiscard("settle does nothing until it is awaited")]] settle_awaiter : settling_join<T, Looks> {
public:
  using value_type = outcome<T>;
  using settling_join<T, Looks>::settling_join;
  using settling_join<T, Looks>::await_ready;
  using settling_join<T, Looks>::await_suspend;
  outcome<T> await_resume() {
    if (this->never_began()) return {};
    if (this->lost_its_value()) {
      if (std::exception_ptr e = this->take_loss()) return outcome<T>(std::move(e));
      return {};
    }
    if constexpr (std::is_void_v<T>) {
      this->take_or_rethrow();
      return outcome<T>(std::in_place);
    } else {
      return outcome<T>(std::in_place, this->take_or_rethrow());
    }
  }
};

// `Handle`: that the joined task was stopped is no failure.
template <class T, bool Handle>
class [[nodiscard("stopped_as_optional does nothing until it is awaited")]] optional_awaiter : settling_join<T> {
  static_assert(!std::is_reference_v<T>, "stopped_as_optional of a reference: return a pointer");

public:
  using value_type = std::optional<result_of<T>>;
  using settling_join<T>::settling_join;
  using settling_join<T>::await_ready;
  using settling_join<T>::await_suspend;
  value_type await_resume() {
    if (this->never_began()) return std::nullopt;
    if (!this->lost_its_value()) {
      if constexpr (std::is_void_v<T>) {
        this->take_or_rethrow();
        return std::monostate{};
      } else {
        return value_type(std::in_place, this->take_or_rethrow());
      }
    }
    std::exception_ptr e = this->take_loss();
    if (!e) return std::nullopt;
    if constexpr (Handle) {
      try {
        std::rethrow_exception(std::move(e));
      } catch (task_stopped const&) {
        return std::nullopt;
      }
    } else {
      std::rethrow_exception(std::move(e));
    }
  }
};

template <class T>
task<outcome<T>> settled(task<T> t) {
  if constexpr (std::is_nothrow_move_constructible_v<outcome<T>>) {
    co_return co_await settle_awaiter<T>(std::move(t));
  } else {
    try {
      co_return co_await settle_awaiter<T>(std::move(t));
    } catch (...) {   // its value could not be moved
      co_return outcome<T>(std::current_exception());
    }
  }
}

// Ends the branch that runs as stopped. For a coroutine that has turned a stop into a value, to do something first.
struct [[nodiscard]] end_stopped {
  bool await_ready() const noexcept { return false; }
  std::coroutine_handle<> await_suspend(own_coroutine h) const noexcept { return unwind(h.address()); }
  void await_resume() const noexcept {}
};

template <class X>
inline constexpr bool is_join_handle = false;
template <class T>
inline constexpr bool is_join_handle<join_handle<T>> = true;

} // namespace detail

// Awaits `a`, which no stop and no deadline from outside reaches.
//
// It begins even if a stop was requested before; the next suspension point behind it sees the stop. So a value and what must be done with it stay
// together: `auto job = co_await jobs.recv(); co_await shield(acknowledge(job));`. Inside, stop_requested() is false and deadline() is none, unless a
// scope in there has its own (S15). It holds up its task's stop, and the shutdown of the runtime, for as long as it takes: give it a limit of its own,
// shield(timeout(1s, a)).
//
// Thread safety: on workers only. Stop: none; no suspension point by itself. Errors: what a throws. No allocation.
template <class T>
SKUA_INLINE detail::shield_awaiter<T> shield(task<T> t) {
  return detail::shield_awaiter<T>(std::move(t));
}
template <detail::other_awaitable A>
auto shield(A&& a) {
  return shield(detail::as_task(static_cast<A&&>(a)));
}
template <detail::temporary_operation A>
auto shield(SKUA_LIFETIMEBOUND A&& a) {
  return detail::at_once([&] { return shield(detail::as_task(static_cast<A&&>(a))); });
}

// Awaits `a` and says how it ended: outcome<T>. Never throws what a throws, and is not unwound with it.
//
// After a stop from outside the coroutine goes on, with an outcome that says stopped(), to its next suspension point: for a log line or a counter, not for
// awaiting more. If the stop came before, `a` does not begin.
//
// Thread safety: on workers only. Stop: as above. Errors: bad_alloc before a has begun. No allocation.
template <class T>
SKUA_INLINE detail::settle_awaiter<T> settle(task<T> t) {
  return detail::settle_awaiter<T>(std::move(t));
}
template <detail::other_awaitable A>
auto settle(A&& a) {
  return settle(detail::as_task(static_cast<A&&>(a)));
}
template <detail::temporary_operation A>
auto settle(SKUA_LIFETIMEBOUND A&& a) {
  return detail::at_once([&] { return settle(detail::as_task(static_cast<A&&>(a))); });
}

// Awaits `a`; an empty optional if it was stopped (std::monostate for void). Failures are thrown. For the rest as settle().
//
// Of a join_handle: also empty if the joined task was stopped, where a plain await throws task_stopped.
//
//     if (auto page = co_await skua::stopped_as_optional(handle)) show(*page);
template <class T>
SKUA_INLINE detail::optional_awaiter<T, false> stopped_as_optional(task<T> t) {
  return detail::optional_awaiter<T, false>(std::move(t));
}
template <detail::other_awaitable A>
auto stopped_as_optional(A&& a) {
  using awaiter = detail::optional_awaiter<detail::awaited<A>, detail::is_join_handle<std::remove_cvref_t<A>>>;
  return awaiter(detail::as_task(static_cast<A&&>(a)));
}
template <detail::temporary_operation A>
auto stopped_as_optional(SKUA_LIFETIMEBOUND A&& a) {
  return detail::at_once([&] { return stopped_as_optional(detail::as_task(static_cast<A&&>(a))); });
}

} // namespace skua
