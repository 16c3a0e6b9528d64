// SPDX-License-Identifier: Apache-2.0
#include "io/uring.hpp"
#include <atomic>
#include <cerrno>
#include <cstring>
#include <linux/io_uring.h>
#include <memory>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <system_error>
#include <unistd.h>

namespace skua::detail {

namespace {

[[noreturn]] void failed(char const* what) { throw std::system_error(errno, std::system_category(), what); }

template <class T>
T* at(void* base, std::uint32_t offset) noexcept {
  return reinterpret_cast<T*>(static_cast<char*>(base) + offset);
}

} // namespace

uring::uring(unsigned submissions, unsigned completions) {
  io_uring_params p = {};
  p.flags = IORING_SETUP_CQSIZE;
  p.cq_entries = completions;
  fd_ = static_cast<int>(::syscall(SYS_io_uring_setup, submissions, &p));
  if (fd_ < 0) failed("skua: io_uring_setup");
  try {
    if (constexpr std::uint32_t needed = IORING_FEAT_SINGLE_MMAP | IORING_FEAT_NODROP; (p.features & needed) != needed) {
      errno = ENOSYS;
      failed("skua: this kernel's io_uring is too old");
    }
    map(p.sq_off.array + p.sq_entries * static_cast<unsigned>(sizeof(unsigned)),
        p.cq_off.cqes + p.cq_entries * static_cast<unsigned>(sizeof(io_uring_cqe)), p.sq_entries, &p);
  } catch (...) {
    unmap();
    throw;
  }
}

uring::~uring() { unmap(); }

void uring::map(unsigned submissions_size, unsigned completions_size, unsigned entries, void const* parameters) {
  auto const& p = *static_cast<io_uring_params const*>(parameters);
  rings_size_ = submissions_size > completions_size ? submissions_size : completions_size;
  void* const rings = ::mmap(nullptr, rings_size_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd_, IORING_OFF_SQ_RING);
  if (rings == MAP_FAILED) failed("skua: mmap of an io_uring");
  rings_ = rings;
  entries_size_ = entries * sizeof(io_uring_sqe);
  void* const sqes = ::mmap(nullptr, entries_size_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd_, IORING_OFF_SQES);
  if (sqes == MAP_FAILED) failed("skua: mmap of an io_uring");
  entries_ = static_cast<io_uring_sqe*>(sqes);
  submission_tail_ = at<unsigned>(rings_, p.sq_off.tail);
  submission_mask_ = *at<unsigned>(rings_, p.sq_off.ring_mask);
  completion_head_ = at<unsigned>(rings_, p.cq_off.head);
  completion_tail_ = at<unsigned>(rings_, p.cq_off.tail);
  completion_mask_ = *at<unsigned>(rings_, p.cq_off.ring_mask);
  completions_ = at<io_uring_cqe>(rings_, p.cq_off.cqes);
  unsigned* const array = at<unsigned>(rings_, p.sq_off.array);
  for (unsigned i = 0; i < entries; ++i) array[i] = i;   // place i always shows entry i
}

void uring::unmap() noexcept {
  if (entries_ != nullptr) ::munmap(entries_, entries_size_);
  if (rings_ != nullptr) ::munmap(rings_, rings_size_);
  ::close(fd_);
}

bool uring::supports(std::span<std::uint8_t const> operations) const {
  constexpr unsigned most = 256;
  alignas(io_uring_probe) unsigned char bytes[sizeof(io_uring_probe) + most * sizeof(io_uring_probe_op)] = {};
  if (::syscall(SYS_io_uring_register, fd_, IORING_REGISTER_PROBE, bytes, most) < 0) failed("skua: io_uring_register");
  auto const& probe = *reinterpret_cast<io_uring_probe*>(bytes);
  for (std::uint8_t const op : operations)
    if (op > probe.last_op || (probe.ops[op].flags & IO_URING_OP_SUPPORTED) == 0) return false;
  return true;
}

void uring::announce_on(int event_descriptor) {
  if (::syscall(SYS_io_uring_register, fd_, IORING_REGISTER_EVENTFD, &event_descriptor, 1) < 0) failed("skua: io_uring_register");
}

bool uring::submit(io_uring_sqe const& entry) noexcept {
  std::atomic_ref<unsigned> tail(*submission_tail_);
  unsigned const place = tail.load(std::memory_order_relaxed);   // only we write it
  entries_[place & submission_mask_] = entry;
  tail.store(place + 1, std::memory_order_release);   // pairs with the kernel's load: the entry
  for (;;) {
    long const taken = ::syscall(SYS_io_uring_enter, fd_, 1u, 0u, 0u, nullptr, std::size_t{0});
    if (taken == 1) return true;
    if (taken < 0 && errno == EINTR) continue;
    tail.store(place, std::memory_order_relaxed);   // the kernel looks at it inside enter only
    return false;
  }
}

void uring::wait() noexcept {
  while (::syscall(SYS_io_uring_enter, fd_, 0u, 1u, static_cast<unsigned>(IORING_ENTER_GETEVENTS), nullptr, std::size_t{0}) < 0 && errno == EINTR) {
  }
}

bool uring::reap(completion& c) noexcept {
  std::atomic_ref<unsigned> head(*completion_head_), tail(*completion_tail_);
  unsigned const place = head.load(std::memory_order_relaxed);   // only we write it
  if (place == tail.load(std::memory_order_acquire)) return false;   // pairs with the kernel's store: the completion
  io_uring_cqe const& entry = completions_[place & completion_mask_];
  c = {entry.user_data, entry.res};
  head.store(place + 1, std::memory_order_release);   // pairs with the kernel's load: the place may be used again
  return true;
}

} // namespace skua::detail
