// SPDX-License-Identifier: Apache-2.0
// cpu.hpp for 64-bit ARM. Built and run under emulation only (docs/platforms.md): the constants are guesses.
#pragma once
#if defined(__aarch64__)
#include <cstddef>
#include <cstdint>

#define SKUA_CPU_PRESERVES_MOST 0   // clang has it here too; never tried with coroutines

namespace skua::detail {

inline constexpr std::size_t cache_line = 64;         // of Arm's own server cores; what has 128 shares more than it needs, and works
inline constexpr std::uint64_t backoff_ticks = 200;   // 0.2 to 8 us: the counter runs at 25 MHz to 1 GHz
inline constexpr char cpu_ticks_clocksource[] = "none";   // its step is not architected: counters that say 1 GHz may go up by 40 at a time

// `yield` does nothing on cores without hardware threads, which is most of them; emptying the pipeline takes about as long as a pause of x86.
[[gnu::always_inline]] inline void cpu_pause() noexcept { asm volatile("isb" ::: "memory"); }

// The virtual counter: one for all processors. Reading it is not ordered, which is all right (cpu.hpp).
[[gnu::always_inline]] inline std::uint64_t cpu_ticks() noexcept {
  std::uint64_t t;
  asm volatile("mrs %0, cntvct_el0" : "=r"(t));
  return t;
}

} // namespace skua::detail
#endif
