// SPDX-License-Identifier: Apache-2.0
// when_any: run tasks concurrently, the first value wins.
//
// Semantics (S9): the first branch that comes to a *value* wins; the others are stopped and awaited, so nothing is left running. A loser that
// finishes all the same has its value destroyed; failures of losers go to the failure handler, as failure_kind::when_any. If no branch comes to a
// value, their failures are thrown together (all_failed).
//
// Thread safety: on workers only. Stop: a suspension point; reaches every branch; a value that was there wins over the stop.
// Errors: all_failed (bad_alloc if there is no memory for its list: the failures go to the failure handler then); bad_alloc before any branch has started;
// usage_error for a task that was awaited before.
// Lifetime: the tasks' frames are gone when it returns, on every path.
//
// Protocol: a branch has its record from the start (flag `race`); at its end with a value it sets head_won, and whoever set it first stops the
// scope. The winner's record has `race` cleared (join.cpp).
#pragma once
#include "detail/any_awaitable.hpp"
#include "detail/single_join.hpp"
#include "error.hpp"
#include "task.hpp"
#include <cstddef>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

namespace skua {

namespace detail {

// The slot of the winner; null: nobody came to a value. `losers(out)` is called for every other value that is there.
template <class Loser>
void* race_winner(join_base& j, Loser loser) noexcept {
  void* winner = nullptr;
  for (core::record* r = core::list(j.head.load(std::memory_order_relaxed)); r != nullptr; r = r->next) {
    auto* b = static_cast<branch_record*>(r);
    if (b->notes.ended_lost()) continue;
    if (!b->notes.race())
      winner = b->out;
    else
      loser(b->out);
  }
  return winner;
}
verdict race_decides(special_join& j, bool from_outside) noexcept;   // join.cpp
std::vector<std::exception_ptr> take_failures(join_base& j, void* const* outs, std::size_t n);
// Everything that may throw: frames[i] is to give its result to outs[i]. The frames are the caller's until it calls launch_race().
void prepare_race(special_join& j, std::coroutine_handle<> parent, void* const* frames, void* const* outs, std::size_t n);
std::coroutine_handle<> launch_race(void* const* frames, std::size_t n) noexcept;

template <class... T>
class [[nodiscard("when_any does nothing until it is awaited")]] when_any_tuple : special_join {
  static constexpr std::size_t size = sizeof...(T);
  using indices = std::index_sequence_for<T...>;
  using result = std::variant<result_of<T>...>;

public:
  explicit when_any_tuple(task<T>&&... t) {
    if (!(... && static_cast<bool>(t))) task_awaited_twice();
    parent = nullptr;
    adopt(indices{}, std::move(t)...);
  }
  when_any_tuple(when_any_tuple const&) = delete;
  ~when_any_tuple() {
    if (parent == nullptr) [[unlikely]] destroy_frames(indices{});   // never awaited, or ended before it began
  }
  bool await_ready() const noexcept { return false; }
  std::coroutine_handle<> await_suspend(own_coroutine h) {
    if (parent != nullptr) [[unlikely]] task_awaited_twice();
    return start(h, indices{});
  }
  result await_resume() { return settle(indices{}); }

private:
  template <std::size_t... I>
  void adopt(std::index_sequence<I...>, task<T>&&... t) noexcept {
    ((std::get<I>(slots_).frame = t.release()), ...);
  }
  template <std::size_t... I>
  std::coroutine_handle<> start(std::coroutine_handle<> h, std::index_sequence<I...>) {
    void* const outs[] = {&std::get<I>(slots_)...};
    void* const frames[] = {std::get<I>(slots_).frame...};
    if (attention() && stopped_at_fork()) return unwind(h.address());
    prepare_race(*this, h, frames, outs, size);
    return launch_race(frames, size);
  }
  template <std::size_t... I>
  void destroy_frames(std::index_sequence<I...>) noexcept {
    (handle_of(std::get<I>(slots_).frame).destroy(), ...);
  }
  template <std::size_t... I>
  result settle(std::index_sequence<I...>) {
    void* outs[] = {&std::get<I>(slots_)...};
    void* const winner = race_winner(*this, [this, &outs](void* out) noexcept { ((outs[I] == out ? drop<I>() : void()), ...); });
    if (winner == nullptr) {
      std::vector<std::exception_ptr> failures = take_failures(*this, outs, size);
      free_records(*this);
      throw all_failed(std::move(failures));
    }
    discard_lost(*this, failure_kind::when_any);
    free_records(*this);
    result* none = nullptr;
    return take<I...>(winner, outs, none);
  }
  template <std::size_t I>
  void drop() noexcept {
    using V = std::remove_cvref_t<decltype(std::get<I>(slots_).value)>;
    std::get<I>(slots_).value.~V();
  }
  template <std::size_t First, std::size_t... Rest>
  result take(void* winner, void** outs, result* none) {
    if constexpr (sizeof...(Rest) == 0) {
      return result(std::in_place_index<First>, take_at<First>());
    } else {
      if (outs[First] == winner) return result(std::in_place_index<First>, take_at<First>());
      return take<Rest...>(winner, outs, none);
    }
  }
  template <std::size_t I>
  auto take_at() {
    using X = std::tuple_element_t<I, std::tuple<std::type_identity<T>...>>;
    return take_result<typename X::type>(std::get<I>(slots_));
  }
  static_assert(!(... || std::is_reference_v<T>), "when_any of tasks that return references: return pointers");
  std::tuple<branch_slot<stored<T>>...> slots_;
};

template <class T>
class [[nodiscard("when_any does nothing until it is awaited")]] when_any_range : special_join {
public:
  struct result {
    std::size_t index;
    result_of<T> value;
  };
  explicit when_any_range(std::vector<task<T>>&& tasks) : tasks_(std::move(tasks)), slots_(tasks_.size()), places_(2 * tasks_.size()) {
    if (tasks_.empty()) throw usage_error("skua: when_any of an empty range would never end");
    for (std::size_t i = 0; i < tasks_.size(); ++i) {
      if (!tasks_[i]) task_awaited_twice();
      places_[tasks_.size() + i] = &slots_[i];
    }
  }
  when_any_range(when_any_range const&) = delete;
  bool await_ready() const noexcept { return false; }
  std::coroutine_handle<> await_suspend(own_coroutine h) {
    if (!tasks_.front()) [[unlikely]] task_awaited_twice();
    if (attention() && stopped_at_fork()) return unwind(h.address());   // tasks_ owns the frames
    std::size_t const n = tasks_.size();
    for (std::size_t i = 0; i < n; ++i) places_[i] = tasks_[i].peek();
    prepare_race(*this, h, places_.data(), places_.data() + n, n);
    for (auto& t : tasks_) (void)t.release();
    return launch_race(places_.data(), n);
  }
  result await_resume() {
    void* const winner = race_winner(*this, [](void* out) noexcept {
      using V = stored<T>;
      static_cast<branch_slot<V>*>(out)->value.~V();
    });
    std::size_t const n = slots_.size();
    if (winner == nullptr) {
      std::vector<std::exception_ptr> failures = take_failures(*this, places_.data() + n, n);
      free_records(*this);
      throw all_failed(std::move(failures));
    }
    discard_lost(*this, failure_kind::when_any);
    free_records(*this);
    auto* const slot = static_cast<branch_slot<stored<T>>*>(winner);
    return {static_cast<std::size_t>(slot - slots_.data()), take_result<T>(*slot)};
  }

private:
  static_assert(!std::is_reference_v<T>, "when_any of tasks that return references: return pointers");
  std::vector<task<T>> tasks_;
  std::vector<branch_slot<stored<T>>> slots_;
  std::vector<void*> places_;   // frames, then slots
};

} // namespace detail

//     auto r = co_await skua::when_any(from_cache(key), from_disk(key));     // std::variant; r.index() says who won
template <class... T>
detail::when_any_tuple<T...> when_any(task<T>... tasks) {
  static_assert(sizeof...(T) > 0, "when_any() of nothing would never end");
  return detail::when_any_tuple<T...>(std::move(tasks)...);
}

//     auto [index, value] = co_await skua::when_any(std::move(replicas));     // std::vector<skua::task<reply>>
template <class T>
detail::when_any_range<T> when_any(std::vector<task<T>>&& tasks) {
  return detail::when_any_range<T>(std::move(tasks));
}

// Any awaitables, not only tasks, and ranges of them; detail/any_awaitable.hpp says how they are kept. The result of one that loses is lost.
template <detail::awaitable... A>
  requires(detail::other_awaitable<A> || ...) && (!detail::temporary_operation<A> && ...)
auto when_any(A&&... a) {
  return when_any(detail::as_task(static_cast<A&&>(a))...);
}
template <detail::awaitable... A>
  requires(detail::temporary_operation<A> || ...)
auto when_any(SKUA_LIFETIMEBOUND A&&... a) {
  return detail::at_once([&] { return when_any(detail::as_task(static_cast<A&&>(a))...); });
}
template <detail::lvalue_range_of_tasks R>
detail::when_any_range<typename std::ranges::range_value_t<R>::value_type> when_any(R&&) {
  static_assert(detail::never<R>, "when_any(range) takes the tasks over: when_any(std::move(range))");
  return when_any(std::vector<std::ranges::range_value_t<R>>());
}
template <std::ranges::input_range R>
  requires detail::range_of_awaitables<R>
auto when_any(R&& range) {
  return when_any(detail::as_tasks(static_cast<R&&>(range)));
}

} // namespace skua
