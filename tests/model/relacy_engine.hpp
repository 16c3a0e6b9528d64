// SPDX-License-Identifier: Apache-2.0
// Relacy, without its headers: what relacy_sync.hpp is made of, and relacy_engine.cpp implements. So Relacy is compiled once and optimised; a model, and
// each of its mutants, in a moment.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace relacy_detail {

// The cells of Relacy, by the size of what they hold.
template <class Word>
class atomic_cell {
public:
  explicit atomic_cell(Word v);
  ~atomic_cell();
  Word load(std::memory_order o) const;
  void store(Word v, std::memory_order o);
  Word exchange(Word v, std::memory_order o);
  Word fetch_add(Word v, std::memory_order o);
  Word fetch_and(Word v, std::memory_order o);
  Word fetch_or(Word v, std::memory_order o);
  Word fetch_xor(Word v, std::memory_order o);
  bool compare_exchange(bool weak, Word& e, Word v, std::memory_order success, std::memory_order failure);

private:
  alignas(8) unsigned char bytes_[64];   // rl::atomic<Word>
};
template <class Word>
class var_cell {
public:
  explicit var_cell(Word v);
  ~var_cell();
  Word load() const;
  void store(Word v);

private:
  alignas(8) unsigned char bytes_[32];   // rl::var<Word>
};

struct any_suite {
  virtual void before() = 0;
  virtual void thread(unsigned index) = 0;
  virtual void after() = 0;
  virtual ~any_suite() = default;
};
// Every schedule makes the suite anew, in the same `size` bytes.
int simulate(unsigned threads, any_suite* (*make)(void*), std::size_t size, int argc, char** argv);

void heavy_barrier();
void yield();
unsigned rand(unsigned limit);
unsigned thread_index();   // of who runs
bool is_random();
[[noreturn]] void fail(char const* what, char const* file, unsigned line);

} // namespace relacy_detail
