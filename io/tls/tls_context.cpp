// SPDX-License-Identifier: Apache-2.0
#include "io/tls/tls_settings.hpp"
#include "io/tls/tls_error.hpp"
#include <cstring>
#include <openssl/err.h>
#include <stdexcept>
#include <utility>

namespace skua {

namespace {

class category final : public std::error_category {
public:
  char const* name() const noexcept override { return "tls"; }
  std::string message(int value) const override {
    if (value == 0) return "unknown error";
    char const* const reason = ERR_reason_error_string(static_cast<unsigned>(value));
    return reason != nullptr ? reason : "error " + std::to_string(static_cast<unsigned>(value));
  }
};

constexpr unsigned char session_context[] = "skua";

} // namespace

std::error_category const& tls_category() noexcept {
  static category const one;
  return one;
}

namespace detail {

void forget_tls_errors() noexcept { ERR_clear_error(); }
std::error_code take_tls_error() noexcept {
  unsigned long const first = ERR_get_error();
  ERR_clear_error();
  if (ERR_SYSTEM_ERROR(first)) return {ERR_GET_REASON(first), std::system_category()};
  return {static_cast<int>(first), tls_category()};
}
void fail_tls(std::string const& what) {
  std::error_code const e = take_tls_error();
  throw std::system_error(e ? e : std::make_error_code(std::errc::protocol_error), what);
}

namespace {

// The password of a key that is encrypted. OpenSSL would ask for it at the terminal, and the program would stand still.
int no_password(char*, int, int, void* asked) {
  if (asked != nullptr) *static_cast<bool*>(asked) = true;
  return -1;
}

} // namespace

tls_settings::tls_settings(SSL_METHOD const* method) : context(SSL_CTX_new(method)) {
  if (context == nullptr) fail_tls("skua: tls_context");
  SSL_CTX_set_default_passwd_cb(context.get(), no_password);
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION);   // so that writing never has to read
  SSL_CTX_set_session_id_context(context.get(), session_context, sizeof session_context - 1);
}

namespace {

// ALPN of a server: its own preference decides.
int choose_protocol(SSL*, unsigned char const** chosen, unsigned char* size, unsigned char const* offered, unsigned offered_size, void* settings) {
  auto const& names = static_cast<tls_settings*>(settings)->protocols;
  unsigned char* out;
  auto const* const mine = reinterpret_cast<unsigned char const*>(names.data());
  if (SSL_select_next_proto(&out, size, mine, static_cast<unsigned>(names.size()), offered, offered_size) != OPENSSL_NPN_NEGOTIATED)
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  *chosen = out;
  return SSL_TLSEXT_ERR_OK;
}

void use_files(SSL_CTX* c, std::string const& chain, std::string const& key) {
  forget_tls_errors();
  if (SSL_CTX_use_certificate_chain_file(c, chain.c_str()) != 1) fail_tls("skua: certificate " + chain);
  bool encrypted = false;
  SSL_CTX_set_default_passwd_cb_userdata(c, &encrypted);
  bool const good = SSL_CTX_use_PrivateKey_file(c, key.c_str(), SSL_FILETYPE_PEM) == 1;
  SSL_CTX_set_default_passwd_cb_userdata(c, nullptr);
  if (!good) fail_tls("skua: private key " + key + (encrypted ? ", which is encrypted" : ""));
}

} // namespace

} // namespace detail

tls_context tls_context::client() {
  auto s = std::make_shared<detail::tls_settings>(TLS_client_method());
  SSL_CTX_set_verify(s->context.get(), SSL_VERIFY_PEER, nullptr);
  if (SSL_CTX_set_default_verify_paths(s->context.get()) != 1) detail::fail_tls("skua: the system's authorities");
  return tls_context(std::move(s));
}

tls_context tls_context::server(std::string const& chain_file, std::string const& key_file) {
  auto s = std::make_shared<detail::tls_settings>(TLS_server_method());
  detail::use_files(s->context.get(), chain_file, key_file);
  return tls_context(std::move(s));
}

void tls_context::trust(std::string const& file) {
  detail::forget_tls_errors();
  if (SSL_CTX_load_verify_file(settings_->context.get(), file.c_str()) != 1) detail::fail_tls("skua: authorities " + file);
}
void tls_context::trust_only(std::string const& file) {
  X509_STORE* const fresh = X509_STORE_new();
  if (fresh == nullptr) detail::fail_tls("skua: tls_context");
  SSL_CTX_set_cert_store(settings_->context.get(), fresh);   // it owns it
  trust(file);
}
void tls_context::trust_anybody() { SSL_CTX_set_verify(settings_->context.get(), SSL_VERIFY_NONE, nullptr); }
void tls_context::require_client_certificate() {
  SSL_CTX_set_verify(settings_->context.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
}
void tls_context::use_certificate(std::string const& chain_file, std::string const& key_file) {
  detail::use_files(settings_->context.get(), chain_file, key_file);
}

void tls_context::set_protocols(std::vector<std::string> const& names) {
  std::string all;
  for (std::string const& n : names) {
    if (n.empty() || n.size() > 255) throw std::invalid_argument("skua: a protocol's name has 1 to 255 bytes");
    all += static_cast<char>(n.size());
    all += n;
  }
  SSL_CTX* const c = settings_->context.get();
  settings_->protocols = all;
  // 0: it went well.
  if (SSL_CTX_set_alpn_protos(c, reinterpret_cast<unsigned char const*>(all.data()), static_cast<unsigned>(all.size())) != 0)
    detail::fail_tls("skua: set_protocols");
  SSL_CTX_set_alpn_select_cb(c, all.empty() ? nullptr : detail::choose_protocol, settings_.get());
}

void* tls_context::native_handle() const noexcept { return settings_->context.get(); }

} // namespace skua
