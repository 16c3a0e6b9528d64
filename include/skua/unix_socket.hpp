// SPDX-License-Identifier: Apache-2.0
// unix_stream and unix_listener: connections between processes of one machine.
//
// An address is a path, of a socket file; or, if it begins with a zero byte, a name of Linux's abstract namespace, which has no file and no permissions.
// At most 107 bytes.
#pragma once
#include "detail/listening.hpp"
#include "detail/socket_handle.hpp"
#include "stream_socket.hpp"
#include "task.hpp"
#include <string>
#include <utility>

namespace skua {

// The process at the other end, as it was when it connected, listened or made the pair.
struct unix_credentials {
  int pid;   // 0: of another pid namespace
  unsigned uid, gid;
};

// A Unix-domain connection: reads and writes as a stream_socket does. Movable; the last owner closes it.
class [[nodiscard("dropping a unix_stream closes the connection")]] unix_stream : public stream_socket {
public:
  // Connects to a listener. While the listener's backlog is full it tries again every 1 to 16 ms, for as long as it takes: the kernel offers no waiting there.
  // Stop: a suspension point. Errors: std::system_error (no_such_file_or_directory; connection_refused: nobody listens there; filename_too_long).
  static task<unix_stream> connect(std::string address);
  // Two ends of a new connection. Any thread. Errors: std::system_error.
  static std::pair<unix_stream, unix_stream> pair();
  // Takes over a connected Unix-domain stream socket. Errors: std::system_error if it is none; then it stays the caller's.
  static unix_stream adopt(int descriptor);

  unix_stream() noexcept = default;   // not open

  // Errors: std::system_error.
  unix_credentials peer_credentials() const;

  // For skua's own parts.
  static constexpr auto short_one = detail::short_transfer::means_nothing;
  explicit unix_stream(detail::socket_handle&& h) noexcept : stream_socket(std::move(h)) {}
};

struct unix_listen_options {
  int backlog = 4096;          // connections that wait to be accepted; the kernel's net.core.somaxconn is a limit
  bool replace_stale = true;   // a socket file at which nobody listens, left by a server that has ended, is removed first (two that start in the same
                               // moment may both think so: the later one has the file)
};

// A listening Unix-domain socket. detail/listening.hpp has accept(), close() and the rest.
//
//     auto listener = skua::unix_listener::bind("/run/user/1000/echo.sock");
//     for (;;) skua::spawn_detached(serve, co_await listener.accept());
//
// on(listener, f) accepts in a select (select_io.hpp).
class [[nodiscard("dropping a unix_listener closes it")]] unix_listener : public detail::listening<unix_stream> {
public:
  // Listens at once; any thread, also before there is a runtime. "": at an abstract name that the kernel chooses, see address(). Who may connect is what the
  // file's mode says, by the process's umask. Closing leaves the file, as the kernel does: remove it, or leave it to the next bind().
  //
  // Errors: std::system_error (address_in_use: somebody listens there, or it is no socket; filename_too_long).
  static unix_listener bind(std::string const& address, unix_listen_options const& o = {});
  // Takes over a listening Unix-domain socket, such as one that systemd passes. Errors: std::system_error if it is none; then it stays the caller's.
  static unix_listener adopt(int descriptor);

  unix_listener() noexcept = default;   // not open

  // As bind() takes it. Errors: std::system_error.
  std::string address() const;

private:
  explicit unix_listener(detail::socket_handle&& h) noexcept : listening(std::move(h)) {}
};

} // namespace skua
