// SPDX-License-Identifier: Apache-2.0
// A connection pool (support/connection_pool.hpp) in a small gateway: lines from many clients go to one upstream server, over a few connections.
//
//     client ==lines==> gateway ==a line, over a leased connection==> upstream        stats: what the gateway says of its pool
//
// However many clients there are, the upstream sees no more than --connections connections, and they are served in order. A connection that the upstream has
// closed is noticed before it is used, and one that it closes at that very moment costs a second try. An upstream that is away or silent costs its clients an
// error each, in time; when it is back, all goes on. On SIGTERM who has a connection gets its answer, who waits for one is told, and all are closed.
//
// usage: connection_pool [--port N] [--upstream N]           then: nc 127.0.0.1 PORT
#include "support/connection_pool.hpp"
#include "support/command_line.hpp"
#include "support/server_options.hpp"
#include <cctype>
#include <chrono>
#include <cstdio>
#include <skua/buffered_reader.hpp>
#include <skua/event.hpp>
#include <skua/serve.hpp>
#include <skua/signal.hpp>
#include <skua/spawn.hpp>
#include <skua/tcp.hpp>
#include <skua/timeout.hpp>
#include <skua/when_all.hpp>
#include <string>
#include <system_error>
#include <utility>

struct settings {
  example::server_options server{};
  std::uint16_t upstream = 0;
  std::size_t connections = 4;
  int patience_ms = 2000, reply_ms = 2000;
};

// ---------------------------------------------------------------- to the upstream

static skua::task<std::string> exchange(skua::tcp_stream& stream, std::string request) {
  request += '\n';
  co_await stream.write_all(request);
  skua::buffered_reader reader(stream);
  auto const answer = co_await reader.read_line();
  if (!answer) throw std::system_error(std::make_error_code(std::errc::connection_reset));
  co_return std::string(*answer);
}

static skua::task<std::string> ask(example::connection_pool& pool, std::string request, settings const& s) {
  using std::chrono::milliseconds;
  for (bool first = true;; first = false) {
    auto lease = co_await skua::timeout(milliseconds(s.patience_ms), pool.acquire());
    bool const once_more = first && lease.is_reused();
    try {
      std::string answer = co_await skua::timeout(milliseconds(s.reply_ms), exchange(lease.stream(), request));
      lease.keep();
      co_return answer;
    } catch (std::system_error const&) {
      if (!once_more) throw;   // these requests can be repeated: asking twice is not worse than asking once
    }
  }
}

static skua::task<std::string> answer_to(example::connection_pool& pool, std::string request, settings const& s) {
  if (request == "stats") {
    auto const& c = pool.counts();
    co_return "open " + std::to_string(c.open) + " idle " + std::to_string(c.idle) + " waiting " + std::to_string(c.waiting) + " made " +
           std::to_string(c.made) + " reused " + std::to_string(c.reused) + " discarded " + std::to_string(c.discarded);
  }
  std::string trouble;
  try {
    co_return co_await ask(pool, request, s);
  } catch (skua::timeout_error const&) {
    trouble = "timed out";
  } catch (std::system_error const& e) {
    trouble = e.code().message();
  } catch (example::pool_closed const& e) {
    trouble = e.what();
  }
  co_return "error: " + trouble;
}

// ---------------------------------------------------------------- clients

static skua::task<> talk(skua::tcp_stream stream, example::connection_pool& pool, settings const& s) {
  skua::buffered_reader reader(stream);
  try {
    while (auto const request = co_await reader.read_line()) {
      std::string const answer = co_await answer_to(pool, std::string(*request), s) + '\n';
      co_await stream.write_all(answer);
    }
  } catch (std::system_error const&) {
    // The client is gone: nobody is left to be told.
  }
}

// An upstream of our own, if none is given: it answers in capital letters.
static skua::task<> shout(skua::tcp_stream stream) {
  skua::buffered_reader reader(stream);
  try {
    while (auto const line = co_await reader.read_line()) {
      std::string answer(*line);
      for (char& c : answer) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
      answer += '\n';
      co_await stream.write_all(answer);
    }
  } catch (std::system_error const&) {
  }
}

// Who waits for a connection is told at once when a signal comes; who has one gets its answer.
static skua::task<> close_when_stopped(example::connection_pool& pool) {
  struct closer {
    example::connection_pool& pool;
    ~closer() { pool.close(); }
  } const at_end{pool};
  skua::event never;
  co_await never.wait();
}

static skua::task<> main_task(settings const& s, example::connection_pool& pool, skua::tcp_listener own) {
  skua::join_handle<> upstream;
  if (own) upstream = skua::spawn(skua::serve(std::move(own), shout));
  auto const client = [&](skua::tcp_stream stream) { return talk(std::move(stream), pool, s); };
  co_await skua::when_all(skua::serve(s.server.listen(), client, s.server.limits()), close_when_stopped(pool));
}

int main(int argc, char** argv) {
  settings s;
  example::command_line line("connection_pool", "Passes lines on to an upstream server, over a pool of connections.");
  s.server.add_to(line);
  line.number("--upstream", s.upstream, 0, 65535, "port of the upstream on 127.0.0.1; 0: one of our own, which answers in capital letters");
  line.number("--connections", s.connections, 1, 10'000, "to the upstream, at most");
  line.number("--patience", s.patience_ms, 1, 600'000, "milliseconds that a request waits for a connection");
  line.number("--reply", s.reply_ms, 1, 600'000, "milliseconds that the upstream has for its answer");
  line.parse(argc, argv);
  return line.run([&] {
    skua::tcp_listener own;
    if (s.upstream == 0) own = skua::tcp_listener::bind(skua::endpoint::loopback(0));
    auto const to = own ? own.local_endpoint() : skua::endpoint::loopback(s.upstream);
    example::connection_pool pool({.to = to, .connections = s.connections});
    return skua::run_until_signal(main_task(s, pool, std::move(own)), {SIGINT, SIGTERM}, s.server.grace(), s.server.runtime).exit_status();
  });
}
