// SPDX-License-Identifier: Apache-2.0
// once: something is done once, by the first that comes; the others wait until it is done.
#pragma once
#include "detail/any_awaitable.hpp"
#include "detail/once_core.hpp"
#include "detail/waiter.hpp"
#include "task.hpp"
#include <coroutine>
#include <functional>
#include <type_traits>
#include <utility>

namespace skua {

namespace detail {

using once_state = once_core<real_sync, operation>;

// co_await once_entry(state): true: the caller is the runner, and says finish_once or fail_once; false: it has been done.
class [[nodiscard]] once_entry : waiter {
public:
  explicit once_entry(once_state& s) noexcept : waiter(this_kind), state_(s) {}
  bool await_ready() noexcept { return !attention() && state_.is_done() && spend_budget(); }
  std::coroutine_handle<> await_suspend(own_coroutine h) {
    if (!begin(*this, h)) [[unlikely]] return unwind(h.address());
    owner = tl.owner;
    switch (state_.enter(*this)) {
    case once_state::entered::runner: runner_ = true; return h;
    case once_state::entered::done: return go_on_fairly(*this);
    case once_state::entered::queued: break;
    }
    return suspend(*this);
  }
  bool await_resume() const noexcept { return runner_; }

  static void finish(once_state& s) noexcept { wake(s.finish()); }
  static void fail(once_state& s) noexcept {
    if (waiter_links* const next = s.fail()) {
      static_cast<once_entry*>(static_cast<waiter*>(next))->runner_ = true;
      wake(*next);
    }
  }

private:
  static bool withdraw(operation& op) noexcept {
    auto& self = static_cast<once_entry&>(op);
    return self.state_.withdraw(self);
  }
  static constexpr operation_kind this_kind{"once", withdraw};
  once_state& state_;
  bool runner_ = false;   // written by the one that hands over, before it completes
};

// The runner's, in its coroutine's frame: fails unless it was finished, also when a stop destroys the frame.
class once_runner {
public:
  explicit once_runner(once_state& s) noexcept : state_(&s) {}
  once_runner(once_runner const&) = delete;
  ~once_runner() {
    if (state_ != nullptr) once_entry::fail(*state_);
  }
  void finish() noexcept { once_entry::finish(*std::exchange(state_, nullptr)); }

private:
  once_state* state_;
};

} // namespace detail

// The first task that calls does it; those that come meanwhile wait; later ones go on at once. If it throws, or the task that does it is stopped, the next
// one that waits does it instead (or the next that comes): a failure is not remembered, each caller that tried gets its own.
//
// Thread safety: call on workers; done from any thread.
// Stop: call is a suspension point (not if it has been done, and no stop is under way). What the runner is doing when it is stopped is stopped as anything is.
// Errors: what f throws, to the caller whose f it was; bad_alloc.
// Lifetime: who sees that it is done may destroy it, if no other task is inside call(). Recursion (f calls the same once) waits for ever.
// Fairness: first come, first served. A wait allocates nothing; call itself is a coroutine and costs its frame.
//
//     static skua::once loaded;
//     co_await loaded.call(load_tables);      // a coroutine, a plain function, or one that returns a read, a handle ..
class once {
public:
  once() noexcept = default;
  once(once const&) = delete;
  ~once() { SKUA_CHECK(!state_.is_running(), "a once was destroyed while it is being done"); }

  bool done() const noexcept { return state_.is_done(); }

  // `f` is moved into the call, so a lambda with captures may be a coroutine. Whatever it returns that can be awaited is awaited.
  template <class F>
  task<> call(F f) {
    bool const runs = co_await detail::once_entry(state_);
    if (!runs) co_return;
    detail::once_runner runner(state_);
    if constexpr (detail::awaitable<std::invoke_result_t<F&>>)
      co_await std::invoke(f);
    else
      std::invoke(f);
    runner.finish();
  }

private:
  detail::once_state state_;
};

} // namespace skua
