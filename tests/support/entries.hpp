// SPDX-License-Identifier: Apache-2.0
// How many descriptors or threads this process has: entries("/proc/self/fd"), entries("/proc/self/task"). To be compared: it counts ".", ".." and its own, too.
#pragma once
#include <dirent.h>

namespace skua_test {

// -1: it cannot be read.
inline int entries(char const* path) {
  DIR* const d = ::opendir(path);
  if (d == nullptr) return -1;
  int n = 0;
  while (::readdir(d) != nullptr) ++n;
  ::closedir(d);
  return n;
}

} // namespace skua_test
