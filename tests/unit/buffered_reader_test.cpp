// SPDX-License-Identifier: Apache-2.0
// Unit: buffered_reader.
#include "skua/buffered_reader.hpp"
#include "skua/io_error.hpp"
#include "skua/runtime.hpp"
#include "skua/spawn.hpp"
#include "skua/this_task.hpp"
#include "skua/timeout.hpp"
#include "skua/unix_socket.hpp"
#include "tests/support/io_test.hpp"
#include "tests/support/tcp_pair.hpp"
#include <array>
#include <functional>
#include <gtest/gtest.h>
#include <new>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using skua::buffered_reader;
using skua::task;
using skua::unix_stream;
using skua_test::single_worker;
using skua_test::text_of;
using skua_test::until_all_wait;

class BufferedReader : public skua_test::io_test {};

// All lines that a peer sees which is sent `text`.
task<std::vector<std::string>> lines_of(std::string_view text) {
  auto [mine, theirs] = unix_stream::pair();
  co_await theirs.write_all(text);
  theirs.close();
  std::vector<std::string> lines;
  buffered_reader reader(mine);
  while (auto const line = co_await reader.read_line()) lines.emplace_back(*line);
  EXPECT_FALSE(co_await reader.read_line());   // again and again
  co_return lines;
}

TEST_F(BufferedReader, gives_lines_without_their_ends) {
  run([]() -> task<> {
    using list = std::vector<std::string>;
    list const five{"one", "two", "", "", "last"};   // by itself: CONTRIBUTING, rule 11
    EXPECT_EQ(co_await lines_of("one\ntwo\r\n\n\r\nlast"), five);
    EXPECT_EQ(co_await lines_of("one\n"), (list{"one"}));
    EXPECT_EQ(co_await lines_of("\r"), (list{"\r"}));   // without its \n it ends nothing
    EXPECT_EQ(co_await lines_of(""), list{});
  });
}

TEST_F(BufferedReader, waits_for_a_line_that_comes_in_pieces) {
  run([]() -> task<> {
    auto [mine, theirs] = unix_stream::pair();
    auto reading = skua::spawn([](unix_stream s) -> task<std::string> {
      buffered_reader reader(s);
      std::string const first(*co_await reader.read_line());
      co_return first + '|' + std::string(*co_await reader.read_line());
    }, std::move(mine));
    for (std::string_view const piece : {"on", "e\r", "\nt", "w", "o\n"}) {
      co_await until_all_wait();
      co_await theirs.write_all(piece);
    }
    EXPECT_EQ(co_await reading, "one|two");
  }, single_worker);
}

TEST_F(BufferedReader, gives_what_ends_with_a_delimiter_and_keeps_the_rest) {
  run([]() -> task<> {
    auto [mine, theirs] = unix_stream::pair();
    buffered_reader reader(mine);
    co_await theirs.write_all("GET / HTTP/1.1\r\nHost: x\r\n\r\nbody and more");
    EXPECT_EQ(co_await reader.read_until("\r\n\r\n"), "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_EQ(reader.buffered(), "body and more");
    std::array<std::byte, 4> body;
    co_await reader.read_exactly(body);
    EXPECT_EQ(text_of(body), "body");
    std::array<std::byte, 100> more;
    EXPECT_EQ(co_await reader.read_some(std::span(more).first(0)), 0u);
    EXPECT_EQ(co_await reader.read_some(more), 9u);
    EXPECT_EQ(text_of(std::span(more).first(9)), " and more");
    co_await theirs.write_all("past the buffer");
    EXPECT_EQ(co_await reader.read_some(more), 15u);
    EXPECT_THROW((void)co_await reader.read_until(""), std::invalid_argument);
  });
}

// A delimiter that lies across two reads, behind beginnings of it that were none.
TEST_F(BufferedReader, finds_a_delimiter_wherever_the_pieces_end) {
  run([]() -> task<> {
    std::string const text = "aababaab";
    for (std::size_t cut = 0; cut <= text.size(); ++cut) {
      auto [mine, theirs] = unix_stream::pair();
      auto reading = skua::spawn([](unix_stream& s) -> task<std::string> {
        buffered_reader reader(s);
        co_return std::string(co_await reader.read_until("baab"));
      }, std::ref(mine));
      co_await theirs.write_all(text.substr(0, cut));
      co_await until_all_wait();
      co_await theirs.write_all(text.substr(cut) + "x");
      EXPECT_EQ(co_await reading, text);
    }
  }, single_worker);
}

TEST_F(BufferedReader, says_what_was_missing_at_the_end) {
  run([]() -> task<> {
    auto [mine, theirs] = unix_stream::pair();
    co_await theirs.write_all("12345");
    theirs.close();
    buffered_reader reader(mine);
    auto const cut = co_await skua::as_result(reader.read_until(";"));
    EXPECT_EQ(cut.error(), skua::errc::end_of_stream);
    EXPECT_EQ(cut.transferred(), 5u);
    EXPECT_EQ(reader.buffered(), "12345");
    std::array<std::byte, 8> more;
    auto const read = co_await skua::as_result(reader.read_exactly(more));
    EXPECT_EQ(read.error(), skua::errc::end_of_stream);
    EXPECT_EQ(read.transferred(), 5u);
    EXPECT_EQ(text_of(std::span(more).first(5)), "12345");
  });
}

TEST_F(BufferedReader, what_is_longer_than_its_limit_is_an_error_and_stays) {
  run([]() -> task<> {
    for (std::size_t const excess : {0u, 1u}) {
      auto [mine, theirs] = unix_stream::pair();
      buffered_reader reader(mine, 6);
      co_await theirs.write_all(std::string(5 + excess, 'x') + "\nnext\n");
      auto const line = co_await skua::as_result(reader.read_line());
      EXPECT_EQ(line.error(), excess == 0 ? std::error_code() : std::make_error_code(std::errc::message_size));
      if (excess != 0) {
        EXPECT_EQ((co_await skua::as_result(reader.read_until("\n"))).error(), std::errc::message_size);
        std::array<std::byte, 7> skipped;
        co_await reader.read_exactly(skipped);
      }
      EXPECT_EQ(co_await reader.read_line(), "next");
      co_await theirs.write_all("1234567");
      theirs.close();
      EXPECT_EQ((co_await skua::as_result(reader.read_to_end())).error(), std::errc::message_size);
    }
  });
}

// The limit includes a line's end, and a last line needs none.
TEST_F(BufferedReader, a_last_line_may_be_as_long_as_the_limit) {
  run([]() -> task<> {
    for (std::size_t const excess : {0u, 1u}) {
      auto [mine, theirs] = unix_stream::pair();
      buffered_reader reader(mine, 6);
      co_await theirs.write_all(std::string(6 + excess, 'x'));
      theirs.close();
      auto const line = co_await skua::as_result(reader.read_line());
      EXPECT_EQ(line.error(), excess == 0 ? std::error_code() : std::make_error_code(std::errc::message_size));
      EXPECT_EQ(reader.buffered().size(), excess == 0 ? 0u : 7u);
    }
  });
}

// A stream whose next read_exactly finds no memory.
struct short_of_memory {
  unix_stream& stream;
  bool fails = true;
  task<std::size_t> read_some(skua::mutable_buffer to) { co_return co_await stream.read_some(to); }
  task<> read_exactly(skua::mutable_buffer to) {
    if (std::exchange(fails, false)) throw std::bad_alloc{};
    co_await stream.read_exactly(to);
  }
};

TEST_F(BufferedReader, without_memory_nothing_is_read) {
  run([]() -> task<> {
    auto [mine, theirs] = unix_stream::pair();
    short_of_memory stream{mine};
    buffered_reader reader(stream);
    co_await theirs.write_all("line\n123");
    EXPECT_EQ(co_await reader.read_line(), "line");
    std::array<std::byte, 5> five;
    EXPECT_THROW(co_await reader.read_exactly(five), std::bad_alloc);
    EXPECT_EQ(reader.buffered(), "123");
    co_await theirs.write_all("45");
    co_await reader.read_exactly(five);
    EXPECT_EQ(text_of(five), "12345");
    EXPECT_EQ(reader.buffered(), "");
  });
}

TEST_F(BufferedReader, what_is_in_the_buffer_needs_no_stream) {
  run([]() -> task<> {
    auto [mine, theirs] = unix_stream::pair();
    buffered_reader reader(mine);
    co_await theirs.write_all("line\n12345");
    EXPECT_EQ(co_await reader.read_line(), "line");
    mine.close();
    std::array<std::byte, 5> five;
    co_await reader.read_exactly(five);
    EXPECT_EQ(text_of(five), "12345");
  });
}

TEST_F(BufferedReader, a_stop_loses_nothing_of_what_had_come) {
  run([]() -> task<> {
    auto [mine, theirs] = unix_stream::pair();
    buffered_reader reader(mine);
    co_await theirs.write_all("half a li");
    auto reading = skua::spawn([](buffered_reader& r) -> task<> { (void)co_await r.read_line(); }, std::ref(reader));
    co_await skua_test::until_all_wait();
    reading.request_stop();
    EXPECT_THROW(co_await std::move(reading), skua::task_stopped);
    EXPECT_EQ(reader.buffered(), "half a li");
    co_await theirs.write_all("ne\n");
    EXPECT_EQ(co_await reader.read_line(), "half a line");
  }, skua_test::single_worker);
}

// S1: also if what is asked for is in the buffer already.
TEST_F(BufferedReader, a_stop_that_came_before_is_seen_first) {
  run([]() -> task<> {
    auto [mine, theirs] = unix_stream::pair();
    buffered_reader reader(mine);
    co_await theirs.write_all("1\n2\n3\n");
    EXPECT_EQ(co_await reader.read_line(), "1");
    int read = 0;
    auto const stopped_before = [&](auto ask) -> task<> {
      auto h = skua::spawn([&]() -> task<> {
        while (!skua::this_task::stop_requested()) std::this_thread::yield();   // plain code sees no stop
        co_await ask();
        ++read;
      });
      h.request_stop();
      EXPECT_THROW(co_await std::move(h), skua::task_stopped);
    };
    co_await stopped_before([&]() -> task<> { (void)co_await reader.read_line(); });
    co_await stopped_before([&]() -> task<> { (void)co_await reader.read_until("\n"); });
    std::array<std::byte, 1> one{};
    co_await stopped_before([&]() -> task<> { (void)co_await reader.read_some(one); });
    co_await stopped_before([&]() -> task<> { co_await reader.read_exactly(one); });
    EXPECT_EQ(read, 0);
    EXPECT_EQ(reader.buffered(), "2\n3\n");
  });
}

TEST_F(BufferedReader, much_of_every_length_comes_as_it_was_and_the_buffer_stays_small) {
  run([]() -> task<> {
    auto [mine, theirs] = unix_stream::pair();
    std::mt19937 random(1);
    std::vector<std::string> lines(3000);
    std::string text;
    for (std::size_t i = 0; i < lines.size(); ++i) {
      lines[i].assign(i % 100 == 0 ? random() % 20'000 : random() % 200, static_cast<char>('a' + i % 26));
      text += lines[i] + '\n';
    }
    auto writing = skua::spawn([](unix_stream s, std::string const& t) -> task<> { co_await s.write_all(t); }, std::move(theirs), std::cref(text));
    buffered_reader reader(mine);
    for (auto const& line : lines) {
      auto const got = co_await reader.read_line();
      EXPECT_TRUE(got == line);
      EXPECT_LE(reader.buffered().size(), 65536u);
    }
    EXPECT_EQ(co_await reader.read_to_end(), "");
    co_await writing;
  });
}

} // namespace
