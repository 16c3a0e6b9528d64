// SPDX-License-Identifier: Apache-2.0
// Waiting for descriptors of others. A wait has a duplicate of its own in the epoll set: its number cannot be closed and reused by the library, nor be in
// the set already, and two waits for the same descriptor do not meet. When the wait ends, it is taken out of the set: closing it would not do that, for the
// library's descriptor keeps the file open.
#include "skua/readiness.hpp"
#include "io/descriptor.hpp"
#include "skua/detail/io_branch.hpp"
#include <cerrno>
#include <fcntl.h>
#include <new>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

namespace skua::detail {

namespace {

// 1: ready, 0: not, -1: errno.
int ready_now(int fd, short events) noexcept {
  pollfd p{fd, events, 0};
  int n;
  do n = ::poll(&p, 1, 0);
  while (n < 0 && errno == EINTR);
  if (n == 1 && (p.revents & POLLNVAL)) return errno = EBADF, -1;
  return n;
}

io_step ask(io_operation& op, short events) noexcept {
  int const n = ready_now(op.number(), events);
  op.last = n == 0 ? io_operation::drained : io_operation::full;
  if (n == 0) return io_step::blocked;
  if (n < 0) op.error = errno;
  return io_step::done;
}
io_step ask_readable(io_operation& op) noexcept { return ask(op, POLLIN | POLLRDHUP); }
io_step ask_writable(io_operation& op) noexcept { return ask(op, POLLOUT); }

} // namespace

constinit io_kind const readable_kind("readable", 0, ask_readable), writable_kind("writable", 1, ask_writable);

namespace {

// True: there is a result.
bool look_at(io_operation& op, int fd) noexcept {
  struct stat s;
  if (::fstat(fd, &s) != 0) return op.error = errno, true;
  if (S_ISREG(s.st_mode) || S_ISDIR(s.st_mode)) return op.error = io_regular_file, true;
  int const n = ready_now(fd, op.io().direction == 0 ? POLLIN | POLLRDHUP : POLLOUT);
  if (n < 0) op.error = errno;
  return n != 0;
}

// Nobody else knows the descriptor.
void close_duplicate(descriptor& d) noexcept {
  int const own = release_descriptor(d);
  SKUA_DCHECK(own >= 0, "a wait has its descriptor for itself");
  ::close(own);
}

} // namespace

bool readiness::look() noexcept { return look_at(*this, fd_); }

std::coroutine_handle<> readiness::await_suspend(own_coroutine h) {
  if (!looked_) {
    if (!begin(*this, h)) return unwind(h.address());   // S1: before anything else
    if (look()) return go_on_fairly(*this);
  }
  int const own = ::fcntl(fd_, F_DUPFD_CLOEXEC, 0);
  if (own < 0) return error = errno, h;
  target = &open_descriptor(own);   // closed by end_wait()
  generation = target->generation();
  return start(h, true);
}

// On a worker: the wait has ended, or is unwound.
void readiness::end_wait() noexcept {
  if (claimed) give_up();
  close_duplicate(*target);
}

// ---------------------------------------------------------------------------------------------- as a branch of a select

ready_wait::~ready_wait() {
  if (target != nullptr) close_duplicate(*target);   // its claim was given back (io_branch.hpp)
}

bool ready_wait::look() noexcept { return look_at(*this, target != nullptr ? target->number : fd); }   // the number may be somebody else's by now

bool ready_wait::duplicate() noexcept {
  if (target != nullptr) return true;
  int const own = ::fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (own < 0) return error = errno, false;
  try {
    target = &open_descriptor(own);   // closes it if it throws
  } catch (std::bad_alloc const&) {
    return error = ENOMEM, false;
  }
  generation = target->generation();
  return true;
}

} // namespace skua::detail
