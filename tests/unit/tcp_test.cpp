// SPDX-License-Identifier: Apache-2.0
// Unit: tcp_stream and tcp_listener, what each call does. Ends of connections, shortages and races: tcp_ends_test, tcp_stop_test.
#include "skua/net.hpp"
#include "skua/runtime.hpp"
#include "skua/spawn.hpp"
#include "skua/time.hpp"
#include "skua/timeout.hpp"
#include "tests/support/io_test.hpp"
#include "tests/support/tcp_pair.hpp"
#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <fcntl.h>
#include <functional>
#include <gtest/gtest.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <numeric>
#include <optional>
#include <string>
#include <sys/socket.h>
#include <sys/wait.h>
#include <system_error>
#include <unistd.h>
#include <vector>

namespace {

using namespace std::chrono_literals;
using skua::task;
using skua::tcp_listener;
using skua::tcp_stream;
using skua_test::connect_pair;
using skua_test::read_all;
using skua_test::single_worker;
using skua_test::text_of;
using skua_test::until_all_wait;

class Tcp : public skua_test::io_test {};

template <class F>
std::error_code error_of(F f) {
  try {
    f();
  } catch (std::system_error const& e) {
    return e.code();
  }
  return {};
}

TEST_F(Tcp, what_is_written_can_be_read) {
  run([]() -> task<> {
    auto [client, server] = co_await connect_pair();
    EXPECT_EQ(co_await client.write_some("hello"), 5u);
    std::array<std::byte, 100> b;
    std::size_t const n = co_await server.read_some(b);
    EXPECT_EQ(text_of(std::span(b).first(n)), "hello");
  });
}

TEST_F(Tcp, a_read_waits_for_data) {
  run([]() -> task<> {
    auto [client, server] = co_await connect_pair();
    auto reader = skua::spawn([](tcp_stream& s) -> task<std::string> {
      std::array<std::byte, 3> b;
      co_await s.read_exactly(b);
      co_return text_of(b);
    }, std::ref(server));
    co_await skua::sleep_for(5ms);
    co_await client.write_all("a");
    co_await skua::sleep_for(5ms);
    co_await client.write_all("bc");
    EXPECT_EQ(co_await reader, "abc");
  });
}

TEST_F(Tcp, works_over_ipv6) {
  run([]() -> task<> {
    auto [client, server] = co_await connect_pair(skua::endpoint::loopback_v6(0));
    EXPECT_TRUE(server.peer_endpoint().is_v6());
    co_await client.write_all("six");
    client.shutdown_write();
    EXPECT_EQ(co_await read_all(server), "six");
  });
}

TEST_F(Tcp, a_listener_on_all_ipv6_interfaces_takes_ipv4_too_unless_told_otherwise) {
  run([]() -> task<> {
    auto both = tcp_listener::bind(skua::endpoint::any_v6(0));
    auto [a, b] = co_await skua::when_all(tcp_stream::connect(skua::endpoint::loopback(both.local_endpoint().port())), both.accept());
    skua_test::dead_end const taken;   // the IPv4 side of its port, by somebody who does not listen
    auto only = tcp_listener::bind(skua::endpoint::any_v6(taken.at().port()), {.v6_only = true});
    auto const r = co_await skua::as_result(tcp_stream::connect(taken.at()));
    EXPECT_EQ(r.error(), std::errc::connection_refused);
  });
}

TEST_F(Tcp, the_end_of_the_stream_reads_as_zero_again_and_again) {
  run([]() -> task<> {   // S17
    auto [client, server] = co_await connect_pair();
    client.shutdown_write();
    std::array<std::byte, 8> b;
    for (int i = 0; i != 3; ++i) EXPECT_EQ(co_await server.read_some(b), 0u);
  });
}

TEST_F(Tcp, read_exactly_says_how_much_came_before_the_end) {
  run([]() -> task<> {   // S17
    auto [client, server] = co_await connect_pair();
    co_await client.write_all("abc");
    client.shutdown_write();
    std::array<std::byte, 8> b;
    std::optional<skua::transfer_error> error;
    try {
      co_await server.read_exactly(b);
    } catch (skua::transfer_error const& e) {
      error = e;
    }
    EXPECT_TRUE(error);
    EXPECT_EQ(error->code(), skua::errc::end_of_stream);
    EXPECT_EQ(error->transferred(), 3u);
    EXPECT_EQ(text_of(std::span(b).first(3)), "abc");
    auto const r = co_await skua::as_result(server.read_exactly(b));
    EXPECT_EQ(r.error(), skua::errc::end_of_stream);
    EXPECT_EQ(r.transferred(), 0u);
  });
}

TEST_F(Tcp, nothing_is_read_or_written_at_once) {
  run([]() -> task<> {
    auto [client, server] = co_await connect_pair();
    EXPECT_EQ(co_await server.read_some({}), 0u);
    EXPECT_EQ(co_await client.write_some(skua::const_buffer()), 0u);
    co_await server.read_exactly({});
    co_await client.write_all(skua::const_buffer());
    co_await client.writev_all({});
  });
}

task<> move_nothing(tcp_stream& s) {
  std::array<skua::mutable_buffer, 2> const empty_to{};
  std::array<skua::const_buffer, 2> const empty_from{};
  EXPECT_EQ(co_await s.read_some({}), 0u);
  EXPECT_EQ(co_await s.readv(empty_to), 0u);
  co_await s.read_exactly({});
  EXPECT_EQ(co_await s.write_some(skua::const_buffer()), 0u);
  EXPECT_EQ(co_await s.writev(empty_from), 0u);
  co_await s.write_all(skua::const_buffer());
  co_await s.writev_all(empty_from);
}

TEST_F(Tcp, nothing_is_read_or_written_at_once_also_where_more_would_have_to_wait) {
  run([]() -> task<> {
    auto [client, server] = co_await connect_pair();
    std::array<std::byte, 8> b{};
    EXPECT_THROW(co_await skua::timeout(5ms, server.read_some(b)), skua::timeout_error);   // nothing there
    std::string const much(64'000'000, 'm');
    EXPECT_THROW(co_await skua::timeout(5ms, server.write_all(much)), skua::timeout_error);   // no room
    co_await skua::timeout(10s, move_nothing(server));
  });
}

TEST_F(Tcp, several_buffers_are_written_and_read_in_order) {
  run([]() -> task<> {
    auto [client, server] = co_await connect_pair();
    std::array<char, 2> const x{'a', 'b'}, y{'c', 'd'};
    std::array<skua::const_buffer, 3> const out{std::as_bytes(std::span(x)), {}, std::as_bytes(std::span(y))};
    EXPECT_EQ(co_await client.writev(out), 4u);
    std::array<std::byte, 1> p;
    std::array<std::byte, 8> q;
    std::array<skua::mutable_buffer, 2> const in{p, q};
    EXPECT_EQ(co_await server.readv(in), 4u);
    EXPECT_EQ(text_of(p), "a");
    EXPECT_EQ(text_of(std::span(q).first(3)), "bcd");
  });
}

TEST_F(Tcp, more_buffers_than_one_call_takes_are_all_written) {
  run([]() -> task<> {
    auto [client, server] = co_await connect_pair();
    client.set_send_buffer(1);   // the kernel's least: many partial writes
    std::string all(1'000'000, ' ');
    for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<char>(i * 131 + i / 4096);
    std::vector<skua::const_buffer> out;
    for (std::size_t at = 0, size = 0; at != all.size(); at += size, size = std::min((size + 7) % 2003, all.size() - at))   // none in the first
      out.push_back(std::as_bytes(std::span(all)).subspan(at, size));
    out.emplace_back();
    auto reader = skua::spawn([](tcp_stream& s) -> task<std::string> { return read_all(s); }, std::ref(server));
    auto const sent = co_await skua::as_result(client.writev_all(out));
    EXPECT_EQ(sent.transferred(), all.size());
    client.shutdown_write();
    EXPECT_TRUE(co_await reader == all);
  });
}

TEST_F(Tcp, knows_both_its_endpoints) {
  run([]() -> task<> {
    auto [client, server] = co_await connect_pair();
    EXPECT_EQ(client.local_endpoint(), server.peer_endpoint());
    EXPECT_EQ(client.peer_endpoint(), server.local_endpoint());
  });
}

int option(tcp_stream const& s, int level, int name) {
  int value = -1;
  socklen_t size = sizeof value;
  ::getsockopt(s.native_handle(), level, name, &value, &size);
  return value;
}

TEST_F(Tcp, options_are_set_and_no_delay_is_on_by_itself) {
  run([]() -> task<> {
    auto [client, server] = co_await connect_pair();
    for (tcp_stream* s : {&client, &server}) {
      EXPECT_NE(option(*s, IPPROTO_TCP, TCP_NODELAY), 0);
      s->set_no_delay(false);
      EXPECT_EQ(option(*s, IPPROTO_TCP, TCP_NODELAY), 0);
      s->set_keep_alive(70s, 7s, 3);
      EXPECT_EQ(option(*s, SOL_SOCKET, SO_KEEPALIVE), 1);
      EXPECT_EQ(option(*s, IPPROTO_TCP, TCP_KEEPIDLE), 70);
      EXPECT_EQ(option(*s, IPPROTO_TCP, TCP_KEEPCNT), 3);
      s->set_receive_buffer(100'000);
      EXPECT_EQ(option(*s, SOL_SOCKET, SO_RCVBUF), 200'000);
    }
  });
}

TEST_F(Tcp, descriptors_are_not_inherited) {
  run([]() -> task<> {
    auto listener = tcp_listener::bind(skua::endpoint::loopback(0));
    auto [client, server] = co_await connect_pair();
    for (int fd : {listener.native_handle(), client.native_handle(), server.native_handle()})
      EXPECT_EQ(::fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
  });
}

TEST_F(Tcp, a_descriptor_can_be_released_and_adopted) {
  run([]() -> task<> {
    auto [client, server] = co_await connect_pair();
    auto reader = skua::spawn([](tcp_stream& s) -> task<> {
      std::array<std::byte, 1> b;
      co_await s.read_exactly(b);   // so that it is in the epoll set
    }, std::ref(server));
    co_await until_all_wait();
    EXPECT_THROW(server.release(), skua::usage_error);
    co_await client.write_all("1");
    co_await reader;
    int const fd = server.release();
    EXPECT_FALSE(server);
    EXPECT_EQ(server.native_handle(), -1);
    auto again = tcp_stream::adopt(fd);
    EXPECT_EQ(again.native_handle(), fd);
    auto second = skua::spawn([](tcp_stream& s) -> task<std::string> { return read_all(s); }, std::ref(again));
    co_await until_all_wait();
    co_await client.write_all("2");
    client.close();
    EXPECT_EQ(co_await second, "2");
  }, single_worker);
}

// Both have the same epoll set.
TEST_F(Tcp, a_forked_child_that_releases_a_stream_takes_no_event_from_its_parent) {
  run([]() -> task<> {
    auto [client, server] = co_await connect_pair();
    auto const read_one = [](tcp_stream& s) -> task<> {
      std::array<std::byte, 1> one;
      co_await s.read_exactly(one);
    };
    for (int i = 0; i != 2; ++i) {
      auto reader = skua::spawn(read_one, std::ref(server));
      co_await skua_test::until_all_wait();
      co_await client.write_all("x");
      co_await skua::timeout(30s, std::move(reader));
      pid_t const child = ::fork();
      if (child == 0) ::_exit(server.release() >= 0 ? 0 : 1);
      int status = 0;
      EXPECT_EQ(::waitpid(child, &status, 0), child);
      EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
    }
  }, skua_test::single_worker);
}

TEST_F(Tcp, an_adopted_descriptor_may_be_blocking) {
  run([]() -> task<> {
    int fds[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);   // a stream socket, if not TCP
    auto a = tcp_stream::adopt(fds[0]), b = tcp_stream::adopt(fds[1]);
    auto reader = skua::spawn([](tcp_stream& s) -> task<std::string> { return read_all(s); }, std::ref(a));
    co_await skua::sleep_for(2ms);
    co_await b.write_all("blocking");
    b.shutdown_write();
    EXPECT_EQ(co_await reader, "blocking");
    EXPECT_EQ(::fcntl(a.native_handle(), F_GETFL) & O_NONBLOCK, 0);   // not ours to change
  });
}

TEST_F(Tcp, what_is_no_stream_socket_is_not_adopted) {
  EXPECT_EQ(error_of([] { (void)tcp_stream::adopt(-1); }), std::errc::bad_file_descriptor);
  EXPECT_EQ(error_of([] { (void)tcp_stream::adopt(0); }), std::errc::not_a_socket);
  int const datagram = ::socket(AF_INET, SOCK_DGRAM, 0);
  EXPECT_NE(error_of([&] { (void)tcp_stream::adopt(datagram); }), std::error_code());
  EXPECT_NE(error_of([&] { (void)tcp_listener::adopt(datagram); }), std::error_code());
  ::close(datagram);
  auto listener = tcp_listener::bind(skua::endpoint::loopback(0));
  EXPECT_NE(error_of([&] { (void)tcp_stream::adopt(listener.native_handle()); }), std::error_code());
}

TEST_F(Tcp, a_stream_that_is_not_open_is_an_error) {
  run([]() -> task<> {
    tcp_stream s;
    EXPECT_FALSE(s);
    std::array<std::byte, 1> b;
    EXPECT_EQ((co_await skua::as_result(s.read_some(b))).error(), std::errc::bad_file_descriptor);
    EXPECT_EQ((co_await skua::as_result(s.write_all("x"))).error(), std::errc::bad_file_descriptor);
    EXPECT_EQ(error_of([&] { s.set_no_delay(true); }), std::errc::bad_file_descriptor);
    EXPECT_EQ(error_of([&] { (void)s.peer_endpoint(); }), std::errc::bad_file_descriptor);
    EXPECT_EQ((co_await skua::as_result(tcp_listener().accept())).error(), std::errc::bad_file_descriptor);
    s.close();
    EXPECT_EQ(s.release(), -1);
  });
}

TEST_F(Tcp, an_operation_that_was_made_before_its_stream_was_closed_is_an_error) {
  run([]() -> task<> {
    auto [client, server] = co_await connect_pair();
    co_await client.write_all("for the first");
    std::array<std::byte, 8> b;
    auto read = server.read_some(b);
    server.close();
    auto [client2, server2] = co_await connect_pair();   // the descriptor lives again
    co_await client2.write_all("for the second");
    std::error_code error;
    try {
      co_await read;
    } catch (std::system_error const& e) {
      error = e.code();
    }
    EXPECT_EQ(error, std::errc::bad_file_descriptor);
    client2.close();
    EXPECT_EQ(co_await read_all(server2), "for the second");
  });
}

TEST_F(Tcp, a_refused_connection_is_an_error) {
  run([]() -> task<> {
    skua_test::dead_end const nobody;
    auto const r = co_await skua::as_result(tcp_stream::connect(nobody.at()));
    EXPECT_EQ(r.error(), std::errc::connection_refused);
    EXPECT_THROW((void)r.value(), std::system_error);
  });
}

TEST_F(Tcp, an_address_that_is_taken_is_an_error) {
  auto listener = tcp_listener::bind(skua::endpoint::loopback(0));
  EXPECT_EQ(error_of([&] { (void)tcp_listener::bind(listener.local_endpoint()); }), std::errc::address_in_use);
  EXPECT_THROW((void)tcp_listener::bind(skua::endpoint()), std::invalid_argument);
}

TEST_F(Tcp, several_listeners_share_a_port_if_all_say_so) {
  auto a = tcp_listener::bind(skua::endpoint::loopback(0), {.reuse_port = true});
  auto b = tcp_listener::bind(a.local_endpoint(), {.reuse_port = true});
  EXPECT_EQ(a.local_endpoint(), b.local_endpoint());
}

TEST_F(Tcp, connects_to_a_name_and_to_an_address_as_text) {
  run([]() -> task<> {
    auto listener = tcp_listener::bind(skua::endpoint::loopback(0));
    std::uint16_t const port = listener.local_endpoint().port();
    for (std::string host : {"localhost", "127.0.0.1"}) {   // localhost may be ::1 first, where nobody listens
      auto [client, server] = co_await skua::when_all(tcp_stream::connect(host, port), listener.accept());
      EXPECT_EQ(client.peer_endpoint(), listener.local_endpoint());
    }
    listener.close();
    EXPECT_EQ((co_await skua::as_result(tcp_stream::connect("localhost", port))).error(), std::errc::connection_refused);
  });
}

// The host that has no name is this one, over IPv6 and over IPv4. Neither an address that does not answer nor one that is not needed is a failure.
TEST_F(Tcp, connecting_to_one_of_several_addresses_reports_no_failure_of_the_others) {
  std::atomic<int> reports = 0;
  {
    skua::runtime rt{skua::options{.workers = 2, .on_unhandled_failure = [&](skua::failure const&) { ++reports; }}};
    rt.block_on([]() -> task<> {
      EXPECT_EQ((co_await skua::resolve("", "80")).size(), 2u);
      std::uint16_t port = 0;
      for (auto at : {skua::endpoint::any(0), skua::endpoint::any_v6(0)}) {   // the second address answers; both do
        auto listener = tcp_listener::bind(at);
        port = listener.local_endpoint().port();
        for (int i = 0; i != 20; ++i) {
          auto [client, server] = co_await skua::when_all(tcp_stream::connect("", port), listener.accept());
          EXPECT_EQ(client.local_endpoint(), server.peer_endpoint());
        }
      }
      auto const refused = co_await skua::as_result(tcp_stream::connect("", port));
      EXPECT_EQ(refused.error(), std::errc::connection_refused);
    });
  }
  EXPECT_EQ(reports, 0);
}

TEST_F(Tcp, a_name_that_does_not_exist_is_an_error) {
  run([]() -> task<> {
    auto const r = co_await skua::as_result(tcp_stream::connect("no-such-host.invalid", 80));
    EXPECT_EQ(&r.error().category(), &skua::resolver_category()) << r.error().message();
    auto const s = co_await skua::as_result(skua::resolve("127.0.0.1", "no-such-service"));
    EXPECT_EQ(&s.error().category(), &skua::resolver_category()) << s.error().message();
  });
}

TEST_F(Tcp, what_the_resolver_would_cut_off_is_an_error) {
  run([]() -> task<> {
    using namespace std::string_literals;
    for (auto const& service : {"65536"s, "70000"s, "4294967376"s, "-1"s, " 80"s, "80 "s, "80\0"s, "http\0"s})
      EXPECT_EQ((co_await skua::as_result(skua::resolve("127.0.0.1", service))).error().value(), EAI_SERVICE) << service;
    EXPECT_EQ((co_await skua::as_result(skua::resolve("127.0.0.1\0.example.org"s, "80"))).error().value(), EAI_NONAME);
    for (auto const& service : {"65535"s, "080"s, "0"s, ""s}) EXPECT_EQ((co_await skua::resolve("::1", service)).size(), 1u) << service;
  });
}

TEST_F(Tcp, resolve_converts_numbers_by_itself) {
  run([]() -> task<> {
    auto const a = co_await skua::resolve("192.0.2.1", "80");
    EXPECT_EQ(a, (std::vector{skua::endpoint("192.0.2.1", 80)}));
    auto const b = co_await skua::resolve("::1", "443");
    EXPECT_EQ(b, (std::vector{skua::endpoint("::1", 443)}));
    EXPECT_FALSE((co_await skua::resolve("localhost", "80")).empty());
  });
}

// Names of services come from /etc/services, which a small machine may lack.
TEST_F(Tcp, resolve_knows_the_services_that_the_machine_knows) {
  run([]() -> task<> {
    if (::getservbyname("http", "tcp") != nullptr) {
      auto const found = co_await skua::resolve("localhost", "http");
      EXPECT_FALSE(found.empty());
      for (skua::endpoint const& e : found) EXPECT_EQ(e.port(), 80);
    }
    EXPECT_THROW(co_await skua::resolve("localhost", "no-such-service"), std::system_error);
  });
}

TEST_F(Tcp, a_second_reader_or_writer_is_refused) {
  run([]() -> task<> {   // S18
    auto [client, server] = co_await connect_pair();
    auto first = skua::spawn([](tcp_stream& s) -> task<> {
      std::array<std::byte, 1> b;
      co_await s.read_exactly(b);
    }, std::ref(server));
    co_await until_all_wait();
    std::array<std::byte, 1> b;
    bool refused = false;
    try {
      co_await server.read_some(b);
    } catch (skua::usage_error const&) {
      refused = true;
    }
    EXPECT_TRUE(refused);
    co_await server.write_all("writing is another matter");
    co_await client.write_all("x");
    co_await first;
  }, single_worker);
}

TEST_F(Tcp, a_second_acceptor_is_refused) {
  run([]() -> task<> {   // S18
    auto listener = tcp_listener::bind(skua::endpoint::loopback(0));
    auto first = skua::spawn(listener.accept());
    co_await until_all_wait();
    bool refused = false;
    try {
      (void)co_await listener.accept();
    } catch (skua::usage_error const&) {
      refused = true;
    }
    EXPECT_TRUE(refused);
    auto client = co_await tcp_stream::connect(listener.local_endpoint());
    (void)co_await first;
  }, single_worker);
}

TEST_F(Tcp, a_runtime_with_virtual_time_has_no_sockets_and_says_so) {
  skua::runtime rt{skua::options{.workers = 1, .backend = "virtual"}};
  EXPECT_THROW(rt.block_on([]() -> task<> {
    auto listener = tcp_listener::bind(skua::endpoint::loopback(0));
    (void)co_await listener.accept();
  }), skua::usage_error);
}

} // namespace
