// SPDX-License-Identifier: Apache-2.0
// Channels: messages from many tasks to many tasks, each to one of them.
//
//     channel<T>            bounded: send() waits while `capacity` messages are buffered; capacity 0: until somebody receives it (rendezvous)
//     unbounded_channel<T>  send() never waits
//     priority_channel<T>   bounded; the message with the highest priority first, of equal ones the oldest
//
// Each is a handle on shared state, which lives as long as any handle: copy it into the tasks that use it (spawn(f, ch)). `sender<T>` and `receiver<T>` are
// handles with one right each; when the last handle that can send is gone, the channel closes, and when the last that can receive is gone as well. A
// channel<T> is both, so while one lives, only close() closes. docs/channels.md has the usual shapes.
#pragma once
#include "detail/channel_state.hpp"
#include "error.hpp"
#include <concepts>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <type_traits>
#include <utility>

namespace skua {

// What became of a message. If it was not sent, it is in here: nothing is lost.
//
// Thread safety, lifetime: an ordinary value.
//
//     if (auto r = co_await ch.send(std::move(order)); !r) put_back(std::move(r).value());
template <class T>
class [[nodiscard("false: the channel is closed, and the message is in the result; say (void) if that does not matter")]] send_result {
public:
  // Was it sent?
  explicit operator bool() const noexcept { return status_ == send_status::sent; }
  send_status status() const noexcept { return status_; }
  // The message that was not sent.
  T& value() & noexcept { return unsent(); }
  T&& value() && noexcept { return std::move(unsent()); }

  // For skua's own parts.
  send_result() noexcept : status_(send_status::sent) {}
  send_result(send_status why, detail::channel_cell<T>&& v) noexcept : status_(why), cell_(std::move(v)) {}

private:
  T& unsent() noexcept {
    SKUA_CHECK(status_ != send_status::sent, "send_result::value(): the message was sent");
    return detail::in_cell<T>(*cell_);
  }
  send_status status_;
  std::optional<detail::channel_cell<T>> cell_;
};

namespace detail {

bool withdraw_receiving(operation& op) noexcept;   // scheduler/channel.cpp
bool withdraw_sending(operation& op) noexcept;
inline constexpr operation_kind receive_kind{"receive", withdraw_receiving};
inline constexpr operation_kind send_kind{"send", withdraw_sending};

[[noreturn]] SKUA_COLD void channel_misused();
[[noreturn]] SKUA_COLD void message_has_left();   // a send that is kept, and performed again

// The three kinds of channels: what is buffered, and where.
template <class T>
struct bounded_kind {
  using value = channel_cell<T>;
  using state = channel_state<ring_buffer<value>>;
  SKUA_INLINE static channel_cell<T>& cell(value& v) noexcept { return v; }
};
template <class T>
struct unbounded_kind {
  using value = channel_cell<T>;
  using state = channel_state<chunk_buffer<value>>;
  SKUA_INLINE static channel_cell<T>& cell(value& v) noexcept { return v; }
};
template <class T>
struct priority_kind {
  using buffer = heap_buffer<channel_cell<T>>;
  using value = typename buffer::value_type;
  using state = channel_state<buffer>;
  SKUA_INLINE static channel_cell<T>& cell(value& v) noexcept { return v.value; }
};

template <class T, class Kind>
class [[nodiscard("recv() does nothing until it is awaited")]] recv_awaiter : receiving<typename Kind::value> {
  using value = typename Kind::value;
  using state = typename Kind::state;

public:
  SKUA_INLINE explicit recv_awaiter(state* s) noexcept : state_(s) {}
  recv_awaiter(recv_awaiter const&) = delete;
  SKUA_INLINE bool await_ready() noexcept {
    this->message.reset();   // of an earlier await: this may be one that was kept
    return !attention() && !state_->looks_empty() && spend_budget() && state_->try_receive(this->message);
  }
  std::coroutine_handle<> await_suspend(own_coroutine h) {
    channel_waiter& w = *std::construct_at(&waiter_, receive_kind, state_, static_cast<receiving<value>*>(this));
    if (!begin(w, h)) [[unlikely]] return unwind(h.address());
    w.owner = tl.owner;
    taken_waiter taken;
    bool waits;
    {
      [[maybe_unused]] typename state::garbage old;
      locked_scope const g(state_->lock_);
      waits = !state_->receive_locked(this->message, taken);
      if (waits) state_->receivers_.push_back(w);
      state_->buffer_.take_garbage(old);
    }
    if (waits) return suspend(w);   // INV-WAIT-4: it may be gone
    taken.wake();
    return go_on_fairly(w);
  }
  SKUA_INLINE std::optional<T> await_resume() {
    if (!this->message) return std::nullopt;
    return std::optional<T>(std::move(in_cell<T>(Kind::cell(*this->message))));
  }

  state& at() const noexcept { return *state_; }   // for select

private:
  state* state_;
  union {
    channel_waiter waiter_;
  };
};

template <class T, class Kind>
class [[nodiscard("send() does nothing until it is awaited")]] send_awaiter : sending<typename Kind::value> {
  using value = typename Kind::value;
  using state = typename Kind::state;

public:
  SKUA_INLINE send_awaiter(state* s, value&& v) noexcept : sending<value>(std::move(v)), state_(s) {}
  send_awaiter(send_awaiter const&) = delete;
  SKUA_INLINE bool await_ready() {
    check_kept();
    if (attention() || state_->looks_full() || !spend_budget()) return false;
    return (this->status = state_->try_send(this->message)) == send_status::sent;
  }
  std::coroutine_handle<> await_suspend(own_coroutine h) {
    channel_waiter& w = *std::construct_at(&waiter_, send_kind, state_, static_cast<sending<value>*>(this));
    if (!begin(w, h)) [[unlikely]] return unwind(h.address());
    w.owner = tl.owner;
    taken_waiter taken;
    bool waits;
    {
      locked_scope const g(state_->lock_);
      this->status = state_->send_locked(this->message, taken);
      waits = this->status == send_status::full;
      if (waits) {
        this->status = send_status::closed;   // unless somebody takes the message
        state_->senders_.push_back(w);
      }
    }
    if (waits) return suspend(w);   // INV-WAIT-4: it may be gone
    taken.wake();
    return go_on_fairly(w);
  }
  SKUA_INLINE send_result<T> await_resume() noexcept {
    if (this->status == send_status::sent) [[likely]] return {};
    return send_result<T>(std::exchange(this->status, send_status::sent), std::move(Kind::cell(this->message)));
  }

  // For select.
  state& at() const noexcept { return *state_; }
  value&& take() {
    check_kept();
    this->status = send_status::sent;
    return std::move(this->message);
  }

private:
  // `sent` once the message has left, wherever to. One that was stopped while it waited has its message, and may be awaited again.
  SKUA_INLINE void check_kept() const {
    if (this->status == send_status::sent) [[unlikely]] message_has_left();
  }
  state* state_;
  union {
    channel_waiter waiter_;
  };
};

// A counted reference to a state; Sends, Receives: the rights it stands for.
template <class State, bool Sends, bool Receives>
class channel_ref {
public:
  channel_ref() noexcept = default;
  explicit channel_ref(State* s) noexcept : state_(s) { add(); }
  channel_ref(channel_ref const& o) noexcept : state_(o.state_) { add(); }
  channel_ref(channel_ref&& o) noexcept : state_(std::exchange(o.state_, nullptr)) {}
  channel_ref& operator=(channel_ref o) noexcept {
    std::swap(state_, o.state_);
    return *this;
  }
  ~channel_ref() {
    if (state_ == nullptr) return;
    if constexpr (Receives) state_->drop_receiver();
    if constexpr (Sends) state_->drop_sender();   // each right is a reference of its own
  }
  SKUA_INLINE State& get() const {
    if (state_ == nullptr) [[unlikely]] channel_misused();
    return *state_;
  }
  bool is_set() const noexcept { return state_ != nullptr; }
  friend bool operator==(channel_ref const& a, channel_ref const& b) noexcept { return a.state_ == b.state_; }

private:
  void add() noexcept {
    if (state_ == nullptr) return;
    if constexpr (Sends) state_->add_sender();
    if constexpr (Receives) state_->add_receiver();
  }
  State* state_ = nullptr;
};

// What every handle has.
template <class T, class Kind, bool Sends, bool Receives>
class channel_handle {
protected:
  using state = typename Kind::state;
  explicit channel_handle(state* s) noexcept : ref_(s) {}
  state& at() const { return ref_.get(); }
  channel_ref<state, Sends, Receives> ref_;

public:
  using value_type = T;
  channel_handle() noexcept = default;   // on nothing: every operation throws usage_error

  explicit operator bool() const noexcept { return ref_.is_set(); }
  // No message goes in any more; what is buffered can still be received, then recv() gives no message. Who waits to send gets its message back. Any
  // thread, any number of times.
  void close() const { at().close(); }
  bool is_closed() const { return at().is_closed(); }
  // Messages that are buffered just now.
  std::size_t size() const { return at().size_.load(std::memory_order_relaxed); }
  bool empty() const { return size() == 0; }
  // Are these two handles on the same channel?
  friend bool operator==(channel_handle const& a, channel_handle const& b) noexcept { return a.ref_ == b.ref_; }
};

} // namespace detail

// ------------------------------------------------------------------------------------------------ the receiving side

namespace detail {

template <class Derived, class T, class Kind>
class receives {
public:
  // Waits for a message and takes it. No message: the channel is closed, and everything that was sent has been received.
  //
  // Messages of one sender arrive in the order in which they were sent; of several who wait, the one that has waited longest gets the next (a stopped
  // one has not taken any). Allocates nothing; a task that never has to wait lets others run from time to time (D11).
  // Stop: a suspension point. A message is never lost: a receiver that is stopped has none; one that was handed a message returns it first (S4).
  // Errors: none of its own (bad_alloc at a branch's first suspension); what T's move throws, and then that message is gone.
  // Lifetime: the handle must live until it has returned.
  //
  //     while (auto m = co_await ch.recv()) use(*m);
  recv_awaiter<T, Kind> recv() const { return recv_awaiter<T, Kind>(&self().at()); }

  // A message if there is one now. Any thread, also outside the runtime. None: nothing is buffered, or it has ended (is_drained()).
  std::optional<T> try_recv() const {
    std::optional<typename Kind::value> v;
    if (!self().at().try_receive(v) || !v) return std::nullopt;
    return std::optional<T>(std::move(in_cell<T>(Kind::cell(*v))));
  }
  // Closed and empty: nothing will ever be received.
  bool is_drained() const {
    auto& s = self().at();
    locked_scope const g(s.lock_);
    return s.closed_ && s.buffer_.empty();
  }

private:
  friend Derived;
  receives() noexcept = default;
  Derived const& self() const noexcept { return static_cast<Derived const&>(*this); }
};

template <class Derived, class T, class Kind>
class sends {
public:
  // Waits for room and puts the message in. The result says whether it was sent; if not, the channel is closed and the message is in the result.
  //
  // If somebody waits for a message, it is handed over directly. Who waits to send is served in order. Allocates nothing, unless T's move constructor
  // may throw: then a box for the message, before anything else.
  // Stop: a suspension point. A stopped send has not sent, and the message is destroyed with the coroutine; one whose message was taken returns first (S4).
  // Errors: what T's move throws, and then nothing was sent; bad_alloc at a branch's first suspension; usage_error if what send() returned is kept, and awaited
  // again when it has sent its message, or given it back.
  // Lifetime: the handle must live until it has returned.
  send_awaiter<T, Kind> send(T v) const
    requires(!std::same_as<Kind, priority_kind<T>>)
  {
    return send_awaiter<T, Kind>(&self().at(), to_cell<T>(std::move(v)));
  }
  // A higher number is received earlier.
  send_awaiter<T, Kind> send(T v, std::int64_t priority) const
    requires std::same_as<Kind, priority_kind<T>>
  {
    return send_awaiter<T, Kind>(&self().at(), typename Kind::value{to_cell<T>(std::move(v)), priority, 0});
  }
  // The same without waiting: full, if there is no room and nobody waits for a message. Any thread, also outside the runtime.
  send_result<T> try_send(T v) const
    requires(!std::same_as<Kind, priority_kind<T>>)
  {
    return attempt(to_cell<T>(std::move(v)));
  }
  send_result<T> try_send(T v, std::int64_t priority) const
    requires std::same_as<Kind, priority_kind<T>>
  {
    return attempt(typename Kind::value{to_cell<T>(std::move(v)), priority, 0});
  }

private:
  friend Derived;
  sends() noexcept = default;
  Derived const& self() const noexcept { return static_cast<Derived const&>(*this); }
  send_result<T> attempt(typename Kind::value v) const {
    send_status const s = self().at().try_send(v);
    if (s == send_status::sent) return {};
    return send_result<T>(s, std::move(Kind::cell(v)));
  }
};

// Never waits.
template <class Derived, class T, class Kind>
class sends_at_once {
public:
  // Puts the message in. Any thread, also outside the runtime; no suspension point. False: the channel is closed, and the message is in the result.
  // Errors: bad_alloc for room, or what T's move throws; then nothing was sent, and the message is gone.
  send_result<T> send(T v) const {
    auto cell = to_cell<T>(std::move(v));
    auto& s = static_cast<Derived const&>(*this).at();
    using chunk = typename std::remove_reference_t<decltype(s.buffer_)>::chunk;
    taken_waiter taken;
    send_status status;
    for (std::unique_ptr<chunk> room;;) {
      {
        [[maybe_unused]] typename std::remove_reference_t<decltype(s.buffer_)>::garbage old;   // what a select has emptied
        locked_scope const g(s.lock_);
        if (s.buffer_.wants() && room != nullptr) s.buffer_.give(std::move(room));
        if (!s.buffer_.wants()) {
          status = s.send_locked(cell, taken);
          s.buffer_.take_garbage(old);
          break;
        }
      }
      room = std::make_unique<chunk>();   // not under the lock
    }
    taken.wake();
    if (status == send_status::sent) [[likely]] return {};
    return send_result<T>(status, std::move(cell));
  }

private:
  friend Derived;
  sends_at_once() noexcept = default;
};

template <class Derived, class T, class Kind>
using sends_as = std::conditional_t<std::same_as<Kind, unbounded_kind<T>>, sends_at_once<Derived, T, Kind>, sends<Derived, T, Kind>>;

} // namespace detail

// The receiving end of a channel. Copies share it: a message goes to one of them.
//
// Thread safety: recv() and the rest from any number of tasks and threads at once; one handle object is copied, assigned and destroyed by one at a time.
template <class T, class Kind = detail::bounded_kind<T>>
class basic_receiver : public detail::channel_handle<T, Kind, false, true>, public detail::receives<basic_receiver<T, Kind>, T, Kind> {
  using handle = detail::channel_handle<T, Kind, false, true>;
  friend class detail::receives<basic_receiver, T, Kind>;

public:
  basic_receiver() noexcept = default;
  explicit basic_receiver(typename Kind::state* s) noexcept : handle(s) {}   // for skua's own parts
};

// The sending end of a channel. Thread safety: as the receiving end's.
template <class T, class Kind = detail::bounded_kind<T>>
class basic_sender : public detail::channel_handle<T, Kind, true, false>, public detail::sends_as<basic_sender<T, Kind>, T, Kind> {
  using handle = detail::channel_handle<T, Kind, true, false>;
  template <class D, class U, class K>
  friend class detail::sends;
  template <class D, class U, class K>
  friend class detail::sends_at_once;

public:
  basic_sender() noexcept = default;
  explicit basic_sender(typename Kind::state* s) noexcept : handle(s) {}   // for skua's own parts
  // Nobody can receive any more: what is sent comes back.
  bool is_abandoned() const { return this->at().receivers() == 0; }
};

// Both ends in one handle. Thread safety: as the receiving end's.
template <class T, class Kind>
class basic_channel : public detail::channel_handle<T, Kind, true, true>,
                      public detail::receives<basic_channel<T, Kind>, T, Kind>,
                      public detail::sends_as<basic_channel<T, Kind>, T, Kind> {
  using base = detail::channel_handle<T, Kind, true, true>;
  static constexpr bool limited = !std::same_as<Kind, detail::unbounded_kind<T>>;
  friend class detail::receives<basic_channel, T, Kind>;
  template <class D, class U, class K>
  friend class detail::sends;
  template <class D, class U, class K>
  friend class detail::sends_at_once;
  static_assert(std::is_object_v<T> && std::is_move_constructible_v<T>, "a channel carries objects that can be moved");

public:
  using sender_type = basic_sender<T, Kind>;
  using receiver_type = basic_receiver<T, Kind>;

  // Room for `capacity` messages, which is allocated here. Errors: bad_alloc.
  explicit basic_channel(std::size_t capacity)
    requires limited
      : base(new typename Kind::state(capacity)) {}
  basic_channel()
    requires(!limited)
      : base(new typename Kind::state()) {}

  std::size_t capacity() const { return this->at().buffer_.capacity(); }
  sender_type sender() const { return sender_type(&this->at()); }
  receiver_type receiver() const { return receiver_type(&this->at()); }
  // This handle as its two ends: when all copies of either are gone, the channel closes.
  //
  //     auto [tx, rx] = skua::channel<int>(16).split();
  std::pair<sender_type, receiver_type> split() && {
    std::pair<sender_type, receiver_type> ends(sender(), receiver());
    this->ref_ = {};
    return ends;
  }
};

template <class T>
using channel = basic_channel<T, detail::bounded_kind<T>>;
template <class T>
using sender = basic_sender<T, detail::bounded_kind<T>>;
template <class T>
using receiver = basic_receiver<T, detail::bounded_kind<T>>;

template <class T>
using unbounded_channel = basic_channel<T, detail::unbounded_kind<T>>;
template <class T>
using unbounded_sender = basic_sender<T, detail::unbounded_kind<T>>;
template <class T>
using unbounded_receiver = basic_receiver<T, detail::unbounded_kind<T>>;

// A capacity of 0 makes no sense here, but is allowed: a rendezvous in the order of arrival. Who waits for room is let in in the order of arrival, whatever
// its priority.
template <class T>
using priority_channel = basic_channel<T, detail::priority_kind<T>>;
template <class T>
using priority_sender = basic_sender<T, detail::priority_kind<T>>;
template <class T>
using priority_receiver = basic_receiver<T, detail::priority_kind<T>>;

} // namespace skua
