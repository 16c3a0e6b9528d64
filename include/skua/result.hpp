// SPDX-License-Identifier: Apache-2.0
// result<T>: a value, or the error code in its place. What as_result(operation) gives (D13).
//
// For errors that are part of the day's work, where an exception for each would be too dear or too loud: a peer that resets its connection, a refused
// connect in a loop over many.
#pragma once
#include "detail/any_awaitable.hpp"
#include "io_error.hpp"
#include "task.hpp"
#include <cstddef>
#include <optional>
#include <system_error>
#include <type_traits>
#include <utility>

namespace skua {

namespace detail {
template <class A>
inline constexpr bool reports_by_itself = false;   // as_result() has an overload for it
template <class A>
concept reported_by_a_task = other_awaitable<A> && !reports_by_itself<std::remove_cvref_t<A>>;
} // namespace detail

// The outcome of an operation: a T, or an error code. With operations that transfer bytes it also says how many were transferred, in either case.
//
// Thread safety: as T. Errors: value() without one throws transfer_error (a std::system_error).
//
//     auto n = co_await skua::as_result(stream.read_some(buffer));
//     if (!n) co_return log(n.error());
//     use(buffer.first(*n));
template <class T = void>
class [[nodiscard("it says whether the operation failed")]] result {
  using stored = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

public:
  using value_type = T;

  result(stored v, std::size_t transferred = 0) : value_(std::move(v)), transferred_(transferred) {}
  result(std::error_code e, std::size_t transferred = 0) : error_(e), transferred_(transferred) {}

  bool has_value() const noexcept { return value_.has_value(); }
  explicit operator bool() const noexcept { return value_.has_value(); }

  // {} if there is a value.
  std::error_code error() const noexcept { return error_; }
  // Bytes; 0 where the operation transfers none.
  std::size_t transferred() const noexcept { return transferred_; }

  std::add_lvalue_reference_t<stored> value() & { return check(), *value_; }
  std::add_lvalue_reference_t<stored const> value() const& { return check(), *value_; }
  stored value() && { return check(), std::move(*value_); }

  // There must be a value: it is not checked in release builds.
  stored& operator*() & noexcept { return *value_; }
  stored const& operator*() const& noexcept { return *value_; }
  stored&& operator*() && noexcept { return std::move(*value_); }
  stored* operator->() noexcept { return &*value_; }
  stored const* operator->() const noexcept { return &*value_; }

private:
  void check() const {
    if (!value_) throw transfer_error(error_, "skua: result without a value", transferred_);
  }
  std::optional<stored> value_;
  std::error_code error_;
  std::size_t transferred_ = 0;
};

// The same operation, with its std::system_error as a value. For members that return a task (connect, accept); for reads and writes see tcp.hpp.
//
// Only std::system_error becomes a value; every other exception, usage_error too, is thrown as before. Stop: as the operation.
template <class T>
task<result<T>> as_result(task<T> operation) {
  std::error_code error;
  std::size_t transferred = 0;
  try {
    if constexpr (std::is_void_v<T>) {
      co_await std::move(operation);
      co_return result<T>(std::monostate{});
    } else {
      co_return result<T>(co_await std::move(operation));
    }
  } catch (transfer_error const& e) {
    error = e.code();
    transferred = e.transferred();
  } catch (std::system_error const& e) {
    error = e.code();
  }
  co_return result<T>(error, transferred);
}

// The same for any other awaitable: a handle, a future, a blocking call. (Reads and writes have a form of their own: tcp.hpp.)
template <detail::reported_by_a_task A>
auto as_result(A&& a) {
  return as_result(detail::as_task(static_cast<A&&>(a)));
}
template <detail::reported_by_a_task A>
  requires detail::temporary_operation<A>
auto as_result(SKUA_LIFETIMEBOUND A&& a) {
  return detail::at_once([&] { return as_result(detail::as_task(static_cast<A&&>(a))); });
}

} // namespace skua
