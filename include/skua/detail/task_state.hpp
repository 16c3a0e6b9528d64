// SPDX-License-Identifier: Apache-2.0
// One word a task: has it ended, and who is told. tests/model/task_state_model.cpp checks this code.
//
//     running (0)           nobody waits
//     operation*            a coroutine waits for the end
//     thread_waiter* | 2    a thread that is no worker waits on its futex word
//     detached (4)          the handle is gone: whoever ends the task frees the block
//     done (1)
//
//   from                  to              who                              effect
//   running               operation*      wait_for_end, the joiner         suspended; refused if the task has ended
//   running               waiter* | 2     wait_for_end, a thread           the same
//   operation*            running         withdraw, the stopped joiner     refused: the task's end has the operation in hand (S4)
//   running               detached        release, the handle's owner      the task runs on
//   done                  (done)          release                          the owner frees the block
//   detached              (detached)      is_detached, the task            it frees the block: nobody else has it
//   any                   done            finish, the task; its one RMW    the caller tells whom it finds there
//   (free: done)          running         open, the spawner                the header is complete
//   done                  done            close, who frees the block       INV-TASK-1
//
// release of "-> done": the result, to whoever sees done. release of the others: the operation or waiter, to whom the end tells; acquire:
// the other side of both.
//
// INV-TASK-1  The state of a free block is `done`, from before the block is freed until the next task's header is complete.
// INV-TASK-4  Exactly one of release() and finish() finds that the other has happened, and frees the block.
// INV-TASK-5  An operation or thread that has registered is told once, by who called finish(), unless withdraw() took it back.
// INV-TASK-6  A task counts as gone when nothing of it is left, or only what its handle's owner frees: a clean shutdown comes behind the destructor of a result
//             that nobody wants, and behind the report of a failure.
//
// Thread safety: one owner (the handle's) and the task itself; ended() from anywhere while the block is the task's.
#pragma once
#include "config.hpp"
#include <atomic>
#include <cstdint>

namespace skua::detail {

template <class Sync>
class task_state {
public:
  using word = std::uintptr_t;
  static constexpr word running = 0, done = 1, thread_waits = 2, detached = 4;

  bool ended() const noexcept { return word_.load(std::memory_order_acquire) == done; }   // acquire: the result

  enum class wait : unsigned char { registered, has_ended, refused };   // refused: somebody else waits; a misuse of the handle
  // `who`: operation*, or thread_waiter* | thread_waits.
  [[nodiscard]] wait wait_for_end(word who) noexcept {
    word seen = running;
    // release: who waits. acquire, when it has ended: the result.
    if (word_.compare_exchange_strong(seen, who, std::memory_order_acq_rel, std::memory_order_acquire)) return wait::registered;
    return seen == done ? wait::has_ended : wait::refused;
  }
  // True: the end will not tell `who`. False: it has it in hand, and will come.
  [[nodiscard]] bool withdraw(word who) noexcept {
    return word_.compare_exchange_strong(who, running, std::memory_order_acq_rel, std::memory_order_relaxed);
  }
  // Has somebody registered? For a message: it may be out of date.
  bool is_awaited() const noexcept {
    word const w = word_.load(std::memory_order_relaxed);
    return w != running && w != done && w != detached;
  }
  // The handle's owner lets go. True: the task has ended, and the caller frees its block.
  [[nodiscard]] SKUA_INLINE bool release() noexcept {
    if (ended()) return true;
    word seen = running;
    if (word_.compare_exchange_strong(seen, detached, std::memory_order_acq_rel, std::memory_order_acquire)) return false;
    SKUA_CHECK(seen == done, "a join_handle was dropped while it was being awaited");
    return true;
  }
  // The task has ended; `ended()` counts it, before anybody is told. `destroy()` frees the block, unless that is left to the owner of its handle; then `gone()`
  // (INV-TASK-6). Returns what was there: whom to tell. The block is gone, or may be.
  template <class Ended, class Destroy, class Gone>
  [[nodiscard]] SKUA_INLINE word finish(Ended ended, Destroy destroy, Gone gone) noexcept {
    if (is_detached()) {
      destroy();
      ended();
      gone();
      return detached;
    }
    ended();
    word const was = end();
    if (was == detached) [[unlikely]] destroy();   // its handle was dropped just now
    gone();
    return was;
  }
  // Of a task that nobody has a handle of yet.
  [[nodiscard]] SKUA_INLINE word end() noexcept { return word_.exchange(done, std::memory_order_acq_rel); }

  void open() noexcept { word_.store(running, std::memory_order_release); }   // INV-TASK-1; release: the header, to an enumerator
  void close() noexcept { word_.store(done, std::memory_order_release); }     // INV-TASK-1

private:
  // Before end(). acquire: pairs with release(): the owner's last use.
  bool is_detached() const noexcept { return word_.load(std::memory_order_acquire) == detached; }

  typename Sync::template atomic<word> word_{running};
};

} // namespace skua::detail
