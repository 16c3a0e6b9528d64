// SPDX-License-Identifier: Apache-2.0
// when_all: run tasks concurrently, await all of them, results in the order of the arguments.
//
// The fork-join fast path: child stealing with a token join (detail/join.hpp). A fork and its join cost about thirty nanoseconds and no atomic
// operation unless a branch is taken by another worker. The branches are parts of the awaiting task: they may refer to its frame.
//
// Semantics: the first branch runs at once on this worker, the others are queued here, where idle workers may take them. On the first failure the
// other branches are stopped, all are awaited, and the first failure in time is rethrown; further failures go to the failure handler (S8). A branch that
// ends stopped stops the others, and the whole ends stopped. Failure before stop before values.
//
// Thread safety: on workers only.
// Stop: the fork is a suspension point (S1). A stop reaches every branch; all are awaited; if all came to values all the same, they are delivered (S4).
// Errors: what a branch throws; bad_alloc before any branch has started; usage_error for a task that was awaited before.
// Lifetime: the tasks' frames are gone when it returns, on every path.
#pragma once
#include "detail/any_awaitable.hpp"
#include "detail/single_join.hpp"
#include "task.hpp"
#include <array>
#include <cstddef>
#include <cstring>
#include <ranges>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace skua {

namespace detail {

template <bool Typed>
using join_for = std::conditional_t<Typed, special_join, join_base>;
template <bool Typed>
inline constexpr std::uintptr_t initial_head = Typed ? core::head_special : 0;

// A fork while attention() is raised: a stop may be under way (S1), or this worker is wanted back in its loop (S21).
// `start()` starts the branches and returns the first one's handle; until then their frames belong to the awaiter, whose destructor destroys them.
template <class Start>
SKUA_COLD std::coroutine_handle<> fork_with_attention(std::coroutine_handle<> parent, bool stopped, Start start) {
  if (stopped) return unwind(parent.address());
  std::coroutine_handle<> const first = start();
  return wanted_in_loop() ? detour(*tl.current) : first;
}

// A fork of nothing is a fork: it looks for a stop (S1).
inline std::coroutine_handle<> through_empty_fork(std::coroutine_handle<> parent) {
  return attention() && stopped_at_fork() ? unwind(parent.address()) : parent;
}

// One place for each branch. An array if it can be: then a place's address is computed, and not looked up.
template <class... T>
struct slots_of {
  using type = std::tuple<branch_slot<T>...>;
};
template <class T, class... U>
  requires(std::is_same_v<T, U> && ...)
struct slots_of<T, U...> {
  using type = std::array<branch_slot<T>, 1 + sizeof...(U)>;
};
template <class... T>
class [[nodiscard("when_all does nothing until it is awaited")]] SKUA_AWAIT_ELIDABLE when_all_tuple : join_for<have_destructors<stored<T>...>> {
  static constexpr std::size_t size = sizeof...(T);
  static constexpr bool typed = have_destructors<stored<T>...>;
  using indices = std::index_sequence_for<T...>;

public:
  SKUA_INLINE explicit when_all_tuple(task<T>&&... t) { adopt(indices{}, std::move(t)...); }
  when_all_tuple(when_all_tuple const&) = delete;
  SKUA_INLINE ~when_all_tuple() {
    if (this->parent == nullptr) [[unlikely]] destroy_frames(indices{});   // never awaited, or ended before it began
  }
  bool await_ready() const noexcept { return false; }
  SKUA_INLINE std::coroutine_handle<> await_suspend(own_coroutine h) {
    if (this->parent != nullptr) [[unlikely]] task_awaited_twice();   // it was kept, and its branches are gone
    if (attention()) [[unlikely]]
      return look_closer(h);
    if (size > 1 && !tl.queue.try_reserve(size - 1)) [[unlikely]] throw_bad_alloc();
    return start(h, indices{});
  }
  SKUA_INLINE std::tuple<result_of<T>...> await_resume() {
    if (this->head.load(std::memory_order_relaxed) != 0) [[unlikely]] settle();
    return take(indices{});
  }

private:
  template <std::size_t... I>
  SKUA_INLINE void adopt(std::index_sequence<I...>, task<T>&&... t) {
    if (!(... && static_cast<bool>(t))) [[unlikely]] task_awaited_twice();
    this->parent = nullptr;
    ((std::get<I>(slots_).frame = t.release()), ...);
  }
  template <std::size_t... I>
  SKUA_INLINE std::coroutine_handle<> start(std::coroutine_handle<> h, std::index_sequence<I...>) {
    if constexpr (typed) this->discard = discard_values;
    if constexpr (requires { slots_[0]; }) {
      return start_branches(
          *this, initial_head<typed>, h.address(), size, [&](std::size_t i) { return slots_[i].frame; }, [&](std::size_t i) -> void* { return &slots_[i]; });
    } else {
      void* const outs[] = {&std::get<I>(slots_)...};   // a slot is a union: frame and value at the same address
      return start_branches(
          *this, initial_head<typed>, h.address(), size, [&](std::size_t i) { return *static_cast<void**>(outs[i]); },
          [&](std::size_t i) { return outs[i]; });
    }
  }
  SKUA_COLD std::coroutine_handle<> look_closer(std::coroutine_handle<> h) {
    tl.queue.reserve(size);
    return fork_with_attention(h, stopped_at_fork(), [&] { return start(h, indices{}); });   // may need a record, and throw
  }
  template <std::size_t... I>
  SKUA_COLD void destroy_frames(std::index_sequence<I...>) noexcept {
    (handle_of(std::get<I>(slots_).frame).destroy(), ...);
  }
  SKUA_COLD void settle() {
    if (!any_failed(*this)) return free_records(*this);
    discard_values(*this);
    rethrow_first_failure(*this);
  }
  // The values from `next` on are still in their slots: for when a move throws.
  struct rest {
    when_all_tuple& w;
    std::size_t next = 0;
    ~rest() { w.destroy_from(next, indices{}); }
    template <std::size_t I>
    auto take_next() -> result_of<typename std::tuple_element_t<I, std::tuple<std::type_identity<T>...>>::type> {
      next = I + 1;
      return take_result<typename std::tuple_element_t<I, std::tuple<std::type_identity<T>...>>::type>(std::get<I>(w.slots_));
    }
  };
  template <std::size_t... I>
  void destroy_from(std::size_t next, std::index_sequence<I...>) noexcept {
    auto one = []<class V>(branch_slot<V>& s) { s.value.~V(); };
    ((I >= next ? one(std::get<I>(slots_)) : void()), ...);
  }
  template <std::size_t... I>
  SKUA_INLINE std::tuple<result_of<T>...> take(std::index_sequence<I...>) {
    if constexpr (!typed || (std::is_nothrow_move_constructible_v<result_of<T>> && ...)) {
      return std::tuple<result_of<T>...>(take_result<T>(std::get<I>(slots_))...);
    } else {
      rest r{*this};
      return std::tuple<result_of<T>...>{r.template take_next<I>()...};   // in braces: from left to right
    }
  }
  template <std::size_t... I>
  static void discard_each(when_all_tuple& w, std::index_sequence<I...>) noexcept {
    auto one = [&w]<class V>(branch_slot<V>& s) {
      if (slot_has_value(w, &s)) s.value.~V();
    };
    (one(std::get<I>(w.slots_)), ...);
  }
  static void discard_values(join_base& j) noexcept {
    if constexpr (typed) discard_each(static_cast<when_all_tuple&>(j), indices{});
  }
  typename slots_of<stored<T>...>::type slots_;
};

// Any number of equal branches: the tasks' vector turns into the list of frames; results in a vector.
template <class T>
class [[nodiscard("when_all does nothing until it is awaited")]] when_all_range : special_join {
public:
  explicit when_all_range(std::vector<task<T>>&& tasks) : tasks_(std::move(tasks)), slots_(tasks_.size()) {
    for (auto& t : tasks_)
      if (!t) task_awaited_twice();
    if constexpr (!std::is_void_v<T>) results_.reserve(tasks_.size());   // before anything has begun
  }
  when_all_range(when_all_range const&) = delete;
  bool await_ready() const noexcept { return tasks_.empty() && !attention(); }
  std::coroutine_handle<> await_suspend(own_coroutine h) {
    if (tasks_.empty()) return through_empty_fork(h);
    if (!tasks_.front()) [[unlikely]] task_awaited_twice();
    if (attention()) [[unlikely]]
      return fork_with_attention(
          h, stopped_at_fork(), [&] { return start(h); });   // tasks_ owns the frames
    return start(h);
  }
  std::conditional_t<std::is_void_v<T>, void, std::vector<T>> await_resume() {
    if (!slots_.empty()) settle();
    if constexpr (!std::is_void_v<T>) {
      struct rest {   // a move that throws leaves the others to be destroyed
        std::vector<branch_slot<T>>& slots;
        std::size_t next = 0;
        ~rest() {
          for (; next < slots.size(); ++next) slots[next].value.~T();
        }
      } r{slots_};
      while (r.next < slots_.size()) results_.push_back(take_slot(slots_[r.next++]));
      return std::move(results_);
    }
  }

private:
  static_assert(!std::is_reference_v<T>, "when_all(range) of references: return pointers");
  SKUA_INLINE std::coroutine_handle<> start(std::coroutine_handle<> h) {
    this->discard = discard_values;
    std::size_t const n = tasks_.size();
    tl.queue.reserve(static_cast<std::int64_t>(n));   // may throw, while tasks_ still owns the frames
    auto const first = start_branches(
        *this, core::head_special, h.address(), n, [this](std::size_t i) { return tasks_[i].release(); },
        [this](std::size_t i) -> void* { return &slots_[i]; });
    return first;
  }
  void settle() {
    if (!any_failed(*this)) return free_records(*this);
    discard_values(*this);
    struct forget {   // the lost list lies in the slots: they are dropped last
      std::vector<branch_slot<stored<T>>>& slots;
      ~forget() { slots.clear(); }
    } g{slots_};
    rethrow_first_failure(*this);
  }

  // The vector of tasks, all null by now, marks the slots that are no values: linear, nothing is allocated.
  static void discard_values(join_base& j) noexcept {
    if constexpr (have_destructors<stored<T>>) {
      using V = stored<T>;
      auto& w = static_cast<when_all_range&>(j);
      static_assert(sizeof(task<T>) == sizeof(void*));
      void** const marks = reinterpret_cast<void**>(w.tasks_.data());
      for (lost_slot* l = first_lost(j); l != nullptr; l = next_lost(*l))
        marks[reinterpret_cast<branch_slot<V>*>(l) - w.slots_.data()] = &w;
      for (std::size_t i = 0; i < w.slots_.size(); ++i)
        if (marks[i] == nullptr) w.slots_[i].value.~V();
      std::memset(marks, 0, w.slots_.size() * sizeof(void*));
    }
  }
  std::vector<task<T>> tasks_;
  std::vector<branch_slot<stored<T>>> slots_;
  [[no_unique_address]] std::conditional_t<std::is_void_v<T>, unit, std::vector<stored<T>>> results_;
};

} // namespace detail

//     auto [user, cart] = co_await skua::when_all(load_user(id), load_cart(id));      // task<void> gives std::monostate
template <class... T>
SKUA_INLINE detail::when_all_tuple<T...> when_all(SKUA_AWAIT_ELIDABLE_ARGUMENT task<T>... tasks) {
  static_assert(sizeof...(T) > 0, "when_all() of nothing");
  return detail::when_all_tuple<T...>(std::move(tasks)...);
}

//     std::vector<page> pages = co_await skua::when_all(std::move(fetches));           // std::vector<skua::task<page>>
template <class T>
detail::when_all_range<T> when_all(std::vector<task<T>>&& tasks) {
  return detail::when_all_range<T>(std::move(tasks));
}

// Any awaitables, not only tasks: when_all(stream.write_all(a), handle, skua::sleep_for(1s)). detail/any_awaitable.hpp says how they are kept.
template <detail::awaitable... A>
  requires(detail::other_awaitable<A> || ...) && (!detail::temporary_operation<A> && ...)
auto when_all(A&&... a) {
  return when_all(detail::as_task(static_cast<A&&>(a))...);
}
template <detail::awaitable... A>
  requires(detail::temporary_operation<A> || ...)
auto when_all(SKUA_LIFETIMEBOUND A&&... a) {
  return detail::at_once([&] { return when_all(detail::as_task(static_cast<A&&>(a))...); });
}

template <detail::lvalue_range_of_tasks R>
detail::when_all_range<typename std::ranges::range_value_t<R>::value_type> when_all(R&&) {
  static_assert(detail::never<R>, "when_all(range) takes the tasks over: when_all(std::move(range))");
  return when_all(std::vector<std::ranges::range_value_t<R>>());
}
// Any range. Tasks are moved from. Other awaitables (handles, futures): as when_all() of the elements one by one, moved if the range is an rvalue, in place
// if it is not.
template <std::ranges::input_range R>
  requires detail::range_of_awaitables<R>
auto when_all(R&& range) {
  return when_all(detail::as_tasks(static_cast<R&&>(range)));
}

} // namespace skua
