// SPDX-License-Identifier: Apache-2.0
// Files: the coroutines behind file.hpp. Each awaits one file_request after the other; the runtime's engine carries them out.
#include "skua/file.hpp"
#include "io/file_error.hpp"
#include "io/file_handle.hpp"
#include "io/file_request.hpp"
#include "io/file_threads.hpp"
#include "skua/error.hpp"
#include "skua/this_task.hpp"
#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <limits>
#include <memory>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#include <utility>

namespace skua {

namespace detail {

namespace {

// What one call moves at most, so that a stop is seen in between: about 0.2 ms of copying. A guess.
constexpr std::size_t piece_size = std::size_t{1} << 20;
// What a worker copies out of the page cache itself: about 10 us. A guess.
constexpr std::size_t cached_piece_size = std::size_t{64} << 10;

int flags_of(open_mode m) {
  bool const reads = has(m, open_mode::read), writes = has(m, open_mode::write) || has(m, open_mode::append);
  if (!reads && !writes) throw usage_error("skua: file::open needs open_mode::read, write or append");
  return O_CLOEXEC | O_NOCTTY | O_NONBLOCK | (reads && writes ? O_RDWR : writes ? O_WRONLY : O_RDONLY) | (has(m, open_mode::create) ? O_CREAT : 0) |
         (has(m, open_mode::truncate) ? O_TRUNC : 0) | (has(m, open_mode::exclusive) ? O_EXCL : 0) | (has(m, open_mode::append) ? O_APPEND : 0);
}

// Bytes, 0 at the end, or -1: it would block, or cannot be told.
std::int64_t read_cached(file_handle& h, std::uint64_t offset, std::span<std::byte> to) noexcept {
  if (!h.cache_readable.load(std::memory_order_relaxed) || !spend_budget()) return -1;
  iovec part{to.data(), std::min(to.size(), cached_piece_size)};
  ssize_t const n = ::preadv2(h.fd, &part, 1, static_cast<off_t>(offset), RWF_NOWAIT);
  if (n < 0 && errno != EAGAIN && errno != EINTR) h.cache_readable.store(false, std::memory_order_relaxed);   // not supported; or an error, which
  return n < 0 ? -1 : n;                                                                                      // the engine will meet again
}

struct open_request : file_request {
  open_request(std::string const& p, int f, unsigned perm) noexcept : file_request(file_action::open) {
    path = p.c_str();
    flags = f;
    permissions = perm;
  }
};
struct transfer_request : file_request {
  transfer_request(file_action a, file_handle const& h, std::uint64_t at, void* data, std::size_t size) noexcept : file_request(a) {
    fd = h.fd;
    offset = at;
    buffer = data;
    length = std::min(size, piece_size);
  }
};
struct plain_request : file_request {
  plain_request(file_action a, file_handle const& h) noexcept : file_request(a) { fd = h.fd; }
};
struct status_request : plain_request {
  struct statx status;
  explicit status_request(file_handle const& h) noexcept : plain_request(file_action::status, h) { buffer = &status; }
};

// Behind it no file has anything; the kernel takes it for negative, and -1 for the position that read(2) uses.
constexpr std::uint64_t last_offset = std::numeric_limits<off_t>::max();

task<std::size_t> read_pieces(handle_ref h, std::uint64_t offset, std::span<std::byte> to) {
  std::size_t done = 0;
  offset = std::min(offset, last_offset);
  to = to.first(static_cast<std::size_t>(std::min<std::uint64_t>(to.size(), last_offset - offset)));
  do {
    co_await this_task::checkpoint();
    auto const rest = to.subspan(done);
    std::int64_t n = read_cached(*h, offset + done, rest);
    if (n < 0) {
      transfer_request request(file_action::read, *h, offset + done, rest.data(), rest.size());
      do n = co_await request;
      while (request.again());
    }
    if (n == -ECANCELED) co_await this_task::checkpoint();
    if (n < 0) file_failed(n, "read", h->path);
    if (n == 0) break;
    done += static_cast<std::size_t>(n);
  } while (done < to.size());
  co_return done;
}

task<> write_pieces(handle_ref h, std::uint64_t offset, std::span<std::byte const> from) {
  co_await this_task::checkpoint();   // S1: also if there is nothing to write
  if (offset > last_offset || from.size() > last_offset - offset) file_failed(-EFBIG, "write", h->path);
  for (std::size_t done = 0; done < from.size();) {
    auto const rest = from.subspan(done);
    transfer_request request(file_action::write, *h, offset + done, const_cast<std::byte*>(rest.data()), rest.size());
    std::int64_t n;
    do n = co_await request;
    while (request.again());
    if (n == -ECANCELED) co_await this_task::checkpoint();
    if (n <= 0) file_failed(n == 0 ? -EIO : n, "write", h->path);
    done += static_cast<std::size_t>(n);
  }
}

task<> sync_handle(handle_ref h, file_action how) {
  plain_request request(how, *h);
  std::int64_t r;
  do r = co_await request;
  while (request.again());
  if (r == -ECANCELED) co_await this_task::checkpoint();
  if (r < 0) file_failed(r, "sync", h->path);
}

task<std::uint64_t> size_of(handle_ref h) {
  status_request request(*h);
  std::int64_t r;
  do r = co_await request;
  while (request.again());
  if (r == -ECANCELED) co_await this_task::checkpoint();
  if (r < 0) file_failed(r, "get the size of", h->path);
  co_return request.status.stx_size;
}

// A stop before it has begun leaves the closing to the last reference.
task<> close_handle(handle_ref h) {
  co_await this_task::checkpoint();
  if (!h->only_owner()) co_return;
  plain_request request(file_action::close, *h);
  std::int64_t r;
  do r = co_await request;
  while (request.again());
  if (r == -ECANCELED) co_await this_task::checkpoint();
  h->fd = -1;
  if (r < 0 && r != -EINTR) file_failed(r, "close", h->path);
}

handle_ref opened(file_handle* h) {
  if (h == nullptr) throw usage_error("skua: this file is not open");
  return handle_ref(h);
}

} // namespace

operation_kind const& file_kind(file_action a) noexcept {
  constexpr auto withdraw = [](operation& op) noexcept {
    auto& r = static_cast<file_request&>(op);
    return r.engine->withdraw(r);
  };
  static constexpr operation_kind opens{"open file", withdraw}, reads{"read file", withdraw}, writes{"write file", withdraw},
      others{"file", withdraw};
  switch (a) {
  case file_action::open:
  case file_action::open_beside: return opens;
  case file_action::read: return reads;
  case file_action::write: return writes;
  default: return others;
  }
}

file_request::file_request(file_action a) noexcept
    : operation(file_kind(a)), blocking_job(file_threads::run, file_threads::finish), action(a) {}

std::coroutine_handle<> file_request::await_suspend(own_coroutine h) {
  if (!begin(*this, h)) return unwind(h.address());
  owner = tl.owner;
  engine = &files_of(*owner);
  engine->submit(*this);   // throws before any effect
  return suspend(*this);
}

bool file_request::again() noexcept {
  // A close that was interrupted has closed: the number may be somebody else's by now.
  if (on_thread || (result != -EAGAIN && (result != -EINTR || action == file_action::close))) return false;
  return on_thread = true;
}

void file_handle::destroy() noexcept {
  if (fd >= 0) ::close(fd);
  delete this;
}

} // namespace detail

task<file> file::open(std::string path, open_mode mode, unsigned permissions) {
  int const flags = detail::flags_of(mode);
  detail::check_path(path);
  file opened(new detail::file_handle(-1, std::move(path)));
  detail::file_handle& h = *opened.handle_;
  detail::open_request request(h.path, flags, permissions);
  std::int64_t fd;
  do fd = co_await request;
  while (request.again());
  if (fd == -ECANCELED) co_await this_task::checkpoint();
  if (fd < 0) detail::file_failed(fd, "open", h.path);
  h.fd = static_cast<int>(fd);
  (void)::fcntl(h.fd, F_SETFL, flags & ~O_NONBLOCK);   // it was for opening: not to wait for a FIFO's other end or a device, which no stop could end
  co_return opened;
}

file file::adopt(int descriptor, std::string name) { return file(new detail::file_handle(descriptor, std::move(name))); }

file::file(file&& o) noexcept : handle_(std::exchange(o.handle_, nullptr)) {}
file& file::operator=(file&& o) noexcept {
  if (this != &o) {
    if (handle_ != nullptr) handle_->drop_reference();
    handle_ = std::exchange(o.handle_, nullptr);
  }
  return *this;
}
file::~file() {
  if (handle_ != nullptr) handle_->drop_reference();
}

int file::native_handle() const noexcept { return handle_ != nullptr ? handle_->fd : -1; }

int file::release() {
  detail::handle_ref const h = detail::opened(handle_);
  // Ours, and the one just taken.
  handle_->drop_reference();
  if (!h->only_owner()) {
    h->add_reference();
    throw usage_error("skua: file::release while operations are under way");
  }
  handle_ = nullptr;
  return std::exchange(h->fd, -1);
}

task<std::size_t> file::read_at(std::uint64_t offset, std::span<std::byte> to) const {
  return detail::read_pieces(detail::opened(handle_), offset, to);
}
task<> file::write_at(std::uint64_t offset, std::span<std::byte const> from) {
  return detail::write_pieces(detail::opened(handle_), offset, from);
}
task<std::uint64_t> file::size() const { return detail::size_of(detail::opened(handle_)); }
task<> file::sync() { return detail::sync_handle(detail::opened(handle_), detail::file_action::sync); }
task<> file::sync_data() { return detail::sync_handle(detail::opened(handle_), detail::file_action::sync_data); }

task<> file::close() {
  detail::handle_ref h = detail::opened(handle_);
  std::exchange(handle_, nullptr)->drop_reference();
  return detail::close_handle(h);
}

} // namespace skua
