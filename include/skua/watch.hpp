// SPDX-License-Identifier: Apache-2.0
// watch: the latest value, and word that it has changed. For configuration, leaders, progress.
//
//     skua::watch<config> current(load());
//     skua::spawn_detached(serve, current.subscribe());       // while (co_await rx.changed()) apply(rx.get());
//     current.set(load());
//
// A value, its version and those who wait for another version, under one lock. Intermediate values may be passed over; the last one never is.
#pragma once
#include "broadcast.hpp"
#include "task.hpp"
#include "this_task.hpp"
#include <atomic>
#include <coroutine>
#include <cstdint>
#include <optional>
#include <utility>

namespace skua {

namespace detail {

template <class T>
class watch_state {
public:
  using cell = shared_cell<T>;
  explicit watch_state(cell&& v) noexcept : value_(std::in_place, std::move(v)) {}

  bool set(cell v) noexcept {
    std::optional<cell> old;   // destroyed without the lock
    waiter_ring woken;
    {
      locked_scope const g(lock_);
      if (closed_) return false;
      move_cell(value_, old);
      value_.emplace(std::move(v));
      ++version_;
      woken.append(waiting_.take_all());
    }
    wake(std::move(woken));
    return true;
  }
  T get(std::uint64_t* version) const {
    std::optional<cell> copy;
    {
      locked_scope const g(lock_);
      copy.emplace(*value_);
      if (version != nullptr) *version = version_;
    }
    return out_of_shared_cell<T>(std::move(*copy));
  }
  void close() noexcept {
    references_.fetch_add(1, std::memory_order_relaxed);
    waiter_ring woken;
    {
      locked_scope const g(lock_);
      closed_ = true;
      woken.append(waiting_.take_all());
    }
    wake(std::move(woken));
    release();
  }
  // relaxed: who copies has one. acq_rel: what was done through other handles happens before the end.
  void add_sender() noexcept {
    add_receiver();
    senders_.fetch_add(1, std::memory_order_relaxed);
  }
  void drop_sender() noexcept {
    if (senders_.fetch_sub(1, std::memory_order_acq_rel) == 1) close();
    release();
  }
  void add_receiver() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
  void release() noexcept {
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }

  mutable spin_lock<> lock_;
  bool closed_ = false;
  std::uint64_t version_ = 1;
  wait_list waiting_;

private:
  std::optional<cell> value_;
  std::atomic<std::uint32_t> references_{0}, senders_{0};
};

} // namespace detail

template <class T>
class watch;

// Sees the values of a watch. Copies have seen what the original has seen.
//
// Thread safety: one task at a time. Lifetime: must outlive its changed(), and not be moved or assigned to meanwhile (checked).
template <class T>
class watch_receiver {
  using state = detail::watch_state<T>;

public:
  using value_type = T;
  watch_receiver() noexcept = default;
  watch_receiver(watch_receiver const& o) noexcept : state_(o.state_), seen_(o.seen_) {
    if (state_ != nullptr) state_->add_receiver();
  }
  watch_receiver(watch_receiver&& o) noexcept : seen_(o.seen_) {
    o.check_unused();
    state_ = std::exchange(o.state_, nullptr);
  }
  watch_receiver& operator=(watch_receiver o) noexcept {
    check_unused();
    std::swap(state_, o.state_);
    std::swap(seen_, o.seen_);
    return *this;
  }
  ~watch_receiver() {
    check_unused();
    if (state_ != nullptr) state_->release();
  }

  // A copy of the latest value, which counts as seen. Errors: what copying T throws.
  T get() { return at().get(&seen_); }
  // The same, but it does not count as seen.
  T peek() const { return at().get(nullptr); }

  class [[nodiscard("changed() does nothing until it is awaited")]] awaiter : public detail::sync_awaiter<awaiter> {
    using base = detail::sync_awaiter<awaiter>;

  public:
    // For skua's own parts.
    struct parts_type {
      watch_receiver& of;
    };
    static constexpr bool gives_out = false;
    parts_type parts() const noexcept { return {receiver_}; }
    explicit awaiter(parts_type p) noexcept : base(this_kind), receiver_(p.of) {}
    bool await_resume() const noexcept {
      state& s = *receiver_.state_;   // the receiver keeps it
      detail::locked_scope const g(s.lock_);
      receiver_.awaited_at_ = 0;
      return std::exchange(receiver_.seen_, s.version_) != s.version_;
    }

  protected:
    // Who is in the list waits for another version than this one: set() and close() take everybody out.
    void enlist_now() noexcept {
      receiver_.awaited_at_ = receiver_.state_->version_;
      list().push_back(*this);
    }

  private:
    friend base;
    static bool withdraw(detail::operation& op) noexcept {
      awaiter& self = base::from(op);
      detail::locked_scope const g(self.lock());
      if (!self.list().withdraw(self)) return false;
      self.receiver_.awaited_at_ = 0;
      return true;
    }
    detail::spin_lock<>& lock() noexcept { return receiver_.state_->lock_; }
    detail::wait_list& list() noexcept { return receiver_.state_->waiting_; }
    bool take() noexcept { return receiver_.state_->version_ != receiver_.seen_ || receiver_.state_->closed_; }
    static constexpr detail::operation_kind this_kind{"watch", withdraw};
    watch_receiver& receiver_;
  };
  // Waits until there is a value that was not seen, which then counts as seen. False: there is none, and none will come: all senders are gone.
  // Stop: a suspension point; the change is seen the next time. Errors: bad_alloc at a branch's first suspension.
  awaiter changed() {
    (void)at();
    return awaiter(typename awaiter::parts_type{*this});
  }
  // Waits for a value of which predicate(value) is true, beginning with the one that is there. None: all senders are gone.
  // A coroutine: costs its frame. Stop: a suspension point on entry and wherever it waits; the value that is there on entry then does not count as seen.
  template <class Predicate>
  task<std::optional<T>> wait_for(Predicate predicate) {
    co_await this_task::checkpoint();   // S1: before anything counts as seen
    do {
      T v = get();
      if (predicate(std::as_const(v))) co_return std::optional<T>(std::move(v));
    } while (co_await changed());
    co_return std::nullopt;
  }

private:
  friend class watch<T>;
  watch_receiver(state& s, std::uint64_t seen) noexcept : state_(&s), seen_(seen) { s.add_receiver(); }
  state& at() const {
    if (state_ == nullptr) detail::channel_misused();
    return *state_;
  }
  void check_unused() noexcept {
    std::uint64_t const at = std::exchange(awaited_at_, 0);
    if (at == 0) [[likely]] return;
    detail::locked_scope const g(state_->lock_);
    SKUA_CHECK(at != state_->version_ || state_->closed_, "a watch_receiver was destroyed, moved or assigned to while a task waits at it");
  }
  state* state_ = nullptr;
  std::uint64_t seen_ = 0;
  std::uint64_t awaited_at_ = 0;   // under the lock: the version at which a changed() was put into the list; 0: none, or it has come back
};

// The side that sets: a handle on shared state. When the last copy is gone, receivers are told.
//
// Thread safety: set(), get(), subscribe() from any thread, be it the runtime's or not, at once; one handle object is copied, assigned and destroyed by one
// at a time. Stop: none: setting is no suspension point.
template <class T>
class watch {
  static_assert(std::is_object_v<T> && std::is_copy_constructible_v<T>, "a watch holds an object that can be copied");
  using state = detail::watch_state<T>;

public:
  using value_type = T;
  explicit watch(T initial) : state_(new state(detail::to_shared_cell<T>(std::move(initial)))) { state_->add_sender(); }
  watch(watch const& o) noexcept : state_(o.state_) {
    if (state_ != nullptr) state_->add_sender();
  }
  watch(watch&& o) noexcept : state_(std::exchange(o.state_, nullptr)) {}
  watch& operator=(watch o) noexcept {
    std::swap(state_, o.state_);
    return *this;
  }
  ~watch() {
    if (state_ != nullptr) state_->drop_sender();
  }

  // Replaces the value and wakes everybody who waits for a change. Errors: bad_alloc, what T's move throws: then nothing has changed.
  void set(T v) const { (void)at().set(detail::to_shared_cell<T>(std::move(v))); }
  T get() const { return at().get(nullptr); }
  // A receiver that has seen the value of now.
  watch_receiver<T> subscribe() const {
    detail::locked_scope const g(at().lock_);
    return watch_receiver<T>(at(), at().version_);
  }

private:
  state& at() const {
    if (state_ == nullptr) detail::channel_misused();
    return *state_;
  }
  state* state_ = nullptr;
};

} // namespace skua
