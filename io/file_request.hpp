// SPDX-License-Identifier: Apache-2.0
// One call on a file, as an operation: what file.cpp awaits and the engines carry out.
//
// It lies in the awaiting frame, and so does everything it points to. Once it has begun, the kernel may write into its buffer until it has
// completed; therefore a stop waits for it (S7), and the frame cannot die before. AddressSanitizer does not see the kernel's writes, so this is
// proved by bookkeeping:
// INV-FILE-1  `in_flight` is set by the engine before the request can begin and cleared by whoever completes it (or has withdrawn it), before it
//             says so. A request is never destroyed while it is set (checked), and an engine never with requests in flight (checked).
//
// Result: what the system call returns, or -errno. ECANCELED: a stop made the kernel give it up before it had an effect; whoever awaits it
// comes to a checkpoint then, and ends there.
#pragma once
#include "scheduler/file_engine.hpp"
#include "skua/detail/blocking_job.hpp"
#include "skua/detail/config.hpp"
#include "skua/detail/operation.hpp"
#include <coroutine>
#include <cstddef>
#include <cstdint>

namespace skua::detail {

enum class file_action : unsigned char {
  open,             // path, flags, permissions -> descriptor, non-blocking if the flags say so
  close,            // fd
  read,             // fd, buffer, length, offset -> bytes
  write,            // fd, buffer, length, offset -> bytes
  sync,             // fd
  sync_data,        // fd
  status,           // fd, buffer (a struct statx)
  open_beside,      // path (to be created), other_path (of the file it will replace, whose permissions it takes), permissions -> descriptor
  replace,          // path -> other_path
  replace_durably   // the same, and the directory is synced
};

// How inspection calls it; how a stop takes it back.
operation_kind const& file_kind(file_action a) noexcept;

struct file_request : operation, blocking_job {
  explicit file_request(file_action a) noexcept;
  ~file_request() { SKUA_CHECK(!in_flight, "INV-FILE-1"); }

  file_action action;
  bool in_flight = false;
  bool on_thread = false;   // not through a ring
  unsigned permissions = 0;
  int fd = -1;
  int flags = 0;
  char const* path = nullptr;
  char const* other_path = nullptr;
  void* buffer = nullptr;
  std::size_t length = 0;
  std::uint64_t offset = 0;
  std::int64_t result = 0;
  scheduler* owner = nullptr;
  file_engine* engine = nullptr;

  bool await_ready() const noexcept { return false; }
  std::coroutine_handle<> await_suspend(own_coroutine h);
  std::int64_t await_resume() const noexcept {
    engine->resumed();
    return result;
  }

  // Is it to be awaited once more? The ring may give up what a thread would go on with (no memory, a descriptor in non-blocking mode).
  [[nodiscard]] bool again() noexcept;
};

// Carries the request out on this thread, which may block. EINTR is not seen outside.
std::int64_t perform(file_request const& r) noexcept;

} // namespace skua::detail
