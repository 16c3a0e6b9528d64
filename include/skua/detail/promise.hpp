// SPDX-License-Identifier: Apache-2.0
// The two words that every coroutine carries, and what follows when it ends.
//
// A coroutine frame is   [resume fn][destroy fn][promise ...][parameters, locals, awaiters].
// The promise begins with two words, both written by whoever awaits the coroutine, never by its ramp:
//
//   up   tagged pointer: whom to tell at the end
//          call      the awaiting coroutine's frame              (plain co_await: same branch, no atomics)
//          home      join; this branch is at home                (the running thread holds the join's token)
//          away      join; this branch is away                   (taken by a thief or by the worker loop)
//          root      header of a spawned task
//          observed  record of a branch that has suspended at least once; it keeps the original word
//        Written by the awaiter before the coroutine starts; home -> away by the thread that takes the branch out of a deque, before it
//        resumes it; -> observed by the thread that runs the branch, or by the one branch below that links it. Never concurrently: the
//        queue hands it over.
//   out  where the result is constructed: a slot of the awaiter, in the parent's frame
#pragma once
#include "config.hpp"
#include "worker.hpp"
#include <concepts>
#include <coroutine>
#include <cstdint>

namespace skua::detail {

namespace tag {
inline constexpr std::uintptr_t call = 0, home = 1, root = 2, away = 3, observed = 5, mask = 7;
}

struct promise_base {
  std::uintptr_t up;
  void* out;

  // A coroutine handle is the frame's address; the promise follows the two function pointers.
  void* frame() noexcept { return reinterpret_cast<char*>(this) - 2 * sizeof(void*); }
};

SKUA_INLINE promise_base& promise_at(void* frame) noexcept {
  return *reinterpret_cast<promise_base*>(static_cast<char*>(frame) + 2 * sizeof(void*));
}
SKUA_INLINE std::coroutine_handle<> handle_of(void* frame) noexcept { return std::coroutine_handle<>::from_address(frame); }

// The coroutine that awaits an operation or a fork: one of skua's, which runs on workers alone, and can be unwound. So await_suspend() takes no other.
class own_coroutine {
public:
  template <class Promise>
  SKUA_INLINE own_coroutine(std::coroutine_handle<Promise> h) noexcept : handle_(h) {
    static_assert(std::derived_from<Promise, promise_base>,
                  "what skua offers to co_await is awaited by a skua::task or a skua::async_generator only. Other coroutines: let a task do it, with "
                  "runtime::spawn or runtime::block_on, and hand the result on as that task's last step. An awaiter that wraps one of skua's passes on the "
                  "std::coroutine_handle<Promise> that it was given");
  }
  SKUA_INLINE operator std::coroutine_handle<>() const noexcept { return handle_; }
  void* address() const noexcept { return handle_.address(); }

private:
  std::coroutine_handle<> handle_;
};

// What to resume when a coroutine with this `up` has ended and its frame is gone. Inline in join.hpp.
std::coroutine_handle<> finish(std::uintptr_t up) noexcept;

// Makes `x` the running item and returns what to resume (join.cpp).
std::coroutine_handle<> dispatch(item x) noexcept;

SKUA_INLINE std::coroutine_handle<> next_or_loop(item x) noexcept {
  if (x != 0) return note_progress(), dispatch(x);
  return std::noop_coroutine();
}

// A branch threw: keeps std::current_exception() and stops its siblings (S8). Allocates nothing (S26).
SKUA_COLD void fail_branch(promise_base& branch) noexcept;

// Leaf first: destroys the coroutines of the running branch from `leaf_frame` up, then tells whoever waits for the branch.
std::coroutine_handle<> unwind(void* leaf_frame) noexcept;

} // namespace skua::detail
