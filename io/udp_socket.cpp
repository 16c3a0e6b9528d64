// SPDX-License-Identifier: Apache-2.0
// MSG_DONTWAIT: an adopted descriptor may be blocking.
#include "skua/udp.hpp"
#include "io/descriptor.hpp"
#include "io/socket.hpp"
#include <cerrno>
#include <cstring>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/uio.h>

namespace skua {

namespace detail {

namespace {

// A datagram that has come says nothing about the next one: only EAGAIN means that there is none, or no room.
io_step finished(io_operation& op, ssize_t n) noexcept {
  if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
    op.last = io_operation::drained;
    return io_step::blocked;
  }
  op.last = io_operation::full;
  if (n < 0)
    op.error = errno;
  else
    op.transferred = static_cast<std::size_t>(n);
  return io_step::done;
}

io_step receive(io_operation& o) noexcept {
  auto& op = static_cast<datagram_operation&>(o);
  sockaddr_storage from;
  iovec part{op.data, op.size};
  msghdr message{};
  message.msg_name = &from;
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  ssize_t const n = retry([&] {
    message.msg_namelen = sizeof from;
    return ::recvmsg(op.number(), &message, MSG_DONTWAIT);
  });
  if (n >= 0) {
    op.truncated = message.msg_flags & MSG_TRUNC;
    if (auto const e = endpoint::from_native(&from, message.msg_namelen)) op.peer = *e;
  }
  return finished(op, n);
}

io_step send(io_operation& o) noexcept {
  auto& op = static_cast<datagram_operation&>(o);
  auto const size = static_cast<socklen_t>(op.peer.native_size());
  auto const* const to = size != 0 ? static_cast<sockaddr const*>(op.peer.native()) : nullptr;
  ssize_t const n = retry([&] { return ::sendto(op.number(), op.data, op.size, MSG_DONTWAIT | MSG_NOSIGNAL, to, size); });
  return finished(op, n);
}

io_step send_to(io_operation& o) noexcept {
  auto& op = static_cast<datagram_operation&>(o);
  if (op.peer.native_size() != 0) return send(op);
  op.error = EDESTADDRREQ;   // the kernel would take the peer of a connected socket
  return io_step::done;
}

void change_group(int fd, int how, endpoint const& group, unsigned interface, char const* what) {
  group_req r{};
  r.gr_interface = interface;
  std::memcpy(&r.gr_group, group.native(), group.native_size());
  if (::setsockopt(fd, group.is_v6() ? IPPROTO_IPV6 : IPPROTO_IP, how, &r, sizeof r) != 0) fail(errno, what);
}

} // namespace

constinit io_kind const send_datagram_kind("send", 1, send), send_datagram_to_kind("send_to", 1, send_to), receive_datagram_kind("receive", 0, receive);

} // namespace detail

using detail::set_option;

udp_socket udp_socket::bind(endpoint at, udp_options const& o) {
  char const* const what = "skua: udp_socket::bind";
  auto socket = detail::new_socket(at, SOCK_DGRAM, IPPROTO_UDP);
  if (o.reuse_address) set_option(socket.get(), SOL_SOCKET, SO_REUSEADDR, 1, what);
  if (o.reuse_port) set_option(socket.get(), SOL_SOCKET, SO_REUSEPORT, 1, what);
  if (at.is_v6()) set_option(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, o.v6_only, what);
  detail::bind_to(socket.get(), at, what);
  return udp_socket(detail::socket_handle(socket.take()));
}

udp_socket udp_socket::adopt(int fd) {
  char const* const what = "skua: udp_socket::adopt";
  if (detail::get_option(fd, SOL_SOCKET, SO_PROTOCOL, what) != IPPROTO_UDP) detail::fail(EPROTOTYPE, what);
  return udp_socket(detail::socket_handle::adopt(fd));
}

void udp_socket::connect(endpoint to) {
  if (::connect(native_handle(), static_cast<sockaddr const*>(to.native()), static_cast<socklen_t>(to.native_size())) != 0)
    detail::fail(errno, "skua: udp_socket::connect");
}

bool udp_socket::is_v6() const { return detail::get_option(native_handle(), SOL_SOCKET, SO_DOMAIN, "skua: udp_socket") == AF_INET6; }

void udp_socket::set_broadcast(bool on) { set_option(native_handle(), SOL_SOCKET, SO_BROADCAST, on, "skua: set_broadcast"); }
void udp_socket::set_receive_buffer(std::size_t size) { detail::set_buffer(native_handle(), SO_RCVBUF, size, "skua: set_receive_buffer"); }
void udp_socket::set_send_buffer(std::size_t size) { detail::set_buffer(native_handle(), SO_SNDBUF, size, "skua: set_send_buffer"); }

void udp_socket::join_group(endpoint const& group, unsigned interface) {
  detail::change_group(native_handle(), MCAST_JOIN_GROUP, group, interface, "skua: join_group");
}
void udp_socket::leave_group(endpoint const& group, unsigned interface) {
  detail::change_group(native_handle(), MCAST_LEAVE_GROUP, group, interface, "skua: leave_group");
}

void udp_socket::set_multicast_hops(int hops) {
  bool const v6 = is_v6();
  set_option(native_handle(), v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_MULTICAST_HOPS : IP_MULTICAST_TTL, hops, "skua: set_multicast_hops");
}
void udp_socket::set_multicast_loop(bool on) {
  bool const v6 = is_v6();
  set_option(native_handle(), v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_MULTICAST_LOOP : IP_MULTICAST_LOOP, on, "skua: set_multicast_loop");
}

endpoint udp_socket::local_endpoint() const { return detail::local_endpoint_of(native_handle()); }
endpoint udp_socket::peer_endpoint() const { return detail::peer_endpoint_of(native_handle()); }

} // namespace skua
