// SPDX-License-Identifier: Apache-2.0
// Any awaitable as a task: what lets combinators take reads, futures, handles, sleeps and blocking calls as well as task<T>.
//
//     task<T>              is taken over as it is
//     an rvalue that can   is moved into the frame of a small coroutine that awaits it. (A join_handle is owned by that coroutine then: if it is stopped,
//     be moved             the handle is dropped, and with it the task.)
//     an rvalue that       is awaited where it is: the temporaries of the expression that awaits the combinator live long enough. An object that is
//     cannot (a read)      kept in a variable must outlive the await. What the combinator returns is awaited_at_once then
//     an lvalue            is awaited where it is
// One frame from the pool each; nothing else.
#pragma once
#include "../task.hpp"
#include <concepts>
#include <ranges>
#include <type_traits>
#include <utility>
#include <vector>

namespace skua::detail {

template <class X>
concept task_object = std::same_as<X, task<typename X::value_type>>;

template <class A>
decltype(auto) awaiter_of(A&& a) {
  if constexpr (requires { static_cast<A&&>(a).operator co_await(); })
    return static_cast<A&&>(a).operator co_await();
  else if constexpr (requires { operator co_await(static_cast<A&&>(a)); })
    return operator co_await(static_cast<A&&>(a));
  else
    return static_cast<A&&>(a);
}
template <class A>
concept has_awaiter = requires(A&& a) { static_cast<A&&>(a).operator co_await(); } || requires(A&& a) { operator co_await(static_cast<A&&>(a)); } ||
                      requires(A&& a) {
                        a.await_ready();
                        a.await_resume();
                      };

// What `co_await static_cast<A&&>(a)` gives.
template <has_awaiter A>
using raw_result = decltype(awaiter_of(std::declval<A>()).await_resume());
template <class A>
using awaited = std::conditional_t<std::is_rvalue_reference_v<raw_result<A>>, std::remove_cvref_t<raw_result<A>>, raw_result<A>>;

// Anything that can be awaited; a task only as an rvalue.
template <class A>
concept awaitable = has_awaiter<A> && !(std::is_lvalue_reference_v<A> && task_object<std::remove_cvref_t<A>>);
template <class A>
concept other_awaitable = awaitable<A> && !task_object<std::remove_cvref_t<A>>;

template <class A>
task<awaited<A>> await_moved(A a) {
  co_return co_await std::move(a);
}
template <class A>
task<awaited<A>> await_in_place(A&& a) {
  co_return co_await static_cast<A&&>(a);
}

template <class T>
SKUA_INLINE task<T> as_task(task<T>&& t) noexcept {
  return std::move(t);
}
template <other_awaitable A>
task<awaited<A>> as_task(A&& a) {
  if constexpr (!std::is_lvalue_reference_v<A> && std::move_constructible<A>)
    return await_moved<A>(std::move(a));
  else
    return await_in_place<A>(static_cast<A&&>(a));
}

// What refers to a temporary of the expression that made it. Kept in a variable it cannot be awaited: the temporary is gone by then.
template <class Inner>
class [[nodiscard("it does nothing until it is awaited")]] awaited_at_once {
public:
  template <class Make>
  SKUA_INLINE explicit awaited_at_once(std::in_place_t, Make make) : inner_(make()) {}
  awaited_at_once(awaited_at_once const&) = delete;
  SKUA_INLINE decltype(auto) operator co_await() && { return awaiter_of(std::move(inner_)); }
  void operator co_await() const& = delete;   // co_await it in the expression that makes it: it refers to a temporary there

private:
  Inner inner_;
};
template <class Make>
SKUA_INLINE auto at_once(Make make) {
  return awaited_at_once<decltype(make())>(std::in_place, std::move(make));
}
// A combinator has an overload for these that returns at_once(..). Its parameter is bound to what it returns, which clang then misses where the type cannot
// say it: `return timeout(1s, e.wait());`, `co_await std::move(kept)`.
template <class A>
concept temporary_operation = other_awaitable<A> && !std::is_lvalue_reference_v<A> && !std::move_constructible<A>;

// A range of awaitables: tasks are moved from its elements, others if it is an rvalue that owns them.
template <class R>
concept range_of_tasks = std::ranges::input_range<R> && task_object<std::ranges::range_value_t<R>>;
template <class R>
concept lvalue_range_of_tasks = std::is_lvalue_reference_v<R> && range_of_tasks<R>;   // a mistake
template <class R>
using element_of = std::conditional_t<(std::is_lvalue_reference_v<R> || std::ranges::borrowed_range<R>) && !range_of_tasks<R>,
                                      std::ranges::range_reference_t<R>, std::ranges::range_value_t<R>>;
template <class R>
concept range_of_awaitables = std::ranges::input_range<R> && !lvalue_range_of_tasks<R> && awaitable<element_of<R>>;

template <range_of_awaitables R>
auto as_tasks(R&& range) {
  using A = element_of<R>;
  std::vector<task<awaited<A>>> tasks;
  if constexpr (std::ranges::sized_range<R>) tasks.reserve(std::ranges::size(range));
  for (auto&& a : range) tasks.push_back(as_task(static_cast<A&&>(a)));
  return tasks;
}

} // namespace skua::detail
