// SPDX-License-Identifier: Apache-2.0
// Memory that runs out: the operator new of a program whose n-th allocation fails, alone or with all that follow; programs that are run until they pass; values
// that are counted. For one source file a program. Not under ThreadSanitizer, whose operator new cannot be replaced.
//
//     every_allocation("name", [&] { rt.block_on(program()); });     // with the 1st, 2nd .. allocation failing, until it passes
#pragma once
#include "skua/error.hpp"
#include "skua/runtime.hpp"
#include "skua/task.hpp"
#include "skua/this_task.hpp"
#include "skua/time.hpp"
#include "tests/support/stress_rounds.hpp"
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>
#include <span>
#include <string_view>
#include <thread>
#include <vector>

// ---------------------------------------------------------------------------------------------- operator new

namespace {

std::atomic<long> left{-1};          // allocations until one fails; negative: none does
std::atomic<bool> fail_on{false};    // and all that follow
std::atomic<long> failed{0};

bool fails() {
  long now = left.load(std::memory_order_relaxed);
  do {
    if (now < 0) return false;
  } while (!left.compare_exchange_weak(now, now != 0 ? now - 1 : fail_on ? 0 : -1, std::memory_order_relaxed));
  if (now != 0) return false;
  ++failed;
  return true;
}
void* allocate(std::size_t n, std::size_t alignment) noexcept {
  if (fails()) return nullptr;
  if (n == 0) n = 1;
  return alignment <= __STDCPP_DEFAULT_NEW_ALIGNMENT__ ? std::malloc(n) : std::aligned_alloc(alignment, (n + alignment - 1) / alignment * alignment);
}
void* allocate_or_throw(std::size_t n, std::size_t alignment) {
  void* const p = allocate(n, alignment);
  if (p == nullptr) throw std::bad_alloc{};
  return p;
}

} // namespace

void* operator new(std::size_t n) { return allocate_or_throw(n, 1); }
void* operator new[](std::size_t n) { return allocate_or_throw(n, 1); }
void* operator new(std::size_t n, std::align_val_t a) { return allocate_or_throw(n, static_cast<std::size_t>(a)); }
void* operator new[](std::size_t n, std::align_val_t a) { return allocate_or_throw(n, static_cast<std::size_t>(a)); }
void* operator new(std::size_t n, std::nothrow_t const&) noexcept { return allocate(n, 1); }
void* operator new[](std::size_t n, std::nothrow_t const&) noexcept { return allocate(n, 1); }
void* operator new(std::size_t n, std::align_val_t a, std::nothrow_t const&) noexcept { return allocate(n, static_cast<std::size_t>(a)); }
void* operator new[](std::size_t n, std::align_val_t a, std::nothrow_t const&) noexcept { return allocate(n, static_cast<std::size_t>(a)); }
void operator delete(void* p) noexcept { std::free(p); }
void operator delete[](void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
void operator delete[](void* p, std::size_t) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete[](void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }
void operator delete[](void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::task;

// ---------------------------------------------------------------------------------------------- values

std::atomic<long> alive{0};
struct value {
  int n;
  explicit value(int v) noexcept : n(v) { ++alive; }
  value(value&& o) noexcept : n(o.n) { ++alive; }
  ~value() { --alive; }
};
task<> yields(int n) {
  value const mine(0);
  for (int i = 0; i < n; ++i) co_await skua::this_task::yield();
}
[[maybe_unused]] task<value> value_after(int n, int v) {
  value const mine(0);
  co_await yields(n);
  co_return value(v);
}
[[maybe_unused]] task<> never() {
  value const mine(0);
  co_await skua::sleep_for(24h);
}

// ---------------------------------------------------------------------------------------------- running programs

bool are_expected(std::vector<std::exception_ptr> const& all);
// bad_alloc, or several of them together; or what a program throws on purpose ("expected"), when it was not the first to fail.
bool is_expected(std::exception_ptr const& e) {
  try {
    std::rethrow_exception(e);
  } catch (std::bad_alloc const&) {
    return true;
  } catch (skua::all_failed const& all) {
    return are_expected(all.failures());
  } catch (skua::task_group_error const& all) {
    return are_expected(all.failures());
  } catch (skua::cleanup_failed const& both) {
    return is_expected(both.cleanup_error()) && is_expected(both.nested_ptr());
  } catch (std::exception const& other) {
    if (std::string_view(other.what()) == "expected") return true;
    std::printf("unexpected: %s\n", other.what());
    return false;
  }
}

bool are_expected(std::vector<std::exception_ptr> const& all) {
  for (auto const& f : all)
    if (!is_expected(f)) return false;
  return true;
}

void wait_until(char const* what, auto condition) {
  auto const limit = std::chrono::steady_clock::now() + 60s;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > limit) stress_failed(what, __FILE__, __LINE__);
    std::this_thread::yield();
  }
}

template <class F>
bool passes(long n, bool and_on, F f) {
  failed = 0;
  fail_on = and_on;
  left = n;
  std::exception_ptr error;
  try {
    f();
  } catch (...) {
    error = std::current_exception();
  }
  left = -1;
  bool const passed = failed == 0;
  STRESS_CHECK(!error || (!passed && is_expected(error)));
  return passed;
}
template <class F>
void every_allocation(char const* name, F f) {
  for (bool const and_on : {false, true}) {
    long n = 0, runs = 0;
    std::printf("%-10s %s", name, and_on ? "one and all that follow" : "one allocation         ");
    std::fflush(stdout);
    seed_of_round = 0;
    while (!passes(n, and_on, f)) {
      n += n < 300 ? 1 : n / 40;
      seed_of_round = static_cast<std::uint64_t>(n);
      ++runs;
    }
    std::printf(": passes with %ld, after %ld runs\n", n, runs);
  }
}

struct program {
  char const* name;
  task<> (*run)();
};
// Each with one allocation failing, and all that follow; behind it nothing is left.
void every_program(skua::runtime& rt, std::span<program const> programs) {
  for (program const& p : programs) {
    rt.block_on(p.run());   // statics and caches
    every_allocation(p.name, [&] { rt.block_on(p.run()); });
    wait_until("tasks end", [&] { return rt.metrics().live_tasks == 0; });
    wait_until("values die", [] { return alive == 0; });
  }
}
skua::options expecting_failures(unsigned workers) {
  return {.workers = workers, .on_unhandled_failure = [](skua::failure const& f) {
            STRESS_CHECK(is_expected(f.error));
            STRESS_CHECK(f.kind != skua::failure_kind::task_group || f.task_id != 0);   // it says whose it was
          }};
}
// When every runtime has gone.
int nothing_is_left() {
  check_nothing_is_left();
  STRESS_CHECK(alive == 0);
  std::puts("ok");
  return 0;
}

} // namespace
