// SPDX-License-Identifier: Apache-2.0
// What is done with a connection of any kind beside reading and writing (transfer.cpp).
#include "skua/stream_socket.hpp"
#include "io/descriptor.hpp"
#include "io/socket.hpp"
#include "skua/error.hpp"
#include <cerrno>
#include <sys/socket.h>

namespace skua {

// As a writer: so that the number cannot be reused meanwhile if another task closes the stream.
void stream_socket::shutdown_write() {
  using detail::descriptor;
  char const* const what = "skua: shutdown_write";
  descriptor* const d = handle_.get();
  descriptor::word seen;
  auto const c = d != nullptr ? d->claim(detail::direction::write, handle_.generation(), seen) : descriptor::claimed::closed;
  if (c == descriptor::claimed::closed) detail::fail(EBADF, what);
  if (c == descriptor::claimed::occupied) throw usage_error("skua: shutdown_write: another task is writing");
  int const error = ::shutdown(d->number, SHUT_WR) == 0 ? 0 : errno;
  if (d->finish(detail::direction::write, seen, descriptor::transfer::full) == descriptor::duty::release) close_number(*d);
  if (error != 0) detail::fail(error, what);
}

void stream_socket::shutdown_read() noexcept {
  if (detail::descriptor* const d = handle_.get()) detail::shut_for_reading(*d, handle_.generation());
}

bool stream_socket::is_shut_for_reading() const noexcept {
  detail::descriptor const* const d = handle_.get();
  return d != nullptr && detail::is_shut_for_reading(*d, handle_.generation());
}

void stream_socket::set_receive_buffer(std::size_t size) { detail::set_buffer(native_handle(), SO_RCVBUF, size, "skua: set_receive_buffer"); }
void stream_socket::set_send_buffer(std::size_t size) { detail::set_buffer(native_handle(), SO_SNDBUF, size, "skua: set_send_buffer"); }

} // namespace skua
