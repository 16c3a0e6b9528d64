// SPDX-License-Identifier: Apache-2.0
// async_generator<T>: a coroutine that yields values one after the other, and may wait in between.
//
//     skua::async_generator<std::string> lines(skua::tcp_stream& s) {
//       while (..) {
//         .. co_await s.read_some(buffer) ..
//         co_yield line;
//       }
//     }
//     auto all = lines(stream);
//     while (auto line = co_await all.next()) use(*line);
#pragma once
#include "task.hpp"
#include <concepts>
#include <coroutine>
#include <exception>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

namespace skua {

namespace detail {

[[noreturn]] SKUA_COLD void generator_misused();   // scheduler/channel.cpp

// What next() waits with; a generator's `out` points to it.
template <class T>
struct generator_slot {
  std::optional<T> value;
  std::exception_ptr error;
};

} // namespace detail

// A stream of values, made by a coroutine with co_yield. Lazy: it runs only while somebody awaits next(), as part of that task, like a child coroutine
// (a symmetric transfer; no queue, no atomic operation). It may await whatever a task may await.
//
// Thread safety: one task at a time uses it; it may be handed to another one between two values.
// Stop: next() itself is no suspension point; what the generator awaits is. If it is stopped there, it is destroyed, leaf first like any coroutine: its
// destructors run, and if the object survives (it lies outside of a timeout, say), next() gives no value any more.
// Errors: what the generator throws comes out of next(), once; then it has ended. usage_error if next() is called while another task is inside.
// Lifetime: destroying it in the middle destroys the coroutine where it stands at its co_yield: its destructors run, on the destroying thread; they cannot
// await (use finally() around the loop for that). Parameters: as for task.
template <class T>
class [[nodiscard("a generator does nothing until next() is awaited")]] async_generator {
  static_assert(std::is_object_v<T> && std::is_move_constructible_v<T>, "async_generator<T>: T is an object that can be moved");

public:
  using value_type = T;

  class promise_type : public detail::promise_base {
  public:
    ~promise_type() {
      if (owner_ != nullptr) owner_->frame_ = nullptr;   // it has ended, was stopped, or is being destroyed
    }
    async_generator get_return_object() noexcept { return async_generator(std::coroutine_handle<promise_type>::from_promise(*this).address()); }
    std::suspend_always initial_suspend() const noexcept { return {}; }
    detail::final_awaiter<promise_type> final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    void unhandled_exception() noexcept {
      if (detail::tl.destroying) [[unlikely]] detail::terminate_in_unwinding();
      SKUA_CHECK(this->out != nullptr, "a destructor threw while a generator was destroyed");
      slot().error = std::current_exception();
    }

    struct yield_awaiter {
      promise_type& promise;
      bool await_ready() const noexcept { return false; }
      std::coroutine_handle<> await_suspend(std::coroutine_handle<>) const noexcept {
        promise.running_ = false;
        return detail::handle_of(reinterpret_cast<void*>(promise.up));
      }
      void await_resume() const noexcept {}
    };
    template <class U>
      requires std::constructible_from<T, U>
    yield_awaiter yield_value(U&& v) {
      slot().value.emplace(std::forward<U>(v));
      return {*this};
    }
    yield_awaiter yield_value(T&& v) {
      slot().value.emplace(std::move(v));
      return {*this};
    }

    static void* operator new(std::size_t n) { return detail::task_promise<void>::operator new(n); }
    static void operator delete(void* p, std::size_t n) noexcept { detail::task_promise<void>::operator delete(p, n); }

  private:
    friend async_generator;
    detail::generator_slot<T>& slot() const noexcept { return *static_cast<detail::generator_slot<T>*>(out); }
    async_generator* owner_ = nullptr;
    bool running_ = false;
  };

  async_generator() noexcept = default;   // has ended
  async_generator(async_generator&& o) noexcept : frame_(std::exchange(o.frame_, nullptr)) { adopt(); }
  async_generator& operator=(async_generator&& o) noexcept {
    if (this != &o) {
      destroy();
      frame_ = std::exchange(o.frame_, nullptr);
      adopt();
    }
    return *this;
  }
  ~async_generator() { destroy(); }

  // False: it has ended (or was moved from).
  explicit operator bool() const noexcept { return frame_ != nullptr; }

  class [[nodiscard("next() does nothing until it is awaited")]] awaiter : detail::generator_slot<T> {
  public:
    explicit awaiter(async_generator& g) noexcept : generator_(g) {}
    awaiter(awaiter const&) = delete;
    bool await_ready() const noexcept { return generator_.frame_ == nullptr; }
    std::coroutine_handle<> await_suspend(detail::own_coroutine parent) {
      promise_type& p = generator_.promise();
      if (p.running_) [[unlikely]] detail::generator_misused();
      p.running_ = true;
      p.up = reinterpret_cast<std::uintptr_t>(parent.address()) | detail::tag::call;
      p.out = static_cast<detail::generator_slot<T>*>(this);
      return detail::handle_of(p.frame());
    }
    std::optional<T> await_resume() {
      if (this->error) [[unlikely]] std::rethrow_exception(std::exchange(this->error, nullptr));
      return std::exchange(this->value, std::nullopt);   // this may be kept, and awaited again
    }

  private:
    async_generator& generator_;
  };
  // Runs it to its next co_yield. No value: it has ended. Allocates nothing.
  awaiter next() noexcept { return awaiter(*this); }

private:
  explicit async_generator(void* frame) noexcept : frame_(frame) { adopt(); }
  promise_type& promise() const noexcept { return static_cast<promise_type&>(detail::promise_at(frame_)); }
  void adopt() noexcept {
    if (frame_ != nullptr) promise().owner_ = this;
  }
  void destroy() noexcept {
    if (frame_ == nullptr) return;
    SKUA_CHECK(!promise().running_, "a generator was destroyed while a task is inside");
    promise().out = nullptr;               // nobody waits for what its locals' destructors might throw
    detail::handle_of(frame_).destroy();   // its promise's destructor clears frame_
  }
  void* frame_ = nullptr;
};

} // namespace skua
