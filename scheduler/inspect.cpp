// SPDX-License-Identifier: Apache-2.0
// What a runtime is doing: its tasks, what each waits for, blocking work.
#include "scheduler/runtime_core.hpp"
#include "scheduler/task_list.hpp"
#include "skua/detail/operation.hpp"
#include <array>
#include <chrono>
#include <ostream>
#include <string>

namespace skua::detail {

namespace {

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
  task_header const* header;   // of no use once the blocks are let go, but for write_branches()
  std::uint64_t id, parent;
  std::source_location site;
  char const* waits_for;
  bool stopped;
  std::array<char, 48> name;
};

task_view see(task_header const& h) noexcept {
  task_view s{&h, h.id, h.parent_id(), h.site, waits_for(h), h.stop_requested(), {}};
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

// What the branches below a word wait for, each on a line of its own, further in the deeper it is. By the only worker of a runtime: frames, scopes and
// records go away on workers alone, and it is here. (With several, whoever looks would have to hold each scope against its end, as the walk of a stop does.)
class branch_lines {
public:
  explicit branch_lines(std::ostream& out) noexcept : out_(out) {}
  void below(branch_word const& word, unsigned depth) {
    std::uintptr_t const w = word.word_.load(std::memory_order_acquire);
    if ((w & core::inner) == 0) return;
    auto const& scope = *reinterpret_cast<core::scope const*>(w & ~core::word_bits);
    unsigned others = 0;   // a record outlives its branch
    for (core::record const* r = core::list(scope.head.load(std::memory_order_acquire)); r != nullptr; r = r->next) {
      std::uintptr_t const at = r->word_.load(std::memory_order_acquire);
      auto const* const what = reinterpret_cast<core::operation const*>(at & ~core::word_bits);
      if (what == nullptr) {
        ++others;
      } else if (left_ != 0 && depth <= deepest) {
        --left_;
        line(depth) << "branch waits for: " << (at & core::inner ? "its branches" : static_cast<operation const*>(what)->kind->what) << '\n';
        below(*r, depth + 1);
      } else {
        cut_ = true;
      }
    }
    if (others != 0 && left_ != 0) line(depth) << others << " more: running, queued or ended\n";
    if (depth == 1 && cut_) line(1) << "..\n";
  }

private:
  static constexpr unsigned deepest = 32;   // a guess: what a person reads, and no risk for the stack
  std::ostream& line(unsigned depth) { return out_ << std::string(std::size_t{2} * depth, ' '); }
  std::ostream& out_;
  unsigned left_ = 1000;                    // lines
  bool cut_ = false;
};

} // namespace

std::vector<survivor> runtime_core::survivors() {
  std::vector<survivor> all;
  for (task_view const& s : see_all(index())) all.push_back({s.id, s.name.data(), s.site, s.waits_for});
  return all;
}

std::vector<unfinished_work> runtime_core::unfinished() {
  std::vector<unfinished_work> all;
  for (running_work& w : blocking_.running()) all.push_back({w.task_id, std::move(w.task_name), w.spawned_at, w.running_for, w.abandoned});
  return all;
}

void runtime_core::dump(std::ostream& out) {
  bool const alone = tl.owner == this && worker_count() == 1;   // nothing runs but the caller
  for (task_view const& s : see_all(index())) {
    out << "task " << s.id;
    if (s.name[0] != 0) out << " '" << s.name.data() << '\'';
    out << " spawned at " << s.site.file_name() << ':' << s.site.line();
    if (s.parent != 0) out << " by task " << s.parent;
    out << ", waits for: " << s.waits_for << (s.stopped ? ", stop requested" : "") << '\n';
    if (alone) branch_lines(out).below(*s.header, 1);
  }
  for (unfinished_work const& w : unfinished()) {
    out << "blocking work";
    if (w.task_id != 0) out << " of task " << w.task_id;
    if (!w.task_name.empty()) out << " '" << w.task_name << '\'';
    if (w.task_id != 0) out << " spawned at " << w.spawned_at.file_name() << ':' << w.spawned_at.line();
    out << ", runs for " << std::chrono::duration_cast<std::chrono::milliseconds>(w.running_for).count() << " ms" << (w.abandoned ? ", abandoned\n" : "\n");
  }
}

} // namespace skua::detail
