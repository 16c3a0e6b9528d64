// SPDX-License-Identifier: Apache-2.0
// branches: a when_all whose tasks are added one by one, at most N of them, without an allocation.
//
//     skua::branches<unsigned, 16> children;
//     for (column c : safe_columns(board)) children.add(solve(place(board, c)));
//     co_await children;
//     for (unsigned n : children) sum += n;
//
// Everything that when_all says of its branches holds for these: detail/join.hpp has the join. They start when `children` is awaited, not when
// they are added.
//
// Thread safety: on workers only, by the coroutine that has it as a local variable; add() also elsewhere.
// Stop: as when_all: the fork is a suspension point; a stop reaches every branch, all are awaited.
// Errors: add(): usage_error if there are N already, after the await, or for an empty task. The await: what a branch throws (the first failure in time;
// there are no values then), bad_alloc before any branch has started, usage_error the second time.
// Lifetime: must not move: a local variable. Destroying it without an await destroys the tasks, which never began.
#pragma once
#include "error.hpp"
#include "when_all.hpp"
#include <array>
#include <coroutine>
#include <cstddef>
#include <memory>
#include <type_traits>

namespace skua {

template <class T, std::size_t N>
class branches : detail::join_for<detail::have_destructors<detail::stored<T>>> {
  static_assert(N > 0, "branches: at most how many?");
  static_assert(std::is_object_v<T>, "branches of void or of references: use when_all");
  static constexpr bool typed = detail::have_destructors<T>;

public:
  branches() noexcept = default;
  branches(branches const&) = delete;
  ~branches() {
    if (state_ == state::adding)
      for (std::size_t i = 0; i != size_; ++i) detail::handle_of(slots_[i].frame).destroy();
    if (state_ == state::ended) destroy_values();
  }

  void add(task<T> t) {
    if (state_ != state::adding || size_ == N || !t) [[unlikely]] misused(t);
    slots_[size_++].frame = t.release();
  }

  // How many were added; after the await also: how many values there are.
  std::size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }
  static constexpr std::size_t capacity() noexcept { return N; }

  // After the await: the results, in the order in which the tasks were added.
  T& operator[](std::size_t i) noexcept {
    SKUA_DCHECK(state_ == state::ended && i < size_, "a result that is not there");
    return slots_[i].value;
  }
  class iterator {
  public:
    using value_type = T;
    using difference_type = std::ptrdiff_t;
    iterator() noexcept = default;
    T& operator*() const noexcept { return at_->value; }
    T* operator->() const noexcept { return std::addressof(at_->value); }
    iterator& operator++() noexcept { return ++at_, *this; }
    iterator operator++(int) noexcept { return iterator(at_++); }
    bool operator==(iterator const&) const noexcept = default;

  private:
    friend branches;
    explicit iterator(detail::branch_slot<T>* at) noexcept : at_(at) {}
    detail::branch_slot<T>* at_ = nullptr;
  };
  iterator begin() noexcept { return iterator(slots_.data()); }
  iterator end() noexcept { return iterator(slots_.data() + (state_ == state::ended ? size_ : 0)); }

  class awaiter {
  public:
    explicit awaiter(branches& b) noexcept : all_(b) {}
    bool await_ready() const {
      if (all_.state_ != state::adding) [[unlikely]] detail::task_awaited_twice();
      return all_.empty() && !detail::attention();
    }
    SKUA_INLINE std::coroutine_handle<> await_suspend(detail::own_coroutine h) {
      if (all_.empty()) return detail::through_empty_fork(h);
      if (!detail::tl.queue.try_reserve(static_cast<std::int64_t>(all_.size_))) [[unlikely]] detail::throw_bad_alloc();
      if (detail::attention()) [[unlikely]]
        return detail::fork_with_attention(h, detail::stopped_at_fork(), [&] { return all_.start(h); });
      return all_.start(h);
    }
    SKUA_INLINE void await_resume() {
      if (!all_.empty() && all_.head.load(std::memory_order_relaxed) != 0) [[unlikely]] all_.settle();
      all_.state_ = state::ended;
    }

  private:
    branches& all_;
  };
  awaiter operator co_await() & noexcept { return awaiter(*this); }

private:
  // running: also after a failure or a stop; there is nothing to destroy then.
  enum class state : unsigned char { adding, running, ended };

  [[noreturn]] SKUA_COLD void misused(task<T> const& t) const {
    if (!t) detail::task_awaited_twice();
    throw usage_error(state_ == state::adding ? "skua: branches::add(): it is full" : "skua: branches::add() after they were awaited");
  }
  SKUA_INLINE std::coroutine_handle<> start(std::coroutine_handle<> h) noexcept {
    if constexpr (typed) this->discard = discard_values;
    state_ = state::running;
    return detail::start_branches(
        *this, detail::initial_head<typed>, h.address(), size_, [this](std::size_t i) { return slots_[i].frame; },
        [this](std::size_t i) -> void* { return &slots_[i]; });
  }
  SKUA_COLD void settle() {
    if (!detail::any_failed(*this)) return detail::free_records(*this);
    discard_values(*this);
    detail::rethrow_first_failure(*this);
  }
  void destroy_values() noexcept {
    if constexpr (typed)
      for (std::size_t i = 0; i != size_; ++i) slots_[i].value.~T();
  }
  static void discard_values(detail::join_base& j) noexcept {
    if constexpr (typed) {
      auto& b = static_cast<branches&>(j);
      for (std::size_t i = 0; i != b.size_; ++i)
        if (detail::slot_has_value(j, &b.slots_[i])) b.slots_[i].value.~T();
    }
  }

  state state_ = state::adding;
  std::size_t size_ = 0;
  std::array<detail::branch_slot<T>, N> slots_;
};

} // namespace skua
