// SPDX-License-Identifier: Apache-2.0
// Unix-domain connections under random stops, timeouts, closes and resets. Clients connect to a listener whose backlog is nearly always full, and are stopped
// while they wait for room; the server accepts in a loop or in a select that is decided by something else now and then, and is stopped and started again. Each
// client says who it is in lines, and the answers are lines as well; reads of lines are stopped by timeouts and done again; some peers pass descriptors along
// with their bytes, reset the connection, or leave.
//     accepted     a client that is connected is served once: by the server of before, or by the one that comes next (S4, S9). None is left in the end
//     lines        each as it was, once, in order; all of them, if nobody broke the connection
//     passed       a descriptor that comes with bytes does not end reading, and is nobody's
// A task that is not done within a minute is a lost edge. No task, frame or descriptor is left, and no socket file.
//
// usage: unix_stress [--seconds S] [--seed N] [--workers N] [--rounds N]
#include "io/descriptor.hpp"
#include "io/epoll_order.hpp"
#include "skua/buffered_reader.hpp"
#include "skua/error.hpp"
#include "skua/event.hpp"
#include "skua/io_error.hpp"
#include "skua/runtime.hpp"
#include "skua/select_io.hpp"
#include "skua/shield.hpp"
#include "skua/spawn.hpp"
#include "skua/task_group.hpp"
#include "skua/this_task.hpp"
#include "skua/time.hpp"
#include "skua/timeout.hpp"
#include "skua/unix_socket.hpp"
#include "skua/when_all.hpp"
#include "tests/support/entries.hpp"
#include "tests/support/stress_rounds.hpp"
#include <algorithm>
#include <atomic>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <poll.h>
#include <random>
#include <string>
#include <sys/socket.h>
#include <unistd.h>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::task;
using skua::unix_listener;
using skua::unix_stream;

struct totals {
  std::atomic<std::uint64_t> connections{0}, never_connected{0}, lines{0}, stopped{0}, broken{0}, served{0};
} total;

std::chrono::microseconds some_time(rng& r) { return std::chrono::microseconds(r.below(300)); }

std::string line_of(unsigned number) { return std::to_string(number) + ':' + std::string(number * 37 % 400, static_cast<char>('a' + number % 26)) + '\n'; }

// The next line, however often reading it is stopped. None: the end.
task<std::optional<std::string>> next_line(skua::buffered_reader& from, rng& r) {
  for (;;) {
    try {
      auto const line = r.one_in(3) ? co_await skua::timeout(some_time(r), from.read_line()) : co_await from.read_line();
      if (!line) co_return std::nullopt;
      co_return std::string(*line);
    } catch (skua::timeout_error const&) {
      ++total.stopped;
    }
  }
}

bool is_an_end(std::error_code e) {
  return e == std::errc::connection_reset || e == std::errc::broken_pipe || e == std::errc::operation_canceled || e == std::errc::bad_file_descriptor ||
         e == std::errc::not_connected;
}

// Bytes with a descriptor (our standard error), as of another program: whoever reads them here does not take it. False: there was no room at once.
bool pass_descriptor(int over, std::string_view bytes) {
  int const fd = STDERR_FILENO;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))]{};
  iovec part{const_cast<char*>(bytes.data()), bytes.size()};
  msghdr m{};
  m.msg_iov = &part;
  m.msg_iovlen = 1;
  m.msg_control = control;
  m.msg_controllen = sizeof control;
  cmsghdr* const c = CMSG_FIRSTHDR(&m);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(c), &fd, sizeof fd);
  return ::sendmsg(over, &m, MSG_DONTWAIT | MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size());
}

// ---------------------------------------------------------------------------------------------- the server

struct server_side {
  explicit server_side(unix_listener l) noexcept : listener(std::move(l)) {}
  unix_listener listener;
  std::atomic<unsigned> served{0};   // connections whose client has said "hello"
  skua::auto_reset_event nudge;
};

// Answers each line with itself.
task<> serve_one(server_side& of, unix_stream s, rng r) {
  skua::buffered_reader reader(s);
  try {
    while (auto const line = co_await next_line(reader, r)) {
      if (*line == "hello") {
        ++of.served;
        ++total.served;
      } else {
        co_await s.write_all(*line + '\n');
      }
    }
    s.shutdown_write();
  } catch (std::system_error const& e) {
    STRESS_CHECK(is_an_end(e.code()));
  }
}

// Accepts until it is stopped; those that it has accepted are served elsewhere.
task<> accept_some(server_side& of, skua::task_group& g, rng r) {
  for (;;) {
    if (r.one_in(3))
      co_await skua::select(skua::on(of.listener, [&](unix_stream s) { g.spawn(serve_one, std::ref(of), std::move(s), rng{r.next()}); }),
                            skua::on(of.nudge.wait(), [] {}));
    else
      g.spawn(serve_one, std::ref(of), co_await of.listener.accept(), rng{r.next()});
  }
}

task<> serve(server_side& of, rng r, std::atomic<bool> const& clients_are_gone) {
  co_await skua::with_task_group([&](skua::task_group& g) -> task<> {
    while (!clients_are_gone) {
      auto accepting = skua::spawn(accept_some, std::ref(of), std::ref(g), rng{r.next()});
      co_await skua::sleep_for(some_time(r));
      if (r.one_in(2)) of.nudge.set();
      if (r.one_in(4)) {   // one of the two may be refused (S18), and takes nothing then
        try {
          g.spawn(serve_one, std::ref(of), co_await skua::timeout(some_time(r), of.listener.accept()), rng{r.next()});
        } catch (skua::usage_error const&) {
        } catch (skua::timeout_error const&) {
        }
      }
      accepting.request_stop();
      try {
        (void)co_await skua::stopped_as_optional(std::move(accepting));
      } catch (skua::usage_error const&) {
      }
    }
    // Those who had connected and left before they were accepted.
    pollfd listening{of.listener.native_handle(), POLLIN, 0};
    while (::poll(&listening, 1, 0) == 1) g.spawn(serve_one, std::ref(of), co_await of.listener.accept(), rng{r.next()});
  });
}

// ---------------------------------------------------------------------------------------------- clients

// `alone`: nobody closes it meanwhile, so its descriptor may be used by its number.
task<> say(unix_stream& s, unsigned count, bool alone, rng r) {
  for (unsigned n = 0; n < count; ++n) {
    std::string const line = line_of(n);
    if (alone && r.one_in(8) && pass_descriptor(s.native_handle(), line)) continue;
    co_await s.write_all(line);
    if (r.one_in(16)) co_await skua::sleep_for(some_time(r));
  }
  s.shutdown_write();
}
task<bool> hear(unix_stream& s, unsigned count, rng r) {
  skua::buffered_reader reader(s);
  unsigned n = 0;
  while (auto const line = co_await next_line(reader, r)) {
    STRESS_CHECK(*line + '\n' == line_of(n++));
    ++total.lines;
  }
  co_return n == count;
}

// True: it was connected, and the server has its "hello", or will have.
task<bool> client(std::string address, rng r) {
  unix_stream s;
  for (;;) {
    try {
      if (r.one_in(3))
        s = co_await skua::timeout(10 * some_time(r), unix_stream::connect(address));
      else
        s = co_await unix_stream::connect(address);
      break;
    } catch (skua::timeout_error const&) {
      ++total.never_connected;
      if (r.one_in(3)) co_return false;
    }
  }
  ++total.connections;
  co_await s.write_all("hello\n");
  auto const count = r.below(50);
  enum { orderly, closed, reset, stopped } const end = r.one_in(2) ? orderly : static_cast<decltype(orderly)>(1 + r.below(3));
  if (end == orderly) {
    auto [nothing, all] = co_await skua::when_all(say(s, count, true, rng{r.next()}), hear(s, count, rng{r.next()}));
    STRESS_CHECK(all);
    co_return true;
  }
  ++total.broken;
  auto both = [](unix_stream& t, unsigned n, bool alone, rng a, rng b) -> task<> {
    auto until_it_breaks = [](auto talk) -> task<> {
      try {
        (void)co_await std::move(talk);
      } catch (std::system_error const& e) {
        STRESS_CHECK(is_an_end(e.code()));
      }
    };
    co_await skua::when_all(until_it_breaks(say(t, n, alone, a)), until_it_breaks(hear(t, n, b)));
  };
  if (end == stopped) {
    try {
      co_await skua::timeout(some_time(r), both(s, count, true, rng{r.next()}, rng{r.next()}));
    } catch (skua::timeout_error const&) {
      ++total.stopped;
    }
    co_return true;
  }
  auto talking = skua::spawn(both, std::ref(s), count, false, rng{r.next()}, rng{r.next()});
  if (r.one_in(2)) co_await skua::sleep_for(some_time(r));
  if (end == reset) ::shutdown(s.native_handle(), SHUT_RDWR);
  s.close();
  co_await talking;
  co_return true;
}

// Not of the process's number: containers may share their files, or abstract names.
std::string const path = (std::filesystem::temp_directory_path() / ("skua_unix_stress_" + std::to_string(std::random_device{}()))).string();

task<> play(std::uint64_t seed) {
  rng r{seed};
  // A file, which the round before has left as a stale one, or a name without one.
  std::string const address = r.one_in(2) ? path : '\0' + path;
  server_side server(unix_listener::bind(address, {.backlog = static_cast<int>(r.below(4))}));
  std::atomic<bool> gone{false};
  auto serving = skua::spawn(serve, std::ref(server), rng{r.next()}, std::cref(gone));
  std::vector<task<bool>> clients;
  for (unsigned i = 1 + r.below(12); i != 0; --i) clients.push_back(client(address, rng{r.next()}));
  unsigned connected = 0;
  for (bool const c : co_await skua::when_all(std::move(clients))) connected += c;
  gone = true;
  co_await serving;
  STRESS_CHECK(server.served == connected);
  if (r.one_in(8)) std::filesystem::remove(path);
}

} // namespace

int main(int argc, char** argv) {
  stress_options const o(argc, argv);
  std::uint64_t rounds = 0;
  skua::detail::probe_epoll_order();   // or the first I/O thread does, with descriptors of its own for a moment
  {
    skua::runtime rt({.workers = o.workers});
    int descriptors = 0;
    for (; o.go_on(rounds); ++rounds) {
      seed_of_round = o.seed + rounds;
      await_round(rt, rt.spawn(play, o.seed + rounds));
      STRESS_CHECK(skua::detail::open_descriptors() == 0);
      if (rounds == 0) descriptors = entries("/proc/self/fd");
      STRESS_CHECK(entries("/proc/self/fd") == descriptors);
    }
  }
  std::filesystem::remove(path);
  check_nothing_is_left();
  auto const n = [](std::atomic<std::uint64_t> const& a) { return static_cast<unsigned long long>(a.load()); };
  std::printf("ok: %llu rounds: %llu connections, %llu of them broken; %llu stopped before they were connected; %llu lines, %llu stops\n",
              static_cast<unsigned long long>(rounds), n(total.connections), n(total.broken), n(total.never_connected), n(total.lines), n(total.stopped));
}
