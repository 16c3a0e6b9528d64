// SPDX-License-Identifier: Apache-2.0
// What stress tests share: their options, random numbers that can be replayed, checks that print the seed.
#pragma once
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>

namespace skua_test {

// usage: program [--seconds S] [--seed N] [--workers N] [--backend NAME] [--rounds N]      rounds: ends earlier, for replaying
struct stress_options {
  double seconds = 5;
  std::uint64_t seed = std::random_device{}();
  unsigned workers = 2;
  std::string backend = "auto";
  std::uint64_t rounds = ~std::uint64_t{0};

  stress_options(int argc, char** argv) {
    for (int i = 1; i + 1 < argc; i += 2) {
      char const* const value = argv[i + 1];
      if (std::strcmp(argv[i], "--seconds") == 0) seconds = std::atof(value);
      if (std::strcmp(argv[i], "--seed") == 0) seed = std::strtoull(value, nullptr, 10);
      if (std::strcmp(argv[i], "--workers") == 0) workers = static_cast<unsigned>(std::strtoul(value, nullptr, 10));
      if (std::strcmp(argv[i], "--backend") == 0) backend = value;
      if (std::strcmp(argv[i], "--rounds") == 0) rounds = std::strtoull(value, nullptr, 10);
    }
    std::printf("--seed %llu --workers %u --backend %s\n", static_cast<unsigned long long>(seed), workers, backend.c_str());
    std::fflush(stdout);
    end_ = std::chrono::steady_clock::now() + std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::duration<double>(seconds));
  }
  bool go_on(std::uint64_t round) const { return round < rounds && std::chrono::steady_clock::now() < end_; }

private:
  std::chrono::steady_clock::time_point end_;
};

// splitmix64: the same numbers on every machine, and any seed is as good as any other.
struct rng {
  std::uint64_t state;
  std::uint64_t next() {
    std::uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  unsigned below(unsigned n) { return static_cast<unsigned>(next() % n); }
  bool one_in(unsigned n) { return below(n) == 0; }
};

inline std::atomic<std::uint64_t> seed_of_round{0};
[[noreturn]] inline void stress_failed(char const* what, char const* file, int line) {
  std::printf("FAILED: %s (%s:%d); to replay: --seed %llu --rounds 1\n", what, file, line, static_cast<unsigned long long>(seed_of_round.load()));
  std::fflush(stdout);
  std::abort();
}
#define STRESS_CHECK(condition) ((condition) ? void() : ::skua_test::stress_failed(#condition, __FILE__, __LINE__))

} // namespace skua_test
