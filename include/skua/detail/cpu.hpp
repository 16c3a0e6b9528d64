// SPDX-License-Identifier: Apache-2.0
// What depends on the processor: one small file each, cpu_x86_64.hpp and cpu_aarch64.hpp, which define the same names.
//
//     cache_line                  bytes that processors fight over. What two threads write lies in lines of its own; alignments of the library are its
//     cpu_pause()                 one step of a spin loop
//     cpu_ticks()                 a cheap counter; not a clock (driver.hpp), and not ordered with anything. Measured in it: how long stolen work took
//     cpu_ticks_clocksource       what the kernel calls that counter when it keeps time by it: then its rate is one for all processors, and
//                                 steady. "none" where it may go up by several at a time: INV-TICK-1 (scheduler/tick_clock.hpp) has no room for that
//     backoff_ticks               of it: how long detail/sync.hpp spins before it gives the processor away
//     SKUA_CPU_PRESERVES_MOST     whether [[clang::preserve_most]] is sound there
//
// Nothing else in here, and nothing in the library's sources, asks which processor it is. Futex words need no layout of their own: each is a 32-bit atomic,
// never a half of a wider one, so the order of bytes does not matter. Memory orders are those of C++: the models know no processor.
//
// A port to another one is a third file, a run of scripts/cross, and a line in docs/platforms.md. Pointers have 64 bits: layouts are asserted where they are.
#pragma once
#if defined(__x86_64__) && !defined(__ILP32__)
#include "cpu_x86_64.hpp"
#elif defined(__aarch64__) && !defined(__ILP32__)
#include "cpu_aarch64.hpp"
#else
#error "skua: unknown processor. x86-64 and aarch64 are supported; include/skua/detail/cpu.hpp says what another one needs"
#endif
