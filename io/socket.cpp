// SPDX-License-Identifier: Apache-2.0
#include "io/socket.hpp"
#include <cerrno>
#include <netinet/in.h>
#include <stdexcept>
#include <sys/socket.h>
#include <system_error>

namespace skua::detail {

void fail(int error, char const* what) { throw std::system_error(error, std::system_category(), what); }

int new_tcp_socket(endpoint const& e) {
  if (!e.is_v4() && !e.is_v6()) throw std::invalid_argument("skua: an endpoint without an address");
  int const fd = ::socket(e.is_v6() ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
  if (fd < 0) fail(errno, "skua: socket");
  return fd;
}

void set_option(int fd, int level, int name, int value, char const* what) {
  if (::setsockopt(fd, level, name, &value, sizeof value) != 0) fail(errno, what);
}

int get_option(int fd, int level, int name, char const* what) {
  int value = 0;
  socklen_t size = sizeof value;
  if (::getsockopt(fd, level, name, &value, &size) != 0) fail(errno, what);
  return value;
}

namespace {

template <class Call>
endpoint endpoint_by(Call call, int fd, char const* what) {
  sockaddr_storage a{};
  socklen_t size = sizeof a;
  if (call(fd, reinterpret_cast<sockaddr*>(&a), &size) != 0) fail(errno, what);
  auto const e = endpoint::from_native(&a, size);
  if (!e) fail(EAFNOSUPPORT, what);
  return *e;
}

} // namespace

endpoint local_endpoint_of(int fd) { return endpoint_by(::getsockname, fd, "skua: local_endpoint"); }
endpoint peer_endpoint_of(int fd) { return endpoint_by(::getpeername, fd, "skua: peer_endpoint"); }

} // namespace skua::detail
