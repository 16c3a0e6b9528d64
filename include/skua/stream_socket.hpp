// SPDX-License-Identifier: Apache-2.0
// stream_socket: what connections of every kind have in common. tcp.hpp and unix_socket.hpp make them.
//
// Descriptors that skua makes are non-blocking and close-on-exec; an adopted one stays as it is. No operation blocks on either, and none raises SIGPIPE.
#pragma once
#include "detail/socket_handle.hpp"
#include "detail/transfer.hpp"
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

namespace skua {

using mutable_buffer = std::span<std::byte>;
using const_buffer = std::span<std::byte const>;

// Reading and writing a connection: a tcp_stream or a unix_stream. What works on either takes a stream_socket&. Movable; the last owner closes it.
//
// Reads and writes try at once, on the worker that runs the task, and suspend only if the kernel has nothing or no room; they allocate nothing. A task that
// never has to wait lets others run from time to time (D11).
//
// Thread safety: at most one task reads and one writes at a time, on any workers; a second reader or writer is refused with usage_error (S18). close()
// may be called by any of them, or by a third, from any thread; whoever is about to read or write then gets an error. Options, release, moving and
// destroying: when nobody is about to call a member; an operation that is under way does not need the stream object any more.
// Stop: every operation is a suspension point. A stopped read_some or write_some has transferred nothing. A stopped read_exactly or write_all may have
// transferred a part, which only as_result() reports; afterwards the stream is good for closing only (S17).
// Errors: transfer_error, a std::system_error with the kernel's code (connection_reset, broken_pipe, timed_out ..) and the number of bytes
// transferred. operation_canceled: the stream was closed meanwhile (S19). bad_file_descriptor: it was not open to begin with. bad_alloc at a branch's first
// suspension; then nothing was transferred. no_space_on_device: the user may wait for no more descriptors (fs.epoll.max_user_watches).
// Lifetime: buffers must live until the operation has ended, which a coroutine's locals do, on every path. The stream may outlive its runtime.
class stream_socket {
public:
  // False: closed, released or moved from.
  explicit operator bool() const noexcept { return static_cast<bool>(handle_); }
  // -1 if it is not open. For options that skua does not know; never close it.
  int native_handle() const noexcept { return handle_.number(); }
  // Gives the descriptor up, which stays open, and as it is. usage_error while somebody reads or writes.
  int release() { return handle_.release(); }
  // A task that waits on it gets operation_canceled; the number is free when nobody uses it any more (S19). Data that was written is still sent.
  // Unread data is discarded, and the peer is told by a reset.
  void close() noexcept { handle_.close(); }

  // Waits until there is something to read; the number of bytes, at most `to.size()`. 0: the peer will send no more (or `to` is empty).
  detail::transfer<std::size_t> read_some(mutable_buffer to) noexcept { return make<std::size_t>(detail::read_some_kind, to); }
  // Fills all of `to`. transfer_error with errc::end_of_stream if the peer has sent less.
  detail::transfer<void> read_exactly(mutable_buffer to) noexcept { return make<void>(detail::read_exactly_kind, to); }
  // Waits until there is room; the number of bytes, at least 1 unless `from` is empty.
  detail::transfer<std::size_t> write_some(const_buffer from) noexcept { return make<std::size_t>(detail::write_some_kind, from); }
  detail::transfer<std::size_t> write_some(std::string_view from) noexcept { return write_some(bytes(from)); }
  // Writes all of `from`: returns when the kernel has it.
  detail::transfer<void> write_all(const_buffer from) noexcept { return make<void>(detail::write_all_kind, from); }
  detail::transfer<void> write_all(std::string_view from) noexcept { return write_all(bytes(from)); }

  // The same over several buffers, in order; the spans themselves must live as long as the buffers. One system call takes up to 64 of them.
  detail::transfer<std::size_t> readv(std::span<mutable_buffer const> to) noexcept { return make_v<std::size_t>(detail::readv_kind, to); }
  detail::transfer<std::size_t> writev(std::span<const_buffer const> from) noexcept { return make_v<std::size_t>(detail::writev_kind, from); }
  detail::transfer<void> writev_all(std::span<const_buffer const> from) noexcept { return make_v<void>(detail::writev_all_kind, from); }

  // Half-close: the peer reads the end of the stream, we can go on reading. What was written is sent first. Counts as writing: usage_error while another
  // task writes. Errors: std::system_error (not_connected after a reset).
  //
  // The orderly end of a connection: shutdown_write(), read_some() until it gives 0, drop the stream.
  void shutdown_write();
  // From now on reads give what has arrived, and where they would wait, the end of the stream; a task that waits in one goes on at once. For a connection that
  // is to finish what it has received, and hear no more. The peer is not told, and may go on sending into the kernel's buffers.
  //
  // From any thread that keeps the stream alive, also while tasks read and write. Nothing if it is not open.
  void shutdown_read() noexcept;

  void set_receive_buffer(std::size_t size);   // in bytes; the kernel doubles it, and has limits
  void set_send_buffer(std::size_t size);      // Errors of both: std::system_error

  // For skua's own parts.
  detail::socket_handle const& handle() const noexcept { return handle_; }
  bool is_shut_for_reading() const noexcept;

protected:
  stream_socket() noexcept = default;   // not open
  explicit stream_socket(detail::socket_handle&& h) noexcept : handle_(std::move(h)) {}
  stream_socket(stream_socket&&) noexcept = default;
  stream_socket& operator=(stream_socket&&) noexcept = default;
  ~stream_socket() = default;

private:
  static const_buffer bytes(std::string_view s) noexcept { return std::as_bytes(std::span<char const>(s.data(), s.size())); }
  template <class T, class Byte>
  detail::transfer<T> make(detail::io_kind const& k, std::span<Byte> b) noexcept {
    return detail::transfer<T>(k, handle_.get(), handle_.generation(), const_cast<std::byte*>(b.data()), b.size());
  }
  template <class T, class Buffer>
  detail::transfer<T> make_v(detail::io_kind const& k, std::span<Buffer const> b) noexcept {
    return detail::transfer<T>(k, handle_.get(), handle_.generation(), const_cast<Buffer*>(b.data()), b.size());
  }

  detail::socket_handle handle_;
};

} // namespace skua
