// SPDX-License-Identifier: Apache-2.0
// Unit: tls_context and tls_stream.
#include "skua/tls.hpp"
#include "skua/buffered_reader.hpp"
#include "skua/io_error.hpp"
#include "skua/net.hpp"
#include "skua/runtime.hpp"
#include "skua/shield.hpp"
#include "skua/time.hpp"
#include "skua/timeout.hpp"
#include "skua/when_all.hpp"
#include "tests/support/certificates.hpp"
#include "tests/support/io_test.hpp"
#include "tests/support/tcp_pair.hpp"
#include <array>
#include <gtest/gtest.h>
#include <openssl/ssl.h>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace {

using namespace std::chrono_literals;
using skua::task;
using skua::tls_context;
using skua::tls_stream;
using skua::unix_stream;
using skua_test::certificate;
using skua_test::text_of;

class Tls : public skua_test::io_test {
protected:
  Tls() {
    static bool const once = OPENSSL_init_ssl(0, nullptr) == 1;   // it allocates what it never frees
    EXPECT_TRUE(once);
  }
  certificate authority{"authority", ""}, site{"site", "DNS:site.test,DNS:*.wild.test,IP:127.0.0.1", &authority};
  tls_context server = tls_context::server(site.path(), site.key_path()), client = trusting(authority);

  static tls_context trusting(certificate const& a) {
    auto c = tls_context::client();
    c.trust_only(a.path());
    return c;
  }
  struct ends {
    skua::result<tls_stream> client, server;
  };
  // Both handshakes, over a connection.
  static task<ends> shake(tls_context c, tls_context s, std::string name = "site.test") {
    auto [a, b] = unix_stream::pair();
    auto [ra, rb] = co_await skua::when_all(skua::as_result(tls_stream::client(c, std::move(a), name)), skua::as_result(tls_stream::server(s, std::move(b))));
    co_return ends{std::move(ra), std::move(rb)};
  }
  static task<std::pair<tls_stream, tls_stream>> connected(tls_context c, tls_context s) {
    auto e = co_await shake(std::move(c), std::move(s));
    co_return std::pair(std::move(e.client).value(), std::move(e.server).value());
  }
  static std::string message(skua::result<tls_stream> const& r) { return r.error().message(); }
};

task<std::string> read_all(tls_stream& s) {
  std::string all;
  std::array<std::byte, 1000> b;
  while (std::size_t const n = co_await s.read_some(b)) all += text_of(std::span(b).first(n));
  co_return all;
}

TEST_F(Tls, carries_bytes_both_ways_and_ends_in_order) {
  run([this]() -> task<> {
    auto [c, s] = co_await connected(client, server);
    EXPECT_EQ(c.version(), "TLSv1.3");
    EXPECT_EQ(s.protocol(), "");
    co_await c.write_all("hello");
    std::array<std::byte, 5> five;
    co_await s.read_exactly(five);
    EXPECT_EQ(text_of(five), "hello");
    EXPECT_EQ(co_await s.read_some(std::span(five).first(0)), 0u);
    co_await s.write_all("");
    co_await c.shutdown_write();
    EXPECT_EQ(co_await read_all(s), "");
    EXPECT_EQ(co_await s.read_some(five), 0u);   // again and again
    co_await s.write_all("after the half-close");
    co_await s.shutdown_write();
    EXPECT_EQ(co_await read_all(c), "after the half-close");
    EXPECT_EQ((co_await skua::as_result(c.write_all("x"))).has_value(), false);
  });
}

TEST_F(Tls, connects_over_tcp_and_reads_lines) {
  run([this]() -> task<> {
    auto listener = skua::tcp_listener::bind(skua::endpoint::loopback(0));
    auto serving = skua::spawn([](tls_context with, skua::tcp_listener& l) -> task<> {
      auto s = co_await tls_stream::server(with, co_await l.accept());
      skua::buffered_reader reader(s);
      while (auto const line = co_await reader.read_line()) {
        std::string const answer = "<" + std::string(*line) + ">\n";
        co_await s.write_all(answer);
      }
      co_await s.shutdown_write();
    }, server, std::ref(listener));
    auto s = co_await tls_stream::connect(client, "127.0.0.1", listener.local_endpoint().port());
    co_await s.write_all("one\ntwo\n");
    co_await s.shutdown_write();
    EXPECT_EQ(co_await read_all(s), "<one>\n<two>\n");
    co_await serving;
  });
}

TEST_F(Tls, refuses_whoever_is_not_who_it_should_be) {
  run([this]() -> task<> {
    for (std::string const name : {"site.test", "127.0.0.1", "a.wild.test"}) {
      auto const e = co_await shake(client, server, name);
      EXPECT_TRUE(e.client && e.server) << name << ": " << message(e.client);
    }
    for (std::string const name : {"other.test", "127.0.0.2", "a.b.wild.test"}) {
      auto const e = co_await shake(client, server, name);
      EXPECT_EQ(message(e.client), "certificate verify failed") << name;
      EXPECT_FALSE(e.server) << name;
    }
    for (std::string const& name : {std::string(), std::string("site.test\0.evil", 15)}) {
      auto [a, b] = unix_stream::pair();
      EXPECT_THROW((void)co_await tls_stream::client(client, std::move(a), name), std::system_error);
    }
    certificate const stranger("stranger", "");
    EXPECT_EQ(message((co_await shake(trusting(stranger), server)).client), "certificate verify failed");
    EXPECT_EQ(message((co_await shake(tls_context::client(), server)).client), "certificate verify failed");   // the system knows nothing of it
    auto anybody = tls_context::client();
    anybody.trust_anybody();
    EXPECT_TRUE((co_await shake(anybody, server, "other.test")).client);
    certificate const old("old", "DNS:site.test", &authority, -10);
    try {
      auto [a, b] = unix_stream::pair();
      auto dated = [](tls_context with, unix_stream over) -> task<> { (void)co_await skua::as_result(tls_stream::server(with, std::move(over))); };
      auto const serving = skua::spawn(dated, tls_context::server(old.path(), old.key_path()), std::move(b));
      (void)co_await tls_stream::client(client, std::move(a), "site.test");
      ADD_FAILURE();
    } catch (std::system_error const& e) {
      EXPECT_NE(std::string_view(e.what()).find("certificate has expired"), std::string_view::npos) << e.what();
    }
  });
}

TEST_F(Tls, asks_clients_for_certificates) {
  run([this]() -> task<> {
    auto strict = tls_context::server(site.path(), site.key_path());
    strict.trust_only(authority.path());
    strict.require_client_certificate();
    auto const without = co_await shake(client, strict);
    EXPECT_FALSE(without.server);
    certificate const member("member", "DNS:member.test", &authority);
    auto with = trusting(authority);
    with.use_certificate(member.path(), member.key_path());
    auto const e = co_await shake(with, strict);
    EXPECT_TRUE(e.server && e.client);
  });
}

TEST_F(Tls, agrees_on_a_protocol) {
  run([this]() -> task<> {
    server.set_protocols({"h2", "http/1.1"});
    auto e = co_await shake(client, server);   // who names none takes none
    EXPECT_EQ(e.client.value().protocol(), "");
    client.set_protocols({"http/1.1", "h2"});
    e = co_await shake(client, server);
    EXPECT_EQ(e.client.value().protocol(), "h2");   // the server's preference
    EXPECT_EQ(e.server.value().protocol(), "h2");
    auto other = trusting(authority);
    other.set_protocols({"gopher"});
    e = co_await shake(other, server);
    EXPECT_FALSE(e.client || e.server);
    EXPECT_THROW(other.set_protocols({""}), std::invalid_argument);
  });
}

TEST_F(Tls, what_cannot_be_read_is_a_clear_error) {
  EXPECT_THROW((void)tls_context::server("/none.pem", "/none.key"), std::system_error);
  try {
    tls_context::client().trust_only("/none.pem");
    ADD_FAILURE() << "there is no such file";
  } catch (std::system_error const& e) {
    EXPECT_EQ(e.code(), std::errc::no_such_file_or_directory) << e.what();   // OpenSSL has no text for an errno
  }
  certificate const other("other", "DNS:other.test");
  EXPECT_THROW((void)tls_context::server(site.path(), other.key_path()), std::system_error);
  EXPECT_THROW(client.trust("/none.pem"), std::system_error);
  run([]() -> task<> {
    tls_stream none;
    std::array<std::byte, 1> b;
    EXPECT_FALSE(none);
    EXPECT_EQ((co_await skua::as_result(none.read_some(b))).error(), std::errc::bad_file_descriptor);
    none.close();
  });
}

TEST_F(Tls, peers_that_speak_something_else_or_break_off_are_errors) {
  run([this]() -> task<> {
    {
      auto [a, b] = unix_stream::pair();
      co_await a.write_all("GET / HTTP/1.0\r\n\r\n");
      auto const r = co_await skua::as_result(tls_stream::server(server, std::move(b)));
      EXPECT_EQ(r.error().message(), "http request");
    }
    {
      auto [a, b] = unix_stream::pair();
      a.close();
      EXPECT_EQ((co_await skua::as_result(tls_stream::server(server, std::move(b)))).error(), skua::errc::end_of_stream);
    }
    auto [c, s] = co_await connected(client, server);
    co_await c.write_all("half");
    c.socket().shutdown_write();   // without close_notify: something may be missing
    std::array<std::byte, 4> b;
    co_await s.read_exactly(b);
    auto const cut = co_await skua::as_result(s.read_some(b));
    EXPECT_EQ(cut.error(), skua::errc::end_of_stream);
  });
}

TEST_F(Tls, shutdown_read_is_an_end_that_the_peer_need_not_say) {
  run([this]() -> task<> {
    auto [c, s] = co_await connected(client, server);
    co_await c.write_all("arrived");
    auto reader = skua::spawn([](tls_stream& t) -> task<std::string> { co_return co_await read_all(t); }, std::ref(s));
    co_await skua::sleep_for(2ms);
    s.shutdown_read();
    EXPECT_EQ(co_await reader, "arrived");
    co_await s.write_all("answer");   // the other half goes on
    co_await s.shutdown_write();
    EXPECT_EQ(co_await read_all(c), "answer");
    tls_stream().shutdown_read();   // nothing
  });
}

TEST_F(Tls, the_end_may_be_said_again_when_both_sides_have_ended) {
  run([this]() -> task<> {
    auto pair = co_await skua_test::connect_pair();
    auto [c, s] = co_await skua::when_all(tls_stream::client(client, std::move(pair.client), "site.test"), tls_stream::server(server, std::move(pair.server)));
    co_await c.shutdown_write();
    EXPECT_EQ(co_await read_all(s), "");
    co_await s.shutdown_write();
    EXPECT_EQ(co_await read_all(c), "");
    co_await c.shutdown_write();
    co_await s.shutdown_write();
  });
}

// Each side sends much before it reads: neither waits for the other to have read.
TEST_F(Tls, much_goes_both_ways_at_once) {
  run([this]() -> task<> {
    auto [c, s] = co_await connected(client, server);
    std::string sent(4'000'000, 0);
    for (std::size_t i = 0; i < sent.size(); ++i) sent[i] = static_cast<char>(i * 31 + i / 251);
    auto talk = [](tls_stream& t, std::string const& what) -> task<bool> {
      auto write = [](tls_stream& to, std::string const& w) -> task<> {
        co_await to.write_all(w);
        co_await to.shutdown_write();
      };
      auto [nothing, got] = co_await skua::when_all(write(t, what), read_all(t));
      co_return got == what;
    };
    auto [a, b] = co_await skua::when_all(talk(c, sent), talk(s, sent));
    EXPECT_TRUE(a && b);
  });
}

TEST_F(Tls, new_keys_are_taken_while_it_is_read_and_written) {
  run([this]() -> task<> {
    auto [c, s] = co_await connected(client, server);
    auto echoing = skua::spawn([](tls_stream t) -> task<> {
      std::array<std::byte, 100> b;
      while (std::size_t const n = co_await t.read_some(b)) co_await t.write_all(std::span(b).first(n));
      co_await t.shutdown_write();
    }, std::move(s));
    std::array<std::byte, 4> answer;
    for (int i = 0; i < 20; ++i) {
      EXPECT_EQ(SSL_key_update(static_cast<SSL*>(c.native_handle()), SSL_KEY_UPDATE_REQUESTED), 1);
      co_await c.write_all("ping");
      co_await c.read_exactly(answer);
      EXPECT_EQ(text_of(answer), "ping");
    }
    co_await c.shutdown_write();
    EXPECT_EQ(co_await read_all(c), "");
    co_await echoing;
  });
}

TEST_F(Tls, a_stop_loses_nothing) {
  run([this]() -> task<> {
    auto [c, s] = co_await connected(client, server);
    std::array<std::byte, 4> b;
    EXPECT_THROW((void)co_await skua::timeout(2ms, s.read_some(b)), skua::timeout_error);
    co_await c.write_all("late");
    EXPECT_EQ(co_await s.read_some(b), 4u);
    // A write that nobody takes is stopped, again and again; what it had encrypted arrives whole, and in order.
    std::string const much(3'000'000, 'x');
    EXPECT_THROW(co_await skua::timeout(20ms, c.write_all(much)), skua::timeout_error);
    EXPECT_THROW(co_await skua::timeout(5ms, c.write_all(much)), skua::timeout_error);
    auto reading = skua::spawn([](tls_stream t) -> task<std::string> { co_return co_await read_all(t); }, std::move(s));
    co_await c.write_all("the end");
    co_await c.shutdown_write();
    std::string const got = co_await reading;
    EXPECT_GE(got.size(), 7u);
    EXPECT_EQ(got.substr(got.size() - 7), "the end");
    EXPECT_EQ(got.find_first_not_of('x'), got.size() - 7);
  });
}

TEST_F(Tls, a_handshake_that_nobody_answers_can_be_stopped_and_a_stream_closed) {
  run([this]() -> task<> {
    auto [a, b] = unix_stream::pair();
    EXPECT_THROW((void)co_await skua::timeout(5ms, tls_stream::client(client, std::move(a), "site.test")), skua::timeout_error);
    std::array<std::byte, 4096> hello;
    while (co_await b.read_some(hello) != 0) {}   // its connection is closed
    auto [c, s] = co_await connected(client, server);
    auto reading = skua::spawn([](tls_stream& t) -> task<std::error_code> {
      std::array<std::byte, 1> one;
      co_return (co_await skua::as_result(t.read_some(one))).error();
    }, std::ref(s));
    co_await skua_test::until_all_wait();
    s.close();
    EXPECT_EQ(co_await reading, std::errc::operation_canceled);
  }, skua_test::single_worker);
}

} // namespace
