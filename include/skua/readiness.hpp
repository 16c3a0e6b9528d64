// SPDX-License-Identifier: Apache-2.0
// readable, writable: wait until a descriptor of another library can be read from or written to.
#pragma once
#include "detail/io_operation.hpp"
#include <coroutine>

namespace skua {

namespace detail {

extern io_kind const readable_kind, writable_kind;

class [[nodiscard("readiness is waited for when it is awaited")]] readiness : io_operation {
public:
  readiness(io_kind const& k, int fd) noexcept : io_operation(k, nullptr, 0), fd_(fd) {}
  ~readiness() {
    if (target != nullptr) [[unlikely]] end_wait();
  }
  bool await_ready() noexcept { return !attention() && spend_budget() && (looked_ = true, look()); }
  std::coroutine_handle<> await_suspend(own_coroutine h);
  void await_resume() const {
    if (error != 0) [[unlikely]] throw_io_error(*this);
  }
  // For skua's own parts.
  io_kind const& what() const noexcept { return io(); }
  int number() const noexcept { return fd_; }

private:
  bool look() noexcept;
  void end_wait() noexcept;
  int fd_;
  bool looked_ = false;
};

} // namespace detail

// Waits until `fd` can be read from without blocking: there is data, its end, or an error to be had. For C libraries that hand out their descriptors
// (libpq, c-ares, libcurl): wait, then call the library.
//
// The descriptor is used for this one wait only: the library may close it, reuse its number or duplicate it between two waits. Several tasks may wait for the
// same descriptor at once; all are woken. It may be blocking or not; nothing about it is changed. A wait that finds it ready costs two system calls, one that
// has to wait about seven: skua's own streams are cheaper. A wait needs one more descriptor while it lasts.
//
// If the descriptor is closed *during* the wait, the wait goes on, for what it stood for still exists (the wait holds a duplicate): a library that closes
// what is being waited for should have its waiter stopped first.
//
// Thread safety: on workers only. Stop: a suspension point; it ends at once.
// Errors: std::system_error (bad_file_descriptor, too_many_files_open); usage_error for regular files and directories, which are always ready (S20).
// Lifetime: fd must be open when it is awaited.
//
//     while (PQisBusy(connection)) {
//       co_await skua::readable(PQsocket(connection));
//       PQconsumeInput(connection);
//     }
inline detail::readiness readable(int fd) noexcept { return detail::readiness(detail::readable_kind, fd); }

// The same for writing: until there is room, a connect() has come to an end, or an error is to be had.
inline detail::readiness writable(int fd) noexcept { return detail::readiness(detail::writable_kind, fd); }

} // namespace skua
