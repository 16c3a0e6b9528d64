// SPDX-License-Identifier: Apache-2.0
// UDP sockets under random stops, timeouts and closes. Several tasks send numbered datagrams to a socket that one task at a time receives from; no more are on
// their way than the kernel keeps, so none may be lost:
//     received     each once, as it was, from whom it came; also by receives that are stopped again and again, and taken over by another task (S4)
//     sent         a send that was stopped has sent nothing
//     closed       a socket that is closed while a task waits for it, or is about to: operation_canceled or bad_file_descriptor, and its number is free, and
//                  soon another one's, whose datagrams it must not see
//     nobody there a connected socket is told so, and stays good
// A task that is not done within a minute is a lost edge. No task, frame or descriptor is left.
//
// usage: udp_stress [--seconds S] [--seed N] [--workers N] [--rounds N]
#include "io/descriptor.hpp"
#include "skua/runtime.hpp"
#include "skua/semaphore.hpp"
#include "skua/shield.hpp"
#include "skua/spawn.hpp"
#include "skua/this_task.hpp"
#include "skua/time.hpp"
#include "skua/timeout.hpp"
#include "skua/udp.hpp"
#include "skua/when_all.hpp"
#include "tests/support/stress_rounds.hpp"
#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <deque>
#include <memory>
#include <optional>
#include <poll.h>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::endpoint;
using skua::task;
using skua::udp_socket;

struct totals {
  std::atomic<std::uint64_t> received{0}, stopped{0}, closed{0}, refused{0};
} total;

std::chrono::microseconds some_time(rng& r) { return std::chrono::microseconds(r.below(200)); }

// ---------------------------------------------------------------------------------------------- nothing is lost

constexpr int most_on_their_way = 32;   // of at most 1500 bytes: far less than the kernel's least buffer by default
struct datagram_header {
  std::uint64_t of;       // this receiver
  std::uint32_t sender, number, size;
};

struct receiver {
  udp_socket socket = udp_socket::bind(endpoint::loopback(0));
  endpoint const at = socket.local_endpoint();
  std::uint64_t const key;
  skua::counting_semaphore room{most_on_their_way};
  struct sender_side {
    endpoint from;
    std::deque<std::atomic<char>> sent;   // 0: not begun; '?' under way, or stopped; 's' sent
  };
  std::deque<sender_side> senders;
  std::vector<std::vector<char>> got;   // of each sender, of each number
  std::atomic<int> sending{0};

  explicit receiver(std::uint64_t k) : key(k) {}
};

task<> send_numbered(receiver& to, unsigned me, rng r, udp_socket socket) {
  std::array<std::byte, 1500> buffer{};
  auto& mine = to.senders[me];
  for (std::uint32_t n = 0; n < mine.sent.size(); ++n) {
    auto permit = co_await to.room.acquire();
    auto const size = static_cast<std::uint32_t>(sizeof(datagram_header) + r.below(1500 - sizeof(datagram_header)));
    datagram_header const h{to.key, me, n, size};
    std::memcpy(buffer.data(), &h, sizeof h);
    for (std::size_t i = sizeof h; i < size; ++i) buffer[i] = static_cast<std::byte>(n * 7 + i);
    mine.sent[n] = '?';
    std::span<std::byte const> const message(buffer.data(), size);
    bool done = true;
    if (r.one_in(4)) {
      try {
        co_await skua::timeout(some_time(r), socket.send_to(message, to.at));
      } catch (skua::timeout_error const&) {
        ++total.stopped;
        done = false;
      }
    } else {
      co_await socket.send_to(message, to.at);
    }
    if (done) {
      mine.sent[n] = 's';
      permit.forget();   // whoever receives it gives it back
    }
    if (r.one_in(16)) co_await skua::sleep_for(some_time(r));
  }
  --to.sending;
}

void take(receiver& of, skua::datagram const& d, std::span<std::byte const> bytes) {
  STRESS_CHECK(!d.truncated && d.size >= sizeof(datagram_header));
  datagram_header h;
  std::memcpy(&h, bytes.data(), sizeof h);
  STRESS_CHECK(h.of == of.key && h.size == d.size && h.sender < of.senders.size());
  STRESS_CHECK(d.from == of.senders[h.sender].from);
  for (std::size_t i = sizeof h; i < h.size; ++i) STRESS_CHECK(bytes[i] == static_cast<std::byte>(h.number * 7 + i));
  char& got = of.got[h.sender].at(h.number);
  STRESS_CHECK(got == 0);
  got = 1;
  of.room.release();
  ++total.received;
}

task<> receive_some(receiver& of, unsigned count) {
  std::array<std::byte, 1600> buffer;
  for (; count != 0; --count) {
    auto const d = co_await of.socket.receive(buffer);
    take(of, d, buffer);   // no suspension in between: what was received is counted
  }
}

bool all_is_there(receiver const& of) {
  for (std::size_t s = 0; s < of.senders.size(); ++s)
    for (std::size_t n = 0; n < of.senders[s].sent.size(); ++n)
      if (of.senders[s].sent[n] == 's' && of.got[s][n] == 0) return false;
  return true;
}

// One task after the other receives; each is stopped after a while, from within or by its handle.
task<> receive_all(receiver& of, rng r) {
  while (of.sending != 0 || !all_is_there(of)) {
    if (r.one_in(2)) {
      try {
        co_await skua::timeout(some_time(r), receive_some(of, 1 + r.below(30)));
      } catch (skua::timeout_error const&) {
        ++total.stopped;
      }
    } else {
      auto h = skua::spawn(receive_some, std::ref(of), 1 + r.below(30));
      if (r.one_in(2)) co_await skua::sleep_for(some_time(r));
      h.request_stop();
      total.stopped += !co_await skua::stopped_as_optional(std::move(h));
    }
  }
}

task<> nothing_is_lost(std::uint64_t seed) {
  rng r{seed};
  receiver to(r.next());
  std::vector<task<>> all;
  for (unsigned s = 1 + r.below(4); s != 0; --s) {
    auto socket = udp_socket::bind(endpoint::loopback(0));
    auto& side = to.senders.emplace_back();
    side.from = socket.local_endpoint();
    side.sent = decltype(side.sent)(r.below(200));
    to.got.emplace_back(side.sent.size());
    ++to.sending;
    all.push_back(send_numbered(to, static_cast<unsigned>(to.senders.size() - 1), rng{r.next()}, std::move(socket)));
  }
  all.push_back(receive_all(to, rng{r.next()}));
  co_await skua::when_all(std::move(all));
  std::array<std::byte, 1600> buffer;
  try {
    (void)co_await skua::timeout(1ms, to.socket.receive(buffer));
    STRESS_CHECK(false && "a datagram that nobody has sent, or that came twice");
  } catch (skua::timeout_error const&) {
  }
  for (std::size_t s = 0; s < to.senders.size(); ++s)
    for (std::size_t n = 0; n < to.got[s].size(); ++n) STRESS_CHECK((to.got[s][n] != 0) == (to.senders[s].sent[n] == 's'));
}

// ---------------------------------------------------------------------------------------------- closed at any moment

bool is_closed(std::error_code e) { return e == std::errc::operation_canceled || e == std::errc::bad_file_descriptor; }

task<> receive_until_closed(std::shared_ptr<udp_socket> s, std::byte mine) {
  std::array<std::byte, 10> buffer;
  for (;;) {
    auto const d = co_await skua::as_result(s->receive(buffer));
    if (!d) {
      STRESS_CHECK(is_closed(d.error()));
      co_return;
    }
    STRESS_CHECK(d->size == 1 && buffer[0] == mine);
  }
}
task<> send_until_closed(std::shared_ptr<udp_socket> s, endpoint to, std::byte what) {
  for (;;) {
    auto const r = co_await skua::as_result(s->send_to(std::span(&what, 1), to));
    if (!r) {
      STRESS_CHECK(is_closed(r.error()));
      co_return;
    }
  }
}

// A socket is closed while one task receives, another one sends; its number is another one's at once.
task<> closed_at_any_moment(std::uint64_t seed) {
  rng r{seed};
  for (int i = 0; i < 5; ++i) {
    auto const s = std::make_shared<udp_socket>(udp_socket::bind(endpoint::loopback(0)));
    auto const key = static_cast<std::byte>(r.below(256));
    auto receiving = skua::spawn(receive_until_closed, s, key);
    auto sending = skua::spawn(send_until_closed, s, s->local_endpoint(), key);
    if (r.one_in(2)) co_await skua::sleep_for(some_time(r));
    if (r.one_in(3)) {
      receiving.request_stop();
      sending.request_stop();
    }
    s->close();
    auto const next = udp_socket::bind(endpoint::loopback(0));
    (void)co_await skua::stopped_as_optional(std::move(receiving));
    (void)co_await skua::stopped_as_optional(std::move(sending));
    ++total.closed;
  }
}

// ---------------------------------------------------------------------------------------------- nobody there

// A socket that is connected to somebody else keeps its port, and hears nothing from here: so nobody else gets it, and nobody is there.
task<> nobody_there(std::uint64_t seed) {
  rng r{seed};
  auto s = udp_socket::bind(endpoint::loopback(0)), other = udp_socket::bind(endpoint::loopback(0));
  s.connect(other.local_endpoint());
  std::array<std::byte, 10> buffer;
  for (int i = 0; i < 5; ++i) {
    other.connect(other.local_endpoint());
    auto waiting = skua::spawn([](udp_socket& u, std::span<std::byte> to) -> task<std::error_code> {
      co_return (co_await skua::as_result(u.receive(to))).error();
    }, std::ref(s), std::span<std::byte>(buffer));
    if (r.one_in(2)) co_await skua::sleep_for(some_time(r));
    co_await s.send("?");
    if (r.one_in(2)) {
      STRESS_CHECK(co_await std::move(waiting) == std::errc::connection_refused);
    } else {   // it may be told to the receive, or, if that was stopped before, to the next call
      waiting.request_stop();
      auto const e = co_await skua::stopped_as_optional(std::move(waiting));
      STRESS_CHECK(!e || *e == std::errc::connection_refused);
      if (!e) {
        for (pollfd answer{s.native_handle(), 0, 0}; ::poll(&answer, 1, 0) == 0;) co_await skua::this_task::yield();   // it may be under way
        STRESS_CHECK((co_await skua::as_result(s.send("?"))).error() == std::errc::connection_refused);
      }
    }
    other.connect(s.local_endpoint());
    co_await s.send("!");
    STRESS_CHECK((co_await other.receive(buffer)).size == 1 && buffer[0] == std::byte{'!'});
    ++total.refused;
  }
}

task<> play(std::uint64_t seed) {
  rng r{seed};
  std::vector<task<>> all;
  for (unsigned i = 2 + r.below(4); i != 0; --i) all.push_back(nothing_is_lost(r.next()));
  for (unsigned i = r.below(4); i != 0; --i) all.push_back(closed_at_any_moment(r.next()));
  if (r.one_in(2)) all.push_back(nobody_there(r.next()));
  co_await skua::when_all(std::move(all));
}

} // namespace

int main(int argc, char** argv) {
  stress_options const o(argc, argv);
  std::uint64_t rounds = 0;
  {
    skua::runtime rt({.workers = o.workers});
    for (; o.go_on(rounds); ++rounds) {
      seed_of_round = o.seed + rounds;
      await_round(rt, rt.spawn(play, o.seed + rounds));
      STRESS_CHECK(skua::detail::open_descriptors() == 0);
    }
  }
  check_nothing_is_left();
  auto const n = [](std::atomic<std::uint64_t> const& a) { return static_cast<unsigned long long>(a.load()); };
  std::printf("ok: %llu rounds: %llu datagrams, %llu stops, %llu sockets closed in use, %llu peers that were not there\n",
              static_cast<unsigned long long>(rounds), n(total.received), n(total.stopped), n(total.closed), n(total.refused));
}
