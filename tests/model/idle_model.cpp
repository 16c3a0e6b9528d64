// SPDX-License-Identifier: Apache-2.0
// Sleeping and waking: idle.hpp and idle_loop.hpp, with two workers that idle (idle_three_model.cpp: three) and one more party that makes work and
// then waits until they have done it. That is a worker that never returns (it pushes on its own queue, by plain stores), a thread from outside (it
// injects), or the world (events in the driver). So work that is left while somebody is free never ends, and Relacy says livelock.
//
// The steal policy is replaced by a coin: take it or leave it, a bounded number of times (a watcher may leave work only while it watches). A nap ends
// by itself only where work lies in a queue that its owner may keep; an injected item must end it.
//
// Checked: INV-IDLE-1 to 3 (nothing is left), INV-IDLE-4 (`patient` naps), INV-IDLE-5 (one waits in the driver; events are harvested), INV-IDLE-6 (the
// driver is told that the role is free before anything runs), the sums (at the end nobody is counted), stop (the same way as work), and the fallback
// without membarrier.
// runs: random 500000
#include "relacy_sync.hpp"
#include "scheduler/idle_loop.hpp"
#ifndef SCENARIO
#define SCENARIO -1   // one of those below; -1: any
#endif
#ifndef IDLERS
#define IDLERS 2
#endif

namespace {

using skua::detail::idle_core;
using skua::detail::idle_loop;
using skua::detail::item;
using skua::detail::look_for;
using core = idle_core<relacy_sync>;
template <class T>
using atomic = relacy_sync::atomic<T>;
constexpr auto relaxed = std::memory_order_relaxed, acquire = std::memory_order_acquire, release = std::memory_order_release,
               acq_rel = std::memory_order_acq_rel, seq_cst = std::memory_order_seq_cst;

// A deque of which nothing matters but the orders of its ends: the owner stores `bottom`, anybody takes at `top`.
struct queue {
  static constexpr int most = 4;
  atomic<int> bottom{0}, top{0};
  atomic<item> slot[most];
  bool looks_empty() const {
    int const t = top.load(seq_cst);
    return bottom.load(seq_cst) <= t;
  }
  void push(item x) {
    int const b = bottom.load(relaxed);
    RL_ASSERT(b < most);
    slot[b].store(x, relaxed);
    bottom.store(b + 1, release);
  }
  item take() {
    int t = top.load(seq_cst);
    if (t >= bottom.load(seq_cst)) return 0;
    item const x = slot[t].load(relaxed);
    return top.compare_exchange_strong(t, t + 1, seq_cst, relaxed) ? x : 0;
  }
};

enum scenario : unsigned {
  pushed,      // a busy worker pushes two
  injected,    // an outsider injects one, then another one
  both,        // a busy worker pushes one and injects one
  events,      // the driver brings one, then a batch of two whose first waits for its second
  mixed,       // the driver brings one, and an outsider injects one
  scenarios
};

struct model : rl::test_suite<model, IDLERS + 1> {
  static constexpr unsigned idlers = IDLERS, busy = idlers, everybody = idlers + 1;
  mortal<atomic<core::word>> idle;
  struct slot_array {
    core::slot at[everybody];
  };
  mortal<slot_array> slots;
  mortal<core> words;
  mortal<queue> queues[everybody];
  mortal<atomic<int>> inbox, kicked, arrived, done, stopping;   // inbox: 1 for each plain item, 4 for one that waits; arrived: their number
  int in_wait = 0;
  scenario what = pushed;
  item first = 0;         // the first item: `waits`, or plain
  bool patient = false;   // naps end by a kick or an event only
  unsigned leaves[idlers] = {};

  bool producer_is_worker() const { return what == pushed || what == both; }
  unsigned workers() const { return producer_is_worker() ? everybody : idlers; }

  void before() {
    what = SCENARIO >= 0 ? static_cast<scenario>(SCENARIO) : static_cast<scenario>(rl::rand(scenarios));
    idle.make();
    words.make(*idle, slots.make().at, workers(), !one_in(4));
    for (auto& q : queues) q.make();
    inbox.make(), kicked.make(), arrived.make(), done.make(), stopping.make();
    in_wait = 0;
    first = rl::rand(2) != 0 ? waits : plain;
    patient = what == injected && rl::rand(2) != 0;
    for (unsigned& n : leaves) n = patient ? 0 : rl::rand(2);
  }

  // ---------------------------------------------------------------------------------------------- what the protocol asks for

  struct env {
    model& m;
    unsigned self;
    item list[2] = {};
    std::size_t count = 0;
    bool to_tell = false;   // holds the role, or held it, and the driver does not know better

    bool anything_injected() const { return m.inbox->load(seq_cst) != 0 || m.stopping->load(seq_cst) != 0; }
    bool anything_queued() const {
      if (anything_injected()) return true;
      for (unsigned i = 0; i != m.workers(); ++i)
        if (!m.queues[i]->looks_empty()) return true;
      return false;
    }
    void kick() { m.kicked->fetch_add(1, seq_cst); }
    void wake(atomic<std::uint32_t>&) {}
    void wait_on(atomic<std::uint32_t>&, std::uint32_t) { rl::yield(); }
    void role_released() { to_tell = false; }

    item search(look_for, bool& active) {
      if (item const x = m.take_injected()) return x;
      for (unsigned i = 0; i != m.workers(); ++i) {
        if (m.queues[i]->looks_empty()) continue;
        active = true;
        if (i != self && m.leaves[self] != 0) {
          --m.leaves[self];
          continue;
        }
        if (item const x = m.queues[i]->take()) return x;
      }
      return 0;
    }
    bool stopping() { return m.stopping->load(relaxed) != 0; }
    bool another_nap(bool active) {
      to_tell = true;
      return active || rl::rand(2) != 0;
    }
    void wait_for_nap() { wait(m.patient ? 1'000'000 : 2); }
    void wait_at_rest() { wait(1'000'000); }
    void wait(int rounds) {
      to_tell = true;
      RL_ASSERT(++m.in_wait == 1);   // INV-IDLE-5
      for (; rounds != 0; --rounds) {
        if (m.kicked->load(seq_cst) != 0) {
          m.kicked->exchange(0, acq_rel);   // as the read of an eventfd: all kicks so far, and what was done before each
          break;
        }
        if (m.arrived->load(acquire) != 0) {
          count = m.arrived->exchange(0, acq_rel);
          for (std::size_t i = 0; i != count; ++i) list[i] = count == 2 && i == 0 ? waits : plain;
          break;
        }
        rl::yield();
      }
      --m.in_wait;
    }
    std::size_t ready() const { return count; }
    item adopt_ready() {
      for (std::size_t i = count; --i != 0;) m.queues[self]->push(list[i]);
      count = 0;
      return list[0];
    }
    void after_adopting() { notify_after_push(); }
    void notify_after_push() {
      if (m.idle->load(relaxed) > 0) m.words->wake_one_after_push(*this);
    }
    void everybody_busy() {}
    void about_to_sleep() {}
  };

  item take_injected() {
    int n = inbox->load(seq_cst);
    while (n != 0)
      if (inbox->compare_exchange_strong(n, n & 4 ? n - 4 : n - 1, acq_rel, relaxed)) return n & 4 ? waits : plain;
    return 0;
  }
  void inject(item x, env& e) {
    inbox->fetch_add(x == waits ? 4 : 1, seq_cst);
    (void)words->notify_injected(e, rl::rand(2) != 0);   // true: both are busy, and will come
  }
  void push(item x, env& e) {
    queues[busy]->push(x);
    e.notify_after_push();
  }
  void await_done(int n) {
    while (done->load(acquire) != n) rl::yield();
  }

  // ---------------------------------------------------------------------------------------------- the parties

  // An item, and one that does not return before all others have run, elsewhere.
  static constexpr item plain = 1, waits = 2;
  void run(item x, env& e) {
    RL_ASSERT(!e.to_tell);   // INV-IDLE-6
    if (x == waits) await_done(total() - 1);
    done->fetch_add(1, acq_rel);
    if (done->load(relaxed) == total()) {
      stopping->store(1, seq_cst);
      (void)words->notify_injected(e, false);
    }
  }
  int total() const { return what == events ? 3 : 2; }

  void thread(unsigned index) {
    env e{*this, index};
    if (index == busy) return produce(e);
    while (stopping->load(relaxed) == 0) {
      item x = queues[index]->take();
      if (x == 0) x = take_injected();
      if (x == 0) x = idle_loop<relacy_sync, env>(*words, index, e).watch();
      if (x != 0) run(x, e);
    }
  }

  void produce(env& e) {
    switch (what) {
    case pushed:
      push(first, e);
      push(plain, e);
      break;
    case injected:
      inject(first, e);
      if (first == plain && rl::rand(2)) await_done(1);
      inject(plain, e);
      break;
    case both:
      if (bool const swap = rl::rand(2) != 0) {
        inject(first, e);
        push(plain, e);
      } else {
        push(first, e);
        inject(plain, e);
      }
      break;
    case events:
      arrived->store(1, release);
      await_done(1);
      arrived->store(2, release);
      break;
    case mixed:
      arrived->store(1, release);
      inject(plain, e);   // with nobody in the driver, the event is the I/O thread's, which is not modelled here
      break;
    case scenarios: break;
    }
    await_done(total());
  }

  void after() {
    core::word const v = idle->load(relaxed);
    RL_ASSERT(v == 0 || v == core::refused_bias);   // everybody has been counted in and out
    RL_ASSERT(!words->role_held());
    words.destroy();
    idle.destroy();
    slots.destroy();
    for (auto& q : queues) q.destroy();
    inbox.destroy(), kicked.destroy(), arrived.destroy(), done.destroy(), stopping.destroy();
  }
};

} // namespace

int main(int argc, char** argv) { return simulate<model>(argc, argv); }
