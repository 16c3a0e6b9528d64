// SPDX-License-Identifier: Apache-2.0
// runtime: N workers, an I/O thread, timers; run: the shortest way to have one.
#pragma once
#include "clock.hpp"
#include "detail/duration.hpp"
#include "failure.hpp"
#include "metrics.hpp"
#include "options.hpp"
#include "spawn.hpp"
#include "task.hpp"
#include <chrono>
#include <concepts>
#include <cstdint>
#include <iosfwd>
#include <memory>
#include <source_location>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace skua {

// A task that was still alive when a shutdown's limit passed.
struct survivor {
  std::uint64_t id = 0;
  std::string name;                  // empty: none was given
  std::source_location spawned_at;
  std::string waits_for;             // "sleep", "read", "join" ..; "running" while it runs or is queued
};

// Blocking work (spawn_blocking, a file, name resolution) that was still running when a shutdown's limit passed. It cannot be stopped (S7): either a
// survivor waits for it, or it was abandoned.
struct unfinished_work {
  std::uint64_t task_id = 0;         // whose work it is; the task may have ended
  std::string task_name;             // empty: none was given
  std::source_location spawned_at;   // where that task was spawned
  std::chrono::nanoseconds running_for{0};
  bool abandoned = false;
};

struct shutdown_report {
  std::vector<survivor> survivors;        // empty: every task has ended
  std::vector<unfinished_work> blocking;  // empty: and all blocking work
  bool clean() const noexcept { return survivors.empty() && blocking.empty(); }
};

namespace detail {

class runtime_core;

std::uint16_t index_of(runtime_core& c) noexcept;
// Queues a task that a thread from outside has made. Throws usage_error when the runtime is shutting down; then the task is destroyed.
void start_from_outside(runtime_core& c, task_header& h);
void check_may_block(char const* what);   // usage_error on a worker of any runtime, and after fork()
void block_until_end(runtime_core& c, task_header& h);   // stuck_error, when the task has ended

} // namespace detail

// Owns the worker threads, the I/O thread and the timers, and runs tasks until it is destroyed. Several runtimes may live in one process.
//
// Thread safety: every member may be called from any thread, but for construction and destruction. Blocking members (block_on, shutdown) must not
// be called from inside a runtime (usage_error); block_on may, and shutdown may not, by blocking work of this one.
// Stop: shutdown() and the destructor request stop of every task.
// Errors: std::invalid_argument for an option out of its range; std::system_error when threads or descriptors cannot be had; usage_error after fork(), and
// inside a task, which could not wait for the runtime's end.
// Lifetime: the destructor stops and joins every task, however long that takes: nothing is ever freed under a running thread (S22). It must not
// run on a worker, nor on a blocking thread of its own. It never touches signal handlers (S25).
class runtime : detail::sited_spawn<runtime>, detail::sited_block_on<runtime> {
public:
  explicit runtime(options const& o = {});
  ~runtime();
  runtime(runtime const&) = delete;
  runtime& operator=(runtime const&) = delete;

  // Runs `t` as a task and blocks this thread until it has ended. Returns its result or throws what it threw; task_stopped if it was stopped; stuck_error
  // under virtual time, when nothing can go on (docs/virtual-time.md).
  template <class T>
  T block_on(task<T> t, std::source_location site = std::source_location::current()) {
    return block_on_at(site, std::move(t));
  }
  // block_on(f, args...): as spawn(f, args...), then waits.
  using sited_block_on::block_on;

  // Starts a task from any thread; skua::spawn has the semantics. The handle may be kept by any thread; only a task can await it.
  using sited_spawn::spawn;   // (f, args...), (named(..), f, args...), (task)

  // Requests stop of every task, without waiting. Tasks that are spawned later are not affected.
  void request_stop() noexcept;

  // Stops accepting tasks from outside, requests stop of every task, and waits until all have ended, and the blocking work that was abandoned, or until
  // `limit` has passed. Reports who is still alive then, by name, spawn site and what it waits for (S22), and which blocking work. May be called again.
  template <class Rep, class Period>
  shutdown_report shutdown(std::chrono::duration<Rep, Period> limit) {
    return shutdown_within(std::chrono::nanoseconds(detail::ns_at_most(limit)));
  }

  // The time of this runtime: what clock::now() says in its tasks. Virtual under the virtual driver.
  clock::time_point now() const noexcept;
  // Counters of what the runtime has done; cheap, always on. Exact when nothing runs.
  struct metrics metrics() const;
  unsigned workers() const noexcept;
  // What drives it: "epoll", "virtual"; and files: "io_uring", "threads".
  std::string_view backend() const noexcept;
  std::string_view file_backend() const noexcept;

  // Writes a line for every task: id, name, spawn site, parent, what it waits for; and for blocking work that runs. While the runtime runs it is a
  // snapshot, not a consistent cut. Of a task that waits for branches (when_all, timeout ..) it shows, each on a line, what each of them waits for; while
  // a stop is on its way through them some may be missing. Thread safety: any thread, also a task. It holds up nobody but who spawns a task, and who goes on
  // behind branches that it is looking at: for as long as it takes to read.
  void dump(std::ostream& out) const;

  // For skua's own parts.
  detail::runtime_core& core() const noexcept { return *core_; }

private:
  friend detail::sited_spawn<runtime>;
  friend detail::sited_block_on<runtime>;
  shutdown_report shutdown_within(std::chrono::nanoseconds limit);

  template <class F, class... Args>
  decltype(auto) block_on_at(std::source_location site, F&& f, Args&&... args) {
    detail::check_may_block("runtime::block_on");
    return finish(spawn_at(site, std::forward<F>(f), std::forward<Args>(args)...));
  }

  template <class F, class... Args>
  auto spawn_at(std::source_location site, F&& f, Args&&... args) {
    if constexpr (std::same_as<std::remove_cvref_t<F>, named>)
      return start(detail::make_any_task({detail::index_of(*core_), detail::make_named(f.text, site)}, std::forward<Args>(args)...));
    else
      return start(detail::make_any_task({detail::index_of(*core_), site}, std::forward<F>(f), std::forward<Args>(args)...));
  }
  template <class T>
  join_handle<T> start(detail::result_block<T>* b) {
    detail::start_from_outside(*core_, *b);
    return join_handle<T>(b);
  }
  template <class T>
  T finish(join_handle<T> h) {
    detail::block_until_end(*core_, *h.block());
    return typename join_handle<T>::awaiter(h.block()).await_resume();
  }

  std::unique_ptr<detail::runtime_core> core_;
};

// Runs `main_task` in a runtime of its own and returns its result. When it has ended, the tasks that are left are stopped and joined.
//
//     int main() { return skua::run(server(8080)); }
template <class T>
T run(task<T> main_task, std::source_location site = std::source_location::current()) {
  detail::check_may_block("run");
  runtime rt;
  return rt.block_on(std::move(main_task), site);
}
template <class T>
T run(options const& o, task<T> main_task, std::source_location site = std::source_location::current()) {
  detail::check_may_block("run");
  runtime rt(o);
  return rt.block_on(std::move(main_task), site);
}

} // namespace skua
