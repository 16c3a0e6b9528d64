// SPDX-License-Identifier: Apache-2.0
// The word that every run queue carries: a pointer with a tag in its low bits (worker.hpp lists the tags). 0 is "nothing".
#pragma once
#include <cstdint>

namespace skua::detail {

using item = std::uintptr_t;

} // namespace skua::detail
