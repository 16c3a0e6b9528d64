// SPDX-License-Identifier: Apache-2.0
// Replaces operator new for the program that it is linked into. The forms that are not here call these.
#include "tests/support/allocation_count.hpp"
#include <atomic>
#include <cstdlib>
#include <new>

namespace {
std::atomic<std::uint64_t> count{0};
constinit thread_local bool none_left = false;
}   // namespace

std::uint64_t skua_test::allocations() noexcept { return count.load(std::memory_order_relaxed); }
skua_test::without_memory::without_memory() noexcept { none_left = true; }
skua_test::without_memory::~without_memory() { none_left = false; }

#if !SKUA_ASAN && !SKUA_TSAN
void* operator new(std::size_t n) {
  count.fetch_add(1, std::memory_order_relaxed);
  if (void* const p = none_left ? nullptr : std::malloc(n != 0 ? n : 1)) return p;
  throw std::bad_alloc{};
}
void* operator new(std::size_t n, std::align_val_t a) {
  count.fetch_add(1, std::memory_order_relaxed);
  auto const alignment = static_cast<std::size_t>(a);
  if (void* const p = none_left ? nullptr : std::aligned_alloc(alignment, (n + alignment - 1) / alignment * alignment)) return p;
  throw std::bad_alloc{};
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }
#endif
