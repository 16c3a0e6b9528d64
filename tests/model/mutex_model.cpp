// SPDX-License-Identifier: Apache-2.0
// runs: random 400000, bound1
// Three tasks lock a mutex, use what it protects, and unlock it; a stop is requested of the first. The third may be a select: it waits for the mutex or for a
// rival, which decides it at any time, or another source is found ready while it holds the list. The last owner destroys the mutex, while
// the one who unlocked before may still be on its way out. A waiter that is called tries again on the thread that called it.
// Checked: INV-MUTEX-1 to 5: one owner at a time, which sees what the last one wrote; nobody waits for ever; a stopped waiter leaves the mutex to others; a
// mutex that was handed over is delivered; nobody touches the mutex after its death; a select that was decided elsewhere is given nothing, and holds up nobody
// (INV-WAIT-7).
#include "relacy_sync.hpp"
#include "skua/detail/mutex_core.hpp"
#include "skua/detail/spin_lock.hpp"
#include "skua/detail/stop_core.hpp"

namespace {

using core = skua::detail::stop_core<relacy_sync>;
using waiter = skua::detail::basic_waiter<relacy_sync, core::operation>;

struct frame_t : waiter {
  relacy_sync::var<int> local{0};
  relacy_sync::var<int> owns{0};   // written by the one who unlocks
  bool is_select = false;
  relacy_sync::atomic<int> claim{0};   // of a select: 1: the mutex, 2: the rival
  bool decide(int what) {
    int open = 0;
    return claim.compare_exchange_strong(open, what, std::memory_order_acq_rel, std::memory_order_relaxed);
  }
};
struct selects {
  static bool is(waiter& w) { return static_cast<frame_t&>(w).is_select; }
  static bool claim(waiter& w) { return static_cast<frame_t&>(w).decide(1); }
};
using mutex_core = skua::detail::mutex_core<relacy_sync, core::operation, selects>;

struct model : rl::test_suite<model, 5> {
  static constexpr int tasks = 3;
  mortal<mutex_core> mutex;
  mortal<frame_t> frame[tasks];
  mortal<core::record> home[tasks];
  relacy_sync::atomic<int> inside{tasks};
  relacy_sync::var<int> guarded{0};
  bool destroyed = false;   // read when all threads have ended
  skua::detail::spin_lock<relacy_sync> rival;
  relacy_sync::var<bool> rival_has_it{false};
  bool third_selects = false, rival_comes = false, other_is_ready = false;
  int owned[tasks] = {}, unwound[tasks] = {};   // unwound, or decided elsewhere

  void before() {
    mutex.make();
    for (int i = 0; i < tasks; ++i) {
      frame[i].make();
      home[i].make();
    }
    frame[2]->is_select = third_selects = rl::rand(2);
    frame[2]->claim.store(0, std::memory_order_relaxed);
    rival_comes = third_selects && rl::rand(2);
    other_is_ready = third_selects && one_in(4);
    rival_has_it = false;
    inside.store(tasks, std::memory_order_relaxed);
    guarded = 0;
  }

  int index_of(core::operation& o) {
    int i = 0;
    while (&o != static_cast<core::operation*>(&frame[i].get())) ++i;
    return i;
  }
  void leave(int i) {
    frame[i]->local = 0;   // a race with whoever still looks
    frame[i]->owns = 0;
    frame[i]->home = nullptr;
    frame[i]->before = nullptr;
    frame[i]->behind = nullptr;
    frame[i].destroy();
  }
  void pass(mutex_core::passed p) {
    if (p.who == nullptr) return;
    int const i = index_of(*p.who);
    RL_ASSERT(p.owns || !frame[i]->is_select);
    frame[i]->owns = p.owns;
    if (core::complete(*p.who)) go_on(i);
  }
  void own(int i) {
    RL_ASSERT(frame[i]->local == 8);
    RL_ASSERT(++owned[i] + unwound[i] == 1);
    RL_ASSERT(mutex->is_held());
    guarded += 1;
    bool const last = inside.fetch_sub(1, std::memory_order_acq_rel) == 1;   // it will be the last owner, and nobody waits
    mutex_core::passed const p = mutex->unlock();
    if (last) {
      RL_ASSERT(p.who == nullptr && mutex->unused());
      mutex.destroy();
      destroyed = true;
    }
    if (p.who == nullptr) return leave(i);
    // Whoever was taken is completed before or after the owner has left.
    if (rl::rand(2) == 0) {
      leave(i);
      pass(p);
    } else {
      pass(p);
      leave(i);
    }
  }
  void unwind(int i) {
    RL_ASSERT(frame[i]->local == 8);
    RL_ASSERT(owned[i] + ++unwound[i] == 1);
    leave(i);
    inside.fetch_sub(1, std::memory_order_acq_rel);   // it does not own the mutex, and so does not know who is still inside unlock()
  }

  bool withdraw(int i) {
    mutex_core::withdrawn const w = mutex->withdraw(frame[i].get());
    pass(w.next);
    return w.mine;
  }
  void arm(int i) {
    switch (core::arm(frame[i].get())) {
    case core::armed::suspended: return;
    case core::armed::completed: return go_on(i);
    case core::armed::stopped:
      if (withdraw(i)) return unwind(i);
      if (core::give_way_arming(frame[i].get()) == core::armed::completed) go_on(i);
    }
  }
  // A select that the rival has decided, as take_back_losers().
  void lose(int i) {
    (void)withdraw(i);
    unwind(i);
  }
  void go_on(int i) {
    if (frame[i]->is_select && frame[i]->claim.load(std::memory_order_acquire) == 2) return lose(i);
    if (frame[i]->is_select) {   // taken back there
      rival.lock();
      rival_has_it = false;
      rival.unlock();
    }
    if (frame[i]->owns) return own(i);
    if (home[i]->stop_requested()) {
      mutex_core::passed const p = mutex->give_up();
      pass(p);
      return unwind(i);
    }
    if (mutex->retry(frame[i].get())) return own(i);
    arm(i);
  }
  void select() {
    rival.lock();
    mutex->lock_list();
    bool const mine = mutex->take_locked();
    if (!mine && !other_is_ready) {
      mutex->push_locked(frame[2].get());
      rival_has_it = true;
    }
    mutex->unlock_list();
    rival.unlock();
    if (mine) return own(2);
    if (other_is_ready) return unwind(2);
    arm(2);
  }
  void lock(int i) {
    frame[i]->local = 8;
    frame[i]->home = &home[i].get();
    if (frame[i]->is_select) return select();
    if (home[i]->stop_requested()) return unwind(i);
    if (mutex->try_lock() || mutex->enqueue(frame[i].get())) return own(i);
    arm(i);
  }

  struct sink {
    model& m;
    void stopping(core::operation& o) {   // the requester's thread plays the worker as well
      int const i = m.index_of(o);
      switch (core::dispatch_stopping(o, [&] { return m.withdraw(i); })) {
      case core::armed::completed: return m.go_on(i);
      case core::armed::stopped: return m.unwind(i);
      case core::armed::suspended: return;
      }
    }
    void ended(core::scope&) { RL_ASSERT(false); }
    void more(core::record&) { RL_ASSERT(false); }
  };

  void thread(unsigned t) {
    if (t < tasks) return lock(static_cast<int>(t));
    if (t == tasks + 1) {
      if (!rival_comes) return;
      rival.lock();
      bool const won = rival_has_it && frame[2]->decide(2);
      if (won) rival_has_it = false;
      rival.unlock();
      if (won && core::complete(frame[2].get())) go_on(2);
      return;
    }
    sink s{*this};
    core::request(home[0].get(), s);
  }

  void after() {
    int sum = 0;
    for (int i = 0; i < tasks; ++i) {
      RL_ASSERT(owned[i] + unwound[i] == 1);   // nobody is left behind
      sum += owned[i];
    }
    RL_ASSERT(unwound[1] == 0 && (third_selects || unwound[2] == 0));
    RL_ASSERT(guarded == sum);
    RL_ASSERT(inside.load(std::memory_order_relaxed) == 0);
    if (!destroyed) {
      RL_ASSERT(mutex->unused());
      mutex.destroy();
    }
    for (auto& h : home) h.destroy();
  }
};

} // namespace

int main(int argc, char** argv) { return simulate<model>(argc, argv); }
