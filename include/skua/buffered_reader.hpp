// SPDX-License-Identifier: Apache-2.0
// buffered_reader: lines, and messages that end with a delimiter.
//
//     skua::buffered_reader reader(stream);
//     while (auto const line = co_await reader.read_line()) obey(*line);
#pragma once
#include "stream_socket.hpp"
#include "task.hpp"
#include <cstddef>
#include <memory>
#include <optional>
#include <string_view>

namespace skua {

// Reads a stream (a tcp_stream, a unix_stream, a tls_stream) through a buffer, which grows with what has to be kept.
// Reading the stream itself meanwhile misses what the buffer holds.
//
// What is returned as a view lies in the buffer, and is good until the next call of a member.
//
// Thread safety: one task at a time; another one may write the stream.
// Stop: every call is a suspension point, and loses nothing: what had come stays in the buffer, so `timeout(1s, reader.read_line())` may simply be called
// again. (read_exactly alone may have lost a part, as that of a stream: S17.)
// Errors: those of reading the stream; what had come before stays in the buffer. message_size: what is to be read is longer than `limit`; it stays there, too,
// and read_some() takes it away. bad_alloc: nothing was read.
// Lifetime: the stream must outlive it, and it must outlive its tasks.
class buffered_reader {
public:
  // `limit`: the longest line or message, or all for read_to_end(), in bytes, its end included.
  template <class Stream>
    requires requires(Stream& s, mutable_buffer b) { s.read_some(b), s.read_exactly(b); }
  explicit buffered_reader(SKUA_LIFETIMEBOUND Stream& stream, std::size_t limit = 65536) noexcept : stream_(&stream), of_(&calls_of<Stream>), limit_(limit) {}
  buffered_reader(buffered_reader const&) = delete;

  // The next line, without its end ("\n" or "\r\n"). None: the peer will send no more. A last line needs no end.
  task<std::optional<std::string_view>> read_line();
  // Everything up to the next delimiter, which it ends with. transfer_error with errc::end_of_stream if the peer has sent less; it stays in the buffer.
  // The delimiter, which is not empty, must live until the task has ended.
  task<std::string_view> read_until(std::string_view delimiter);
  // Everything that the peer will send, to the end of the stream.
  task<std::string_view> read_to_end();
  // What there is, at most `to.size()` bytes; waits if there is nothing. 0: the peer will send no more (or `to` is empty).
  task<std::size_t> read_some(mutable_buffer to);
  // Fills all of `to`. transfer_error with errc::end_of_stream if the peer has sent less.
  task<> read_exactly(mutable_buffer to);

  // What was read from the stream, and from here not yet.
  std::string_view buffered() const noexcept { return {buffer_.get() + begin_, end_ - begin_}; }

private:
  // What is called of a stream.
  struct calls {
    task<std::size_t> (*read_some)(void*, mutable_buffer);
    task<> (*read_exactly)(void*, mutable_buffer);
  };
  template <class Stream>
  static constexpr calls calls_of{[](void* s, mutable_buffer to) -> task<std::size_t> { co_return co_await static_cast<Stream*>(s)->read_some(to); },
                                  [](void* s, mutable_buffer to) -> task<> { co_await static_cast<Stream*>(s)->read_exactly(to); }};

  task<std::size_t> receive();
  void make_room();
  std::string_view take(std::size_t n) noexcept;
  std::size_t copy_into(mutable_buffer to) const noexcept;

  void* stream_;
  calls const* of_;
  std::size_t limit_;
  std::unique_ptr<char[]> buffer_;
  std::size_t capacity_ = 0, begin_ = 0, end_ = 0;
};

} // namespace skua
