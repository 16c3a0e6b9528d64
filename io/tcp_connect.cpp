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
#include "skua/shield.hpp"
#include "skua/tcp.hpp"
#include "skua/time.hpp"
#include "skua/timeout.hpp"
#include "skua/when_any.hpp"
#include <atomic>
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
  std::coroutine_handle<> await_suspend(own_coroutine h) { return start(h); }
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

// Two branches, of which one is enough. That an address does not answer is no failure as long as another one may: the first branch that fails ends without a
// word (a failure of a loser would go to the failure handler), the second one fails for both.
class contest {
public:
  // A branch has failed. False: so has the other one. acq_rel: what the first one wrote, to the second.
  [[nodiscard]] bool other_goes_on() noexcept { return left_.fetch_sub(1, std::memory_order_acq_rel) == 2; }
  std::exception_ptr error_of_first;   // of the address that should have been best

private:
  std::atomic<int> left_{2};
};

task<tcp_stream> attempt(endpoint to, promise<void> failed, contest& c) {
  try {
    co_return co_await tcp_stream::connect(to);
  } catch (...) {
    c.error_of_first = std::current_exception();
  }
  failed.set_value();
  if (c.other_goes_on()) co_await end_stopped{};
  std::rethrow_exception(c.error_of_first);
}

// False: it has not failed, and never will: it has its connection, or is stopped.
task<bool> has_failed(future<void> f) {
  try {
    co_await f;
    co_return true;
  } catch (broken_promise const&) {
  }
  co_return false;
}

task<tcp_stream> race(std::vector<endpoint> const& addresses, std::size_t first);

task<tcp_stream> next_attempts(future<void> failed, std::vector<endpoint> const& addresses, std::size_t first, contest& c) {
  std::exception_ptr error;
  try {
    bool needed = true;
    try {
      needed = co_await timeout(attempt_delay, has_failed(std::move(failed)));
    } catch (timeout_error const&) {
    }
    if (!needed) co_await end_stopped{};
    co_return co_await race(addresses, first);
  } catch (...) {
    error = std::current_exception();
  }
  if (c.other_goes_on()) co_await end_stopped{};
  std::rethrow_exception(error);
}

task<tcp_stream> race(std::vector<endpoint> const& addresses, std::size_t first) {
  if (first + 1 == addresses.size()) co_return co_await tcp_stream::connect(addresses[first]);
  contest c;
  try {
    promise<void> failed;
    future<void> result = failed.get_future();
    auto won = co_await when_any(attempt(addresses[first], std::move(failed), c), next_attempts(std::move(result), addresses, first + 1, c));
    co_return std::visit([](auto&& s) -> tcp_stream { return std::move(s); }, std::move(won));
  } catch (all_failed const&) {
  }
  std::rethrow_exception(c.error_of_first);
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
  tcp_stream stream(detail::socket_handle(detail::new_socket(to, SOCK_STREAM, IPPROTO_TCP).take(), tcp_stream::short_one));
  stream.set_no_delay(true);
  detail::connect_operation op(detail::connect_kind, stream.handle(), to);
  co_await op;
  co_return stream;
}

task<tcp_stream> tcp_stream::connect(std::string host, std::uint16_t port) {
  auto const addresses = detail::alternating(co_await resolve(std::move(host), std::to_string(port)));
  co_return co_await detail::race(addresses, 0);
}

} // namespace skua
