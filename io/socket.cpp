// SPDX-License-Identifier: Apache-2.0
#include "io/socket.hpp"
#include <algorithm>
#include <cerrno>
#include <climits>
#include <fcntl.h>
#include <stdexcept>
#include <sys/socket.h>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace skua::detail {

void fail(int error, char const* what) { throw std::system_error(error, std::system_category(), what); }

owned_number::~owned_number() {
  if (n_ >= 0) ::close(n_);
}
int owned_number::take() noexcept { return std::exchange(n_, -1); }

owned_number new_socket(int family, int type, int protocol) {
  int const fd = ::socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
  if (fd < 0) fail(errno, "skua: socket");
  return owned_number(fd);
}
owned_number new_socket(endpoint const& e, int type, int protocol) {
  if (!e.is_v4() && !e.is_v6()) throw std::invalid_argument("skua: an endpoint without an address");
  return new_socket(e.is_v6() ? AF_INET6 : AF_INET, type, protocol);
}
void bind_to(int fd, endpoint const& e, char const* what) {
  if (::bind(fd, static_cast<sockaddr const*>(e.native()), static_cast<socklen_t>(e.native_size())) != 0) fail(errno, what);
}

void expect_stream(int fd, char const* what) {
  if (get_option(fd, SOL_SOCKET, SO_TYPE, what) != SOCK_STREAM) fail(EPROTOTYPE, what);
  if (get_option(fd, SOL_SOCKET, SO_ACCEPTCONN, what) != 0) fail(EINVAL, what);
}
void expect_listening(int fd, char const* what) {
  if (get_option(fd, SOL_SOCKET, SO_ACCEPTCONN, what) == 0) fail(EINVAL, what);
  int const flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) fail(errno, what);
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

void set_buffer(int fd, int name, std::size_t size, char const* what) {
  set_option(fd, SOL_SOCKET, name, static_cast<int>(std::min<std::size_t>(size, INT_MAX)), what);
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
