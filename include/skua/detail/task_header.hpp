// SPDX-License-Identifier: Apache-2.0
// The header of a spawned task: its identity, its stop word, and who waits for its end. 72 bytes, at the front of the task's block.
//
// `state` is one word, who waits for the end: task_state.hpp.
//
// Blocks are type-stable (frame_pool.hpp), and their first 32 bytes survive while they are free: an enumerator (shutdown, inspection) reads
// `state` and `owner_index`, and may request stop of the task. Allocation waits while somebody enumerates, so no block is reused meanwhile.
// INV-TASK-1  (task_state.hpp) `state` of a free block is `done`. Of a block that was never used it says `running`; its `owner_index` is 0 until
//             the header is complete (release).
// INV-TASK-2  A stop that an enumerator requests reaches the task whose `state` it has read, or a block that nobody uses.
// INV-TASK-3  A header whose `state` an enumerator has read as not `done` is not taken apart before the enumeration has finished: whoever frees the
//             block sets `done`, then looks whether somebody enumerates, and waits (frame_pool.hpp, INV-POOL-5).
#pragma once
#include "../stop_reason.hpp"
#include "operation.hpp"
#include "task_label.hpp"
#include "task_state.hpp"
#include <atomic>
#include <cstdint>

namespace skua::detail {

struct task_header;
struct special_join;
class group_state;
struct task_kind {
  void (*destroy)(task_header*) noexcept;      // result (reported if it is a failure that nobody took) and block
  // Callable and arguments, when the task has ended; null: trivial. Returns the group that it is a party of, which hears of it (leave) when the task's
  // end is complete, its result too; null: none.
  group_state* (*drop_call)(task_header*) noexcept;
  special_join* (*scope)(task_header*) noexcept = nullptr;   // the group that it belongs to, which it never outlives; null: none
};

struct task_header : branch_word {   // aligned to 32, as its block
  enum stop_count_t : unsigned char { not_counted, counted, ended };   // who gives the request back to the attention word
  enum outcome_t : unsigned char { value, failed, stopped };

  task_state<real_sync> state;
  outcome_t outcome = value;
  bool taken = false;                  // the result was taken by the joiner
  std::atomic<stop_reason> reason{stop_reason::none};
  std::atomic<stop_count_t> stop_count{not_counted};
  std::uint16_t block_units = 0;       // its size, in 32 bytes
  std::atomic<std::uint16_t> owner_index{0};
  // ---- 32 bytes: what survives while the block is free ends here
  task_kind const* kind = nullptr;
  task_label label;                    // one reference
  item link = 0;                       // in the injection queue, while it has not started; then operation_kind* of what its root branch
                                       // has waited for last, for inspection
  std::uint64_t id = 0;
  static constexpr std::uint64_t has_stray = std::uint64_t{1} << 63;
  std::uint64_t parent = 0;            // id of the task that spawned it; 0: a thread from outside. has_stray: a link (embedding.cpp)

  std::uint64_t parent_id() const noexcept {   // 0: not known
    std::uint64_t const p = std::atomic_ref(const_cast<std::uint64_t&>(parent)).load(std::memory_order_relaxed);
    return p & has_stray ? 0 : p;
  }
  char const* name() const noexcept { return label.name(); }
  std::source_location site() const noexcept { return label.site(); }
  promise_base* promise() const noexcept { return static_cast<promise_base*>(static_cast<void*>(branch)); }
};
static_assert(sizeof(task_header) == 72);

// A coroutine that waits for a task's end.
struct join_operation : operation {
  scheduler* owner = nullptr;   // where the joiner is to go on
  task_header* target;
  join_operation(operation_kind const& k, task_header* t) noexcept : operation(k), target(t) {}
};

struct thread_waiter {
  std::atomic<std::uint32_t> signal{0};   // futex word
  std::atomic<std::uint64_t>* counted = nullptr;   // -1 by whoever wakes it, before it is awake; null: nowhere
};

SKUA_INLINE task_header& header_at(std::uintptr_t up) noexcept { return *reinterpret_cast<task_header*>(up & ~tag::mask); }
SKUA_INLINE branch_word* word_of_task(std::uintptr_t up) noexcept { return &header_at(up); }
SKUA_INLINE void note_waiting(std::uintptr_t up, operation_kind const& kind) noexcept {
  // relaxed: a hint, read by inspection while the branch waits.
  if ((up & tag::mask) == tag::root)
    std::atomic_ref<item>(header_at(up).link).store(reinterpret_cast<item>(&kind), std::memory_order_relaxed);
  else
    reinterpret_cast<branch_record*>(up & ~tag::mask)->notes.note_waiting(kind);
}

// Any thread that holds a handle. Never blocks, runs no user code, allocates nothing (S2). Idempotent; nothing if the task has ended.
void request_stop(task_header& h, stop_reason why) noexcept;
// The same; what it finds goes to `sink`, which is of the task's own runtime. Visits at most `allowance` branches itself.
void request_stop(task_header& h, stop_reason why, stop_sink& sink, unsigned allowance) noexcept;

// A worker has made the task and will queue it: it is born stopped if the runtime is ending (INV-SHUTDOWN-3).
SKUA_COLD void stop_if_ending(task_header& h) noexcept;

// The task has ended: gives its stop request back to the attention word.
void note_end(task_header& h) noexcept;
// Before the block is freed: gives it back if nobody has.
void note_free(task_header& h) noexcept;
void wake_thread(thread_waiter& w) noexcept;

// The task that a branch is part of. Walks from the branch, which waits or runs, to its root.
task_header* task_above(promise_base& branch) noexcept;
// The one that runs on this thread; null outside.
task_header* current_task() noexcept;

// Gives this thread another batch of task ids.
SKUA_COLD void refill_ids() noexcept;
// A destructor threw during unwinding (S5).
[[noreturn]] SKUA_COLD void terminate_in_unwinding() noexcept;

// Blocks the calling thread, which is no worker, until the task has ended.
void wait_for_end(task_header& h) noexcept;
// The same in two steps, the first of which says false if the task has ended.
[[nodiscard]] bool begin_to_wait(task_header& h, thread_waiter& w) noexcept;
void sleep_until_woken(thread_waiter& w) noexcept;

} // namespace skua::detail
