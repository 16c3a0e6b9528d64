// SPDX-License-Identifier: Apache-2.0
// in_arena: data parallelism on oneTBB from inside a task, without more threads than cores. This header needs oneTBB (libtbb-dev); a program
// that includes it links TBB::tbb.
//
// A thread of the blocking pool enters the arena, as oneTBB wants it: its own threads are one fewer than there are cores, and the one that
// enters makes up for it. Rejected: task_arena::enqueue, which leaves a core unused, cannot be taken back, and allocates.
#pragma once
#include "blocking.hpp"
#include <memory>
#include <oneapi/tbb/task_arena.h>
#include <stdexcept>
#include <type_traits>
#include <utility>

namespace skua {

namespace detail {

template <class F>
using arena_result = std::remove_cv_t<std::invoke_result_t<F&>>;
template <class F>
arena_result<F> run_in_arena(tbb::task_arena& arena, F& f) {
  using R = arena_result<F>;
  if constexpr (std::is_reference_v<R>) {   // oneTBB keeps no references
    return static_cast<R>(*arena.execute([&f] {
      R r = f();
      return std::addressof(r);
    }));
  } else {
    return arena.execute([&f]() -> R { return f(); });
  }
}

template <class F>
class arena_function {
public:
  template <class G>
  arena_function(tbb::task_arena* a, int concurrency, G&& f) : arena_(a), concurrency_(concurrency), f_(std::forward<G>(f)) {}
  arena_result<F> operator()() {
    if (arena_ != nullptr) return run_in_arena(*arena_, f_);
    tbb::task_arena own(concurrency_);
    return run_in_arena(own, f_);
  }

private:
  tbb::task_arena* arena_;   // null: one of our own
  int concurrency_;
  F f_;
};

} // namespace detail

// Calls f() inside `arena`, and gives what it returns or throws. Parallel algorithms in f (tbb::parallel_sort, parallel_for, ..) use at most as many
// threads as the arena has slots, however many cores the machine has.
//
// Share one arena among the tasks that need it: then all of them together use no more threads than that. The workers of the runtime go on meanwhile:
// give the arena the cores that they can spare. f is decay-copied into the awaiting coroutine, and runs when it is awaited, on a thread of the
// blocking pool together with oneTBB's.
//
// Thread safety: on workers only; f runs beside them.
// Stop: a suspension point, as spawn_blocking: f that has not begun never happens, f that has begun is waited for, so that a timeout around it
// returns late (S7). f may look for a stop by itself, through a std::stop_token or a tbb::task_group_context.
// Errors: what f throws; what spawn_blocking throws.
// Lifetime: the arena must live until it has returned.
//
//     co_await skua::in_arena(arena, [&] { tbb::parallel_sort(rows); });
template <class F>
auto in_arena(tbb::task_arena& arena, F&& f) {
  return spawn_blocking(detail::arena_function<std::decay_t<F>>(&arena, 0, std::forward<F>(f)));
}
// The same in an arena of its own, of `concurrency` threads. Errors: std::invalid_argument if it is less than 1.
template <class F>
auto in_arena(int concurrency, F&& f) {
  if (concurrency < 1) throw std::invalid_argument("skua: in_arena needs a concurrency of at least 1");
  return spawn_blocking(detail::arena_function<std::decay_t<F>>(nullptr, concurrency, std::forward<F>(f)));
}

} // namespace skua
