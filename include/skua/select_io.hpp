// SPDX-License-Identifier: Apache-2.0
// select over connections and descriptors: select.hpp with branches that wait for the kernel.
//
//     bool go_on = true;
//     while (go_on)
//       co_await skua::select(
//           skua::on(listener, [](skua::tcp_stream s) { skua::spawn_detached(serve, std::move(s)); }),
//           skua::on(reload.wait(), [&] { load(); }),
//           skua::on(skua::stopping, [&] { go_on = false; }));
#pragma once
#include "detail/io_branch.hpp"
#include "detail/listening.hpp"
#include "readiness.hpp"
#include "select.hpp"
#include "tcp.hpp"
#include <utility>

namespace skua {

// on(listener, f(tcp_stream)), or f(unix_stream): accept a connection, if it wins. A branch that loses has accepted nothing: the connection stays in the
// kernel's queue (S9).
//
// As accept() it passes over connections that broke, and pauses while there are no descriptors or memory; the other branches go on meanwhile.
// Stop: a connection that was accepted before is delivered (S4). Errors, thrown by the select: as accept(); usage_error while another task accepts (S18).
// Lifetime: the listener may be moved or closed while it waits.
template <class Stream, class F>
auto on(detail::listening<Stream>& l, F f) {
  return select_arm<typename detail::accept_branch_of<Stream>::spec, F>({l.handle().get(), l.handle().generation()}, std::move(f));
}

// on(readable(fd), f()), on(writable(fd), f()): fd was ready when it won; nothing was read or written.
//
// Errors, thrown by the select, and lifetime: as readable().
template <class F>
auto on(detail::readiness&& r, F f) {
  return select_arm<detail::ready_branch::spec, F>({&r.what(), r.number()}, std::move(f));
}

} // namespace skua
