// SPDX-License-Identifier: Apache-2.0
// The same with the optional component: skua/tls.hpp needs OpenSSL.
#include <skua/runtime.hpp>
#include <skua/tls.hpp>
#include <skua/unix_socket.hpp>
#include <system_error>
#include <utility>

skua::task<> knock() {
  auto [mine, theirs] = skua::unix_stream::pair();
  theirs.close();
  (void)co_await skua::tls_stream::client(skua::tls_context::client(), std::move(mine), "nobody.test");
}

int main() try {
  skua::run(knock());
  return 1;
} catch (std::system_error const&) {
  return 0;
}
