// SPDX-License-Identifier: Apache-2.0
// The fork-join workloads, as in the public runtime-benchmarks suite: fib, skynet, nqueens, matmul.
//
// oneTBB's versions of the same are in fork_join_tbb.hpp; both give the same result, which the programs compare.
#pragma once
#include "matmul_kernel.hpp"
#include <array>
#include <cstddef>
#include <cstdint>
#include <skua/branches.hpp>
#include <skua/this_task.hpp>
#include <skua/when_all.hpp>
#include <utility>
#include <vector>

namespace bench {

// A fork at every call: what forking costs, and nothing else.
inline skua::task<std::uint64_t> fib(unsigned n) {
  if (n < 2) co_return n;
  auto [a, b] = co_await skua::when_all(fib(n - 1), fib(n - 2));
  co_return a + b;
}

// Every leaf suspends once, so every branch and every join above it becomes a full task: what generality costs those who use it.
inline skua::task<std::uint64_t> fib_suspending(unsigned n) {
  if (n < 2) {
    co_await skua::this_task::yield();
    co_return n;
  }
  auto [a, b] = co_await skua::when_all(fib_suspending(n - 1), fib_suspending(n - 2));
  co_return a + b;
}

// The tree of fib with plain awaits: what coroutines cost without any concurrency.
inline skua::task<std::uint64_t> fib_awaited(unsigned n) {
  if (n < 2) co_return n;
  std::uint64_t const a = co_await fib_awaited(n - 1);
  std::uint64_t const b = co_await fib_awaited(n - 2);
  co_return a + b;
}

inline std::uint64_t fib_value(unsigned n) {
  std::uint64_t a = 0, b = 1;
  for (unsigned i = 0; i < n; ++i) a = std::exchange(b, a + b);
  return a;
}
// fib(n) forks fib(n + 1) - 1 times.
inline double fib_forks(unsigned n) { return static_cast<double>(fib_value(n + 1) - 1); }

inline std::uint64_t power_of_ten(unsigned n) {
  std::uint64_t p = 1;
  while (n-- > 0) p *= 10;
  return p;
}

// A tree of ten children a node, `levels` deep, whose leaves are numbered; the sum of the numbers.
inline skua::task<std::uint64_t> skynet(std::uint64_t number, unsigned levels) {
  if (levels == 0) co_return number;
  std::uint64_t const step = power_of_ten(levels - 1);
  auto children = [&]<std::uint64_t... I>(std::integer_sequence<std::uint64_t, I...>) {
    return skua::when_all(skynet(number + I * step, levels - 1)...);
  };
  auto const sums = co_await children(std::make_integer_sequence<std::uint64_t, 10>{});
  co_return std::apply([](auto... s) { return (s + ...); }, sums);
}
inline std::uint64_t skynet_value(unsigned levels) {
  std::uint64_t const n = power_of_ten(levels);
  return n / 2 * (n - 1) + (n % 2) * (n - 1) / 2;
}

// How many ways there are to place `size` queens: an uneven tree with a little work in every node.
inline constexpr std::size_t max_queens = 16;
using board = std::array<char, max_queens>;
inline bool is_safe(board const& b, unsigned row, char column) {
  for (unsigned r = 0; r < row; ++r) {
    int const distance = static_cast<int>(row - r);
    if (b[r] == column || b[r] == column - distance || b[r] == column + distance) return false;
  }
  return true;
}
inline skua::task<unsigned> nqueens(unsigned row, unsigned size, board b) {
  if (row == size) co_return 1u;
  skua::branches<unsigned, max_queens> children;
  for (unsigned column = 0; column < size; ++column) {
    if (!is_safe(b, row, static_cast<char>(column))) continue;
    b[row] = static_cast<char>(column);
    children.add(nqueens(row + 1, size, b));
  }
  co_await children;
  unsigned sum = 0;
  for (unsigned n : children) sum += n;
  co_return sum;
}
inline unsigned nqueens_value(unsigned size) {
  constexpr unsigned known[] = {1, 1, 0, 0, 2, 10, 4, 40, 92, 352, 724, 2680, 14'200, 73'712, 365'596, 2'279'184, 14'772'512};
  return known[size];
}

// c += a * b by quarters: four products at once, then the other four.
inline skua::task<> matmul(matrix_part c, matrix_part a, matrix_part b) {
  if (c.size <= matmul_leaf) {
    multiply_leaf(c, a, b);
    co_return;
  }
  co_await skua::when_all(matmul(c.quarter(0, 0), a.quarter(0, 0), b.quarter(0, 0)), matmul(c.quarter(0, 1), a.quarter(0, 0), b.quarter(0, 1)),
                          matmul(c.quarter(1, 0), a.quarter(1, 0), b.quarter(0, 0)), matmul(c.quarter(1, 1), a.quarter(1, 0), b.quarter(0, 1)));
  co_await skua::when_all(matmul(c.quarter(0, 0), a.quarter(0, 1), b.quarter(1, 0)), matmul(c.quarter(0, 1), a.quarter(0, 1), b.quarter(1, 1)),
                          matmul(c.quarter(1, 0), a.quarter(1, 1), b.quarter(1, 0)), matmul(c.quarter(1, 1), a.quarter(1, 1), b.quarter(1, 1)));
}

} // namespace bench
