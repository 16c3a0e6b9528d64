// SPDX-License-Identifier: Apache-2.0
// Connections for tests.
#pragma once
#include "skua/tcp.hpp"
#include "skua/this_task.hpp"
#include "skua/when_all.hpp"
#include <array>
#include <cstddef>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
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

// So many bytes are there to be read: also over the loopback interface that may take a moment.
inline skua::task<> arrived(skua::stream_socket const& s, int bytes) {
  for (int there = 0; ::ioctl(s.native_handle(), FIONREAD, &there) == 0 && there < bytes;) co_await skua::this_task::yield();
}

// An address at which nobody listens: its port is taken, and nobody else gets it.
class dead_end {
public:
  dead_end() : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    auto const any = skua::endpoint::loopback(0);
    sockaddr_storage mine{};
    socklen_t size = sizeof mine;
    if (::bind(fd_, static_cast<sockaddr const*>(any.native()), static_cast<socklen_t>(any.native_size())) != 0 ||
        ::getsockname(fd_, reinterpret_cast<sockaddr*>(&mine), &size) != 0)
      std::abort();
    at_ = *skua::endpoint::from_native(&mine, size);
  }
  ~dead_end() { ::close(fd_); }
  dead_end(dead_end const&) = delete;
  skua::endpoint at() const { return at_; }

private:
  int fd_;
  skua::endpoint at_;
};

inline std::string text_of(std::span<std::byte const> b) { return {reinterpret_cast<char const*>(b.data()), b.size()}; }

// Reads to the end of the stream.
inline skua::task<std::string> read_all(skua::stream_socket& s) {
  std::string all;
  std::array<std::byte, 4096> buffer;
  while (std::size_t const n = co_await s.read_some(buffer)) all += text_of(std::span(buffer).first(n));
  co_return all;
}

} // namespace skua_test
