// SPDX-License-Identifier: Apache-2.0
// What of the models is the same in all: Relacy's scheduler and cells, compiled once and optimised (relacy_engine.hpp).
#include "relacy_engine.hpp"
#include <atomic>   // all of the standard library before Relacy, whose macros it would not survive
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>
#include <sstream>
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
[[noreturn]] void skua::detail::check_failed(char const* what, char const*, int) noexcept {
  rl::ctx().fail_test(what, rl::test_result_user_assert_failed, $);
  std::abort();   // not reached: fail_test switches away for good
}

namespace relacy_detail {
namespace {

rl::memory_order order(std::memory_order o) {
  switch (o) {
  case std::memory_order_relaxed: return rl::mo_relaxed;
  case std::memory_order_acquire: return rl::mo_acquire;
  case std::memory_order_release: return rl::mo_release;
  case std::memory_order_acq_rel: return rl::mo_acq_rel;
  default: return rl::mo_seq_cst;
  }
}

// What every thread of the running iteration has seen, for heavy_barrier(). A thread that has not begun yet takes part by learning, when it
// begins, what the barriers before it told everybody.
struct participants {
  static constexpr unsigned most = 8;
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
participants everybody;

any_suite* (*make_suite)(void*);
void* suite_memory;   // the same for every schedule

// The suite as given, with its threads made known to heavy_barrier().
template <unsigned Threads>
struct model : rl::test_suite<model<Threads>, Threads> {
  static_assert(Threads <= participants::most);
  any_suite* suite;
  model() : suite(make_suite(suite_memory)) {}
  ~model() { suite->~any_suite(); }
  void before() {
    everybody.clear();
    suite->before();
  }
  void thread(unsigned index) {
    everybody.enter(index);
    suite->thread(index);
  }
  void after() { suite->after(); }
};

// As rl::simulate(), without the second run that it makes for the history of a failure.
template <unsigned Threads>
bool search(rl::test_params& p) {
  std::ostringstream state;
  p.test_name = "model";
  if (p.search_type == rl::sched_random) return rl::run_test<model<Threads>, rl::random_scheduler<Threads>>(p, state, false) == rl::test_result_success;
  return rl::run_test<model<Threads>, rl::context_bound_scheduler<Threads>>(p, state, false) == rl::test_result_success;
}

} // namespace

template <class W> rl::atomic<W>& of(atomic_cell<W>& c) { return reinterpret_cast<rl::atomic<W>&>(c); }
template <class W> rl::atomic<W> const& of(atomic_cell<W> const& c) { return reinterpret_cast<rl::atomic<W> const&>(c); }
template <class W> rl::var<W>& of(var_cell<W>& c) { return reinterpret_cast<rl::var<W>&>(c); }
template <class W> rl::var<W> const& of(var_cell<W> const& c) { return reinterpret_cast<rl::var<W> const&>(c); }

template <class W> atomic_cell<W>::atomic_cell(W v) {
  static_assert(sizeof(rl::atomic<W>) <= sizeof(bytes_) && alignof(rl::atomic<W>) <= alignof(atomic_cell));
  ::new (static_cast<void*>(bytes_)) rl::atomic<W>;
  store(v, std::memory_order_relaxed);
}
template <class W> atomic_cell<W>::~atomic_cell() { of(*this).~atomic(); }
template <class W> W atomic_cell<W>::load(std::memory_order o) const { return of(*this).load(order(o), $); }
template <class W> void atomic_cell<W>::store(W v, std::memory_order o) { of(*this).store(v, order(o), $); }
template <class W> W atomic_cell<W>::exchange(W v, std::memory_order o) { return of(*this).exchange(v, order(o), $); }
template <class W> W atomic_cell<W>::fetch_add(W v, std::memory_order o) { return of(*this).fetch_add(v, order(o), $); }
template <class W> W atomic_cell<W>::fetch_and(W v, std::memory_order o) { return of(*this).fetch_and(v, order(o), $); }
template <class W> W atomic_cell<W>::fetch_or(W v, std::memory_order o) { return of(*this).fetch_or(v, order(o), $); }
template <class W> W atomic_cell<W>::fetch_xor(W v, std::memory_order o) { return of(*this).fetch_xor(v, order(o), $); }
template <class W> bool atomic_cell<W>::compare_exchange(bool weak, W& e, W v, std::memory_order success, std::memory_order failure) {
  return weak ? of(*this).compare_exchange_weak(e, v, order(success), $, order(failure), $)
              : of(*this).compare_exchange_strong(e, v, order(success), $, order(failure), $);
}
template <class W> var_cell<W>::var_cell(W v) {
  static_assert(sizeof(rl::var<W>) <= sizeof(bytes_) && alignof(rl::var<W>) <= alignof(var_cell));
  ::new (static_cast<void*>(bytes_)) rl::var<W>;
  store(v);
}
template <class W> var_cell<W>::~var_cell() { of(*this).~var(); }
template <class W> W var_cell<W>::load() const { return of(*this)($); }
template <class W> void var_cell<W>::store(W v) { of (*this)($) = v; }

template class atomic_cell<std::uint8_t>;
template class atomic_cell<std::uint16_t>;
template class atomic_cell<std::uint32_t>;
template class atomic_cell<std::uint64_t>;
template class var_cell<std::uint8_t>;
template class var_cell<std::uint16_t>;
template class var_cell<std::uint32_t>;
template class var_cell<std::uint64_t>;

void heavy_barrier() {
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

void yield() { rl::yield(1, $); }
unsigned rand(unsigned limit) { return rl::rand(limit); }
unsigned thread_index() { return rl::thread_index(); }
bool is_random() { return rl::ctx().is_random_sched(); }
void fail(char const* what, char const* file, unsigned line) {
  rl::ctx().fail_test(what, rl::test_result_user_assert_failed, rl::debug_info("model", file, line));
  std::abort();   // not reached
}

int simulate(unsigned threads, any_suite* (*make)(void*), std::size_t size, int argc, char** argv) {
  rl::test_params p;
  char const* const how = argc > 1 ? argv[1] : "random";
  bool const bound = std::strncmp(how, "bound", 5) == 0;
  p.search_type = bound ? rl::sched_bound : rl::sched_random;
  p.context_bound = bound && how[5] != 0 ? static_cast<unsigned>(std::atoi(how + 5)) : 3;
  p.iteration_count = argc > 2 ? static_cast<rl::iteration_t>(std::atoll(argv[2])) : 100000;
  p.execution_depth_limit = 20000;
  p.collect_history = argc > 3;
  std::ostringstream out, progress;
  p.output_stream = &out;
  p.progress_stream = &progress;
  make_suite = make;
  suite_memory = (std::malloc)(size);   // not Relacy's macro
  bool ok = false;
  switch (threads) {
  case 3: ok = search<3>(p); break;
  case 4: ok = search<4>(p); break;
  case 5: ok = search<5>(p); break;
  default: std::printf("%u threads: add them in relacy_engine.cpp\n", threads); return 2;
  }
  std::printf("%s %llu%s%s\n", ok ? "ok" : "error", static_cast<unsigned long long>(p.stop_iteration), ok ? "" : " ",
              ok ? "" : rl::test_result_str(p.test_result));
  if (!ok && argc > 3) std::puts(out.str().c_str());
  return ok ? 0 : 1;
}

} // namespace relacy_detail
