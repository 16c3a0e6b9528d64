// SPDX-License-Identifier: Apache-2.0
// Chooses how files are read and written, once, at start.
#include "io/file_engines.hpp"
#include "io/epoll_driver.hpp"
#include "io/file_threads.hpp"
#include "io/file_uring.hpp"
#include "scheduler/file_engine.hpp"
#include <stdexcept>
#include <string>
#include <system_error>

namespace skua::detail {

std::unique_ptr<file_engine> make_file_engine(options const& o, blocking_pool& pool, driver& d) {
  auto* const epoll = dynamic_cast<epoll_driver*>(&d);   // null: nothing that could watch a ring
  if (o.files == "threads" || (o.files == "auto" && epoll == nullptr)) return std::make_unique<file_threads>(pool);
  if (epoll == nullptr) throw std::invalid_argument("skua: options.files = \"io_uring\" does not go with the back end \"" + std::string(d.name()) + '"');
  try {
    auto ring = std::make_unique<file_uring>(pool, most_in_ring);
    epoll->watch(ring->event_descriptor(), *ring);
    return ring;
  } catch (std::system_error const& e) {
    if (o.files == "auto") return std::make_unique<file_threads>(pool);
    throw std::system_error(e.code(), "skua: options.files = \"io_uring\" is not possible here (\"auto\" would use threads)");
  }
}

} // namespace skua::detail
