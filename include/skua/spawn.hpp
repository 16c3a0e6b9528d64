// SPDX-License-Identifier: Apache-2.0
// spawn: start a task that runs concurrently; join_handle: own it, await it, stop it.
#pragma once
#include "detail/sited_call.hpp"
#include "detail/spawn_block.hpp"
#include "error.hpp"
#include "task.hpp"
#include <concepts>
#include <source_location>
#include <string_view>
#include <utility>

namespace skua {

namespace detail {

inline bool withdraw_join(operation& op) noexcept;
inline constexpr operation_kind join_kind{"join", withdraw_join};

enum class join_misuse : unsigned char { empty, joined_before, awaited_by_another };
[[noreturn]] SKUA_COLD void join_misused(join_misuse what);
[[noreturn]] SKUA_COLD void dropped_while_awaited(task_header const& h) noexcept;   // says which task, and ends the process
[[noreturn]] SKUA_COLD void not_in_runtime(char const* what);

} // namespace detail

// Owns a spawned task. Awaiting it gives the task's result.
//
// Dropping the handle requests stop of the task and never waits; the runtime joins the task at the latest when it shuts down, and its failure goes
// to the failure handler (S12). detach() lets it run on.
//
// Thread safety: one thread at a time; request_stop() from any thread that keeps the handle alive.
// Stop: awaiting it is a suspension point. A stopped join leaves the task running; the handle may be awaited again.
// Errors: what the task threw; task_stopped if it was stopped (S11); usage_error if it was awaited before, is being awaited, or is empty.
// Lifetime: must outlive an await of it: one that is dropped while another task awaits it ends the process, with a line that names the task
// (undefined if that one is just ending, or has ended). May outlive its runtime, whose tasks have all ended by then.
template <class T = void>
class [[nodiscard("dropping a join_handle stops its task; co_await it, keep it, or detach() it")]] join_handle {
public:
  using value_type = T;

  join_handle() noexcept = default;
  join_handle(join_handle&& o) noexcept : block_(std::exchange(o.block_, nullptr)) {}
  join_handle& operator=(join_handle&& o) noexcept {
    if (this != &o) {
      drop();
      block_ = std::exchange(o.block_, nullptr);
    }
    return *this;
  }
  SKUA_INLINE ~join_handle() { drop(); }

  explicit operator bool() const noexcept { return block_ != nullptr; }

  // Asks the task to stop at its next suspension point. Any thread; never blocks, runs no user code, allocates nothing (S2); nothing if the
  // task has ended.
  void request_stop() const noexcept {
    if (block_ != nullptr) detail::request_stop(*block_, stop_reason::requested);
  }
  // Lets the task run on without an owner; its failure goes to the failure handler.
  void detach() noexcept {
    if (block_ == nullptr) return;
    if (block_->state.is_awaited()) [[unlikely]] detail::dropped_while_awaited(*block_);
    release(std::exchange(block_, nullptr));
  }
  bool done() const noexcept {
    return block_ == nullptr || block_->state.ended();
  }
  // Unique in the process; 0 for an empty handle.
  std::uint64_t id() const noexcept { return block_ != nullptr ? block_->id : 0; }

  class awaiter : detail::join_operation {
  public:
    explicit awaiter(detail::result_block<T>* b) noexcept : join_operation(detail::join_kind, b), block_(b) {}
    bool await_ready() const {
      if (block_ == nullptr || block_->taken) [[unlikely]] refuse();
      return block_->state.ended() && !detail::attention() && detail::spend_budget();
    }
    std::coroutine_handle<> await_suspend(detail::own_coroutine h) {
      if (!detail::begin(*this, h)) [[unlikely]] return detail::unwind(h.address());
      owner = detail::tl.owner;
      using wait = detail::task_state<detail::real_sync>::wait;
      wait const w = block_->state.wait_for_end(reinterpret_cast<std::uintptr_t>(static_cast<operation*>(this)));
      if (w == wait::registered) [[likely]] return detail::suspend(*this);
      if (w == wait::refused) detail::join_misused(detail::join_misuse::awaited_by_another);
      return detail::go_on_fairly(*this);   // it has ended; nobody knows of us
    }
    T await_resume() {
      detail::task_header& h = *block_;
      if (h.taken) [[unlikely]] refuse();   // while this one yielded
      if (h.outcome == detail::task_header::stopped) [[unlikely]]
        throw task_stopped(h.reason.load(std::memory_order_relaxed));   // relaxed: acquired with the end
      h.taken = true;
      if (h.outcome == detail::task_header::failed) [[unlikely]] std::rethrow_exception(std::exchange(block_->error(), nullptr));
      if constexpr (std::is_reference_v<T>)
        return static_cast<T>(*block_->value().at);
      else if constexpr (!std::is_void_v<T>)
        return std::move(block_->value());
    }

  private:
    [[noreturn]] void refuse() const { detail::join_misused(block_ == nullptr ? detail::join_misuse::empty : detail::join_misuse::joined_before); }
    detail::result_block<T>* block_;
  };
  awaiter operator co_await() const& noexcept { return awaiter(block_); }
  awaiter operator co_await() const&& noexcept { return awaiter(block_); }

  // For skua's own parts.
  explicit join_handle(detail::result_block<T>* b) noexcept : block_(b) {}
  detail::result_block<T>* block() const noexcept { return block_; }

private:
  static void release(detail::result_block<T>* b) noexcept {
    if (b->state.release()) b->kind->destroy(b);
  }
  SKUA_INLINE void drop() noexcept {
    if (block_ == nullptr) return;
    if (!block_->state.ended()) [[unlikely]]
      drop_running(block_);
    else
      release(block_);
  }
  SKUA_COLD static void drop_running(detail::result_block<T>* b) noexcept {   // static: a handle whose address goes nowhere may live in a register
    if (b->state.is_awaited()) detail::dropped_while_awaited(*b);
    detail::request_stop(*b, stop_reason::dropped);
    release(b);
  }
  detail::result_block<T>* block_ = nullptr;
};

// Gives a task a name, for inspection and failure reports: spawn(named("acceptor"), f, args...). The text is copied.
struct named {
  explicit named(std::string_view name) noexcept : text(name) {}
  std::string_view text;
};

namespace detail {

inline bool withdraw_join(operation& op) noexcept {
  return static_cast<join_operation&>(op).target->state.withdraw(reinterpret_cast<std::uintptr_t>(&op));
}

template <class F, class... Args>
concept spawn_callable = std::is_invocable_v<std::decay_t<F>, std::decay_t<Args>...>;
template <class F, class... Args>
concept makes_task = spawn_callable<F, Args...> && is_task<task_of<F, Args...>>;
template <class... X>
concept can_be_kept = (std::is_constructible_v<std::decay_t<X>, X> && ...);
template <class F, class... Args>
inline constexpr bool outlived = parameters_of<std::decay_t<F>>::template bind_temporaries<std::decay_t<Args>...>();
template <class... X>
concept aligned_as_frames_are = ((alignof(std::decay_t<X>) <= 16) && ...);   // also what a parameter takes over
template <class F, class... Args>
concept spawnable = makes_task<F, Args...> && can_be_kept<F, Args...> && !outlived<F, Args...> && aligned_as_frames_are<F, Args...>;

// What a task of f(args...) results in; says what is wrong if there can be none.
template <class F, class... Args>
struct spawn_result {
  static_assert(spawn_callable<F, Args...>,
                "spawn(f, args...): f cannot be called with these arguments. The task keeps copies of them and passes those on as rvalues: for a parameter "
                "`T&` pass std::ref(x), and see to it that x outlives the task");
  static_assert(!makes_task<F, Args...> || can_be_kept<F, Args...>,
                "spawn(f, args...): the task cannot keep a copy of f, or of one of the arguments. What can only be moved is handed over: std::move(x)");
  static_assert(!makes_task<F, Args...> || !outlived<F, Args...>,
                "spawn(f, args...): a parameter of f is a reference, and its argument has another type: it would refer to a temporary that is gone before the "
                "task runs. Take that parameter by value, or give an argument of its type: std::string(\"text\")");
  static_assert(!makes_task<F, Args...> || aligned_as_frames_are<F, Args...>,
                "spawn(f, args...): over-aligned callables and arguments (alignas above 16) are not supported, nor are they as locals of a coroutine. "
                "Keep them behind a std::unique_ptr");
  static_assert(!spawn_callable<F, Args...> || makes_task<F, Args...>,
                "spawn(f, args...): f must return skua::task<T>, that is, be a coroutine; for a function that blocks use spawn_blocking");
  using type = void;
};
template <class F, class... Args>
  requires spawnable<F, Args...>
struct spawn_result<F, Args...> {
  using type = typename task_of<F, Args...>::value_type;
};

// Queues a task made on this thread.
SKUA_INLINE void start_task(task_header& h) {
  worker_counters::add(tl.counters.spawned);
  if (attention()) [[unlikely]] stop_if_ending(h);
  schedule_here(reinterpret_cast<item>(&h) | kind::spawned);
}

// Makes the task of a callable and its arguments, or of a task.
template <class F, class... Args>
SKUA_INLINE auto make_any_task(task_origin const& origin, F&& f, Args&&... args) {
  if constexpr (is_task<std::remove_cvref_t<F>>) {
    static_assert(sizeof...(Args) == 0, "spawn(task) takes no arguments: they are in the task's frame");
    static_assert(!std::is_lvalue_reference_v<F>, "spawn(task) takes the task over: spawn(std::move(t))");
    return static_cast<result_block<typename std::remove_cvref_t<F>::value_type>*>(make_task_from(origin, std::move(f)));
  } else if constexpr (!spawnable<F, Args...>) {
    return static_cast<result_block<typename spawn_result<F, Args...>::type>*>(nullptr);   // has been refused
  } else {
    using call = bound_call<std::decay_t<F>, std::decay_t<Args>...>;
    using T = typename spawn_result<F, Args...>::type;
    return static_cast<result_block<T>*>(
        make_task<T, call>(origin, std::forward<F>(f), std::forward<Args>(args)...));
  }
}
template <class T>
join_handle<T> handle_for(result_block<T>* b) noexcept {
  return join_handle<T>(b);
}

template <class F, class... Args>
SKUA_INLINE auto spawn_here(task_label label, F&& f, Args&&... args) {
  auto* b = make_any_task(task_origin{tl.owner_index, label}, std::forward<F>(f), std::forward<Args>(args)...);
  start_task(*b);
  return handle_for(b);
}

template <class F, class... Args>
SKUA_INLINE auto spawn_at(std::source_location site, F&& f, Args&&... args) {
  if (tl.words == nullptr) [[unlikely]] not_in_runtime("spawn");
  if constexpr (std::same_as<std::remove_cvref_t<F>, named>) {
    return spawn_here(make_named(f.text, site), std::forward<Args>(args)...);
  } else {
    return spawn_here(site, std::forward<F>(f), std::forward<Args>(args)...);
  }
}

struct spawner {
  template <class... X>
  SKUA_INLINE static auto spawn_at(std::source_location site, X&&... x) {
    return detail::spawn_at(site, std::forward<X>(x)...);
  }
};
struct detached_spawner {
  template <class... X>
  SKUA_INLINE static void spawn_at(std::source_location site, X&&... x) {
    detail::spawn_at(site, std::forward<X>(x)...).detach();
  }
};

} // namespace detail

// Starts a task that runs concurrently with the caller, on any worker of the caller's runtime.
//
// The callable and its arguments are decay-copied into the task (D1) and live until it has ended: a coroutine lambda's captures are safe here.
// If f takes all its arguments by value, or by std::ref, they are its parameters, and not kept beside those. (If f is no coroutine, they end when it returns.)
// References into the spawner's frame are for the scoped forms (when_all). One allocation, unless the frame is larger than 1.5 KiB.
// spawn(task) takes a task that was made already; it needs a second allocation.
//
// Thread safety: on workers only; from other threads use runtime::spawn. Stop: a spawned task is a root of its own: it is stopped through its handle,
// or when the runtime shuts down. Errors: bad_alloc, what copying throws, usage_error outside the runtime; then nothing was started. The line of the call is
// kept, for inspection and failure reports (with more than twelve arguments it is not).
//
//     auto h = skua::spawn(fetch, url);      // fetch is a coroutine
//     auto page = co_await h;
inline constexpr detail::sited_call<detail::spawner> spawn{};

// spawn(f, args...).detach(): the visible word for a task that nobody owns. It is stopped and joined when the runtime shuts down.
inline constexpr detail::sited_call<detail::detached_spawner> spawn_detached{};

} // namespace skua
