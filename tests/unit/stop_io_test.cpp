// SPDX-License-Identifier: Apache-2.0
// Stop everywhere, operation by operation (tests/support/stop_everywhere.hpp): files, connecting, writing, names, abandoned work; and a program that a signal
// ends at each of its points.
#include "skua/blocking.hpp"
#include "skua/file.hpp"
#include "skua/readiness.hpp"
#include "skua/resolve.hpp"
#include "skua/signal.hpp"
#include "skua/tcp.hpp"
#include "skua/time.hpp"
#include "skua/timeout.hpp"
#include "tests/support/stop_everywhere.hpp"
#include "tests/support/values.hpp"
#include <array>
#include <atomic>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <span>
#include <string>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::task;
using skua::tcp_listener;
using skua::tcp_stream;

// What the peer gets at place `at`.
char letter(std::size_t at) { return static_cast<char>('a' + at % 23); }
std::string letters(std::size_t from, std::size_t n) {
  std::string s(n, 0);
  for (std::size_t i = 0; i != n; ++i) s[i] = letter(from + i);
  return s;
}
std::span<std::byte const> bytes(std::string const& s) { return std::as_bytes(std::span(s)); }

// ---------------------------------------------------------------------------------------------- files

// A stopped write has written a prefix; what was opened is closed. The only blocking thread is kept busy in between, and calls points there: so requests also
// wait in its queue when the stop comes.
struct file_scene : scene {
  std::string const path = testing::TempDir() + "skua_stop_io_" + std::to_string(::getpid());
  task<> others() {
    for (int i = 0; i < 8; ++i) {
      co_await turns();
      co_await skua::spawn_blocking([this] {
        point();
        std::this_thread::yield();
      });
    }
  }
  std::string content() const {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
};
struct file_pieces : file_scene {
  std::string const text = letters(0, 3000), more = letters(3000, 5000);
  task<> body() {
    point();
    auto f = co_await skua::file::open(path, skua::open_mode::read | skua::open_mode::write | skua::open_mode::create | skua::open_mode::truncate);
    point();
    co_await f.write_at(0, bytes(text));
    point();
    co_await f.write_at(text.size(), bytes(more));
    point();
    co_await f.sync();
    point();
    co_await f.sync_data();
    point();
    EXPECT_EQ(co_await f.size(), 8000u);
    point();
    std::array<std::byte, 4096> b;
    EXPECT_EQ(co_await f.read_at(100, b), b.size());
    EXPECT_EQ(static_cast<char>(b[5]), letter(105));
    point();
    co_await f.close();
    point();
  }
  void check() {
    std::string const is = content();
    EXPECT_EQ(is, (text + more).substr(0, is.size()));
    if (body_ended) { EXPECT_EQ(is.size(), 8000u); }
    std::filesystem::remove(path);
  }
};
struct whole_files : file_scene {   // replaced: readers see all of the old or all of the new
  std::string const text = letters(0, 5000), other = letters(7, 6000);
  task<> body() {
    point();
    co_await skua::write_file(path, text);
    point();
    EXPECT_EQ(co_await skua::read_text_file(path), text);
    point();
    for (auto mode : {skua::write_mode::replace, skua::write_mode::replace_durably}) {
      co_await skua::write_file(path, other, mode);
      point();
    }
    EXPECT_EQ((co_await skua::read_file(path)).size(), other.size());
    point();
  }
  void check() {
    std::string const is = content();
    if (is != other) { EXPECT_EQ(is, text.substr(0, is.size())); }
    if (body_ended) { EXPECT_EQ(is, other); }
    // What a stopped write_file has left beside it is removed in the background.
    auto const beside = [this] {
      int n = 0;
      for (auto const& e : std::filesystem::directory_iterator(testing::TempDir()))
        n += e.path() != path && e.path().string().find("skua_stop_io_" + std::to_string(::getpid())) != std::string::npos;
      return n;
    };
    auto const limit = std::chrono::steady_clock::now() + 10s;
    while (beside() != 0 && std::chrono::steady_clock::now() < limit) std::this_thread::yield();
    EXPECT_EQ(beside(), 0);
    std::filesystem::remove(path);
  }
};

template <class Scene>
class StopFiles : public stop_operations<Scene> {};
using file_operations = testing::Types<file_pieces, whole_files>;
TYPED_TEST_SUITE(StopFiles, file_operations);

TYPED_TEST(StopFiles, lose_nothing_wherever_they_are_stopped__S4_S7) {
  for (char const* const engine : {"auto", "threads"})   // auto: io_uring, where the kernel allows it
    for (unsigned const workers : {1u, 2u})
      EXPECT_GT(this->run(skua::options{.workers = workers, .files = engine, .max_blocking_threads = 1}), 1) << engine;
}

// ---------------------------------------------------------------------------------------------- connecting, names

struct connecting : scene {   // a connection that was made is the body's, or closed: leak_check counts
  tcp_listener l = tcp_listener::bind(skua::endpoint::loopback(0));
  number made{0};
  bool by_name = false;
  task<> body() {
    for (int i = 0; i < 2; ++i) {
      point();
      auto s = co_await connect();
      EXPECT_TRUE(static_cast<bool>(s));
      ++made;
      point();
      EXPECT_EQ(co_await s.write_some("x"), 1u);
      point();
    }
  }
  virtual task<tcp_stream> connect() { return tcp_stream::connect(l.local_endpoint()); }
  virtual ~connecting() = default;
  task<> others() {
    for (int i = 0; i < 6; ++i) {
      co_await turns();
      point();
    }
  }
  void check() {
    if (body_ended) { EXPECT_EQ(made, 2); }
  }
};
// Two addresses, perhaps, of which one refuses; the lookup is abandoned when it is stopped.
struct connecting_by_name : connecting {
  task<tcp_stream> connect() override { return tcp_stream::connect("localhost", l.local_endpoint().port()); }
};
// A connect that nobody answers: the listener's queue is full.
struct connecting_for_long : scene {
  tcp_listener l = tcp_listener::bind(skua::endpoint::loopback(0), {.backlog = 0});
  std::vector<int> full;
  connecting_for_long() {
    skua::endpoint const to = l.local_endpoint();
    for (int i = 0; i < 3; ++i) {
      full.push_back(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
      (void)::connect(full.back(), static_cast<sockaddr const*>(to.native()), static_cast<socklen_t>(to.native_size()));
    }
  }
  ~connecting_for_long() {
    for (int const fd : full) ::close(fd);
  }
  task<> body() {
    point();
    try {
      auto s = co_await skua::timeout(5ms, tcp_stream::connect(l.local_endpoint()));
      ADD_FAILURE() << "there was room in the queue";
    } catch (skua::timeout_error const&) {
    }
    point();
  }
  task<> others() {
    for (int i = 0; i < 4; ++i) {
      co_await turns();
      point();
    }
  }
  void check() {}
};
struct resolving : scene {
  number got{0};
  task<> body() {
    for (int i = 0; i < 2; ++i) {
      point();
      auto const all = co_await skua::resolve("localhost", "80");
      EXPECT_FALSE(all.empty());
      ++got;
      point();
      (void)co_await skua::resolve("127.0.0.1", "80");   // at once
      point();
    }
  }
  task<> others() {
    for (int i = 0; i < 4; ++i) {
      co_await turns();
      point();
    }
  }
  void check() {
    if (body_ended) { EXPECT_EQ(got, 2); }
  }
};

// ---------------------------------------------------------------------------------------------- writing

// The peer reads little by little: most writes wait for room. write_some that is stopped has written nothing, write_all a part (S17). A pair of local sockets:
// TCP with buffers as small waits for its own timers.
template <bool All>
struct writing : scene {
  tcp_stream mine;
  int theirs = -1;
  std::string got;
  std::size_t acknowledged = 0;
  static constexpr std::size_t piece = 50'000;
  writing() {
    int fd[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd), 0);
    theirs = fd[1];
    mine = tcp_stream::adopt(fd[0]);
    mine.set_send_buffer(4096);
  }
  ~writing() { ::close(theirs); }
  task<> body() {
    for (int i = 0; i < 3; ++i) {
      point();
      std::string const text = letters(acknowledged, piece);
      if constexpr (All) {
        co_await mine.write_all(text);
        acknowledged += text.size();
      } else {
        acknowledged += co_await mine.write_some(text);
      }
      point();
    }
  }
  bool read_what_is_there(std::size_t most) {
    std::array<char, 65536> b;
    auto const n = ::recv(theirs, b.data(), std::min(most, b.size()), 0);
    if (n > 0) got.append(b.data(), static_cast<std::size_t>(n));
    return n > 0;
  }
  task<> others() {
    for (int i = 0; i < 10; ++i) {
      co_await turns();
      point();
      read_what_is_there(3000);
    }
    while (!body_gone) {
      read_what_is_there(65536);
      co_await skua::this_task::yield();
    }
  }
  void check() {
    while (read_what_is_there(65536)) {
    }
    EXPECT_EQ(got, letters(0, got.size()));
    EXPECT_GE(got.size(), acknowledged);
    EXPECT_LE(got.size(), acknowledged + (All && !body_ended ? piece : 0));
  }
};
// A pipe that is full, and is emptied a page at a time.
struct room_in_a_pipe : scene {
  int fd[2];
  std::size_t page = 0, before = 0, read = 0;
  number written{0};
  room_in_a_pipe() {
    EXPECT_EQ(::pipe2(fd, O_NONBLOCK | O_CLOEXEC), 0);
    page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    EXPECT_GE(::fcntl(fd[1], F_SETPIPE_SZ, static_cast<int>(page)), 0);
    while (write_page()) before += page;
  }
  ~room_in_a_pipe() {
    ::close(fd[0]);
    ::close(fd[1]);
  }
  bool write_page() const {
    std::string const text(page, 'x');
    return ::write(fd[1], text.data(), text.size()) == static_cast<ssize_t>(page);
  }
  bool read_page() {
    std::string text(page, 0);
    if (::read(fd[0], text.data(), text.size()) != static_cast<ssize_t>(page)) return false;
    read += page;
    return true;
  }
  task<> body() {
    for (int i = 0; i < 3; ++i) {
      point();
      co_await skua::writable(fd[1]);
      EXPECT_TRUE(write_page());
      ++written;
      point();
    }
  }
  task<> others() {
    for (int i = 0; i < 3; ++i) {
      co_await turns();
      point();
      EXPECT_TRUE(read_page() || body_gone);
      point();
      co_await until([this, i] { return written == i + 1 || body_gone; });
    }
  }
  void check() {
    while (read_page()) {
    }
    EXPECT_EQ(read, before + page * static_cast<std::size_t>(written));
    if (body_ended) { EXPECT_EQ(written, 3); }
  }
};

// ---------------------------------------------------------------------------------------------- abandoned work

struct abandoning : scene {   // what has begun goes on by itself, and owns what it needs
  struct count {
    number begun{0}, ended{0};
  };
  std::shared_ptr<count> const calls = std::make_shared<count>();
  number got{0};
  task<> body() {
    for (int i = 0; i < 3; ++i) {
      point();
      got += co_await skua::abandon(skua::spawn_blocking([n = calls] {
        ++n->begun;
        std::this_thread::yield();
        ++n->ended;
        return 1;
      }));
      point();
    }
  }
  task<> others() {
    for (int i = 0; i < 6; ++i) {
      co_await turns();
      point();
    }
  }
  void check() {
    while (calls.use_count() != 1) std::this_thread::yield();   // what was abandoned is destroyed by its thread
    EXPECT_EQ(calls->begun, calls->ended);
    EXPECT_LE(got, calls->ended);
    if (body_ended) { EXPECT_EQ(got, 3); }
  }
};

template <class Scene>
class StopIo : public stop_operations<Scene> {};
using io_operations = testing::Types<connecting, connecting_by_name, connecting_for_long, resolving, writing<true>, writing<false>, room_in_a_pipe, abandoning>;
TYPED_TEST_SUITE(StopIo, io_operations);

TYPED_TEST(StopIo, loses_nothing_wherever_it_is_stopped__S4_S7_S17) {
  for (unsigned const workers : {1u, 2u}) EXPECT_GT(this->run(skua::options{.workers = workers}), 1);
}

// ---------------------------------------------------------------------------------------------- signals

// The main task is stopped by a signal at each of its points; what it has left behind ends within the grace period.
class StopBySignal : public leak_check {};

struct signalled {
  std::atomic<int> left, alive{0}, finished{0};
  bool ended = false;
  void point() {
    if (left.fetch_sub(1) == 1) ::kill(::getpid(), SIGTERM);
  }
  struct life {
    std::atomic<int>& n;
    explicit life(std::atomic<int>& k) : n(k) { ++n; }
    life(life const&) = delete;
    ~life() { --n; }
  };
};
task<int> main_task(signalled& s) {
  signalled::life const l(s.alive);
  s.point();
  skua::spawn_detached([](signalled& x) -> task<> {
    signalled::life const mine(x.alive);
    x.point();
    co_await skua::sleep_for(1ms);
    x.point();
    ++x.finished;
  }, std::ref(s));
  for (int i = 0; i < 3; ++i) {
    co_await skua::this_task::yield();
    s.point();
    co_await skua::sleep_for(200us);
    s.point();
  }
  while (s.finished == 0) co_await skua::this_task::yield();
  s.ended = true;
  co_return 7;
}

TEST_F(StopBySignal, a_program_ends_in_order_wherever_the_signal_comes) {
  for (unsigned const workers : {1u, 2u})
    for (int at = 1;; ++at) {
      signalled s{.left = at};
      auto const report = skua::run_until_signal(main_task(s), {SIGTERM}, 1h, skua::options{.workers = workers});
      EXPECT_EQ(s.alive, 0) << at;
      EXPECT_TRUE(report.survivors.empty()) << at;
      if (s.left > 0) {
        EXPECT_EQ(report.signal, 0);
        EXPECT_TRUE(s.ended);
        break;
      }
      EXPECT_EQ(report.status, s.ended ? 7 : 0) << at;
      if (!s.ended) { EXPECT_EQ(report.signal, SIGTERM) << at; }   // behind its last point the main task may be quicker than the signal
      ASSERT_LT(at, 100);
    }
}

} // namespace
