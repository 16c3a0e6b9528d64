// SPDX-License-Identifier: Apache-2.0
// A tls_stream: OpenSSL between two buffers in memory, and the tasks that carry bytes between those and the socket.
//
//     in       from the socket, for OpenSSL. Filled by whoever reads (or shakes hands), and by nobody else
//     out      from OpenSSL, for the socket
//     unsent   taken from `out`, and not yet, or not wholly, sent. Belongs to whoever holds `sending`
//
// INV-TLS-1  OpenSSL's objects are touched under `lock`, which is held while it computes, never across a suspension.
// INV-TLS-2  What the socket gave is in `in` before anything else is awaited, and what was sent is off `unsent` likewise; both by operations that have moved
//            nothing if they were stopped. So a stop loses nothing, whatever it comes to.
// INV-TLS-3  When nobody holds `sending`, `out` and `unsent` are empty, but for what a stop has left, which the next one sends first. A reader, who may have
//            something to send as well (an answer to a new key), does not wait for a writer: that one, who may wait until the peer reads, looks again after
//            it has let go of `sending`.
#include "io/tls/tls_error.hpp"
#include "io/tls/tls_settings.hpp"
#include "skua/error.hpp"
#include "skua/io_error.hpp"
#include "skua/mutex.hpp"
#include "skua/shield.hpp"
#include "skua/tcp.hpp"
#include "skua/this_task.hpp"
#include "skua/tls.hpp"
#include "skua/unix_socket.hpp"
#include <algorithm>
#include <array>
#include <cerrno>
#include <mutex>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <span>
#include <utility>
#include <variant>

namespace skua {

namespace detail {

struct tls_state {
  std::variant<tcp_stream, unix_stream> owned;
  stream_socket& socket;
  std::shared_ptr<tls_settings> settings;
  std::mutex lock;
  SSL* ssl;
  BIO *in, *out;
  mutex sending;
  std::vector<std::byte> unsent;
  std::size_t sent = 0;   // of those
  std::array<std::byte, 16'384> received;

  template <class Stream>
  tls_state(std::shared_ptr<tls_settings> s, Stream&& over)
      : owned(std::move(over)), socket(std::get<std::remove_cvref_t<Stream>>(owned)), settings(std::move(s)), ssl(SSL_new(settings->context.get())),
        in(BIO_new(BIO_s_mem())), out(BIO_new(BIO_s_mem())) {
    if (ssl == nullptr || in == nullptr || out == nullptr) {
      SSL_free(ssl);
      BIO_free(in);
      BIO_free(out);
      fail_tls("skua: tls_stream");
    }
    SSL_set_bio(ssl, in, out);   // it owns them
  }
  tls_state(tls_state const&) = delete;
  ~tls_state() { SSL_free(ssl); }
};

void tls_state_end::operator()(tls_state* s) const noexcept { delete s; }

namespace {

using state_ptr = std::unique_ptr<tls_state, tls_state_end>;

enum class step { done, wants_input, ended, failed };
struct step_result {
  step how;
  std::size_t bytes = 0;
  std::error_code error{};
};

// f(ssl, bytes): one of OpenSSL's functions; above 0: it has done what it should.
template <class F>
step_result run(tls_state& s, F f) {
  std::lock_guard const guard(s.lock);
  ERR_clear_error();
  std::size_t bytes = 0;
  int const r = f(s.ssl, bytes);
  if (r > 0) return {step::done, bytes};
  switch (SSL_get_error(s.ssl, r)) {
  case SSL_ERROR_WANT_READ: return {step::wants_input};
  case SSL_ERROR_ZERO_RETURN: return {step::ended};
  default: return {step::failed, 0, take_tls_error()};
  }
}

bool has_output(tls_state& s) {
  std::lock_guard const guard(s.lock);
  return BIO_ctrl_pending(s.out) != 0;
}

// By the holder of `sending`.
task<> send_all(tls_state& s) {
  for (;;) {
    while (s.sent < s.unsent.size()) s.sent += co_await s.socket.write_some(std::span(s.unsent).subspan(s.sent));
    s.sent = 0;
    s.unsent.clear();
    std::lock_guard const guard(s.lock);
    std::size_t const n = BIO_ctrl_pending(s.out);
    if (n == 0) co_return;
    s.unsent.resize(n);
    std::size_t taken = 0;
    BIO_read_ex(s.out, s.unsent.data(), n, &taken);
    s.unsent.resize(taken);
  }
}

// Sends what there is, unless somebody else is at it, who will (INV-TLS-3).
task<> flush_if_free(tls_state& s) {
  while (has_output(s)) {
    auto const turn = s.sending.try_lock();
    if (!turn) co_return;
    co_await send_all(s);
  }
}

// Waits for its turn.
task<> flush(tls_state& s) {
  {
    auto const turn = co_await s.sending.lock();
    co_await send_all(s);
  }
  co_await flush_if_free(s);
}

// False: the peer has closed, or we have shut it.
task<bool> feed(tls_state& s) {
  std::size_t const n = co_await s.socket.read_some(s.received);
  if (n == 0) co_return false;
  std::lock_guard const guard(s.lock);
  std::size_t taken = 0;
  if (BIO_write_ex(s.in, s.received.data(), n, &taken) != 1 || taken != n) throw std::bad_alloc{};
  co_return true;
}

[[noreturn]] void fail(std::error_code error, char const* what, std::size_t transferred) {
  throw transfer_error(error, std::string("skua: tls ") + what, transferred);
}

bool is_address(std::string const& host) noexcept {
  in6_addr any;
  return ::inet_pton(AF_INET, host.c_str(), &any) == 1 || ::inet_pton(AF_INET6, host.c_str(), &any) == 1;
}

void expect_host(tls_state& s, std::string const& host) {
  X509_VERIFY_PARAM* const p = SSL_get0_param(s.ssl);
  bool good;
  if (is_address(host)) {
    good = X509_VERIFY_PARAM_set1_ip_asc(p, host.c_str()) == 1;
  } else {
    X509_VERIFY_PARAM_set_hostflags(p, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    good = !host.empty() && host.find('\0') == host.npos && X509_VERIFY_PARAM_set1_host(p, host.data(), host.size()) == 1 &&
           SSL_set_tlsext_host_name(s.ssl, host.c_str()) == 1;
  }
  if (!good) fail_tls("skua: tls_stream: \"" + host + "\" is no name of a server");
}

template <class Stream>
state_ptr client_state(std::shared_ptr<tls_settings> settings, Stream&& over, std::string const& host) {
  state_ptr s(new tls_state(std::move(settings), std::move(over)));
  SSL_set_connect_state(s->ssl);
  expect_host(*s, host);
  return s;
}
template <class Stream>
state_ptr server_state(std::shared_ptr<tls_settings> settings, Stream&& over) {
  state_ptr s(new tls_state(std::move(settings), std::move(over)));
  SSL_set_accept_state(s->ssl);
  return s;
}

std::string handshake_failure(tls_state& s) {
  std::string text = "skua: TLS handshake";
  if (long const v = SSL_get_verify_result(s.ssl); v != X509_V_OK) text += std::string(": certificate: ") + X509_verify_cert_error_string(v);
  return text;
}

constexpr std::size_t record = 16'384, batch = 4 * record;   // of plain text: the longest record; what is encrypted before it is sent

} // namespace

} // namespace detail

using detail::step;

// ------------------------------------------------------------------------------------------------ handshake

task<tls_stream> tls_stream::shake_hands(detail::state_ptr owned) {
  detail::tls_state& s = *owned;
  for (;;) {
    auto const r = detail::run(s, [](SSL* ssl, std::size_t&) { return SSL_do_handshake(ssl); });
    std::string const text = r.how == step::failed ? detail::handshake_failure(s) : "";
    if (r.how == step::failed) (void)co_await settle(detail::flush(s));   // the alert that tells the peer why
    if (r.how == step::failed || r.how == step::ended) throw std::system_error(r.error, text);
    co_await detail::flush(s);
    if (r.how == step::done) co_return tls_stream(std::move(owned));
    if (!co_await detail::feed(s)) throw transfer_error(errc::end_of_stream, "skua: TLS handshake", 0);
  }
}

task<tls_stream> tls_stream::connect(tls_context context, std::string host, std::uint16_t port) {
  auto over = co_await tcp_stream::connect(host, port);
  co_return co_await client(std::move(context), std::move(over), std::move(host));
}
task<tls_stream> tls_stream::client(tls_context context, tcp_stream over, std::string host) {
  co_return co_await shake_hands(detail::client_state(context.settings_, std::move(over), host));
}
task<tls_stream> tls_stream::client(tls_context context, unix_stream over, std::string host) {
  co_return co_await shake_hands(detail::client_state(context.settings_, std::move(over), host));
}
task<tls_stream> tls_stream::server(tls_context context, tcp_stream over) {
  co_return co_await shake_hands(detail::server_state(context.settings_, std::move(over)));
}
task<tls_stream> tls_stream::server(tls_context context, unix_stream over) {
  co_return co_await shake_hands(detail::server_state(context.settings_, std::move(over)));
}

// ------------------------------------------------------------------------------------------------ bytes

detail::tls_state& tls_stream::state() const {
  if (state_ == nullptr) throw std::system_error(EBADF, std::system_category(), "skua: tls_stream");
  return *state_;
}

task<std::size_t> tls_stream::read_some(mutable_buffer to) {
  detail::tls_state& s = state();
  co_await this_task::checkpoint();   // S1: there may be plain text already
  if (to.empty()) co_return 0;
  for (;;) {
    auto const r = detail::run(s, [to](SSL* ssl, std::size_t& n) { return SSL_read_ex(ssl, to.data(), to.size(), &n); });
    if (r.how == step::done) co_return r.bytes;   // what there is to send goes with the next call: nothing may be awaited any more
    if (r.how == step::ended) co_return 0;
    if (r.how == step::failed) detail::fail(r.error, "read_some", 0);
    co_await detail::flush_if_free(s);
    if (!co_await detail::feed(s)) {
      if (s.socket.is_shut_for_reading()) co_return 0;
      detail::fail(errc::end_of_stream, "read_some", 0);
    }
  }
}

task<> tls_stream::read_exactly(mutable_buffer to) {
  for (std::size_t done = 0; done < to.size();) {
    std::size_t n;
    try {
      n = co_await read_some(to.subspan(done));
    } catch (transfer_error const& e) {
      detail::fail(e.code(), "read_exactly", done);
    }
    if (n == 0) detail::fail(errc::end_of_stream, "read_exactly", done);
    done += n;
  }
}

task<> tls_stream::write_all(std::string_view from) {
  return write_all(std::as_bytes(std::span<char const>(from.data(), from.size())));
}
task<> tls_stream::write_all(const_buffer from) {
  detail::tls_state& s = state();
  for (;;) {
    co_await detail::flush(s);   // first what a stop has left: so there is never more than a batch
    if (from.empty()) co_return;
    for (std::size_t room = detail::batch; room != 0 && !from.empty();) {
      auto const part = from.first(std::min({from.size(), room, detail::record}));
      auto const r = detail::run(s, [part](SSL* ssl, std::size_t& n) { return SSL_write_ex(ssl, part.data(), part.size(), &n); });
      if (r.how != step::done) detail::fail(r.how == step::ended ? std::make_error_code(std::errc::broken_pipe) : r.error, "write_all", 0);
      from = from.subspan(r.bytes);
      room -= part.size();
    }
  }
}

task<> tls_stream::shutdown_write() {
  detail::tls_state& s = state();
  // 0: it is said, and the peer has not said it yet.
  auto const r = detail::run(s, [](SSL* ssl, std::size_t&) { return SSL_shutdown(ssl) >= 0 ? 1 : -1; });
  if (r.how == step::failed) detail::fail(r.error, "shutdown_write", 0);
  co_await detail::flush(s);
  s.socket.shutdown_write();
}

void tls_stream::close() noexcept {
  if (state_ != nullptr) state_->socket.close();
}

void tls_stream::shutdown_read() noexcept {
  if (state_ != nullptr) state_->socket.shutdown_read();
}

std::string tls_stream::version() const {
  detail::tls_state& s = state();
  std::lock_guard const guard(s.lock);
  return SSL_get_version(s.ssl);
}
std::string tls_stream::protocol() const {
  detail::tls_state& s = state();
  std::lock_guard const guard(s.lock);
  unsigned char const* name = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(s.ssl, &name, &size);
  return {reinterpret_cast<char const*>(name), size};
}
stream_socket& tls_stream::socket() const noexcept { return state_->socket; }
void* tls_stream::native_handle() const noexcept { return state_ != nullptr ? state_->ssl : nullptr; }

} // namespace skua
