// SPDX-License-Identifier: Apache-2.0
// The open connections of a server, so that it can end in order: each of them may finish what it has received, and hears nothing new.
//
// A connection is told by shutting down the receiving half of its socket: it reads what has arrived, then the end of the stream, and ends as if its client
// had closed. Nothing is cut off, whatever the connection is doing at that moment, and its code needs no further case.
//
//     example::connections open;                        // outlives the runtime
//     skua::run_until_signal(serve(open));
//
//     skua::task<> serve(example::connections& open) {
//       auto listener = ..;
//       auto const at_end = open.drained_at_end();      // also when the task is stopped: that runs destructors
//       for (;;) skua::spawn_detached(talk, co_await listener.accept(), std::ref(open));
//     }
//     skua::task<> talk(skua::tcp_stream stream, example::connections& open) {
//       example::connections::entry const here(open, stream);
//       ..
#pragma once
#include <atomic>
#include <mutex>
#include <skua/tcp.hpp>
#include <sys/socket.h>

namespace example {

class connections {
public:
  // Lists a stream, which must not move, for as long as the entry lives.
  class entry {
  public:
    entry(connections& list, skua::tcp_stream const& stream) : list_(list), stream_(stream) {
      std::lock_guard const lock(list_.mutex_);
      next_ = list_.first_;
      if (next_ != nullptr) next_->previous_ = this;
      list_.first_ = this;
      if (list_.draining()) stop_receiving();
    }
    ~entry() {
      std::lock_guard const lock(list_.mutex_);
      (previous_ != nullptr ? previous_->next_ : list_.first_) = next_;
      if (next_ != nullptr) next_->previous_ = previous_;
    }
    entry(entry const&) = delete;
    entry& operator=(entry const&) = delete;

  private:
    friend class connections;
    void stop_receiving() const noexcept { ::shutdown(stream_.native_handle(), SHUT_RD); }

    connections& list_;
    skua::tcp_stream const& stream_;
    entry *previous_ = nullptr, *next_ = nullptr;
  };

  bool draining() const noexcept { return draining_.load(std::memory_order_relaxed); }

  // From now on no connection receives anything new.
  void drain() noexcept {
    std::lock_guard const lock(mutex_);
    draining_.store(true, std::memory_order_relaxed);   // a hint to those that read it without the lock
    for (entry* e = first_; e != nullptr; e = e->next_) e->stop_receiving();
  }

  class drain_guard {
  public:
    explicit drain_guard(connections& list) noexcept : list_(list) {}
    ~drain_guard() { list_.drain(); }
    drain_guard(drain_guard const&) = delete;
    drain_guard& operator=(drain_guard const&) = delete;

  private:
    connections& list_;
  };
  [[nodiscard("drains at the end of its scope")]] drain_guard drained_at_end() noexcept { return drain_guard(*this); }

private:
  std::mutex mutex_;   // held for a few instructions, but for drain(): a task may take it
  entry* first_ = nullptr;
  std::atomic<bool> draining_{false};
};

} // namespace example
