// SPDX-License-Identifier: Apache-2.0
// The block of a spawned task: header, result, callable, arguments and (if it fits) the first frame, in one allocation (S16).
//
//     [task_header 72][result, unless void][callable][arguments] .. [frame]
//
// Arguments are not kept if the callable's parameters take all of them over (parameters.hpp), nor is a pointer to a function. What is kept lives until the
// task has ended, so that a reference to it is good (D1).
//
// The coroutine's frame is allocated inside the call of the callable, whose captures must be at their final place by then. So the block is
// allocated first, with room for a frame as large as the last one that this spawn made (the first spawn of its kind uses two
// allocations and learns). Frames placed so have bit 4 of their address set, which tells operator delete to leave them alone.
//
// INV-EMBED-1  The place is offered to the first frame that is allocated while the callable is called (an argument that is handed over is copied then, too),
//              and to no other.
// INV-EMBED-2  A block is not freed while the frame in its place lives. Almost always that is the task's own root frame, gone when the
//              task has ended. If it is another one (a function that makes several coroutines), the block is entered in a list of
//              strays (embedding.cpp) and freed by whichever ends last.
#pragma once
#include "../task.hpp"
#include "embedding.hpp"
#include "parameters.hpp"
#include "task_header.hpp"
#include <atomic>
#include <functional>
#include <new>
#include <tuple>
#include <type_traits>
#include <utility>

namespace skua::detail {

// Where the result of a task is constructed: a value, or the exception that ended it (header.outcome says which).
template <class T>
union root_slot {
  stored<T> value;
  std::exception_ptr error;
  root_slot() noexcept {}
  ~root_slot() {}
};

template <class T>
struct result_block : task_header {
  void* out() noexcept { return &slot_; }
  std::exception_ptr& error() noexcept { return slot_.error; }
  stored<T>& value() noexcept { return slot_.value; }

private:
  root_slot<T> slot_;
};
// A task<void> has no value, and its failure fits into the header: in the place of the root branch, which has ended then. (Not into `link`, which inspection
// reads at any time. Nor a value into either: it is there before the locals are destroyed, and if one of them throws the body may go on.)
template <>
struct result_block<void> : task_header {
  void* out() noexcept { return &branch; }
  std::exception_ptr& error() noexcept { return *std::launder(static_cast<std::exception_ptr*>(out())); }
};

struct no_call {};
struct no_arguments {};

// A callable that is a plain function needs no place in the block: it is called once, before spawn() returns.
template <class F>
inline constexpr bool keeps_callable = !std::is_pointer_v<F>;
template <class F>
struct kept_callable {
  [[no_unique_address]] F f;
  template <class... Args>
  decltype(auto) operator()(Args&&... args) {
    return std::invoke(std::move(f), std::forward<Args>(args)...);
  }
};

// Callable and arguments, as spawn() keeps them.
template <class F, class... Args>
struct bound_call {
  static constexpr bool keeps_arguments = !parameters_of<F>::template take_over<Args...>();
  [[no_unique_address]] std::conditional_t<keeps_callable<F>, kept_callable<F>, no_call> callable;
  [[no_unique_address]] std::conditional_t<keeps_arguments, std::tuple<Args...>, no_arguments> args;

  // Both this and the call are given all of it; each takes its own part. A copy is made here, so a parameter is given an rvalue either way.
  template <class G, class... A>
  explicit bound_call(G&& f, A&&... a) : callable(keep(std::forward<G>(f))), args(keep_arguments(std::forward<A>(a)...)) {}

  template <class G, class... A>
  auto operator()(G const& f, A&&... a) {
    if constexpr (keeps_arguments)
      return std::apply([&](Args&... kept) { return invoke(f, std::move(kept)...); }, args);
    else
      return invoke(f, hand_over<Args>(std::forward<A>(a))...);
  }

private:
  template <class Arg, class A>
  static std::conditional_t<std::is_same_v<A, Arg>, Arg&&, Arg> hand_over(A&& a) {
    return static_cast<std::conditional_t<std::is_same_v<A, Arg>, Arg&&, Arg>>(a);
  }
  template <class G, class... A>
  auto invoke(G const& f, A&&... a) {
    if constexpr (keeps_callable<F>)
      return callable(std::forward<A>(a)...);
    else
      return std::invoke(f, std::forward<A>(a)...);
  }
  template <class G>
  static decltype(auto) keep(G&& f) {
    if constexpr (keeps_callable<F>)
      return kept_callable<F>{std::forward<G>(f)};
    else
      return no_call{};
  }
  template <class... A>
  static auto keep_arguments(A&&... a) {
    if constexpr (keeps_arguments)
      return std::tuple<Args...>(std::forward<A>(a)...);
    else
      return no_arguments{};
  }
};

template <class T, class Call>
struct spawn_block : result_block<T> {
  [[no_unique_address]] Call call;
};

// Reports the failure that nobody took, if that is how the task ended (S23).
void report_untaken(task_header& h, std::exception_ptr& error) noexcept;

template <class T, class Call>
void destroy_block(task_header* h) noexcept {
  auto* b = static_cast<spawn_block<T, Call>*>(h);
  if (h->outcome == task_header::failed) {
    if (!h->taken) report_untaken(*h, b->error());
    b->error().~exception_ptr();
  } else if (h->outcome == task_header::value) {
    if constexpr (!std::is_void_v<T>) {
      using U = stored<T>;
      b->value().~U();
    }
  }
  free_task_block(h);
}
template <class T, class Call>
group_state* drop_call(task_header* h) noexcept {
  static_cast<spawn_block<T, Call>*>(h)->call.~Call();
  return nullptr;
}

template <class T, class Call>
inline constexpr task_kind kind_of{destroy_block<T, Call>,
                                   std::is_trivially_destructible_v<Call> ? nullptr : drop_call<T, Call>};

// The offset of the frame: bit 4 is set, and the block's address is a multiple of 32.
template <class Block>
inline constexpr std::size_t frame_offset = ((sizeof(Block) - 16 + 31) / 32) * 32 + 16;

// Makes a block: header complete but for its promise. `room` for a frame behind it. Throws bad_alloc.
template <class T, class Call>
spawn_block<T, Call>* make_block(std::uint32_t room, task_origin const& origin) {
  using block = spawn_block<T, Call>;
  static_assert(alignof(block) <= 16, "skua: over-aligned results, callables and arguments are not supported by spawn");
  static_assert(frame_offset<block> + 4096 <= std::size_t{32} * 65535, "skua: 2 MiB of arguments for spawn: pass them by pointer");   // block_units
  std::size_t const size = frame_offset<block> + room;
  void* p;
  try {
    p = allocate_task_block(size);
  } catch (...) {
    release(origin.label);
    throw;
  }
  auto* b = static_cast<block*>(p);
  init_header(*b, static_cast<std::uint32_t>(size), kind_of<T, Call>, origin.label, origin.owner);
  return b;
}

// Ties the coroutine to its block.
template <class T, class Call>
SKUA_INLINE void adopt_frame(spawn_block<T, Call>& b, void* frame) noexcept {
  promise_base& p = promise_at(frame);
  p.up = reinterpret_cast<std::uintptr_t>(static_cast<task_header*>(&b)) | tag::root;
  p.out = b.out();
  b.branch = &p;
}

template <class F, class... Args>
using task_of = std::invoke_result_t<std::decay_t<F>, std::decay_t<Args>...>;
template <class X>
inline constexpr bool is_task = false;
template <class T>
inline constexpr bool is_task<task<T>> = true;

// Makes a task that is not queued yet. If it throws, the reference of origin.label is gone as well.
template <class T, class Call, class F, class... Args>
spawn_block<T, Call>* make_task(task_origin const& origin, F&& f, Args&&... args) {
  using block = spawn_block<T, Call>;
  static constinit std::atomic<std::uint32_t> learned{0};
  std::uint32_t const room = learned.load(std::memory_order_relaxed);
  block* b = make_block<T, Call>(room, origin);
  unborn_block guard(*b);   // frees the block unless dismissed
  ::new (static_cast<void*>(std::addressof(b->call))) Call(std::forward<F>(f), std::forward<Args>(args)...);
  void* frame;
  {
    struct drop_if_thrown {
      block* b;
      ~drop_if_thrown() {
        if (b) b->call.~Call();
      }
    } call_guard{b};
    embedding place(*b, reinterpret_cast<char*>(static_cast<task_header*>(b)) + frame_offset<block>, room);
    frame = b->call(f, std::forward<Args>(args)...).release_checked();   // NOLINT(bugprone-use-after-move): each is moved from in one of two places
    if (std::uint32_t const used = place.settle(frame); used > room) learned.store(used, std::memory_order_relaxed);
    call_guard.b = nullptr;
  }
  guard.dismiss();
  adopt_frame(*b, frame);
  return b;
}

// From a task that exists already.
template <class T>
spawn_block<T, no_call>* make_task_from(task_origin const& origin, task<T>&& t) {
  auto* b = make_block<T, no_call>(0, origin);
  unborn_block guard(*b);
  void* const frame = t.release_checked();
  guard.dismiss();
  adopt_frame(*b, frame);
  return b;
}

} // namespace skua::detail
