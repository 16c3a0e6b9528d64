// SPDX-License-Identifier: Apache-2.0
// What a worker thread owns, and the door from the headers to the scheduler.
//
// The hot path of a coroutine (fork, join, spawn, wake) is inlined into the user's code and touches nothing but the running thread's
// `worker_local` and one word of the scheduler (`idle`). Everything else is behind the cold functions declared here and implemented in
// scheduler/.
//
// A run-queue word ("item") is a tagged pointer:
//     branch         the promise of a frame that has not started: a branch of a join; it is away from its join's home chain once taken
//     woken          an operation that has completed: its coroutine is to be resumed
//     ended_scope    a join whose branches have all arrived while somebody else was in it: its parent is to be resumed or unwound
//     stopping       an operation taken by a stop request: to be withdrawn, then unwound
//     spawned        a task_header whose task has not started
//     token_branch   as branch, but it carries its join's token: sent through the worker loop for fairness (S21)
//     walk           a branch_record at which a stop request is to be continued (S2)
//     errand         a piece of work that a join wants done by a worker (errand.hpp)
//
// Thread-local state: `constinit`, trivially destructible, initial-exec: one %fs-relative access each, no wrapper. Every supported compiler
// re-reads it after a suspension (tests/unit/thread_local_test.cpp); docs/decisions/003-thread-local.md.
#pragma once
#include "config.hpp"
#include "deque.hpp"
#include "frame_pool.hpp"
#include <atomic>
#include <coroutine>
#include <cstddef>
#include <cstdint>

namespace skua::detail {

struct promise_base;
struct task_header;
class scheduler;   // scheduler/scheduler.hpp

namespace kind {
inline constexpr item branch = 0, woken = 1, ended_scope = 2, stopping = 3, spawned = 4, token_branch = 5, walk = 6, errand = 7, mask = 7;
}

// The words of a scheduler that inlined code reads. A scheduler derives from it.
struct alignas(cache_line) scheduler_words {
  // Positive: somebody sleeps and nobody watches, so that a push must wake one (scheduler/idle.hpp has the protocol). Where the kernel
  // refuses membarrier it is positive always, and the cold path looks closer behind a fence.
  std::atomic<std::int64_t> idle{0};
};

// Counters of one worker: written by it alone (plain additions), read by metrics() at any time.
struct worker_counters {
  std::atomic<std::uint64_t> spawned{0}, ended{0};   // tasks
  std::atomic<std::uint64_t> gone{0};                // those that left nothing behind (INV-TASK-6); sums over all workers tell whether any is alive
  std::atomic<std::uint64_t> polls{0};               // items run from the worker loop
  std::atomic<std::uint64_t> steals{0}, stolen_items{0}, wakes{0}, parks{0}, naps{0}, injected{0};
  std::atomic<std::uint64_t> timers_armed{0}, timers_fired{0}, io_polls{0}, io_events{0};
  static void add(std::atomic<std::uint64_t>& c, std::uint64_t n = 1) noexcept { add_to_own(c, n); }
};

struct worker_local {
  promise_base* current = nullptr;     // the running branch: the promise of its root coroutine
  scheduler_words* words = nullptr;    // of the scheduler this thread works for; null on threads that are no workers
  void* unwinding = nullptr;           // a frame that execute() is to unwind next: unwinding never recurses
  scheduler* owner = nullptr;
  void* embed_at = nullptr;            // where the next coroutine frame is to be placed (spawn.hpp), if it is small enough
  std::size_t embed_size = 0;
  void* embed_stray = nullptr;         // the frame that took the place, while spawn() has not seen whose it is
  std::uint32_t embed_used = 0;        // the size of the first frame that was allocated since
  std::uint32_t run_budget = 0;        // tasks that may still run one after the other without a look at the worker loop
  std::uint32_t index = 0;
  std::uint16_t owner_index = 0;       // the scheduler's number (scheduler/registry.hpp)
  std::uint32_t op_budget = 128;       // operations that may complete without suspending before the task yields (D11)
  std::uint32_t id_left = 0;           // task ids this thread may still give out
  std::uint64_t next_id = 0;
  bool destroying = false;             // a stop destroys a frame: what is thrown now comes from a destructor (S5)
  bool batch_open = false;             // stolen work that has not been judged yet (scheduler/stealing.cpp)
  frame_pool pool;
  task_pool task_blocks;
  work_deque<> queue;
  worker_counters counters;
};

inline constinit thread_local worker_local tl [[gnu::tls_model("initial-exec")]];

// Stop requests under way, plus workers that are wanted back in their loop (S21). Read at every fork and every operation's entry, written
// rarely. One for the whole process: an address that the linker knows makes the test two instructions; runtimes that share it only look
// closer more often than they must.
struct attention_word {
  alignas(cache_line) std::atomic<std::int64_t> count{0};
};
inline constinit attention_word attention_count{};
SKUA_INLINE bool attention() noexcept { return attention_count.count.load(std::memory_order_relaxed) != 0; }
SKUA_INLINE void raise_attention() noexcept { attention_count.count.fetch_add(1, std::memory_order_relaxed); }
SKUA_INLINE void lower_attention() noexcept { attention_count.count.fetch_sub(1, std::memory_order_relaxed); }

// ------------------------------------------------------------------------------------------------ implemented in scheduler/

// After a push on the own queue, when `idle` is positive: wakes one sleeper if nobody watches.
SKUA_PRESERVE_MOST SKUA_COLD void wake_one_slow(scheduler_words& words) noexcept;

// Any thread, also one that is no worker: makes items runnable through the injection queue of their runtime. Allocates nothing.
void inject(scheduler& s, item const* items, std::size_t count) noexcept;

// Is this worker wanted back in its loop (injected work waits while every worker is busy)? Only asked when attention() says so.
bool wanted_in_loop() noexcept;

// A failure that nobody awaits (S8, S23): counted, and given to the failure handler.
struct failure_report;
void report_failure(scheduler& s, failure_report const& r) noexcept;

// Runs one item to the end of its chain of symmetric transfers (join.cpp).
void execute(item x) noexcept;

// ------------------------------------------------------------------------------------------------ inline, worker threads only

SKUA_INLINE void notify_after_push() noexcept {
  if (tl.words->idle.load(std::memory_order_relaxed) > 0) [[unlikely]] wake_one_slow(*tl.words);
}

// Makes a spawned or woken item runnable on this worker: into the LIFO slot; what was there goes to the deque.
SKUA_INLINE void push_lifo(item x) {
  if (item const older = tl.queue.lifo.put(x)) tl.queue.push(older);
  notify_after_push();
}

SKUA_INLINE void note_progress() noexcept {
  tl.queue.progress.store(tl.queue.progress.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

// The next item of this worker, to go on with after a task has ended or suspended; 0: back to the worker loop, which also happens when
// the run budget is used up, so that injected work, the oldest items and the timers have their turn (D11).
SKUA_INLINE item next_local() noexcept {
  if (tl.run_budget == 0) [[unlikely]] return 0;
  --tl.run_budget;
  if (item const x = tl.queue.lifo.take()) return x;
  return tl.queue.looks_empty() ? 0 : tl.queue.pop();
}

// Makes an item runnable from wherever the caller is: on a worker of `s` locally, otherwise by injection. push_lifo may need memory
// when the deque grows; schedule() never fails: it falls back to injection.
void schedule(scheduler& s, item x) noexcept;
SKUA_INLINE void schedule_here(item x) noexcept {   // on a worker
  if (tl.queue.try_reserve(1)) [[likely]]
    push_lifo(x);
  else
    inject(*tl.owner, &x, 1);
}

} // namespace skua::detail
