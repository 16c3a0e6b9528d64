// SPDX-License-Identifier: Apache-2.0
// Unit: readable and writable, for descriptors of other libraries (S20).
#include "skua/readiness.hpp"
#include "skua/detail/io_branch.hpp"
#include "skua/error.hpp"
#include "skua/runtime.hpp"
#include "skua/spawn.hpp"
#include "skua/this_task.hpp"
#include "skua/time.hpp"
#include "skua/timeout.hpp"
#include "tests/support/io_test.hpp"
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <system_error>
#include <thread>
#include <unistd.h>
#include <utility>

namespace {

using namespace std::chrono_literals;
using skua::task;

class Readiness : public skua_test::io_test {};

struct pipe_pair {
  int read_end, write_end;
  pipe_pair() {
    int p[2];
    if (::pipe2(p, O_CLOEXEC) != 0) std::abort();
    read_end = p[0];
    write_end = p[1];
  }
  ~pipe_pair() {
    ::close(read_end);
    ::close(write_end);
  }
};
void put(int fd) { ASSERT_EQ(::write(fd, "x", 1), 1); }
char get(int fd) {
  char c = 0;
  return ::read(fd, &c, 1) == 1 ? c : '\0';
}

task<> wait_readable(int fd) { co_await skua::readable(fd); }
task<> wait_writable(int fd) { co_await skua::writable(fd); }

TEST_F(Readiness, is_seen_at_once) {
  run([]() -> task<> {
    pipe_pair p;
    put(p.write_end);
    for (int i = 0; i != 1000; ++i) {   // also when the budget is used up
      co_await skua::readable(p.read_end);
      co_await skua::writable(p.write_end);
    }
  });
}

TEST_F(Readiness, is_waited_for) {
  run([]() -> task<> {
    pipe_pair p;
    for (int i = 0; i != 3; ++i) {
      auto w = skua::spawn(wait_readable, p.read_end);
      co_await skua::sleep_for(2ms);
      put(p.write_end);
      co_await w;
      EXPECT_EQ(get(p.read_end), 'x');
    }
  });
}

TEST_F(Readiness, the_end_counts_as_readable_and_an_error_as_writable) {
  run([]() -> task<> {
    int p[2];
    EXPECT_EQ(::pipe2(p, O_CLOEXEC), 0);
    auto w = skua::spawn(wait_readable, p[0]);
    co_await skua::sleep_for(2ms);
    ::close(p[1]);
    co_await w;
    ::close(p[0]);

    EXPECT_EQ(::pipe2(p, O_CLOEXEC | O_NONBLOCK), 0);
    std::array<char, 65536> fill{};
    while (::write(p[1], fill.data(), fill.size()) > 0) {
    }
    auto v = skua::spawn(wait_writable, p[1]);
    co_await skua::sleep_for(2ms);
    ::close(p[0]);
    co_await v;
    ::close(p[1]);
  });
}

TEST_F(Readiness, several_tasks_may_wait_for_one_descriptor) {
  run([]() -> task<> {
    pipe_pair p;
    std::array<skua::join_handle<>, 3> w;
    for (auto& h : w) h = skua::spawn(wait_readable, p.read_end);
    co_await skua::sleep_for(5ms);
    for (auto& h : w) EXPECT_FALSE(h.done());
    put(p.write_end);
    for (auto& h : w) co_await h;
  });
}

TEST_F(Readiness, the_number_may_be_closed_and_reused_between_two_waits) {
  run([]() -> task<> {   // S20
    constexpr int number = 200;   // nobody else's: the runtime's own threads open and close low ones while it starts
    for (int i = 0; i != 50; ++i) {
      int p[2];
      EXPECT_EQ(::pipe2(p, O_CLOEXEC), 0);
      EXPECT_EQ(::fcntl(p[0], F_DUPFD_CLOEXEC, number), number);
      ::close(std::exchange(p[0], number));
      auto w = skua::spawn(wait_readable, p[0]);
      co_await skua::this_task::yield();
      std::thread writer([&] { put(p[1]); });
      co_await w;
      writer.join();
      ::close(p[0]);
      ::close(p[1]);
    }
  });
}

TEST_F(Readiness, a_duplicate_that_stays_open_wakes_nobody_later) {
  run([]() -> task<> {   // S20: the set forgets the wait, not only the number
    pipe_pair p;
    int const copy = ::fcntl(p.read_end, F_DUPFD_CLOEXEC, 0);
    auto w = skua::spawn(wait_readable, p.read_end);
    co_await skua::sleep_for(2ms);
    put(p.write_end);
    co_await w;
    EXPECT_EQ(get(p.read_end), 'x');
    co_await skua::sleep_for(5ms);   // at rest
    put(p.write_end);
    auto v = skua::spawn(wait_readable, copy);
    co_await v;
    ::close(copy);
  });
}

TEST_F(Readiness, regular_files_and_directories_are_refused) {
  run([]() -> task<> {   // S20
    for (char const* path : {"/proc/self/exe", "/"}) {
      int const fd = ::open(path, O_RDONLY | O_CLOEXEC);
      bool refused = false;
      try {
        co_await skua::readable(fd);
      } catch (skua::usage_error const&) {
        refused = true;
      }
      EXPECT_TRUE(refused) << path;
      ::close(fd);
    }
  });
}

TEST_F(Readiness, what_is_no_descriptor_is_an_error) {
  run([]() -> task<> {
    for (int fd : {-1, 9999}) {
      std::error_code error;
      try {
        co_await skua::readable(fd);
      } catch (std::system_error const& e) {
        error = e.code();
      }
      EXPECT_EQ(error, std::errc::bad_file_descriptor);
    }
  });
}

// S20: the number may be somebody else's by the time an event has come in vain.
TEST_F(Readiness, a_select_that_looks_again_looks_at_what_it_waited_for) {
  pipe_pair p;
  int const number = ::fcntl(p.read_end, F_DUPFD_CLOEXEC, 0);
  skua::detail::ready_wait wait(skua::detail::readable_kind, number);
  EXPECT_FALSE(wait.look());
  ASSERT_TRUE(wait.duplicate());
  ::close(number);
  EXPECT_FALSE(wait.look());
  EXPECT_EQ(::write(p.write_end, "x", 1), 1);
  EXPECT_TRUE(wait.look());
  EXPECT_EQ(wait.error, 0);
}

TEST_F(Readiness, a_wait_needs_a_descriptor_and_says_when_there_is_none) {
  if (SKUA_ASAN) GTEST_SKIP() << "UBSan itself opens a pipe to see whether memory is there";
  rlimit before;
  ::getrlimit(RLIMIT_NOFILE, &before);
  run([&]() -> task<> {
    pipe_pair p;
    rlimit const none{0, before.rlim_max};
    ::setrlimit(RLIMIT_NOFILE, &none);
    std::error_code error;
    try {
      co_await skua::readable(p.read_end);
    } catch (std::system_error const& e) {
      error = e.code();
    }
    ::setrlimit(RLIMIT_NOFILE, &before);
    EXPECT_TRUE(error == std::errc::too_many_files_open || error == std::errc::invalid_argument) << error.message();
  });
}

TEST_F(Readiness, a_wait_is_stopped_and_times_out) {
  run([]() -> task<> {
    pipe_pair p;
    for (int i = 0; i != 100; ++i) {
      bool timed_out = false;
      try {
        co_await skua::timeout(100us, wait_readable(p.read_end));
      } catch (skua::timeout_error const&) {
        timed_out = true;
      }
      EXPECT_TRUE(timed_out);
    }
  });
}

TEST_F(Readiness, a_stop_that_came_before_is_seen_first) {
  run([]() -> task<> {   // S1
    pipe_pair p;
    put(p.write_end);
    auto w = skua::spawn([](int fd) -> task<> {
      while (!skua::this_task::stop_requested()) std::this_thread::yield();
      co_await skua::readable(fd);
      ADD_FAILURE() << "it went on";
    }, p.read_end);
    w.request_stop();
    try {
      co_await w;
    } catch (skua::task_stopped const&) {
    }
  });
}

TEST_F(Readiness, edges_between_the_look_and_the_wait_are_not_lost) {
  run([]() -> task<> {
    int const fd = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    std::atomic<int> taken{0};
    constexpr int rounds = 20'000;
    std::thread writer([&] {
      for (int i = 0; i != rounds; ++i) {
        ::eventfd_write(fd, 1);
        while (taken.load() == i) std::this_thread::yield();
      }
    });
    for (int i = 0; i != rounds; ++i) {
      co_await skua::readable(fd);
      eventfd_t v;
      EXPECT_EQ(::eventfd_read(fd, &v), 0);
      ++taken;
    }
    writer.join();
    ::close(fd);
  });
}

TEST_F(Readiness, a_connect_of_another_library_is_waited_for) {
  run([]() -> task<> {
    int s[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s), 0);
    co_await skua::writable(s[0]);
    auto w = skua::spawn(wait_readable, s[1]);
    EXPECT_EQ(::send(s[0], "x", 1, 0), 1);
    co_await w;
    ::close(s[0]);
    ::close(s[1]);
  });
}

} // namespace
