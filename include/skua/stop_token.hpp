// SPDX-License-Identifier: Apache-2.0
// The bridge to std::stop_token, both ways (S6).
//
//   in    stop_on(token, a)       a join of one branch and the token's callback, counted as the timer of a timeout is (detail/timeout_core.hpp):
//
//            state     idle -> called    the callback: it will stop the branch and arrive
//                      idle -> closed    the branch, when it has ended: the callback does nothing any more
//         The callback runs on the thread that calls request_stop(): there it leaves an errand for a worker, and nothing else.
//   out   with_stop_token(f)      a race of f's task against a watcher that waits to be stopped. The watcher's end, on a worker, requests stop of the source.
#pragma once
#include "detail/any_awaitable.hpp"
#include "detail/errand.hpp"
#include "detail/single_join.hpp"
#include "detail/timeout_core.hpp"
#include "error.hpp"
#include "shield.hpp"
#include "when_any.hpp"
#include <atomic>
#include <concepts>
#include <exception>
#include <functional>
#include <optional>
#include <stop_token>
#include <utility>

namespace skua {

namespace detail {

struct token_join : special_join {
  enum state_t : unsigned char { idle, called, closed };
  timeout_parties<real_sync> parties;
  std::atomic<state_t> state{idle};
  scheduler* owner = nullptr;
  struct stopper : errand {
    using errand::errand;
    token_join* join = nullptr;
  } stop_branch{run_stopper};

  void token_requested() noexcept;   // the callback
  static void run_stopper(errand& e) noexcept;
  static bool branch_arrived(special_join& j) noexcept;
};
verdict token_decides(special_join& j, bool from_outside) noexcept;   // scheduler/stop_token.cpp

template <class T>
class [[nodiscard("stop_on does nothing until it is awaited")]] token_awaiter : single_join<T, token_join> {
  using base = single_join<T, token_join>;
  struct on_request {
    token_join* join;
    void operator()() const noexcept { join->token_requested(); }
  };

public:
  using value_type = T;
  token_awaiter(std::stop_token token, task<T>&& t) : base(std::move(t)), token_(std::move(token)) {}
  using base::await_ready;
  std::coroutine_handle<> await_suspend(own_coroutine h) {
    if (tl.words == nullptr) [[unlikely]] not_on_a_worker();
    if (attention() && stopped_at_fork()) [[unlikely]] return unwind(h.address());
    this->prepare(h, 0);
    this->arrived = token_join::branch_arrived;
    this->decide = token_decides;
    this->owner = tl.owner;
    this->stop_branch.join = this;
    callback_.emplace(token_, on_request{this});   // calls back at once if the stop was requested before
    return this->enter_branch();
  }
  T await_resume() {
    callback_.reset();   // waits for a callback that is on its last instructions
    if (this->lost_its_value() && !any_failed(*this)) [[unlikely]] {
      discard_lost(*this);
      free_records(*this);
      throw task_stopped(stop_reason::requested);
    }
    return this->take_or_rethrow();
  }

private:
  std::stop_token token_;
  std::optional<std::stop_callback<on_request>> callback_;
};

// Waits until it is stopped.
inline bool withdraw_always(operation&) noexcept { return true; }
inline constexpr operation_kind until_stopped_kind{"stop", withdraw_always};
class [[nodiscard]] until_stopped : operation {
public:
  until_stopped() noexcept : operation(until_stopped_kind) {}
  bool await_ready() const noexcept { return false; }
  std::coroutine_handle<> await_suspend(own_coroutine h) {
    if (!begin(*this, h)) return unwind(h.address());
    return suspend(*this);
  }
  void await_resume() const noexcept {}
};

struct stop_relay {
  std::stop_source source{};
  std::atomic<bool> over{false};   // the task has ended: who holds the token is not to be told
};
inline task<> relay_stop(stop_relay& r) {
  struct at_the_end {
    stop_relay& r;
    ~at_the_end() {
      if (!r.over.load(std::memory_order_acquire)) r.source.request_stop();   // acquire: pairs with watched(); a worker, whoever asked (S6)
    }
  } const g{r};
  co_await until_stopped{};
}
template <class T>
task<outcome<T>> watched(stop_relay& r, task<T> t) {
  struct at_the_end {
    stop_relay& r;
    ~at_the_end() { r.over.store(true, std::memory_order_release); }
  } const g{r};
  std::exception_ptr failure;
  try {
    co_return co_await settle(std::move(t));
  } catch (...) {   // it could not begin: that must end the race as well
    failure = std::current_exception();
  }
  co_return outcome<T>(std::move(failure));
}
template <class F>
using token_result = std::invoke_result_t<std::decay_t<F>&, std::stop_token>;
template <class T, class F>
task<T> run_with_token(F f) {
  stop_relay r;
  std::optional<outcome<T>> ended;
  {
    auto won = co_await when_any(relay_stop(r), watched(r, as_task(std::invoke(f, r.source.get_token()))));
    ended.emplace(std::get<1>(std::move(won)));
  }
  if (ended->stopped()) co_await end_stopped{};
  if constexpr (std::is_void_v<T>)
    static_cast<void>(std::move(*ended).value());
  else
    co_return std::move(*ended).value();
}

} // namespace detail

// Awaits `a`, and stops it when a stop is requested of `token`.
//
// Decided as a timeout is (S10): if a completed or threw, that is the outcome; task_stopped (stop_reason::requested) if the token, and nothing else, stopped
// it; a stop from outside dominates. The thread that requests the stop only leaves a mark: a worker does the rest (S6). Requested before: a runs to its first
// suspension point.
//
// Thread safety: on workers only; the token's source may be used by any thread. Stop: a suspension point; a is stopped and awaited.
// Errors: task_stopped; what a throws. No allocation (the std::stop_source made its own).
//
//     co_await skua::stop_on(plugin.get_stop_token(), serve(socket));
template <class T>
auto stop_on(std::stop_token token, task<T> t) {
  return detail::token_awaiter<T>(std::move(token), std::move(t));
}
template <detail::other_awaitable A>
auto stop_on(std::stop_token token, A&& a) {
  return stop_on(std::move(token), detail::as_task(static_cast<A&&>(a)));
}
template <detail::temporary_operation A>
auto stop_on(std::stop_token token, SKUA_LIFETIMEBOUND A&& a) {
  return detail::at_once([&] { return stop_on(std::move(token), detail::as_task(static_cast<A&&>(a))); });
}

// Awaits f(token), whose token says when this task is stopped: for code that knows std::stop_token but not skua, blocking calls above all.
//
// When a stop reaches it, a worker requests stop of the token's source, never the thread that asked (S6): callbacks that are registered with the token run
// there, inside a destructor, and must not block or throw. f's awaitable is stopped as well; what cannot be stopped (spawn_blocking work that has begun) sees
// the token instead, and is waited for (S7). When f's awaitable has ended, the token tells nothing any more.
//
// Thread safety: on workers only. Stop: a suspension point. Errors: what f and its awaitable throw. Lifetime: f lives until it has ended.
//
//     auto n = co_await skua::with_stop_token([&](std::stop_token t) { return skua::spawn_blocking(count_slowly, t); });
template <class F>
  requires detail::awaitable<detail::token_result<F>>
auto with_stop_token(F&& f) {
  using T = detail::awaited<detail::token_result<F>>;
  return detail::run_with_token<T>(std::decay_t<F>(std::forward<F>(f)));
}

} // namespace skua
