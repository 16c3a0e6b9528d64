// SPDX-License-Identifier: Apache-2.0
// A program that cannot go on under virtual time, and the outside work that keeps it from being taken for one. docs/virtual-time.md says what a user sees.
//
// The driver notices it: at rest, no alarm, and so for options::stuck_after. If a thread waits in block_on(), it is told, with a list of the tasks, and every
// task is stopped, so that what the thread waits for ends. Tasks that cannot be stopped (a shield that waits for ever) leave it stuck a second time: then
// the process ends.
#include "scheduler/runtime_core.hpp"
#include "scheduler/task_list.hpp"
#include "skua/error.hpp"
#include "skua/outside_work.hpp"
#include <cstdio>
#include <cstdlib>
#include <sstream>

namespace skua {

namespace detail {

namespace {

std::string describe(runtime_core& c, char const* what) {
  std::ostringstream out;
  out << "skua: stuck: no task can run, no timer is set, and no outside work is under way" << what << ". Each task:\n";
  c.dump(out);
  out << "(A thread outside that is going to wake one of them holds a skua::outside_work until then.)";
  return out.str();
}

// Everything rests, and a task that was asked to stop is still there.
bool any_task_stopped(std::uint16_t owner) noexcept {
  bool any = false;
  for_each_task(owner, [&](task_header& h) { any |= h.stop_requested(); });
  return any;
}

} // namespace

void runtime_core::block_until_end(task_header& h) {
  std::uint64_t before;
  {
    std::lock_guard const guard(stuck_.mutex);
    ++stuck_.blocked;
    before = stuck_.times;
  }
  thread_waiter w;
  if (lender() == this) w.counted = &waiting_inside_;
  if (begin_to_wait(h, w)) {
    if (w.counted != nullptr) {   // behind the registration: whoever wakes us takes it back, also before it is there
      waiting_inside_.fetch_add(1, std::memory_order_relaxed);
      driver_->note_rest();
    }
    sleep_until_woken(w);
  }
  std::lock_guard const guard(stuck_.mutex);
  --stuck_.blocked;
  if (stuck_.times == before) return;
  h.taken = true;   // whatever it came to when it was stopped: this is the outcome
  throw stuck_error(stuck_.text);
}

void runtime_core::stuck() noexcept {
  if (!at_rest() || quiescent()) return;
  {
    std::lock_guard const guard(stuck_.mutex);
    if (stuck_.blocked == 0) return;
    bool const again = stuck_.times != 0 && any_task_stopped(index());
    try {
      stuck_.text = describe(*this, again ? ", although every task was stopped" : "");
    } catch (...) {
      stuck_.text = "skua: stuck";   // fits into the string itself
    }
    if (again) {
      std::fprintf(stderr, "%s\n", stuck_.text.c_str());
      std::abort();
    }
    ++stuck_.times;
  }
  stop_all_tasks();
}

void block_until_end(runtime_core& c, task_header& h) { c.block_until_end(h); }

} // namespace detail

outside_work::outside_work() {
  if (detail::tl.owner == nullptr) throw usage_error("skua: outside_work() was made on a thread that is no worker; give it the runtime: outside_work(rt)");
  count_ = detail::core_of(*detail::tl.owner).outside();
  count_->begin();
}

outside_work::outside_work(runtime& rt) : count_(rt.core().outside()) { count_->begin(); }

outside_work& outside_work::operator=(outside_work&& o) noexcept {
  if (this != &o) {
    if (count_) count_->end();
    count_ = std::move(o.count_);
  }
  return *this;
}

outside_work::~outside_work() {
  if (count_) count_->end();
}

} // namespace skua
