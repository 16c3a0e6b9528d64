// SPDX-License-Identifier: Apache-2.0
// Three fetches together, of 2, 5 and 7 s: seven seconds in all. when_all() gives the results in the order of its arguments.
#include "support/command_line.hpp"
#include <skua/runtime.hpp>
#include <skua/time.hpp>
#include <skua/when_all.hpp>
#include <chrono>
#include <cstdio>
#include <string>

using seconds = std::chrono::duration<double>;

static skua::task<std::string> fetch(std::string source, seconds delay) {
  co_await skua::sleep_for(delay);
  co_return "Data from " + source;
}

static skua::task<> fetch_all(double scale) {
  auto [users, orders, prices] = co_await skua::when_all(fetch("users", scale * seconds(2)),     //
                                                         fetch("orders", scale * seconds(5)),    //
                                                         fetch("prices", scale * seconds(7)));
  std::printf("%s\n%s\n%s\n", users.c_str(), orders.c_str(), prices.c_str());
}

int main(int argc, char** argv) {
  double scale = 1;
  example::command_line line("tutorial_gather", "Three fetches of 2, 5 and 7 s run together; their results are printed in order.");
  line.number("--scale", scale, 0, 1000, "multiplies the delays");
  line.parse(argc, argv);
  return line.run([&] { skua::run(fetch_all(scale)); });
}
