// SPDX-License-Identifier: Apache-2.0
// The same with the optional component: skua/arena.hpp needs oneTBB.
#include <skua/arena.hpp>
#include <skua/runtime.hpp>
#include <skua/task.hpp>

skua::task<int> answer() { co_return 42; }

int main() { return skua::run(answer()) == 42 ? 0 : 1; }
