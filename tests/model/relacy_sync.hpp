// SPDX-License-Identifier: Apache-2.0
// The model checker's side of detail/sync.hpp: Relacy under the names that the library's templates use, so that a model checks the very
// header that ships.
//
// A model is a suite: `struct model : rl::test_suite<model, THREADS> { void before(); void thread(unsigned index); void after(); };`, checks
// with RL_ASSERT, and ends with `int main(int argc, char** argv) { return simulate<model>(argc, argv); }`.
// Include this header before any header of the library.
//
// What is modelled, and how faithfully:
//     atomic, orders    C++11 as Relacy implements it: a load sees the newest value or, if nothing forbids it, an older one (up to two older
//                       with `random`, one with `boundN` and `full`). A weak CAS fails spuriously.
//     var               races and uses after death are errors.
//     heavy_barrier()   not one instant: the caller exchanges what it has seen with one other thread after the other, and anything may run
//                       in between; each knows then what the caller knew when it called, and the caller, at the end, what each knew.
//                       Two others learn nothing from each other. Weaker than the real one (which is a full barrier in every thread, also
//                       for relaxed accesses before it), so what holds here holds there.
//     backoff           yields.
#pragma once
#include <atomic>   // all of the standard library before Relacy, whose macros it would not survive
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>
#include <sstream>
#include <type_traits>
#include <utility>
#include "skua/detail/config.hpp"
#include <relacy/relacy.hpp>
#undef memory_order_relaxed
#undef memory_order_consume
#undef memory_order_acquire
#undef memory_order_release
#undef memory_order_acq_rel
#undef memory_order_seq_cst
#undef new
#undef delete

// A SKUA_CHECK that fails is an error that the model has found. (A model links nothing of the library.)
[[noreturn, gnu::weak]] void skua::detail::check_failed(char const* what, char const*, int) noexcept {
  rl::ctx().fail_test(what, rl::test_result_user_assert_failed, $);
  std::abort();   // not reached: fail_test switches away for good
}

namespace relacy_detail {

inline rl::memory_order order(std::memory_order o) {
  switch (o) {
  case std::memory_order_relaxed: return rl::mo_relaxed;
  case std::memory_order_acquire: return rl::mo_acquire;
  case std::memory_order_release: return rl::mo_release;
  case std::memory_order_acq_rel: return rl::mo_acq_rel;
  default: return rl::mo_seq_cst;
  }
}

// The failure order of a CAS that names only one.
inline std::memory_order failure(std::memory_order o) {
  if (o == std::memory_order_acq_rel) return std::memory_order_acquire;
  return o == std::memory_order_release ? std::memory_order_relaxed : o;
}

// What every thread of the running iteration has seen, for heavy_barrier(). A thread that has not begun yet takes part by learning, when it
// begins, what the barriers before it told everybody.
struct participants {
  static constexpr unsigned most = 16;
  rl::thread_info_base* thread[most] = {};
  rl::timestamp_t told[most] = {};
  void clear() { *this = participants{}; }
  void enter(unsigned index) {
    rl::context& c = rl::ctx();
    thread[index] = c.threadx_;
    learn(*c.threadx_, told);
  }
  static void learn(rl::thread_info_base& t, rl::timestamp_t const* from) {
    for (unsigned i = 0; i != rl::ctx().get_thread_count(); ++i)
      if (t.acq_rel_order_[i] < from[i]) t.acq_rel_order_[i] = from[i];
  }
  static void collect(rl::timestamp_t* into, rl::thread_info_base const& t) {
    for (unsigned i = 0; i != rl::ctx().get_thread_count(); ++i)
      if (into[i] < t.acq_rel_order_[i]) into[i] = t.acq_rel_order_[i];
  }
};
inline participants everybody;

} // namespace relacy_detail

struct relacy_sync {
  template <class T>
  class atomic {
  public:
    atomic(T v = T{}) { a_.store(v, rl::mo_relaxed, $); }
    T load(std::memory_order o = std::memory_order_seq_cst) const { return a_.load(relacy_detail::order(o), $); }
    void store(T v, std::memory_order o = std::memory_order_seq_cst) { a_.store(v, relacy_detail::order(o), $); }
    T exchange(T v, std::memory_order o = std::memory_order_seq_cst) { return a_.exchange(v, relacy_detail::order(o), $); }
    T fetch_add(T v, std::memory_order o = std::memory_order_seq_cst) { return a_.fetch_add(v, relacy_detail::order(o), $); }
    T fetch_sub(T v, std::memory_order o = std::memory_order_seq_cst) { return a_.fetch_add(static_cast<T>(T{} - v), relacy_detail::order(o), $); }
    T fetch_and(T v, std::memory_order o = std::memory_order_seq_cst) { return a_.fetch_and(v, relacy_detail::order(o), $); }
    T fetch_or(T v, std::memory_order o = std::memory_order_seq_cst) { return a_.fetch_or(v, relacy_detail::order(o), $); }
    T fetch_xor(T v, std::memory_order o = std::memory_order_seq_cst) { return a_.fetch_xor(v, relacy_detail::order(o), $); }
    bool compare_exchange_strong(T& e, T v, std::memory_order o = std::memory_order_seq_cst) {
      return compare_exchange_strong(e, v, o, relacy_detail::failure(o));
    }
    bool compare_exchange_weak(T& e, T v, std::memory_order o = std::memory_order_seq_cst) {
      return compare_exchange_weak(e, v, o, relacy_detail::failure(o));
    }
    bool compare_exchange_strong(T& e, T v, std::memory_order success, std::memory_order failure) {
      return a_.compare_exchange_strong(e, v, relacy_detail::order(success), $, relacy_detail::order(failure), $);
    }
    bool compare_exchange_weak(T& e, T v, std::memory_order success, std::memory_order failure) {
      return a_.compare_exchange_weak(e, v, relacy_detail::order(success), $, relacy_detail::order(failure), $);
    }

  private:
    rl::atomic<T> a_;
  };

  template <class T>
  class var {
  public:
    var(T v = T{}) { v_($) = v; }
    var(var const& o) : var(static_cast<T>(o)) {}
    operator T() const { return v_($); }
    T operator->() const { return v_($); }   // for pointers
    var& operator=(T v) {
      v_($) = v;
      return *this;
    }
    var& operator=(var const& o) { return *this = static_cast<T>(o); }
    template <class D> var& operator+=(D d) { return *this = static_cast<T>(static_cast<T>(*this) + d); }
    template <class D> var& operator-=(D d) { return *this = static_cast<T>(static_cast<T>(*this) - d); }
    var& operator++() { return *this += 1; }
    var& operator--() { return *this -= 1; }

  private:
    rl::var<T> v_;
  };

  // A stand-alone fence: prefer ordered operations (ThreadSanitizer does not model fences).
  static void fence(std::memory_order o) { rl::atomic_thread_fence(relacy_detail::order(o), $); }

  static void heavy_barrier() noexcept {
    using relacy_detail::everybody;
    using relacy_detail::participants;
    rl::context& c = rl::ctx();
    unsigned const self = c.current_thread();
    rl::atomic_thread_fence(rl::mo_seq_cst, $);
    rl::timestamp_t mine[participants::most] = {}, theirs[participants::most] = {};
    participants::collect(mine, *c.threadx_);
    participants::collect(everybody.told, *c.threadx_);   // for those who begin later
    for (unsigned i = 0; i != c.get_thread_count(); ++i) {
      if (i == self) continue;
      c.sched();
      if (rl::thread_info_base* t = everybody.thread[i]) {
        participants::collect(theirs, *t);
        participants::learn(*t, mine);
      }
    }
    participants::learn(*c.threadx_, theirs);
    rl::atomic_thread_fence(rl::mo_seq_cst, $);
  }

  static void light_barrier() noexcept {}   // Relacy runs a thread's operations in order; what a load sees is heavy_barrier()'s business

  class backoff {
  public:
    void pause() { rl::yield(1, $); }
  };
};

// An object whose death Relacy sees: its atomics and plain fields are destroyed, the memory stays.
template <class T>
class mortal {
public:
  template <class... A>
  T& make(A&&... a) {
    return *::new (static_cast<void*>(&get())) T(std::forward<A>(a)...);
  }
  T& get() { return *reinterpret_cast<T*>((reinterpret_cast<std::uintptr_t>(bytes_) + 63) & ~std::uintptr_t{63}); }
  T* operator->() { return &get(); }
  T& operator*() { return get(); }
  void destroy() { get().~T(); }

private:
  unsigned char bytes_[sizeof(T) + 63];   // Relacy does not align the suite
};

// The suite as given, with its threads made known to heavy_barrier().
template <class Suite>
struct observed_suite : Suite {
  void before() {
    relacy_detail::everybody.clear();
    Suite::before();
  }
  void thread(unsigned index) {
    relacy_detail::everybody.enter(index);
    Suite::thread(index);
  }
};

// usage: model [random|boundN|full] ITERATIONS [verbose]
//   random   ITERATIONS random schedules (default 100000)
//   boundN   every schedule with at most N preemptions; ITERATIONS is ignored (default N: 3)
//   full     every schedule; ITERATIONS is ignored
//   verbose  prints the history of the first failure
// One line on stdout, "ok COUNT" or "error COUNT what". Exit status 0: no error found.
template <class Suite>
int simulate(int argc, char** argv) {
  static_assert(Suite::params::thread_count <= relacy_detail::participants::most);
  rl::test_params p;
  char const* const how = argc > 1 ? argv[1] : "random";
  bool const bound = std::strncmp(how, "bound", 5) == 0;
  p.search_type = std::strcmp(how, "full") == 0 ? rl::sched_full : bound ? rl::sched_bound : rl::sched_random;
  p.context_bound = bound && how[5] != 0 ? static_cast<unsigned>(std::atoi(how + 5)) : 3;
  p.iteration_count = argc > 2 ? static_cast<rl::iteration_t>(std::atoll(argv[2])) : 100000;
  p.execution_depth_limit = 20000;
  p.collect_history = argc > 3;
  std::ostringstream out, progress;
  p.output_stream = &out;
  p.progress_stream = &progress;
  bool const ok = rl::simulate<observed_suite<Suite>>(p);
  std::printf("%s %llu%s%s\n", ok ? "ok" : "error", static_cast<unsigned long long>(p.stop_iteration), ok ? "" : " ",
              ok ? "" : rl::test_result_str(p.test_result));
  if (!ok && argc > 3) std::puts(out.str().c_str());
  return ok ? 0 : 1;
}
