// SPDX-License-Identifier: Apache-2.0
// Refuses compilers that miscompile coroutines, or that lack what the library is written with. It defines nothing.
//
// Measured construct by construct, each in its own process, at every optimisation level and under the sanitizers. Accepted: clang 19 and
// later, GCC 14.2 to 14.x, GCC 16.2 and later, newer ones than were measured, too (docs/compilers.md). What is refused corrupts memory or leaks
// in programs that follow every rule; but GCC 14.0 and 14.1, and compilers that are neither, were never tested. SKUA_UNSUPPORTED_COMPILER=1 turns the refusal
// into a message, at the user's own risk.
#pragma once

#ifndef __cplusplus
#error "skua is a C++ library"
#endif

#if defined(__EDG__) && !defined(__INTELLISENSE__)   // says that it is GCC or clang; as an editor's parser it compiles nothing
#if !defined(SKUA_UNSUPPORTED_COMPILER) || !SKUA_UNSUPPORTED_COMPILER
#error "skua: only clang (19 and later) and GCC (14.2 to 14.x, 16.2 and later) are known to compile it. Install Debian's clang-19 (or define SKUA_UNSUPPORTED_COMPILER=1 to go on at your own risk)."
#endif

#elif defined(__clang__)
#if __clang_major__ < 18
#if defined(SKUA_UNSUPPORTED_COMPILER) && SKUA_UNSUPPORTED_COMPILER
#pragma message("skua: clang before 18 writes into coroutine frames that were destroyed in await_suspend (LLVM 56301); you asked for it")
#else
#error "skua: clang before 18 writes into coroutine frames that were destroyed in await_suspend (LLVM 56301). Install Debian's clang-19 (or define SKUA_UNSUPPORTED_COMPILER=1 to go on at your own risk)."
#endif
#elif __clang_major__ == 18
#if defined(SKUA_UNSUPPORTED_COMPILER) && SKUA_UNSUPPORTED_COMPILER
#pragma message("skua: clang 18 keeps addresses of thread-locals in coroutines that go on in another thread; you asked for it")
#else
#error "skua: clang 18 keeps addresses of thread-locals in coroutines that go on in another thread, in some loops, also without sanitizers. Install Debian's clang-19 (or define SKUA_UNSUPPORTED_COMPILER=1 to go on at your own risk)."
#endif
#endif

#elif defined(__GNUC__)
#if __GNUC__ < 14
#if defined(SKUA_UNSUPPORTED_COMPILER) && SKUA_UNSUPPORTED_COMPILER
#pragma message("skua: GCC before 14 destroys temporaries of co_await expressions twice, or crashes on them (GCC 95599, 99576, 101367); you asked for it")
#else
#error "skua: GCC before 14 destroys temporaries of co_await expressions twice, or crashes on them (GCC 95599, 99576, 101367). Install Debian's clang-19, or g++-14 (or define SKUA_UNSUPPORTED_COMPILER=1 to go on at your own risk)."
#endif
#elif __GNUC__ == 14 && __GNUC_MINOR__ < 2
#if defined(SKUA_UNSUPPORTED_COMPILER) && SKUA_UNSUPPORTED_COMPILER
#pragma message("skua: GCC 14 before 14.2 was never tested; you asked for it")
#else
#error "skua: GCC 14 before 14.2 was never tested. Install Debian's g++-14, which is 14.2, or clang-19 (or define SKUA_UNSUPPORTED_COMPILER=1 to go on at your own risk)."
#endif
#elif __GNUC__ == 15
#if defined(SKUA_UNSUPPORTED_COMPILER) && SKUA_UNSUPPORTED_COMPILER
#pragma message("skua: GCC 15 leaks what `auto [a, b] = co_await ...` binds, or destroys what was never built (GCC 124584); you asked for it")
#else
#error "skua: GCC 15 leaks what `auto [a, b] = co_await ...` binds, or destroys what was never built (GCC 124584). Install Debian's clang-19, g++-14, or a g++-16 of 16.2 or later (or define SKUA_UNSUPPORTED_COMPILER=1 to go on at your own risk)."
#endif
#elif __GNUC__ == 16 && __GNUC_MINOR__ < 2
#if defined(SKUA_UNSUPPORTED_COMPILER) && SKUA_UNSUPPORTED_COMPILER
#pragma message("skua: GCC 16 before 16.2 leaks what `auto [a, b] = co_await ...` binds, or destroys what was never built (GCC 124584); you asked for it")
#else
#error "skua: GCC 16 before 16.2 leaks what `auto [a, b] = co_await ...` binds, or destroys what was never built (GCC 124584). Install Debian's clang-19, g++-14, or a newer g++-16 (or define SKUA_UNSUPPORTED_COMPILER=1 to go on at your own risk)."
#endif
#endif

#else
#error "skua: only clang (19 and later) and GCC (14.2 to 14.x, 16.2 and later) are known to compile it. Install Debian's clang-19."
#endif

// What no switch can make good.
#if !defined(__cpp_impl_coroutine)
#error "skua needs C++20 coroutines: compile with -std=c++20 or later."
#include <skua/needs_cpp20>   // is not there: ends the compilation, which would print two thousand lines about C++20's words
#endif
#if !defined(__cpp_exceptions)
#error "skua carries exceptions from task to task: compile without -fno-exceptions."
#endif
#if !defined(__cpp_rtti)
#error "skua catches and describes exceptions by their type: compile without -fno-rtti."
#endif
