// SPDX-License-Identifier: Apache-2.0
// A coroutine frame written by hand: what a leaf awaitable suspends as when it may have to try more than once before its coroutine goes on.
//
// A coroutine's frame begins [resume function][destroy function][promise], with every supported compiler; the runtime relies on that already
// (promise.hpp). A leaf
// frame looks like the frame of a child that the coroutine awaits: its promise's `up` is the awaiting frame, tagged `call`. So whatever resumes an operation
// resumes it, and unwind() passes through it, without knowing what it is. It lies inside the awaiter, in the awaiting frame: no allocation.
//
//     resume    what a coroutine's body would be; it returns whom to resume next: another frame, or the awaiting one
//     destroy   nothing: the awaiter is destroyed with the awaiting frame, which comes next
//
// INV-LEAF-1  Resuming a leaf frame uses no stack once its next frame runs: a tail call, as in a symmetric transfer. (GCC below -O2 needs
//             -foptimize-sibling-calls for that, which the library's target hands on.)
#pragma once
#include "promise.hpp"
#include <coroutine>
#include <cstddef>

#if __has_cpp_attribute(clang::musttail)
#define SKUA_TAIL_CALL [[clang::musttail]] return
#else
#define SKUA_TAIL_CALL return
#endif

// -fsanitize=function wants the type of libstdc++'s noop coroutine, whose resume function has no parameter.
#if __has_cpp_attribute(clang::no_sanitize)
#define SKUA_RESUMES_ANY_FRAME [[clang::no_sanitize("function")]]
#else
#define SKUA_RESUMES_ANY_FRAME
#endif

namespace skua::detail {

struct leaf_frame {
  using step = std::coroutine_handle<> (*)(leaf_frame&) noexcept;

  void (*resume)(void*) = resume_this;
  void (*destroy)(void*) = destroy_this;
  promise_base promise{};   // `out` is not used
  step go_on;               // returns what to resume next; may be *this again

  explicit leaf_frame(step s) noexcept : go_on(s) {}
  leaf_frame(leaf_frame const&) = delete;

  std::coroutine_handle<> handle() noexcept { return std::coroutine_handle<>::from_address(this); }
  std::coroutine_handle<> parent() const noexcept { return std::coroutine_handle<>::from_address(reinterpret_cast<void*>(promise.up)); }
  void set_parent(std::coroutine_handle<> h) noexcept { promise.up = reinterpret_cast<std::uintptr_t>(h.address()) | tag::call; }

private:
  SKUA_RESUMES_ANY_FRAME static void resume_this(void* frame) {
    auto& self = *static_cast<leaf_frame*>(frame);
    void* const next = self.go_on(self).address();
    auto const resume_next = *static_cast<void (**)(void*)>(next);
    SKUA_TAIL_CALL resume_next(next);
  }
  static void destroy_this(void*) {}
};
static_assert(offsetof(leaf_frame, resume) == 0 && offsetof(leaf_frame, destroy) == sizeof(void*) && offsetof(leaf_frame, promise) == 2 * sizeof(void*));

} // namespace skua::detail
