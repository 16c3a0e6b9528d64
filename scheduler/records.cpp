// SPDX-License-Identifier: Apache-2.0
// Records of branches that suspend: made at the first suspension, linked into their scope's list from the inside out, freed when the scope has ended.
// detail/stop_core.hpp has the protocol (INV-STOP-3 and 4).
//
// Who may call: the worker that runs the branch in question; free_records() whoever goes on with the scope's parent.
#include "skua/detail/join.hpp"
#include "scheduler/scheduler.hpp"
#include <atomic>
#include <new>
#include <utility>

namespace skua::detail {

namespace {

constexpr std::size_t record_size = 64;

void* allocate_record() { return tl.pool.allocate(record_size); }
void free_record(void* r) noexcept { tl.pool.deallocate(r, record_size); }

branch_record* make_record(void* at, promise_base& b) noexcept {
  auto* r = ::new (at) branch_record;
  r->branch = &b;
  r->up = b.up;
  r->out = b.out;
  // release: the record's fields, to another branch below that looks through up_of().
  std::atomic_ref<std::uintptr_t>(b.up).store(reinterpret_cast<std::uintptr_t>(r) | tag::observed, std::memory_order_release);
  return r;
}

// How many records a first suspension in `b` may need: an upper bound, for lists only become non-empty and records only appear.
std::size_t records_needed(promise_base& b) noexcept {
  std::size_t n = 1;
  std::uintptr_t up = b.up;
  for (;;) {
    join_base& j = join_at(up);
    if (core::list(j.head.load(std::memory_order_relaxed)) != nullptr) return n;
    up = up_of(*j.parent_branch);
    if (word_if_any(up) != nullptr) return n;
    ++n;
  }
}

// Blocks for records, taken before any effect; what is left over goes back.
class record_reserve {
public:
  explicit record_reserve(std::size_t n) {
    for (; n != 0; --n) {
      void* p;
      try {
        p = allocate_record();
      } catch (...) {
        release();
        throw;
      }
      *static_cast<void**>(p) = first_;
      first_ = p;
    }
  }
  ~record_reserve() { release(); }
  record_reserve(record_reserve const&) = delete;
  void* take() noexcept {
    SKUA_CHECK(first_ != nullptr, "records_needed() is an upper bound");
    return std::exchange(first_, *static_cast<void**>(first_));
  }

private:
  void release() noexcept {
    while (first_ != nullptr) free_record(take());
  }
  void* first_ = nullptr;
};

// What core::enter needs to know of the tree. A scope's parent branch waits in it, so only the one branch that made the scope's list
// non-empty comes here for it.
struct tree_above {
  record_reserve& reserve;
  struct place {
    core::branch_word* word;
    core::scope* outer;
  };
  place above(core::scope& s) noexcept {
    promise_base& b = *static_cast<join_base&>(s).parent_branch;
    std::uintptr_t const up = up_of(b);
    if (branch_word* w = word_if_any(up)) return {w, nullptr};
    return {make_record(reserve.take(), b), &join_at(up)};
  }
};

void link_record(join_base& j, branch_record& r, record_reserve& reserve) noexcept {
  tree_above tree{reserve};
  stop_sink sink(*tl.owner);
  core::enter(j, r, tree, sink);
}

} // namespace

branch_word& make_word(promise_base& b) {
  record_reserve reserve(records_needed(b));
  join_base& j = join_at(b.up);
  branch_record* r = make_record(reserve.take(), b);
  link_record(j, *r, reserve);
  return *r;
}

void link_race_records(join_base& j, void* const* frames, std::size_t n) {
  record_reserve reserve(n - 1 + records_needed(promise_at(frames[0])));
  for (std::size_t i = 0; i < n; ++i) {
    branch_record* r = make_record(reserve.take(), promise_at(frames[i]));
    r->notes.enter_race();
    link_record(j, *r, reserve);
  }
}

void free_records(join_base& j) noexcept {
  core::record* r = core::list(j.head.load(std::memory_order_relaxed));
  while (r != nullptr) {
    core::record* const next = r->next;
    auto* mine = static_cast<branch_record*>(r);
    mine->~branch_record();
    free_record(mine);
    r = next;
  }
}

} // namespace skua::detail
