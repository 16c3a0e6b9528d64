// SPDX-License-Identifier: Apache-2.0
// Files, by every engine: what the same calls give must not depend on it.
#include "skua/file.hpp"
#include "skua/error.hpp"
#include "skua/runtime.hpp"
#include "skua/spawn.hpp"
#include "skua/this_task.hpp"
#include "skua/time.hpp"
#include "skua/timeout.hpp"
#include "skua/when_all.hpp"
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <iterator>
#include <limits>
#include <semaphore>
#include <sstream>
#include <string>
#include <sys/stat.h>
#include <system_error>
#include <thread>
#include <unistd.h>
#include <vector>

namespace {

using namespace std::chrono_literals;
using skua::file;
using skua::open_mode;
using skua::task;
namespace fs = std::filesystem;

constexpr auto new_file = open_mode::read | open_mode::write | open_mode::create | open_mode::truncate;

std::span<std::byte const> bytes_of(std::string const& s) { return std::as_bytes(std::span(s)); }
std::string text_of(std::span<std::byte const> b) { return {reinterpret_cast<char const*>(b.data()), b.size()}; }
std::string content_of(std::string const& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
std::size_t open_descriptors() {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator("/proc/self/fd"), fs::directory_iterator())) - 1;
}

// One test for each engine; io_uring is left out where the kernel forbids it.
class Files : public testing::TestWithParam<char const*> {
protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "skua-file-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    descriptors_ = open_descriptors();
    try {
      rt_ = std::make_unique<skua::runtime>(skua::options{.workers = 2, .files = GetParam()});
    } catch (std::system_error const& e) {
      GTEST_SKIP() << e.what();
    }
    ASSERT_EQ(rt_->file_backend(), GetParam());
  }
  void TearDown() override {
    rt_.reset();
    EXPECT_EQ(open_descriptors(), descriptors_);
    fs::remove_all(directory_);
  }
  std::string path(std::string const& name) const { return directory_ + "/" + name; }
  skua::runtime& rt() { return *rt_; }
  void end() { rt_.reset(); }
  std::size_t entries() const { return static_cast<std::size_t>(std::distance(fs::directory_iterator(directory_), {})); }

private:
  std::string directory_;
  std::size_t descriptors_ = 0;
  std::unique_ptr<skua::runtime> rt_;
};
INSTANTIATE_TEST_SUITE_P(By, Files, testing::Values("threads", "io_uring"), [](auto const& p) { return std::string(p.param); });

task<> write_then_read(std::string path) {
  file f = co_await file::open(path, new_file);
  std::string const text = "the quick brown fox";
  co_await f.write_at(0, bytes_of(text));
  EXPECT_EQ(co_await f.size(), text.size());
  std::array<std::byte, 5> five;
  EXPECT_EQ(co_await f.read_at(4, five), 5u);
  EXPECT_EQ(text_of(five), "quick");
  std::array<std::byte, 100> all;
  EXPECT_EQ(co_await f.read_at(10, all), 9u) << "shorter at the end only";
  EXPECT_EQ(co_await f.read_at(19, all), 0u);
  EXPECT_EQ(co_await f.read_at(1000, all), 0u);
  EXPECT_EQ(co_await f.read_at(0, std::span<std::byte>()), 0u);
  co_await f.sync();
  co_await f.sync_data();
  co_await f.close();
  EXPECT_FALSE(f);
}
TEST_P(Files, read_back_what_was_written) { rt().block_on(write_then_read(path("f"))); }

TEST_P(Files, whole_files_round_trip_whatever_their_size) {
  for (std::size_t size : {0u, 1u, 4095u, 4096u, 65'536u, 65'537u, 1u << 20, (3u << 20) + 17u}) {
    std::string text(size, '\0');
    for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i * 131 + i / 4096);
    rt().block_on(skua::write_file(path("f"), text));
    EXPECT_EQ(rt().block_on(skua::read_text_file(path("f"))), text) << size;
    auto const raw = rt().block_on(skua::read_file(path("f")));
    EXPECT_EQ(text_of(raw), text) << size;
  }
}

// Nothing of it is in the page cache: every read goes through the engine.
TEST_P(Files, uncached_files_are_read_as_well) {
  std::string text(5 << 20, 'u');
  text.back() = '!';
  rt().block_on(skua::write_file(path("f"), text));
  int const fd = ::open(path("f").c_str(), O_RDONLY | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  ::fsync(fd);
  ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  ::close(fd);
  EXPECT_EQ(rt().block_on(skua::read_text_file(path("f"))), text);
}

TEST_P(Files, without_a_known_size_are_read_to_their_end) {
  std::string const text = rt().block_on(skua::read_text_file("/proc/self/maps"));
  EXPECT_GT(text.size(), 1000u);
  EXPECT_NE(text.find("[stack]"), std::string::npos);
}

TEST_P(Files, that_cannot_be_opened_say_why_and_which) {
  auto const message_of = [&](std::string const& p, open_mode m, int code) {
    try {
      (void)rt().block_on(file::open(p, m));
    } catch (std::system_error const& e) {
      EXPECT_EQ(e.code(), std::error_code(code, std::system_category()));
      return std::string(e.what());
    }
    return std::string("no error");
  };
  EXPECT_NE(message_of(path("none"), open_mode::read, ENOENT).find("cannot open '" + path("none") + "'"), std::string::npos);
  rt().block_on(skua::write_file(path("f"), "x"));
  message_of(path("f"), open_mode::write | open_mode::create | open_mode::exclusive, EEXIST);
  message_of(path("f") + "/below", open_mode::read, ENOTDIR);
  message_of(std::string("a\0b", 3), open_mode::read, EINVAL);
  EXPECT_THROW((void)rt().block_on(file::open(path("f"), open_mode::create)), skua::usage_error);
}

// As numbers of the kernel's these are negative; -1 stands for the position that read(2) goes by.
task<> reach_beyond_all_files(std::string path) {
  file f = co_await file::open(path, open_mode::read | open_mode::write);
  std::array<std::byte, 4> some{};
  constexpr auto most = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  for (std::uint64_t offset : {~std::uint64_t{0}, ~std::uint64_t{0} - 1, most + 1, most, most - 1}) {   // most - 4: some file systems (tmpfs) have such files
    EXPECT_EQ(co_await f.read_at(offset, some), 0u) << offset;
    std::error_code error;
    try {
      co_await f.write_at(offset, some);
    } catch (std::system_error const& e) {
      error = e.code();
    }
    EXPECT_EQ(error, std::errc::file_too_large) << offset;
  }
}
TEST_P(Files, have_nothing_where_no_file_can_reach) {
  rt().block_on(skua::write_file(path("f"), "text"));
  rt().block_on(reach_beyond_all_files(path("f")));
  EXPECT_EQ(content_of(path("f")), "text");
}

// No stop could end the wait, nor could the end of the program.
TEST_P(Files, opening_a_fifo_does_not_wait_for_its_other_end) {
  ASSERT_EQ(::mkfifo(path("fifo").c_str(), 0600), 0);
  std::binary_semaphore opened{0};
  bool helped = false;
  std::thread helper([&] {
    if (opened.try_acquire_for(10s)) return;
    helped = true;
    int const fd = ::open(path("fifo").c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC);
    opened.acquire();
    ::close(fd);
  });
  for (auto const more : {open_mode{}, open_mode::create, open_mode::truncate}) {   // with which the kernel's own threads open
    rt().block_on([](std::string p, open_mode m) -> task<> {
      file const reader = co_await file::open(p, open_mode::read | m);
      EXPECT_EQ(::fcntl(reader.native_handle(), F_GETFL) & O_NONBLOCK, 0);
      file const writer = co_await file::open(p, open_mode::write | m);   // there is a reader
      EXPECT_EQ(::fcntl(writer.native_handle(), F_GETFL) & O_NONBLOCK, 0);
    }(path("fifo"), more));
    try {
      (void)rt().block_on(file::open(path("fifo"), open_mode::write | more));
      ADD_FAILURE() << "there is no reader";
    } catch (std::system_error const& e) {
      EXPECT_EQ(e.code(), std::errc::no_such_device_or_address);
    }
  }
  opened.release();
  helper.join();
  EXPECT_FALSE(helped);
}

task<> misuse(std::string path) {
  file f = co_await file::open(path, open_mode::read);
  std::array<std::byte, 4> some{};
  bool failed = false;
  try {
    co_await f.write_at(0, some);
  } catch (std::system_error const& e) {
    failed = e.code() == std::errc::bad_file_descriptor && std::string(e.what()).find(path) != std::string::npos;
  }
  EXPECT_TRUE(failed);
  file const g = std::move(f);
  EXPECT_THROW((void)f.read_at(0, some), skua::usage_error);
  EXPECT_THROW((void)f.close(), skua::usage_error);
  EXPECT_EQ(co_await g.read_at(0, some), 1u);
}
TEST_P(Files, misuse_is_a_clear_error) {
  rt().block_on(skua::write_file(path("f"), "x"));
  rt().block_on(misuse(path("f")));
}

task<> append_twice(std::string path) {
  file f = co_await file::open(path, open_mode::append | open_mode::create);
  std::string const first = "one", second = "two";
  co_await f.write_at(0, bytes_of(first));
  co_await f.write_at(0, bytes_of(second));
}
TEST_P(Files, opened_for_appending_grow_at_the_end) {
  rt().block_on(append_twice(path("f")));
  EXPECT_EQ(content_of(path("f")), "onetwo");
}

TEST_P(Files, obey_the_permissions_that_are_given) {
  rt().block_on([](std::string p) -> task<> { (void)co_await file::open(p, new_file, 0600); }, path("f"));
  struct stat s;
  ASSERT_EQ(::stat(path("f").c_str(), &s), 0);
  EXPECT_EQ(s.st_mode & 07777, 0600u);
}

TEST_P(Files, adopt_and_release_descriptors) {
  rt().block_on(skua::write_file(path("f"), "adopted"));
  int const fd = ::open(path("f").c_str(), O_RDONLY | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  int const back = rt().block_on([](int n) -> task<int> {
    file f = file::adopt(n, "mine");
    EXPECT_EQ(f.native_handle(), n);
    std::array<std::byte, 7> all;
    EXPECT_EQ(co_await f.read_at(0, all), 7u);
    co_return f.release();
  }, fd);
  EXPECT_EQ(back, fd);
  EXPECT_EQ(::close(fd), 0) << "it is still open";
}

// An operation that is under way keeps the file open, whoever drops it.
task<std::size_t> read_detached_from_its_file(std::string path, std::vector<std::byte>* to) {
  task<std::size_t> pending = co_await [](std::string p, std::vector<std::byte>* t) -> task<task<std::size_t>> {
    file const f = co_await file::open(p);
    co_return f.read_at(0, *t);
  }(path, to);
  co_return co_await std::move(pending);
}
TEST_P(Files, stay_open_while_an_operation_is_under_way) {
  rt().block_on(skua::write_file(path("f"), "still here"));
  std::vector<std::byte> to(10);
  EXPECT_EQ(rt().block_on(read_detached_from_its_file(path("f"), &to)), 10u);
  EXPECT_EQ(text_of(to), "still here");
}

TEST_P(Files, many_tasks_read_and_write_one_file_at_once) {
  rt().block_on([](std::string p) -> task<> {
    file f = co_await file::open(p, new_file);
    static constexpr std::size_t block = 8192, blocks = 64;
    std::vector<task<>> writers;
    for (std::size_t i = 0; i < blocks; ++i)
      writers.push_back([](file* g, std::size_t n) -> task<> {
        std::vector<std::byte> const b(block, static_cast<std::byte>(n));
        co_await g->write_at(n * block, b);
      }(&f, i));
    co_await skua::when_all(std::move(writers));
    std::vector<task<>> readers;
    for (std::size_t i = 0; i < blocks; ++i)
      readers.push_back([](file* g, std::size_t n) -> task<> {
        std::vector<std::byte> b(block);
        EXPECT_EQ(co_await g->read_at(n * block, b), block);
        EXPECT_TRUE(std::all_of(b.begin(), b.end(), [n](std::byte x) { return x == static_cast<std::byte>(n); }));
      }(&f, i));
    co_await skua::when_all(std::move(readers));
  }, path("f"));
}

TEST_P(Files, are_replaced_as_a_whole) {
  for (auto mode : {skua::write_mode::replace, skua::write_mode::replace_durably}) {
    rt().block_on(skua::write_file(path("f"), "old"));
    fs::permissions(path("f"), fs::perms(0640));
    int const old = ::open(path("f").c_str(), O_RDONLY | O_CLOEXEC);
    rt().block_on(skua::write_file(path("f"), "new", mode));
    char seen[4] = {};
    EXPECT_EQ(::read(old, seen, 3), 3);
    EXPECT_STREQ(seen, "old") << "whoever has it open keeps the old one";
    ::close(old);
    EXPECT_EQ(content_of(path("f")), "new");
    EXPECT_EQ(fs::status(path("f")).permissions(), fs::perms(0640));
    EXPECT_EQ(entries(), 1u) << "nothing is left beside it";
  }
}

// What a process with our number has left behind when it died: in a container each process is number 1.
TEST_P(Files, are_replaced_although_the_name_beside_them_is_taken) {
  auto const beside = [&](std::uint64_t n) { return path("f") + '.' + std::to_string(::getpid()) + '-' + std::to_string(n) + ".tmp"; };
  // Which number comes next: a name in a directory that is not there is taken all the same, and told.
  std::uint64_t next = 0;
  try {
    rt().block_on(skua::write_file(path("none/f"), "x", skua::write_mode::replace));
    ADD_FAILURE() << "there is no such directory";
  } catch (std::system_error const& e) {
    std::string const text = e.what();
    next = std::stoull(text.substr(text.rfind('-', text.rfind(".tmp")) + 1)) + 1;
  }
  for (std::uint64_t n = next; n != next + 3; ++n) std::ofstream(beside(n)) << "left behind";
  rt().block_on(skua::write_file(path("f"), "new", skua::write_mode::replace));
  EXPECT_EQ(content_of(path("f")), "new");
  for (std::uint64_t n = next; n != next + 3; ++n) EXPECT_TRUE(fs::exists(beside(n))) << "it is not ours to remove";
}

TEST_P(Files, a_replacement_that_fails_leaves_nothing_behind) {
  fs::create_directory(path("d"));
  EXPECT_THROW(rt().block_on(skua::write_file(path("d"), "x", skua::write_mode::replace)), std::system_error);
  end();   // waits for what goes on in the background
  EXPECT_EQ(entries(), 1u);
  EXPECT_TRUE(fs::is_directory(path("d")));
}

// S1, S7: a stop is seen on entry and between the pieces; the buffer is never written to afterwards.
TEST_P(Files, a_stop_ends_a_long_read_between_its_pieces) {
  std::vector<std::byte> to(64 << 20);
  rt().block_on(skua::write_file(path("f"), std::string(to.size(), 'x')));
  skua::runtime one({.workers = 1, .files = GetParam()});   // the reader goes on only while we wait
  one.block_on([](std::string p, std::span<std::byte> all) -> task<> {
    file const f = co_await file::open(p);
    auto h = skua::spawn(f.read_at(0, all));
    co_await skua::this_task::yield();   // it has begun, and has given way once or twice at most
    h.request_stop();
    bool stopped = false;
    try {
      (void)co_await h;
    } catch (skua::task_stopped const&) {
      stopped = true;
    }
    EXPECT_TRUE(stopped);
  }, path("f"), std::span(to));
  EXPECT_EQ(to.back(), std::byte{0});
}

TEST_P(Files, stops_and_completions_race_without_harm) {
  std::string const text(100'000, 'y');
  rt().block_on(skua::write_file(path("f"), text));
  for (int i = 0; i < 300; ++i) {
    auto reader = rt().spawn(skua::read_text_file(path("f")));
    auto writer = rt().spawn([](std::string p, std::string const* t) -> task<> { co_await skua::write_file(p, *t, skua::write_mode::replace); },
                             path("g"), &text);
    for (int spin = 0; spin < i * 10; ++spin) skua::detail::cpu_pause();
    reader.request_stop();
    writer.request_stop();
    auto const settle = [](auto handle) -> task<> {
      try {
        (void)co_await handle;
      } catch (skua::task_stopped const&) {
      }
    };
    rt().block_on(settle, std::move(reader));
    rt().block_on(settle, std::move(writer));
    if (fs::exists(path("g"))) {
      ASSERT_EQ(content_of(path("g")).size(), text.size()) << "old or new, never a part";
    }
  }
}

TEST(FileEngine, is_forced_by_the_environment_too) {
  ::setenv("SKUA_FILES", "threads", 1);
  skua::runtime const rt({.workers = 1});
  ::unsetenv("SKUA_FILES");
  EXPECT_EQ(rt.file_backend(), "threads");
}

TEST(FileEngine, is_threads_under_virtual_time_and_time_waits_for_it) {
  skua::runtime rt({.workers = 1, .backend = "virtual"});
  EXPECT_EQ(rt.file_backend(), "threads");
  std::string const text = rt.block_on([]() -> task<std::string> {
    co_return co_await skua::timeout(1us, skua::read_text_file("/proc/self/status"));
  });
  EXPECT_NE(text.find("Name:"), std::string::npos);
  EXPECT_THROW(skua::runtime({.workers = 1, .backend = "virtual", .files = "io_uring"}), std::invalid_argument);
}

} // namespace
