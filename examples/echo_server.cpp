// SPDX-License-Identifier: Apache-2.0
// Sends back whatever it receives, to any number of clients. On SIGTERM or SIGINT it stops accepting, sends back what has arrived, and exits with 0.
#include "support/command_line.hpp"
#include "support/server_options.hpp"
#include <array>
#include <cstddef>
#include <skua/serve.hpp>
#include <skua/signal.hpp>
#include <skua/tcp.hpp>
#include <system_error>

static skua::task<> echo(skua::tcp_stream stream) {
  std::array<std::byte, 1024> buffer;   // what an idle connection costs
  try {
    while (std::size_t const n = co_await stream.read_some(buffer)) co_await stream.write_all(skua::const_buffer(buffer).first(n));
  } catch (std::system_error const&) {
    // The client is gone: nobody is left to be told.
  }
}

static skua::task<> main_task(example::server_options const& options) { co_await skua::serve(options.listen(), echo, options.limits()); }

int main(int argc, char** argv) {
  example::server_options options;
  example::command_line line("echo_server", "Sends back what it receives.");
  options.add_to(line);
  line.parse(argc, argv);
  return line.run([&] { return skua::run_until_signal(main_task(options), {SIGINT, SIGTERM}, options.grace(), options.runtime).exit_status(); });
}
