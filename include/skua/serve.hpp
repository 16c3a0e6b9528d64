// SPDX-License-Identifier: Apache-2.0
// serve: accepts connections, runs a handler for each, and ends in order.
//
//     serve              a when_all of two branches
//       accept_connections   waits for room, accepts, spawns. A stop ends it: it closes the listener, and says so
//       keep_connections     shielded: the group that the connections are tasks of. When the other one has ended, it tells them that nothing more will come,
//                            waits for them, and stops those that take longer than the grace period. A task of its own hears of the end of the runtime, which
//                            does not reach behind the shield (S15), and ends the grace period
#pragma once
#include "detail/connection_list.hpp"
#include "event.hpp"
#include "task.hpp"
#include "task_group.hpp"
#include "this_task.hpp"
#include "time.hpp"
#include "when_all.hpp"
#include <chrono>
#include <concepts>
#include <cstddef>
#include <functional>
#include <new>
#include <source_location>
#include <type_traits>
#include <utility>

namespace skua {

struct serve_limits {
  std::size_t max_connections = 65'536;                        // that are served at the same time; more wait in the listener's backlog
  std::chrono::nanoseconds grace = std::chrono::seconds(10);   // what handlers may still take when the server is stopped; then they are stopped, too
};

// What a handler may ask of the server that it works for. Thread safety: any thread. Lifetime: until the handler has ended.
class serving {
public:
  // The server ends: this connection receives nothing new, so say in the answer that it is the last one, where the protocol can.
  bool draining() const noexcept;
  // That are being served now, this one included.
  std::size_t connections() const noexcept;

  // For skua's own parts.
  explicit serving(detail::connection_list const& l) noexcept : list_(l) {}

private:
  detail::connection_list const& list_;
};

namespace detail {

struct server {
  connection_list list;
  serving view{list};
  event is_open, has_closed;            // keep_connections is there; accept_connections has ended
  task_group* connections = nullptr;    // from is_open on
  std::source_location site;

  explicit server(std::source_location s) noexcept : site(s) {}
  template <class Call, class Stream>
  bool spawn(Call&& call, Stream&& s);   // false: there was no memory for it, and that was reported
};

[[noreturn]] SKUA_COLD void refuse_to_serve_none();
SKUA_COLD void report_refused_connection() noexcept;   // current_exception()
task<> keep_connections(server& s, serve_limits limits);

template <class Handler, class Stream>
concept asks_server = std::is_invocable_r_v<task<>, Handler const&, Stream, serving const&>;
template <class Handler, class Stream>
concept connection_handler = asks_server<Handler, Stream> || std::is_invocable_r_v<task<>, Handler const&, Stream>;

template <class Handler>
struct server_with : server {
  Handler const& handler;
  server_with(std::source_location s, Handler const& h) noexcept : server(s), handler(h) {}
};

// The callable of a connection's task: it makes the handler's coroutine, and is there until that has ended. Small: every idle connection has one.
template <class Handler>
class connection_call {
public:
  explicit connection_call(server_with<Handler>& s) noexcept : server_(s) {}
  connection_call(connection_call&& o) noexcept : server_(o.server_) {}   // before it is called
  ~connection_call() { server_.list.unlist(entry_); }
  // `s` lies in the task's block, so a handler may take it by reference as well.
  template <class Stream>
  task<> operator()(Stream&& s) {
    server_.list.enlist(entry_, s.handle());
    if constexpr (asks_server<Handler, Stream>)
      return std::invoke(server_.handler, std::move(s), server_.view);
    else
      return std::invoke(server_.handler, std::move(s));
  }

private:
  server_with<Handler>& server_;
  connection_list::entry entry_;
};

template <class Call, class Stream>
bool server::spawn(Call&& call, Stream&& s) {
  try {
    connections->spawn_at(site, std::forward<Call>(call), std::forward<Stream>(s));
  } catch (std::bad_alloc const&) {
    report_refused_connection();
    return false;
  } catch (...) {   // of a handler that is no coroutine
    report_refused_connection();
  }
  return true;
}

template <class Listener, class Handler>
task<> accept_connections(server_with<Handler>& s, Listener& listener) {
  struct closing {
    server& s;
    Listener& listener;
    ~closing() {
      listener.close();
      s.has_closed.set();
    }
  } const at_end{s, listener};
  co_await s.is_open.wait();
  co_await this_task::yield();   // having suspended once, it needs no memory to wait (S26): from here on a lack of it ends nothing
  for (;;) {
    co_await s.connections->room();
    bool enough_memory = false;
    try {
      auto stream = co_await listener.accept();
      enough_memory = s.spawn(connection_call<Handler>(s), std::move(stream));
    } catch (std::bad_alloc const&) {   // of accept()
      report_refused_connection();
    }
    // Without memory the next one would fare no better: accept() waits for as long when the kernel has none.
    if (!enough_memory) co_await sleep_for(std::chrono::milliseconds(10));
  }
}

} // namespace detail

// Accepts connections from `listener`, a tcp_listener or a unix_listener, and runs handler(stream) for each, as a task of its own, until it is stopped. The
// handler is a coroutine that takes the stream by value and returns task<>; handler(stream, serving const&) may ask about the server. There is one handler
// for all, which is called as const, from several workers.
//
// When the limit of connections is reached, the next one is accepted when one has ended.
//
// Thread safety: on workers only.
// Stop: the server ends in order. It closes the listener: clients that it has not accepted yet are reset. Every connection is shut for reading
// (stream_socket::shutdown_read): its handler gets what has arrived already, then the end of the stream, as if the client had closed, and answers what it
// has. When all have ended, so does serve(). Those that take longer than `grace` are stopped; a runtime that shuts down (its main task has ended, or a
// second signal of run_until_signal has come) ends that period. All this holds up the task that awaits serve(), also behind a timeout.
// Errors: what a handler throws goes to the failure handler (S23), and neither ends the server nor touches the others: catch what is the day's work, such as
// the transfer_error of a client that is gone. A connection for which there is no memory is closed, and the failure handler hears of it; without memory for
// its timer there is no grace period. Thrown, when all connections have ended: what accept() throws; usage_error for a limit of 0; bad_alloc before it has
// begun.
// Lifetime: listener and handler live in the task that is returned, and so outlive the connections: the handler may be a lambda with captures.
//
//     auto listener = skua::tcp_listener::bind(skua::endpoint::any(8080));
//     return skua::run_until_signal(skua::serve(std::move(listener), talk)).exit_status();
template <class Listener, class Handler>
task<> serve(Listener listener, Handler handler, serve_limits limits = {}, std::source_location site = std::source_location::current()) {
  using stream = typename decltype(listener.accept())::value_type;
  static_assert(detail::connection_handler<Handler, stream>,
                "serve(listener, handler): the handler is a coroutine that can be called as handler(stream) or handler(stream, skua::serving const&), also if "
                "it is const, takes the stream by value, and returns skua::task<>");
  if (limits.max_connections == 0) detail::refuse_to_serve_none();
  detail::server_with<Handler> s(site, handler);
  co_await when_all(detail::keep_connections(s, limits), detail::accept_connections(s, listener));
}

} // namespace skua
