// SPDX-License-Identifier: Apache-2.0
// Awaitables that send or receive one datagram, and the form of each that returns its error as a value. As those of transfer.hpp, but that a datagram goes
// as a whole or not at all.
#pragma once
#include "../endpoint.hpp"
#include "../result.hpp"
#include "io_operation.hpp"
#include <coroutine>
#include <cstddef>
#include <system_error>
#include <type_traits>

namespace skua {

// What was received.
struct datagram {
  std::size_t size;       // bytes in the buffer; 0 is a datagram as well
  endpoint from;
  bool truncated;         // it was longer than the buffer, and the rest is gone
};

namespace detail {

struct datagram_operation : io_operation {
  void* data;
  std::size_t size;
  endpoint peer;            // none: the one that the socket is connected to
  bool truncated = false;
  datagram_operation(io_kind const& k, descriptor* d, std::uint32_t g, void* p, std::size_t n, endpoint const& e) noexcept
      : io_operation(k, d, g), data(p), size(n), peer(e) {}

  bool await_ready() noexcept { return !attention() && spend_budget() && try_now(); }
  std::coroutine_handle<> await_suspend(own_coroutine h) { return start(h); }
};

extern io_kind const send_datagram_kind, send_datagram_to_kind, receive_datagram_kind;

// T: datagram, or void.
template <class T>
class [[nodiscard("nothing is sent or received until it is awaited")]] datagram_transfer : datagram_operation {
public:
  using value_type = T;
  using datagram_operation::await_ready;
  using datagram_operation::await_suspend;
  using datagram_operation::datagram_operation;
  T await_resume() const {
    if (error != 0) [[unlikely]] throw_io_error(*this);
    if constexpr (!std::is_void_v<T>) return {transferred, peer, truncated};
  }

private:
  template <class>
  friend class datagram_result;
};

template <class T>
class [[nodiscard("nothing is sent or received until it is awaited")]] datagram_result : datagram_operation {
public:
  using value_type = result<T>;
  explicit datagram_result(datagram_transfer<T> const& o) noexcept
      : datagram_operation(o.io(), o.target, o.generation, o.data, o.size, o.peer) {}
  using datagram_operation::await_ready;
  using datagram_operation::await_suspend;
  result<T> await_resume() const {
    if (error != 0) [[unlikely]] return result<T>(code_of(*this));
    if constexpr (std::is_void_v<T>)
      return result<T>(std::monostate{}, transferred);
    else
      return result<T>(datagram{transferred, peer, truncated}, transferred);
  }
};

template <class T>
inline constexpr bool reports_by_itself<datagram_transfer<T>> = true;

} // namespace detail

// Sending or receiving that returns its error in place of throwing it. Stop: as the operation.
//
//     auto const sent = co_await skua::as_result(socket.send_to(reply, question.from));
template <class T>
detail::datagram_result<T> as_result(detail::datagram_transfer<T> const& operation) noexcept {
  return detail::datagram_result<T>(operation);
}

} // namespace skua
