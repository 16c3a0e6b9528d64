// SPDX-License-Identifier: Apache-2.0
// Sends back whatever it receives, to any number of clients. On SIGTERM or SIGINT it stops accepting, sends back what has arrived, and exits with 0.
#include "support/command_line.hpp"
#include "support/connections.hpp"
#include "support/server_options.hpp"
#include <array>
#include <cstddef>
#include <skua/signal.hpp>
#include <skua/spawn.hpp>
#include <skua/tcp.hpp>
#include <system_error>

static skua::task<> echo(skua::tcp_stream stream, example::connections& open) {
  example::connections::entry const here(open, stream);
  std::array<std::byte, 1024> buffer;   // what an idle connection costs
  try {
    while (std::size_t const n = co_await stream.read_some(buffer)) co_await stream.write_all(skua::const_buffer(buffer).first(n));
  } catch (std::system_error const&) {
    // The client is gone: nobody is left to be told.
  }
}

static skua::task<> serve(example::server_options const& options, example::connections& open) {
  skua::tcp_listener listener = options.listen();
  auto const at_end = open.drained_at_end();   // a signal stops this task: its destructors run, then the connections end
  for (;;) skua::spawn_detached(echo, co_await listener.accept(), std::ref(open));
}

int main(int argc, char** argv) {
  example::server_options options;
  example::command_line line("echo_server", "Sends back what it receives.");
  options.add_to(line);
  line.parse(argc, argv);
  return line.run([&] {
    example::connections open;
    return skua::run_until_signal(serve(options, open), {SIGINT, SIGTERM}, options.grace(), options.runtime).exit_status();
  });
}
