// SPDX-License-Identifier: Apache-2.0
// A runtime does not survive fork() in the child: its threads are not there. Entry points ask here first.
#pragma once

namespace skua::detail {

// Throws usage_error in a process that was forked from one in which a runtime had been made.
void check_not_forked();
bool is_forked() noexcept;

} // namespace skua::detail
