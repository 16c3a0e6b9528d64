// SPDX-License-Identifier: Apache-2.0
// Does epoll wake the thread that began to wait last? It does since Linux 2.6, and no document says so. The hand-over between workers and I/O thread is
// cheap because of it, and correct without it (epoll_driver.hpp).
//
// Probed once a process, by the first I/O thread, before it begins: two threads wait in one set, the second one surely later than the first, and
// a timer fires. About 0.3 ms.
#pragma once

namespace skua::detail {

enum class epoll_order : unsigned char {
  unknown,        // not probed yet, or the probe did not come about (no thread, a very busy machine)
  latest_first,
  another
};

// Any thread. The first call probes; later ones return its result.
epoll_order probe_epoll_order() noexcept;
// Any thread, at once.
epoll_order known_epoll_order() noexcept;

} // namespace skua::detail
