// SPDX-License-Identifier: Apache-2.0
// Accepting connections of every kind.
#include "io/descriptor.hpp"
#include "skua/detail/io_branch.hpp"
#include "skua/detail/listening.hpp"
#include "skua/tcp.hpp"
#include "skua/time.hpp"
#include "skua/unix_socket.hpp"
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>

namespace skua::detail {

namespace {

// accept(2) passes on errors that the connection has had already; they are nothing to us.
bool is_the_connections(int error) noexcept {
  return error == ECONNABORTED || error == EINTR || error == ENETDOWN || error == EPROTO || error == ENOPROTOOPT || error == EHOSTDOWN ||
         error == ENONET || error == EHOSTUNREACH || error == ENETUNREACH || error == EPERM;   // EPERM: a firewall
}
bool is_shortage(int error) noexcept {
  return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM || error == ENOSPC;   // ENOSPC: fs.epoll.max_user_watches
}

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

} // namespace

template <class Stream>
task<Stream> accept_from(descriptor* d, std::uint32_t generation) {
  for (auto pause = first_pause;; pause = std::min(2 * pause, last_pause)) {
    accept_operation op(d, generation);
    co_await op;
    if (op.error == 0) co_return Stream(socket_handle(op.take(), Stream::short_one));
    if (op.error == EBADF && pause != first_pause) op.error = ECANCELED;   // S19: it was closed in the pause
    if (!op.is_short()) throw_io_error(op);
    co_await sleep_for(pause);
  }
}
template task<tcp_stream> accept_from<tcp_stream>(descriptor*, std::uint32_t);
template task<unix_stream> accept_from<unix_stream>(descriptor*, std::uint32_t);

accept_wait::accept_wait(descriptor* d, std::uint32_t g) noexcept : io_wait(accept_kind, d, g) {}
accept_wait::~accept_wait() {
  if (accepted >= 0) ::close(accepted);
}
bool accept_wait::is_short() const noexcept { return is_shortage(error); }

} // namespace skua::detail
