// SPDX-License-Identifier: Apache-2.0
#include "io/file_uring.hpp"
#include "io/file_request.hpp"
#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <utility>

#if SKUA_TSAN
#include <sanitizer/tsan_interface.h>
#define SKUA_TO_KERNEL(p) __tsan_release(p)
#define SKUA_FROM_KERNEL(p) __tsan_acquire(p)
#else
#define SKUA_TO_KERNEL(p) void()
#define SKUA_FROM_KERNEL(p) void()
#endif

namespace skua::detail {

namespace {

constexpr std::array<std::uint8_t, 7> needed_operations{IORING_OP_OPENAT, IORING_OP_CLOSE, IORING_OP_READ, IORING_OP_WRITE,
                                                        IORING_OP_FSYNC, IORING_OP_STATX, IORING_OP_ASYNC_CANCEL};

// Longer transfers are left to the kernel's own threads, for the worker would do the copying. As file.cpp's cached_piece_size.
constexpr std::size_t longest_on_worker = std::size_t{64} << 10;

std::uint64_t address(void const* p) noexcept { return reinterpret_cast<std::uintptr_t>(p); }

// What a stop interrupts in one of the kernel's own threads may end with a code that no system call shows: ERESTARTSYS and its like.
std::int64_t as_system_calls_say(std::int32_t result) noexcept { return result <= -512 && result >= -516 ? -EINTR : result; }

bool has_operation(file_action a) noexcept { return a < file_action::open_beside; }

io_uring_sqe entry_for(file_request& r) noexcept {
  io_uring_sqe e = {};
  e.user_data = address(&r);
  e.fd = r.fd;
  switch (r.action) {
  case file_action::open:
    e.opcode = IORING_OP_OPENAT;
    e.fd = AT_FDCWD;
    e.addr = address(r.path);
    e.len = r.permissions;
    e.open_flags = static_cast<std::uint32_t>(r.flags);
    break;
  case file_action::close: e.opcode = IORING_OP_CLOSE; break;
  case file_action::read:
  case file_action::write:
    e.opcode = r.action == file_action::read ? IORING_OP_READ : IORING_OP_WRITE;
    e.addr = address(r.buffer);
    e.len = static_cast<std::uint32_t>(r.length);   // a piece: file.cpp
    e.off = r.offset;
    if (r.length > longest_on_worker) e.flags = IOSQE_ASYNC;
    break;
  case file_action::sync_data: e.fsync_flags = IORING_FSYNC_DATASYNC; [[fallthrough]];
  case file_action::sync: e.opcode = IORING_OP_FSYNC; break;
  case file_action::status:
    e.opcode = IORING_OP_STATX;
    e.addr = address("");
    e.off = address(r.buffer);
    e.len = STATX_SIZE | STATX_TYPE;
    e.statx_flags = AT_EMPTY_PATH;
    break;
  case file_action::open_beside:
  case file_action::replace:
  case file_action::replace_durably: break;   // has_operation() says no
  }
  return e;
}

} // namespace

// ---------------------------------------------------------------------------------------------- what waits for room

void file_uring::waiting_list::push_back(file_request& r) noexcept {
  blocking_job& job = r;
  job.next = nullptr;
  job.previous = last_;
  (last_ != nullptr ? last_->next : first_) = &job;
  last_ = &job;
  job.queued = true;
}

void file_uring::waiting_list::remove(file_request& r) noexcept {
  blocking_job& job = r;
  (job.previous != nullptr ? job.previous->next : first_) = job.next;
  (job.next != nullptr ? job.next->previous : last_) = job.previous;
  job.queued = false;
}

file_request* file_uring::waiting_list::front() const noexcept { return static_cast<file_request*>(first_); }

// ---------------------------------------------------------------------------------------------- life

file_uring::file_uring(blocking_pool& pool, unsigned max_in_kernel)
    : ring_(2, 4 * max_in_kernel), threads_(pool), max_in_kernel_(max_in_kernel) {
  if (!ring_.supports(needed_operations)) throw std::system_error(ENOSYS, std::system_category(), "skua: this kernel's io_uring is too old");
  check_that_it_works();
  event_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (event_ < 0) throw std::system_error(errno, std::system_category(), "skua: eventfd");
  try {
    ring_.announce_on(event_);
  } catch (...) {
    ::close(event_);
    throw;
  }
}

file_uring::~file_uring() {
  SKUA_CHECK(in_flight() == 0, "INV-FILE-1");
  ::close(event_);
}

// A sandbox may allow the ring and forbid its use.
void file_uring::check_that_it_works() {
  io_uring_sqe nothing = {};
  nothing.opcode = IORING_OP_NOP;
  uring::completion c{};
  if (ring_.submit(nothing)) {
    ring_.wait();
    if (ring_.reap(c) && c.result == 0) return;
  }
  throw std::system_error(EPERM, std::system_category(), "skua: io_uring_enter");
}

// ---------------------------------------------------------------------------------------------- to the kernel

void file_uring::submit(file_request& r) {
  if (!has_operation(r.action) || r.on_thread) {
    r.engine = &threads_;
    return threads_.submit(r);
  }
  submit_to_ring(r);
  // What need not wait is there already, unless the task has had its share: then it comes back through the driver (D11).
  if (spend_budget()) harvest_here();
}

void file_uring::submit_to_ring(file_request& r) {
  r.in_flight = true;
  in_flight_.fetch_add(1, std::memory_order_relaxed);
  {
    std::lock_guard const lock(submission_lock_);   // INV-RING-2
    if (waiting_.front() == nullptr && in_kernel_.load(std::memory_order_seq_cst) < max_in_kernel_) {
      if (hand_over_locked(r)) return;
      r.in_flight = false;   // no memory: a thread, then
      in_flight_.fetch_sub(1, std::memory_order_relaxed);
      r.engine = &threads_;
      return threads_.submit(r);
    }
    waiting_.push_back(r);
    waiting_count_.fetch_add(1, std::memory_order_seq_cst);   // INV-RING-3: before the look in submit_waiting()
  }
  submit_waiting();
}

bool file_uring::hand_over_locked(file_request& r) noexcept {
  SKUA_CHECK(tl.words != nullptr, "D9: only workers hand requests to the kernel");
  io_uring_sqe const e = entry_for(r);
  in_kernel_.fetch_add(1, std::memory_order_seq_cst);
  SKUA_TO_KERNEL(&r);
  if (ring_.submit(e)) return true;   // `r` may be gone
  in_kernel_.fetch_sub(1, std::memory_order_seq_cst);
  return false;
}

void file_uring::submit_waiting() noexcept {
  std::lock_guard const lock(submission_lock_);
  while (in_kernel_.load(std::memory_order_seq_cst) < max_in_kernel_) {
    file_request* const r = waiting_.front();
    if (r == nullptr) return;
    waiting_.remove(*r);
    waiting_count_.fetch_sub(1, std::memory_order_relaxed);
    scheduler& s = *r->owner;
    if (hand_over_locked(*r)) continue;
    in_kernel_.fetch_add(1, std::memory_order_relaxed);   // settle() takes it off
    if (item const x = settle(*r, -EAGAIN); x != 0) schedule(s, x);   // file_request::again() sends it to a thread
  }
}

bool file_uring::withdraw(file_request& r) noexcept {
  {
    std::lock_guard const lock(submission_lock_);
    if (r.queued) {
      waiting_.remove(r);
      waiting_count_.fetch_sub(1, std::memory_order_relaxed);
      in_flight_.fetch_sub(1, std::memory_order_relaxed);
      r.in_flight = false;
      return true;
    }
    io_uring_sqe give_up = {};
    give_up.opcode = IORING_OP_ASYNC_CANCEL;
    give_up.addr = address(&r);
    give_up.user_data = 0;
    (void)ring_.submit(give_up);   // INV-RING-2. If it is not taken, the request takes its time
  }
  harvest_here();   // INV-RING-1
  return false;
}

// ---------------------------------------------------------------------------------------------- from the kernel

// Any thread, once a request. What is to be scheduled, or 0; the request may be gone afterwards.
item file_uring::settle(file_request& r, std::int64_t result) noexcept {
  r.result = result;
  r.in_flight = false;
  in_kernel_.fetch_sub(1, std::memory_order_seq_cst);    // INV-RING-3: before the look at waiting_count_
  in_flight_.fetch_sub(1, std::memory_order_release);
  return complete(r) ? item_of(r, kind::woken) : 0;
}

// Takes completions until one of them makes something runnable; 0: there are none left.
item file_uring::next_woken() noexcept {
  uring::completion c;
  while (ring_.reap(c)) {
    if (c.tag == 0) continue;   // of a request to give up
    auto& r = *reinterpret_cast<file_request*>(static_cast<std::uintptr_t>(c.tag));
    SKUA_FROM_KERNEL(&r);
    if (item const x = settle(r, as_system_calls_say(c.result)); x != 0) return x;
  }
  return 0;
}

// What there is no room for makes the descriptor readable again.
void file_uring::on_event(ready_list& out) noexcept {
  {
    std::lock_guard const lock(harvest_lock_);
    while (out.has_room_for_sources()) {
      item const x = next_woken();
      if (x == 0) break;
      out.add(x);
    }
  }
  if (!out.has_room_for_sources()) ::eventfd_write(event_, 1);
}

// On a worker, beside the driver.
void file_uring::harvest_here() noexcept {
  for (;;) {
    item woken[32];
    std::size_t count = 0;
    {
      std::unique_lock const lock(harvest_lock_, std::try_to_lock);
      if (!lock) break;   // whoever has it takes ours too, or is told by the eventfd
      while (count != std::size(woken) && (woken[count] = next_woken()) != 0) ++count;
    }
    for (std::size_t i = 0; i != count; ++i) schedule(*tl.owner, woken[i]);
    if (count != std::size(woken)) break;
  }
  resumed();
}

} // namespace skua::detail
