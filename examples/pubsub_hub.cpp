// SPDX-License-Identifier: Apache-2.0
// A publish/subscribe hub over TCP. Lines from clients:
//
//     sub TOPIC           from now on every message of the topic comes as a line "TOPIC TEXT"
//     pub TOPIC TEXT      to everybody who has subscribed
//
// A topic is a skua::broadcast. A subscriber that does not keep up misses messages and is told so: it never slows the others down. Each connection has a branch
// that reads, one that writes, and a task for each subscription, owned by the reader.
//
// usage: pubsub_hub [--port N]           then: nc 127.0.0.1 PORT
#include "support/command_line.hpp"
#include <skua/broadcast.hpp>
#include <skua/buffered_reader.hpp>
#include <skua/channel.hpp>
#include <skua/runtime.hpp>
#include <skua/signal.hpp>
#include <skua/strand.hpp>
#include <skua/tcp.hpp>
#include <skua/when_all.hpp>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

using message = std::string;

// The topics, by name. A strand guards the table: nobody holds a lock while somebody waits.
class hub {
public:
  skua::task<skua::broadcast<message>> topic(std::string name) {
    co_return co_await strand_.run([&] { return topics_.try_emplace(name, std::size_t{64}, skua::slow_receiver::drop_oldest).first->second; });
  }

private:
  skua::strand strand_;
  std::map<std::string, skua::broadcast<message>> topics_;
};

// What goes to one client, from all its subscriptions, through one task: lines are never mixed.
static skua::task<> write_lines(skua::tcp_stream& stream, skua::receiver<std::string> lines) {
  while (auto line = co_await lines.recv()) co_await stream.write_all(*line);
}

static skua::task<> forward(std::string topic, skua::broadcast_receiver<message> from, skua::sender<std::string> to) {
  while (auto m = co_await from.recv()) {
    if (m.missed() != 0 && !co_await to.send(topic + " (" + std::to_string(m.missed()) + " missed)\n")) co_return;
    if (!co_await to.send(topic + " " + *m + "\n")) co_return;
  }
}

struct client {
  hub& topics;
  skua::sender<std::string> out;
  std::vector<skua::join_handle<>> subscriptions;   // dropping a handle stops its task

  skua::task<> obey(std::string line) {
    auto word = [&line] {
      std::size_t const end = line.find(' ');
      std::string const w = line.substr(0, end);
      line = end == std::string::npos ? "" : line.substr(end + 1);
      return w;
    };
    std::string const verb = word(), name = word();
    if (verb == "sub" && !name.empty()) {
      auto topic = co_await topics.topic(name);
      subscriptions.push_back(skua::spawn(forward, name, topic.subscribe(), out));
      (void)co_await out.send("ok\n");
    } else if (verb == "pub" && !name.empty()) {
      auto topic = co_await topics.topic(name);
      (void)co_await topic.send(line);   // waits for nobody: the slow miss something
    } else {
      (void)co_await out.send("sub TOPIC, or pub TOPIC TEXT\n");
    }
  }
};

static skua::task<> read_lines(skua::tcp_stream& stream, std::shared_ptr<hub> topics, skua::sender<std::string> out) {
  client c{*topics, std::move(out), {}};
  skua::buffered_reader reader(stream);   // a line that is too long ends the connection
  while (auto const line = co_await reader.read_line()) co_await c.obey(std::string(*line));
}   // the last senders to this client go with `c` and its subscriptions, so its writer ends too

// The stream is used by two tasks, and neither outlives it: when_all awaits both, on every path.
static skua::task<> serve(skua::tcp_stream stream, std::shared_ptr<hub> topics) {
  auto [out, lines] = skua::channel<std::string>(16).split();
  try {
    co_await skua::when_all(read_lines(stream, std::move(topics), std::move(out)), write_lines(stream, std::move(lines)));
  } catch (std::system_error const&) {
    // the connection broke
  }
}

static skua::task<> accept_all(skua::tcp_listener listener) {
  auto const topics = std::make_shared<hub>();
  std::vector<skua::join_handle<>> clients;   // dropped when the server is stopped, which stops them
  for (;;) {
    auto stream = co_await listener.accept();
    std::erase_if(clients, [](auto const& h) { return h.done(); });
    clients.push_back(skua::spawn(serve, std::move(stream), topics));
  }
}

int main(int argc, char** argv) {
  unsigned port = 0;
  example::command_line line("pubsub_hub", "Clients subscribe to topics and publish to them, line by line.");
  line.number("--port", port, 0U, 65535U, "port to listen on; 0: any free one");
  line.parse(argc, argv);
  return line.run([&] {
    auto listener = skua::tcp_listener::bind(skua::endpoint::loopback(static_cast<std::uint16_t>(port)));
    std::printf("listening on 127.0.0.1:%u\n", static_cast<unsigned>(listener.local_endpoint().port()));
    std::fflush(stdout);
    return skua::run_until_signal(accept_all(std::move(listener))).exit_status();
  });
}
