// SPDX-License-Identifier: Apache-2.0
// What OpenSSL has to say, as exceptions. Its errors stand in a queue of the thread: they are taken before anything is awaited.
#pragma once
#include "skua/tls.hpp"
#include <string>
#include <system_error>

namespace skua::detail {

// Others may have left some there: before OpenSSL is called.
void forget_tls_errors() noexcept;
// The first one; the queue is empty then. Of the operating system (a file that is not there): its own number. None, if OpenSSL gives none.
std::error_code take_tls_error() noexcept;
[[noreturn]] void fail_tls(std::string const& what);   // with that one, or protocol_error

} // namespace skua::detail
