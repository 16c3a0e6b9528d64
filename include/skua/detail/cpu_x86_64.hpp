// SPDX-License-Identifier: Apache-2.0
// cpu.hpp for x86-64. Builtins, because the header of the intrinsics is dear to include.
#pragma once
#if defined(__x86_64__)
#include <cstddef>
#include <cstdint>

#define SKUA_CPU_PRESERVES_MOST 1

namespace skua::detail {

inline constexpr std::size_t cache_line = 64;
inline constexpr std::uint64_t backoff_ticks = 6'000;   // 1.5 to 3 us at 2 to 4 GHz
inline constexpr char cpu_ticks_clocksource[] = "tsc";

[[gnu::always_inline]] inline void cpu_pause() noexcept { __builtin_ia32_pause(); }

[[gnu::always_inline]] inline std::uint64_t cpu_ticks() noexcept { return __builtin_ia32_rdtsc(); }

} // namespace skua::detail
#endif
