// SPDX-License-Identifier: Apache-2.0
// runs: random 400000, bound1
// Three tasks lock a shared mutex, two of them or one to write (one may go on as a reader), use what it protects, and give it up; the first one may be
// stopped, the last one be a select with a rival. The last owner destroys the mutex, while the one who gave it up before may still be on its way out.
// Checked: INV-SHARED-1 (a writer is alone, and sees what was written before; so does a reader, and nothing changes under it), INV-SHARED-2 (nobody is
// overtaken), INV-SHARED-3 (nobody waits for what it could own), and what waiting_tasks.hpp says.
#include "waiting_tasks.hpp"
#include "skua/detail/shared_mutex_core.hpp"

namespace {

struct kind_t {
  bool writes = false;
};

struct model : waiting_tasks<model, kind_t, 3, 5> {
  struct kind {
    static bool writes(links& w) { return static_cast<frame_t&>(w).writes; }
  };
  using core_t = skua::detail::shared_mutex_core<model_waiting, kind>;
  mortal<core_t> mutex;
  relacy_sync::atomic<int> users{tasks};   // those that have not decided to give it up
  relacy_sync::var<int> guarded{0};
  bool stop_comes = false, rival_comes = false, downgrades = false, destroyed = false;
  bool writing[tasks] = {};
  int written = 0;

  void before() {
    bool const selects = rl::rand(2);
    make_tasks(selects);
    mutex.make();
    writing[0] = true;
    writing[1] = rl::rand(2);
    writing[2] = rl::rand(2);
    for (int i = 0; i < tasks; ++i) frame[i]->writes = writing[i];
    downgrades = rl::rand(2);
    stop_comes = rl::rand(2);
    rival_comes = selects && rl::rand(2);
    users.store(tasks, std::memory_order_relaxed);
    guarded = 0;
  }
  bool withdraw(int i) {
    if (i == 0) queue[i] = 0;
    bool mine = false;
    ring next = mutex->withdraw(frame[i].get(), mine);
    nobody_waits_in_vain();
    wake(static_cast<ring&&>(next));
    return mine;
  }
  // INV-SHARED-3, by somebody before whose next step the mutex is not destroyed.
  void nobody_waits_in_vain() {
    mutex->lock().lock();
    if (links* const w = mutex->list().front())
      if (static_cast<frame_t&>(*w).claim.load(std::memory_order_relaxed) != lost) RL_ASSERT(!mutex->can(kind::writes(*w)));
    mutex->lock().unlock();
  }
  void got(int i) {
    leave(i);
    if (writing[i]) {
      guarded += 1;
      ++written;
      if (downgrades) {
        ring readers = mutex->downgrade();
        nobody_waits_in_vain();
        wake(static_cast<ring&&>(readers));
        RL_ASSERT(guarded == written);   // no writer has come in between
      }
    } else {
      int const seen = guarded;
      RL_ASSERT(seen == written);
      RL_ASSERT(guarded == seen);
    }
    bool const last = users.fetch_sub(1, std::memory_order_acq_rel) == 1;   // nobody waits: all others have given it up, or are about to
    ring next = writing[i] && !downgrades ? mutex->unlock() : mutex->unlock_shared();
    if (last && !stop_comes && !rival_comes) {
      RL_ASSERT(next.empty());
      destroy_when_alone();
    }
    wake(static_cast<ring&&>(next));
    left();
  }
  // A reader may be the last to come, and not the last to go: then whoever goes last destroys it.
  void destroy_when_alone() {
    mutex->lock().lock();
    bool const alone = mutex->unused();
    mutex->lock().unlock();
    if (!alone) return;
    mutex.destroy();
    destroyed = true;
  }
  void nothing_left() {}

  void lock(int i) {
    if (!begin(i)) return;
    core_t& m = mutex.get();
    if (take_or_wait(i, m.lock(), m.list(), [&] { return m.take(writing[i]); })) return went_through(i);
    suspend(i);
  }
  void thread(unsigned t) {
    if (t < tasks) return lock(static_cast<int>(t));
    if (t == tasks) return stop_comes ? stop_first() : void();
    if (rival_comes) come_as_rival();
  }
  void after() {
    end_tasks();
    if (destroyed) return;
    RL_ASSERT(mutex->unused());
    mutex.destroy();
  }
};

} // namespace

int main(int argc, char** argv) { return simulate<model>(argc, argv); }
