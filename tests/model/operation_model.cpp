// SPDX-License-Identifier: Apache-2.0
// One operation after the other: the branch arms it, a foreign thread completes it, two threads request stop. The source is a word, like
// that of a joined task: no lock, so the completer may be in flight when the operation is withdrawn. Whoever goes on with a value awaits a
// second operation, which nobody completes: only a stop ends it.
// Checked: INV-STOP-1 (each operation goes on exactly once), INV-STOP-2 (nobody touches the frame afterwards; races on what it holds), S4 (a
// completion that took the operation from its source is delivered, and the next operation sees the stop), no lost stop.
// runs: random 300000, bound2
#include "relacy_sync.hpp"
#include "skua/detail/stop_core.hpp"

namespace {

using core = skua::detail::stop_core<relacy_sync>;

struct frame_t : core::operation {
  relacy_sync::var<int> local{7};    // written by the branch before it suspends
  relacy_sync::var<int> result{0};   // written by the completer
};

struct model : rl::test_suite<model, 4> {
  static constexpr std::uintptr_t nobody = 0, ended = 1;
  mortal<frame_t> frame;
  mortal<core::operation> second;
  mortal<core::record> home;
  mortal<relacy_sync::atomic<std::uintptr_t>> source;
  int delivered = 0, unwound = 0, unwound_second = 0, taken = 0, first_requests = 0;

  void before() {
    frame.make();
    home.make();
    source.make(nobody);
  }

  // Destroys the frame; writes to every field: a race with whoever looked at it and has not handed it over.
  void bury() {
    frame->home = nullptr;
    frame->local = 0;
    frame->result = 0;
    frame.destroy();
  }
  void deliver(bool by_completer) {
    RL_ASSERT(frame->local == 8);
    if (by_completer) RL_ASSERT(frame->result == 42);
    RL_ASSERT(++delivered + unwound == 1);
    bury();
    await_second();
  }
  void unwind() {
    RL_ASSERT(frame->local == 8);
    RL_ASSERT(delivered + ++unwound == 1);
    bury();
  }

  void await_second() {
    core::operation& o = second.make();
    o.home = &home.get();
    if (home->stop_requested()) return unwind_second();
    if (core::arm(o) == core::armed::suspended) return;
    unwind_second();
  }
  void unwind_second() {
    RL_ASSERT(++unwound_second == 1);
    second->home = nullptr;
    second.destroy();
  }

  bool withdraw() {
    std::uintptr_t expected = core::of(frame.get());
    return source->compare_exchange_strong(expected, nobody, std::memory_order_acq_rel, std::memory_order_relaxed);
  }

  struct sink {
    model& m;
    void stopping(core::operation& o) {   // the requester's thread plays the worker as well
      bool const is_first = &o == &m.frame.get();
      switch (core::dispatch_stopping(o, [&] { return is_first ? m.withdraw() : true; })) {
      case core::armed::completed:
        RL_ASSERT(is_first);
        return m.deliver(true);
      case core::armed::stopped: return is_first ? m.unwind() : m.unwind_second();
      case core::armed::suspended: return;
      }
    }
    void ended(core::scope&) { RL_ASSERT(false); }
    void more(core::record&) { RL_ASSERT(false); }
  };

  void suspend() {
    core::operation& o = frame.get();
    frame->local = 8;
    frame->home = &home.get();
    if (home->stop_requested()) return unwind();
    std::uintptr_t seen = nobody;
    if (!source->compare_exchange_strong(seen, core::of(o), std::memory_order_acq_rel, std::memory_order_acquire))
      return deliver(false);   // had ended before: nobody knows of us
    switch (core::arm(o)) {
    case core::armed::suspended: return;
    case core::armed::completed: return deliver(true);
    case core::armed::stopped:
      if (withdraw()) return unwind();
      if (core::give_way_arming(o) == core::armed::completed) deliver(true);
    }
  }
  void complete() {
    std::uintptr_t const was = source->exchange(ended, std::memory_order_acq_rel);
    if (was == nobody) return;
    taken = 1;
    auto& f = *reinterpret_cast<frame_t*>(was);
    f.result = 42;
    if (core::complete(f)) deliver(true);
  }

  void thread(unsigned index) {
    if (index == 0) return suspend();
    if (index == 1) return complete();
    sink s{*this};
    first_requests += core::request(home.get(), s);
  }

  void after() {
    RL_ASSERT(delivered + unwound == 1);
    RL_ASSERT(unwound_second == delivered);
    if (taken) RL_ASSERT(delivered == 1);
    RL_ASSERT(first_requests == 1);
    RL_ASSERT(home->word_.load(std::memory_order_relaxed) == core::stop);
    home.destroy();
    source.destroy();
  }
};

} // namespace

int main(int argc, char** argv) { return simulate<model>(argc, argv); }
