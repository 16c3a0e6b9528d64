// SPDX-License-Identifier: Apache-2.0
// task_local<T>: a value for everything that runs inside, however deep, without passing it on.
//
// A binding is a join of one branch that holds a value; a look-up goes through the joins around the running branch, across task groups, to the nearest binding.
// The value lies in the frame that binds it, which everything inside cannot outlive: nothing is copied, counted or allocated.
#pragma once
#include "detail/any_awaitable.hpp"
#include "detail/single_join.hpp"
#include "task.hpp"
#include <concepts>
#include <coroutine>
#include <utility>

namespace skua {

namespace detail {

struct local_join : special_join {
  void const* key = nullptr;
  void const* value = nullptr;
};
// As any join; known by it.
verdict local_decides(special_join& j, bool from_outside) noexcept;   // scheduler/context.cpp
// The nearest binding of `key` around the running branch; null: none.
void const* find_local(void const* key) noexcept;

template <class V, class T>
class [[nodiscard("a task_local is bound while it is awaited")]] local_awaiter : single_join<T, local_join> {
  using base = single_join<T, local_join>;

public:
  using value_type = T;
  template <class U>
  local_awaiter(void const* key, U&& v, task<T>&& t) : base(std::move(t)), value_(std::forward<U>(v)) {
    this->key = key;
    this->value = &value_;
  }
  using base::await_ready;
  std::coroutine_handle<> await_suspend(own_coroutine h) {
    if (tl.words == nullptr) [[unlikely]] not_on_a_worker();
    this->prepare(h, 0);
    this->decide = local_decides;
    return this->enter_branch();
  }
  T await_resume() { return this->take_or_rethrow(); }

private:
  V value_;
};

} // namespace detail

// A variable with a value for each task, and for parts of one. Define it once, at namespace scope; it has no value until one is bound.
//
// The value is seen by whatever runs inside with(): coroutines that are awaited, branches of when_all and the like, tasks of a group. A task that is spawned
// without a group does not see it: it may live longer. It is constant, since several threads may look at it at the same time; bind another one further in to
// change it there.
//
// Thread safety: get() and with() on workers, at the same time from any number of tasks. Stop: with() is no suspension point by itself.
// Errors: what is awaited throws. Lifetime: what get() returns is valid while the binding is: until the with() around it has ended.
// Cost: with() as much as a timeout without a timer; get() a few loads for each join around it.
//
//     constinit skua::task_local<std::string> request_id;
//     co_await request_id.with("4711", handle(request));      // anywhere inside: log(*request_id.get())
template <class T>
class task_local {
public:
  constexpr task_local() noexcept = default;
  task_local(task_local const&) = delete;

  // The value that is bound here; null: none, or no task runs.
  T const* get() const noexcept { return static_cast<T const*>(detail::find_local(this)); }
  // The same, or what is given.
  template <class U>
  T value_or(U&& otherwise) const {
    T const* const v = get();
    return v != nullptr ? *v : static_cast<T>(std::forward<U>(otherwise));
  }

  // Awaits `a` with the value bound.
  template <class U, class R>
    requires std::constructible_from<T, U>
  auto with(U&& value, task<R> t) const {
    return detail::local_awaiter<T, R>(this, std::forward<U>(value), std::move(t));
  }
  template <class U, detail::other_awaitable A>
    requires std::constructible_from<T, U>
  auto with(U&& value, A&& a) const {
    return with(std::forward<U>(value), detail::as_task(static_cast<A&&>(a)));
  }
  template <class U, detail::temporary_operation A>
    requires std::constructible_from<T, U>
  auto with(U&& value, SKUA_LIFETIMEBOUND A&& a) const {
    return detail::at_once([&] { return with(std::forward<U>(value), detail::as_task(static_cast<A&&>(a))); });
  }

private:
  char key_ = 0;   // its address is the key: an object of no size might share it
};

} // namespace skua
