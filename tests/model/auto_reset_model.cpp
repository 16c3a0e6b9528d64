// SPDX-License-Identifier: Apache-2.0
// runs: random 300000, bound1
// An auto_reset_event that is a baton: it is set once, by a thread from outside; each of three tasks waits for it, and sets it again. The first one may be
// stopped, the last one be a select with a rival. Without these the last one to get it destroys the event, and does not set it.
// Checked: INV-SIGNAL-1 (the signal is neither lost nor doubled: one task has it at a time, and all get it), INV-SIGNAL-2 (nobody waits while it is set), and
// what waiting_tasks.hpp says.
#include "waiting_tasks.hpp"
#include "skua/detail/auto_reset_core.hpp"

namespace {

struct nothing {};

struct model : waiting_tasks<model, nothing, 3, 5> {
  using core_t = skua::detail::auto_reset_core<model_waiting>;
  mortal<core_t> event;
  relacy_sync::var<int> guarded{0};
  relacy_sync::atomic<int> to_come{tasks};
  bool stop_comes = false, rival_comes = false;

  void before() {
    bool const selects = rl::rand(2);
    make_tasks(selects);
    event.make(false);
    stop_comes = rl::rand(2);
    rival_comes = selects && rl::rand(2);
    to_come.store(tasks, std::memory_order_relaxed);
    guarded = 0;
  }
  bool withdraw(int i) {
    if (i == 0) queue[i] = 0;
    event->lock().lock();
    bool const mine = event->list().withdraw(frame[i].get());
    event->lock().unlock();
    return mine;
  }
  void set() {
    if (links* const w = event->raise()) wake(*w);
  }
  void got(int i) {
    leave(i);
    guarded += 1;   // a race if two have it
    bool const last = to_come.fetch_sub(1, std::memory_order_acq_rel) == 1;
    if (!last || stop_comes || rival_comes)
      set();
    else
      event.destroy();
    left();
  }
  void nothing_left() {}

  void thread(unsigned t) {
    if (t == tasks) return set();
    if (t == tasks + 1) {
      if (stop_comes) stop_first();
      if (rival_comes) come_as_rival();
      return;
    }
    int const i = static_cast<int>(t);
    if (!begin(i)) return;
    core_t& e = event.get();
    if (take_or_wait(i, e.lock(), e.list(), [&] { return e.consume(); })) return went_through(i);
    suspend(i);
  }
  void after() {
    end_tasks();
    RL_ASSERT(guarded == through[0] + through[1] + through[2]);
    if (!stop_comes && !rival_comes) return;
    RL_ASSERT(event->unused());
    RL_ASSERT(event->try_consume());
    event.destroy();
  }
};

} // namespace

int main(int argc, char** argv) { return simulate<model>(argc, argv); }
