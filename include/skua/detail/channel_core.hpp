// SPDX-License-Identifier: Apache-2.0
// What the ends of a channel share: a lock, a buffer, those who wait, and who is left. channel.hpp has the handles, wait_queue.hpp the rules of waiting;
// tests/model/channel_model.cpp checks this code.
//
// Under the lock:
//     closed        no message goes in any more; set once
//     buffer        what was sent and not received (channel_buffer.hpp)
//     receivers     they wait for a message, oldest first
//     senders       they wait for room, oldest first, each with its message
//
//     send     closed: the message stays the sender's · a receiver waits: the message is moved into its slot, and it is taken (hand-over)
//              · there is room: into the buffer · otherwise the sender waits, with the message in its own frame
//     receive  the buffer has one: take the first; if a sender waits, its message takes the room, and it is taken · nothing buffered, but a sender
//              waits (capacity 0): take its message, and it is taken · closed: the end · otherwise the receiver waits
//     close    takes everybody: a receiver gets the end, a sender its message back
//     stop     takes the waiter out of its list, or finds that it was taken: then its message is delivered, or was sent (INV-WAIT-6)
//
// INV-CHAN-1  A message is in one place: with its sender, in the buffer, or with its receiver; and it moves under the lock, to exactly one of them.
// INV-CHAN-2  Receivers that wait and can be completed imply an empty buffer, and senders that wait a full one; not closed. So nobody overtakes: messages
//             leave in the order in which send operations began to wait or ended (a priority channel: those of one priority).
// INV-CHAN-3  A waiter that is a branch of a select is completed only by whoever claims the select, under the lock, before a message moves; one that cannot
//             be claimed is dropped from the list: its select has been decided elsewhere, and will find it gone (select_core.hpp).
// INV-CHAN-4  Whoever drops the last handle frees the state, and sees what was done through all the others. The last sender closes, the last receiver closes
//             and discards what is buffered: each while it still has its own reference.
//
// Elements are moved under the lock, so T's move constructor must not use the channel; it cannot throw (channel_cell). Nothing is destroyed under the lock
// but what was moved from, and no memory is freed under it.
//
// Lifetime: a state lives as long as a handle. Whoever completes a waiter touches the state no more (INV-WAIT-4); close() takes a reference of its own,
// for it comes back.
#pragma once
#include "config.hpp"
#include "send_status.hpp"
#include "spin_lock.hpp"
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

namespace skua::detail {

// What an operation gives or gets, apart from the waiter that it may need: most need none, and then it is never constructed.
template <class V>
struct receiving {
  std::optional<V> message;   // none: the end
};
template <class V>
struct sending {
  V message;
  send_status status = send_status::closed;   // what close() leaves as it is
  explicit sending(V&& v) noexcept : message(std::move(v)) {}
};

// A waiter that was taken; to be woken after the lock was given back. Empty: nobody.
template <class Waiting>
class basic_taken_waiter {
  using links = typename Waiting::links;

public:
  SKUA_INLINE void set(links& w) noexcept { waiter_ = &w; }
  SKUA_INLINE void wake() noexcept {
    if (waiter_ != nullptr) Waiting::wake(*waiter_);
  }

private:
  links* waiter_ = nullptr;
};

// The half that does not depend on what is sent. Beside what other cores are made of, `Waiting` has
//     slot(links)            of what waits: its receiving<V>*, its sending<V>*
//     wake(links)            without the lock
//     free(channel)          with the last handle
//     closes_at_once         how many are woken by close() before it gives the lock back
template <class Waiting>
class channel_base_of {
  using sync = typename Waiting::sync;

public:
  using links = typename Waiting::links;
  using list = typename Waiting::list;

  typename Waiting::lock lock_;
  typename sync::template var<bool> closed_{false};
  // What the buffer holds. Written under the lock, read by anybody: a hint whether it is worth taking the lock; relaxed.
  typename sync::template atomic<std::size_t> size_{0};
  list receivers_, senders_;

  channel_base_of() noexcept = default;
  channel_base_of(channel_base_of const&) = delete;
  virtual void discard() noexcept = 0;   // what is buffered

  // The oldest that can be completed; null: none. With the lock.
  SKUA_INLINE static links* take_locked(list& l) noexcept {
    if (l.empty()) [[likely]] return nullptr;
    return take_one(l);
  }
  // Any number of times, any thread; the caller has a handle.
  SKUA_NOINLINE void close() noexcept {
    constexpr unsigned at_once = Waiting::closes_at_once;
    references_.fetch_add(1, std::memory_order_relaxed);   // who is woken may drop the last handle
    for (bool more = true; more;) {
      links* taken[at_once];
      unsigned n = 0;
      {
        locked_scope const g(lock_);
        closed_ = true;   // from here on nobody queues
        for (list* l : {&receivers_, &senders_})
          while (n != at_once) {
            links* const w = take_locked(*l);
            if (w == nullptr) break;
            taken[n++] = w;
          }
        more = n == at_once;
      }
      for (unsigned i = 0; i != n; ++i) Waiting::wake(*taken[i]);
    }
    release();
  }
  bool is_closed() noexcept {
    locked_scope const g(lock_);
    return closed_;
  }

  // ---- handles. Any thread. relaxed: who copies has one.
  void add_sender() noexcept {
    references_.fetch_add(1, std::memory_order_relaxed);
    sender_count_.fetch_add(1, std::memory_order_relaxed);
  }
  void add_receiver() noexcept {
    references_.fetch_add(1, std::memory_order_relaxed);
    receiver_count_.fetch_add(1, std::memory_order_relaxed);
  }
  // acq_rel, here and below: what was done through other handles happens before the channel closes, or is freed.
  SKUA_NOINLINE void drop_sender() noexcept {
    if (sender_count_.fetch_sub(1, std::memory_order_acq_rel) == 1) close();
    release();
  }
  SKUA_NOINLINE void drop_receiver() noexcept {
    if (receiver_count_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      close();
      discard();   // nobody can receive it, and it may hold what somebody waits for
    }
    release();
  }
  std::size_t receivers() const noexcept { return receiver_count_.load(std::memory_order_relaxed); }

  [[nodiscard]] bool withdraw(list& l, links& w) noexcept {
    locked_scope const g(lock_);
    return l.withdraw(w);
  }

protected:
  virtual ~channel_base_of() = default;

private:
  friend Waiting;
  // INV-CHAN-3.
  SKUA_NOINLINE static links* take_one(list& l) noexcept {
    while (links* const w = l.take())
      if (Waiting::may_take(*w)) return w;
    return nullptr;
  }
  void release() noexcept {
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) Waiting::free(*this);
  }

  typename sync::template atomic<std::uint32_t> references_{0}, sender_count_{0}, receiver_count_{0};
};

template <class Waiting, class Buffer>
class channel_core final : public channel_base_of<Waiting> {
  using base = channel_base_of<Waiting>;

public:
  using links = typename Waiting::links;
  using taken_waiter = basic_taken_waiter<Waiting>;
  using value_type = typename Buffer::value_type;
  using garbage = typename Buffer::garbage;
  using base::lock_, base::closed_, base::size_, base::receivers_, base::senders_;

  template <class... A>
  explicit channel_core(A... a) : buffer_(a...) {}

  // With the lock. `v` is moved from if the answer is `sent`.
  [[nodiscard]] SKUA_INLINE send_status send_locked(value_type& v, taken_waiter& taken) noexcept {
    if (closed_) [[unlikely]] return send_status::closed;
    if (links* const w = base::take_locked(receivers_)) {   // INV-CHAN-2: the buffer is empty
      static_cast<receiving<value_type>*>(Waiting::slot(*w))->message.emplace(std::move(v));
      taken.set(*w);
      return send_status::sent;
    }
    if (buffer_.full()) [[unlikely]] return send_status::full;
    buffer_.push(std::move(v));
    size_.store(buffer_.size(), std::memory_order_relaxed);
    return send_status::sent;
  }
  // With the lock. True: `to` has a message, or the channel has ended.
  [[nodiscard]] SKUA_INLINE bool receive_locked(std::optional<value_type>& to, taken_waiter& taken) noexcept {
    if (!buffer_.empty()) [[likely]] {
      to.emplace(buffer_.pop());
      if (links* const w = base::take_locked(senders_)) buffer_.push(take_from(*w, taken));
      size_.store(buffer_.size(), std::memory_order_relaxed);
      return true;
    }
    if (links* const w = base::take_locked(senders_)) {
      to.emplace(take_from(*w, taken));
      return true;
    }
    return closed_;
  }

  // ---- whole operations that do not wait
  SKUA_INLINE send_status try_send(value_type& v) noexcept {
    taken_waiter taken;
    send_status s;
    {
      locked_scope const g(lock_);
      s = send_locked(v, taken);
    }
    taken.wake();
    return s;
  }
  SKUA_INLINE bool try_receive(std::optional<value_type>& to) noexcept {
    taken_waiter taken;
    bool done;
    [[maybe_unused]] garbage old;   // freed behind the lock
    {
      locked_scope const g(lock_);
      done = receive_locked(to, taken);
      buffer_.take_garbage(old);
    }
    taken.wake();
    return done;
  }
  // Hints, without the lock.
  SKUA_INLINE bool looks_empty() const noexcept { return size_.load(std::memory_order_relaxed) == 0; }
  SKUA_INLINE bool looks_full() const noexcept { return size_.load(std::memory_order_relaxed) >= buffer_.capacity(); }

  Buffer buffer_;

private:
  SKUA_INLINE static value_type take_from(links& w, taken_waiter& taken) noexcept {
    auto& s = *static_cast<sending<value_type>*>(Waiting::slot(w));
    s.status = send_status::sent;
    taken.set(w);
    return std::move(s.message);
  }
  void discard() noexcept override {
    for (;;) {
      [[maybe_unused]] garbage old;
      std::optional<value_type> one;   // destroyed without the lock: T's destructor may do anything
      locked_scope const g(lock_);
      if (buffer_.empty()) return;
      one.emplace(buffer_.pop());
      buffer_.take_garbage(old);
      size_.store(buffer_.size(), std::memory_order_relaxed);
    }
  }
};

} // namespace skua::detail
