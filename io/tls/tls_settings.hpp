// SPDX-License-Identifier: Apache-2.0
// What a tls_context consists of.
#pragma once
#include "skua/tls.hpp"
#include <memory>
#include <openssl/ssl.h>
#include <string>

namespace skua::detail {

struct tls_settings {
  explicit tls_settings(SSL_METHOD const* method);
  struct end {
    void operator()(SSL_CTX* c) const noexcept { SSL_CTX_free(c); }
  };
  std::unique_ptr<SSL_CTX, end> context;
  std::string protocols;   // as ALPN has them: each behind its length
};

} // namespace skua::detail
