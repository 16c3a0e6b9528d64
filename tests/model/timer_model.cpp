// SPDX-License-Identifier: Apache-2.0
// Timers: a branch arms one, two expirers fire what is due, a stop request disarms it. Whoever goes on with the branch buries the frame,
// builds the next one in the same memory, and arms that, on the same queue or another: two rounds. A second timer, armed and disarmed by one of the
// expirers, is its neighbour in the ring; it dies by a count of two parties, as that of timeout() does. The operation's word is the shipping
// one (stop_core.hpp), the wheel a small one.
// Checked: INV-TIMER-1 (each round ends exactly once), INV-TIMER-2 and 3 (races and uses after death on the frame, and on what it holds),
// INV-TIMER-4 and 5 (bounds and alarms when all is quiet), INV-TIMER-6.
// runs: random 300000, bound2
#include "relacy_sync.hpp"
#include "scheduler/timer_queue.hpp"
#include "skua/detail/stop_core.hpp"

namespace {

using skua::detail::timer_never_ns;
using core = skua::detail::stop_core<relacy_sync>;

struct small_shape {
  static constexpr unsigned tick_bits = 0, slot_bits = 1, levels = 2, cascade_limit = 1, scan_limit = 1;
};
using queue = skua::detail::basic_timer_queue<relacy_sync, small_shape>;

struct frame : core::operation {
  queue::entry timer;
  relacy_sync::var<int> local{7};    // written by the branch before it suspends
  relacy_sync::var<int> result{0};   // written by the expirer
};

struct model : rl::test_suite<model, 4> {
  static constexpr unsigned rounds = 2;
  static constexpr std::uint64_t deadline[rounds] = {2, 3}, neighbours_deadline = 2;
  mortal<frame> frame_;
  mortal<core::record> home;
  mortal<queue> queues[2];
  mortal<queue::entry> neighbour;
  mortal<relacy_sync::atomic<int>> parties;                    // of the neighbour: who disarms it, who fires it
  std::uint64_t alarm[2] = {timer_never_ns, timer_never_ns};   // the earliest that was asked for
  unsigned queue_of[rounds] = {}, round = 0, ended = 0, taken[rounds] = {}, neighbours_ended = 0;
  std::uint64_t latest = 0;   // time, as far as anybody has read the clock
  bool stop = false;

  void before() {
    home.make();
    queues[0].make(1);
    queues[1].make(1);
    neighbour.make();
    parties.make(2);
    frame_.make();
    queue_of[1] = rl::rand(2);
    stop = rl::rand(2) != 0;
  }
  void set_alarm(unsigned q, std::uint64_t t) {
    if (t < alarm[q]) alarm[q] = t;
  }

  // The branch's code, on whatever thread goes on with it.
  void begin_round() {
    frame& f = *frame_;
    f.local = 8;
    f.home = &home.get();
    if (home->stop_requested()) return unwind();
    unsigned const mine = round, q = queue_of[mine];
    if (queues[q]->arm(f.timer, deadline[mine], mine + 1)) set_alarm(q, deadline[mine]);
    switch (core::arm(f)) {
    case core::armed::suspended: return;
    case core::armed::completed: return deliver();
    case core::armed::stopped:
      if (queue::disarm(f.timer)) return unwind();
      if (core::give_way_arming(f) == core::armed::completed) deliver();
    }
  }
  void bury() {   // writes every field: a race with whoever looked at the frame and has not handed it over
    frame& f = *frame_;
    RL_ASSERT(f.local == 8);
    RL_ASSERT(!f.timer.linked());
    f.home = nullptr;
    f.local = 0;
    f.result = 0;
    f.timer.next = nullptr;
    f.timer.prev = nullptr;
    f.timer.deadline_ns = 0;
    f.timer.home = 0;
    frame_.destroy();
    ++ended;
  }
  void deliver() {
    RL_ASSERT(frame_->result == 42);
    RL_ASSERT(taken[round] == 1);
    bury();
    RL_ASSERT(ended == round + 1);
    if (++round == rounds) return;
    frame_.make();
    begin_round();
  }
  void unwind() {
    bury();
    RL_ASSERT(ended == round + 1);
    RL_ASSERT(taken[round] == 0);
  }

  void neighbour_leaves() {
    if (parties->fetch_sub(1, std::memory_order_acq_rel) == 1) bury_neighbour();
  }
  void bury_neighbour() {
    queue::entry& t = *neighbour;
    t.next = nullptr;
    t.prev = nullptr;
    t.deadline_ns = 0;
    t.home = 0;
    neighbour.destroy();
    ++neighbours_ended;
  }

  void expire(unsigned q, std::uint64_t now) {
    if (latest < now) latest = now;
    std::uint64_t const next = queues[q]->expire(now, 1, [&](queue::entry& t) {
      RL_ASSERT(t.deadline_ns <= latest);   // INV-TIMER-6
      if (&t == &neighbour.get()) return neighbour_leaves();
      frame& f = *frame_;
      RL_ASSERT(&t == &f.timer);
      RL_ASSERT(t.kind() == round + 1);
      ++taken[round];
      f.result = 42;
      if (core::complete(f)) deliver();
    });
    set_alarm(q, next);
  }
  struct sink {
    model& m;
    void stopping(core::operation& o) {   // the requester's thread plays the worker as well
      frame& f = static_cast<frame&>(o);
      switch (core::dispatch_stopping(o, [&] { return queue::disarm(f.timer); })) {
      case core::armed::completed: return m.deliver();
      case core::armed::stopped: return m.unwind();
      case core::armed::suspended: return;
      }
    }
    void ended(core::scope&) { RL_ASSERT(false); }
    void more(core::record&) { RL_ASSERT(false); }
  };

  void thread(unsigned t) {
    if (t == 0) return begin_round();
    if (t == 1) {
      expire(0, 2);
      return expire(queue_of[1], 3);
    }
    if (t == 2) {
      if (queues[0]->arm(*neighbour, neighbours_deadline)) set_alarm(0, neighbours_deadline);
      expire(0, 1 + rl::rand(3));
      return queue::disarm(*neighbour) ? bury_neighbour() : neighbour_leaves();
    }
    if (!stop) return;
    sink s{*this};
    core::request(home.get(), s);
  }

  void after() {
    RL_ASSERT(neighbours_ended == 1);
    RL_ASSERT(!stop || ended == round + 1 || round == rounds);
    if (round != rounds && ended == round) {   // armed still
      RL_ASSERT(queues[queue_of[round]]->next_deadline() <= deadline[round]);   // INV-TIMER-4
      RL_ASSERT(alarm[queue_of[round]] <= deadline[round]);                     // INV-TIMER-5
      RL_ASSERT(queue::disarm(frame_->timer));
      bury();
    }
    queues[0].destroy();   // checks that it is empty
    queues[1].destroy();
    parties.destroy();
    home.destroy();
  }
};

} // namespace

int main(int argc, char** argv) { return simulate<model>(argc, argv); }
