// SPDX-License-Identifier: Apache-2.0
#include "skua/unix_socket.hpp"
#include "io/socket.hpp"
#include "skua/this_task.hpp"
#include "skua/time.hpp"
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <string_view>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace skua {

namespace detail {

namespace {

class unix_address {
public:
  // "": none yet, the kernel gives one to whoever binds.
  unix_address(std::string const& s, char const* what) {
    bool const abstract = s.empty() || s[0] == 0;
    if (s.size() >= sizeof address_.sun_path) fail(ENAMETOOLONG, what);
    if (!abstract && s.find('\0') != s.npos) fail(EINVAL, what);
    address_.sun_family = AF_UNIX;
    std::memcpy(address_.sun_path, s.data(), s.size());
    size_ = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + s.size() + !abstract);
  }
  sockaddr const* get() const noexcept { return reinterpret_cast<sockaddr const*>(&address_); }
  socklen_t size() const noexcept { return size_; }
  char const* path() const noexcept { return address_.sun_path; }   // "" if it is abstract

private:
  sockaddr_un address_{};
  socklen_t size_;
};

// A socket file whose server has ended. (To connect to a file that is no socket is refused as well.)
bool is_stale(unix_address const& a) {
  struct stat s;
  if (::lstat(a.path(), &s) != 0 || !S_ISSOCK(s.st_mode)) return false;
  auto const probe = new_socket(AF_UNIX, SOCK_STREAM);
  return ::connect(probe.get(), a.get(), a.size()) != 0 && errno == ECONNREFUSED;
}

void expect_unix(int fd, char const* what) {
  if (get_option(fd, SOL_SOCKET, SO_DOMAIN, what) != AF_UNIX) fail(EAFNOSUPPORT, what);
}

constexpr std::chrono::milliseconds first_pause{1}, last_pause{16};

} // namespace

} // namespace detail

task<unix_stream> unix_stream::connect(std::string address) {
  char const* const what = "skua: unix_stream::connect";
  if (address.empty()) detail::fail(EINVAL, what);
  detail::unix_address const to(address, what);
  unix_stream stream(detail::socket_handle(detail::new_socket(AF_UNIX, SOCK_STREAM).take(), short_one));
  co_await this_task::checkpoint();
  for (auto pause = detail::first_pause; ::connect(stream.native_handle(), to.get(), to.size()) != 0; pause = std::min(2 * pause, detail::last_pause)) {
    if (errno != EAGAIN && errno != EINTR) detail::fail(errno, what);
    co_await sleep_for(pause);
  }
  co_return stream;
}

std::pair<unix_stream, unix_stream> unix_stream::pair() {
  int fd[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd) != 0) detail::fail(errno, "skua: unix_stream::pair");
  detail::owned_number second(fd[1]);
  unix_stream first(detail::socket_handle(fd[0], short_one));
  return {std::move(first), unix_stream(detail::socket_handle(second.take(), short_one))};
}

unix_stream unix_stream::adopt(int fd) {
  char const* const what = "skua: unix_stream::adopt";
  detail::expect_unix(fd, what);
  detail::expect_stream(fd, what);
  return unix_stream(detail::socket_handle::adopt(fd, short_one));
}

unix_credentials unix_stream::peer_credentials() const {
  ucred c;
  socklen_t size = sizeof c;
  if (::getsockopt(native_handle(), SOL_SOCKET, SO_PEERCRED, &c, &size) != 0) detail::fail(errno, "skua: peer_credentials");
  return {c.pid, c.uid, c.gid};
}

unix_listener unix_listener::bind(std::string const& address, unix_listen_options const& o) {
  char const* const what = "skua: unix_listener::bind";
  detail::unix_address const at(address, what);
  auto socket = detail::new_socket(AF_UNIX, SOCK_STREAM);
  auto bound = [&] { return ::bind(socket.get(), at.get(), at.size()) == 0; };
  if (!bound()) {
    int const error = errno;
    if (error != EADDRINUSE || !o.replace_stale || !detail::is_stale(at)) detail::fail(error, what);
    if (::unlink(at.path()) != 0 && errno != ENOENT) detail::fail(errno, what);
    if (!bound()) detail::fail(errno, what);
  }
  if (::listen(socket.get(), o.backlog) != 0) detail::fail(errno, what);
  return unix_listener(detail::socket_handle(socket.take()));
}

unix_listener unix_listener::adopt(int fd) {
  char const* const what = "skua: unix_listener::adopt";
  detail::expect_unix(fd, what);
  if (detail::get_option(fd, SOL_SOCKET, SO_TYPE, what) != SOCK_STREAM) detail::fail(EPROTOTYPE, what);
  detail::expect_listening(fd, what);
  return unix_listener(detail::socket_handle::adopt(fd));
}

std::string unix_listener::address() const {
  sockaddr_un a{};
  socklen_t size = sizeof a;
  if (::getsockname(native_handle(), reinterpret_cast<sockaddr*>(&a), &size) != 0) detail::fail(errno, "skua: unix_listener::address");
  // A path is counted with its end, for which there is no room behind one of 108 bytes; bind() makes none.
  std::string_view const s(a.sun_path, std::min(size - offsetof(sockaddr_un, sun_path), sizeof a.sun_path));
  return std::string(s.starts_with('\0') ? s : s.substr(0, s.find('\0')));
}

} // namespace skua
