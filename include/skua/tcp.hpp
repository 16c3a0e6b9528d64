// SPDX-License-Identifier: Apache-2.0
// tcp_stream and tcp_listener.
#pragma once
#include "detail/listening.hpp"
#include "detail/socket_handle.hpp"
#include "endpoint.hpp"
#include "stream_socket.hpp"
#include "task.hpp"
#include <chrono>
#include <cstdint>
#include <string>
#include <utility>

namespace skua {

// A TCP connection: reads and writes as a stream_socket does. Movable; the last owner closes it.
class [[nodiscard("dropping a tcp_stream closes the connection")]] tcp_stream : public stream_socket {
public:
  // Resolves `host` (a name, or an address as text), and tries its addresses one after the other, a quarter of a second apart at most, until one answers
  // (RFC 8305); TCP_NODELAY is on. If none does: the error of the first. Errors: std::system_error; of resolve().
  static task<tcp_stream> connect(std::string host, std::uint16_t port);
  static task<tcp_stream> connect(endpoint to);
  // Takes over a connected stream socket. Its options stay as they are. Errors: std::system_error if it is no stream socket; then it stays the caller's.
  static tcp_stream adopt(int descriptor);

  tcp_stream() noexcept = default;   // not open

  // Options. Errors: std::system_error.
  void set_no_delay(bool on);   // TCP_NODELAY: on for streams that were connected or accepted
  void set_keep_alive(bool on);
  // Asks the peer after `idle` of silence, then every `interval`; gives up after `count` times without an answer. In whole seconds, 1 at least.
  void set_keep_alive(std::chrono::seconds idle, std::chrono::seconds interval, int count);
  // 0: close() discards what was not sent, and resets the connection. More: close() and dropping the stream *block their thread*, a worker as a rule, until
  // the peer has acknowledged everything, for as long as this: shut down and read to the end instead.
  void set_linger(std::chrono::seconds limit);

  // Errors: std::system_error.
  endpoint local_endpoint() const;
  endpoint peer_endpoint() const;

  // For skua's own parts.
  static constexpr auto short_one = detail::short_transfer::means_blocked;
  explicit tcp_stream(detail::socket_handle&& h) noexcept : stream_socket(std::move(h)) {}
};

struct listen_options {
  int backlog = 4096;           // connections that wait to be accepted; the kernel's net.core.somaxconn is a limit
  bool reuse_address = true;    // a server may be restarted while old connections are in TIME_WAIT
  bool reuse_port = false;      // several sockets listen on one port, and the kernel deals connections out among them
  bool v6_only = false;         // for an IPv6 endpoint: no IPv4 connections
  bool no_delay = true;         // TCP_NODELAY for what is accepted
};

// A listening TCP socket. detail/listening.hpp has accept(), close() and the rest.
//
//     auto listener = skua::tcp_listener::bind(skua::endpoint::any(8080));
//     for (;;) skua::spawn_detached(serve, co_await listener.accept());
//
// on(listener, f) accepts in a select (select_io.hpp).
class [[nodiscard("dropping a tcp_listener closes it")]] tcp_listener : public detail::listening<tcp_stream> {
public:
  // Listens at once; any thread, also before there is a runtime. Port 0: the kernel chooses one, see local_endpoint(). Errors: std::system_error.
  static tcp_listener bind(endpoint at, listen_options const& o = {});
  // Takes over a listening TCP socket. Errors: std::system_error if it is none; then it stays the caller's.
  static tcp_listener adopt(int descriptor);

  tcp_listener() noexcept = default;   // not open

  // Errors: std::system_error.
  endpoint local_endpoint() const;

private:
  explicit tcp_listener(detail::socket_handle&& h) noexcept : listening(std::move(h)) {}
};

} // namespace skua
