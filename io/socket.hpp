// SPDX-License-Identifier: Apache-2.0
// Sockets as the kernel has them: what listeners, streams and connecting share. Errors: std::system_error.
#pragma once
#include "skua/endpoint.hpp"

namespace skua::detail {

// Non-blocking, not inherited; TCP, for an address of the same family.
int new_tcp_socket(endpoint const& e);
void set_option(int fd, int level, int name, int value, char const* what);
int get_option(int fd, int level, int name, char const* what);
endpoint local_endpoint_of(int fd);
endpoint peer_endpoint_of(int fd);

[[noreturn]] void fail(int error, char const* what);

} // namespace skua::detail
