// SPDX-License-Identifier: Apache-2.0
// watch: the latest value, and word that it has changed. For configuration, leaders, progress.
//
//     skua::watch<config> current(load());
//     skua::spawn_detached(serve, current.subscribe());       // while (co_await rx.changed()) apply(rx.get());
//     current.set(load());
//
// detail/watch_core.hpp has the protocol. Intermediate values may be passed over; the last one never is.
#pragma once
#include "channel.hpp"
#include "detail/handle_counts.hpp"
#include "detail/shared_cell.hpp"
#include "detail/waiter.hpp"
#include "detail/watch_core.hpp"
#include "task.hpp"
#include "this_task.hpp"
#include <coroutine>
#include <cstdint>
#include <optional>
#include <utility>

namespace skua {

namespace detail {

template <class T>
struct watch_state {
  using cell = shared_cell<T>;
  watch_core<runtime_waiting, cell> core;
  handle_counts<real_sync> handles;

  explicit watch_state(cell&& v) noexcept : core(std::move(v)) {}
  void set(cell v) noexcept {
    std::optional<cell> old;   // destroyed without the lock
    waiter_ring woken;
    core.set(std::move(v), old, woken);
    wake(std::move(woken));
  }
  // `by`: it counts as seen, once it was copied; null: by nobody.
  T get(watch_view<real_sync>* by) {
    std::optional<cell> copy;
    std::uint64_t const version = core.get(copy);
    T v = out_of_shared_cell<T>(std::move(*copy));
    if (by != nullptr) by->seen = version;
    return v;
  }
  void drop_sender() noexcept {
    if (handles.drop_sender()) {
      waiter_ring woken;
      core.close(woken);
      wake(std::move(woken));
    }
    drop();
  }
  void drop() noexcept {
    if (handles.drop()) delete this;
  }
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
  watch_receiver(watch_receiver const& o) noexcept : state_(o.state_) {
    view_.seen = o.view_.seen;
    if (state_ != nullptr) state_->handles.add();
  }
  watch_receiver(watch_receiver&& o) noexcept {
    o.check_unused();
    view_.seen = o.view_.seen;
    state_ = std::exchange(o.state_, nullptr);
  }
  watch_receiver& operator=(watch_receiver o) noexcept {
    check_unused();
    std::swap(state_, o.state_);
    std::swap(view_.seen, o.view_.seen);
    return *this;
  }
  ~watch_receiver() {
    check_unused();
    if (state_ != nullptr) state_->drop();
  }

  // A copy of the latest value, which counts as seen. Errors: what copying T throws; then it does not.
  T get() { return at().get(&view_); }
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
    bool await_resume() const noexcept { return core().come_back(receiver_.view_); }   // the receiver keeps it

  protected:
    void enlist_now() noexcept { core().enlist_locked(receiver_.view_, *this); }

  private:
    friend base;
    static bool withdraw(detail::operation& op) noexcept {
      awaiter& self = base::from(op);
      return self.core().withdraw(self.receiver_.view_, self);
    }
    auto& core() const noexcept { return receiver_.state_->core; }
    detail::spin_lock<>& lock() noexcept { return core().lock(); }
    bool take() noexcept { return core().changed_locked(receiver_.view_); }
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
  explicit watch_receiver(state& s) noexcept : state_(&s) {
    s.handles.add();
    s.core.subscribe(view_);
  }
  state& at() const {
    if (state_ == nullptr) detail::channel_misused();
    return *state_;
  }
  void check_unused() noexcept {
    std::uint64_t const at = std::exchange(view_.awaited_at, 0);
    if (at == 0) [[likely]] return;
    SKUA_CHECK(!state_->core.waits(at), "a watch_receiver was destroyed, moved or assigned to while a task waits at it");
  }
  state* state_ = nullptr;
  detail::watch_view<detail::real_sync> view_;
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
  explicit watch(T initial) : state_(new state(detail::to_shared_cell<T>(std::move(initial)))) { state_->handles.add_sender(); }
  watch(watch const& o) noexcept : state_(o.state_) {
    if (state_ != nullptr) state_->handles.add_sender();
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
  void set(T v) const { at().set(detail::to_shared_cell<T>(std::move(v))); }
  T get() const { return at().get(nullptr); }
  // A receiver that has seen the value of now.
  watch_receiver<T> subscribe() const { return watch_receiver<T>(at()); }

private:
  state& at() const {
    if (state_ == nullptr) detail::channel_misused();
    return *state_;
  }
  state* state_ = nullptr;
};

} // namespace skua
