// SPDX-License-Identifier: Apache-2.0
// An io_uring: two rings shared with the kernel, by raw system calls. Linux: io_uring_setup(2), io_uring_enter(2), io_uring_register(2).
//
// Thread safety: submit() one thread at a time, reap() one thread at a time (file_uring.cpp has a lock for each); both may run at once.
// Shared words: the kernel reads the submission tail with acquire and writes its head with release; it writes the completion tail with release and
// reads its head with acquire. We do the opposite, through std::atomic_ref.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

struct io_uring_sqe;
struct io_uring_cqe;

namespace skua::detail {

class uring {
public:
  // `completions`: room for so many that nobody has reaped yet. Errors: system_error; ENOSYS or EPERM where io_uring does not exist or is forbidden.
  uring(unsigned submissions, unsigned completions);
  ~uring();   // nothing is in flight
  uring(uring const&) = delete;
  uring& operator=(uring const&) = delete;

  // Does the kernel know all of these operations (IORING_OP_..)? Errors: system_error.
  bool supports(std::span<std::uint8_t const> operations) const;
  // Completions are announced on this eventfd. Errors: system_error.
  void announce_on(int event_descriptor);

  // Hands one entry to the kernel, and returns when the kernel has taken it; it may have completed by then. False: the kernel has no memory for it now,
  // and it was not taken.
  [[nodiscard]] bool submit(io_uring_sqe const& entry) noexcept;
  // Blocks until there is a completion.
  void wait() noexcept;

  struct completion {
    std::uint64_t tag;   // user_data of the entry
    std::int32_t result;
  };
  // The oldest completion. False: there is none.
  [[nodiscard]] bool reap(completion& c) noexcept;

private:
  void map(unsigned submissions_size, unsigned completions_size, unsigned entries, void const* parameters);
  void unmap() noexcept;

  int fd_ = -1;
  void* rings_ = nullptr;
  std::size_t rings_size_ = 0;
  io_uring_sqe* entries_ = nullptr;
  std::size_t entries_size_ = 0;
  unsigned* submission_tail_ = nullptr;
  unsigned submission_mask_ = 0;
  unsigned* completion_head_ = nullptr;
  unsigned* completion_tail_ = nullptr;
  unsigned completion_mask_ = 0;
  io_uring_cqe* completions_ = nullptr;
};

} // namespace skua::detail
