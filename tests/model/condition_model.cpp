// SPDX-License-Identifier: Apache-2.0
// runs: random 400000, bound1
// Two tasks wait at a condition variable until a flag is set under its mutex; a third sets it and notifies (one or all), holding the mutex or not; a stop is
// requested of the first. A task that goes on without having been stopped owns the mutex.
// Checked: no notification is lost (who has seen the flag unset under the mutex is in the list before anybody else owns it), one owner at a time, a stopped
// waiter is taken out wherever it is (INV-MUTEX-1 to 4 for the moves between the two lists).
#include "relacy_sync.hpp"
#include "skua/detail/mutex_core.hpp"
#include "skua/detail/stop_core.hpp"

namespace {

using core = skua::detail::stop_core<relacy_sync>;
using mutex_core = skua::detail::mutex_core<relacy_sync, core::operation>;
using waiter = mutex_core::waiter;

struct frame_t : waiter {
  relacy_sync::var<int> owns{0};
  relacy_sync::var<int> alone{0};   // notified, and nobody else
};

struct model : rl::test_suite<model, 4> {
  static constexpr int tasks = 3, notifier = 2;
  mortal<mutex_core> mutex;
  mortal<mutex_core::list> condition;
  mortal<frame_t> frame[tasks];
  mortal<core::record> home[tasks];
  relacy_sync::var<int> flag{0};
  bool all = false, while_locked = false;
  int through[tasks] = {}, unwound[tasks] = {}, notified = 0;

  void before() {
    mutex.make();
    condition.make(std::uint64_t{1} << 63);
    for (int i = 0; i < tasks; ++i) {
      frame[i].make();
      home[i].make();
    }
    flag = 0;
    all = rl::rand(2) == 0;
    while_locked = rl::rand(2) == 0;
  }

  int index_of(core::operation& o) {
    int i = 0;
    while (&o != static_cast<core::operation*>(&frame[i].get())) ++i;
    return i;
  }
  static relacy_sync::var<int>& alone(waiter& w) { return static_cast<frame_t&>(w).alone; }
  void pass(mutex_core::passed p) {
    if (p.who == nullptr) return;
    int const i = index_of(*p.who);
    frame[i]->owns = p.owns;
    if (core::complete(*p.who)) go_on(i);
  }
  void end(int i) {
    frame[i]->owns = 0;   // a race with whoever still looks
    frame[i]->home = nullptr;
    frame[i].destroy();
  }
  void unwind(int i) {
    RL_ASSERT(through[i] + ++unwound[i] == 1);
    end(i);
  }
  // It owns the mutex.
  void own(int i) {
    if (i == notifier) return notify(i);
    if (flag == 0) {
      mutex_core::passed const p = mutex->unlock_and_wait(condition.get(), frame[i].get());
      pass(p);
      return arm(i);
    }
    RL_ASSERT(++through[i] + unwound[i] == 1);
    mutex_core::passed const p = mutex->unlock();
    end(i);
    pass(p);
    if (!all && ++notified == 1) pass(mutex->notify(condition.get(), false, alone));   // the next one
  }
  void notify(int i) {
    flag = 1;
    RL_ASSERT(++through[i] == 1);
    if (while_locked) pass(mutex->notify(condition.get(), all, alone));
    pass(mutex->unlock());
    if (!while_locked) pass(mutex->notify(condition.get(), all, alone));
    end(i);
  }

  bool withdraw(int i) {
    mutex_core::withdrawn const w = mutex->withdraw(condition.get(), frame[i].get(), alone);
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
  void go_on(int i) {
    if (frame[i]->owns) return own(i);
    if (home[i]->stop_requested()) {
      pass(mutex->give_up(condition.get(), frame[i].get(), alone));
      return unwind(i);
    }
    if (mutex->retry(frame[i].get())) return own(i);
    arm(i);
  }
  void lock(int i) {
    frame[i]->home = &home[i].get();
    if (home[i]->stop_requested()) return unwind(i);
    if (mutex->try_lock() || mutex->enqueue(frame[i].get())) return own(i);
    arm(i);
  }

  struct sink {
    model& m;
    void stopping(core::operation& o) {
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
    sink s{*this};
    core::request(home[0].get(), s);
  }

  void after() {
    for (int i = 0; i < tasks; ++i) RL_ASSERT(through[i] + unwound[i] == 1);   // nobody is left behind
    RL_ASSERT(unwound[1] + unwound[notifier] == 0);
    RL_ASSERT(mutex->unused());
    RL_ASSERT(condition->empty());
    condition.destroy();
    mutex.destroy();
    for (auto& h : home) h.destroy();
  }
};

} // namespace

int main(int argc, char** argv) { return simulate<model>(argc, argv); }
