// SPDX-License-Identifier: Apache-2.0
// Connections for tests.
#pragma once
#include "skua/tcp.hpp"
#include "skua/when_all.hpp"
#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace skua_test {

struct tcp_pair {
  skua::tcp_stream client, server;
};

// Two ends of one connection over the loopback interface.
inline skua::task<tcp_pair> connect_pair(skua::endpoint at = skua::endpoint::loopback(0)) {
  auto listener = skua::tcp_listener::bind(at);
  auto [client, server] = co_await skua::when_all(skua::tcp_stream::connect(listener.local_endpoint()), listener.accept());
  co_return tcp_pair{std::move(client), std::move(server)};
}

inline std::string text_of(std::span<std::byte const> b) { return {reinterpret_cast<char const*>(b.data()), b.size()}; }

// Reads to the end of the stream.
inline skua::task<std::string> read_all(skua::tcp_stream& s) {
  std::string all;
  std::array<std::byte, 4096> buffer;
  while (std::size_t const n = co_await s.read_some(buffer)) all += text_of(std::span(buffer).first(n));
  co_return all;
}

} // namespace skua_test
