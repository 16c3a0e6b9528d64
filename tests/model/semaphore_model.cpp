// SPDX-License-Identifier: Apache-2.0
// runs: random 400000, bound1
// Three tasks acquire permits: two, one, one, and keep them; another thread releases as many, in different portions. Or there will be but one: the
// first task waits for two in vain, and is stopped; the others give theirs back. The first one may be stopped in any case, the last one be a select with a
// rival.
// Checked: INV-SEM-1 (no permit is lost or given twice), INV-SEM-2 (nobody is overtaken), INV-SEM-3 (nobody waits while there is enough for it, also when the
// one before it is gone), and what waiting_tasks.hpp says.
#include "waiting_tasks.hpp"
#include "skua/detail/semaphore_core.hpp"

namespace {

struct wants {
  std::uint64_t wanted = 0;
};

struct model : waiting_tasks<model, wants, 3, 5> {
  struct wanted_of {
    static std::uint64_t of(links& w) { return static_cast<frame_t&>(w).wanted; }
  };
  using semaphore = skua::detail::semaphore_core<model_waiting, wanted_of>;
  mortal<semaphore> permits;
  bool stop_comes = false, rival_comes = false;
  enum { at_once, two_first, singly, scarce } portions = at_once;
  std::uint64_t released = 0, kept = 0;   // `kept`: as of after()

  void before() {
    bool const selects = rl::rand(2);
    make_tasks(selects);
    permits.make(0);
    frame[0]->wanted = 2;
    frame[1]->wanted = frame[2]->wanted = 1;
    portions = static_cast<decltype(portions)>(rl::rand(4));
    stop_comes = portions == scarce || rl::rand(2);
    rival_comes = selects && rl::rand(2);
  }
  std::uint64_t wanted(int i) { return i == 0 ? 2 : 1; }

  bool withdraw(int i) {
    ring others;
    if (i == 0) queue[i] = 0;
    bool const mine = permits->withdraw(frame[i].get(), others);
    wake(static_cast<ring&&>(others));
    return mine;
  }
  void got(int i) {
    leave(i);
    if (portions == scarce) {
      RL_ASSERT(i != 0);
      give(1);
    }
    left();
  }
  // Without a stop and a rival the last one leaves behind the last release, which may still be under way.
  void nothing_left() {
    if (!stop_comes && !rival_comes) permits.destroy();
  }

  void acquire(int i) {
    if (!begin(i)) return;
    semaphore& s = permits.get();
    if (take_or_wait(i, s.lock(), s.list(), [&] { return s.take(wanted(i)); })) return went_through(i);
    suspend(i);
  }
  void release(std::uint64_t n) {
    released += n;
    give(n);
  }
  void give(std::uint64_t n) {
    ring served;
    bool const added = permits->add(n, served);
    RL_ASSERT(added);
    wake(static_cast<ring&&>(served));
  }

  void thread(unsigned t) {
    if (t < tasks) return acquire(static_cast<int>(t));
    if (t == tasks) {
      if (portions == scarce) return release(1);
      if (portions == at_once) return release(4);
      if (portions == two_first) release(2);
      for (int n = portions == two_first ? 2 : 4; n != 0; --n) release(1);
      return;
    }
    if (stop_comes) stop_first();
    if (rival_comes) come_as_rival();
  }
  void after() {
    for (int i = 0; i < tasks; ++i) kept += through[i] && portions != scarce ? wanted(i) : 0;
    end_tasks();
    if (!stop_comes && !rival_comes) return;
    RL_ASSERT(permits->unused());
    RL_ASSERT(permits->available() + kept == released);
    permits.destroy();
  }
};

} // namespace

int main(int argc, char** argv) { return simulate<model>(argc, argv); }
