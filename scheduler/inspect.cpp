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
  std::uint64_t id, parent;
  std::source_location site;
  char const* waits_for;
  bool stopped;
  std::array<char, 48> name;
  std::size_t branches = 0;   // lines
  bool branches_cut = false;
};

task_view see(task_header const& h) noexcept {
  task_view s{h.id, h.parent_id(), h.site(), waits_for(h), h.stop_requested(), {}};
  char const* const name = h.name();
  for (std::size_t i = 0; i + 1 < s.name.size() && name[i] != 0; ++i) s.name[i] = name[i];
  return s;
}

// A branch below a task's word, or (what null) how many there are beside those that wait.
struct branch_view {
  char const* what;
  unsigned depth, others;
};

// What the branches below a task's word wait for. Each scope is held against its end while its records are read, as by the walk of a stop (stop_core.hpp,
// INV-STOP-7); where a walk is under way it does not look. Allocates nothing, and so it may be used while blocks are visited.
class branch_looker {
public:
  branch_looker(scheduler& s, std::vector<branch_view>* to) noexcept : scheduler_(s), to_(to) {}
  // Up to `most` lines; false: there are more. Without a place to put them it only counts.
  bool look(branch_word& word) noexcept {
    left_ = most;
    cut_ = false;
    stop_sink sink(scheduler_);
    go_into(word, true);
    while (depth_ != 0) {
      level& l = levels_[depth_ - 1];
      if (core::record* const r = l.at; r != nullptr && !cut_) {
        l.at = r->next;
        see(static_cast<branch_record&>(*r), l);
      } else {
        if (l.others != 0) put({nullptr, depth_, l.others});
        core::leave_look(*l.word, l.scope, sink, stop_sink::requester_allowance);
        --depth_;
      }
    }
    return !cut_;
  }
  std::size_t lines() const noexcept { return lines_; }

private:
  static constexpr unsigned deepest = 32, most = 1000;   // guesses: what a person reads of one task
  struct level {
    branch_word* word;   // held
    core::sight scope;
    core::record* at;
    unsigned others;     // records outlive their branches
  };

  void go_into(branch_word& word, bool calm) noexcept {
    core::sight s = core::look_into(word, calm);
    if (s.at == nullptr) return;
    core::record* const first = core::look_at(s);
    levels_[depth_++] = {&word, s, first, 0};
  }
  void see(branch_record& r, level& l) noexcept {
    std::uintptr_t const w = r.word_.load(std::memory_order_acquire);
    if ((w & ~core::word_bits) == 0) {
      ++l.others;
      return;
    }
    operation_kind const* const kind = r.notes.waits_for();
    put({w & core::inner ? "its branches" : kind != nullptr ? kind->what : "an operation", depth_, 0});
    if (!cut_ && depth_ != deepest) go_into(r, l.scope.calm);
  }
  void put(branch_view const& v) noexcept {
    if (left_ == 0 || (to_ != nullptr && to_->size() == to_->capacity())) {
      cut_ = true;
      return;
    }
    --left_;
    ++lines_;
    if (to_ != nullptr) to_->push_back(v);
  }

  scheduler& scheduler_;
  std::vector<branch_view>* const to_;
  level levels_[deepest];
  unsigned depth_ = 0, left_ = 0;
  std::size_t lines_ = 0;
  bool cut_ = false;
};

void write(std::ostream& out, branch_view const& b) {
  out << std::string(std::size_t{2} * b.depth, ' ');
  if (b.what != nullptr)
    out << "branch waits for: " << b.what << '\n';
  else
    out << b.others << " more: running, queued or ended\n";
}

struct all_tasks {
  std::vector<task_view> tasks;
  std::vector<branch_view> branches;
};

// `s`: of the tasks; null: without their branches.
all_tasks see_all(std::uint16_t owner, scheduler* s) {
  // Counted first, so that nothing is allocated while blocks are visited; tasks and branches that come in between may be left out.
  all_tasks all;
  std::size_t n = 0, lines = 0;
  for_each_task(owner, [&](task_header& h) {
    ++n;
    if (s == nullptr) return;
    branch_looker l(*s, nullptr);
    (void)l.look(h);
    lines += l.lines();
  });
  all.tasks.reserve(n + n / 8 + 16);
  all.branches.reserve(s == nullptr ? 0 : lines + lines / 8 + 16);
  for_each_task(owner, [&](task_header& h) {
    if (all.tasks.size() == all.tasks.capacity()) return;
    all.tasks.push_back(see(h));
    if (s == nullptr) return;
    task_view& t = all.tasks.back();
    branch_looker l(*s, &all.branches);
    t.branches_cut = !l.look(h);
    t.branches = l.lines();
  });
  return all;
}

} // namespace

std::vector<survivor> runtime_core::survivors() {
  std::vector<survivor> all;
  for (task_view const& s : see_all(index(), nullptr).tasks) all.push_back({s.id, s.name.data(), s.site, s.waits_for});
  return all;
}

std::vector<unfinished_work> runtime_core::unfinished() {
  std::vector<unfinished_work> all;
  for (running_work& w : blocking_.running()) all.push_back({w.task_id, std::move(w.task_name), w.spawned_at, w.running_for, w.abandoned});
  return all;
}

void runtime_core::dump(std::ostream& out) {
  all_tasks const all = see_all(index(), this);
  branch_view const* branch = all.branches.data();
  for (task_view const& s : all.tasks) {
    out << "task " << s.id;
    if (s.name[0] != 0) out << " '" << s.name.data() << '\'';
    out << " spawned at " << s.site.file_name() << ':' << s.site.line();
    if (s.parent != 0) out << " by task " << s.parent;
    out << ", waits for: " << s.waits_for << (s.stopped ? ", stop requested" : "") << '\n';
    for (std::size_t i = 0; i != s.branches; ++i) write(out, *branch++);
    if (s.branches_cut) out << "  ..\n";
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
