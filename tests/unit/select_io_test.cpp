// SPDX-License-Identifier: Apache-2.0
// select over connections and descriptors: an accept that loses leaves the connection in the kernel's queue (S9), one that won before a stop is delivered (S4),
// nothing is leaked, and events that came in vain are no victories.
#include "skua/channel.hpp"
#include "skua/event.hpp"
#include "skua/io_error.hpp"
#include "skua/runtime.hpp"
#include "skua/select_io.hpp"
#include "skua/timeout.hpp"
#include "tests/support/leak_check.hpp"
#include "tests/support/values.hpp"
#include <array>
#include <cstdio>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::on;
using skua::select;
using skua::sleep_for;
using skua::task;
using skua::tcp_listener;
using skua::tcp_stream;

class SelectIo : public leak_check {
protected:
  template <class F>
  void run(F f) {
    rt.block_on(std::move(f));
  }
  skua::runtime rt{skua::options{.workers = 2}};
};
constexpr auto nothing = [] {};
tcp_listener listening() { return tcp_listener::bind(skua::endpoint::loopback(0)); }

class pipe_ends {
public:
  pipe_ends() { EXPECT_EQ(::pipe(fd), 0); }
  pipe_ends(pipe_ends const&) = delete;
  ~pipe_ends() {
    ::close(fd[0]);
    ::close(fd[1]);
  }
  int reader() const { return fd[0]; }
  void write() const { EXPECT_EQ(::write(fd[1], "x", 1), 1); }
  void drain() const {
    char c;
    EXPECT_EQ(::read(fd[0], &c, 1), 1);
  }

private:
  int fd[2];
};

TEST_F(SelectIo, accepts_a_connection_that_is_there_and_one_that_comes) {
  run([]() -> task<> {
    auto l = listening();
    auto take = [&] { return select(on(l, [](tcp_stream s) { return static_cast<bool>(s); }), on(sleep_for(1h), [] { return false; })); };
    auto first = co_await tcp_stream::connect(l.local_endpoint());
    EXPECT_TRUE(co_await take());
    auto h = skua::spawn([&]() -> task<bool> { co_return co_await take(); });
    co_await yield_times(20);
    auto second = co_await tcp_stream::connect(l.local_endpoint());
    EXPECT_TRUE(co_await h);
  });
}

TEST_F(SelectIo, an_accept_that_loses_leaves_the_connection_in_the_kernels_queue__S9) {
  run([]() -> task<> {
    auto l = listening();
    skua::channel<int> ch(1);
    for (int round = 0; round < 20; ++round) {
      auto h = skua::spawn([&]() -> task<bool> {
        co_return co_await select(on(l, [](tcp_stream) { return true; }), on(ch.recv(), [](std::optional<int>) { return false; }));
      });
      co_await yield_times(round % 5);
      EXPECT_TRUE(ch.try_send(1));                                       // about as soon as the connection comes
      auto client = co_await tcp_stream::connect(l.local_endpoint());
      if (co_await h) {
        EXPECT_TRUE(ch.try_recv());                                      // then this one is where it was
      } else {
        auto s = co_await skua::timeout(10s, l.accept());                // nobody has taken it
        EXPECT_TRUE(s);
      }
    }
  });
}

TEST_F(SelectIo, an_accept_that_is_stopped_has_taken_nothing__S4) {
  run([]() -> task<> {
    auto l = listening();
    auto h = skua::spawn([&]() -> task<> {
      co_await select(on(l, [](tcp_stream) { ADD_FAILURE(); }), on(sleep_for(1h), nothing));
      ADD_FAILURE();
    });
    co_await yield_times(20);
    h.request_stop();
    EXPECT_THROW(co_await h, skua::task_stopped);
    auto client = co_await tcp_stream::connect(l.local_endpoint());
    EXPECT_TRUE(co_await l.accept());   // the direction is free again
  });
}

TEST_F(SelectIo, a_listener_that_is_closed_or_used_by_another_task_is_an_error__S18_S19) {
  skua::runtime one({.workers = 1});   // so that who is spawned has begun to wait when we come again
  auto body = []() -> task<> {
    auto l = listening();
    auto h = skua::spawn([&]() -> task<> { co_await select(on(l, [](tcp_stream) {}), on(sleep_for(1h), nothing)); });
    co_await yield_times(5);
    EXPECT_THROW((void)co_await l.accept(), skua::usage_error);
    EXPECT_THROW(co_await select(on(l, [](tcp_stream) {}), on(sleep_for(1h), nothing)), skua::usage_error);
    l.close();
    try {
      co_await h;
      ADD_FAILURE();
    } catch (std::system_error const& e) {
      EXPECT_EQ(e.code(), std::errc::operation_canceled);
    }
    auto other = listening();
    other.close();
    EXPECT_THROW(co_await select(on(other, [](tcp_stream) {}), on(sleep_for(1h), nothing)), std::system_error);
  };
  one.block_on(body);
}

TEST_F(SelectIo, two_selects_share_connections_with_an_accept_elsewhere_and_each_comes_to_one) {
  run([]() -> task<> {
    std::vector<tcp_listener> ls;
    for (int i = 0; i < 2; ++i) ls.push_back(listening());
    int const total = 40;
    int accepted = 0;
    auto server = skua::spawn([&]() -> task<> {
      auto const count = [&](tcp_stream s) { accepted += static_cast<bool>(s); };
      while (accepted < total) co_await select(on(ls[0], count), on(ls[1], count));
    });
    std::vector<tcp_stream> clients;
    for (int i = 0; i < total; ++i) clients.push_back(co_await tcp_stream::connect(ls[static_cast<unsigned>(i) % 2].local_endpoint()));
    co_await server;
    EXPECT_EQ(accepted, total);
  });
}

TEST_F(SelectIo, waits_out_a_shortage_of_descriptors_while_other_branches_go_on) {
  run([]() -> task<> {
    auto l = listening();
    auto client = co_await tcp_stream::connect(l.local_endpoint());
    rlimit before{};
    ::getrlimit(RLIMIT_NOFILE, &before);
    rlimit none = before;
    none.rlim_cur = 0;   // not the next number that is free: other threads close lower ones meanwhile
    ::setrlimit(RLIMIT_NOFILE, &none);
    int ticks = 0;
    bool accepted = false;
    while (!accepted)
      co_await select(on(l, [&](tcp_stream s) { accepted = static_cast<bool>(s); }), on(sleep_for(1ms), [&] {
                        if (++ticks == 5) ::setrlimit(RLIMIT_NOFILE, &before);
                      }));
    ::setrlimit(RLIMIT_NOFILE, &before);
    EXPECT_GE(ticks, 5);
  });
}

TEST_F(SelectIo, sees_that_descriptors_are_ready) {
  run([]() -> task<> {
    pipe_ends a, b;
    auto which = [&](auto limit) {
      return select(on(skua::readable(a.reader()), [] { return 1; }), on(skua::readable(b.reader()), [] { return 2; }), on(sleep_for(limit), [] { return 3; }));
    };
    EXPECT_EQ(co_await which(20ms), 3);
    b.write();
    EXPECT_EQ(co_await which(1h), 2);
    EXPECT_EQ(co_await which(1h), 2);   // nothing was read
    b.drain();
    auto h = skua::spawn([&]() -> task<int> {
      co_return co_await select(on(skua::readable(a.reader()), [] { return 1; }), on(sleep_for(1h), [] { return 3; }));
    });
    co_await yield_times(20);
    a.write();
    EXPECT_EQ(co_await h, 1);
    int sockets[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
    EXPECT_EQ(co_await select(on(skua::writable(sockets[0]), [] { return 1; }), on(sleep_for(1h), [] { return 2; })), 1);
    ::close(sockets[0]);
    ::close(sockets[1]);
    EXPECT_THROW(co_await select(on(skua::readable(sockets[0]), nothing), on(sleep_for(1h), nothing)), std::system_error);
    FILE* const file = std::tmpfile();
    EXPECT_THROW(co_await select(on(skua::readable(::fileno(file)), nothing), on(sleep_for(1h), nothing)), skua::usage_error);
    std::fclose(file);
  });
}

// Events that are drained by somebody else before they are confirmed, losers that are late, stops: nobody hangs, nothing is leaked (the fixture looks).
TEST_F(SelectIo, races_of_readiness_with_events_and_stops_end) {
  static constexpr int rounds = SKUA_TSAN || SKUA_ASAN ? 300 : 3'000;
  run([]() -> task<> {
    pipe_ends a;
    skua::event go;
    int ready = 0, other = 0, stopped = 0;
    for (int i = 0; i < rounds; ++i) {
      auto h = skua::spawn([&]() -> task<int> {
        co_return co_await select(on(skua::readable(a.reader()), [] { return 1; }), on(go.wait(), [] { return 2; }));
      });
      co_await yield_times(i % 4);
      a.write();
      if (i % 3 == 0) go.set();
      if (i % 3 == 1) a.drain();       // in vain, perhaps
      if (i % 2 == 0) h.request_stop();
      go.set();                        // in any case it ends
      try {
        (co_await h == 1 ? ready : other) += 1;
      } catch (skua::task_stopped const&) {
        ++stopped;
      }
      if (i % 3 != 1) a.drain();
      go.reset();
    }
    EXPECT_EQ(ready + other + stopped, rounds);
  });
}

} // namespace
