// SPDX-License-Identifier: Apache-2.0
// A task and the owner of its handle: a coroutine that joins it and may be stopped meanwhile (then it drops the handle, or awaits it again), a thread
// that waits for it, or somebody who drops the handle at once. Thread 0 spawns and owns, 1 is the worker that runs the task, 2 stops the
// joiner, 3 enumerates the blocks.
// Checked: INV-TASK-1 (an enumerator that finds a live task finds its header complete), INV-TASK-4 (the block is freed once, when both are through with
// it), INV-TASK-5 (whoever waits is told once, with the result; nobody is told who has withdrawn), INV-TASK-6 (what thread 3 sees as gone is freed, or the
// owner's), S4, S11, S12.
// runs: random 500000, bound2
#include "relacy_sync.hpp"
#include "skua/detail/stop_core.hpp"
#include "skua/detail/task_state.hpp"

namespace {

using core = skua::detail::stop_core<relacy_sync>;
using task_state = skua::detail::task_state<relacy_sync>;

struct block_t {
  task_state state;
  relacy_sync::var<int> header{0};
  relacy_sync::var<int> owner{0};   // what the handle's owner uses
  relacy_sync::var<int> result{0};
};
struct waiter_t {
  relacy_sync::atomic<int> signal{0};
};
using backoff = relacy_sync::backoff;
enum owner { joins, joins_again_when_stopped, waits_as_thread, drops };

struct model : rl::test_suite<model, 4> {
  mortal<block_t> block;                 // its memory is type-stable: `state` is looked at when the block is free
  mortal<core::operation> op[2];
  mortal<core::record> home[2];          // of the joiner; the second awaits when the first was stopped
  mortal<waiter_t> waiter;
  relacy_sync::atomic<int> queued{0}, dropped{0}, gone{0};
  owner what = joins;
  bool ends_when_dropped = false;        // or else a stop that is never granted would go unnoticed
  bool is_free = false, freed_by_task = false, gone_too_early = false;
  int freed = 0, counted = 0, told[2] = {}, unwound = 0, thread_told = 0, released = 0;

  void before() {
    block.make().state.close();
    home[0].make();
    home[1].make();
    queued.store(0, std::memory_order_relaxed);
    dropped.store(0, std::memory_order_relaxed);
    gone.store(0, std::memory_order_relaxed);
    what = static_cast<owner>(rl::rand(4));
    ends_when_dropped = (what == joins || what == drops) && rl::rand(2);
  }

  // ---- the task

  void run_task() {
    backoff wait;
    while (queued.load(std::memory_order_acquire) == 0) wait.pause();
    RL_ASSERT(block->header == 5);
    while (ends_when_dropped && dropped.load(std::memory_order_relaxed) == 0) wait.pause();
    block->result = 42;
    std::uintptr_t const was = block->state.finish([this] { ++counted; },
                                                   [this] {
                                                     freed_by_task = true;
                                                     free_block();
                                                   },
                                                   [this] { gone.store(1, std::memory_order_release); });
    if (was == task_state::running || was == task_state::detached) return;
    if (was & task_state::thread_waits) {
      auto& w = *reinterpret_cast<waiter_t*>(was & ~task_state::thread_waits);
      w.signal.store(1, std::memory_order_release);
      return;
    }
    auto& o = *reinterpret_cast<core::operation*>(was);
    if (core::complete(o)) joined(&o == &op[0].get() ? 0 : 1);
  }

  void free_block() {
    RL_ASSERT(++freed == 1);
    RL_ASSERT(block->result == 42);
    block->result = 0;   // races with whoever is not through with it
    block->owner = 0;
    block->state.close();
    is_free = true;
  }

  // ---- the owner

  void await(int i) {
    core::operation& o = op[i].make();
    o.home = &home[i].get();
    if (home[i]->stop_requested()) return unwind(i);
    switch (block->state.wait_for_end(core::of(o))) {
    case task_state::wait::has_ended: return joined(i);
    case task_state::wait::refused: RL_ASSERT(false);
    case task_state::wait::registered: break;
    }
    switch (core::arm(o)) {
    case core::armed::suspended: return;
    case core::armed::completed: return joined(i);
    case core::armed::stopped:
      if (block->state.withdraw(core::of(o))) return unwind(i);
      if (core::give_way_arming(o) == core::armed::completed) joined(i);
    }
  }
  void bury(int i) {
    op[i]->home = nullptr;
    op[i].destroy();
  }
  void joined(int i) {
    RL_ASSERT(++told[i] == 1 && (i == 1 || unwound == 0));
    RL_ASSERT(block->result == 42);
    bury(i);
    drop();
  }
  void unwind(int i) {
    RL_ASSERT(i == 0 && ++unwound == 1);
    bury(i);
    if (what == joins_again_when_stopped) return await(1);
    drop();
  }
  void drop() {
    RL_ASSERT(++released == 1);
    block->owner = 1;
    dropped.store(1, std::memory_order_relaxed);
    if (block->state.release()) free_block();
  }
  void wait_as_thread() {
    waiter_t& w = waiter.make();
    switch (block->state.wait_for_end(core::of(w) | task_state::thread_waits)) {
    case task_state::wait::has_ended: break;
    case task_state::wait::refused: RL_ASSERT(false);
    case task_state::wait::registered: {
      backoff wait;
      while (w.signal.load(std::memory_order_acquire) == 0) wait.pause();
    }
    }
    waiter.destroy();
    ++thread_told;
    RL_ASSERT(block->result == 42);
    drop();
  }

  struct sink {
    model& m;
    void stopping(core::operation& o) {   // the requester's thread plays the worker as well
      RL_ASSERT(&o == &m.op[0].get());
      switch (core::dispatch_stopping(o, [&] { return m.block->state.withdraw(core::of(o)); })) {
      case core::armed::completed: return m.joined(0);
      case core::armed::stopped: return m.unwind(0);
      case core::armed::suspended: return;
      }
    }
    void ended(core::scope&) { RL_ASSERT(false); }
    void more(core::record&) { RL_ASSERT(false); }
  };

  void thread(unsigned index) {
    if (index == 0) {
      block->header = 5;
      block->state.open();
      queued.store(1, std::memory_order_release);
      if (what == waits_as_thread) return wait_as_thread();
      if (what == drops) return drop();
      return await(0);
    }
    if (index == 1) return run_task();
    if (index == 2) {
      sink s{*this};
      core::request(home[0].get(), s);
    } else if (gone.load(std::memory_order_acquire) == 1) {
      gone_too_early = !is_free;   // unless the owner frees it
    } else if (!block->state.ended()) {
      RL_ASSERT(block->header == 5);
    }
  }

  void after() {
    RL_ASSERT(counted == 1 && gone.load(std::memory_order_relaxed) == 1);
    RL_ASSERT(!(gone_too_early && freed_by_task));
    RL_ASSERT(freed == 1 && released == 1);
    RL_ASSERT(block->state.ended());
    RL_ASSERT(thread_told == (what == waits_as_thread));
    RL_ASSERT(told[0] + unwound == (what == joins || what == joins_again_when_stopped ? 1 : 0));
    RL_ASSERT(told[1] == (what == joins_again_when_stopped ? unwound : 0));
    block.destroy();
    home[0].destroy();
    home[1].destroy();
  }
};

} // namespace

int main(int argc, char** argv) { return simulate<model>(argc, argv); }
