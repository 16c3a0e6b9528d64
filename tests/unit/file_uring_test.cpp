// SPDX-License-Identifier: Apache-2.0
// What is particular to files through io_uring: where it is forbidden, and when more is asked of it than it takes at once.
#include "io/file_engines.hpp"
#include "io/file_request.hpp"
#include "io/uring.hpp"
#include "skua/file.hpp"
#include "skua/runtime.hpp"
#include "skua/spawn.hpp"
#include "skua/this_task.hpp"
#include "tests/support/forbid.hpp"
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <gtest/gtest.h>
#include <linux/io_uring.h>
#include <memory>
#include <sched.h>
#include <string>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <system_error>
#include <unistd.h>
#include <vector>

namespace {

using skua::file;
using skua::task;
using skua::detail::uring;

bool kernel_allows_it() {
  try {
    uring const ring(2, 4);
    return true;
  } catch (std::system_error const&) {
    return false;
  }
}

io_uring_sqe nothing(std::uint64_t tag) {
  io_uring_sqe e = {};
  e.opcode = IORING_OP_NOP;
  e.user_data = tag;
  return e;
}

TEST(Uring, gives_completions_in_order_and_wraps) {
  if (!kernel_allows_it()) GTEST_SKIP() << "io_uring is forbidden here";
  uring ring(2, 4);
  uring::completion c;
  EXPECT_FALSE(ring.reap(c));
  for (std::uint64_t i = 1; i < 100; ++i) {
    ASSERT_TRUE(ring.submit(nothing(2 * i)));
    ASSERT_TRUE(ring.submit(nothing(2 * i + 1)));
    ring.wait();
    ASSERT_TRUE(ring.reap(c));
    EXPECT_EQ(c.tag, 2 * i);
    ASSERT_TRUE(ring.reap(c));
    EXPECT_EQ(c.tag, 2 * i + 1);
    EXPECT_EQ(c.result, 0);
    EXPECT_FALSE(ring.reap(c));
  }
}

// Linux has closed the descriptor when it says EINTR: closing it again might close somebody else's.
TEST(FileRequest, that_was_interrupted_is_made_again_unless_it_closes) {
  using skua::detail::file_action;
  for (auto action : {file_action::open, file_action::read, file_action::write, file_action::sync, file_action::close}) {
    skua::detail::file_request r(action);
    r.result = -EINTR;
    EXPECT_EQ(r.again(), action != file_action::close);
  }
  skua::detail::file_request not_begun(file_action::close);
  not_begun.result = -EAGAIN;
  EXPECT_TRUE(not_begun.again());
}

TEST(Uring, knows_what_the_kernel_supports) {
  if (!kernel_allows_it()) GTEST_SKIP() << "io_uring is forbidden here";
  uring const ring(2, 4);
  std::uint8_t const known[] = {IORING_OP_NOP, IORING_OP_READV}, unknown[] = {IORING_OP_NOP, 255};
  EXPECT_TRUE(ring.supports(known));
  EXPECT_FALSE(ring.supports(unknown));
}

// 0: as it should be.
int status_where_forbidden(unsigned system_call) {
  skua_test::forbid(system_call, EPERM);
  {
    skua::runtime rt({.workers = 1});
    if (rt.file_backend() != "threads") return 1;
    if (rt.block_on(skua::read_text_file("/proc/self/status")).empty()) return 2;
  }
  try {
    skua::runtime const rt({.workers = 1, .files = "io_uring"});
  } catch (std::system_error const& e) {
    bool const clear = std::string(e.what()).find("options.files") != std::string::npos;
    return clear && e.code() == std::errc::operation_not_permitted ? 0 : 3;
  }
  return 4;
}

class FileUringDeathTest : public testing::Test {
protected:
  void SetUp() override { testing::FLAGS_gtest_death_test_style = "threadsafe"; }   // a process of its own, for seccomp is for ever
};
TEST_F(FileUringDeathTest, falls_back_to_threads_where_the_ring_is_forbidden) {
  EXPECT_EXIT(std::_Exit(status_where_forbidden(SYS_io_uring_setup)), testing::ExitedWithCode(0), "");
}
TEST_F(FileUringDeathTest, falls_back_to_threads_where_its_use_is_forbidden) {
  EXPECT_EXIT(std::_Exit(status_where_forbidden(SYS_io_uring_enter)), testing::ExitedWithCode(0), "");
}
TEST_F(FileUringDeathTest, falls_back_to_threads_where_registering_is_forbidden) {
  EXPECT_EXIT(std::_Exit(status_where_forbidden(SYS_io_uring_register)), testing::ExitedWithCode(0), "");
}

// More requests than the ring takes: the others wait, in the engine, and may be stopped there.
class FileUring : public testing::Test {
protected:
  void SetUp() override {
    if (!kernel_allows_it()) GTEST_SKIP() << "io_uring is forbidden here";
    skua::detail::most_in_ring = 3;
    std::string pattern = (std::filesystem::temp_directory_path() / "skua-ring-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
  }
  void TearDown() override {
    skua::detail::most_in_ring = skua::detail::usual_in_ring;
    std::filesystem::remove_all(directory_);
  }
  std::string directory_;
};

task<> sync_often(file* f, int times, std::atomic<int>* done) {
  for (int i = 0; i < times; ++i) co_await f->sync();
  done->fetch_add(1);
}
task<> sync_by_many(std::string path, bool with_stops, std::atomic<int>* done) {
  file f = co_await file::open(path, skua::open_mode::write | skua::open_mode::create);
  std::vector<skua::join_handle<>> tasks;
  for (int i = 0; i < 200; ++i) tasks.push_back(skua::spawn(sync_often, &f, 3, done));
  co_await skua::this_task::yield();
  if (with_stops)
    for (std::size_t i = 0; i < tasks.size(); i += 2) tasks[i].request_stop();
  for (auto& t : tasks) {
    try {
      co_await t;
    } catch (skua::task_stopped const&) {
    }
  }
}

TEST_F(FileUring, requests_beyond_its_room_wait_their_turn) {
  skua::runtime rt({.workers = 2, .files = "io_uring"});
  std::atomic<int> done{0};
  rt.block_on(sync_by_many(directory_ + "/f", false, &done));
  EXPECT_EQ(done, 200);
}

TEST_F(FileUring, requests_that_wait_can_be_stopped) {
  for (int round = 0; round < 10; ++round) {
    skua::runtime rt({.workers = 2, .files = "io_uring"});
    std::atomic<int> done{0};
    rt.block_on(sync_by_many(directory_ + "/f", true, &done));
    EXPECT_GE(done, 100);
  }
}

// In the kernel's own thread, where a stop is a signal: a code that no program should see. (Not through file::open, which waits for nobody.)
TEST_F(FileUring, what_a_stop_interrupts_says_so) {
  std::string const path = directory_ + "/fifo";
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  skua::runtime rt({.workers = 1, .files = "io_uring"});
  for (int round = 0; round != 20; ++round) {   // it may come before the thread does
    std::int64_t result = 0;
    rt.block_on([](char const* fifo, std::int64_t* r) -> task<> {
      auto opening = skua::spawn([](char const* p, std::int64_t* to) -> task<> {
        skua::detail::file_request request(skua::detail::file_action::open);
        request.path = p;
        request.flags = O_WRONLY | O_CREAT | O_CLOEXEC;
        *to = co_await request;
      }, fifo, r);
      auto& engine = skua::detail::files_of(*skua::detail::tl.owner);
      while (engine.in_flight() != 1) co_await skua::this_task::yield();
      for (int i = 0; i != 100; ++i) co_await skua::this_task::yield();
      opening.request_stop();
      co_await opening;
    }, path.c_str(), &result);
    EXPECT_TRUE(result == -EINTR || result == -ECANCELED) << result;
  }
}

// D9: handing a request over may copy it whole, and waits for whoever does so just now. The only worker is busy while the I/O thread harvests.
TEST_F(FileUring, the_io_thread_submits_nothing) {
  skua::runtime rt({.workers = 1, .files = "io_uring"});
  constexpr std::size_t in_kernel = 3, waiting = 2, all = in_kernel + waiting;
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  static constexpr auto read_one = [](int fd) -> task<std::int64_t> {
    char c;
    skua::detail::file_request r(skua::detail::file_action::read);
    r.fd = fd;
    r.buffer = &c;
    r.length = 1;
    r.offset = ~std::uint64_t{0};   // a pipe has none
    co_return co_await r;
  };
  rt.block_on([](int from, int to) -> task<> {
    auto& engine = skua::detail::files_of(*skua::detail::tl.owner);
    std::vector<skua::join_handle<std::int64_t>> readers;
    for (std::size_t i = 0; i != all; ++i) readers.push_back(skua::spawn(read_one, from));
    while (engine.in_flight() != all) co_await skua::this_task::yield();
    EXPECT_EQ(::write(to, "abc", in_kernel), static_cast<ssize_t>(in_kernel));
    while (engine.in_flight() != waiting) ::sched_yield();   // the I/O thread has them all, and none of the others was begun (it would abort)
    EXPECT_EQ(::write(to, "de", waiting), static_cast<ssize_t>(waiting));
    for (auto& r : readers) EXPECT_EQ(co_await r, 1);
  }, ends[0], ends[1]);
  ::close(ends[0]);
  ::close(ends[1]);
}

} // namespace
