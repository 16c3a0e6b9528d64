// SPDX-License-Identifier: Apache-2.0
// How often operator new was called in this process, for tests that say "allocates nothing"; and a thread for which it fails. Not under sanitizers, to whom
// operator new belongs.
//
//     SKIP_UNLESS_ALLOCATIONS_ARE_COUNTED();
//     auto const before = skua_test::allocations();
//     {
//       skua_test::without_memory const w;   // for this thread, until it is destroyed
//       EXPECT_THROW(f(), std::bad_alloc);
//     }
#pragma once
#include "skua/detail/config.hpp"
#include <cstdint>
#include <gtest/gtest.h>

namespace skua_test {

inline constexpr bool allocations_are_counted = !SKUA_ASAN && !SKUA_TSAN;
std::uint64_t allocations() noexcept;   // by all threads so far

class without_memory {
public:
  without_memory() noexcept;
  ~without_memory();
  without_memory(without_memory const&) = delete;
};

} // namespace skua_test

#define SKIP_UNLESS_ALLOCATIONS_ARE_COUNTED() \
  if (!skua_test::allocations_are_counted) GTEST_SKIP() << "operator new belongs to the sanitizer"
