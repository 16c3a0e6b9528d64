// SPDX-License-Identifier: Apache-2.0
// A bounded pool of connections to one server.
//
// Its places are messages in a priority_channel: one that has an open connection in it comes before an empty one, and of either kind the oldest. Taking a place
// is recv(), which serves those who wait in the order of arrival and loses nothing if they are stopped; giving it back is try_send(), which always has room;
// closing the pool is close(). There is nothing else to lock.
//
//     place     empty --connect--> in use --keep()--> idle --recv(), still good--> in use
//               in use, idle --broken, not kept, too old--> empty
//
// A lease gives its place back when it dies, on every path. Its connection goes back only if keep() was called: in the middle of an exchange (an error, a
// timeout, a stop) nobody knows what is still under way on it, so it is closed.
//
//     example::connection_pool pool({.to = server, .connections = 8});
//     auto lease = co_await skua::timeout(1s, pool.acquire());
//     co_await lease.stream().write_all(request);
//     ..
//     lease.keep();
#pragma once
#include <atomic>
#include <cerrno>
#include <chrono>
#include <memory>
#include <optional>
#include <skua/channel.hpp>
#include <skua/endpoint.hpp>
#include <skua/tcp.hpp>
#include <skua/time.hpp>
#include <skua/timeout.hpp>
#include <stdexcept>
#include <sys/socket.h>
#include <system_error>
#include <utility>

namespace example {

class pool_closed : public std::runtime_error {
public:
  pool_closed() : std::runtime_error("the pool is closed") {}
};

struct pool_options {
  skua::endpoint to{};
  std::size_t connections = 8;                             // at most, at the same time
  std::chrono::milliseconds connect_limit{1000};           // then: timeout_error
  std::chrono::milliseconds idle_limit{60'000};            // older ones are not used again
};

struct pool_counts {
  std::atomic<int> open = 0, idle = 0, waiting = 0;        // connections; tasks in acquire() that have no place yet
  std::atomic<long> made = 0, reused = 0, discarded = 0;   // since the beginning; discarded: found dead or too old when it was to be used
};

class connection_pool {
  // What a connection counts as, for as long as it lives.
  class counted {
  public:
    explicit counted(std::atomic<int>& n) noexcept : n_(&n) { ++n; }
    counted(counted&& o) noexcept : n_(std::exchange(o.n_, nullptr)) {}
    counted& operator=(counted&&) = delete;
    ~counted() {
      if (n_ != nullptr) --*n_;
    }

  private:
    std::atomic<int>* n_;
  };
  struct connection {
    skua::tcp_stream stream;
    skua::clock::time_point used;   // last
    counted open;
  };
  struct place {
    std::unique_ptr<connection> held;   // null: empty
    std::optional<counted> idle{};
  };
  struct state {
    explicit state(pool_options const& o) : options(o), places(o.connections) {}
    pool_options const options;
    pool_counts counts;
    skua::priority_channel<place> places;   // destroyed first: what is in it is counted above
    void put(place p) noexcept {
      std::int64_t const warm = p.held != nullptr;
      if (warm) p.idle.emplace(counts.idle);
      (void)places.try_send(std::move(p), warm);   // there is room; if the pool is closed, the connection dies here
    }
  };

public:
  // A place, and mostly a connection in it.
  class lease {
  public:
    lease(lease&&) noexcept = default;
    lease& operator=(lease&&) = delete;
    ~lease() {
      if (pool_ == nullptr) return;
      if (!keep_) held_.reset();
      pool_->put({std::move(held_)});
    }
    skua::tcp_stream& stream() const noexcept { return held_->stream; }
    // Was it used before? The server may have closed it in the moment in which it was handed out: worth one more try.
    bool is_reused() const noexcept { return reused_; }
    // The exchange is complete: the connection may be used again.
    void keep() noexcept {
      held_->used = skua::clock::now();
      keep_ = true;
    }

  private:
    friend connection_pool;
    explicit lease(std::shared_ptr<state> pool, std::unique_ptr<connection> held) noexcept : pool_(std::move(pool)), held_(std::move(held)) {}
    std::shared_ptr<state> pool_;
    std::unique_ptr<connection> held_;
    bool keep_ = false, reused_ = false;
  };

  explicit connection_pool(pool_options const& o) : state_(std::make_shared<state>(o)) {
    for (std::size_t i = 0; i < o.connections; ++i) state_->put({});
  }
  connection_pool(connection_pool const&) = delete;
  ~connection_pool() { close(); }

  // Waits for a place, in order, then for a connection if the place has none that is still good. A stop, a timeout, an error: the place is given back.
  // Errors: pool_closed; system_error and timeout_error of connecting.
  skua::task<lease> acquire() {
    auto const pool = state_;   // the pool itself may go meanwhile
    lease mine(pool, co_await next_place(*pool));
    if (mine.held_ != nullptr && !is_good(*pool, *mine.held_)) {
      ++pool->counts.discarded;
      mine.held_.reset();
    }
    mine.reused_ = mine.held_ != nullptr;
    if (mine.reused_) {
      ++pool->counts.reused;
    } else {
      auto stream = co_await skua::timeout(pool->options.connect_limit, skua::tcp_stream::connect(pool->options.to));
      ++pool->counts.made;
      mine.held_ = std::make_unique<connection>(std::move(stream), skua::clock::now(), counted(pool->counts.open));
    }
    co_return std::move(mine);
  }

  // Idle connections are closed, who waits gets pool_closed; a connection that is in use is closed when it comes back. Any thread, any number of times.
  void close() noexcept {
    state_->places.close();
    while (state_->places.try_recv()) {
    }
  }

  pool_counts const& counts() const noexcept { return state_->counts; }

private:
  static skua::task<std::unique_ptr<connection>> next_place(state& s) {
    counted const here(s.counts.waiting);
    auto p = co_await s.places.recv();
    if (!p) throw pool_closed();
    co_return std::move(p->held);
  }

  // The server has not closed it, and has sent nothing that nobody asked for.
  static bool is_good(state const& s, connection const& c) noexcept {
    if (skua::clock::now() - c.used > s.options.idle_limit) return false;
    char byte;
    return ::recv(c.stream.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
  }

  std::shared_ptr<state> state_;
};

} // namespace example
