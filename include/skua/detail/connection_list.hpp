// SPDX-License-Identifier: Apache-2.0
// The connections of a server, for draining. serve.hpp has the rest.
//
// An entry lies in the block of its connection's task, and knows the connection by descriptor and generation: so the handler may move its stream to wherever it
// likes, close it, or give it away, and what is shut for reading in the end is that connection or none.
//
//     open    heard of nothing yet
//     told    shut for reading: its handler reads what has arrived, then the end of the stream
//
// Under the lock:                                                        who
// enlist         -> open                                                 whoever accepts
// unlist         out of either                                           the destructor: the task has ended, or was never made
// drain          draining                                                once, when whoever accepts has ended
// tell_some      open -> told, up to a batch, and shuts those            after that, until it says that nothing is left
//
// INV-SERVE-1  When tell_some() has returned false, every connection that is listed is shut, and none comes any more.
//
// Thread safety: any thread.
#pragma once
#include "socket_handle.hpp"
#include "spin_lock.hpp"
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace skua::detail {

class connection_list {
  struct link {
    link *next = this, *previous = this;
  };

public:
  connection_list() noexcept = default;
  connection_list(connection_list const&) = delete;

  struct entry : link {
    descriptor* target = nullptr;   // null: it is not listed
    std::uint32_t generation = 0;
  };
  void enlist(entry& e, socket_handle const& connection) noexcept;
  void unlist(entry& e) noexcept;   // nothing if it is not listed

  bool draining() const noexcept { return draining_.load(std::memory_order_relaxed); }   // relaxed: a hint; who must know has the lock
  std::size_t size() const noexcept { return size_.load(std::memory_order_relaxed); }    // relaxed: a count
  void drain() noexcept;
  [[nodiscard]] bool tell_some() noexcept;   // false: nothing is left to tell

private:
  static void insert(link& ring, link& l) noexcept;
  static void remove(link& l) noexcept;

  spin_lock<> lock_;
  std::atomic<bool> draining_{false};   // written under the lock
  std::atomic<std::size_t> size_{0};    // likewise
  link open_, told_;
};

} // namespace skua::detail
