// SPDX-License-Identifier: Apache-2.0
// with_task_group, task_group: any number of tasks that never outlive the block they belong to.
//
// The group is a join whose parties are the body and the tasks; detail/group_core.hpp has the protocol.
#pragma once
#include "detail/group_state.hpp"
#include "error.hpp"
#include "future.hpp"
#include "shield.hpp"
#include "spawn.hpp"
#include "task.hpp"
#include <concepts>
#include <cstddef>
#include <functional>
#include <source_location>
#include <type_traits>
#include <utility>

namespace skua {

// Refers to a task of a group. Awaiting it gives the task's result; it may be dropped at any time: the task belongs to its group.
//
// Thread safety: one thread at a time; request_stop() from any thread that keeps the handle alive.
// Stop: awaiting it is a suspension point. A stopped join leaves the task running; the handle may be awaited again.
// Errors: what the task threw (which the group hears of as well); task_stopped if it was stopped, or never started (S13); usage_error if it was awaited
// before, is being awaited, or is empty.
// Lifetime: may outlive its group.
template <class T = void>
class child_handle {
public:
  using value_type = T;

  child_handle() noexcept = default;
  child_handle(child_handle&& o) noexcept : block_(std::exchange(o.block_, nullptr)) {}
  child_handle& operator=(child_handle&& o) noexcept {
    if (this != &o) {
      drop();
      block_ = std::exchange(o.block_, nullptr);
    }
    return *this;
  }
  ~child_handle() { drop(); }

  explicit operator bool() const noexcept { return block_ != nullptr; }
  // Stops this task alone; the group goes on. As join_handle::request_stop().
  void request_stop() const noexcept {
    if (block_ != nullptr) detail::request_stop(*block_, stop_reason::requested);
  }
  bool done() const noexcept { return block_ == nullptr || block_->state.ended(); }
  std::uint64_t id() const noexcept { return block_ != nullptr ? block_->id : 0; }

  using awaiter = typename join_handle<T>::awaiter;
  awaiter operator co_await() const& noexcept { return awaiter(block_); }
  awaiter operator co_await() const&& noexcept { return awaiter(block_); }

  // For skua's own parts.
  explicit child_handle(detail::result_block<T>* b) noexcept : block_(b) {}
  detail::result_block<T>* block() const noexcept { return block_; }

private:
  void drop() noexcept {
    detail::result_block<T>* const b = std::exchange(block_, nullptr);
    if (b == nullptr) return;
    if (b->state.is_awaited()) [[unlikely]] detail::dropped_while_awaited(*b);
    if (b->state.release()) b->kind->destroy(b);
  }
  detail::result_block<T>* block_ = nullptr;
};

namespace detail {
template <class T>
inline constexpr bool is_join_handle<child_handle<T>> = true;

template <class F>
struct group_holder;
template <class T, class F>
class group_awaiter;
struct server;
}   // namespace detail

// Reports that a task which was begun with task_group::start() is ready. Dropping it without that is told to whoever waits.
template <class T = void>
class started {
public:
  // Once. A value is converted to T.
  template <class... U>
    requires detail::outcome_of<T, U...>
  void operator()(U&&... value) {
    promise_.set_value(std::forward<U>(value)...);
  }
  // For skua's own parts.
  explicit started(promise<T> p) noexcept : promise_(std::move(p)) {}

private:
  promise<T> promise_;
};

// The tasks of a with_task_group(). It exists only as the parameter of its body, which may hand it on, by reference, to tasks of the group.
//
// Thread safety: every member but request_stop() on workers of its runtime only; all of them from the body and from tasks of the group at the same time.
// From elsewhere only while one of those waits for it: the group dies as soon as they have ended.
class task_group : detail::sited_spawn<task_group>, detail::sited_start<task_group> {
public:
  task_group(task_group const&) = delete;

  // Starts f(args...) as a task of this group, on any worker. Callable and arguments are decay-copied, as by skua::spawn; unlike there, references and
  // captures may refer to the block around the group, which outlives the task. spawn(named("x"), f, args...) gives it a name.
  //
  // With a max_concurrency that is reached the task waits for its turn, in order; `co_await room()` before it, to make the spawner wait instead.
  //
  // Stop: a fork, and so a checkpoint (S1): in a group that is being stopped, the task is never started; callable and arguments are destroyed here, and its
  // handle says stopped (S13). Errors: bad_alloc, what copying throws, usage_error (a body that is no coroutine, another runtime); then nothing was started.
  using sited_spawn::spawn;

  // Starts f(started<T>, args...) and waits until it calls its `started` object: until a server listens, say. Gives what it was called with.
  //
  // Stop: a suspension point; the task goes on. Errors: if the task ends before: what it threw; task_stopped; usage_error if it returned. bad_alloc.
  // Costs a frame and the state of a promise, beside the task.
  //
  //     auto const port = co_await group.start<std::uint16_t>(serve, options);
  using sited_start::start;   // <T>(f, args...)

  // Stops the body and all tasks, at their next suspension points; nothing is started any more. Idempotent. with_task_group() ends, without an error, when they
  // have ended.
  //
  // Any thread; never blocks, allocates nothing, runs no user code on threads that are no workers (S2).
  void request_stop() noexcept { state_.request_stop(); }
  // Was it called, or did anything else stop the group?
  bool stop_requested() const noexcept { return state_.parties.stopping() != 0; }

  // Waits until no task is left. For the body: a task that waits for its own end waits for ever. Others may be spawned afterwards.
  // Stop: a suspension point. Allocates nothing.
  detail::group_wait join() noexcept { return {state_, false}; }
  // Waits until a task that is spawned now would start at once: with max_concurrency, the back-pressure for a loop that accepts work. In order among
  // those who wait; a spawn in between may take the place, and who waited need not use it: then the next one comes. Stop: a suspension point; also goes on
  // when the group is being stopped. Allocates nothing.
  detail::group_wait room() noexcept { return {state_, true}; }

  // Tasks that were spawned and have not ended.
  std::size_t size() const noexcept { return state_.parties.live(); }

private:
  friend detail::sited_spawn<task_group>;
  friend detail::sited_start<task_group>;
  template <class F>
  friend struct detail::group_holder;
  template <class T, class F>
  friend class detail::group_awaiter;
  friend struct detail::server;
  task_group(on_error what, std::size_t limit) noexcept : state_(what, limit) {}

  template <class T, class F, class... Args>
  task<T> start_at(std::source_location site, F f, Args... args) {
    promise<T> p;
    future<T> ready = p.get_future();
    auto child = spawn_at(site, std::move(f), started<T>(std::move(p)), std::move(args)...);
    try {
      if constexpr (std::is_void_v<T>) {
        co_await std::move(ready);
        co_return;
      } else {
        co_return co_await std::move(ready);
      }
    } catch (broken_promise const&) {
    }
    co_await child;
    throw usage_error("skua: a task that was begun with task_group::start ended without saying that it is ready");
  }

  template <class F, class... Args>
  auto spawn_at(std::source_location site, F&& f, Args&&... args) {
    state_.check_caller();
    if constexpr (std::same_as<std::remove_cvref_t<F>, named>) {
      return spawn_in(detail::make_named(f.text, site), std::forward<Args>(args)...);
    } else {
      return spawn_in(site, std::forward<F>(f), std::forward<Args>(args)...);
    }
  }
  template <class F, class... Args>
  auto spawn_in(detail::task_label label, F&& f, Args&&... args) {
    if constexpr (detail::is_task<std::remove_cvref_t<F>>) {
      static_assert(sizeof...(Args) == 0, "spawn(task) takes no arguments: they are in the task's frame");
      static_assert(!std::is_lvalue_reference_v<F>, "spawn(task) takes the task over: spawn(std::move(t))");
      return spawn_in(label, [t = std::move(f)]() mutable { return std::move(t); });
    } else if constexpr (!detail::spawnable<F, Args...>) {
      return child_handle<typename detail::spawn_result<F, Args...>::type>();   // has been refused
    } else {
      using T = typename detail::spawn_result<F, Args...>::type;
      using call = detail::group_call<T, detail::bound_call<std::decay_t<F>, std::decay_t<Args>...>>;
      auto* b = detail::make_task<T, call>(detail::task_origin{detail::tl.owner_index, label}, std::forward<F>(f), std::forward<Args>(args)...);
      state_.adopt(b->call.member, *b);
      return child_handle<T>(static_cast<detail::result_block<T>*>(b));
    }
  }

  mutable detail::group_state state_;
};

struct task_group_options {
  skua::on_error on_error = on_error::stop_rest;
  std::size_t max_concurrency = ~std::size_t{0};   // tasks that run at the same time; at least 1
};

namespace detail {

[[noreturn]] void no_concurrency();   // usage_error

template <class F>
struct group_holder {
  F body;
  task_group group;
  group_holder(F&& f, task_group_options const& o) : body(std::move(f)), group(o.on_error, o.max_concurrency) {
    if (o.max_concurrency == 0) no_concurrency();
  }
};

template <class T, class F>
class [[nodiscard("with_task_group does nothing until it is awaited")]] group_awaiter : group_holder<F>, single_join<T, group_join> {
  using base = single_join<T, group_join>;

public:
  using value_type = T;
  group_awaiter(F&& f, task_group_options const& o)
      : group_holder<F>(std::move(f), o), base(std::invoke(group_holder<F>::body, static_cast<task_group&>(group_holder<F>::group))) {}
  using base::await_ready;
  std::coroutine_handle<> await_suspend(own_coroutine h) {
    if (tl.words == nullptr) [[unlikely]] not_on_a_worker();
    if (attention() && stopped_at_fork()) [[unlikely]] return unwind(h.address());
    this->prepare(h, 0);
    promise_base& p = this->place_branch();
    if constexpr (have_destructors<stored<T>>) this->discard = discard_value;
    try {
      state().open(*this, p);
    } catch (...) {
      this->parent = nullptr;   // the frame is still ours
      throw;
    }
    tl.current = &p;
    return handle_of(p.frame());
  }
  T await_resume() {
    if (state().failed()) [[unlikely]] {
      if (this->lost_its_value()) {
        discard_lost(*this);
      } else if constexpr (!std::is_void_v<T>) {
        using U = stored<T>;
        this->slot_.value.~U();
      }
      free_records(*this);
      state().throw_failures();
    }
    if (this->lost_its_value()) [[unlikely]] {   // by request_stop()
      discard_lost(*this);
      free_records(*this);
      if constexpr (std::is_void_v<T>)
        return;
      else
        throw task_stopped(stop_reason::requested);
    }
    return this->take_or_rethrow();
  }

private:
  static void discard_value(join_base& j) noexcept {
    auto& self = static_cast<group_awaiter&>(static_cast<group_join&>(j));
    using U = stored<T>;
    if (!self.lost_its_value()) self.slot_.value.~U();
  }
  group_state& state() noexcept { return group_holder<F>::group.state_; }
};

template <class F>
concept group_body = task_object<std::invoke_result_t<std::decay_t<F>&, task_group&>>;

} // namespace detail

// Awaits body(group), and every task that it, or they, spawned into the group: it ends when all have ended, on every path (S13). The body is a coroutine: a
// plain function that returns a task would run before the group is open, and could spawn nothing.
//
// The result is the body's. If the body or a task fails, the rest is stopped (on_error::stop_rest), all are awaited, and the failure is thrown;
// task_group_error if there are several, or with on_error::collect. With on_error::report only the body's failure is thrown. A task that ends stopped, by its
// own handle, disturbs nobody. Failure before stop before value, as in a when_all: if a stop from outside has stopped a task, the whole ends stopped, also
// when the body had come to its value. After group.request_stop() it returns without an error: with the body's value if it came to one, if not (and T is not
// void) with task_stopped.
//
// Thread safety: on workers only. Stop: the fork is a suspension point (S1); a stop reaches the body and every task.
// Errors: as above; bad_alloc before the body has started. Fairness: tasks are queued as by spawn.
// Lifetime: callable and group live in the awaiting frame, and so outlive body and tasks: the body may be a lambda with captures.
//
//     co_await skua::with_task_group([&](skua::task_group& g) -> skua::task<> {
//       for (auto& url : urls) g.spawn(fetch, url);
//       co_return;
//     });
template <class F>
  requires detail::group_body<F>
auto with_task_group(F&& body) {
  using T = typename std::invoke_result_t<std::decay_t<F>&, task_group&>::value_type;
  return detail::group_awaiter<T, std::decay_t<F>>(std::decay_t<F>(std::forward<F>(body)), {});
}
template <class F>
  requires detail::group_body<F>
auto with_task_group(task_group_options const& o, F&& body) {
  using T = typename std::invoke_result_t<std::decay_t<F>&, task_group&>::value_type;
  return detail::group_awaiter<T, std::decay_t<F>>(std::decay_t<F>(std::forward<F>(body)), o);
}

} // namespace skua
