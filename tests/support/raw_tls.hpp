// SPDX-License-Identifier: Apache-2.0
// A TLS peer that is not skua's: OpenSSL between two buffers. What it says, and when and in which pieces that comes to the other side, is for the test to
// decide.
#pragma once
#include "skua/task.hpp"
#include "skua/tls.hpp"
#include "skua/unix_socket.hpp"
#include <algorithm>
#include <array>
#include <cstddef>
#include <gtest/gtest.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace skua_test {

class raw_tls {
public:
  enum class role { client, server };
  // Of one of skua's contexts, for its certificates.
  raw_tls(role r, skua::tls_context const& c, skua::unix_stream wire) : raw_tls(r, static_cast<SSL_CTX*>(c.native_handle()), std::move(wire)) {}
  raw_tls(raw_tls const&) = delete;
  ~raw_tls() { SSL_free(ssl_); }

  SSL* ssl() const noexcept { return ssl_; }
  skua::unix_stream& wire() noexcept { return wire_; }

  skua::task<> handshake() {
    for (;;) {
      ERR_clear_error();
      int const r = SSL_do_handshake(ssl_);
      if (r <= 0 && SSL_get_error(ssl_, r) != SSL_ERROR_WANT_READ) throw std::runtime_error("raw_tls: handshake");
      co_await send(said());
      if (r == 1) co_return;
      co_await hear();
    }
  }
  // What it would send by now.
  std::string said() {
    std::string s(BIO_ctrl_pending(out_), 0);
    if (!s.empty()) {
      EXPECT_EQ(BIO_read(out_, s.data(), static_cast<int>(s.size())), static_cast<int>(s.size()));
    }
    return s;
  }
  // As records, to be sent when the test likes.
  std::string records_of(std::string_view plain) {
    EXPECT_EQ(SSL_write(ssl_, plain.data(), static_cast<int>(plain.size())), static_cast<int>(plain.size()));
    return said();
  }
  // It has a new key from here on, and asks for one. (OpenSSL answers when it is asked again, or writes.)
  std::string key_update() {
    EXPECT_EQ(SSL_key_update(ssl_, SSL_KEY_UPDATE_REQUESTED), 1);
    EXPECT_EQ(SSL_do_handshake(ssl_), 1);
    return said();
  }
  skua::task<> send(std::string bytes) { co_await wire_.write_all(bytes); }
  // Takes in what has come.
  skua::task<> hear() {
    std::array<std::byte, 16'384> b;
    std::size_t const n = co_await wire_.read_some(b);
    if (n == 0) throw std::runtime_error("raw_tls: the other side has closed");
    EXPECT_EQ(BIO_write(in_, b.data(), static_cast<int>(n)), static_cast<int>(n));
  }
  // So many bytes of plain text; "" once the other side has said that there are no more.
  skua::task<std::string> read(std::size_t n) {
    std::string s;
    while (s.size() < n) {
      std::array<char, 16'384> b;
      int const r = SSL_read(ssl_, b.data(), static_cast<int>(std::min(b.size(), n - s.size())));
      if (r > 0)
        s.append(b.data(), static_cast<std::size_t>(r));
      else if (SSL_get_error(ssl_, r) == SSL_ERROR_ZERO_RETURN)
        break;
      else if (SSL_get_error(ssl_, r) == SSL_ERROR_WANT_READ)
        co_await hear();
      else
        throw std::runtime_error("raw_tls: read");
    }
    co_return s;
  }

private:
  raw_tls(role r, SSL_CTX* c, skua::unix_stream wire) : ssl_(SSL_new(c)), in_(BIO_new(BIO_s_mem())), out_(BIO_new(BIO_s_mem())), wire_(std::move(wire)) {
    SSL_set_bio(ssl_, in_, out_);
    r == role::client ? SSL_set_connect_state(ssl_) : SSL_set_accept_state(ssl_);
  }
  SSL* ssl_;
  BIO *in_, *out_;
  skua::unix_stream wire_;
};

} // namespace skua_test
