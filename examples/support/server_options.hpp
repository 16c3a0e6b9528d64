// SPDX-License-Identifier: Apache-2.0
// The options that both servers have.
#pragma once
#include "command_line.hpp"
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <skua/endpoint.hpp>
#include <skua/options.hpp>
#include <skua/serve.hpp>
#include <skua/tcp.hpp>
#include <string>

namespace example {

using seconds = std::chrono::duration<double>;

struct server_options {
  std::string host = "127.0.0.1";
  std::uint16_t port = 0;
  double grace_s = 10;
  skua::options runtime{};

  void add_to(command_line& line) {
    line.text("--host", host, "address to listen on");
    line.number("--port", port, 0, 65535, "port to listen on; 0: any free one");
    line.number("--workers", runtime.workers, 0, skua::options::max_workers, "worker threads; 0: one for each core");
    line.text("--backend", runtime.backend, "what waits in the kernel", {"auto", "epoll"});
    line.number("--grace", grace_s, 0, 3600, "seconds that requests in flight may take after SIGTERM or SIGINT");
  }
  std::chrono::milliseconds grace() const { return std::chrono::duration_cast<std::chrono::milliseconds>(seconds(grace_s)); }
  skua::serve_limits limits() const { return {.grace = grace()}; }

  // Listens, and says where. In the main task, not before: whoever reads it may send a signal at once.
  skua::tcp_listener listen() const {
    skua::tcp_listener listener = skua::tcp_listener::bind(skua::endpoint(host, port));
    std::printf("listening on %s\n", listener.local_endpoint().to_string().c_str());
    std::fflush(stdout);
    return listener;
  }
};

} // namespace example
