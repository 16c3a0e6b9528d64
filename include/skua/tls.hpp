// SPDX-License-Identifier: Apache-2.0
// tls_context and tls_stream: TLS 1.2 and 1.3 over connections, by OpenSSL 3. A program that includes this links skua::tls (pkg-config: skua-tls).
#pragma once
#include "stream_socket.hpp"
#include "task.hpp"
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace skua {

class tcp_stream;
class unix_stream;

namespace detail {
struct tls_settings;   // io/tls
struct tls_state;
struct tls_state_end {
  void operator()(tls_state* s) const noexcept;
};
} // namespace detail

// Of errors that OpenSSL has a number for.
std::error_category const& tls_category() noexcept;

// What the streams of a client, or of a server, have in common: whom it trusts, and who it is. Copies are the same context.
//
// Thread safety: to be used by any number of tasks at once; the setters before the first use. Errors: std::system_error (the kernel's code for a file that
// cannot be read; tls_category(): one that holds nothing of the kind, a key that does not fit, or is encrypted). Lifetime: streams keep what they need.
//
//     auto const context = skua::tls_context::server("chain.pem", "key.pem");
class tls_context {
public:
  // For clients. A server must show a certificate for the name that was asked for, by an authority that this machine trusts.
  static tls_context client();
  // For servers: PEM files with the certificate, followed by those that it depends on, and with its private key. Asks clients for nothing.
  static tls_context server(std::string const& chain_file, std::string const& key_file);

  // A move is a copy: there is none that is empty.
  tls_context(tls_context const&) noexcept = default;
  tls_context& operator=(tls_context const&) noexcept = default;

  // Trusts the authorities in this PEM file as well; or nobody else.
  void trust(std::string const& file);
  void trust_only(std::string const& file);
  // For clients: takes whatever certificate comes, or none. Whoever stands in between can read and change everything.
  void trust_anybody();
  // For servers: clients must show a certificate by an authority that this context trusts.
  void require_client_certificate();
  // For clients: the certificate to be shown to a server that asks.
  void use_certificate(std::string const& chain_file, std::string const& key_file);
  // ALPN (RFC 7301): protocols in order of preference, such as "h2", "http/1.1". If both sides name some and none is the same, the handshake fails.
  void set_protocols(std::vector<std::string> const& names);

  // An SSL_CTX*, for what is not here.
  void* native_handle() const noexcept;

private:
  friend class tls_stream;
  explicit tls_context(std::shared_ptr<detail::tls_settings> s) noexcept : settings_(std::move(s)) {}
  std::shared_ptr<detail::tls_settings> settings_;
};

// A connection under TLS. Movable; the last owner closes it.
//
// Thread safety: as a stream_socket: one task reads and one writes at a time; a second reader or writer is refused with usage_error (S18).
// Stop: every call is a suspension point, and loses nothing: what had come, or was to be sent, is kept. (read_exactly alone may have lost a part, as that of a
// stream_socket: S17.) A stopped write_all may have sent a part, and what it had encrypted goes out with the next call. A stopped shutdown_write is done by
// calling it again. A handshake that is stopped closes the connection.
// Errors: transfer_error: those of the connection; tls_category(): what OpenSSL refuses, or the peer, again and again from then on. bad_alloc.
// Lifetime: the stream must outlive its tasks; buffers as for a stream_socket.
//
//     auto stream = co_await skua::tls_stream::connect(context, "example.org", 443);
//     co_await stream.write_all("GET / HTTP/1.0\r\nHost: example.org\r\n\r\n");
class [[nodiscard("dropping a tls_stream closes the connection")]] tls_stream {
public:
  // A TCP connection, and the handshake. `host` is also the name that the server's certificate must be for. Errors: of tcp_stream::connect(); as client().
  static task<tls_stream> connect(tls_context context, std::string host, std::uint16_t port);
  // The handshake over a connection, from either side. `host`: a name, or an address as text. Errors: std::system_error (tls_category(), with what is wrong
  // with the certificate; end_of_stream; invalid_argument: `host` is neither).
  static task<tls_stream> client(tls_context context, tcp_stream over, std::string host);
  static task<tls_stream> client(tls_context context, unix_stream over, std::string host);
  static task<tls_stream> server(tls_context context, tcp_stream over);
  static task<tls_stream> server(tls_context context, unix_stream over);

  tls_stream() noexcept = default;   // not open

  // False: closed or moved from.
  explicit operator bool() const noexcept;
  // As close() of a stream_socket: any task that waits gets operation_canceled. The peer is not told in TLS: shutdown_write() does.
  void close() noexcept;

  // Waits until there is something to read; the number of bytes, at most `to.size()`. 0: the peer has said that it will send no more (or `to` is empty). If it
  // closed the connection without saying so, something may be missing: transfer_error with errc::end_of_stream.
  task<std::size_t> read_some(mutable_buffer to);
  // Fills all of `to`. transfer_error with errc::end_of_stream if the peer has sent less.
  task<> read_exactly(mutable_buffer to);
  // Writes all of `from`: returns when the kernel has it. Of one that fails the kernel has at least transferred() bytes.
  task<> write_all(const_buffer from);
  task<> write_all(std::string_view from);
  // Says that nothing more will be sent (close_notify), and half-closes the connection. Reading goes on. Counts as writing.
  task<> shutdown_write();
  // As shutdown_read() of a stream_socket: what has arrived can be read, then read_some() gives 0, though the peer has not said that it ends. A record that is
  // not there as a whole is lost.
  void shutdown_read() noexcept;

  // What was agreed on: "TLSv1.3"; the protocol of ALPN, "" for none.
  std::string version() const;
  std::string protocol() const;
  // The connection beneath, for its options. Do not read or write it. Errors of all three: std::system_error (bad_file_descriptor: moved from).
  stream_socket& socket() const;
  // An SSL*, for what is not here: while nobody else calls a member.
  void* native_handle() const noexcept;

private:
  explicit tls_stream(std::unique_ptr<detail::tls_state, detail::tls_state_end> s) noexcept : state_(std::move(s)) {}
  static task<tls_stream> shake_hands(std::unique_ptr<detail::tls_state, detail::tls_state_end> s);
  detail::tls_state& state() const;

  std::unique_ptr<detail::tls_state, detail::tls_state_end> state_;
};

} // namespace skua
