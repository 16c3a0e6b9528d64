// SPDX-License-Identifier: Apache-2.0
// What a user's first program looks like, built outside the repository against an installed skua.
#include <skua/runtime.hpp>
#include <skua/task.hpp>
#include <cstdio>

skua::task<int> answer() { co_return 42; }

int main() {
  int const result = skua::run(answer());
  std::printf("the answer is %d\n", result);
  return result == 42 ? 0 : 1;
}
