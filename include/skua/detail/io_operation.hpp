// SPDX-License-Identifier: Apache-2.0
// Operations on a descriptor: try inline, otherwise wait, then try again. io/io_operation.cpp has the other half, io/descriptor_core.hpp the protocol.
//
//     await_ready    no stop is under way anywhere, and there is budget: claims the direction and tries. Most reads and writes of a busy server end here
//     await_suspend  looks at stop (S1); out of budget: yields once; tries; registers the descriptor if it never waited before; waits
//     go_on          whenever it was woken: tries again; an event may have been for nothing (somebody else accepted the connection)
//     stop           withdraws the operation. What was transferred until then is lost with the coroutine, unless the operation reports it (S17)
//     close          the descriptor was closed by somebody else: operation_canceled (S19)
//
// INV-OP-1  The claim is held from the first attempt to the last, so the number cannot be reused in between; it is given back before the coroutine
//           goes on, or by the destructor when it is unwound.
//
// Thread safety: on workers only.
#pragma once
#include "leaf_frame.hpp"
#include "operation.hpp"
#include "task_header.hpp"
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <system_error>

namespace skua::detail {

struct descriptor;     // io/descriptor.hpp
class epoll_driver;    // io/epoll_driver.hpp
struct io_operation;

enum class io_step : unsigned char {
  done,      // finished: error and result are written
  blocked,   // would block
  unfair     // could go on, but others should have their turn
};

// Beside the numbers of errno: mistakes of the program, which are thrown as usage_error, and the end of a stream.
enum io_error : int { io_occupied = -1, io_no_descriptors = -2, io_regular_file = -3, io_end_of_stream = -4 };

struct io_kind : operation_kind {
  unsigned direction;                                 // 0: reads, 1: writes
  io_step (*attempt)(io_operation&) noexcept;         // system calls that do not block; retries EINTR; writes transferred, last, error
  bool (*is_empty)(io_operation const&) noexcept;     // moves nothing, so it need not wait for readiness. Null: it never is
  constexpr io_kind(char const* w, unsigned d, io_step (*a)(io_operation&) noexcept, bool (*e)(io_operation const&) noexcept = nullptr) noexcept;
};

struct io_operation : operation, leaf_frame {
  static constexpr unsigned char full = 0, partial = 1, drained = 2;   // descriptor_core::transfer

  descriptor* target;             // null: not open
  scheduler* owner = nullptr;     // where the coroutine goes on
  epoll_driver* waits_in = nullptr;   // its driver; written before it is published
  std::uint64_t seen = 0;         // the descriptor's word before the last system call
  std::size_t transferred = 0;    // bytes
  std::uint32_t generation;       // of the target, when the operation was made: it may have been closed since
  int error = 0;                  // errno, or io_error
  bool claimed = false;
  bool reports = false;           // as_result: a stop does not lose what was transferred (S17)
  bool stopped = false;           // so a stop has taken it back, and completed it
  bool yielded = false;           // it went through the queue without waiting
  unsigned char last = full;      // how the last system call ended

  io_operation(io_kind const& k, descriptor* d, std::uint32_t g) noexcept;   // d: null for one that is not open
  ~io_operation() {
    if (claimed) [[unlikely]] give_up();
  }

  // True: finished.
  bool try_now() noexcept;
  // `tried`: try_now() has said false; otherwise nothing was done yet.
  std::coroutine_handle<> start(std::coroutine_handle<> h) { return start(h, claimed); }
  std::coroutine_handle<> start(std::coroutine_handle<> h, bool tried);
  int number() const noexcept;   // of the target

  io_kind const& io() const noexcept { return static_cast<io_kind const&>(*kind); }

private:
  friend struct io_kind;
  friend struct io_wait;   // io_branch.hpp
  static std::coroutine_handle<> woken(leaf_frame&) noexcept;
  static bool withdraw(operation&) noexcept;
  bool claim() noexcept;
  io_step attempt() noexcept;
  std::coroutine_handle<> run(bool try_first) noexcept;
  std::coroutine_handle<> yield() noexcept;
  std::coroutine_handle<> finish(int with_error) noexcept;
  friend class readiness;
  void give_up() noexcept;
};

constexpr io_kind::io_kind(char const* w, unsigned d, io_step (*a)(io_operation&) noexcept, bool (*e)(io_operation const&) noexcept) noexcept
    : operation_kind{w, io_operation::withdraw}, direction(d), attempt(a), is_empty(e) {}

inline io_operation::io_operation(io_kind const& k, descriptor* d, std::uint32_t g) noexcept
    : operation(k), leaf_frame(woken), target(d), generation(g) {}

// Thrown by await_resume: usage_error for a mistake of the program, system_error otherwise; with the number of bytes as transfer_error (io_error.hpp).
[[noreturn]] SKUA_COLD void throw_io_error(io_operation const& op);
[[noreturn]] SKUA_COLD void throw_transfer_error(io_operation const& op);
// For as_result; still throws for a mistake of the program.
std::error_code code_of(io_operation const& op);

} // namespace skua::detail
