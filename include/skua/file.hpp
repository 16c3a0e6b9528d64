// SPDX-License-Identifier: Apache-2.0
// file: read and write files without blocking a worker; read_file, write_file: whole files in one call.
//
// Where the kernel allows it, files go through io_uring, else through the runtime's blocking pool (options::files; runtime::file_backend()
// says which). What the page cache holds is read at once, by the worker itself.
#pragma once
#include "task.hpp"
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace skua {

// How a file is opened; combine with |.
enum class open_mode : unsigned {
  read = 1,
  write = 2,
  create = 4,       // if there is none
  truncate = 8,     // to nothing, if there is one
  exclusive = 16,   // with create: it is an error if there is one
  append = 32       // every write goes to the end, whatever its offset
};
constexpr open_mode operator|(open_mode a, open_mode b) noexcept { return static_cast<open_mode>(static_cast<unsigned>(a) | static_cast<unsigned>(b)); }
constexpr bool has(open_mode set, open_mode one) noexcept { return (static_cast<unsigned>(set) & static_cast<unsigned>(one)) != 0; }

namespace detail {
class file_handle;
}

// An open file, read and written at explicit offsets. Movable; the last owner closes it.
//
// Thread safety: any number of tasks may read and write at once, on any worker; moving, closing and destroying it: one at a time, and no member
// may be called meanwhile. Operations that are under way keep the file open: its descriptor is closed when the last of them has ended.
// Stop: every member that returns a task has suspension points. A call that has not begun is withdrawn; one that the kernel has begun is waited for
// (a timeout may return late, S7), but a long read or write is cut into pieces of at most 1 MiB, and a stop is seen between them. A stopped read leaves
// a part of the buffer filled; a stopped write has written a prefix.
// Errors: std::system_error with the kernel's error code, what was attempted and the path; usage_error for a file that is not open.
// Lifetime: buffers must live until the task has ended, which is after the kernel has finished with them, on every path.
//
//     auto f = co_await skua::file::open("log.bin");
//     std::array<std::byte, 4096> block;
//     std::size_t const n = co_await f.read_at(0, block);
class [[nodiscard("dropping a file closes it")]] file {
public:
  // Opens `path`. `permissions` are for a file that is created; the process's umask applies. Never inherited by child processes. Does not wait for the other
  // end of a FIFO: it is open for reading at once, and for writing an error (no_such_device_or_address) while nobody reads.
  static task<file> open(std::string path, open_mode mode = open_mode::read, unsigned permissions = 0666);
  // Takes over a descriptor of a regular file or block device. `name` is for error messages.
  static file adopt(int descriptor, std::string name = "(adopted)");

  file() noexcept = default;
  file(file&& o) noexcept;
  file& operator=(file&& o) noexcept;
  ~file();   // closes; errors that only closing would report are lost: see close()

  // False: closed, released or moved from.
  explicit operator bool() const noexcept { return handle_ != nullptr; }
  // -1 if it is not open.
  int native_handle() const noexcept;
  // Gives the descriptor up, which stays open. usage_error while operations are under way.
  int release();

  // Fills `to` from `offset` on. Returns the number of bytes, which is smaller only at the end of the file: 0 at or behind it.
  task<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> to) const;
  // Writes all of `from`.
  task<> write_at(std::uint64_t offset, std::span<std::byte const> from);

  // In bytes.
  task<std::uint64_t> size() const;
  // Returns when everything written is on the device; sync_data leaves out what is not needed to read it (times, for instance).
  task<> sync();
  task<> sync_data();
  // Closes, and reports what a network file system may only find out now. Afterwards the file is not open, also if it fails. While operations are under
  // way, the last of them closes instead, and nothing is reported.
  task<> close();

private:
  explicit file(detail::file_handle* h) noexcept : handle_(h) {}
  detail::file_handle* handle_ = nullptr;
};

// The whole of a file, also of one whose size is not known in advance (/proc). Stop, Errors: as file.
task<std::vector<std::byte>> read_file(std::string path);
task<std::string> read_text_file(std::string path);

enum class write_mode : unsigned char {
  in_place,         // truncates, then writes: readers, and a crash, may see a part
  replace,          // writes a new file beside it and renames it over: readers see all of the old or all of the new
  replace_durably   // the same, and it survives a power failure: file and directory are synced
};

// Makes `bytes` the whole content of the file, which is created if there is none.
//
// The replacing forms keep the permissions of the old file, not its owner, and replace a symbolic link by a file. What they leave behind when they
// fail or are stopped is removed in the background.
// Stop, Errors: as file. Lifetime: the bytes must live until the task has ended.
task<> write_file(std::string path, std::span<std::byte const> bytes, write_mode mode = write_mode::in_place);
task<> write_file(std::string path, std::string_view text, write_mode mode = write_mode::in_place);

} // namespace skua
