// SPDX-License-Identifier: Apache-2.0
// The one place from which hot paths report that memory has run out.
//
// A function with SKUA_PRESERVE_MOST must be noexcept: when an exception leaves it, the unwinder restores only the registers that the usual
// convention preserves, and the handler reads garbage from the others (clang 19, x86-64). So cold paths return "no memory", and the inline
// caller calls this.
#pragma once
#include "config.hpp"
#include <new>

namespace skua::detail {

[[noreturn]] SKUA_COLD inline void throw_bad_alloc() { throw std::bad_alloc{}; }

} // namespace skua::detail
