// SPDX-License-Identifier: Apache-2.0
// How often operator new was called in this process, for tests that say "allocates nothing". Not under sanitizers, to whom operator new belongs.
//
//     SKIP_UNLESS_ALLOCATIONS_ARE_COUNTED();
//     auto const before = skua_test::allocations();
#pragma once
#include "skua/detail/config.hpp"
#include <cstdint>
#include <gtest/gtest.h>

namespace skua_test {

inline constexpr bool allocations_are_counted = !SKUA_ASAN && !SKUA_TSAN;
std::uint64_t allocations() noexcept;   // by all threads so far

} // namespace skua_test

#define SKIP_UNLESS_ALLOCATIONS_ARE_COUNTED() \
  if (!skua_test::allocations_are_counted) GTEST_SKIP() << "operator new belongs to the sanitizer"
