// SPDX-License-Identifier: Apache-2.0
// The system calls of reading and writing a stream socket. MSG_DONTWAIT: an adopted descriptor may be blocking.
//
// Not by way of the C library's functions, which are cancellation points: in a process with threads each costs two locked instructions before the
// system call and two after it, and workers are never cancelled. (ThreadSanitizer takes its orderings from those functions, so it gets them.)
#include "skua/detail/transfer.hpp"
#include "io/descriptor.hpp"
#include "io/socket.hpp"
#include <algorithm>
#include <cerrno>
#include <optional>
#include <span>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

namespace skua::detail {

namespace {

transfer_operation& of(io_operation& op) noexcept { return static_cast<transfer_operation&>(op); }

#if SKUA_TSAN || !defined(SYS_recvfrom)
ssize_t receive_once(int fd, void* p, std::size_t n) noexcept { return ::recv(fd, p, n, MSG_DONTWAIT); }
ssize_t send_once(int fd, void const* p, std::size_t n) noexcept { return ::send(fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL); }
#else
ssize_t receive_once(int fd, void* p, std::size_t n) noexcept { return ::syscall(SYS_recvfrom, fd, p, n, MSG_DONTWAIT, nullptr, nullptr); }
ssize_t send_once(int fd, void const* p, std::size_t n) noexcept {
  return ::syscall(SYS_sendto, fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL, nullptr, 0);
}
#endif

// Nothing has arrived, and nothing more is wanted: that is the end.
ssize_t or_end(io_operation const& op, ssize_t received) noexcept {
  bool const nothing_yet = received < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
  return nothing_yet && (op.seen & descriptor::shut) ? 0 : received;
}
ssize_t receive(io_operation const& op, void* p, std::size_t n) noexcept {
  return or_end(op, retry([&] { return receive_once(op.target->number, p, n); }));
}
ssize_t send(io_operation const& op, void const* p, std::size_t n) noexcept {
  return retry([&] { return send_once(op.target->number, p, n); });
}

bool no_bytes(io_operation const& op) noexcept { return static_cast<transfer_operation const&>(op).size == 0; }

io_step failed(io_operation& op, int error) noexcept {
  if (error == EAGAIN || error == EWOULDBLOCK) {
    op.last = io_operation::drained;
    return io_step::blocked;
  }
  op.last = io_operation::full;
  op.error = error;
  return io_step::done;
}

// Would another call say EAGAIN, as this one moved less than it could have? Not at the end, which is reported as no bytes, and stays. Nor need it when
// writing: the kernel sends what comes before memory that cannot be read, and no event says that there is room, as there was all the time.
bool exhausted(io_operation const& op, std::size_t moved, std::size_t wanted) noexcept {
  return op.io().direction == 0 && moved != 0 && moved < wanted && op.target->short_one == short_transfer::means_blocked;
}

// `n` of `wanted` bytes were moved, with one call.
io_step moved(io_operation& op, ssize_t n, std::size_t wanted) noexcept {
  if (n < 0) return failed(op, errno);
  op.transferred = static_cast<std::size_t>(n);
  op.last = exhausted(op, op.transferred, wanted) ? io_operation::partial : io_operation::full;
  return io_step::done;
}

// ------------------------------------------------------------------------------------------------ one call

io_step read_some(io_operation& o) noexcept {
  auto& op = of(o);
  return op.size == 0 ? io_step::done : moved(op, receive(op, op.data, op.size), op.size);
}
io_step write_some(io_operation& o) noexcept {
  auto& op = of(o);
  return op.size == 0 ? io_step::done : moved(op, send(op, op.data, op.size), op.size);
}

// Up to 64 buffers, without the first `skip` bytes. (The kernel takes 1024; 64 keep the stack small.)
struct gathered {
  iovec parts[64];
  msghdr message{};
  std::size_t size = 0;   // bytes

  gathered(std::span<std::span<std::byte> const> buffers, std::size_t skip) noexcept {
    message.msg_iov = parts;
    for (auto const b : buffers) {
      if (skip >= b.size()) {
        skip -= b.size();
        continue;
      }
      parts[message.msg_iovlen++] = {b.data() + skip, b.size() - skip};
      size += b.size() - skip;
      skip = 0;
      if (message.msg_iovlen == std::size(parts)) break;
    }
  }
};

// write operations give spans of constant bytes: the same layout, and nothing writes through them.
std::span<std::span<std::byte> const> buffers_of(transfer_operation const& op) noexcept {
  return {static_cast<std::span<std::byte> const*>(op.data), op.size};
}

bool no_bytes_in_any(io_operation const& op) noexcept {
  auto const all = buffers_of(static_cast<transfer_operation const&>(op));
  return std::all_of(all.begin(), all.end(), [](auto b) { return b.empty(); });
}

ssize_t send(io_operation const& op, gathered const& g) noexcept {
  int const fd = op.number();
  return retry([&] { return ::sendmsg(fd, &g.message, MSG_DONTWAIT | MSG_NOSIGNAL); });
}

io_step readv(io_operation& o) noexcept {
  auto& op = of(o);
  gathered g(buffers_of(op), 0);
  if (g.size == 0) return io_step::done;
  int const fd = op.number();
  return moved(op, or_end(op, retry([&] { return ::recvmsg(fd, &g.message, MSG_DONTWAIT); })), g.size);
}
io_step writev(io_operation& o) noexcept {
  auto& op = of(o);
  gathered const g(buffers_of(op), 0);
  return g.size == 0 ? io_step::done : moved(op, send(op, g), g.size);
}

// ------------------------------------------------------------------------------------------------ until all is moved

// The last call moved `n` of `left` bytes, and there was no error. If that exhausted the kernel, this is to wait; unless the end was reported, whose edge
// does not come again. Empty: go on.
std::optional<io_step> after(io_operation& op, ssize_t n, std::size_t left) noexcept {
  op.transferred += static_cast<std::size_t>(n);
  op.last = io_operation::full;
  if (static_cast<std::size_t>(n) == left) return io_step::done;
  if (exhausted(op, static_cast<std::size_t>(n), left) && !(op.seen & descriptor::end(direction::read))) {
    op.last = io_operation::partial;
    return io_step::blocked;
  }
  if (!spend_budget()) return io_step::unfair;
  return {};
}

io_step read_exactly(io_operation& o) noexcept {
  auto& op = of(o);
  for (;;) {
    std::size_t const left = op.size - op.transferred;
    if (left == 0) return io_step::done;
    ssize_t const n = receive(op, static_cast<std::byte*>(op.data) + op.transferred, left);
    if (n < 0) return failed(op, errno);
    if (n == 0) {
      op.last = io_operation::full;
      op.error = io_end_of_stream;
      return io_step::done;
    }
    if (auto const s = after(op, n, left)) return *s;
  }
}

io_step write_all(io_operation& o) noexcept {
  auto& op = of(o);
  for (;;) {
    std::size_t const left = op.size - op.transferred;
    if (left == 0) return io_step::done;
    ssize_t const n = send(op, static_cast<std::byte const*>(op.data) + op.transferred, left);
    if (n < 0) return failed(op, errno);
    if (auto const s = after(op, n, left)) return *s;
  }
}

// The next call begins where this one ended, however many buffers there are.
void leave_out(transfer_operation& op, std::size_t written) noexcept {
  auto all = buffers_of(op);
  op.skip += written;
  while (!all.empty() && op.skip >= all.front().size()) {
    op.skip -= all.front().size();
    all = all.subspan(1);
  }
  op.data = const_cast<std::span<std::byte>*>(all.data());
  op.size = all.size();
}

// More than 64 buffers take several calls.
io_step writev_all(io_operation& o) noexcept {
  auto& op = of(o);
  for (;;) {
    gathered const g(buffers_of(op), op.skip);
    if (g.size == 0) return io_step::done;
    ssize_t const n = send(op, g);
    if (n < 0) return failed(op, errno);
    leave_out(op, static_cast<std::size_t>(n));
    auto const s = after(op, n, g.size);
    if (s && *s != io_step::done) return *s;
    if (s && !spend_budget()) return io_step::unfair;
  }
}

} // namespace

constinit io_kind const read_some_kind("read_some", 0, read_some, no_bytes), write_some_kind("write_some", 1, write_some, no_bytes),
    read_exactly_kind("read_exactly", 0, read_exactly, no_bytes), write_all_kind("write_all", 1, write_all, no_bytes),
    readv_kind("readv", 0, readv, no_bytes_in_any), writev_kind("writev", 1, writev, no_bytes_in_any),
    writev_all_kind("writev_all", 1, writev_all, no_bytes_in_any);

} // namespace skua::detail
