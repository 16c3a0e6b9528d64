// SPDX-License-Identifier: Apache-2.0
#include "io/file_threads.hpp"
#include "io/file_request.hpp"
#include <cerrno>
#include <cstdio>
#include <fcntl.h>
#include <string>
#include <sys/stat.h>
#include <unistd.h>

namespace skua::detail {

namespace {

// A system call whose interruption means nothing.
template <class Call>
std::int64_t repeat(Call call) noexcept {
  for (;;) {
    auto const r = call();
    if (r >= 0) return r;
    if (errno != EINTR) return -errno;
  }
}

std::int64_t status(file_request const& r) noexcept {
  return repeat([&] { return ::statx(r.fd, "", AT_EMPTY_PATH, STATX_SIZE | STATX_TYPE, static_cast<struct statx*>(r.buffer)); });
}

std::int64_t open(file_request const& r) noexcept {
  std::int64_t const fd = repeat([&] { return ::open(r.path, r.flags, r.permissions); });
  if (fd != -EAGAIN) return fd;
  return repeat([&] { return ::open(r.path, r.flags & ~O_NONBLOCK, r.permissions); });   // somebody has a lease on the file, and is asked to give it up
}

// The new file takes the permissions of the one it will replace before anything is in it: nobody may read there what they may not read here.
std::int64_t open_beside(file_request const& r) noexcept {
  struct stat replaced;
  bool const exists = ::stat(r.other_path, &replaced) == 0;
  mode_t const permissions = exists ? replaced.st_mode & 07777 : r.permissions;
  std::int64_t const fd = repeat([&] { return ::open(r.path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, permissions); });
  if (fd >= 0 && exists) (void)::fchmod(static_cast<int>(fd), permissions);   // what the umask took away
  return fd;
}

std::int64_t sync_directory_of(char const* path) noexcept {
  std::string_view const all = path;
  std::size_t const slash = all.rfind('/');
  std::string directory;
  try {
    directory = slash == std::string_view::npos ? "." : slash == 0 ? "/" : all.substr(0, slash);
  } catch (...) {
    return -ENOMEM;
  }
  std::int64_t const fd = repeat([&] { return ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); });
  if (fd < 0) return fd;
  std::int64_t const synced = repeat([&] { return ::fsync(static_cast<int>(fd)); });
  ::close(static_cast<int>(fd));
  return synced;
}

std::int64_t replace(file_request const& r) noexcept {
  std::int64_t const moved = repeat([&] { return ::rename(r.path, r.other_path); });
  return moved == 0 && r.action == file_action::replace_durably ? sync_directory_of(r.other_path) : moved;
}

} // namespace

std::int64_t perform(file_request const& r) noexcept {
  auto const at = static_cast<off_t>(r.offset);
  switch (r.action) {
  case file_action::open: return open(r);
  case file_action::close: return ::close(r.fd) == 0 || errno == EINTR ? 0 : -errno;   // Linux: closed in any case
  case file_action::read: return repeat([&] { return ::pread(r.fd, r.buffer, r.length, at); });
  case file_action::write: return repeat([&] { return ::pwrite(r.fd, r.buffer, r.length, at); });
  case file_action::sync: return repeat([&] { return ::fsync(r.fd); });
  case file_action::sync_data: return repeat([&] { return ::fdatasync(r.fd); });
  case file_action::status: return status(r);
  case file_action::open_beside: return open_beside(r);
  case file_action::replace:
  case file_action::replace_durably: return replace(r);
  }
  return -ENOSYS;
}

file_threads::~file_threads() { SKUA_CHECK(in_flight() == 0, "INV-FILE-1"); }

void file_threads::submit(file_request& r) {
  r.in_flight = true;   // published by the pool's lock
  in_flight_.fetch_add(1, std::memory_order_relaxed);
  try {
    pool_.submit(r);
  } catch (...) {
    ended(r);
    throw;
  }
}

bool file_threads::withdraw(file_request& r) noexcept {
  if (!pool_.withdraw(r)) return false;
  ended(r);
  return true;
}

void file_threads::ended(file_request& r) noexcept {
  r.in_flight = false;
  in_flight_.fetch_sub(1, std::memory_order_relaxed);
}

void file_threads::run(blocking_job& job) noexcept {
  auto& r = static_cast<file_request&>(job);
  r.result = perform(r);
}

void file_threads::finish(blocking_job& job) noexcept {
  auto& r = static_cast<file_request&>(job);
  scheduler& s = *r.owner;
  static_cast<file_threads*>(r.engine)->ended(r);
  complete_and_schedule(s, r);
}

} // namespace skua::detail
