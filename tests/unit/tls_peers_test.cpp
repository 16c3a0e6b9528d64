// SPDX-License-Identifier: Apache-2.0
// Unit: tls_stream, and peers that behave badly, oddly, or not at all. The peer is not skua's, so that the test says what comes, and when (raw_tls.hpp).
#include "skua/error.hpp"
#include "skua/io_error.hpp"
#include "skua/runtime.hpp"
#include "skua/spawn.hpp"
#include "skua/time.hpp"
#include "skua/timeout.hpp"
#include "skua/tls.hpp"
#include "skua/unix_socket.hpp"
#include "skua/when_all.hpp"
#include "tests/support/certificates.hpp"
#include "tests/support/io_test.hpp"
#include "tests/support/raw_tls.hpp"
#include "tests/support/tcp_pair.hpp"
#include <algorithm>
#include <array>
#include <gtest/gtest.h>
#include <memory>
#include <openssl/bio.h>
#include <openssl/ssl.h>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace {

using namespace std::chrono_literals;
using namespace std::string_literals;
using skua::task;
using skua::tls_context;
using skua::tls_stream;
using skua::unix_stream;
using skua_test::certificate;
using skua_test::raw_tls;
using skua_test::single_worker;
using skua_test::text_of;
using skua_test::until_all_wait;

class TlsPeers : public skua_test::io_test {
protected:
  TlsPeers() {
    static bool const once = OPENSSL_init_ssl(0, nullptr) == 1;   // it allocates what it never frees
    EXPECT_TRUE(once);
    client.trust_only(authority.path());
  }
  certificate authority{"peers_authority", ""}, site{"peers_site", "DNS:site.test,IP:127.0.0.1", &authority};
  tls_context server = tls_context::server(site.path(), site.key_path()), client = tls_context::client();

  struct ends {
    tls_stream mine;
    std::unique_ptr<raw_tls> peer;
  };
  // skua's client, and a server that is not.
  task<ends> connected() {
    auto [a, b] = unix_stream::pair();
    auto peer = std::make_unique<raw_tls>(raw_tls::role::server, server, std::move(b));
    auto [mine, nothing] = co_await skua::when_all(tls_stream::client(client, std::move(a), "site.test"), peer->handshake());
    co_return ends{std::move(mine), std::move(peer)};
  }
};

task<std::string> read_once(tls_stream& s) {
  std::array<std::byte, 100> b;
  std::size_t const n = co_await s.read_some(b);
  co_return text_of(std::span(b).first(n));
}
task<> write(tls_stream& s, std::string_view what) { co_await s.write_all(what); }

// On a single worker: it is stopped where it waits, for the peer takes nothing.
task<> stopped_for_want_of_room(task<> writing) {
  auto h = skua::spawn(std::move(writing));
  co_await until_all_wait();
  EXPECT_FALSE(h.done());
  h.request_stop();
  EXPECT_THROW(co_await std::move(h), skua::task_stopped);
}

// Bytes that wait in OpenSSL to be sent.
std::size_t waiting(tls_stream const& s) { return BIO_ctrl_pending(SSL_get_wbio(static_cast<SSL*>(s.native_handle()))); }

TEST_F(TlsPeers, who_ends_a_handshake_is_an_error_that_says_so) {
  run([this]() -> task<> {
    auto answered_by = [&](std::string alert) -> task<std::error_code> {
      auto [a, b] = unix_stream::pair();
      co_await b.write_all(alert);
      co_return (co_await skua::as_result(tls_stream::client(client, std::move(a), "site.test"))).error();
    };
    EXPECT_EQ(co_await answered_by("\x15\x03\x03\0\x02\x01\0"s), skua::errc::end_of_stream);   // close_notify
    std::string const why = (co_await answered_by("\x15\x03\x03\0\x02\x02\x28"s)).message();
    EXPECT_TRUE(why.ends_with("alert handshake failure")) << why;   // OpenSSL 3.6 begins it otherwise than 3.5
  });
}

TEST_F(TlsPeers, what_has_failed_fails_again_and_tells_the_peer_why) {
  run([this]() -> task<> {
    constexpr bool newer = OPENSSL_VERSION_NUMBER >= 0x30200000;   // has other texts
    std::string const garbage = newer ? "bad record type" : "wrong version number", long_one = newer ? "encrypted length too long" : "packet length too long";
    std::pair<std::string, std::string> const cases[] = {{"garbage garbage", garbage},
                                                         {"\x17\x03\x03\xff\xff"s + std::string(0x4200, 'x'), long_one},
                                                         {"\x17\x03\x03\0\x30"s + std::string(0x30, 'x'), "decryption failed or bad record mac"},
                                                         {"\x15\x03\x03\0\x02\x02\x28"s, "bad record type"}};
    for (auto const& [bad, why] : cases) {
      auto e = co_await connected();
      co_await e.peer->send(bad);
      for (int i = 0; i < 3; ++i) EXPECT_EQ((co_await skua::as_result(read_once(e.mine))).error().message(), why);
      EXPECT_EQ((co_await skua::as_result(e.mine.write_all("x"))).error().message(), why);
      EXPECT_EQ((co_await skua::as_result(e.mine.shutdown_write())).error().message(), why);
      EXPECT_THROW((void)co_await e.peer->read(1), std::runtime_error);
      EXPECT_NE(SSL_get_shutdown(e.peer->ssl()) & SSL_RECEIVED_SHUTDOWN, 0) << why;   // it has got an alert
    }
  });
}

// In TLS 1.3 a client is done before the server has looked at its certificate.
TEST_F(TlsPeers, a_server_that_refuses_the_clients_certificate_says_so_to_the_first_read) {
  run([this]() -> task<> {
    server.trust_only(authority.path());
    server.require_client_certificate();
    auto [a, b] = unix_stream::pair();
    auto [mine, theirs] = co_await skua::when_all(tls_stream::client(client, std::move(a), "site.test"),
                                                  skua::as_result(tls_stream::server(server, std::move(b))));
    EXPECT_EQ(theirs.error().message(), "peer did not return a certificate");
    EXPECT_EQ((co_await skua::as_result(read_once(mine))).error().message(), "tlsv13 alert certificate required");
  });
}

// Session tickets of 3000 bytes, as they are with the client's certificate in them.
int add_to_ticket(SSL* s, void*) {
  std::string const data(3000, 't');
  return SSL_SESSION_set1_ticket_appdata(SSL_get_session(s), data.data(), data.size());
}
SSL_TICKET_RETURN take_ticket(SSL*, SSL_SESSION*, unsigned char const*, std::size_t, SSL_TICKET_STATUS, void*) { return SSL_TICKET_RETURN_USE; }

// OpenSSL writes nothing while it has a part of a message that is for itself.
TEST_F(TlsPeers, a_write_hears_a_message_to_its_end_that_has_come_in_part) {
  run([this]() -> task<> {
    SSL_CTX_set_session_ticket_cb(static_cast<SSL_CTX*>(server.native_handle()), add_to_ticket, take_ticket, nullptr);
    for (bool const somebody_reads : {false, true}) {
      auto e = co_await connected();
      SSL_set_max_send_fragment(e.peer->ssl(), 512);
      EXPECT_EQ(SSL_new_session_ticket(e.peer->ssl()), 1);
      std::string const ticket = e.peer->records_of("!");
      co_await e.peer->send(ticket.substr(0, 1300));
      auto reading = skua::spawn(read_once, std::ref(e.mine));
      co_await until_all_wait();
      if (!somebody_reads) {
        reading.request_stop();
        EXPECT_THROW((void)co_await std::move(reading), skua::task_stopped);
      }
      auto writing = skua::spawn(write, std::ref(e.mine), "while it comes");
      co_await until_all_wait();
      EXPECT_FALSE(writing.done());
      co_await e.peer->send(ticket.substr(1300));
      co_await writing;
      EXPECT_EQ(co_await e.peer->read(14), "while it comes");
      if (!somebody_reads) reading = skua::spawn(read_once, std::ref(e.mine));
      EXPECT_EQ(co_await std::move(reading), "!");
      SSL_new_session_ticket(e.peer->ssl());
      std::string const another = e.peer->records_of("?");
      co_await e.peer->send(another.substr(0, 1300));
      EXPECT_THROW((void)co_await skua::timeout(2ms, read_once(e.mine)), skua::timeout_error);
      auto ending = skua::spawn([](tls_stream& s) -> task<> { co_await s.shutdown_write(); }, std::ref(e.mine));
      co_await until_all_wait();
      co_await e.peer->send(another.substr(1300));
      co_await ending;
      EXPECT_EQ(co_await e.peer->read(1), "");
      EXPECT_EQ(co_await read_once(e.mine), "?");
    }
  }, single_worker);
}

TEST_F(TlsPeers, the_end_is_said_once_and_reading_goes_on) {
  run([this]() -> task<> {
    auto e = co_await connected();
    std::string both = e.peer->records_of("1");   // one statement each: `+` may begin on either side
    both += e.peer->records_of("2");
    co_await e.peer->send(both);
    EXPECT_EQ(co_await read_once(e.mine), "1");
    co_await e.mine.shutdown_write();
    co_await e.mine.shutdown_write();
    EXPECT_EQ(co_await read_once(e.mine), "2");
    EXPECT_EQ((co_await skua::as_result(e.mine.write_all("x"))).error().message(), "protocol is shutdown");
    EXPECT_EQ(co_await e.peer->read(1), "");
  });
}

TEST_F(TlsPeers, a_shutdown_that_was_stopped_is_done_by_calling_it_again) {
  run([this]() -> task<> {
    auto e = co_await connected();
    std::string const much(1'000'000, 'x');
    co_await stopped_for_want_of_room(write(e.mine, much));
    auto shut_down = [](tls_stream& s) -> task<> { co_await s.shutdown_write(); };
    co_await stopped_for_want_of_room(shut_down(e.mine));
    co_await e.peer->send(e.peer->records_of("meanwhile"));
    auto reading = skua::spawn([](raw_tls& p) -> task<std::string> { co_return co_await p.read(~std::size_t{0}); }, std::ref(*e.peer));
    co_await e.mine.shutdown_write();
    std::string const got = co_await reading;
    EXPECT_LT(0u, got.size());
    EXPECT_EQ(got.find_first_not_of('x'), got.npos);
    EXPECT_EQ(co_await read_once(e.mine), "meanwhile");
  }, single_worker);
}

// A peer that asks for new keys, says its last and leaves: the answer goes nowhere, but what it said is there.
TEST_F(TlsPeers, what_was_said_is_read_though_nothing_can_be_sent_any_more) {
  run([this]() -> task<> {
    auto e = co_await connected();
    auto reading = skua::spawn(read_once, std::ref(e.mine));
    co_await until_all_wait();
    std::string last = e.peer->key_update();
    last += e.peer->key_update();
    last += e.peer->records_of("last");
    last += e.peer->key_update();
    last += e.peer->records_of("words");
    SSL_shutdown(e.peer->ssl());
    co_await e.peer->send(last.substr(0, last.size() - 10));   // the rest comes behind the answers
    co_await e.peer->send(last.substr(last.size() - 10) + e.peer->said());
    e.peer->wire().close();
    EXPECT_EQ(co_await reading, "last");
    EXPECT_EQ(co_await read_once(e.mine), "words");
    for (int i = 0; i < 2; ++i) EXPECT_EQ(co_await read_once(e.mine), "");
    for (int i = 0; i < 2; ++i) EXPECT_EQ((co_await skua::as_result(e.mine.write_all("x"))).error(), std::errc::broken_pipe);
  }, single_worker);
}

TEST_F(TlsPeers, new_keys_are_taken_after_the_half_close) {
  run([this]() -> task<> {
    auto e = co_await connected();
    co_await e.mine.shutdown_write();
    for (int i = 0; i < 3; ++i) {
      std::string keys = e.peer->key_update();
      keys += e.peer->key_update();
      co_await e.peer->send(keys);
      co_await e.peer->send(e.peer->records_of("still there"));
      EXPECT_EQ(co_await read_once(e.mine), "still there");
    }
  });
}

// Its last words of the handshake, the request and the end in one piece: and it waits for nothing, not for session tickets either.
TEST_F(TlsPeers, a_client_may_say_what_it_has_to_say_and_leave) {
  run([this]() -> task<> {
    auto [a, b] = unix_stream::pair();
    raw_tls peer(raw_tls::role::client, client, std::move(b));
    auto serving = skua::spawn([](tls_context c, unix_stream over) -> task<std::string> {
      auto s = co_await tls_stream::server(c, std::move(over));
      std::string const request = co_await read_once(s);
      EXPECT_EQ((co_await skua::as_result(s.write_all("x"))).error(), std::errc::broken_pipe);
      EXPECT_EQ(co_await read_once(s), "");
      co_return request;
    }, server, std::move(a));
    while (SSL_do_handshake(peer.ssl()) != 1) {
      co_await peer.send(peer.said());
      co_await peer.hear();
    }
    std::string last = peer.said() + peer.records_of("fire and forget");
    SSL_shutdown(peer.ssl());
    co_await peer.send(last + peer.said());
    peer.wire().close();
    EXPECT_EQ(co_await serving, "fire and forget");
  }, single_worker);
}

TEST_F(TlsPeers, a_reader_does_not_wait_for_the_peer_to_read) {
  run([this]() -> task<> {
    auto e = co_await connected();
    auto fill = [&]() -> task<> {
      for (;;) co_await e.mine.write_all("to and fro");
    };
    co_await stopped_for_want_of_room(fill());
    for (int i = 0; i < 3; ++i) {
      std::string said = e.peer->key_update();
      said += e.peer->key_update();
      said += e.peer->records_of("news");
      co_await e.peer->send(said);
      EXPECT_EQ(co_await skua::timeout(10s, read_once(e.mine)), "news");
    }
    auto reading = skua::spawn([](raw_tls& p) -> task<std::string> { co_return co_await p.read(~std::size_t{0}); }, std::ref(*e.peer));
    co_await e.mine.shutdown_write();
    std::string const got = co_await reading;
    EXPECT_EQ(got.size() % 10, 0u);   // in order, with the answers in between
    EXPECT_TRUE(got.ends_with("to and fro"));
  }, single_worker);
}

// It is not read from any more, before its answers take all memory.
TEST_F(TlsPeers, a_peer_that_wants_answers_and_takes_none_is_held_up) {
  run([this]() -> task<> {
    auto e = co_await connected();
    std::string const much(3'000'000, 'x');
    auto writing = skua::spawn(write, std::ref(e.mine), much);
    auto reading = skua::spawn(read_once, std::ref(e.mine));
    co_await until_all_wait();
    auto flood = [&]() -> task<> {
      for (;;) {
        co_await e.peer->send(e.peer->key_update());
        EXPECT_LT(waiting(e.mine), 100'000u);
        if (HasFailure()) co_return;
      }
    };
    EXPECT_THROW(co_await skua::timeout(500ms, flood()), skua::timeout_error);
    e.mine.close();
    EXPECT_FALSE(co_await skua::as_result(std::move(writing)));
    EXPECT_FALSE(co_await skua::as_result(std::move(reading)));
  }, single_worker);
}

TEST_F(TlsPeers, a_second_reader_or_writer_is_refused__S18) {
  run([this]() -> task<> {
    auto e = co_await connected();
    std::string const much(3'000'000, 'x');
    auto writing = skua::spawn(write, std::ref(e.mine), much);
    auto reading = skua::spawn(read_once, std::ref(e.mine));
    co_await until_all_wait();
    EXPECT_THROW(co_await e.mine.write_all("x"), skua::usage_error);
    EXPECT_THROW(co_await e.mine.shutdown_write(), skua::usage_error);
    EXPECT_THROW((void)co_await read_once(e.mine), skua::usage_error);
    e.mine.close();
    EXPECT_EQ((co_await skua::as_result(std::move(writing))).error(), std::errc::operation_canceled);
    EXPECT_EQ((co_await skua::as_result(std::move(reading))).error(), std::errc::operation_canceled);
  }, single_worker);
}

TEST_F(TlsPeers, a_write_that_fails_says_what_the_kernel_has) {
  run([this]() -> task<> {
    auto e = co_await connected();
    std::string const much(3'000'000, 'x');
    auto writing = skua::spawn(write, std::ref(e.mine), much);
    co_await until_all_wait();
    e.mine.close();
    try {
      co_await writing;
      ADD_FAILURE() << "nobody has read it";
    } catch (skua::transfer_error const& failed) {
      EXPECT_EQ(failed.code(), std::errc::operation_canceled);
      EXPECT_GT(failed.transferred(), 0u);
      EXPECT_LT(failed.transferred(), much.size());
    }
  }, single_worker);
}

TEST_F(TlsPeers, a_closed_stream_says_so) {
  run([this]() -> task<> {
    auto e = co_await connected();
    EXPECT_TRUE(e.mine);
    e.mine.close();
    EXPECT_FALSE(e.mine);
    EXPECT_EQ((co_await skua::as_result(read_once(e.mine))).error(), std::errc::bad_file_descriptor);
    EXPECT_EQ((co_await skua::as_result(e.mine.write_all("x"))).error(), std::errc::bad_file_descriptor);
    EXPECT_THROW(co_await e.mine.shutdown_write(), skua::transfer_error);
    tls_stream none;
    EXPECT_THROW(co_await none.write_all("x"), skua::transfer_error);
    EXPECT_THROW((void)none.socket(), std::system_error);
    EXPECT_THROW((void)none.version(), std::system_error);
  });
}

TEST_F(TlsPeers, a_name_may_end_with_a_dot_and_has_no_zero_bytes) {
  run([this]() -> task<> {
    auto asked_for = [&](std::string name) -> task<std::error_code> {
      auto [a, b] = unix_stream::pair();
      auto [mine, theirs] = co_await skua::when_all(skua::as_result(tls_stream::client(client, std::move(a), name)),
                                                    skua::as_result(tls_stream::server(server, std::move(b))));
      co_return mine.error();
    };
    EXPECT_FALSE(co_await asked_for("site.test."));
    EXPECT_FALSE(co_await asked_for("SITE.test"));
    EXPECT_EQ((co_await asked_for("site.test..")).message(), "certificate verify failed");
    for (auto const& name : {""s, "."s, "127.0.0.1\0.evil"s, "site.test\0.evil"s}) EXPECT_EQ(co_await asked_for(name), std::errc::invalid_argument) << name;
  });
}

template <class F>
std::string error_of(F f) {
  try {
    f();
  } catch (std::system_error const& e) {
    return e.what();
  }
  return "none";
}

TEST_F(TlsPeers, files_that_cannot_be_read_are_named_with_what_is_wrong) {
  std::string const key = site.key_path();
  EXPECT_EQ(error_of([&] { (void)tls_context::server("/none.pem", key); }), "skua: certificate /none.pem: No such file or directory");
  EXPECT_EQ(error_of([&] { (void)tls_context::server(site.path(), "/none.key"); }), "skua: private key /none.key: No such file or directory");
  EXPECT_EQ(error_of([&] { client.trust("/none.pem"); }), "skua: authorities /none.pem: No such file or directory");
  EXPECT_EQ(error_of([&] { client.trust(key); }), "skua: authorities " + key + ": no certificate or crl found");
  ERR_raise(ERR_LIB_SSL, SSL_R_BAD_LENGTH);   // of somebody else on this thread
  EXPECT_EQ(error_of([&] { (void)tls_context::server(key, key); }), "skua: certificate " + key + ": no start line");
}

// OpenSSL would ask for the password at the terminal.
TEST_F(TlsPeers, a_key_that_is_encrypted_is_an_error) {
  std::string const path = testing::TempDir() + "skua_" + std::to_string(::getpid()) + "_encrypted.key";
  site.write_encrypted_key(path);
  EXPECT_TRUE(error_of([&] { (void)tls_context::server(site.path(), path); }).starts_with("skua: private key " + path + ", which is encrypted: "));
  std::remove(path.c_str());
}

TEST_F(TlsPeers, a_context_that_was_moved_from_is_the_same_context) {
  run([this]() -> task<> {
    tls_context const moved = std::move(client);
    EXPECT_EQ(moved.native_handle(), client.native_handle());   // NOLINT(bugprone-use-after-move): that is what this is about
    auto e = co_await connected();
    EXPECT_TRUE(e.mine);
  });
}

} // namespace
