// SPDX-License-Identifier: Apache-2.0
// What is done with a connection beside reading and writing. tcp_connect.cpp makes one.
#include "skua/tcp.hpp"
#include "io/socket.hpp"
#include <algorithm>
#include <cerrno>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace skua {

using detail::set_option;

namespace {

int whole_seconds(std::chrono::seconds s) noexcept { return static_cast<int>(std::clamp<std::chrono::seconds::rep>(s.count(), 1, 32767)); }

} // namespace

tcp_stream tcp_stream::adopt(int fd) {
  char const* const what = "skua: tcp_stream::adopt";
  detail::expect_stream(fd, what);
  bool const tcp = detail::get_option(fd, SOL_SOCKET, SO_PROTOCOL, what) == IPPROTO_TCP;
  return tcp_stream(detail::socket_handle::adopt(fd, tcp ? short_one : detail::short_transfer::means_nothing));
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

void tcp_stream::set_linger(std::chrono::seconds limit) {
  linger const l{1, static_cast<int>(std::clamp<std::chrono::seconds::rep>(limit.count(), 0, 32767))};
  if (::setsockopt(native_handle(), SOL_SOCKET, SO_LINGER, &l, sizeof l) != 0) detail::fail(errno, "skua: set_linger");
}

endpoint tcp_stream::local_endpoint() const { return detail::local_endpoint_of(native_handle()); }
endpoint tcp_stream::peer_endpoint() const { return detail::peer_endpoint_of(native_handle()); }

} // namespace skua
