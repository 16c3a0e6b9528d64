// SPDX-License-Identifier: Apache-2.0
// What tests change about the choice of an engine (scheduler/file_engine.hpp).
#pragma once

namespace skua::detail {

inline constexpr unsigned usual_in_ring = 512;         // requests in the kernel at once, of one runtime; a guess
inline constinit unsigned most_in_ring = usual_in_ring;   // read when a runtime is made

} // namespace skua::detail
