// SPDX-License-Identifier: Apache-2.0
// finally: clean-up that may await, whatever happens to what it belongs to.
#pragma once
#include "detail/any_awaitable.hpp"
#include "detail/duration.hpp"
#include "error.hpp"
#include "shield.hpp"
#include "timeout.hpp"
#include <chrono>
#include <exception>
#include <functional>
#include <optional>
#include <utility>

namespace skua {

namespace detail {

[[noreturn]] SKUA_COLD void throw_cleanup_failed(std::exception_ptr cleanup, std::exception_ptr awaited);   // scheduler/task_group.cpp

// `run(cleanup)`: a task that runs it, made before `a` begins: then there is memory for it, whatever comes.
template <class T, class Cleanup, class Run>
task<T> with_cleanup(task<T> a, Cleanup cleanup, Run run) {
  task<> cleaning = run(cleanup);
  std::optional<outcome<T>> ended;
  try {
    ended.emplace(co_await settle(std::move(a)));
  } catch (...) {   // it could not begin, or its value could not be moved
    ended.emplace(std::current_exception());
  }
  std::exception_ptr failure;
  try {
    co_await shield(std::move(cleaning));
  } catch (...) {
    failure = std::current_exception();
  }
  if (failure) {
    if (ended->failed()) throw_cleanup_failed(std::move(failure), ended->error());
    std::rethrow_exception(std::move(failure));
  }
  if (ended->stopped()) co_await end_stopped{};
  if constexpr (std::is_void_v<T>)
    static_cast<void>(std::move(*ended).value());
  else
    co_return std::move(*ended).value();
}

template <class C>
using cleanup_result = std::invoke_result_t<std::decay_t<C>&>;

template <class C>
task<> run_cleanup(C& cleanup) {
  co_await std::invoke(cleanup);
}
// It begins even if the limit has passed before.
inline task<outcome<>> settled_cleanup(task<> run) {
  co_return co_await settle_awaiter<void, false>(std::move(run));
}
inline task<> limited_cleanup(task<outcome<>> settled, std::chrono::nanoseconds limit) {
  // The outcome is a value for the timeout, so only the limit can have stopped it: nothing else comes in here.
  outcome<> const o = co_await timeout(limit, std::move(settled));
  if (o.stopped()) throw cleanup_timeout{};
  if (o.failed()) std::rethrow_exception(o.error());
}

} // namespace detail

// Awaits `a`, then cleanup(), and gives what `a` gave.
//
// cleanup is a callable that returns an awaitable. It is called exactly once, when `a` has ended in whatever way: with a value, with a failure, or stopped;
// also if a stop came before `a` began, which then does not begin (S14). It runs shielded: neither a stop nor a deadline from outside reaches it (S15). With
// a limit, it is stopped when that has passed, and the whole fails with cleanup_timeout. The stop goes on when it has ended.
//
// Thread safety: on workers only. Stop: reaches `a`, never cleanup.
// Errors: what `a` throws; what cleanup throws in place of a value or a stop; if both fail, cleanup_failed with the one nested in the other; bad_alloc
// before `a` has begun, and then cleanup is not called either.
// Lifetime: callable and `a` live in the task that is returned, which allocates a frame for itself and one for cleanup (three with a limit). Of one
// that was never awaited cleanup is not called.
//
//     auto rows = co_await skua::finally(query(conn, text), [&] { return conn.rollback(); }, 2s);
template <detail::awaitable A, class Cleanup>
  requires detail::awaitable<detail::cleanup_result<Cleanup>>
auto finally(A&& a, Cleanup&& cleanup) {
  return detail::with_cleanup(detail::as_task(static_cast<A&&>(a)), std::decay_t<Cleanup>(std::forward<Cleanup>(cleanup)),
                              [](auto& c) { return detail::run_cleanup(c); });
}
template <detail::temporary_operation A, class Cleanup>
  requires detail::awaitable<detail::cleanup_result<Cleanup>>
auto finally(SKUA_LIFETIMEBOUND A&& a, Cleanup&& cleanup) {
  return detail::at_once([&] { return finally(detail::as_task(static_cast<A&&>(a)), std::forward<Cleanup>(cleanup)); });
}
template <detail::awaitable A, class Cleanup, class Rep, class Period>
  requires detail::awaitable<detail::cleanup_result<Cleanup>>
auto finally(A&& a, Cleanup&& cleanup, std::chrono::duration<Rep, Period> limit) {
  std::chrono::nanoseconds const ns(detail::ns_at_most(limit));
  return detail::with_cleanup(detail::as_task(static_cast<A&&>(a)), std::decay_t<Cleanup>(std::forward<Cleanup>(cleanup)),
                              [ns](auto& c) { return detail::limited_cleanup(detail::settled_cleanup(detail::run_cleanup(c)), ns); });
}
template <detail::temporary_operation A, class Cleanup, class Rep, class Period>
  requires detail::awaitable<detail::cleanup_result<Cleanup>>
auto finally(SKUA_LIFETIMEBOUND A&& a, Cleanup&& cleanup, std::chrono::duration<Rep, Period> limit) {
  return detail::at_once([&] { return finally(detail::as_task(static_cast<A&&>(a)), std::forward<Cleanup>(cleanup), limit); });
}

} // namespace skua
