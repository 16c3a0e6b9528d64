// SPDX-License-Identifier: Apache-2.0
// resolve: names to addresses.
#pragma once
#include "endpoint.hpp"
#include "task.hpp"
#include <string>
#include <system_error>
#include <vector>

namespace skua {

// The addresses of `host` with the port of `service`, in the order in which they should be tried (getaddrinfo, RFC 6724). At least one.
//
// `host` is a name, or an address as text; empty: this machine. `service` is a number up to 65535, or a name of /etc/services; empty: 0. Numbers are
// converted at once; names are looked up on a thread of the runtime's blocking pool.
//
// Thread safety: on workers only.
// Stop: a suspension point, at once; a lookup that has begun goes on by itself on its thread, and its result is dropped. So while no name server answers,
// lookups that time out add up, and when they have all of options::max_blocking_threads, all other blocking work waits. The end of the
// runtime waits for those that have begun, as for all blocking work (S7).
// Errors: std::system_error with resolver_category() (EAI_NONAME: there is no such name, EAI_SERVICE: no such service, EAI_AGAIN: the name server does not
// answer), or system_category().
//
//     for (skua::endpoint const& e : co_await skua::resolve("example.org", "https")) ..
task<std::vector<endpoint>> resolve(std::string host, std::string service);

// Values are getaddrinfo's EAI_.. numbers. Name "skua.resolver".
std::error_category const& resolver_category() noexcept;

} // namespace skua
