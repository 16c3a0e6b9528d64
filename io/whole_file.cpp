// SPDX-License-Identifier: Apache-2.0
// read_file and write_file, made of the operations of file.hpp; and the replacing of a file by a new one.
#include "io/file_error.hpp"
#include "io/file_request.hpp"
#include "skua/file.hpp"
#include "skua/this_task.hpp"
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <new>
#include <unistd.h>
#include <utility>

namespace skua {

namespace detail {

namespace {

// Grows by what is read, so that no worker clears a gigabyte at once. One byte more than the size is asked for: a short read is the end.
template <class Container>
task<Container> read_whole(std::string path) {
  file const f = co_await file::open(std::move(path));
  std::uint64_t const size = co_await f.size();
  constexpr std::size_t least = 4096, most = std::size_t{1} << 20;
  Container all;
  all.reserve(std::max<std::size_t>(size + 1, least));
  for (;;) {
    std::size_t const before = all.size();
    std::size_t const expected = size > before ? static_cast<std::size_t>(size - before) + 1 : 1;
    all.resize(before + std::clamp(expected, least, most));
    std::span const room(all.data() + before, all.size() - before);
    std::size_t const n = co_await f.read_at(before, std::as_writable_bytes(room));
    all.resize(before + n);
    if (n < room.size()) co_return all;
  }
}

// A new file beside the one that it is to replace. Removed by the blocking pool unless it was renamed; the memory for that is there from the
// start, so that cleaning up never fails.
class temporary_file {
public:
  explicit temporary_file(std::string const& target) : removal_(std::make_unique<removal>()) { take_another_name(target); }
  ~temporary_file() {
    if (!exists_) return;
    removal* const r = removal_.release();
    try {
      submit_blocking(*tl.owner, *r);
    } catch (...) {   // no thread at all: then on this one
      removal::run_unlink(*r);
      removal::finish_unlink(*r);
    }
  }
  temporary_file(temporary_file const&) = delete;
  std::string const& path() const noexcept { return removal_->path; }
  // Before it exists. A process gives each name once; one with the same number, in a container or long ago, may have died and left it behind.
  void take_another_name(std::string const& target) {
    static std::atomic<std::uint64_t> count{0};
    removal_->path = target + '.' + std::to_string(::getpid()) + '-' + std::to_string(count.fetch_add(1, std::memory_order_relaxed)) + ".tmp";
  }
  void created() noexcept { exists_ = true; }
  void renamed() noexcept { exists_ = false; }

private:
  struct removal : blocking_job {
    std::string path;
    removal() noexcept : blocking_job(run_unlink, finish_unlink) {}
    static void run_unlink(blocking_job& job) noexcept { ::unlink(static_cast<removal&>(job).path.c_str()); }
    static void finish_unlink(blocking_job& job) noexcept { delete &static_cast<removal&>(job); }
  };
  std::unique_ptr<removal> removal_;
  bool exists_ = false;
};

struct two_paths_request : file_request {
  two_paths_request(file_action a, std::string const& from, std::string const& to) noexcept : file_request(a) {
    path = from.c_str();
    other_path = to.c_str();
    permissions = 0666;
  }
};

task<file> create_beside(temporary_file& made, std::string const& target) {
  std::int64_t fd;
  for (;;) {
    two_paths_request request(file_action::open_beside, made.path(), target);
    do fd = co_await request;
    while (request.again());
    if (fd != -EEXIST) break;
    made.take_another_name(target);
  }
  if (fd == -ECANCELED) co_await this_task::checkpoint();
  if (fd < 0) file_failed(fd, "create", made.path());
  made.created();
  try {
    co_return file::adopt(static_cast<int>(fd), made.path());
  } catch (std::bad_alloc const&) {
    ::close(static_cast<int>(fd));
    throw;
  }
}

task<> replace_file(std::string path, std::span<std::byte const> bytes, bool durably) {
  check_path(path);
  temporary_file made(path);
  file f = co_await create_beside(made, path);
  co_await f.write_at(0, bytes);
  if (durably) co_await f.sync();
  co_await f.close();
  two_paths_request request(durably ? file_action::replace_durably : file_action::replace, made.path(), path);
  std::int64_t r;
  do r = co_await request;
  while (request.again());
  if (r == -ECANCELED) co_await this_task::checkpoint();
  if (r < 0) file_failed(r, "replace", path);
  made.renamed();
}

task<> overwrite_file(std::string path, std::span<std::byte const> bytes) {
  file f = co_await file::open(std::move(path), open_mode::write | open_mode::create | open_mode::truncate);
  co_await f.write_at(0, bytes);
  co_await f.close();
}

} // namespace

} // namespace detail

task<std::vector<std::byte>> read_file(std::string path) { return detail::read_whole<std::vector<std::byte>>(std::move(path)); }
task<std::string> read_text_file(std::string path) { return detail::read_whole<std::string>(std::move(path)); }

task<> write_file(std::string path, std::span<std::byte const> bytes, write_mode mode) {
  if (mode == write_mode::in_place) return detail::overwrite_file(std::move(path), bytes);
  return detail::replace_file(std::move(path), bytes, mode == write_mode::replace_durably);
}
task<> write_file(std::string path, std::string_view text, write_mode mode) {
  return write_file(std::move(path), std::as_bytes(std::span(text.data(), text.size())), mode);
}

} // namespace skua
