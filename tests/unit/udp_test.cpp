// SPDX-License-Identifier: Apache-2.0
// Unit: udp_socket.
#include "skua/udp.hpp"
#include "skua/error.hpp"
#include "skua/runtime.hpp"
#include "skua/shield.hpp"
#include "skua/time.hpp"
#include "skua/timeout.hpp"
#include "skua/when_all.hpp"
#include "tests/support/io_test.hpp"
#include "tests/support/tcp_pair.hpp"
#include <array>
#include <cerrno>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <string>
#include <sys/socket.h>
#include <system_error>
#include <unistd.h>
#include <vector>

namespace {

using namespace std::chrono_literals;
using skua::endpoint;
using skua::task;
using skua::udp_socket;
using skua_test::single_worker;
using skua_test::text_of;
using skua_test::until_all_wait;

class Udp : public skua_test::io_test {};

udp_socket new_socket() { return udp_socket::bind(endpoint::loopback(0)); }

TEST_F(Udp, a_datagram_arrives_as_a_whole_and_says_from_where) {
  run([]() -> task<> {
    auto a = new_socket(), b = new_socket();
    co_await a.send_to("one", b.local_endpoint());
    co_await a.send_to("two!", b.local_endpoint());
    std::array<std::byte, 100> buffer;
    for (std::string const expected : {"one", "two!"}) {
      auto const d = co_await b.receive(buffer);
      EXPECT_EQ(text_of(std::span(buffer).first(d.size)), expected);
      EXPECT_EQ(d.from, a.local_endpoint());
      EXPECT_FALSE(d.truncated);
    }
  });
}

TEST_F(Udp, an_empty_datagram_is_one_and_one_that_is_too_long_says_so) {
  run([]() -> task<> {
    auto a = new_socket(), b = new_socket();
    co_await a.send_to("", b.local_endpoint());
    co_await a.send_to("too long", b.local_endpoint());
    co_await a.send_to("next", b.local_endpoint());
    std::array<std::byte, 4> buffer;
    EXPECT_EQ((co_await b.receive(buffer)).size, 0u);
    auto const cut = co_await b.receive(buffer);
    EXPECT_EQ(text_of(std::span(buffer).first(cut.size)), "too ");
    EXPECT_TRUE(cut.truncated);
    auto const next = co_await b.receive(buffer);
    EXPECT_EQ(text_of(buffer), "next");
    EXPECT_FALSE(next.truncated);
  });
}

TEST_F(Udp, receiving_waits_and_every_datagram_wakes_once) {
  run([]() -> task<> {
    auto a = new_socket(), b = new_socket();
    endpoint const to = b.local_endpoint();
    auto receiver = skua::spawn([](udp_socket s) -> task<int> {
      std::array<std::byte, 4> buffer;
      int sum = 0;
      for (int i = 0; i < 1000; ++i) {
        auto const d = co_await s.receive(buffer);
        sum += std::stoi(text_of(std::span(buffer).first(d.size)));
        co_await s.send_to("", d.from);
      }
      co_return sum;
    }, std::move(b));
    std::array<std::byte, 1> answer;
    for (int i = 0; i < 1000; ++i) {
      co_await a.send_to(std::to_string(i), to);
      EXPECT_EQ((co_await a.receive(answer)).from, to);
    }
    EXPECT_EQ(co_await receiver, 499'500);
  });
}

TEST_F(Udp, a_connected_socket_hears_its_peer_alone) {
  run([]() -> task<> {
    auto a = new_socket(), b = new_socket(), stranger = new_socket();
    EXPECT_EQ((co_await skua::as_result(a.send("x"))).error(), std::errc::destination_address_required);
    EXPECT_THROW((void)a.peer_endpoint(), std::system_error);
    a.connect(b.local_endpoint());
    EXPECT_EQ(a.peer_endpoint(), b.local_endpoint());
    EXPECT_EQ((co_await skua::as_result(a.send_to("x", endpoint{}))).error(), std::errc::destination_address_required);   // not to the peer
    co_await stranger.send_to("stranger", a.local_endpoint());
    co_await b.send_to("peer", a.local_endpoint());
    std::array<std::byte, 100> buffer;
    auto const d = co_await a.receive(buffer);
    EXPECT_EQ(text_of(std::span(buffer).first(d.size)), "peer");
    co_await a.send("answer");
    EXPECT_EQ((co_await b.receive(buffer)).from, a.local_endpoint());
  });
}

TEST_F(Udp, a_peer_that_is_not_there_is_an_error_and_the_socket_stays_good) {
  run([]() -> task<> {
    auto a = new_socket(), b = new_socket();
    endpoint const there = b.local_endpoint();
    b.close();
    a.connect(there);
    std::array<std::byte, 100> buffer;
    auto waiting = skua::spawn([](udp_socket& s, std::span<std::byte> to) -> task<std::error_code> {
      co_return (co_await skua::as_result(s.receive(to))).error();
    }, std::ref(a), std::span<std::byte>(buffer));
    co_await a.send("anybody?");
    EXPECT_EQ(co_await waiting, std::errc::connection_refused);
    auto back = udp_socket::bind(there);
    co_await a.send("now");
    auto const d = co_await back.receive(buffer);
    co_await back.send_to("here", d.from);
    EXPECT_EQ((co_await a.receive(buffer)).size, 4u);
  });
}

TEST_F(Udp, what_cannot_be_sent_is_an_error) {
  run([]() -> task<> {
    auto a = new_socket();
    std::string const large(70'000, 'x');
    EXPECT_EQ((co_await skua::as_result(a.send_to(large, endpoint::loopback(9)))).error(), std::errc::message_size);
    EXPECT_THROW((void)co_await a.send_to(large, endpoint::loopback(9)), std::system_error);
    EXPECT_EQ((co_await skua::as_result(a.send_to("x", endpoint::loopback_v6(9)))).error(), std::errc::address_family_not_supported);
    udp_socket none;
    EXPECT_EQ((co_await skua::as_result(none.send("x"))).error(), std::errc::bad_file_descriptor);
    EXPECT_THROW((void)udp_socket::bind(a.local_endpoint()), std::system_error);
    EXPECT_THROW((void)udp_socket::bind(endpoint{}), std::invalid_argument);
  });
}

TEST_F(Udp, works_over_ipv6_and_for_both_families_at_once) {
  run([]() -> task<> {
    auto both = udp_socket::bind(endpoint::any_v6(0));
    std::array<std::byte, 1> buffer;
    for (endpoint const& at : {endpoint::loopback(0), endpoint::loopback_v6(0)}) {
      auto client = udp_socket::bind(at);
      co_await client.send_to("?", at.with_port(both.local_endpoint().port()));
      auto const d = co_await both.receive(buffer);
      EXPECT_EQ(d.from.port(), client.local_endpoint().port());
      co_await both.send_to("!", d.from);
      EXPECT_EQ((co_await client.receive(buffer)).from.port(), both.local_endpoint().port());
    }
  });
}

TEST_F(Udp, members_of_a_group_on_this_machine_receive_what_is_sent_to_it) {
  auto const group = endpoint("239.1.2.3", 0);
  udp_socket sender = new_socket();
  auto one = udp_socket::bind(endpoint::any(0), {.reuse_address = true});
  auto const port = one.local_endpoint().port();
  auto other = udp_socket::bind(endpoint::any(port), {.reuse_address = true});
  one.join_group(group, 1);   // the loopback interface
  other.join_group(group, 1);
  int const on = 1;
  ip_mreqn by{};
  by.imr_ifindex = on;
  ASSERT_EQ(::setsockopt(sender.native_handle(), IPPROTO_IP, IP_MULTICAST_IF, &by, sizeof by), 0);
  sender.set_multicast_hops(0);
  run([&]() -> task<> {
    std::array<std::byte, 10> buffer;
    co_await sender.send_to("all", group.with_port(port));
    EXPECT_EQ((co_await one.receive(buffer)).size, 3u);
    EXPECT_EQ((co_await other.receive(buffer)).size, 3u);
    other.leave_group(group, 1);
    EXPECT_THROW(other.leave_group(group, 1), std::system_error);
  });
  auto option = [](udp_socket const& u, int level, int name) {
    int value = -1;
    socklen_t size = sizeof value;
    return ::getsockopt(u.native_handle(), level, name, &value, &size) == 0 ? value : -1;
  };
  EXPECT_EQ(option(sender, IPPROTO_IP, IP_MULTICAST_TTL), 0);
  sender.set_multicast_loop(false);   // nothing to be seen of it here: what goes out by the loopback interface comes in by it
  EXPECT_EQ(option(sender, IPPROTO_IP, IP_MULTICAST_LOOP), 0);
  auto six = udp_socket::bind(endpoint::loopback_v6(0));
  six.set_multicast_hops(7);
  six.set_multicast_loop(false);
  EXPECT_EQ(option(six, IPPROTO_IPV6, IPV6_MULTICAST_HOPS), 7);
  EXPECT_EQ(option(six, IPPROTO_IPV6, IPV6_MULTICAST_LOOP), 0);
  sender.set_broadcast(true);
  EXPECT_EQ(option(sender, SOL_SOCKET, SO_BROADCAST), 1);
}

TEST_F(Udp, a_second_receiver_is_refused_and_close_cancels_the_first__S18_S19) {
  run([]() -> task<> {
    auto a = new_socket();
    auto first = skua::spawn([](udp_socket& s) -> task<std::error_code> {
      std::array<std::byte, 1> buffer;
      co_return (co_await skua::as_result(s.receive(buffer))).error();
    }, std::ref(a));
    co_await until_all_wait();
    std::array<std::byte, 1> buffer;
    EXPECT_THROW((void)co_await a.receive(buffer), skua::usage_error);
    EXPECT_THROW((void)a.release(), skua::usage_error);
    co_await a.send_to("x", new_socket().local_endpoint());   // sending is another direction
    a.close();
    EXPECT_EQ(co_await first, std::errc::operation_canceled);
  }, single_worker);
}

task<> receive_one(udp_socket& s, int& n) {
  std::array<std::byte, 4> buffer;
  (void)co_await s.receive(buffer);
  ++n;
}

// A stopped receive has taken nothing: the datagram is there for the next one (S4).
TEST_F(Udp, races_of_datagrams_with_stops_lose_nothing) {
  run([]() -> task<> {
    auto a = new_socket(), b = new_socket();
    endpoint const to = b.local_endpoint();
    int received = 0;
    for (int i = 0; i < 3000; ++i) {
      auto receiver = skua::spawn(receive_one, std::ref(b), std::ref(received));
      co_await skua::when_all([](udp_socket& s, endpoint e) -> task<> { co_await s.send_to("x", e); }(a, to),
                              [](skua::join_handle<>& h) -> task<> {
                                h.request_stop();
                                co_return;
                              }(receiver));
      (void)co_await skua::stopped_as_optional(std::move(receiver));
      if (received == i) co_await skua::timeout(10s, receive_one(b, received));
      EXPECT_EQ(received, i + 1);
    }
  });
}

TEST_F(Udp, what_does_not_fit_at_the_receiver_is_lost_and_the_sender_goes_on) {
  run([]() -> task<> {
    auto a = new_socket(), b = new_socket();
    a.set_send_buffer(1);   // the kernel's least
    std::string const message(1000, 'x');
    for (int i = 0; i < 2000; ++i) co_await a.send_to(message, b.local_endpoint());
    std::array<std::byte, 2000> buffer;
    EXPECT_EQ((co_await b.receive(buffer)).size, message.size());
  });
}

TEST_F(Udp, a_descriptor_can_be_released_and_adopted) {
  auto s = new_socket();
  endpoint const at = s.local_endpoint();
  auto again = udp_socket::adopt(s.release());
  EXPECT_FALSE(s);
  EXPECT_EQ(again.local_endpoint(), at);
  int const stream = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  EXPECT_THROW((void)udp_socket::adopt(stream), std::system_error);
  ::close(stream);
  EXPECT_THROW((void)udp_socket::adopt(-1), std::system_error);
}

} // namespace
