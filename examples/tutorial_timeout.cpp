// SPDX-License-Identifier: Apache-2.0
// A fetch that would take 15 s is given 10. timeout() stops it, waits until it has cleaned up, and throws timeout_error.
#include "support/command_line.hpp"
#include <skua/runtime.hpp>
#include <skua/time.hpp>
#include <skua/timeout.hpp>
#include <chrono>
#include <cstdio>
#include <string>

using seconds = std::chrono::duration<double>;

static skua::task<std::string> fetch(seconds delay) {
  co_await skua::sleep_for(delay);
  co_return "Data";
}

static skua::task<> fetch_with_a_limit(double scale) {
  try {
    std::string const data = co_await skua::timeout(scale * seconds(10), fetch(scale * seconds(15)));
    std::printf("%s\n", data.c_str());
  } catch (skua::timeout_error const&) {
    std::puts("Fetching data timed out");
  }
}

int main(int argc, char** argv) {
  double scale = 1;
  example::command_line line("tutorial_timeout", "A fetch of 15 s under a timeout of 10 s.");
  line.number("--scale", scale, 0, 1000, "multiplies the delays");
  line.parse(argc, argv);
  return line.run([&] { skua::run(fetch_with_a_limit(scale)); });
}
