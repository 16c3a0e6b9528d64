// SPDX-License-Identifier: Apache-2.0
#include "io/descriptor.hpp"
#include "io/socket.hpp"
#include "skua/detail/io_branch.hpp"
#include "skua/tcp.hpp"
#include "skua/time.hpp"
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

namespace skua {

namespace detail {

namespace {

// accept(2) passes on errors that the connection has had already; they are nothing to us.
bool is_the_connections(int error) noexcept {
  return error == ECONNABORTED || error == EINTR || error == ENETDOWN || error == EPROTO || error == ENOPROTOOPT || error == EHOSTDOWN ||
         error == ENONET || error == EHOSTUNREACH || error == ENETUNREACH || error == EPERM;   // EPERM: a firewall
}
bool is_shortage(int error) noexcept { return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM; }

struct accept_operation : accept_wait {
  using accept_wait::accept_wait;
  bool await_ready() noexcept { return !attention() && spend_budget() && try_now(); }
  std::coroutine_handle<> await_suspend(own_coroutine h) { return start(h); }
  void await_resume() const noexcept {}
  int take() noexcept { return std::exchange(accepted, -1); }
};

io_step accept_one(io_operation& o) noexcept {
  auto& op = static_cast<accept_wait&>(o);
  op.last = io_operation::full;   // there may be more
  for (;;) {
    op.accepted = ::accept4(op.number(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (op.accepted >= 0 || !is_the_connections(errno)) break;
    if (!spend_budget()) return io_step::unfair;   // it may be so of every connection: a worker must not stay here, and a stop be seen
  }
  if (op.accepted >= 0) return io_step::done;
  if (errno == EAGAIN || errno == EWOULDBLOCK) {
    op.last = io_operation::drained;
    return io_step::blocked;
  }
  op.error = errno;
  return io_step::done;
}
constinit io_kind const accept_kind("accept", 0, accept_one);

// 10 ms: so a server without descriptors costs nothing worth mentioning; 160: so it recovers quickly.
constexpr std::chrono::milliseconds first_pause{10}, last_pause{160};

// Not a member: the listener may be moved, and closed, meanwhile.
task<tcp_stream> accept_from(descriptor* d, std::uint32_t generation) {
  for (auto pause = first_pause;; pause = std::min(2 * pause, last_pause)) {
    accept_operation op(d, generation);
    co_await op;
    if (op.error == 0) co_return tcp_stream(socket_handle(op.take()));
    if (!op.is_short()) throw_io_error(op);
    co_await sleep_for(pause);
  }
}

} // namespace

accept_wait::accept_wait(descriptor* d, std::uint32_t g) noexcept : io_wait(accept_kind, d, g) {}
accept_wait::~accept_wait() {
  if (accepted >= 0) ::close(accepted);
}
bool accept_wait::is_short() const noexcept { return is_shortage(error); }

} // namespace detail

tcp_listener tcp_listener::bind(endpoint at, listen_options const& o) {
  using detail::set_option;
  int const fd = detail::new_tcp_socket(at);
  try {
    char const* const what = "skua: tcp_listener::bind";
    if (o.reuse_address) set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1, what);
    if (o.reuse_port) set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1, what);
    if (at.is_v6()) set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, o.v6_only, what);
    if (o.no_delay) set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1, what);   // what is accepted inherits it
    if (::bind(fd, static_cast<sockaddr const*>(at.native()), static_cast<socklen_t>(at.native_size())) != 0) detail::fail(errno, what);
    if (::listen(fd, o.backlog) != 0) detail::fail(errno, what);
  } catch (...) {
    ::close(fd);
    throw;
  }
  return tcp_listener(detail::socket_handle(fd));
}

tcp_listener tcp_listener::adopt(int fd) {
  char const* const what = "skua: tcp_listener::adopt";
  if (detail::get_option(fd, SOL_SOCKET, SO_ACCEPTCONN, what) == 0) detail::fail(EINVAL, what);
  // accept4() has no flag for a single call.
  int const flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) detail::fail(errno, what);
  return tcp_listener(detail::socket_handle(fd));
}

task<tcp_stream> tcp_listener::accept() {
  return detail::accept_from(handle_.get(), handle_.generation());
}

endpoint tcp_listener::local_endpoint() const { return detail::local_endpoint_of(native_handle()); }

} // namespace skua
