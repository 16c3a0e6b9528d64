// SPDX-License-Identifier: Apache-2.0
// Unit: unix_stream and unix_listener, where they differ from TCP (tcp_test has what all streams do).
#include "skua/unix_socket.hpp"
#include "skua/net.hpp"
#include "skua/runtime.hpp"
#include "skua/select_io.hpp"
#include "skua/time.hpp"
#include "skua/timeout.hpp"
#include "skua/when_all.hpp"
#include "tests/support/io_test.hpp"
#include "tests/support/tcp_pair.hpp"
#include <array>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <gtest/gtest.h>
#include <random>
#include <string>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <system_error>
#include <unistd.h>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace std::string_literals;
using skua::task;
using skua::unix_listener;
using skua::unix_stream;
using skua_test::read_all;
using skua_test::text_of;

class UnixSocket : public skua_test::io_test {
protected:
  std::string const path_ = testing::TempDir() + "skua_unix_" + std::to_string(::getpid());
  void TearDown() override {
    std::remove(path_.c_str());
    io_test::TearDown();
  }
  bool exists() const { return ::access(path_.c_str(), F_OK) == 0; }
};

// An abstract name. Process numbers will not do: containers that share a network have them each for themselves.
std::string unlike_any_other() {
  std::random_device random;
  return "\0skua_unix_"s + std::to_string(random()) + '_' + std::to_string(random());
}

template <class F>
std::errc error_of(F f) {
  try {
    f();
  } catch (std::system_error const& e) {
    return static_cast<std::errc>(e.code().value());
  }
  return {};
}

task<> echo(unix_stream s) {
  std::array<std::byte, 100> b;
  while (std::size_t const n = co_await s.read_some(b)) co_await s.write_all(std::span(b).first(n));
}

TEST_F(UnixSocket, connects_by_path_and_carries_bytes_both_ways) {
  run([this]() -> task<> {
    auto listener = unix_listener::bind(path_);
    EXPECT_EQ(listener.address(), path_);
    auto server = skua::spawn([](unix_listener& l) -> task<> { co_await echo(co_await l.accept()); }, std::ref(listener));
    auto client = co_await unix_stream::connect(path_);
    co_await client.write_all("hello");
    client.shutdown_write();
    EXPECT_EQ(co_await read_all(client), "hello");
    co_await server;
  });
  EXPECT_TRUE(exists());   // as the kernel leaves it
}

TEST_F(UnixSocket, connects_by_an_abstract_name_which_has_no_file) {
  run([this]() -> task<> {
    auto const name = unlike_any_other();
    auto listener = unix_listener::bind(name);
    EXPECT_EQ(listener.address(), name);
    EXPECT_FALSE(exists());
    auto [client, server] = co_await skua::when_all(unix_stream::connect(name), listener.accept());
    co_await server.write_all("x");
    std::array<std::byte, 1> b;
    co_await client.read_exactly(b);
    EXPECT_EQ(text_of(b), "x");
    EXPECT_EQ(error_of([&] { (void)unix_listener::bind(name); }), std::errc::address_in_use);
  });
}

TEST_F(UnixSocket, listens_at_a_name_that_the_kernel_chooses) {
  run([]() -> task<> {
    auto listener = unix_listener::bind(""), other = unix_listener::bind("");
    EXPECT_NE(listener.address(), other.address());
    auto [client, server] = co_await skua::when_all(unix_stream::connect(listener.address()), listener.accept());
    EXPECT_TRUE(client && server);
    EXPECT_EQ((co_await skua::as_result(unix_stream::connect(""))).error(), std::errc::invalid_argument);   // nobody is there
  });
}

TEST_F(UnixSocket, makes_pairs_and_knows_who_is_at_the_other_end) {
  run([]() -> task<> {
    auto [a, b] = unix_stream::pair();
    co_await a.write_all("to b");
    co_await b.write_all("to a");
    a.shutdown_write();
    b.shutdown_write();
    EXPECT_EQ(co_await read_all(b), "to b");
    EXPECT_EQ(co_await read_all(a), "to a");
    auto const who = a.peer_credentials();
    EXPECT_EQ(who.pid, ::getpid());
    EXPECT_EQ(who.uid, ::geteuid());
    EXPECT_EQ(who.gid, ::getegid());
  });
}

TEST_F(UnixSocket, addresses_that_cannot_be_are_clear_errors) {
  std::string const long_one(108, 'x'), longest(107, 'x');
  for (auto const& [address, error] : {std::pair(long_one, std::errc::filename_too_long),
                                       {"a\0b"s, std::errc::invalid_argument},
                                       {path_ + "/none", std::errc::not_a_directory}}) {
    if (error == std::errc::not_a_directory) std::ofstream(path_) << "a file";
    EXPECT_EQ(error_of([&] { (void)unix_listener::bind(address); }), error);
    run([&]() -> task<> { EXPECT_EQ(static_cast<std::errc>((co_await skua::as_result(unix_stream::connect(address))).error().value()), error); });
  }
  std::string abstract = unlike_any_other();
  abstract.resize(longest.size(), 'x');
  EXPECT_EQ(unix_listener::bind(abstract).address(), abstract);
}

TEST_F(UnixSocket, a_listener_takes_the_place_of_a_dead_one_and_of_nothing_else) {
  run([this]() -> task<> {
    EXPECT_EQ((co_await skua::as_result(unix_stream::connect(path_))).error(), std::errc::no_such_file_or_directory);
    { auto gone = unix_listener::bind(path_); }
    EXPECT_EQ((co_await skua::as_result(unix_stream::connect(path_))).error(), std::errc::connection_refused);
    EXPECT_EQ(error_of([&] { (void)unix_listener::bind(path_, {.replace_stale = false}); }), std::errc::address_in_use);
    auto alive = unix_listener::bind(path_);
    EXPECT_EQ(error_of([&] { (void)unix_listener::bind(path_); }), std::errc::address_in_use);
    auto [client, server] = co_await skua::when_all(unix_stream::connect(path_), alive.accept());
    EXPECT_TRUE(client && server);
  });
  std::remove(path_.c_str());
  std::ofstream(path_) << "precious";
  EXPECT_EQ(error_of([&] { (void)unix_listener::bind(path_); }), std::errc::address_in_use);   // not a socket
  EXPECT_TRUE(exists());
}

// The kernel refuses at once, with EAGAIN, and tells nobody when there is room.
TEST_F(UnixSocket, connecting_waits_while_the_backlog_is_full) {
  run([this]() -> task<> {
    auto listener = unix_listener::bind(path_, {.backlog = 0});
    auto first = co_await unix_stream::connect(path_);
    auto second = skua::spawn([](std::string p) -> task<unix_stream> { co_return co_await unix_stream::connect(p); }, path_);
    EXPECT_THROW((void)co_await skua::timeout(20ms, unix_stream::connect(path_)), skua::timeout_error);   // it can be stopped there
    EXPECT_FALSE(second.done());
    auto a = co_await listener.accept();
    auto b = co_await listener.accept();
    EXPECT_TRUE(co_await second);
  });
}

// A read ends in front of a descriptor that was passed, although more bytes are there: so a short one must not be taken for the last.
TEST_F(UnixSocket, reads_on_behind_descriptors_that_somebody_passes) {
  run([]() -> task<> {
    auto [mine, theirs] = unix_stream::pair();
    int const passed = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    for (char c : {'a', 'b', 'c'}) {
      iovec part{&c, 1};
      alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
      msghdr m{};
      m.msg_iov = &part;
      m.msg_iovlen = 1;
      m.msg_control = control;
      m.msg_controllen = sizeof control;
      cmsghdr* const h = CMSG_FIRSTHDR(&m);
      h->cmsg_level = SOL_SOCKET;
      h->cmsg_type = SCM_RIGHTS;
      h->cmsg_len = CMSG_LEN(sizeof passed);
      std::memcpy(CMSG_DATA(h), &passed, sizeof passed);
      EXPECT_EQ(::sendmsg(theirs.native_handle(), &m, 0), 1);
    }
    ::close(passed);
    std::array<std::byte, 10> some;
    EXPECT_EQ(co_await skua::timeout(10s, mine.read_some(some)), 1u);
    std::array<std::byte, 2> two;
    co_await skua::timeout(10s, mine.read_exactly(two));
    EXPECT_EQ(text_of(two), "bc");
  });
}

TEST_F(UnixSocket, much_goes_through_small_buffers) {
  run([]() -> task<> {
    auto [a, b] = unix_stream::pair();
    a.set_send_buffer(4096);
    std::string sent(3'000'000, 0);
    for (std::size_t i = 0; i < sent.size(); ++i) sent[i] = static_cast<char>(i * 31 + i / 251);
    auto writer = skua::spawn([](unix_stream s, std::string const& what) -> task<> { co_await s.write_all(what); }, std::move(a), std::cref(sent));
    EXPECT_EQ(co_await read_all(b), sent);
    co_await writer;
  });
}

TEST_F(UnixSocket, a_peer_that_is_gone_is_an_error_and_no_signal) {
  run([]() -> task<> {
    auto [a, b] = unix_stream::pair();
    co_await a.write_all("unread");
    b.close();
    EXPECT_EQ((co_await skua::as_result(a.write_all("x"))).error(), std::errc::broken_pipe);
    std::array<std::byte, 4> buffer;
    EXPECT_EQ((co_await skua::as_result(a.read_some(buffer))).error(), std::errc::connection_reset);
  });
}

TEST_F(UnixSocket, is_accepted_in_a_select) {
  run([this]() -> task<> {
    auto listener = unix_listener::bind(path_);
    auto client = skua::spawn([](std::string p) -> task<std::string> {
      auto s = co_await unix_stream::connect(p);
      co_return co_await read_all(s);
    }, path_);
    auto accepted = co_await skua::select(skua::on(listener, [](unix_stream s) { return s; }), skua::on(skua::sleep_for(10s), [] { return unix_stream{}; }));
    co_await accepted.write_all("selected");
    accepted.close();
    EXPECT_EQ(co_await client, "selected");
    std::remove(path_.c_str());
  });
}

// Somebody else may have bound it to a path that fills the address: then the kernel counts one byte more than there is.
TEST_F(UnixSocket, an_adopted_listener_knows_the_longest_address_of_all) {
  std::string const directory = path_ + ".d";
  ASSERT_EQ(::mkdir(directory.c_str(), 0700), 0);
  std::string const longest = directory + '/' + std::string(107 - directory.size(), 'x');
  int const fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un a{.sun_family = AF_UNIX, .sun_path = {}};
  std::memcpy(a.sun_path, longest.data(), sizeof a.sun_path);
  ASSERT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&a), sizeof a), 0) << std::strerror(errno);
  ASSERT_EQ(::listen(fd, 1), 0);
  EXPECT_EQ(unix_listener::adopt(fd).address(), longest);
  std::remove(longest.c_str());
  std::remove(directory.c_str());
}

TEST_F(UnixSocket, descriptors_are_adopted_only_if_they_fit) {
  int fd[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
  run([&]() -> task<> {
    auto a = unix_stream::adopt(fd[0]);
    auto b = unix_stream::adopt(fd[1]);
    co_await a.write_all("adopted");
    a.close();
    EXPECT_EQ(co_await read_all(b), "adopted");
    auto listener = unix_listener::bind(path_);
    EXPECT_EQ(error_of([&] { (void)unix_stream::adopt(listener.native_handle()); }), std::errc::invalid_argument);
    auto again = unix_listener::adopt(listener.release());
    auto [client, server] = co_await skua::when_all(unix_stream::connect(path_), again.accept());
    EXPECT_EQ(error_of([&] { (void)unix_listener::adopt(client.native_handle()); }), std::errc::invalid_argument);
    auto tcp = skua::tcp_listener::bind(skua::endpoint::loopback(0));
    EXPECT_EQ(error_of([&] { (void)unix_listener::adopt(tcp.native_handle()); }), std::errc::address_family_not_supported);
    EXPECT_EQ(error_of([&] { (void)skua::tcp_listener::adopt(again.native_handle()); }), std::errc::wrong_protocol_type);
  });
}

} // namespace
