// SPDX-License-Identifier: Apache-2.0
// runs: random 300000, bound2
// Two tasks wait at a primitive; one thread lets them through (an event: all that wait; a semaphore: two permits), another requests stop of the first.
// Whoever is the last to leave destroys the primitive, while the completer may still be on its way out.
// Checked: INV-WAIT-1 to 6: each waiter goes on exactly once, let through or unwound; what was given to a waiter is not lost; nobody touches the
// primitive after its death, or a frame after its end; no wake-up is lost.
#include "relacy_sync.hpp"
#include "skua/detail/stop_core.hpp"
#include "skua/detail/wait_queue.hpp"

namespace {

using core = skua::detail::stop_core<relacy_sync>;
using waiter = skua::detail::basic_waiter<relacy_sync, core::operation>;
using wait_list = skua::detail::basic_wait_list<relacy_sync, core::operation>;
using ring = skua::detail::basic_waiter_ring<relacy_sync, core::operation>;

struct primitive_t {
  skua::detail::spin_lock<relacy_sync> lock;
  relacy_sync::var<int> permits{0};   // as an event: not used up
  wait_list waiting;
};
struct frame_t : waiter {
  relacy_sync::var<int> local{0};
  relacy_sync::var<int> given{0};   // written by the completer
};

struct model : rl::test_suite<model, 4> {
  mortal<primitive_t> primitive;
  mortal<frame_t> frame[2];
  mortal<core::record> home[2];
  relacy_sync::atomic<int> inside{2};
  bool as_event = false, nobody_comes = false;   // then only the stop lets the first go on; the second has left
  int through[2] = {}, unwound[2] = {};

  void before() {
    primitive.make();
    for (int i = 0; i < 2; ++i) {
      frame[i].make();
      home[i].make();
    }
    inside.store(2, std::memory_order_relaxed);
    as_event = rl::rand(2) == 0;
    nobody_comes = one_in(4);
  }

  void leave(int i) {
    frame[i]->local = 0;   // a race with whoever still looks
    frame[i]->given = 0;
    frame[i]->home = nullptr;
    frame[i]->before = nullptr;
    frame[i].destroy();
    if (inside.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    primitive->permits = 0;
    RL_ASSERT(primitive->waiting.empty());
    primitive.destroy();
  }
  void go_on(int i, bool waited) {
    RL_ASSERT(frame[i]->local == 8);
    RL_ASSERT(frame[i]->given == (waited ? 1 : 0));
    RL_ASSERT(++through[i] + unwound[i] == 1);
    leave(i);
  }
  void unwind(int i) {
    RL_ASSERT(frame[i]->local == 8);
    RL_ASSERT(frame[i]->given == 0);
    RL_ASSERT(through[i] + ++unwound[i] == 1);
    leave(i);
  }
  int index_of(core::operation& o) { return &o == static_cast<core::operation*>(&frame[0].get()) ? 0 : 1; }

  bool withdraw(int i) {
    primitive_t& p = primitive.get();
    p.lock.lock();
    bool const mine = p.waiting.withdraw(frame[i].get());
    p.lock.unlock();
    return mine;
  }

  void wait(int i) {
    frame[i]->local = 8;
    frame[i]->home = &home[i].get();
    if (home[i]->stop_requested()) return unwind(i);
    primitive_t& p = primitive.get();
    p.lock.lock();
    bool const at_once = p.permits > 0;
    if (at_once)
      p.permits -= as_event ? 0 : 1;
    else
      p.waiting.push_back(frame[i].get());
    p.lock.unlock();
    if (at_once) return go_on(i, false);
    switch (core::arm(frame[i].get())) {
    case core::armed::suspended: return;
    case core::armed::completed: return go_on(i, true);
    case core::armed::stopped:
      if (withdraw(i)) return unwind(i);
      if (core::give_way_arming(frame[i].get()) == core::armed::completed) go_on(i, true);
    }
  }

  void complete(waiter& w) {
    int const i = index_of(w);
    frame[i]->given = 1;
    if (core::complete(w)) go_on(i, true);
  }
  void release_all() {
    primitive_t& p = primitive.get();
    p.lock.lock();
    p.permits = 1;
    ring taken(p.waiting.take_all());
    p.lock.unlock();
    while (waiter* const w = taken.pop_front()) complete(*w);
  }
  void release_two() {
    primitive_t& p = primitive.get();
    ring taken;
    p.lock.lock();
    p.permits += 2;
    while (p.permits > 0) {
      waiter* const w = p.waiting.take();
      if (w == nullptr) break;
      taken.push_back(*w);
      p.permits -= 1;
    }
    p.lock.unlock();
    while (waiter* const w = taken.pop_back()) complete(*w);
  }

  struct sink {
    model& m;
    void stopping(core::operation& o) {   // the requester's thread plays the worker as well
      int const i = m.index_of(o);
      switch (core::dispatch_stopping(o, [&] { return m.withdraw(i); })) {
      case core::armed::completed: return m.go_on(i, true);
      case core::armed::stopped: return m.unwind(i);
      case core::armed::suspended: return;
      }
    }
    void ended(core::scope&) { RL_ASSERT(false); }
    void more(core::record&) { RL_ASSERT(false); }
  };

  void thread(unsigned t) {
    if (nobody_comes && t == 1) {
      ++through[1];
      return leave(1);
    }
    if (t < 2) return wait(static_cast<int>(t));
    if (t == 3) {
      sink s{*this};
      core::request(home[0].get(), s);
      return;
    }
    if (nobody_comes) return;
    as_event ? release_all() : release_two();
  }

  void after() {
    for (int i = 0; i < 2; ++i) RL_ASSERT(through[i] + unwound[i] == 1);   // nobody is left behind
    RL_ASSERT(unwound[1] == 0 && (!nobody_comes || unwound[0] == 1));
    RL_ASSERT(inside.load(std::memory_order_relaxed) == 0);
    for (auto& h : home) h.destroy();
  }
};

} // namespace

int main(int argc, char** argv) { return simulate<model>(argc, argv); }
