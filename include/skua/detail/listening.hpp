// SPDX-License-Identifier: Apache-2.0
// What listeners of every kind have in common; tcp_listener and unix_listener are made of it.
#pragma once
#include "../task.hpp"
#include "socket_handle.hpp"
#include <cstdint>
#include <utility>

namespace skua::detail {

// Not a member: the listener may be moved, and closed, meanwhile. io/accept.cpp has it for every kind of stream.
template <class Stream>
task<Stream> accept_from(descriptor* d, std::uint32_t generation);

// A socket that listens for `Stream`s.
//
// Thread safety: one task accepts at a time (S18); close() by anyone.
// Stop: accept is a suspension point; a connection that was taken from the kernel is delivered or closed, never leaked.
// Lifetime: as a stream_socket.
template <class Stream>
class listening {
public:
  explicit operator bool() const noexcept { return static_cast<bool>(handle_); }
  int native_handle() const noexcept { return handle_.number(); }
  // usage_error while a task waits in accept().
  int release() { return handle_.release(); }
  // A task that waits in accept() gets operation_canceled (S19).
  void close() noexcept { handle_.close(); }

  // Waits for a connection.
  //
  // A connection that broke before it was accepted is passed over. When the process or the machine has no descriptors or memory left, it waits 10 to 160 ms
  // and tries again, for as long as it takes: the connection stays in the backlog. Errors: std::system_error: operation_canceled: it was
  // closed meanwhile (S19); bad_file_descriptor: it was not open to begin with. usage_error: another task accepts (S18). bad_alloc.
  task<Stream> accept() { return accept_from<Stream>(handle_.get(), handle_.generation()); }

  // For skua's own parts.
  socket_handle const& handle() const noexcept { return handle_; }

protected:
  listening() noexcept = default;   // not open
  explicit listening(socket_handle&& h) noexcept : handle_(std::move(h)) {}
  listening(listening&&) noexcept = default;
  listening& operator=(listening&&) noexcept = default;
  ~listening() = default;

private:
  socket_handle handle_;
};

} // namespace skua::detail
