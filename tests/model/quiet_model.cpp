// SPDX-License-Identifier: Apache-2.0
// runs: random 500000, bound2
// Somebody who wants to be told when no task is left; two workers that end theirs, one of which spawns another one for the other. The listener looks after
// listen(), and does not look again. It may leave at once, or when it has been told.
// Checked: INV-QUIET-1 (it has seen that all have ended, or is told; it is not told while one is alive) and INV-QUIET-2 (nobody tells it after ignore()).
#include "relacy_sync.hpp"
#include "scheduler/quiet_bell.hpp"
#include "skua/detail/spin_lock.hpp"

namespace {

using counter = relacy_sync::atomic<std::uint64_t>;
struct counters_t {
  counter spawned{0}, gone{0};
};
struct model;
struct listener_t {
  relacy_sync::var<listener_t*> next{nullptr};
  model* m = nullptr;
  void quiet();
};
using bell_t = skua::detail::quiet_bell<relacy_sync, skua::detail::spin_lock<relacy_sync>, listener_t>;

struct model : rl::test_suite<model, 3> {
  static constexpr int workers = 2;
  mortal<bell_t> bell;
  mortal<listener_t> listener;
  counters_t counters[workers];
  counter outside{2};
  relacy_sync::atomic<int> attention{0}, handed{0};
  bool spawns = false, leaves = false;
  int alive = 2, told = 0;   // as of the order in which it happens
  bool saw = false;

  void before() {
    bell.make();
    listener.make().m = this;
    spawns = rl::rand(2);
    leaves = rl::rand(2);
    outside.store(2, std::memory_order_relaxed);
    attention.store(0, std::memory_order_relaxed);
    handed.store(0, std::memory_order_relaxed);
  }
  bool quiescent() {
    return bell_t::quiescent(
        [this](auto f) {
          for (auto& c : counters) f(c);
        },
        outside);
  }
  void end_task(int w) {   // finish_root()
    --alive;
    skua::detail::add_to_own(counters[w].gone, 1);
    if (attention.load(std::memory_order_relaxed) != 0) bell->look([this] { return quiescent(); });
  }
  void run_handed(int w) {
    if (handed.load(std::memory_order_relaxed) == 1 && handed.exchange(0, std::memory_order_acquire) == 1) end_task(w);
  }

  void thread(unsigned t) {
    if (t == 0) return listen();
    int const w = static_cast<int>(t) - 1;
    if (w == 0 && spawns) {
      ++alive;
      skua::detail::add_to_own(counters[w].spawned, 1);   // before it can end
      handed.store(1, std::memory_order_release);
    }
    end_task(w);
    run_handed(w);
  }
  void listen() {
    bell->listen(listener.get(), [this] { attention.fetch_add(1, std::memory_order_relaxed); }, true);
    saw = quiescent();
    RL_ASSERT(!saw || alive == 0);
    if (!leaves) return;
    attention.fetch_sub(1, std::memory_order_relaxed);
    bell->ignore(listener.get());
    listener.destroy();
  }

  void after() {
    // Whoever came too early for the task that was handed over has left it: it is run now, by nobody who could have been told of it.
    bool const left = handed.load(std::memory_order_relaxed) == 1;
    if (!left) RL_ASSERT(alive == 0 && (saw || told != 0 || leaves));
    if (left) RL_ASSERT(alive == 1 && !saw && told == 0);
    if (!leaves) {
      bell->ignore(listener.get());
      listener.destroy();
    }
    bell.destroy();
  }
};
void listener_t::quiet() {
  RL_ASSERT(m->alive == 0);
  ++m->told;
}

} // namespace

int main(int argc, char** argv) { return simulate<model>(argc, argv); }
