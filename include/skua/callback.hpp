// SPDX-License-Identifier: Apache-2.0
// callback: await a C interface that calls back.
//
//     // int lib_get(char const* key, void (*done)(void* user, int result), void* user);   bool lib_cancel(void* user);
//     int const r = co_await skua::callback<int>(
//         [&](skua::completion<int> c) {
//           lib_get(key, [](void* user, int result) { skua::completion<int>::from_pointer(user).set_value(result); }, c.to_pointer());
//         },
//         [](skua::completion<int> c) { return lib_cancel(c.to_pointer()); });
#pragma once
#include "detail/operation.hpp"
#include "future.hpp"
#include "task.hpp"
#include <concepts>
#include <coroutine>
#include <exception>
#include <type_traits>
#include <utility>

namespace skua {

namespace detail {

// The operation; whoever calls back knows its address. It adds nothing to the protocol of an operation (stop_core.hpp): a call that comes while `start` runs
// completes it before it is armed, and the interface is the referee between a call and a stop.
template <class T>
struct callback_operation : operation {
  enum outcome_t : unsigned char { none, value, failed };
  scheduler* owner = nullptr;
  union {
    stored<T> result;
    std::exception_ptr error;
  };
  outcome_t outcome = none;

  explicit callback_operation(operation_kind const& k) noexcept : operation(k) {}
  ~callback_operation() { discard(); }
  void discard() noexcept {
    if (outcome == value) std::destroy_at(std::addressof(result));
    if (outcome == failed) std::destroy_at(std::addressof(error));
    outcome = none;
  }
  template <class... U>
  void set_value(U&&... v) noexcept {
    try {
      if constexpr (std::is_reference_v<T>)
        std::construct_at(std::addressof(result), stored<T>{std::addressof(static_cast<T>(v))...});
      else
        ::new (static_cast<void*>(std::addressof(result))) stored<T>(std::forward<U>(v)...);
    } catch (...) {
      return set_exception(std::current_exception());
    }
    outcome = value;
    complete_and_schedule(*owner, *this);
  }
  void set_exception(std::exception_ptr e) noexcept {
    std::construct_at(std::addressof(error), std::move(e));
    outcome = failed;
    complete_and_schedule(*owner, *this);
  }
  T take() {
    struct guard {
      callback_operation& op;
      ~guard() { op.discard(); }
    } const g{*this};
    if (outcome == failed) std::rethrow_exception(error);
    if constexpr (std::is_reference_v<T>)
      return static_cast<T>(*result.at);
    else if constexpr (!std::is_void_v<T>)
      return std::move(result);
  }
};

} // namespace detail

// The right to complete one callback() operation, once. As large as a pointer, and convertible to one for interfaces that take a void*.
//
// Thread safety: any thread, one call. The setter touches nothing of the operation when it returns; the awaiting task may go on before.
template <class T = void>
class completion {
public:
  // What constructing T throws is thrown to the awaiting task.
  template <class... U>
    requires detail::outcome_of<T, U...>
  void set_value(U&&... v) const noexcept {
    op_->set_value(std::forward<U>(v)...);
  }
  void set_exception(std::exception_ptr e) const noexcept { op_->set_exception(std::move(e)); }

  void* to_pointer() const noexcept { return op_; }
  static completion from_pointer(void* p) noexcept { return completion(static_cast<detail::callback_operation<T>*>(p)); }

  // For skua's own parts.
  explicit completion(detail::callback_operation<T>* op) noexcept : op_(op) {}

private:
  detail::callback_operation<T>* op_;
};

namespace detail {

struct never_taken_back {
  template <class C>
  bool operator()(C) const noexcept {
    return false;
  }
};

template <class T, class Start, class OnStop>
class [[nodiscard("callback() does nothing until it is awaited")]] callback_awaiter : callback_operation<T> {
public:
  callback_awaiter(Start&& start, OnStop&& on_stop) : callback_operation<T>(kind), start_(std::move(start)), on_stop_(std::move(on_stop)) {}
  bool await_ready() const noexcept { return false; }
  std::coroutine_handle<> await_suspend(own_coroutine h) {
    if (!begin(*this, h)) [[unlikely]] return unwind(h.address());
    this->owner = tl.owner;
    start_(completion<T>(this));   // may call back before it returns, from any thread: we are not armed, so we stay
    return suspend_fairly(*this);
  }
  T await_resume() { return this->take(); }

private:
  static bool withdraw(operation& op) noexcept {
    auto& self = static_cast<callback_awaiter&>(op);
    if constexpr (std::is_void_v<std::invoke_result_t<OnStop&, completion<T>>>)
      return self.on_stop_(completion<T>(&self)), false;
    else
      return self.on_stop_(completion<T>(&self));
  }
  static constexpr operation_kind kind{"callback", withdraw};
  [[no_unique_address]] Start start_;
  [[no_unique_address]] OnStop on_stop_;
};

} // namespace detail

// Calls start(completion<T>), and waits until the completion was set, by whatever thread; returns the value, or throws the exception.
//
// Stop: a suspension point. on_stop(completion<T>) is called, once, on a worker, never while start runs; it asks the interface to give up, and returns
//     true    the call will never come: the task is unwound at once
//     false   it has come, is coming, or cannot be taken back (also if it returns void, or there is no on_stop): it is waited for, and its value
//             delivered (S4, S7)
// The interface decides that race, so a value is never lost: it must be able to say which of the two it is.
// It must not throw: that ends the process.
// Thread safety: on workers only. Errors: what start throws (then it must not call back), what was set; bad_alloc at a branch's first suspension, before
// start is called. Allocates nothing. Lifetime: callables are kept until it has returned.
template <class T = void, class Start, class OnStop = detail::never_taken_back>
  requires std::invocable<Start&, completion<T>> && std::invocable<OnStop&, completion<T>>
detail::callback_awaiter<T, Start, OnStop> callback(Start start, OnStop on_stop = {}) {
  return detail::callback_awaiter<T, Start, OnStop>(std::move(start), std::move(on_stop));
}

} // namespace skua
