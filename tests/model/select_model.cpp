// SPDX-License-Identifier: Apache-2.0
// A select that receives from two channels and waits for an event (A); a select that sends to the same two (B), or a plain sender; another plain sender;
// the event; a stop request for A. The channels have no room (rendezvous), so every message is handed over. Start, completion, withdrawal and the late
// party follow scheduler/select.cpp and detail/channel_core.hpp line by line, on the shipping words, lock and list.
// A branch that was claimed is completed as the select, or through an operation of its own, as a lock's is. The event may come in vain the first time: then the
// select is reopened and starts again.
// Checked: INV-SELECT-1 to 3: A goes on exactly once, with one result, or is unwound; its frame is destroyed then, and nobody touches it afterwards, nor
// B's; every message that left its sender was received by the one who won it (INV-CHAN-1, 3: a branch that lost has had no effect).
// runs: random 3000000
#include "relacy_sync.hpp"
#include "skua/detail/select_core.hpp"
#include "skua/detail/spin_lock.hpp"
#include "skua/detail/stop_core.hpp"
#include "skua/detail/wait_queue.hpp"

namespace {

using core = skua::detail::stop_core<relacy_sync>;
using select_core = skua::detail::select_core<relacy_sync>;
using wait_list = skua::detail::basic_wait_list<relacy_sync, core::operation>;

struct select_t;
struct branch_t : skua::detail::basic_waiter<relacy_sync, core::operation> {
  relacy_sync::var<select_t*> select{nullptr};
  relacy_sync::var<unsigned> number{0};
  relacy_sync::var<int> message{0};
  core::branch_word word;                // of its own operation
};
struct channel_t {
  skua::detail::spin_lock<relacy_sync> lock;
  wait_list receivers, senders;
};
struct select_t : core::operation {
  select_core claims;
  branch_t branch[2];
  core::operation event;                 // of the event branch: number 2
  core::branch_word event_word;
  relacy_sync::var<bool> event_enlisted{false};
  bool sends = false, has_event = false;
};

struct model : rl::test_suite<model, 5> {
  static constexpr std::uintptr_t nobody = 0, fired = 1;
  mortal<channel_t> channels[2];
  mortal<select_t> a, b;
  mortal<core::record> home_a, home_b;
  relacy_sync::atomic<std::uintptr_t> event{nobody};
  bool b_is_select = false, event_comes = false, stop_comes = false, stop_is_event = false, plain_comes = false;
  bool a_has_event = false;
  bool own_operations = false;
  int vain = 0;   // times that the event comes in vain
  bool was_vain = false;
  int delivered = 0, unwound = 0, b_delivered = 0, message = 0, sent = 0, received = 0;

  void before() {
    for (auto& c : channels) c.make();
    a.make();
    a_has_event = a->has_event = rl::rand(3) != 0;
    b.make();
    b->sends = true;
    home_a.make();
    home_b.make();
    event.store(nobody, std::memory_order_relaxed);
    b_is_select = rl::rand(2);
    event_comes = rl::rand(3) != 0;
    stop_comes = rl::rand(3) != 0;
    stop_is_event = rl::rand(3) == 0;
    plain_comes = rl::rand(2);
    own_operations = rl::rand(2);
    vain = rl::rand(3) == 0;
    was_vain = vain != 0;
  }
  wait_list& list_of(select_t& s, unsigned i) { return s.sends ? channels[i]->senders : channels[i]->receivers; }

  // ---- channel_core

  branch_t* take_locked(wait_list& list) {
    while (auto* w = list.take()) {
      auto* const br = static_cast<branch_t*>(w);
      if (static_cast<select_t*>(br->select)->claims.claim(br->number)) return br;
    }
    return nullptr;
  }
  void wake(branch_t* taken) {
    if (taken == nullptr) return;
    select_t& s = *static_cast<select_t*>(taken->select);
    if (own_operations) {
      unsigned const number = taken->number;
      RL_ASSERT(core::complete(*taken));   // armed from the start: a worker runs it
      if (s.claims.event_came(number, [&] { return core::complete(s); })) woken(s);
      return;
    }
    if (core::complete(s)) woken(s);
  }
  void plain_send(unsigned i, int m) {
    channels[i]->lock.lock();
    branch_t* const w = take_locked(channels[i]->receivers);
    if (w != nullptr) {
      w->message = m;
      ++sent;
    }
    channels[i]->lock.unlock();
    wake(w);
  }

  // ---- select.cpp

  bool try_branches(select_t& s, branch_t*& taken) {
    unsigned i = rl::rand(2);
    for (unsigned tried = 0; tried != 2; ++tried, i ^= 1) {
      taken = take_locked(s.sends ? channels[i]->receivers : channels[i]->senders);
      if (taken == nullptr) continue;
      if (s.sends) {
        taken->message = static_cast<int>(10 + i);
        ++sent;
      } else {
        s.branch[i].message = static_cast<int>(10 + i);
        ++sent;
      }
      s.claims.settle(i);
      return true;
    }
    if (s.has_event && event.load(std::memory_order_acquire) == fired) return s.claims.settle(2), true;
    return false;
  }
  void start(select_t& s, core::record& home) {
    s.home = &home;
    run(s);
  }
  void run(select_t& s) {
    if (static_cast<core::branch_word*>(s.home)->stop_requested()) return stop_is_event ? go_on(s) : unwind(s);
    for (auto& c : channels) c->lock.lock();
    branch_t* taken = nullptr;
    if (try_branches(s, taken)) {
      for (auto& c : channels) c->lock.unlock();
      wake(taken);
      return go_on(s);
    }
    for (unsigned i = 0; i != 2; ++i) {
      s.branch[i].select = &s;
      s.branch[i].number = i;
      s.branch[i].home = &s.branch[i].word;
      s.branch[i].word.word_.store(core::of(static_cast<core::operation&>(s.branch[i])), std::memory_order_relaxed);
      list_of(s, i).push_back(s.branch[i]);
    }
    for (auto& c : channels) c->lock.unlock();
    if (s.has_event) {
      s.event.home = &s.event_word;
      s.event_word.word_.store(core::of(s.event), std::memory_order_relaxed);
      std::uintptr_t seen = nobody;
      s.event_enlisted = true;
      if (!event.compare_exchange_strong(seen, core::of(s.event), std::memory_order_acq_rel, std::memory_order_acquire)) {
        s.event_enlisted = false;
        if (s.claims.claim(2)) RL_ASSERT(!core::complete(s));
      }
    }
    switch (core::arm(s)) {
    case core::armed::suspended: return;
    case core::armed::completed: return woken(s);
    case core::armed::stopped:
      if (withdraw(s)) return unwind(s);
      if (core::give_way_arming(s) == core::armed::completed) woken(s);
    }
  }
  std::int32_t take_back_losers(select_t& s) {
    for (unsigned i = 0; i != 2; ++i) {
      if (s.claims.winner() == i) continue;
      channels[i]->lock.lock();
      (void)list_of(s, i).withdraw(s.branch[i]);
      channels[i]->lock.unlock();
    }
    if (!static_cast<bool>(s.event_enlisted) || s.claims.winner() == 2) return 0;
    std::uintptr_t expected = core::of(s.event);
    return event.compare_exchange_strong(expected, nobody, std::memory_order_acq_rel, std::memory_order_relaxed) ? 0 : 1;
  }
  void woken(select_t& s) {
    using duty = select_core::duty;
    switch (s.claims.woken([&] { return take_back_losers(s); })) {
    case duty::resume: return confirm(s);
    case duty::unwind: return stop_is_event ? go_on(s) : unwind(s);
    case duty::nothing: return;
    }
  }
  void confirm(select_t& s) {
    if (s.claims.winner() != 2 || vain == 0) return go_on(s);
    --vain;
    std::uintptr_t expected = fired;   // somebody else has taken what it was for; the next event is another one
    (void)event.compare_exchange_strong(expected, nobody, std::memory_order_acq_rel, std::memory_order_relaxed);
    s.event_enlisted = false;
    s.claims.reopen();
    run(s);
  }
  bool withdraw(select_t& s) {
    return s.claims.withdraw(stop_is_event, [&] { return take_back_losers(s); }, [&] { return core::complete(s); });
  }
  void event_woken(select_t& s) {
    if (s.claims.event_came(2, [&] { return core::complete(s); })) woken(s);
  }

  // ---- the coroutines

  // Writes to every field: a race with whoever is not through with it.
  void bury(select_t& s) {
    for (auto& br : s.branch) {
      br.select = nullptr;
      br.number = 0;
      br.message = 0;
      br.home = nullptr;
      br.word.word_.store(0, std::memory_order_relaxed);
      br.before = nullptr;
      br.behind = nullptr;
      br.epoch = 0;
    }
    s.event.home = nullptr;
    s.home = nullptr;
    if (&s == &a.get())
      a.destroy();
    else
      b.destroy();
  }
  void go_on(select_t& s) {
    unsigned const won = s.claims.winner();
    if (s.sends) {
      RL_ASSERT(++b_delivered == 1 && won < 2);
      return bury(s);
    }
    RL_ASSERT(++delivered + unwound == 1);
    if (won == select_core::nobody) {
      RL_ASSERT(stop_comes && stop_is_event);
    } else if (won == 2) {
      RL_ASSERT(event_comes && s.has_event);
    } else {
      message = s.branch[won].message;
      RL_ASSERT(message == 10 + static_cast<int>(won) || message == 20 + static_cast<int>(won));
      ++received;
    }
    bury(s);
  }
  void unwind(select_t& s) {
    RL_ASSERT(&s == &a.get() && stop_comes && !stop_is_event);
    RL_ASSERT(delivered + ++unwound == 1);
    bury(s);
  }

  struct sink {
    model& m;
    void stopping(core::operation& o) {   // the requester's thread plays the worker as well
      auto& s = static_cast<select_t&>(o);
      switch (core::dispatch_stopping(o, [&] { return m.withdraw(s); })) {
      case core::armed::completed: return m.woken(s);
      case core::armed::stopped: return m.unwind(s);
      case core::armed::suspended: return;
      }
    }
    void ended(core::scope&) { RL_ASSERT(false); }
    void more(core::record&) { RL_ASSERT(false); }
  };

  void thread(unsigned t) {
    switch (t) {
    case 0: return start(a.get(), home_a.get());
    case 1: return b_is_select ? start(b.get(), home_b.get()) : plain_send(1, 21);
    case 2:
      if (plain_comes) plain_send(0, 20);
      return;
    case 3: {
      for (int times = event_comes ? 1 + vain : 0; times != 0; --times) {
        std::uintptr_t const was = event.exchange(fired, std::memory_order_acq_rel);
        if (was == nobody || was == fired) continue;
        auto& o = *reinterpret_cast<core::operation*>(was);
        select_t& s = a.get();
        if (core::complete(o)) event_woken(s);   // as an item, run by a worker
      }
      return;
    }
    case 4:
      if (stop_comes) {
        sink k{*this};
        core::request(home_a.get(), k);
      }
    }
  }

  void after() {
    RL_ASSERT(sent == received);
    if (stop_comes || (event_comes && a_has_event && !was_vain)) RL_ASSERT(delivered + unwound == 1);
    if (b_delivered) RL_ASSERT(received == 1 && message < 20);
    // Who still waits is in its lists, and nobody has claimed it.
    if (delivered + unwound == 0) RL_ASSERT(a->claims.outcome() == select_core::open);
    if (b_is_select && b_delivered == 0) RL_ASSERT(b->claims.outcome() == select_core::open);
    if (delivered + unwound == 0) a.destroy();
    if (b_delivered == 0) b.destroy();
    home_a.destroy();
    home_b.destroy();
    for (auto& c : channels) c.destroy();
  }
};

} // namespace

int main(int argc, char** argv) { return simulate<model>(argc, argv); }
