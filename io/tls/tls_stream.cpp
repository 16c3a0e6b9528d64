// SPDX-License-Identifier: Apache-2.0
// The members of tls_stream. tls_state.hpp has how the bytes go.
#include "io/tls/tls_state.hpp"
#include "skua/error.hpp"
#include "skua/io_error.hpp"
#include "skua/shield.hpp"
#include "skua/this_task.hpp"
#include "skua/tls.hpp"
#include <algorithm>
#include <arpa/inet.h>
#include <cerrno>
#include <netinet/in.h>
#include <openssl/x509v3.h>
#include <span>

namespace skua {

namespace detail {

namespace {

using state_ptr = std::unique_ptr<tls_state, tls_state_end>;

[[noreturn]] void fail(std::error_code error, char const* what, std::size_t transferred) {
  throw transfer_error(error, std::string("skua: tls ") + what, transferred);
}

// The right to read, or to write (S18).
class claim {
public:
  claim(std::atomic<bool>& taken, char const* what) : taken_(taken) {
    if (taken.exchange(true, std::memory_order_acquire))   // pairs with the destructor's release
      throw usage_error(std::string("skua: tls_stream: another task is in the middle of ") + what + "; one at a time");
  }
  claim(claim const&) = delete;
  ~claim() { taken_.store(false, std::memory_order_release); }

private:
  std::atomic<bool>& taken_;
};

bool is_address(std::string const& host) noexcept {
  in6_addr any;
  return ::inet_pton(AF_INET, host.c_str(), &any) == 1 || ::inet_pton(AF_INET6, host.c_str(), &any) == 1;
}

// Both as it stands in certificates: a final dot only says that the name is whole.
bool ask_for(tls_state& s, std::string host) {
  X509_VERIFY_PARAM* const p = SSL_get0_param(s.ssl);
  if (host.find('\0') != host.npos) return false;
  if (is_address(host)) return X509_VERIFY_PARAM_set1_ip_asc(p, host.c_str()) == 1;
  if (host.ends_with('.')) host.pop_back();
  X509_VERIFY_PARAM_set_hostflags(p, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  return !host.empty() && X509_VERIFY_PARAM_set1_host(p, host.data(), host.size()) == 1 && SSL_set_tlsext_host_name(s.ssl, host.c_str()) == 1;
}

template <class Stream>
state_ptr client_state(std::shared_ptr<tls_settings> settings, Stream&& over, std::string const& host) {
  state_ptr s(new tls_state(std::move(settings), std::move(over)));
  SSL_set_connect_state(s->ssl);
  if (!ask_for(*s, host)) {
    forget_tls_errors();
    throw std::system_error(std::make_error_code(std::errc::invalid_argument), "skua: tls_stream: \"" + host + "\" is no name of a server");
  }
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
  if (long const v = SSL_get_verify_result(s.ssl); v != X509_V_OK && SSL_get_verify_mode(s.ssl) != SSL_VERIFY_NONE)
    text += std::string(": certificate: ") + X509_verify_cert_error_string(v);
  return text;
}

// All that was said so far, but for what a peer does not take that has gone: that is the result.
task<std::error_code> flush_to_who_is_there(tls_state& s) {
  try {
    co_await flush(s);
  } catch (transfer_error const& e) {
    if (!is_gone(e.code())) throw;
    co_return e.code();
  }
  co_return std::error_code();
}

// A client may send all it has to say and leave, and wait for no session tickets.
bool may_have_gone(tls_state& s) noexcept { return SSL_is_server(s.ssl) && SSL_version(s.ssl) >= TLS1_3_VERSION; }

constexpr std::size_t record = 16'384, batch = 4 * record;   // of plain text: the longest record; what is encrypted before it is sent

// Of a writer: OpenSSL has to hear something first.
task<> hear_first(tls_state& s, step_result const& r, char const* what) {
  co_await flush(s);
  if (!co_await feed(s, r.heard)) fail(errc::end_of_stream, what, 0);
}

// 1: it is said, which is done once: a second time it would wait for the peer to say it, and for nothing else.
int say_the_end(SSL* ssl) noexcept {
  if (SSL_get_shutdown(ssl) & SSL_SENT_SHUTDOWN) return 1;
  if (SSL_in_init(ssl))
    if (int const r = SSL_do_handshake(ssl); r != 1) return r;
  return SSL_shutdown(ssl) >= 0 ? 1 : -1;
}

} // namespace

} // namespace detail

using detail::step;

// ------------------------------------------------------------------------------------------------ handshake

task<tls_stream> tls_stream::shake_hands(detail::state_ptr owned) {
  detail::tls_state& s = *owned;
  for (;;) {
    auto const r = detail::run(s, [](SSL* ssl, std::size_t&) { return SSL_do_handshake(ssl); });
    if (r.how == step::failed) {
      std::string const text = detail::handshake_failure(s);
      (void)co_await settle(detail::offer(s));   // the alert that tells the peer why
      throw std::system_error(r.error, text);
    }
    if (r.how == step::ended) throw transfer_error(errc::end_of_stream, "skua: TLS handshake", 0);
    std::error_code const gone = co_await detail::flush_to_who_is_there(s);
    if (r.how == step::done && gone && !detail::may_have_gone(s)) throw transfer_error(gone, "skua: TLS handshake", 0);
    if (r.how == step::done) co_return tls_stream(std::move(owned));
    if (!co_await detail::feed(s, r.heard)) throw transfer_error(errc::end_of_stream, "skua: TLS handshake", 0);
  }
}

task<tls_stream> tls_stream::connect(tls_context context, std::string host, std::uint16_t port) {
  auto over = co_await tcp_stream::connect(host, port);
  co_return co_await client(context, std::move(over), std::move(host));
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
  if (state_ == nullptr) throw transfer_error(std::error_code(EBADF, std::system_category()), "skua: tls_stream", 0);
  return *state_;
}

task<std::size_t> tls_stream::read_some(mutable_buffer to) {
  detail::tls_state& s = state();
  detail::claim const reader(s.reading, "reading");
  co_await this_task::checkpoint();   // S1: there may be plain text already
  if (to.empty()) co_return 0;
  for (;;) {
    auto const r = detail::run(s, [to](SSL* ssl, std::size_t& n) { return SSL_read_ex(ssl, to.data(), to.size(), &n); });
    if (r.how == step::done) co_return r.bytes;   // what there is to send goes with the next call: nothing may be awaited any more
    if (r.how == step::ended) co_return 0;
    if (r.how == step::failed) {
      (void)co_await settle(detail::offer(s));   // the alert that tells the peer why
      detail::fail(r.error, "read_some", 0);
    }
    co_await detail::answer(s);
    if (!co_await detail::feed(s, r.heard)) {
      if (s.socket.is_shut_for_reading()) co_return 0;
      detail::fail(errc::end_of_stream, "read_some", 0);
    }
  }
}

task<> tls_stream::read_exactly(mutable_buffer to) {
  if (to.empty()) co_await this_task::checkpoint();
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
  detail::claim const writer(s.writing, "writing");
  std::size_t encrypted = 0, sent = 0;
  try {
    for (;;) {
      co_await detail::flush(s);   // first what a stop has left: so there is never more than a batch
      sent = encrypted;
      if (sent == from.size()) co_return;
      detail::step_result r{step::done};
      for (std::size_t room = detail::batch; room != 0 && encrypted != from.size() && r.how == step::done;) {
        auto const part = from.subspan(encrypted, std::min({from.size() - encrypted, room, detail::record}));
        r = detail::run(s, [part](SSL* ssl, std::size_t& n) { return SSL_write_ex(ssl, part.data(), part.size(), &n); });
        encrypted += r.bytes;
        room -= part.size();
      }
      if (r.how == step::wants_input) co_await detail::hear_first(s, r, "write_all");
      if (r.how == step::ended) detail::fail(std::make_error_code(std::errc::broken_pipe), "write_all", 0);
      if (r.how == step::failed) detail::fail(r.error, "write_all", 0);
    }
  } catch (transfer_error const& e) {
    detail::fail(e.code(), "write_all", sent);
  }
}

task<> tls_stream::shutdown_write() {
  detail::tls_state& s = state();
  detail::claim const writer(s.writing, "writing");
  co_await this_task::checkpoint();
  for (;;) {
    auto const r = detail::run(s, [](SSL* ssl, std::size_t&) { return detail::say_the_end(ssl); });
    if (r.how == step::done) break;
    if (r.how != step::wants_input) detail::fail(r.how == step::failed ? r.error : errc::end_of_stream, "shutdown_write", 0);
    co_await detail::hear_first(s, r, "shutdown_write");
  }
  auto const turn = co_await s.sending.lock();   // a reader who answers would be a writer
  co_await detail::send_all(s);
  if (s.half_closed) co_return;   // the kernel may refuse it a second time: the peer has ended, too
  try {
    s.socket.shutdown_write();
  } catch (std::system_error const& e) {
    detail::fail(e.code(), "shutdown_write", 0);
  }
  s.half_closed = true;
}

tls_stream::operator bool() const noexcept { return state_ != nullptr && state_->socket; }

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
stream_socket& tls_stream::socket() const { return state().socket; }
void* tls_stream::native_handle() const noexcept { return state_ != nullptr ? state_->ssl : nullptr; }

} // namespace skua
