// SPDX-License-Identifier: Apache-2.0
// Chooses how files are read and written, once, at start.
#include "io/file_threads.hpp"
#include "io/file_uring.hpp"
#include <stdexcept>
#include <system_error>

namespace skua::detail {

std::unique_ptr<file_engine> make_file_engine(options const& o, blocking_pool& pool) {
  bool const can_watch = o.backend != "virtual";   // virtual time has no kernel to wait in
  if (o.files == "threads" || (o.files == "auto" && !can_watch)) return std::make_unique<file_threads>(pool);
  if (!can_watch) throw std::invalid_argument("skua: options.files = \"io_uring\" does not go with options.backend = \"virtual\"");
  try {
    return std::make_unique<file_uring>(pool);
  } catch (std::system_error const& e) {
    if (o.files == "auto") return std::make_unique<file_threads>(pool);
    throw std::system_error(e.code(), std::string("skua: options.files = \"io_uring\" is not possible here (\"auto\" would use threads): ") + e.what());
  }
}

} // namespace skua::detail
