// SPDX-License-Identifier: Apache-2.0
// task<T>: a lazy coroutine.
#pragma once
#include "detail/abi.hpp"
#include "detail/join.hpp"
#include "error.hpp"
#include <concepts>
#include <coroutine>
#include <exception>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>
#include <variant>

namespace skua {

template <class T = void>
class task;

namespace detail {

using unit = std::monostate;   // the result of a task<void> where a value is needed
template <class T>
struct reference_box {   // how a T& result is kept
  std::remove_reference_t<T>* at;
};
template <class T>
using stored = std::conditional_t<std::is_void_v<T>, unit, std::conditional_t<std::is_reference_v<T>, reference_box<T>, T>>;

// Result of a plain co_await. A promise's `out` points to it; the value lies at offset 0.
template <class T>
struct call_slot {
  union {
    stored<T> value;
    std::exception_ptr error;
  };
  bool failed = false;
  call_slot() noexcept {}
  ~call_slot() {}
  call_slot(call_slot const&) = delete;

  void fail() noexcept {
    ::new (static_cast<void*>(&error)) std::exception_ptr(std::current_exception());
    failed = true;
  }
  [[noreturn]] SKUA_COLD void rethrow() {
    std::exception_ptr e = std::move(error);
    error.~exception_ptr();
    failed = false;
    std::rethrow_exception(std::move(e));
  }
  SKUA_INLINE T take() {
    if (failed) [[unlikely]] rethrow();
    if constexpr (std::is_reference_v<T>) {
      return static_cast<T>(*value.at);
    } else if constexpr (!std::is_void_v<T>) {
      struct guard {
        stored<T>& v;
        ~guard() { v.~stored<T>(); }
      } g{value};
      return std::move(value);
    }
  }
  void destroy_value() noexcept {
    using U = stored<T>;
    value.~U();
  }
};

template <class Promise>
struct final_awaiter {
  bool await_ready() const noexcept { return false; }
  SKUA_INLINE std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> h) const noexcept {
    std::uintptr_t const up = h.promise().up;
    h.destroy();   // parameters and frame; the result is already in the parent's slot
    return finish(up);
  }
  void await_resume() const noexcept {}
};

// spawn() has prepared a place for the next frame, which is used if the frame fits (embedding.cpp).
SKUA_NOINLINE void* allocate_embedded(std::size_t size);
SKUA_NOINLINE void release_embedded(void* frame) noexcept;

// Locals are destroyed after `co_return v`: if a destructor throws, `v` is in its place already, and has to go before anything else is written there: the
// failure, or, if the body has caught it, another value, or that it was stopped. Only a value with a destructor needs to be remembered for that.
template <class T>
struct promise_result : promise_base {
  promise_result() noexcept = default;
  ~promise_result()
    requires std::is_trivially_destructible_v<T>
  = default;
  ~promise_result() {
    if (tl.destroying) [[unlikely]] take_back();   // stopped
  }
  // A number becomes a T where it is returned: so the compiler sees that 0 fits, and warns of what does not at the line that says so.
  SKUA_INLINE void return_value(T v) noexcept
    requires std::is_arithmetic_v<T>
  {
    ::new (out) T(v);
  }
  template <class U = T>
    requires(std::constructible_from<T, U> && !(std::is_arithmetic_v<T> && std::is_arithmetic_v<std::remove_cvref_t<U>>))
  SKUA_INLINE void return_value(U&& v) noexcept(std::is_nothrow_constructible_v<T, U>) {
    take_back();
    ::new (out) T(std::forward<U>(v));
    if constexpr (!std::is_trivially_destructible_v<T>) returned_.yes = true;
  }
  SKUA_INLINE void take_back() noexcept {
    if constexpr (!std::is_trivially_destructible_v<T>)
      if (std::exchange(returned_.yes, false)) [[unlikely]] static_cast<T*>(out)->~T();
  }

private:
  struct remembered {
    bool yes = false;
  };
  [[no_unique_address]] std::conditional_t<std::is_trivially_destructible_v<T>, unit, remembered> returned_;
};
template <class T>
struct promise_result<T&> : promise_base {
  void return_value(T& v) noexcept { ::new (out) reference_box<T&>{std::addressof(v)}; }
  void take_back() const noexcept {}
};
template <>
struct promise_result<void> : promise_base {
  void return_void() const noexcept {}
  void take_back() const noexcept {}
};

template <class T>
struct task_promise : promise_result<T> {
  task<T> get_return_object() noexcept { return task<T>(std::coroutine_handle<task_promise>::from_promise(*this).address()); }
  std::suspend_always initial_suspend() const noexcept { return {}; }
  final_awaiter<task_promise> final_suspend() const noexcept { return {}; }
  void unhandled_exception() noexcept {
    // The body's own handler is there as well while its locals are destroyed by a stop.
    if (tl.destroying) [[unlikely]] terminate_in_unwinding();
    this->take_back();
    if ((this->up & tag::mask) == tag::call)
      static_cast<call_slot<T>*>(this->out)->fail();
    else
      fail_branch(*this);
  }

  // Frames placed by spawn() have bit 4 of their address set; blocks of the pool are aligned to 64.
  SKUA_INLINE static void* operator new(std::size_t n) {
    if (tl.embed_at != nullptr) [[unlikely]] return allocate_embedded(n);
    return tl.pool.allocate(n);
  }
  SKUA_INLINE static void operator delete(void* p, std::size_t n) noexcept {
    if (reinterpret_cast<std::uintptr_t>(p) & 16) [[unlikely]] return release_embedded(p);   // lies in its task's block
    tl.pool.deallocate(p, n);
  }
};

// A coroutine whose first parameters are std::allocator_arg and an allocator: its frame comes from there. The allocator is kept behind
// the frame.
template <class T, class Allocator>
struct allocator_promise : task_promise<T> {
  using bytes = typename std::allocator_traits<Allocator>::template rebind_alloc<std::max_align_t>;
  task<T> get_return_object() noexcept {
    return task<T>(std::coroutine_handle<allocator_promise>::from_promise(*this).address());
  }
  final_awaiter<allocator_promise> final_suspend() const noexcept { return {}; }

  template <class... Rest>
  static void* operator new(std::size_t n, std::allocator_arg_t, Allocator const& a, Rest const&...) {
    return allocate(n, bytes(a));
  }
  template <class Self, class... Rest>
  static void* operator new(std::size_t n, Self const&, std::allocator_arg_t, Allocator const& a, Rest const&...) {
    return allocate(n, bytes(a));
  }
  static void operator delete(void* p, std::size_t n) noexcept {
    bytes& kept = *reinterpret_cast<bytes*>(static_cast<char*>(p) + kept_at(n));
    bytes a(std::move(kept));
    kept.~bytes();
    std::allocator_traits<bytes>::deallocate(a, static_cast<std::max_align_t*>(p), units(n));
  }

private:
  static constexpr std::size_t kept_at(std::size_t n) { return (n + alignof(bytes) - 1) / alignof(bytes) * alignof(bytes); }
  static constexpr std::size_t units(std::size_t n) {
    return (kept_at(n) + sizeof(bytes) + sizeof(std::max_align_t) - 1) / sizeof(std::max_align_t);
  }
  static void* allocate(std::size_t n, bytes a) {
    void* const p = std::allocator_traits<bytes>::allocate(a, units(n));
    ::new (static_cast<void*>(static_cast<char*>(p) + kept_at(n))) bytes(std::move(a));
    return p;
  }
};

} // namespace detail

// A coroutine that has not started. It starts when it is awaited, spawned, or given to a combinator, and then runs on the workers of the
// runtime; `co_await child()` is a symmetric transfer: no queue, no atomic operation, no allocation but the pooled frame. (With clang 20 and later not even
// that, in optimised builds: the child's frame is a part of the parent's, docs/compilers.md.)
//
// Parameters are copied or moved into the frame as the coroutine declares them: take them by value unless they outlive the await. A lambda
// coroutine's captures live in the lambda, not in the frame: spawn(f, args...) keeps them alive, a bare call does not (docs/hazards.md).
//
// Thread safety: a task object belongs to one thread at a time.
// Stop: awaiting a child is no suspension point; the stop is seen by the leaf operation that the child awaits (S1).
// Errors: what the coroutine throws is rethrown by co_await; what a local's destructor throws behind `co_return v` as well, and v is destroyed. A parameter's
// destructor must not throw. Awaiting a task that was moved from, or awaited before: usage_error.
// Lifetime: destroying a task that has not started destroys its frame.
//
//     skua::task<int> square(int n) {
//       co_await skua::sleep_for(1s);
//       co_return n * n;
//     }
template <class T>
class [[nodiscard("a task does nothing until it is awaited or spawned")]] SKUA_TRIVIAL_ABI SKUA_AWAIT_ELIDABLE task {
public:
  using promise_type = detail::task_promise<T>;
  using value_type = T;

  task() noexcept = default;
  task(task const&) = delete;   // a task has one owner: std::move(t)
  task(task&& o) noexcept : frame_(std::exchange(o.frame_, nullptr)) {}
  task& operator=(task&& o) noexcept {
    if (this != &o) {
      if (frame_) detail::handle_of(frame_).destroy();
      frame_ = std::exchange(o.frame_, nullptr);
    }
    return *this;
  }
  SKUA_INLINE ~task() {
    if (frame_) detail::handle_of(frame_).destroy();
  }

  // False: moved from, or awaited.
  explicit operator bool() const noexcept { return frame_ != nullptr; }

  class awaiter {
  public:
    explicit awaiter(void* child) noexcept : child_(child) {}
    awaiter(awaiter const&) = delete;
    bool await_ready() const noexcept { return false; }
    SKUA_INLINE std::coroutine_handle<> await_suspend(detail::own_coroutine parent) {
      if (child_ == nullptr) [[unlikely]] detail::task_awaited_twice();
      detail::promise_base& p = detail::promise_at(child_);
      p.up = reinterpret_cast<std::uintptr_t>(parent.address()) | detail::tag::call;
      p.out = &slot_;
      return detail::handle_of(p.frame());
    }
    SKUA_INLINE T await_resume() { return slot_.take(); }

  private:
    void* child_;
    detail::call_slot<T> slot_;
  };
  awaiter operator co_await() && noexcept { return awaiter(release()); }
  awaiter operator co_await() const& = delete;   // a task is awaited once, and gone then: co_await std::move(t)

  // For skua's own combinators: the frame, which the caller will start or destroy.
  SKUA_INLINE void* release() noexcept { return std::exchange(frame_, nullptr); }
  void* peek() const noexcept { return frame_; }
  SKUA_INLINE void* release_checked() {
    if (frame_ == nullptr) [[unlikely]] detail::task_awaited_twice();
    return release();
  }

private:
  template <class U>
  friend struct detail::task_promise;
  template <class U, class A>
  friend struct detail::allocator_promise;
  explicit task(void* frame) noexcept : frame_(frame) {
    static_assert(alignof(promise_type) <= 2 * sizeof(void*), "promise_at() relies on it");
  }
  void* frame_ = nullptr;
};

} // namespace skua

template <class T, class Allocator, class... Args>
struct std::coroutine_traits<skua::task<T>, std::allocator_arg_t, Allocator, Args...> {
  using promise_type = skua::detail::allocator_promise<T, std::remove_cvref_t<Allocator>>;
};
template <class T, class Self, class Allocator, class... Args>
  requires(!std::same_as<Self, std::allocator_arg_t>)
struct std::coroutine_traits<skua::task<T>, Self, std::allocator_arg_t, Allocator, Args...> {
  using promise_type = skua::detail::allocator_promise<T, std::remove_cvref_t<Allocator>>;
};
