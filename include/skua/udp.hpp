// SPDX-License-Identifier: Apache-2.0
// udp_socket.
#pragma once
#include "detail/datagram.hpp"
#include "detail/socket_handle.hpp"
#include "endpoint.hpp"
#include "stream_socket.hpp"
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

namespace skua {

struct udp_options {
  bool reuse_address = false;   // several sockets receive what is sent to a multicast group at this port
  bool reuse_port = false;      // several sockets have one port, and the kernel deals datagrams out among them, by their sender
  bool v6_only = false;         // for an IPv6 endpoint: no IPv4
};

// A UDP socket: datagrams, each of which arrives as a whole, or not at all, or twice, in any order. Movable; the last owner closes it.
//
// Sending and receiving try at once, on the worker that runs the task, and suspend only if the kernel has nothing or no room; they allocate nothing. A task
// that never has to wait lets others run from time to time (D11).
//
// Thread safety: at most one task receives and one sends at a time, on any workers; a second one is refused with usage_error (S18). close() may be called by
// any of them, or by a third, from any thread; whoever is about to send or receive then gets an error. Everything else: when nobody is about to call a member.
// Stop: every operation is a suspension point. A stopped one has sent or received nothing.
// Errors: std::system_error with the kernel's code. message_size: too large for a datagram (65,507 bytes over IPv4). connection_refused, of a connected
// socket only: the peer's machine has said that nobody receives there, to a datagram sent before; the socket stays good. operation_canceled: it was closed
// meanwhile (S19). bad_file_descriptor: it was not open to begin with. bad_alloc at a branch's first suspension; then nothing was sent or received.
// Lifetime: buffers must live until the operation has ended, which a coroutine's locals do, on every path. The socket may outlive its runtime.
//
//     auto socket = skua::udp_socket::bind(skua::endpoint::any(5353));
//     std::array<std::byte, 1500> buffer;
//     for (;;) {
//       auto const question = co_await socket.receive(buffer);
//       co_await socket.send_to(answer(std::span(buffer).first(question.size)), question.from);
//     }
class [[nodiscard("dropping a udp_socket closes it")]] udp_socket {
public:
  // Any thread, also before there is a runtime. Port 0: the kernel chooses one. Errors: std::system_error.
  static udp_socket bind(endpoint at, udp_options const& o = {});
  // Takes over a UDP socket. Its options stay as they are. Errors: std::system_error if it is none; then it stays the caller's.
  static udp_socket adopt(int descriptor);

  udp_socket() noexcept = default;   // not open

  explicit operator bool() const noexcept { return static_cast<bool>(handle_); }
  // -1 if it is not open. For options that skua does not know; never close it.
  int native_handle() const noexcept { return handle_.number(); }
  // Gives the descriptor up, which stays open, and as it is. usage_error while somebody sends or receives.
  int release() { return handle_.release(); }
  // A task that waits on it gets operation_canceled; the number is free when nobody uses it any more (S19).
  void close() noexcept { handle_.close(); }

  // From now on send() goes there, and only what comes from there is received. Sends nothing. Errors: std::system_error.
  void connect(endpoint to);

  // Waits for a datagram, and takes it. Give it a buffer as large as the largest that may come.
  detail::datagram_transfer<datagram> receive(mutable_buffer to) noexcept {
    return {detail::receive_datagram_kind, handle_.get(), handle_.generation(), to.data(), to.size(), endpoint{}};
  }
  // Sends one datagram: returns when the kernel has it. `to` has an address of the socket's own family. Empty datagrams are sent as well.
  detail::datagram_transfer<void> send_to(const_buffer message, endpoint const& to) noexcept { return make(detail::send_datagram_to_kind, message, to); }
  detail::datagram_transfer<void> send_to(std::string_view message, endpoint const& to) noexcept { return send_to(bytes(message), to); }
  // The same, to the peer of a connected socket. Errors: destination_address_required if it is not connected, as of send_to without an address.
  detail::datagram_transfer<void> send(const_buffer message) noexcept { return make(detail::send_datagram_kind, message, {}); }
  detail::datagram_transfer<void> send(std::string_view message) noexcept { return send(bytes(message)); }

  // Options. Errors: std::system_error.
  void set_broadcast(bool on);   // may send to broadcast addresses
  void set_receive_buffer(std::size_t size);   // in bytes; the kernel doubles it, and has limits. What comes while it is full is lost
  void set_send_buffer(std::size_t size);
  // What is sent to the multicast group (any port of `group`) is received as well. `interface`: its index, 0: the system chooses.
  void join_group(endpoint const& group, unsigned interface = 0);
  void leave_group(endpoint const& group, unsigned interface = 0);
  void set_multicast_hops(int hops);        // how far what is sent to groups goes; 1, within this network, to begin with
  void set_multicast_loop(bool on);         // whether it is received on this machine as well; it is, to begin with

  // Errors: std::system_error.
  endpoint local_endpoint() const;
  endpoint peer_endpoint() const;   // not_connected before connect()

private:
  explicit udp_socket(detail::socket_handle&& h) noexcept : handle_(std::move(h)) {}
  static const_buffer bytes(std::string_view s) noexcept { return std::as_bytes(std::span<char const>(s.data(), s.size())); }
  detail::datagram_transfer<void> make(detail::io_kind const& k, const_buffer b, endpoint const& to) noexcept {
    return {k, handle_.get(), handle_.generation(), const_cast<std::byte*>(b.data()), b.size(), to};
  }
  bool is_v6() const;

  detail::socket_handle handle_;
};

} // namespace skua
