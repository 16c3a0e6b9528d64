// SPDX-License-Identifier: Apache-2.0
// Descriptors as branches of a select: accepting, readiness. io/io_branch.cpp has the code; select_core.hpp and io/descriptor_core.hpp the protocols.
//
// Readiness is the event; what it is for is done when nobody else knows of the select any more (select_source::confirm). So a loser has accepted nothing: the
// connection is still in the kernel's queue.
//
//     try_now     claims the direction, tries, gives the claim back. Done: the branch is performed
//     enlist      claims the direction, registers the descriptor, publishes the operation: the claim is held as long as that is waiting (INV-OP-1)
//     take_back   withdraws it, gives the claim back. Refused: it is late
//     woken       a worker gives the claim back, and says that the event has come
//     confirm     as try_now. Not done: it came in vain, and the select starts again
//
// A shortage of descriptors or memory is no result, as in accept(): the branch then waits for a pause in place of an event.
#pragma once
#include "io_operation.hpp"
#include "select_operation.hpp"
#include "socket_handle.hpp"
#include "timer.hpp"
#include <cstdint>

namespace skua::detail {

// An operation on a descriptor that a select tries, enlists and takes back. On workers only.
struct io_wait : io_operation {
  using io_operation::io_operation;
  bool try_once() noexcept;             // true: finished
  bool enlist(scheduler& of) noexcept;  // true: finished, or worth trying; nobody knows of it
  bool take_back() noexcept;            // false: somebody has it
  void end_wait() noexcept;             // it was completed
  bool try_again() noexcept;            // as try_once(), behind a wait
  bool unfair = false;                  // it could go on, but others should have their turn
};

struct accept_wait : io_wait {
  int accepted = -1;
  accept_wait(descriptor* d, std::uint32_t generation) noexcept;   // io/tcp_listener.cpp
  ~accept_wait();                                                  // closes what nobody has taken
  bool is_short() const noexcept;                                  // of descriptors or memory
};

struct ready_wait : io_wait {
  int fd;
  ready_wait(io_kind const& k, int f) noexcept : io_wait(k, nullptr, 0), fd(f) {}
  ~ready_wait();                    // io/readiness.cpp
  bool look() noexcept;             // without waiting. True: there is a result
  bool duplicate() noexcept;        // false: there is a result
};

struct accept_branch : select_branch, accept_wait, select_leaf {
  accept_branch(descriptor* d, std::uint32_t g) noexcept : select_branch(&how), accept_wait(d, g), select_leaf(woken) {}

protected:
  int take_number();

private:
  struct pause_operation : timer_operation, select_leaf {
    pause_operation() noexcept : timer_operation(select_event_kind) {}
  };
  static select_source const how;
  static std::coroutine_handle<> woken(leaf_frame&) noexcept;
  bool finished(bool tried) noexcept;
  pause_operation pause_;
  std::uint64_t pause_ns_ = 0, wait_ns_ = 0;   // of the last shortage; of this pause
  bool pausing_ = false;
};

template <class Stream>
struct accept_branch_of : accept_branch {
  using result_type = Stream;
  struct spec {
    descriptor* target;   // the listener may be moved, and closed, meanwhile
    std::uint32_t generation;
    using branch = accept_branch_of;
  };
  explicit accept_branch_of(spec&& s) noexcept : accept_branch(s.target, s.generation) {}
  Stream take() { return Stream(socket_handle(take_number(), Stream::short_one)); }
};

struct ready_branch : select_branch, ready_wait, select_leaf {
  using result_type = void;
  struct spec {
    io_kind const* kind;
    int fd;
    using branch = ready_branch;
  };
  explicit ready_branch(spec&& s) noexcept : select_branch(&how), ready_wait(*s.kind, s.fd), select_leaf(woken) {}
  void take() const;

private:
  static select_source const how;
  static std::coroutine_handle<> woken(leaf_frame&) noexcept;
};

} // namespace skua::detail
