// SPDX-License-Identifier: Apache-2.0
// oneshot: a channel for one message. The reply to a request.
//
//     auto [reply, answer] = skua::oneshot<int>();
//     co_await requests.send({question, std::move(reply)});
//     if (auto a = co_await answer.recv()) use(*a);            // none: whoever had the request dropped it
//
// Both ends share one small block, as promise and future do. The protocol is theirs, detail/future_core.hpp; one sender has
// nobody to claim the outcome against, and sending and leaving are one step. Unlike a promise,
// it says by a value, not by an exception, that the other side is gone, and a message that nobody will see comes back to its sender.
#pragma once
#include "channel.hpp"
#include "future.hpp"
#include <coroutine>
#include <cstddef>
#include <optional>
#include <utility>

namespace skua {

template <class T>
class oneshot_sender;
template <class T>
class oneshot_receiver;
template <class T>
std::pair<oneshot_sender<T>, oneshot_receiver<T>> oneshot();

namespace detail {

template <class T>
struct oneshot_state : future_state<T> {
  static_assert(std::is_object_v<T> && std::is_nothrow_move_constructible_v<T>,
                "a oneshot carries objects that move without throwing; for others use promise and future");
  static_assert(alignof(future_state<T>) <= frame_shape::granule, "over-aligned messages are not supported");

  std::optional<T> take_if_any() noexcept {
    if (this->outcome != future_state_base::value) return std::nullopt;
    std::optional<T> v(std::move(this->result));
    this->discard();
    return v;
  }
};
inline constexpr operation_kind oneshot_kind{"oneshot", withdraw_future};

template <class T>
struct oneshot_branch;   // select.hpp
[[noreturn]] inline void oneshot_misused(char const* what) { throw usage_error(what); }

} // namespace detail

// The sending end: sends once, from any thread, be it the runtime's or not. Movable.
//
// Thread safety: one thread at a time. Stop: none: sending is no suspension point. Errors: usage_error if it has sent, or was moved from.
// Lifetime: dropping it without sending tells the receiver: recv() gives no message. May outlive the receiver, and the runtime.
template <class T>
class [[nodiscard("dropping a oneshot_sender tells the receiver that no message will come")]] oneshot_sender {
public:
  using value_type = T;
  oneshot_sender() noexcept = default;
  oneshot_sender(oneshot_sender&& o) noexcept : state_(std::exchange(o.state_, nullptr)) {}
  oneshot_sender& operator=(oneshot_sender&& o) noexcept {
    if (this != &o) {
      drop();
      state_ = std::exchange(o.state_, nullptr);
    }
    return *this;
  }
  SKUA_INLINE ~oneshot_sender() {
    if (state_ != nullptr) [[unlikely]] drop();   // it travels in messages: most that are destroyed were moved from
  }

  // False: it has sent, or was moved from.
  explicit operator bool() const noexcept { return state_ != nullptr; }
  // Nobody waits for the message any more: work on it can end.
  bool is_abandoned() const noexcept { return state_ != nullptr && state_->core.future_is_gone(); }

  // False: the receiver is gone, and the message is in the result.
  send_result<T> send(T v) {
    auto* const s = std::exchange(state_, nullptr);
    if (s == nullptr) detail::oneshot_misused("skua: this oneshot has sent its message, or was moved from");
    std::construct_at(std::addressof(s->result), std::move(v));
    s->outcome = detail::future_state_base::value;
    auto const d = s->core.drop_promise();   // INV-FUT-3: after it the state is the receiver's
    if (d.what == drop_action::destroy) {
      send_result<T> back(send_status::closed, std::move(s->result));
      delete s;
      return back;
    }
    detail::complete_future_waiter(d.waiter);
    return {};
  }

private:
  friend std::pair<oneshot_sender<T>, oneshot_receiver<T>> oneshot<T>();
  using drop_action = detail::future_core<detail::real_sync>::drop;
  explicit oneshot_sender(detail::oneshot_state<T>* s) noexcept : state_(s) {}
  SKUA_NOINLINE void drop() noexcept {
    auto* const s = std::exchange(state_, nullptr);
    if (s == nullptr) return;
    s->outcome = detail::future_state_base::broken;
    auto const d = s->core.drop_promise();
    if (d.what == drop_action::destroy) delete s;
    detail::complete_future_waiter(d.waiter);
  }
  detail::oneshot_state<T>* state_ = nullptr;
};

// The receiving end. Movable.
//
// Thread safety: one thread at a time. Lifetime: must outlive its recv(). Dropping it makes send() give the message back.
template <class T>
class [[nodiscard("a oneshot_receiver gives its message when recv() is awaited")]] oneshot_receiver {
public:
  using value_type = T;
  oneshot_receiver() noexcept = default;
  oneshot_receiver(oneshot_receiver&& o) noexcept : state_(std::exchange(o.state_, nullptr)) {}
  oneshot_receiver& operator=(oneshot_receiver&& o) noexcept {
    if (this != &o) {
      close();
      state_ = std::exchange(o.state_, nullptr);
    }
    return *this;
  }
  SKUA_INLINE ~oneshot_receiver() {
    if (state_ != nullptr) [[unlikely]] close();
  }

  // False: it has received, was closed, or moved from.
  explicit operator bool() const noexcept { return state_ != nullptr; }
  // Would recv() go on at once?
  bool ready() const noexcept { return state_ != nullptr && state_->core.is_ready(); }

  class awaiter : detail::future_operation {
  public:
    explicit awaiter(oneshot_receiver& r) noexcept : future_operation(detail::oneshot_kind, r.state_), receiver_(r) {}
    bool await_ready() const {
      if (receiver_.state_ == nullptr) [[unlikely]] detail::oneshot_misused("skua: this oneshot has given its message, or was moved from");
      return receiver_.ready() && !detail::attention() && detail::spend_budget();
    }
    std::coroutine_handle<> await_suspend(detail::own_coroutine h) {
      if (!detail::begin(*this, h)) [[unlikely]] return detail::unwind(h.address());
      owner = detail::tl.owner;
      using result = detail::future_core<detail::real_sync>::wait_result;
      switch (state->core.wait(reinterpret_cast<std::uintptr_t>(static_cast<operation*>(this)))) {
      case result::ready: return detail::go_on_fairly(*this);
      case result::occupied: detail::oneshot_misused("skua: this oneshot is being awaited by another coroutine");
      case result::waits: break;
      }
      return detail::suspend(*this);
    }
    std::optional<T> await_resume() {
      if (!receiver_) [[unlikely]] detail::oneshot_misused("skua: this oneshot_receiver was moved while it was awaited");
      return receiver_.take();
    }

    oneshot_receiver& at() const noexcept { return receiver_; }   // for select

  private:
    oneshot_receiver& receiver_;
  };
  // Waits for the message, allocating nothing. None: the sender was dropped without sending. Once.
  // Stop: a suspension point; nothing is lost, it may be awaited again. Errors: usage_error if it has given its message, or somebody else awaits it;
  // bad_alloc at a branch's first suspension.
  awaiter recv() noexcept { return awaiter(*this); }
  // The message, if it is there. None: not yet; or the sender is gone, and then *this is empty.
  std::optional<T> try_recv() noexcept { return ready() ? take() : std::nullopt; }
  // As if it were dropped. Nobody may be awaiting it.
  void close() noexcept {
    using drop = detail::future_core<detail::real_sync>::drop;
    auto* const s = std::exchange(state_, nullptr);
    if (s != nullptr && s->core.drop_future() == drop::destroy) delete s;
  }

private:
  friend std::pair<oneshot_sender<T>, oneshot_receiver<T>> oneshot<T>();
  friend struct detail::oneshot_branch<T>;
  explicit oneshot_receiver(detail::oneshot_state<T>* s) noexcept : state_(s) {}
  std::optional<T> take() noexcept {
    std::optional<T> v = state_->take_if_any();
    close();
    return v;
  }
  detail::oneshot_state<T>* state_ = nullptr;
};

// The two ends of a new one. Errors: bad_alloc.
template <class T>
std::pair<oneshot_sender<T>, oneshot_receiver<T>> oneshot() {
  auto* const s = new detail::oneshot_state<T>;
  s->core.give_future_first();
  return {oneshot_sender<T>(s), oneshot_receiver<T>(s)};
}

} // namespace skua
