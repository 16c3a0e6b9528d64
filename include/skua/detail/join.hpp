// SPDX-License-Identifier: Apache-2.0
// Joins: run branches concurrently, go on when all have ended. The token join.
//
//   The thread that awaits a join pushes all branches but the first on its deque and transfers to the first. The branch
//   that it runs carries the join's *token*: the exclusive right to touch the plain field `left`. When a token branch ends:
//     --left == 0                  every branch ran at home one after the other: resume the parent. No atomic operation.
//     own pop yields a sibling     it becomes the token branch. (Recognised by `up`: same join, still "home".)
//     otherwise                    the `left` others are away (stolen, or taken by the worker loop): surrender the token with one
//                                  RMW, away += left.
//   A branch taken by a thief or by the worker loop is marked away before it runs; it ends with one RMW, away -= 1.
//   `away` starts at 0 and is negative while away branches have ended before the token was surrendered.
//     surrender: fetch_add(left) returns -left     all of them have ended: this thread resumes the parent
//     away end:  fetch_sub(1) returns 1            the token is gone and this was the last: this thread resumes the parent
//   INV-JOIN-1: `left` is touched by the token's holder only.
//   INV-JOIN-2: exactly one thread sees one of the two conditions (or left == 0), and it is the last to touch the join.
//   Both RMWs are acq_rel: they publish the branch's result to the thread that resumes the parent. (token_join.hpp has the arithmetic,
//   templated, for the model.)
//
//   Suspension: nothing happens to the join. A token branch that suspends keeps the token; resumed on another thread it
//   ends there, finds no sibling in that thread's deque, and surrenders. Siblings it left behind in the first deque are taken by
//   that worker's loop or by thieves, and are away then. An item that is popped and is no sibling is never lost: it is run next
//   (or pushed back, if the parent is to be resumed).
//
// How a branch ends. A value is constructed in the parent's slot and nothing else is written. A branch that fails or is stopped
// constructs none: it turns its slot into a link of the join's list of lost slots (with the exception, if there is one), which needs no
// memory (S26). The thread that INV-JOIN-2 names then owns the join, its slots and all records of the scope; it looks at `head` once:
//     0                       resume the parent
//     special                 the join's own rules decide: timeout, when_any, shield (special_join)
//     a list                  detach from the word above (end_scope); a walker that is inside goes on in its place
//     failed                  resume the parent: await_resume destroys the values that are there and rethrows the first failure
//     stopped, not failed     destroy the values and unwind the parent
//     neither                 resume the parent, which takes the values (S4: even if a stop was requested)
#pragma once
#include "../failure.hpp"
#include "operation.hpp"
#include "task_header.hpp"
#include "token_join.hpp"
#include <atomic>
#include <cstdint>
#include <cstring>
#include <exception>
#include <new>
#include <type_traits>
#include <utility>

namespace skua::detail {

// A slot whose branch did not end with a value.
struct lost_slot {
  std::exception_ptr error;   // null: stopped
  std::uintptr_t next;        // lost_slot*, bit 0: the first failure in time
};

struct alignas(16) join_base : core::scope {   // head: 0 until a branch suspends or is lost (or head_special)
  void* parent;                                // frame to resume
  promise_base* parent_branch;                 // becomes tl.current again
  union {
    token_count<real_sync> count;              // INV-JOIN-1, 2
    item after_end;                            // when the join has ended: the injection queue's link
  };
  std::uintptr_t lost;                         // list of lost_slot; by CAS while branches run

  join_base() noexcept : count() {}
  item& link() noexcept { return after_end; }
};

enum class verdict : unsigned char { resume, unwind };

// A join with rules of its own: timeout, when_any, shield. head_special is set from the start.
struct special_join : join_base {
  bool from_outside = false;   // for decide(), when the join's end is handed to a worker
  // All branches have arrived. False: another party is still in the join (a timer that fires), and will go on in our place. Null: none can be.
  bool (*arrived)(special_join&) noexcept = nullptr;
  // How to go on; null: as any join. `from_outside`: a stop has reached the parent by the time the scope left it (S10).
  verdict (*decide)(special_join&, bool from_outside) noexcept = nullptr;
  // Destroys the values that are there, if the parent is unwound; null: they have no destructors.
  void (*discard)(join_base&) noexcept = nullptr;
};

SKUA_INLINE join_base& join_at(std::uintptr_t up) noexcept { return *reinterpret_cast<join_base*>(up & ~tag::mask); }
SKUA_INLINE branch_record* record_at(std::uintptr_t up) noexcept { return reinterpret_cast<branch_record*>(up & ~tag::mask); }

// ---------------------------------------------------------------------------------------------- cold half: scheduler/join.cpp

// head is not 0: see the table in the file comment.
SKUA_COLD std::coroutine_handle<> resume_parent_slow(join_base& j) noexcept;
// The token branch has ended, no sibling was popped; `x` is what was popped instead.
SKUA_NOINLINE std::coroutine_handle<> surrender(join_base& j, item x) noexcept;
SKUA_NOINLINE std::coroutine_handle<> finish_other(std::uintptr_t up) noexcept;

// A party of `j` (a branch that has not ended, a timer, a task of a group) stops its branches. Returns the old head.
std::uintptr_t request_by_party(join_base& j, stop_sink& sink, std::uintptr_t why) noexcept;

// The join of a task group (task_group.cpp): its rule, by which it is known; and a stop request from outside has come to it.
verdict group_decides(special_join& j, bool from_outside) noexcept;
void group_claimed(special_join& j, stop_sink& sink) noexcept;

// The join has ended on a thread that may be no worker: a worker will go on with the parent, by way of the sink.
void settle_elsewhere(join_base& j, stop_sink& sink) noexcept;

[[noreturn]] SKUA_COLD void task_awaited_twice();

// Parent's side: rethrows the first failure, reports the others. Frees the records. Call it when head is not 0, after the values have been
// discarded if any_failed(j).
void free_records(join_base& j) noexcept;
// The scope has ended, nobody else knows of it: go on with the parent, or unwind it.
std::coroutine_handle<> resume_settled(join_base& j, bool from_outside) noexcept;
[[noreturn]] void rethrow_first_failure(join_base& j);

SKUA_INLINE bool any_failed(join_base const& j) noexcept { return j.head.load(std::memory_order_relaxed) & core::head_failed; }

// A branch ends without a value: its slot becomes a link of the lost list. `error` null: stopped.
SKUA_COLD void lose_slot(join_base& j, void* out, std::exception_ptr error, bool first) noexcept;

// S1: a fork is a checkpoint. True: the branch that runs is stopped; the caller destroys what it has not started and unwinds.
SKUA_COLD bool stopped_at_fork();
// S21: this worker is wanted back in its loop; the branch that the fork would transfer to is queued instead.
SKUA_COLD std::coroutine_handle<> detour(promise_base& first) noexcept;

// ---------------------------------------------------------------------------------------------- hot half

SKUA_INLINE std::coroutine_handle<> resume_parent(join_base& j) noexcept {
  if (j.head.load(std::memory_order_relaxed) != 0) [[unlikely]] return resume_parent_slow(j);
  tl.current = j.parent_branch;
  return handle_of(j.parent);
}

SKUA_INLINE std::coroutine_handle<> finish(std::uintptr_t up) noexcept {
  if ((up & tag::mask) == tag::home) [[likely]] {
    join_base& j = *reinterpret_cast<join_base*>(up - tag::home);
    if (j.count.end_home()) return resume_parent(j);
    item const x = tl.queue.pop();
    if (x != 0 && (x & kind::mask) == kind::branch) [[likely]] {
      promise_base& sibling = *reinterpret_cast<promise_base*>(x);
      if (sibling.up == up) [[likely]] {
        tl.current = &sibling;
        return handle_of(sibling.frame());
      }
    }
    return surrender(j, x);
  }
  if ((up & tag::mask) == tag::call) return handle_of(reinterpret_cast<void*>(up));
  return finish_other(up);
}

// Starts `n` branches: `frame(i)` is the i-th one's frame, `out(i)` says where its result goes. n > 0. The caller has reserved n - 1 places.
template <class Frame, class Out>
SKUA_INLINE std::coroutine_handle<> start_branches(join_base& j, std::uintptr_t head, void* parent, std::size_t n, Frame frame, Out out) noexcept {
  j.parent = parent;
  j.parent_branch = tl.current;
  j.head.store(head, std::memory_order_relaxed);
  j.lost = 0;
  j.count.start(static_cast<std::uint32_t>(n));
  std::uintptr_t const up = reinterpret_cast<std::uintptr_t>(&j) | tag::home;
  tl.queue.push_reserved_each(n - 1, [&](std::size_t pushed) {
    std::size_t const i = n - 1 - pushed;   // backwards, so that home runs them in order
    promise_base& p = promise_at(frame(i));
    p.up = up;
    p.out = out(i);
    return reinterpret_cast<item>(&p) | kind::branch;
  });
  promise_base& first = promise_at(frame(0));
  first.up = up;
  first.out = out(0);
  if (n > 1) notify_after_push();
  tl.current = &first;
  return handle_of(first.frame());
}

// One branch, in the parent's frame: first its frame, from the moment it has ended its result, or a link of the lost list. A slot's frame
// is read for the last time before the branch is pushed, so the result never overwrites a frame that is still to be read.
template <class T>
union branch_slot {
  void* frame;
  T value;
  lost_slot lost;
  branch_slot() noexcept {}
  ~branch_slot() {}
};

template <class T>
SKUA_INLINE T take_slot(branch_slot<T>& s) noexcept(std::is_nothrow_move_constructible_v<T>) {
  if constexpr (std::is_trivially_destructible_v<T>) {
    return std::move(s.value);
  } else {
    struct guard {
      T& v;
      ~guard() { v.~T(); }
    } g{s.value};
    return std::move(s.value);
  }
}

// Reports failures that are lost, and empties the list (the parent goes on without them).
void discard_lost(join_base& j, failure_kind why = failure_kind::stopped) noexcept;

// when_any: makes and links the records of all branches before any has started. Throws bad_alloc, before any effect.
void link_race_records(join_base& j, void* const* frames, std::size_t n);

inline lost_slot* first_lost(join_base& j) noexcept { return reinterpret_cast<lost_slot*>(j.lost); }
inline lost_slot* next_lost(lost_slot& l) noexcept { return reinterpret_cast<lost_slot*>(l.next & ~std::uintptr_t{1}); }

// Is this slot a value? Linear in the lost list: for joins of a few branches.
bool slot_has_value(join_base& j, void const* out) noexcept;

template <class... T>
inline constexpr bool have_destructors = !(std::is_trivially_destructible_v<T> && ...);

} // namespace skua::detail
