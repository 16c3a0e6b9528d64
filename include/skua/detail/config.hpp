// SPDX-License-Identifier: Apache-2.0
// Attributes and checks that everything else is written with. What depends on the processor is in cpu.hpp.
//
// What a compiler lacks is left out here and nowhere else. SKUA_CHECK guards boundaries and stays in release builds; SKUA_DCHECK guards
// hot paths and is compiled into debug and sanitizer builds only. Neither is ever an assumption for the optimiser.
#pragma once
#include "compiler.hpp"
#include "cpu.hpp"

#define SKUA_INLINE [[gnu::always_inline]] inline
#define SKUA_NOINLINE [[gnu::noinline]]
#define SKUA_COLD [[gnu::noinline, gnu::cold]]

// A task is one pointer. With trivial_abi it travels in a register and the callee destroys it; without, the moved-from temporaries of
// `co_await when_all(f(), g())` live in the frame across the suspension, each with a test and a destructor call (242 against 193
// instructions a fork). It changes the calling convention, hence detail/abi.hpp.
#if __has_cpp_attribute(clang::trivial_abi)
#define SKUA_TRIVIAL_ABI [[clang::trivial_abi]]
#else
#define SKUA_TRIVIAL_ABI
#endif

// A cold call on a hot path keeps all registers, so that the hot path need not save any around it.
#if __has_cpp_attribute(clang::preserve_most) && SKUA_CPU_PRESERVES_MOST
#define SKUA_PRESERVE_MOST [[clang::preserve_most]]
#else
#define SKUA_PRESERVE_MOST
#endif

#if __has_cpp_attribute(clang::lifetimebound)
#define SKUA_LIFETIMEBOUND [[clang::lifetimebound]]
#else
#define SKUA_LIFETIMEBOUND
#endif

// A coroutine that is called in the expression that awaits it has its frame in that of whoever awaits (docs/compilers.md: what that gives, and costs).
#if __has_cpp_attribute(clang::coro_await_elidable)
#define SKUA_AWAIT_ELIDABLE [[clang::coro_await_elidable]]
#else
#define SKUA_AWAIT_ELIDABLE
#endif
#if __has_cpp_attribute(clang::coro_await_elidable_argument)
#define SKUA_AWAIT_ELIDABLE_ARGUMENT [[clang::coro_await_elidable_argument]]
#else
#define SKUA_AWAIT_ELIDABLE_ARGUMENT
#endif

#if defined(__SANITIZE_ADDRESS__)
#define SKUA_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SKUA_ASAN 1
#endif
#endif
#ifndef SKUA_ASAN
#define SKUA_ASAN 0
#endif

#if defined(__SANITIZE_THREAD__)
#define SKUA_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SKUA_TSAN 1
#endif
#endif
#ifndef SKUA_TSAN
#define SKUA_TSAN 0
#endif

#ifndef SKUA_ACCOUNTING
#define SKUA_ACCOUNTING 0
#endif

namespace skua::detail {

// Prints file, line and text to stderr and aborts. Never returns.
[[noreturn]] SKUA_COLD void check_failed(char const* what, char const* file, int line) noexcept;

// For the static_assert of what is instantiated only by mistake.
template <class...>
inline constexpr bool never = false;

} // namespace skua::detail

#define SKUA_CHECK(condition, what) \
  (__builtin_expect(!!(condition), 1) ? void() : ::skua::detail::check_failed(what, __FILE__, __LINE__))
#if SKUA_ACCOUNTING || !defined(NDEBUG)
#define SKUA_DCHECK(condition, what) SKUA_CHECK(condition, what)
#else
#define SKUA_DCHECK(condition, what) void()
#endif
