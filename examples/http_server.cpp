// SPDX-License-Identifier: Apache-2.0
// An HTTP/1.1 server: keep-alive, pipelining, limits on everything. On SIGTERM or SIGINT it stops accepting, answers what has arrived, and exits with 0.
//
//     GET /             Hello, world!
//     GET /sleep/MS     answers after so many milliseconds
//
// The protocol lives in http/; this file is what an application writes: a handler, and what serves a connection.
#include "http/connection.hpp"
#include "support/command_line.hpp"
#include "support/server_options.hpp"
#include <charconv>
#include <chrono>
#include <http_parser.h>
#include <skua/serve.hpp>
#include <skua/signal.hpp>
#include <skua/time.hpp>
#include <system_error>
#include <utility>

// Called for every request. It may wait: the other connections go on meanwhile.
static skua::task<http::response> handle(http::request const& r) {
  std::string_view path = r.path();
  if (r.method != HTTP_GET && r.method != HTTP_HEAD) co_return {405, "GET and HEAD only\n"};
  if (path == "/") co_return {200, "Hello, world!"};
  if (path.starts_with("/sleep/")) {
    unsigned ms = 0;
    path.remove_prefix(7);
    auto const [end, error] = std::from_chars(path.data(), path.data() + path.size(), ms);
    if (error == std::errc{} && end == path.data() + path.size()) {
      co_await skua::sleep_for(std::chrono::milliseconds(ms));
      co_return {200, "slept\n"};
    }
  }
  co_return {404, "not found\n"};
}

static skua::task<> talk(skua::tcp_stream stream, http::limits const& limits, skua::serving const& server) {
  http::connection c(stream, limits, handle, server);
  try {
    co_await c.run();
  } catch (std::system_error const&) {
    // The client is gone.
  } catch (skua::timeout_error const&) {
    // It takes no answers.
  }
}

static skua::task<> main_task(example::server_options const& options, http::limits const& limits) {
  auto const connection = [&](skua::tcp_stream stream, skua::serving const& server) { return talk(std::move(stream), limits, server); };
  co_await skua::serve(options.listen(), connection, options.limits());
}

int main(int argc, char** argv) {
  example::server_options options;
  double idle_s = 60, header_s = 10;
  example::command_line line("http_server", "Serves HTTP/1.1: GET / and GET /sleep/MILLISECONDS.");
  options.add_to(line);
  line.number("--idle-timeout", idle_s, 0.001, 86'400, "seconds that a connection may wait for its next request");
  line.number("--header-timeout", header_s, 0.001, 86'400, "seconds that a request may take to arrive");
  line.parse(argc, argv);

  auto const nanoseconds = [](double s) { return std::chrono::duration_cast<std::chrono::nanoseconds>(example::seconds(s)); };
  http::limits const limits{nanoseconds(idle_s), nanoseconds(header_s)};
  return line.run([&] { return skua::run_until_signal(main_task(options, limits), {SIGINT, SIGTERM}, options.grace(), options.runtime).exit_status(); });
}
