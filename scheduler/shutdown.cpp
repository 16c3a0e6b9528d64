// SPDX-License-Identifier: Apache-2.0
// The end of a runtime, and the list of its tasks. runtime_core.hpp has the protocol; detail/task_header.hpp INV-TASK-1 and 2.
#include "scheduler/runtime_core.hpp"
#include "skua/detail/embedding.hpp"
#include "skua/detail/frame_pool.hpp"
#include "skua/detail/operation.hpp"
#include <array>
#include <ostream>
#include <thread>

namespace skua::detail {

namespace {

// Calls f(task_header&) for every task of the runtime that has not ended, while no block changes its owner, and none that f is given is freed
// (INV-TASK-3). f must not allocate or free tasks.
template <class F>
void for_each_task(std::uint16_t owner, F f) {
  for_each_task_block([&](void* block, std::size_t) {
    auto& h = *static_cast<task_header*>(block);
    if (h.state.ended()) return;
    // acquire: pairs with init_header(). Never 0: a block that was never used says 0, and `running`.
    if (h.owner_index.load(std::memory_order_acquire) == owner) f(h);
  });
}

// What the task's root branch waits for. A hint: the task runs on meanwhile, so nothing is followed that could die.
char const* waits_for(task_header const& h) noexcept {
  std::uintptr_t const w = h.word_.load(std::memory_order_acquire);
  if ((w & ~core::word_bits) == 0) return "running or queued";
  if (w & core::inner) return "its branches";
  auto& link = const_cast<item&>(h.link);
  item const kind = std::atomic_ref<item>(link).load(std::memory_order_acquire);
  return kind != 0 ? reinterpret_cast<operation_kind const*>(kind)->what : "an operation";
}

struct task_view {
  std::uint64_t id, parent;
  std::source_location site;
  char const* waits_for;
  bool stopped;
  std::array<char, 48> name;
};

task_view see(task_header const& h) noexcept {
  task_view s{h.id, h.parent_id(), h.site, waits_for(h), h.stop_requested(), {}};
  char const* const name = h.name();
  for (std::size_t i = 0; i + 1 < s.name.size() && name[i] != 0; ++i) s.name[i] = name[i];
  return s;
}

std::vector<task_view> see_all(std::uint16_t owner) {
  // Counted first, so that nothing is allocated while blocks are visited; tasks that come in between are left out.
  std::vector<task_view> all;
  std::size_t n = 0;
  for_each_task(owner, [&](task_header&) { ++n; });
  all.reserve(n + n / 8 + 16);
  for_each_task(owner, [&](task_header& h) {
    if (all.size() < all.capacity()) all.push_back(see(h));
  });
  return all;
}

} // namespace

void runtime_core::stop_all_tasks() noexcept {
  // Each is counted in the attention word until its task has ended: it may compute for long before its next checkpoint (S1). A task of a group hears of it
  // from its group, that is, not behind a shield: the stop of a root does not come in there, and neither does this (S15).
  for_each_task(index(), [](task_header& h) {
    if (h.kind->scope == nullptr) request_stop(h, stop_reason::shutdown);
  });
}

void runtime_core::close() noexcept {
  accepting_.store(false, std::memory_order_seq_cst);   // INV-SHUTDOWN-2
  while (entering_.load(std::memory_order_seq_cst) != 0) std::this_thread::yield();
}

bool runtime_core::wait_quiescent(std::chrono::steady_clock::time_point until) noexcept {
  // No task tells us that it was the last: that would cost every task. So look again and again, at first soon.
  auto pause = std::chrono::microseconds(20);
  while (!quiescent()) {
    if (std::chrono::steady_clock::now() >= until) return false;
    std::this_thread::sleep_for(pause);
    pause = std::min(2 * pause, std::chrono::microseconds(2000));
    stop_all_tasks();   // where the kernel refuses membarrier one walk may have missed a task (INV-SHUTDOWN-3)
  }
  return true;
}

std::vector<survivor> runtime_core::survivors() {
  std::vector<survivor> all;
  for (task_view const& s : see_all(index())) all.push_back({s.id, s.name.data(), s.site, s.waits_for});
  return all;
}

shutdown_report runtime_core::shutdown_within(std::chrono::nanoseconds limit) {
  close();
  auto const now = std::chrono::steady_clock::now();
  auto const until = limit > std::chrono::hours(24 * 365) ? now + std::chrono::hours(24 * 365) : now + limit;
  begin_to_end();
  raise_attention();   // so that every task sees its stop at its next checkpoint, and every spawn that the runtime is ending
  stop_all_tasks();
  bool const ended = wait_quiescent(until);
  lower_attention();
  if (ended) return {};
  return {survivors()};
}

void runtime_core::dump(std::ostream& out) {
  for (task_view const& s : see_all(index())) {
    out << "task " << s.id;
    if (s.name[0] != 0) out << " '" << s.name.data() << '\'';
    out << " spawned at " << s.site.file_name() << ':' << s.site.line();
    if (s.parent != 0) out << " by task " << s.parent;
    out << ", waits for: " << s.waits_for << (s.stopped ? ", stop requested" : "") << '\n';
  }
}

} // namespace skua::detail
