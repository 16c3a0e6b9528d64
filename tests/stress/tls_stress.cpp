// SPDX-License-Identifier: Apache-2.0
// TLS connections, with everything that may go wrong at once. On each one both ends write and read at the same time, in two tasks each; reads and writes are
// stopped by timeouts and done again; then it ends in order, or one end closes, is stopped, resets the connection, half-closes it without saying so in TLS, or
// writes garbage into it. Handshakes are stopped, answered with something else, or not at all. Every message has a number:
//     received     each whole, as it was, once, in order. Of a connection that ends in order: all but those whose writing was stopped, of which each
//                  comes whole or not at all
//     new keys     every other connection changes them (TLS 1.3), while its other end writes
//     ends         a task that is not done within a minute is a lost wake-up. A clean end is never seen where there was none
// No task, frame or descriptor is left.
//
// usage: tls_stress [--seconds S] [--seed N] [--workers N] [--rounds N]
#include "io/descriptor.hpp"
#include "skua/error.hpp"
#include "skua/io_error.hpp"
#include "skua/runtime.hpp"
#include "skua/shield.hpp"
#include "skua/spawn.hpp"
#include "skua/this_task.hpp"
#include "skua/time.hpp"
#include "skua/timeout.hpp"
#include "skua/tls.hpp"
#include "skua/unix_socket.hpp"
#include "skua/when_all.hpp"
#include "tests/support/certificates.hpp"
#include "tests/support/stress_rounds.hpp"
#include "tests/support/tcp_pair.hpp"
#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <memory>
#include <openssl/ssl.h>
#include <optional>
#include <string>
#include <sys/socket.h>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::task;
using skua::tls_context;
using skua::tls_stream;
using skua::unix_stream;

struct totals {
  std::atomic<std::uint64_t> connections{0}, clean{0}, messages{0}, stopped{0}, handshakes_ended{0};
} total;

struct contexts {
  tls_context client, old_client, server;   // old: TLS 1.2
};

// ---------------------------------------------------------------------------------------------- messages: size, number, and bytes that follow from the number

constexpr std::size_t header = 8, longest = 16'000;   // within a record: it is encrypted as a whole or not at all

struct direction {
  std::vector<char> sent;      // of each number: 's' sent, '?' stopped while it was being sent. Of the writer, until it has ended
  std::vector<unsigned> got;   // of the reader
  bool said_the_end = false, saw_the_end = false;
};

std::string message_of(unsigned number, std::size_t size) {
  std::string m(size, 0);
  auto const n = static_cast<std::uint32_t>(number), s = static_cast<std::uint32_t>(size);
  std::memcpy(m.data(), &s, 4);
  std::memcpy(m.data() + 4, &n, 4);
  for (std::size_t i = header; i < size; ++i) m[i] = static_cast<char>(number * 31 + i);
  return m;
}

// What has come of messages, in pieces.
class assembly {
public:
  void add(direction& d, std::span<std::byte const> piece) {
    buffer_.append(reinterpret_cast<char const*>(piece.data()), piece.size());
    for (;;) {
      if (buffer_.size() < header) return;
      std::uint32_t size, number;
      std::memcpy(&size, buffer_.data(), 4);
      std::memcpy(&number, buffer_.data() + 4, 4);
      STRESS_CHECK(size >= header && size <= longest);
      if (buffer_.size() < size) return;
      STRESS_CHECK(buffer_.compare(0, size, message_of(number, size)) == 0);
      STRESS_CHECK(d.got.empty() || d.got.back() < number);
      d.got.push_back(number);
      buffer_.erase(0, size);
      ++total.messages;
    }
  }
  bool empty() const { return buffer_.empty(); }

private:
  std::string buffer_;
};

// After both tasks have ended.
void check_direction(direction const& d) {
  auto next = d.got.begin();
  for (unsigned n = 0; n < d.sent.size(); ++n) {
    bool const came = next != d.got.end() && *next == n;
    if (came) ++next;
    if (d.saw_the_end) STRESS_CHECK(came || d.sent[n] == '?');
  }
  STRESS_CHECK(next == d.got.end());   // nothing that was not sent
  STRESS_CHECK(!d.saw_the_end || d.said_the_end);
}

// ---------------------------------------------------------------------------------------------- one end of a connection

struct end_of_connection {
  tls_stream stream;
  direction* out;
  direction* in;
  rng random;   // of its writer
};
using shared_end = std::shared_ptr<end_of_connection>;

// A task that fails or is stopped closes its end: the others, who may wait for it to read or to write, come to theirs.
class closes_unless_done {
public:
  explicit closes_unless_done(shared_end e) noexcept : end_(std::move(e)) {}
  closes_unless_done(closes_unless_done const&) = delete;
  ~closes_unless_done() {
    if (end_ != nullptr) end_->stream.close();
  }
  void done() noexcept { end_ = nullptr; }

private:
  shared_end end_;
};

std::chrono::microseconds some_time(rng& r) { return std::chrono::microseconds(r.below(400)); }

// True: it was not stopped.
task<bool> done_in_a_while(rng& r, task<> t) {
  try {
    co_await skua::timeout(some_time(r), std::move(t));
    co_return true;
  } catch (skua::timeout_error const&) {
  }
  ++total.stopped;
  co_return false;
}

task<> write_messages(shared_end e, unsigned count, bool new_keys) {
  closes_unless_done guard(e);
  rng& r = e->random;
  for (unsigned n = 0; n < count; ++n) {
    e->out->sent.push_back('?');
    std::string const m = message_of(n, header + r.below(r.one_in(4) ? longest - header : 200));
    bool all = true;
    if (r.one_in(3))
      all = co_await done_in_a_while(r, e->stream.write_all(m));
    else
      co_await e->stream.write_all(m);
    if (all) e->out->sent.back() = 's';
    // This task alone calls members: it reads only afterwards.
    if (new_keys && r.one_in(4)) (void)SSL_key_update(static_cast<SSL*>(e->stream.native_handle()), SSL_KEY_UPDATE_REQUESTED);
  }
  e->out->said_the_end = true;
  while (r.one_in(2)) (void)co_await done_in_a_while(r, e->stream.shutdown_write());
  co_await e->stream.shutdown_write();
  guard.done();
}

task<> read_messages(shared_end e, rng r) {
  closes_unless_done guard(e);
  assembly a;
  std::vector<std::byte> buffer(1 + r.below(r.one_in(2) ? 50 : 40'000));
  for (;;) {
    std::size_t n = 1;
    try {
      if (r.one_in(3))
        n = co_await skua::timeout(some_time(r), e->stream.read_some(buffer));
      else
        n = co_await e->stream.read_some(buffer);
    } catch (skua::timeout_error const&) {
      ++total.stopped;
      continue;
    }
    if (n == 0) break;
    a.add(*e->in, std::span(buffer).first(n));
  }
  STRESS_CHECK(a.empty());
  e->in->saw_the_end = true;
  guard.done();
}

// What becomes of a connection that somebody breaks.
bool is_an_end(std::error_code e) {
  return e == skua::errc::end_of_stream || e == std::errc::connection_reset || e == std::errc::broken_pipe || e == std::errc::operation_canceled ||
         e == std::errc::bad_file_descriptor || e == std::errc::not_connected || e.category() == skua::tls_category();
}
// True: it came to its end.
task<bool> ended(skua::join_handle<>& h, bool may_fail) {
  try {
    co_await h;
    co_return true;
  } catch (skua::task_stopped const&) {
    STRESS_CHECK(may_fail);
  } catch (std::system_error const& e) {
    if (!may_fail || !is_an_end(e.code())) std::printf("%s\n", e.what());
    STRESS_CHECK(may_fail && e.code() && is_an_end(e.code()));
  }
  co_return false;
}

// ---------------------------------------------------------------------------------------------- connections

enum class fate : unsigned { orderly, closed, stopped, reset, cut, garbage, count };

task<> break_it(shared_end e, fate f, rng r, skua::join_handle<> const& writer, skua::join_handle<> const& reader) {
  co_await skua::sleep_for(some_time(r));
  int const fd = e->stream.socket().native_handle();
  switch (f) {
  case fate::closed: e->stream.close(); break;
  case fate::stopped:
    writer.request_stop();
    if (reader && r.one_in(2)) reader.request_stop();
    break;
  case fate::reset: {
    linger const now{1, 0};
    ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    e->stream.close();
    break;
  }
  case fate::cut: ::shutdown(fd, r.one_in(2) ? SHUT_WR : SHUT_RDWR); break;
  case fate::garbage: (void)::send(fd, "\x17\x03\x03\x00\x05 nothing good", 18, MSG_NOSIGNAL | MSG_DONTWAIT); break;
  default: break;
  }
}

struct plain_ends {
  std::optional<tls_stream> client, server;
};

tls_context const& whose(contexts const& c, rng& r) { return r.one_in(4) ? c.old_client : c.client; }

// Over TCP, or Unix-domain sockets. Either side may be stopped in the middle; or the other one says something that is no TLS, and waits.
template <class Stream>
task<plain_ends> shake_hands(contexts const& c, Stream a, Stream b, rng& r) {
  plain_ends e;
  bool const hasty = r.one_in(6), wrong = !hasty && r.one_in(8);
  if (wrong) {
    std::string const text = r.one_in(2) ? "GET / HTTP/1.0\r\n\r\n" : std::string(1 + r.below(100), static_cast<char>(r.below(256)));
    co_await b.write_all(text);
    if (r.one_in(2)) b.shutdown_write();
    try {
      auto shaking = r.one_in(2) ? tls_stream::client(whose(c, r), std::move(a), "site.test") : tls_stream::server(c.server, std::move(a));
      (void)co_await skua::timeout(2ms, std::move(shaking));
      STRESS_CHECK(false && "a handshake with somebody who does not speak TLS");
    } catch (skua::timeout_error const&) {
    } catch (std::system_error const& x) {
      STRESS_CHECK(x.code() && is_an_end(x.code()));
    }
    co_return e;
  }
  auto one_side = [&](task<tls_stream> t, std::optional<tls_stream>& to, std::chrono::microseconds limit) -> task<> {
    try {
      if (hasty)
        to = co_await skua::timeout(limit, std::move(t));
      else
        to = co_await std::move(t);
    } catch (skua::timeout_error const&) {
    } catch (std::system_error const& x) {
      STRESS_CHECK(hasty && x.code() && is_an_end(x.code()));
    }
  };
  auto const limit_of_client = std::chrono::microseconds(r.below(4000)), limit_of_server = std::chrono::microseconds(r.below(4000));
  co_await skua::when_all(one_side(tls_stream::client(whose(c, r), std::move(a), "site.test"), e.client, limit_of_client),
                          one_side(tls_stream::server(c.server, std::move(b)), e.server, limit_of_server));
  STRESS_CHECK(hasty || (e.client && e.server));
  co_return e;
}

task<> connection(contexts const& c, std::uint64_t seed) {
  rng r{seed};
  plain_ends ends;
  if (r.one_in(2)) {
    auto [a, b] = unix_stream::pair();
    ends = co_await shake_hands(c, std::move(a), std::move(b), r);
  } else {
    auto pair = co_await connect_pair();
    ends = co_await shake_hands(c, std::move(pair.client), std::move(pair.server), r);
  }
  ++total.connections;
  if (!ends.client || !ends.server) {
    ++total.handshakes_ended;
    co_return;
  }
  auto const f = r.one_in(2) ? fate::orderly : static_cast<fate>(r.below(static_cast<unsigned>(fate::count)));
  direction there, back;
  auto const client = std::make_shared<end_of_connection>(std::move(*ends.client), &there, &back, rng{r.next()});
  auto const server = std::make_shared<end_of_connection>(std::move(*ends.server), &back, &there, rng{r.next()});
  // With new keys the client writes first, in its only task, and reads then: so the server writes no more than the kernel holds meanwhile.
  bool const new_keys = r.one_in(2);
  auto answers = skua::spawn(write_messages, server, new_keys ? 1 : r.below(40), false);
  auto hears = skua::spawn(read_messages, server, rng{r.next()});
  auto says = skua::spawn([](shared_end e, unsigned count, bool keys, rng own) -> task<> {
    co_await write_messages(e, count, keys);
    if (keys) co_await read_messages(e, own);
  }, client, r.below(40), new_keys, rng{r.next()});
  skua::join_handle<> listens;
  if (!new_keys) listens = skua::spawn(read_messages, client, rng{r.next()});
  if (f != fate::orderly) co_await break_it(r.one_in(2) ? client : server, f, rng{r.next()}, says, listens);
  bool clean = true;
  bool const may_fail = f != fate::orderly;
  clean &= co_await ended(says, may_fail);
  clean &= co_await ended(answers, may_fail);
  clean &= co_await ended(hears, may_fail);
  if (listens) clean &= co_await ended(listens, may_fail);
  check_direction(there);
  check_direction(back);
  STRESS_CHECK(f != fate::orderly || (there.saw_the_end && back.saw_the_end));
  total.clean += clean;
}

task<> play(contexts const& c, std::uint64_t seed) {
  rng r{seed};
  std::vector<task<>> all;
  for (unsigned i = 4 + r.below(8); i != 0; --i) all.push_back(connection(c, r.next()));
  co_await skua::when_all(std::move(all));
}

} // namespace

int main(int argc, char** argv) {
  stress_options const o(argc, argv);
  certificate const authority("stress_authority", ""), site("stress_site", "DNS:site.test", &authority);
  contexts c{tls_context::client(), tls_context::client(), tls_context::server(site.path(), site.key_path())};
  for (auto* const client : {&c.client, &c.old_client}) client->trust_only(authority.path());
  SSL_CTX_set_max_proto_version(static_cast<SSL_CTX*>(c.old_client.native_handle()), TLS1_2_VERSION);
  {
    skua::runtime rt({.workers = o.workers});
    for (std::uint64_t n = 0; o.go_on(n); ++n) {
      seed_of_round = o.seed + n;
      await_round(rt, rt.spawn(play, std::cref(c), o.seed + n));
      STRESS_CHECK(skua::detail::open_descriptors() == 0);
    }
  }
  check_nothing_is_left();
  std::printf("%llu connections, %llu of them to their end, %llu handshakes that came to nothing; %llu messages, %llu stops: ok\n",
              static_cast<unsigned long long>(total.connections), static_cast<unsigned long long>(total.clean),
              static_cast<unsigned long long>(total.handshakes_ended), static_cast<unsigned long long>(total.messages),
              static_cast<unsigned long long>(total.stopped));
}
