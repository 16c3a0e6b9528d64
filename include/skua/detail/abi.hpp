// SPDX-License-Identifier: Apache-2.0
// What a program and the library must have in common. If they differ they do not link, and the name of the missing symbol says why.
//
// Every object file that uses a task refers to one symbol of each namespace below; the library defines the ones that it was built with (scheduler/abi.cpp).
//
//   family       A task is one pointer. With trivial_abi, which only clang has, it travels in a register; without, in memory.
//   frames       Under AddressSanitizer, and with SKUA_NO_FRAME_POOL, coroutine frames come from operator new, else from a pool: inline code on both sides.
//                Under ThreadSanitizer the library must be, too, or each hand-over of a task inside it looks like a race.
//   library      The C++ standard library: what a task throws, and much that both sides hold, is of its types.
//   accounting   SKUA_ACCOUNTING counts every frame, in the same code.
#pragma once
#include "config.hpp"
#include <version>

#if __has_cpp_attribute(clang::trivial_abi)
#define SKUA_ABI_FAMILY clang
#else
#define SKUA_ABI_FAMILY GCC
#endif
#if SKUA_ASAN || defined(SKUA_NO_FRAME_POOL)
#define SKUA_ABI_FRAMES frames_from_operator_new
#elif SKUA_TSAN
#define SKUA_ABI_FRAMES frames_that_ThreadSanitizer_sees
#else
#define SKUA_ABI_FRAMES frames_from_a_pool
#endif
#if defined(_LIBCPP_VERSION)
#define SKUA_ABI_LIBRARY libcxx
#else
#define SKUA_ABI_LIBRARY libstdcxx
#endif
#if SKUA_ACCOUNTING
#define SKUA_ABI_ACCOUNTING with_SKUA_ACCOUNTING
#else
#define SKUA_ABI_ACCOUNTING without_SKUA_ACCOUNTING
#endif

namespace skua::link_error {

namespace libskua_must_be_built_by_the_same_compiler_family_as_this_object {
extern char const SKUA_ABI_FAMILY;
}
namespace libskua_must_be_built_with_the_same_sanitizer_as_this_object {
extern char const SKUA_ABI_FRAMES;
}
namespace libskua_must_be_built_with_the_same_standard_library_as_this_object {
extern char const SKUA_ABI_LIBRARY;
}
namespace libskua_must_be_built_with_the_same_SKUA_ACCOUNTING_as_this_object {
extern char const SKUA_ABI_ACCOUNTING;
}

} // namespace skua::link_error

namespace skua::detail {

// `static`: were it inline, the linker would keep one of all objects' and drop the others, with what they refer to. Retained, or --gc-sections would drop it.
#if __has_cpp_attribute(gnu::retain)
[[gnu::retain]]
#endif
[[gnu::used]] static char const* const needed_abi[] = {
    &link_error::libskua_must_be_built_by_the_same_compiler_family_as_this_object::SKUA_ABI_FAMILY,
    &link_error::libskua_must_be_built_with_the_same_sanitizer_as_this_object::SKUA_ABI_FRAMES,
    &link_error::libskua_must_be_built_with_the_same_standard_library_as_this_object::SKUA_ABI_LIBRARY,
    &link_error::libskua_must_be_built_with_the_same_SKUA_ACCOUNTING_as_this_object::SKUA_ABI_ACCOUNTING};

} // namespace skua::detail
