// SPDX-License-Identifier: Apache-2.0
// Two tasks at the same time: one takes 1 s, the other 2 s, and together they take 2 s, not 3.
//
// spawn() starts a task and gives a handle; co_await on the handle gives the task's result.
#include "support/command_line.hpp"
#include <skua/runtime.hpp>
#include <skua/spawn.hpp>
#include <skua/time.hpp>
#include <chrono>
#include <cstdio>

using namespace std::chrono_literals;

static skua::task<int> square(int n) {
  std::printf("The task started to calculate the square of %d\n", n);
  co_await skua::sleep_for(1s);   // the task waits; the thread does something else
  std::printf("The task to calculate the square of %d ended.\n", n);
  co_return n * n;
}

static skua::task<int> cube(int n) {
  std::printf("The task started to calculate the cube of %d\n", n);
  co_await skua::sleep_for(2s);
  std::printf("The task to calculate the cube of %d ended.\n", n);
  co_return n * n * n;
}

static skua::task<> calculate() {
  auto squaring = skua::spawn(square, 5);   // both run from here on
  auto cubing = skua::spawn(cube, 3);
  int const squared = co_await squaring;
  int const cubed = co_await cubing;
  std::printf("The square result is: %d\n", squared);
  std::printf("The cube result is: %d\n", cubed);
}

int main(int argc, char** argv) {
  example::command_line line("tutorial_tasks", "Two tasks run at the same time; their results are awaited. Takes two seconds.");
  line.parse(argc, argv);
  return line.run([] { skua::run(calculate()); });
}
