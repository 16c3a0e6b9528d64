// SPDX-License-Identifier: Apache-2.0
// Square matrices of int, parts of them, and the product of small parts: what both matmuls share.
#pragma once
#include <cstddef>
#include <vector>

namespace bench {

inline constexpr std::size_t matmul_leaf = 32;

// A square part of a square matrix.
struct matrix_part {
  int* first;
  std::size_t stride, size;
  matrix_part quarter(std::size_t row, std::size_t column) const {
    std::size_t const half = size / 2;
    return {first + row * half * stride + column * half, stride, half};
  }
};

class matrix {
public:
  matrix(std::size_t size, int value) : size_(size), cells_(size * size, value) {}
  matrix_part all() { return {cells_.data(), size_, size_}; }
  std::vector<int> const& cells() const { return cells_; }

private:
  std::size_t size_;   // a power of two
  std::vector<int> cells_;
};

// Not inlined, so that both sides run the same code for it.
[[gnu::noinline]] inline void multiply_leaf(matrix_part c, matrix_part a, matrix_part b) {
  for (std::size_t i = 0; i < c.size; ++i)
    for (std::size_t k = 0; k < c.size; ++k) {
      int const x = a.first[i * a.stride + k];
      int const* const from = b.first + k * b.stride;
      int* const to = c.first + i * c.stride;
#if defined(__GNUC__) && !defined(__clang__)   // clang unrolls by itself; without this GCC takes 1.43 times as long
#pragma GCC unroll 4
#endif
      for (std::size_t j = 0; j < c.size; ++j) to[j] += x * from[j];
    }
}

} // namespace bench
