// SPDX-License-Identifier: Apache-2.0
#include "io/socket.hpp"
#include "skua/tcp.hpp"
#include <cerrno>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace skua {

tcp_listener tcp_listener::bind(endpoint at, listen_options const& o) {
  using detail::set_option;
  char const* const what = "skua: tcp_listener::bind";
  auto socket = detail::new_socket(at, SOCK_STREAM, IPPROTO_TCP);
  int const fd = socket.get();
  if (o.reuse_address) set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1, what);
  if (o.reuse_port) set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1, what);
  if (at.is_v6()) set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, o.v6_only, what);
  if (o.no_delay) set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1, what);   // what is accepted inherits it
  detail::bind_to(fd, at, what);
  if (::listen(fd, o.backlog) != 0) detail::fail(errno, what);
  return tcp_listener(detail::socket_handle(socket.take()));
}

tcp_listener tcp_listener::adopt(int fd) {
  char const* const what = "skua: tcp_listener::adopt";
  if (detail::get_option(fd, SOL_SOCKET, SO_PROTOCOL, what) != IPPROTO_TCP) detail::fail(EPROTOTYPE, what);
  detail::expect_listening(fd, what);
  return tcp_listener(detail::socket_handle::adopt(fd));
}

endpoint tcp_listener::local_endpoint() const { return detail::local_endpoint_of(native_handle()); }

} // namespace skua
