// SPDX-License-Identifier: Apache-2.0
// Connecting: to an address, and to a name with several.
//
// "Happy Eyeballs" (RFC 8305, section 5): the addresses are tried in turn; the next one begins as soon as the one before has failed, or after 250 ms without
// an answer; the first connection wins, and the other attempts are stopped. So a network without working IPv6 costs a quarter of a second,
// not the two minutes of a connect that nobody answers.
#include "io/descriptor.hpp"
#include "io/socket.hpp"
#include "skua/future.hpp"
#include "skua/resolve.hpp"
#include "skua/tcp.hpp"
#include "skua/time.hpp"
#include "skua/timeout.hpp"
#include "skua/when_any.hpp"
#include <cerrno>
#include <chrono>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <vector>

namespace skua {

namespace detail {

namespace {

struct connect_operation : io_operation {
  endpoint to;
  connect_operation(io_kind const& k, socket_handle const& h, endpoint const& e) noexcept : io_operation(k, h.get(), h.generation()), to(e) {}
  bool await_ready() noexcept { return !attention() && spend_budget() && try_now(); }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> h) { return start(h); }
  void await_resume() const {
    if (error != 0) throw_io_error(*this);
  }
};

// The first call begins; later ones ask how it went (0, the connection's error, or EALREADY), so an event for nothing is no mistake.
io_step connect_once(io_operation& o) noexcept {
  auto& op = static_cast<connect_operation&>(o);
  op.last = io_operation::full;
  if (::connect(op.number(), static_cast<sockaddr const*>(op.to.native()), static_cast<socklen_t>(op.to.native_size())) == 0 || errno == EISCONN)
    return io_step::done;
  if (errno == EINPROGRESS || errno == EALREADY || errno == EINTR) {
    op.last = io_operation::drained;
    return io_step::blocked;
  }
  op.error = errno;
  return io_step::done;
}
constinit io_kind const connect_kind("connect", 1, connect_once);

constexpr std::chrono::milliseconds attempt_delay{250};   // RFC 8305, section 5

task<tcp_stream> attempt(endpoint to, promise<void> failed) {
  try {
    co_return co_await tcp_stream::connect(to);
  } catch (...) {
    failed.set_value();
    throw;
  }
}

task<> wait_for(future<void> f) { co_await f; }

task<tcp_stream> race(std::vector<endpoint> const& addresses, std::size_t first);

task<tcp_stream> next_attempts(future<void> failed, std::vector<endpoint> const& addresses, std::size_t first) {
  try {
    co_await timeout(attempt_delay, wait_for(std::move(failed)));
  } catch (timeout_error const&) {
  }
  co_return co_await race(addresses, first);
}

task<tcp_stream> race(std::vector<endpoint> const& addresses, std::size_t first) {
  if (first + 1 == addresses.size()) co_return co_await tcp_stream::connect(addresses[first]);
  std::exception_ptr error;
  try {
    promise<void> failed;
    future<void> has_failed = failed.get_future();
    auto won = co_await when_any(attempt(addresses[first], std::move(failed)), next_attempts(std::move(has_failed), addresses, first + 1));
    co_return std::visit([](auto&& s) -> tcp_stream { return std::move(s); }, std::move(won));
  } catch (all_failed const& e) {
    error = e.failures().front();   // that of the address that should have been best
  }
  std::rethrow_exception(error);
}

// So that the second attempt is made over the other kind of network (RFC 8305, section 4).
std::vector<endpoint> alternating(std::vector<endpoint> const& in) {
  std::vector<endpoint> out;
  std::vector<endpoint> of_first_family, of_other;
  for (endpoint const& e : in) (e.is_v6() == in.front().is_v6() ? of_first_family : of_other).push_back(e);
  for (std::size_t i = 0; out.size() != in.size(); ++i) {
    if (i < of_first_family.size()) out.push_back(of_first_family[i]);
    if (i < of_other.size()) out.push_back(of_other[i]);
  }
  return out;
}

} // namespace

} // namespace detail

task<tcp_stream> tcp_stream::connect(endpoint to) {
  tcp_stream stream(detail::socket_handle(detail::new_tcp_socket(to)));
  stream.set_no_delay(true);
  detail::connect_operation op(detail::connect_kind, stream.handle_, to);
  co_await op;
  co_return stream;
}

task<tcp_stream> tcp_stream::connect(std::string host, std::uint16_t port) {
  auto const addresses = detail::alternating(co_await resolve(std::move(host), std::to_string(port)));
  co_return co_await detail::race(addresses, 0);
}

} // namespace skua
