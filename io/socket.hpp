// SPDX-License-Identifier: Apache-2.0
// Sockets as the kernel has them: what listeners, streams and connecting share. Errors: std::system_error.
#pragma once
#include "skua/endpoint.hpp"
#include <cerrno>
#include <cstddef>
#include <sys/types.h>

namespace skua::detail {

// A number that is closed unless it is taken.
class owned_number {
public:
  explicit owned_number(int n) noexcept : n_(n) {}
  owned_number(owned_number&& o) noexcept : n_(o.take()) {}
  ~owned_number();
  int get() const noexcept { return n_; }
  int take() noexcept;

private:
  int n_;
};

// Non-blocking, not inherited. The second: for an address of the same family.
owned_number new_socket(int family, int type, int protocol = 0);
owned_number new_socket(endpoint const& e, int type, int protocol);
void bind_to(int fd, endpoint const& e, char const* what);
// Is it a stream socket that is connected (or will be)? one that listens? Errors: std::system_error if not. The second makes it non-blocking: accept4() has
// no flag for a single call.
void expect_stream(int fd, char const* what);
void expect_listening(int fd, char const* what);
void set_option(int fd, int level, int name, int value, char const* what);
int get_option(int fd, int level, int name, char const* what);
void set_buffer(int fd, int name, std::size_t size, char const* what);   // SO_RCVBUF, SO_SNDBUF
endpoint local_endpoint_of(int fd);
endpoint peer_endpoint_of(int fd);

[[noreturn]] void fail(int error, char const* what);

// Makes a system call again as long as signals interrupt it.
template <class Call>
ssize_t retry(Call call) noexcept {
  ssize_t n;
  do n = call();
  while (n < 0 && errno == EINTR);
  return n;
}

} // namespace skua::detail
