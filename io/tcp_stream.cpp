// SPDX-License-Identifier: Apache-2.0
// What is done with a connection beside reading and writing. tcp_connect.cpp makes one.
#include "skua/tcp.hpp"
#include "io/descriptor.hpp"
#include "io/socket.hpp"
#include "skua/error.hpp"
#include <algorithm>
#include <cerrno>
#include <climits>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace skua {

using detail::set_option;

namespace {

int clamped(std::size_t n) noexcept { return static_cast<int>(std::min<std::size_t>(n, INT_MAX)); }
int whole_seconds(std::chrono::seconds s) noexcept { return static_cast<int>(std::clamp<std::chrono::seconds::rep>(s.count(), 1, 32767)); }

} // namespace

tcp_stream tcp_stream::adopt(int fd) {
  char const* const what = "skua: tcp_stream::adopt";
  if (detail::get_option(fd, SOL_SOCKET, SO_TYPE, what) != SOCK_STREAM) detail::fail(EPROTOTYPE, what);
  if (detail::get_option(fd, SOL_SOCKET, SO_ACCEPTCONN, what) != 0) detail::fail(EINVAL, what);
  return tcp_stream(detail::socket_handle(fd));
}

// As a writer: so that the number cannot be reused meanwhile if another task closes the stream.
void tcp_stream::shutdown_write() {
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

void tcp_stream::set_no_delay(bool on) { set_option(native_handle(), IPPROTO_TCP, TCP_NODELAY, on, "skua: set_no_delay"); }
void tcp_stream::set_keep_alive(bool on) { set_option(native_handle(), SOL_SOCKET, SO_KEEPALIVE, on, "skua: set_keep_alive"); }

void tcp_stream::set_keep_alive(std::chrono::seconds idle, std::chrono::seconds interval, int count) {
  char const* const what = "skua: set_keep_alive";
  set_option(native_handle(), IPPROTO_TCP, TCP_KEEPIDLE, whole_seconds(idle), what);
  set_option(native_handle(), IPPROTO_TCP, TCP_KEEPINTVL, whole_seconds(interval), what);
  set_option(native_handle(), IPPROTO_TCP, TCP_KEEPCNT, std::clamp(count, 1, 127), what);
  set_keep_alive(true);
}

void tcp_stream::set_receive_buffer(std::size_t size) {
  set_option(native_handle(), SOL_SOCKET, SO_RCVBUF, clamped(size), "skua: set_receive_buffer");
}
void tcp_stream::set_send_buffer(std::size_t size) {
  set_option(native_handle(), SOL_SOCKET, SO_SNDBUF, clamped(size), "skua: set_send_buffer");
}

void tcp_stream::set_linger(std::chrono::seconds limit) {
  linger const l{1, static_cast<int>(std::clamp<std::chrono::seconds::rep>(limit.count(), 0, 32767))};
  if (::setsockopt(native_handle(), SOL_SOCKET, SO_LINGER, &l, sizeof l) != 0) detail::fail(errno, "skua: set_linger");
}

endpoint tcp_stream::local_endpoint() const { return detail::local_endpoint_of(native_handle()); }
endpoint tcp_stream::peer_endpoint() const { return detail::peer_endpoint_of(native_handle()); }

} // namespace skua
