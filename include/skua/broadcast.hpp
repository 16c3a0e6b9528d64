// SPDX-License-Identifier: Apache-2.0
// broadcast: every message to every subscriber.
//
//     skua::broadcast<event> events(64, skua::slow_receiver::drop_oldest);
//     skua::spawn_detached(show, events.subscribe());     // while (auto e = co_await rx.recv()) { if (e.missed()) ..; print(*e); }
//     co_await events.send(event{..});
//
// detail/broadcast_core.hpp has the protocol, and slow_receiver: what happens when a subscriber is `capacity` messages behind.
#pragma once
#include "channel.hpp"
#include "detail/broadcast_state.hpp"
#include "detail/waiter.hpp"
#include "error.hpp"
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

namespace skua {

// What a subscriber has received.
template <class T>
class broadcast_message {
public:
  // False: no message will come any more.
  explicit operator bool() const noexcept { return value_.has_value(); }
  T& operator*() & noexcept { return *value_; }
  T&& operator*() && noexcept { return *std::move(value_); }
  T* operator->() noexcept { return &*value_; }
  // How many messages were dropped between the last one that this subscriber has received and this one.
  std::uint64_t missed() const noexcept { return missed_; }
  // The end, because it was too slow.
  bool disconnected() const noexcept { return disconnected_; }

  // For skua's own parts.
  broadcast_message(std::optional<T> v, std::uint64_t missed, bool disconnected) : value_(std::move(v)), missed_(missed), disconnected_(disconnected) {}

private:
  std::optional<T> value_;
  std::uint64_t missed_;
  bool disconnected_;
};

template <class T>
class broadcast;

namespace detail {
[[noreturn]] inline void receiver_occupied() { throw usage_error("skua: another task waits at this broadcast_receiver"); }
}   // namespace detail

// A subscriber. It receives what is sent from its subscription on.
//
// Thread safety: one task at a time. Lifetime: must outlive its recv(), or the process ends; dropping it unsubscribes. Movable.
template <class T>
class broadcast_receiver {
  using state = detail::broadcast_state<T>;
  struct subscribed : detail::subscription {
    state& at;
    explicit subscribed(state& s) noexcept : at(s) {
      at.handles.add();
      at.core.subscribe(*this);
    }
    ~subscribed() {
      at.unsubscribe(*this);
      at.drop();
    }
  };

public:
  using value_type = T;
  broadcast_receiver() noexcept = default;

  explicit operator bool() const noexcept { return subscription_ != nullptr; }

  class [[nodiscard("recv() does nothing until it is awaited")]] awaiter : protected detail::broadcast_receiving<T> {
    using base = detail::broadcast_receiving<T>;

  public:
    // For skua's own parts.
    struct parts_type {
      subscribed* of;
    };
    static constexpr bool gives_out = true;
    parts_type parts() const noexcept { return {static_cast<subscribed*>(this->by)}; }
    explicit awaiter(parts_type p) noexcept : base(kind, p.of) {}
    explicit awaiter(subscribed& s) noexcept : base(kind, &s) {}
    bool await_ready() const noexcept { return false; }
    std::coroutine_handle<> await_suspend(detail::own_coroutine h) {
      this->message.reset();   // of an earlier await: this may be one that was kept
      this->missed = 0;
      if (!detail::begin(*this, h)) [[unlikely]] return detail::unwind(h.address());
      this->owner = detail::tl.owner;
      detail::waiter_ring woken;
      bool waits;
      {
        detail::locked_scope const g(core().lock());
        if (this->by->waits) detail::receiver_occupied();
        waits = !core().receive_locked(*this, woken);
        if (waits) core().enlist_receiver_locked(*this);
      }
      if (waits) return detail::suspend(*this);   // INV-WAIT-4: it may be gone
      detail::wake(std::move(woken));
      return detail::go_on_fairly(*this);
    }
    broadcast_message<T> await_resume() {
      if (occupied_) detail::receiver_occupied();
      return out_of(*this);
    }

  protected:   // for a branch of a select
    detail::spin_lock<>& its_lock() noexcept { return core().lock(); }
    bool take_now(detail::waiter_ring& woken) noexcept {
      occupied_ = this->by->waits;
      return occupied_ || core().receive_locked(*this, woken);
    }
    void enlist_now() noexcept { core().enlist_receiver_locked(*this); }

  private:
    bool occupied_ = false;
    auto& core() const noexcept { return static_cast<subscribed*>(this->by)->at.core; }
    static bool withdraw(detail::operation& op) noexcept {
      auto& self = static_cast<awaiter&>(static_cast<detail::waiter&>(static_cast<detail::waiter_links&>(op)));
      return self.core().withdraw_receiver(self);
    }
    static constexpr detail::operation_kind kind{"receive", withdraw};
  };
  // Waits for the next message. No message: all senders are gone, or close() was called, and everything has been received; or it was disconnected. Allocates
  // nothing.
  // Stop: a suspension point; nothing is lost. Errors: usage_error if another task waits at this object; what copying T throws, and then this message
  // is missed; bad_alloc at a branch's first suspension.
  awaiter recv() const {
    if (subscription_ == nullptr) detail::channel_misused();
    return awaiter(*subscription_);
  }
  // The same without waiting; any thread, also outside the runtime, but one at a time. None: there is nothing now; a message that is false: the end.
  // Errors: usage_error if a task waits at this object; what copying T throws, and then this message is missed.
  //
  //     while (auto m = rx.try_recv()) { if (!*m) break; use(**m); }
  std::optional<broadcast_message<T>> try_recv() const {
    if (subscription_ == nullptr) detail::channel_misused();
    received r{subscription_.get()};
    detail::waiter_ring woken;
    {
      detail::locked_scope const g(subscription_->at.core.lock());
      if (subscription_->waits) detail::receiver_occupied();
      if (!subscription_->at.core.receive_locked(r, woken)) return std::nullopt;
    }
    detail::wake(std::move(woken));
    return out_of(r);
  }
  // Another subscriber, which receives what is sent from now on. Errors: bad_alloc.
  broadcast_receiver resubscribe() const {
    if (subscription_ == nullptr) detail::channel_misused();
    return broadcast_receiver(subscription_->at);
  }

private:
  friend class broadcast<T>;
  using received = detail::broadcast_received<detail::real_sync, detail::shared_cell<T>>;
  static broadcast_message<T> out_of(received& r) {
    std::optional<T> v;
    if (r.message) v.emplace(detail::out_of_shared_cell<T>(std::move(*r.message)));
    return {std::move(v), r.missed, r.disconnected};
  }
  explicit broadcast_receiver(state& s) : subscription_(std::make_unique<subscribed>(s)) {}
  std::unique_ptr<subscribed> subscription_;
};

// The sending side: a handle on shared state, which closes when the last copy is gone.
//
// Thread safety: send(), subscribe() and the rest from any number of tasks at once; one handle object is copied, assigned and destroyed by one at a time.
template <class T>
class broadcast {
  static_assert(std::is_object_v<T> && std::is_copy_constructible_v<T>, "a broadcast carries objects that can be copied");
  using state = detail::broadcast_state<T>;

public:
  using value_type = T;
  // Errors: usage_error for a capacity of 0; bad_alloc.
  explicit broadcast(std::size_t capacity, slow_receiver how = slow_receiver::wait) {
    if (capacity == 0) throw usage_error("skua: a broadcast needs a capacity of 1 at least");
    state_ = new state(capacity, how);
    state_->handles.add_sender();
  }
  broadcast(broadcast const& o) noexcept : state_(o.state_) {
    if (state_ != nullptr) state_->handles.add_sender();
  }
  broadcast(broadcast&& o) noexcept : state_(std::exchange(o.state_, nullptr)) {}
  broadcast& operator=(broadcast o) noexcept {
    std::swap(state_, o.state_);
    return *this;
  }
  ~broadcast() {
    if (state_ != nullptr) state_->drop_sender();
  }
  explicit operator bool() const noexcept { return state_ != nullptr; }

  // Receives what is sent from now on. Errors: bad_alloc.
  broadcast_receiver<T> subscribe() const { return broadcast_receiver<T>(at()); }
  std::size_t subscribers() const { return at().core.subscribers(); }
  // Nothing can be sent any more; subscribers get what is there, then the end.
  void close() const { at().close(); }

  class [[nodiscard("send() does nothing until it is awaited")]] awaiter : protected detail::broadcast_sending<T> {
    using base = detail::broadcast_sending<T>;

  public:
    // For skua's own parts. The message leaves the awaiter.
    struct parts_type {
      state& of;
      detail::shared_cell<T> message;
    };
    static constexpr bool gives_out = true;
    parts_type parts() {
      check_kept();
      this->status = send_status::sent;
      return {state_, std::move(this->message)};
    }
    explicit awaiter(parts_type&& p) noexcept : awaiter(p.of, std::move(p.message)) {}
    awaiter(state& s, detail::shared_cell<T>&& v) noexcept : base(kind, std::move(v)), state_(s) {}
    bool await_ready() const noexcept { return false; }
    std::coroutine_handle<> await_suspend(detail::own_coroutine h) {
      check_kept();
      if (!detail::begin(*this, h)) [[unlikely]] return detail::unwind(h.address());
      this->owner = detail::tl.owner;
      bool waits;
      {
        detail::waiter_ring woken;
        {
          detail::locked_scope const g(state_.core.lock());
          waits = !take_now(woken);
          if (waits) enlist_now();
        }
        detail::wake(std::move(woken));
      }
      return waits ? detail::suspend(*this) : detail::go_on_fairly(*this);   // INV-WAIT-4: it may be gone
    }
    // False: it was closed.
    bool await_resume() const noexcept { return this->status == send_status::sent; }

  protected:   // for a branch of a select
    detail::spin_lock<>& its_lock() noexcept { return state_.core.lock(); }
    bool take_now(detail::waiter_ring& woken) noexcept {
      this->status = state_.core.send_locked(this->message, dropped_, woken);
      return this->status != send_status::full;
    }
    void enlist_now() noexcept { state_.core.enlist_sender_locked(*this); }

  private:
    void check_kept() const {   // as a channel's
      if (this->status == send_status::sent) detail::message_has_left();
    }
    std::optional<detail::shared_cell<T>> dropped_;   // destroyed without the lock
    static bool withdraw(detail::operation& op) noexcept {
      auto& self = static_cast<awaiter&>(static_cast<detail::waiter&>(static_cast<detail::waiter_links&>(op)));
      return self.state_.core.withdraw_sender(self);
    }
    static constexpr detail::operation_kind kind{"send", withdraw};
    state& state_;
  };
  // Sends to everybody who has subscribed (if nobody has, to nobody). Waits for room only with slow_receiver::wait. Returns false if it was closed.
  // Stop: a suspension point; a stopped send has not sent. Errors: bad_alloc, what T's move throws: then nothing was sent; usage_error if what
  // send() returned is kept, and awaited again when it has sent its message.
  awaiter send(T v) const { return awaiter(at(), detail::to_shared_cell<T>(std::move(v))); }
  // The same without waiting; any thread, also outside the runtime.
  [[nodiscard]] send_status try_send(T v) const {
    auto cell = detail::to_shared_cell<T>(std::move(v));
    detail::waiter_ring woken;
    std::optional<detail::shared_cell<T>> dropped;
    send_status s;
    {
      detail::locked_scope const g(at().core.lock());
      s = at().core.send_locked(cell, dropped, woken);
    }
    detail::wake(std::move(woken));
    return s;
  }

private:
  state& at() const {
    if (state_ == nullptr) detail::channel_misused();
    return *state_;
  }
  state* state_ = nullptr;
};

} // namespace skua
