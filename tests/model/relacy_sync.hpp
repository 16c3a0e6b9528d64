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
//                       with `random`, one with `boundN`). A weak CAS fails spuriously.
//     var               races and uses after death are errors.
//     heavy_barrier()   not one instant: the caller exchanges what it has seen with one other thread after the other, and anything may run
//                       in between; each knows then what the caller knew when it called, and the caller, at the end, what each knew.
//                       Two others learn nothing from each other. Weaker than the real one (which is a full barrier in every thread, also
//                       for relaxed accesses before it), so what holds here holds there.
//     backoff           yields.
#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>
#include <new>
#include <type_traits>
#include <utility>
#include "relacy_engine.hpp"
#include "skua/detail/config.hpp"

// What models use of Relacy itself, as it is there.
namespace rl {
template <class Derived, unsigned Threads>
struct test_suite {
  static constexpr unsigned threads = Threads;
  test_suite() = default;
  test_suite(test_suite const&) = delete;
  void before() {}
  void after() {}
};
inline unsigned rand(unsigned limit) { return relacy_detail::rand(limit); }
inline void yield() { relacy_detail::yield(); }
} // namespace rl
#define RL_ASSERT(...) ((__VA_ARGS__) ? void() : relacy_detail::fail("assertion: " #__VA_ARGS__, __FILE__, __LINE__))

// True once in n random schedules; a bounded search tries both, once.
inline bool one_in(unsigned n) { return rl::rand(relacy_detail::is_random() ? n : 2) == 0; }

namespace relacy_detail {

// clang-format off
template <std::size_t Size> struct word_of;
template <> struct word_of<1> { using type = std::uint8_t; };
template <> struct word_of<2> { using type = std::uint16_t; };
template <> struct word_of<4> { using type = std::uint32_t; };
template <> struct word_of<8> { using type = std::uint64_t; };
// clang-format on

// The failure order of a CAS that names only one.
inline std::memory_order failure(std::memory_order o) {
  if (o == std::memory_order_acq_rel) return std::memory_order_acquire;
  return o == std::memory_order_release ? std::memory_order_relaxed : o;
}

template <class Suite>
struct suite_of final : any_suite {
  Suite suite;
  void before() override { suite.before(); }
  void thread(unsigned index) override { suite.thread(index); }
  void after() override { suite.after(); }
  static any_suite* make(void* at) { return ::new (at) suite_of; }
};

} // namespace relacy_detail

struct relacy_sync {
  template <class T>
  class atomic {
    using word = typename relacy_detail::word_of<sizeof(T)>::type;
    using order = std::memory_order;
    static word in(T v) { return std::bit_cast<word>(v); }
    static T out(word v) { return std::bit_cast<T>(v); }

  public:
    atomic(T v = T{}) : a_(in(v)) {}
    T load(order o = std::memory_order_seq_cst) const { return out(a_.load(o)); }
    void store(T v, order o = std::memory_order_seq_cst) { a_.store(in(v), o); }
    T exchange(T v, order o = std::memory_order_seq_cst) { return out(a_.exchange(in(v), o)); }
    T fetch_add(T v, order o = std::memory_order_seq_cst) { return out(a_.fetch_add(in(v), o)); }
    T fetch_sub(T v, order o = std::memory_order_seq_cst) { return out(a_.fetch_add(static_cast<word>(word{} - in(v)), o)); }
    T fetch_and(T v, order o = std::memory_order_seq_cst) { return out(a_.fetch_and(in(v), o)); }
    T fetch_or(T v, order o = std::memory_order_seq_cst) { return out(a_.fetch_or(in(v), o)); }
    T fetch_xor(T v, order o = std::memory_order_seq_cst) { return out(a_.fetch_xor(in(v), o)); }
    bool compare_exchange_strong(T& e, T v, order o = std::memory_order_seq_cst) { return exchange_if(false, e, v, o, relacy_detail::failure(o)); }
    bool compare_exchange_weak(T& e, T v, order o = std::memory_order_seq_cst) { return exchange_if(true, e, v, o, relacy_detail::failure(o)); }
    bool compare_exchange_strong(T& e, T v, order success, order failure) { return exchange_if(false, e, v, success, failure); }
    bool compare_exchange_weak(T& e, T v, order success, order failure) { return exchange_if(true, e, v, success, failure); }

  private:
    bool exchange_if(bool weak, T& e, T v, order success, order failure) {
      word expected = in(e);
      bool const done = a_.compare_exchange(weak, expected, in(v), success, failure);
      e = out(expected);
      return done;
    }
    relacy_detail::atomic_cell<word> a_;
  };

  template <class T>
  class var {
    using word = typename relacy_detail::word_of<sizeof(T)>::type;

  public:
    var(T v = T{}) : v_(std::bit_cast<word>(v)) {}
    var(var const& o) : var(static_cast<T>(o)) {}
    operator T() const { return std::bit_cast<T>(v_.load()); }
    T operator->() const { return *this; }   // for pointers
    var& operator=(T v) {
      v_.store(std::bit_cast<word>(v));
      return *this;
    }
    var& operator=(var const& o) { return *this = static_cast<T>(o); }
    template <class D> var& operator+=(D d) { return *this = static_cast<T>(static_cast<T>(*this) + d); }
    template <class D> var& operator-=(D d) { return *this = static_cast<T>(static_cast<T>(*this) - d); }
    var& operator++() { return *this += 1; }
    var& operator--() { return *this -= 1; }

  private:
    relacy_detail::var_cell<word> v_;
  };

  static void heavy_barrier() noexcept { relacy_detail::heavy_barrier(); }
  static void light_barrier() noexcept {}   // Relacy runs a thread's operations in order; what a load sees is heavy_barrier()'s business

  class backoff {
  public:
    void pause() { rl::yield(); }
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

// usage: model [random|boundN] ITERATIONS [verbose]
//   random   ITERATIONS random schedules (default 100000)
//   boundN   every schedule with at most N preemptions; ITERATIONS is ignored (default N: 3)
//   verbose  prints the history of the first failure
// One line on stdout, "ok COUNT" or "error COUNT what". Exit status 0: no error found.
template <class Suite>
int simulate(int argc, char** argv) {
  using suite = relacy_detail::suite_of<Suite>;
  static_assert(alignof(suite) <= alignof(std::max_align_t));
  return relacy_detail::simulate(Suite::threads, &suite::make, sizeof(suite), argc, argv);
}
