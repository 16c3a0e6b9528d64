// SPDX-License-Identifier: Apache-2.0
// The fork-join workloads of fork_join.hpp on oneTBB: task_group, one child run in place, as its documentation advises.
#pragma once
#include "fork_join.hpp"
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/task_arena.h>
#include <oneapi/tbb/task_group.h>

namespace bench::tbb_version {

inline std::uint64_t fib(unsigned n) {
  if (n < 2) return n;
  std::uint64_t a = 0, b = 0;
  tbb::task_group group;
  group.run([&a, n] { a = fib(n - 1); });
  b = fib(n - 2);
  group.wait();
  return a + b;
}

inline std::uint64_t skynet(std::uint64_t number, unsigned levels) {
  if (levels == 0) return number;
  std::uint64_t const step = power_of_ten(levels - 1);
  std::array<std::uint64_t, 10> sums;
  tbb::task_group group;
  for (std::uint64_t i = 0; i < 9; ++i) group.run([&sums, number, step, levels, i] { sums[i] = skynet(number + i * step, levels - 1); });
  sums[9] = skynet(number + 9 * step, levels - 1);
  group.wait();
  std::uint64_t sum = 0;
  for (std::uint64_t s : sums) sum += s;
  return sum;
}

inline unsigned nqueens(unsigned row, unsigned size, board b) {
  if (row == size) return 1;
  std::array<unsigned, max_queens> counts;
  unsigned n = 0;
  tbb::task_group group;
  for (unsigned column = 0; column < size; ++column) {
    if (!is_safe(b, row, static_cast<char>(column))) continue;
    b[row] = static_cast<char>(column);
    group.run([&count = counts[n++], row, size, b] { count = nqueens(row + 1, size, b); });
  }
  group.wait();
  unsigned sum = 0;
  for (unsigned i = 0; i < n; ++i) sum += counts[i];
  return sum;
}

inline void matmul(matrix_part c, matrix_part a, matrix_part b) {
  if (c.size <= matmul_leaf) return multiply_leaf(c, a, b);
  for (std::size_t k = 0; k < 2; ++k) {
    tbb::task_group group;
    for (std::size_t i = 0; i < 3; ++i) group.run([=] { tbb_version::matmul(c.quarter(i / 2, i % 2), a.quarter(i / 2, k), b.quarter(k, i % 2)); });
    tbb_version::matmul(c.quarter(1, 1), a.quarter(1, k), b.quarter(k, 1));
    group.wait();
  }
}

// oneTBB with a given number of threads, the calling one included.
class pool {
public:
  explicit pool(unsigned threads) : limit_(tbb::global_control::max_allowed_parallelism, threads), arena_(static_cast<int>(threads)) {}
  template <class F>
  auto run(F f) {
    return arena_.execute(f);
  }

private:
  tbb::global_control limit_;
  tbb::task_arena arena_;
};

} // namespace bench::tbb_version
