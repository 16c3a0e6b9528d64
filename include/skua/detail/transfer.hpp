// SPDX-License-Identifier: Apache-2.0
// Awaitables that move bytes over a stream socket, and the form of each that returns its error as a value.
//
// A transfer is the operation itself: it lies in the awaiting frame from the call on, is neither copied nor moved, and is awaited once. as_result()
// makes another
// one of the same description.
#pragma once
#include "../result.hpp"
#include "io_operation.hpp"
#include <coroutine>
#include <cstddef>
#include <type_traits>

namespace skua::detail {

struct transfer_operation : io_operation {
  void* data;             // bytes, or spans of bytes; writev_all leaves out what it has written
  std::size_t size;       // how many of them
  std::size_t skip = 0;   // of writev_all: bytes of the first spans that are written
  transfer_operation(io_kind const& k, descriptor* d, std::uint32_t g, void* p, std::size_t n) noexcept
      : io_operation(k, d, g), data(p), size(n) {}

  bool await_ready() noexcept { return !attention() && spend_budget() && try_now(); }
  std::coroutine_handle<> await_suspend(own_coroutine h) { return start(h); }
};

extern io_kind const read_some_kind, write_some_kind, read_exactly_kind, write_all_kind, readv_kind, writev_kind, writev_all_kind;

// T: std::size_t, the bytes transferred, or void.
template <class T>
class [[nodiscard("nothing is read or written until it is awaited")]] transfer : transfer_operation {
public:
  using value_type = T;
  using transfer_operation::await_ready;
  using transfer_operation::await_suspend;
  using transfer_operation::transfer_operation;
  T await_resume() const {
    if (error != 0) [[unlikely]] throw_transfer_error(*this);
    if constexpr (!std::is_void_v<T>) return transferred;
  }

private:
  template <class>
  friend class transfer_result;
};

template <class T>
class [[nodiscard("nothing is read or written until it is awaited")]] transfer_result : transfer_operation {
public:
  using value_type = result<T>;
  explicit transfer_result(transfer<T> const& o) noexcept
      : transfer_operation(o.io(), o.target, o.generation, o.data, o.size) {
    reports = true;
  }
  using transfer_operation::await_ready;
  using transfer_operation::await_suspend;
  result<T> await_resume() const {
    if (error != 0) [[unlikely]] return result<T>(code_of(*this), transferred);
    if constexpr (std::is_void_v<T>)
      return result<T>(std::monostate{}, transferred);
    else
      return result<T>(transferred, transferred);
  }
};

template <class T>
inline constexpr bool reports_by_itself<transfer<T>> = true;

} // namespace skua::detail

namespace skua {

// A read or write that returns its error in place of throwing it, and in either case how many bytes were transferred.
//
// Stop: as the operation; but if bytes were transferred before the stop came, the operation ends with operation_canceled and their number, and the next
// suspension point ends the task (S17).
//
//     auto const sent = co_await skua::as_result(stream.write_all(page));
template <class T>
detail::transfer_result<T> as_result(detail::transfer<T> const& operation) noexcept {
  return detail::transfer_result<T>(operation);
}

} // namespace skua
