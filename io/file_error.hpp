// SPDX-License-Identifier: Apache-2.0
// What the file functions throw.
#pragma once
#include <cerrno>
#include <cstdint>
#include <string>
#include <system_error>

namespace skua::detail {

// `r`: -errno.
[[noreturn]] inline void file_failed(std::int64_t r, char const* verb, std::string const& path) {
  throw std::system_error(static_cast<int>(-r), std::system_category(), std::string("skua: cannot ") + verb + " '" + path + "'");
}

// The kernel would see a shorter path.
inline void check_path(std::string const& path) {
  if (path.find('\0') != std::string::npos) file_failed(-EINVAL, "open a path with a null character", path);
}

} // namespace skua::detail
