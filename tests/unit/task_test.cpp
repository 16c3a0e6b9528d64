// SPDX-License-Identifier: Apache-2.0
// task<T>: lazy coroutines, awaited one inside the other: results of every kind, exceptions at every point, misuse, depth. (Destructors that throw behind
// co_return: task_end_test.)
#include "skua/task.hpp"
#include "skua/runtime.hpp"
#include "skua/time.hpp"
#include "skua/when_all.hpp"
#include "tests/support/leak_check.hpp"
#include "tests/support/small_stacks.hpp"
#include "tests/support/values.hpp"
#include <array>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::task;

class Task : public leak_check {
protected:
  Task() { fragile::moves_left = 1 << 30; }
  skua::runtime rt{skua::options{.workers = 2, .backend = "virtual"}};
};
class TaskDepth : public leak_check {};

// Compiles without a warning of a signed 0; what converts explicitly alone is still taken.
task<std::size_t> none() { co_return 0; }
task<bool> is_there(std::optional<int> x) { co_return x; }

// ---------------------------------------------------------------------------------------------- laziness and lifetime

TEST_F(Task, does_nothing_before_it_is_awaited) {
  std::atomic<int> started = 0;
  std::shared_ptr<int> const argument = std::make_shared<int>(1);
  auto body = [](std::atomic<int>& n, std::shared_ptr<int>) -> task<> {
    ++n;
    co_return;
  };
  {
    auto t = body(started, argument);
    EXPECT_TRUE(static_cast<bool>(t));
    EXPECT_EQ(argument.use_count(), 2);
  }
  EXPECT_EQ(argument.use_count(), 1);   // destroyed with the task that never started
  EXPECT_EQ(started, 0);
  rt.block_on(body(started, argument));
  EXPECT_EQ(started, 1);
}

TEST_F(Task, that_is_assigned_to_destroys_what_it_held) {
  std::shared_ptr<int> const argument = std::make_shared<int>(1);
  auto body = [](std::shared_ptr<int>) -> task<> { co_return; };
  auto t = body(argument);
  t = body(argument);
  EXPECT_EQ(argument.use_count(), 2);
  auto& same = t;
  t = std::move(same);
  EXPECT_EQ(argument.use_count(), 2);
  t = {};
  EXPECT_EQ(argument.use_count(), 1);
  EXPECT_FALSE(static_cast<bool>(t));
}

TEST_F(Task, frees_its_frame_and_locals_before_the_awaiter_goes_on) {
  std::atomic<int> gone = 0;
  auto child = [](std::atomic<int>& n) -> task<> {
    witness w(n);
    co_await skua::this_task::yield();
  };
  auto parent = [&]() -> task<> {
    co_await child(gone);
    EXPECT_EQ(gone, 1);
  };
  rt.block_on(parent);
}

TEST_F(Task, destroys_parameters_and_locals_in_order) {
  std::string order;
  struct mark {
    std::string* to;
    char name;
    ~mark() { to->push_back(name); }
  };
  auto child = [](std::unique_ptr<mark>) -> task<> { co_return; };
  auto parent = [&]() -> task<> {
    mark a{&order, 'a'};
    co_await child(std::make_unique<mark>(&order, 'p'));
    mark b{&order, 'b'};
    order.push_back('-');
  };
  rt.block_on(parent);
  EXPECT_EQ(order, "p-ba");
}

// ---------------------------------------------------------------------------------------------- results

task<std::unique_ptr<int>> boxed(int n) { co_return std::make_unique<int>(n); }
task<std::string> text(std::size_t n) { co_return std::string(n, 'x'); }
task<int&> reference_to(int& n) { co_return n; }
task<int const&> constant_reference_to(int const& n) { co_return n; }
task<std::array<char, 4000>> large() {
  std::array<char, 4000> a{};
  a.back() = 7;
  co_return a;
}
task<owned> owned_value(int n) { co_return owned(n); }

task<> results() {
  EXPECT_EQ(co_await value_of(7), 7);
  EXPECT_EQ(*co_await boxed(8), 8);
  EXPECT_EQ((co_await text(1000)).size(), 1000u);
  EXPECT_EQ((co_await large()).back(), 7);
  EXPECT_EQ((co_await owned_value(9)).value(), 9);
  int n = 1;
  int& r = co_await reference_to(n);
  EXPECT_EQ(&r, &n);
  EXPECT_EQ(&co_await constant_reference_to(n), &n);
  (void)co_await owned_value(10);   // nobody takes it
  co_await []() -> task<> { co_return; }();
}
TEST_F(Task, takes_numbers_of_other_types) {
  EXPECT_EQ(rt.block_on(none()), 0u);
  EXPECT_TRUE(rt.block_on(is_there(0)));
  EXPECT_FALSE(rt.block_on(is_there({})));
}

TEST_F(Task, gives_values_references_and_nothing) {
  rt.block_on(results());
  EXPECT_EQ(owned::alive, 0);
}

TEST_F(Task, gives_its_result_to_a_thread_that_blocks_on_it) {
  EXPECT_EQ(*rt.block_on(boxed(3)), 3);
  EXPECT_EQ(rt.block_on(owned_value(4)).value(), 4);
  int n = 0;
  EXPECT_EQ(&rt.block_on(reference_to(n)), &n);
  EXPECT_EQ(owned::alive, 0);
}

task<fragile> fragile_value(int n) { co_return fragile(n); }
task<int> moved_out(int moves) {
  fragile::moves_left = moves;
  try {
    fragile f = co_await fragile_value(5);
    co_return f.value;
  } catch (std::runtime_error const&) {
    co_return -1;
  }
}
TEST_F(Task, result_whose_move_throws_is_destroyed_and_the_exception_delivered) {
  EXPECT_EQ(rt.block_on(moved_out(0)), -1);   // into the slot: in the child
  EXPECT_EQ(rt.block_on(moved_out(1)), -1);   // out of it: in the parent
  EXPECT_EQ(rt.block_on(moved_out(2)), 5);
  EXPECT_EQ(fragile::alive, 0);
}

// A result that converts, and throws while it does.
struct refuses {
  refuses(int n) {
    if (n == 0) throw std::invalid_argument("zero");
  }
};
TEST_F(Task, result_that_cannot_be_built_is_the_childs_failure) {
  auto child = [](int n) -> task<refuses> { co_return n; };
  rt.block_on(child(1));
  EXPECT_THROW(rt.block_on(child(0)), std::invalid_argument);
}

// ---------------------------------------------------------------------------------------------- exceptions

task<int> throws_at(int point, std::atomic<int>& gone) {
  witness w(gone);
  if (point == 0) throw std::runtime_error("before the first await");
  co_await value_of(1);
  if (point == 1) throw std::runtime_error("after an await that did not suspend");
  co_await skua::this_task::yield();
  if (point == 2) throw std::runtime_error("after a suspension");
  co_await skua::sleep_for(1ms);
  if (point == 3) throw std::runtime_error("after a sleep");
  co_return point;
}
TEST_F(Task, exception_reaches_the_awaiter_from_every_point) {
  for (int point = 0; point < 4; ++point) {
    std::atomic<int> gone = 0;
    auto parent = [&](int p) -> task<bool> {
      try {
        co_await throws_at(p, gone);
      } catch (std::runtime_error const&) {
        EXPECT_EQ(gone, 1);   // the child's locals first
        co_return true;
      }
      co_return false;
    };
    EXPECT_TRUE(rt.block_on(parent, point));
    EXPECT_THROW(rt.block_on(throws_at(point, gone)), std::runtime_error);
  }
}

task<int> thrower(int depth) {
  if (depth == 0) throw std::runtime_error("from below");
  co_return 1 + co_await thrower(depth - 1);
}
TEST_F(Task, exception_crosses_a_thousand_awaits) {
  EXPECT_EQ(message_of([&] { rt.block_on(thrower(1000)); }), "from below");
}

TEST_F(Task, exception_may_be_of_any_type_and_keeps_its_identity) {
  auto child = []() -> task<> {
    throw 42;
    co_return;
  };
  EXPECT_THROW(rt.block_on(child()), int);
  auto nested = [&]() -> task<> {
    try {
      co_await child();
    } catch (int n) {
      EXPECT_EQ(n, 42);
      throw;
    }
  };
  EXPECT_THROW(rt.block_on(nested), int);
}

task<int> takes_fragile(fragile f) { co_return f.value; }
TEST_F(Task, exception_while_parameters_are_copied_is_thrown_by_the_call) {
  auto parent = []() -> task<bool> {
    try {
      fragile f(1);
      fragile::moves_left = 0;
      auto t = takes_fragile(std::move(f));
      (void)t;
    } catch (std::runtime_error const&) {
      co_return true;
    }
    co_return false;
  };
  EXPECT_TRUE(rt.block_on(parent));
  EXPECT_EQ(fragile::alive, 0);
}

TEST_F(Task, may_await_others_in_a_catch_block_and_go_on) {
  auto parent = []() -> task<int> {
    int caught = 0;
    for (int i = 0; i < 3; ++i) {
      bool failed = false;
      try {
        co_await fail_after(i, "again");
      } catch (std::runtime_error const&) {
        failed = true;
      }
      if (failed) {
        co_await skua::sleep_for(1ms);
        ++caught;
      }
    }
    co_return caught;
  };
  EXPECT_EQ(rt.block_on(parent), 3);
}

// ---------------------------------------------------------------------------------------------- misuse

TEST_F(Task, awaited_twice_or_moved_from_is_a_usage_error) {
  auto parent = []() -> task<int> {
    auto t = value_of(1);
    int caught = 0;
    EXPECT_EQ(co_await std::move(t), 1);
    try {
      co_await std::move(t);
    } catch (skua::usage_error const&) {
      ++caught;
    }
    try {
      co_await task<int>();
    } catch (skua::usage_error const&) {
      ++caught;
    }
    auto u = value_of(2);
    auto const v = std::move(u);
    try {
      co_await std::move(u);
    } catch (skua::usage_error const&) {
      ++caught;
    }
    co_return caught;
  };
  EXPECT_EQ(rt.block_on(parent), 3);
  EXPECT_THROW(rt.block_on(task<int>()), skua::usage_error);
}

// ---------------------------------------------------------------------------------------------- allocators

struct arena {
  std::size_t live = 0, total = 0;
};
template <class T>
struct arena_allocator {
  using value_type = T;
  arena* at;
  explicit arena_allocator(arena& a) : at(&a) {}
  arena_allocator() : at(nullptr) {}   // refuses
  template <class U>
  arena_allocator(arena_allocator<U> const& o) : at(o.at) {}
  T* allocate(std::size_t n) {
    if (at == nullptr) throw std::bad_alloc{};
    at->live += n * sizeof(T);
    at->total += n * sizeof(T);
    return static_cast<T*>(::operator new(n * sizeof(T)));
  }
  void deallocate(T* p, std::size_t n) {
    at->live -= n * sizeof(T);
    ::operator delete(p);
  }
  bool operator==(arena_allocator const&) const = default;
};
task<int> in_arena(std::allocator_arg_t, arena_allocator<char>, int n) { co_return n; }
arena_allocator<char> refusing() { return {}; }
struct maker {
  task<int> member(std::allocator_arg_t, arena_allocator<int>, int n) const { co_return n + offset; }
  int offset = 1;
};
TEST_F(Task, frame_comes_from_the_callers_allocator) {
  arena a;
  EXPECT_EQ(rt.block_on(in_arena(std::allocator_arg, arena_allocator<char>(a), 6)), 6);
  EXPECT_GT(a.total, 0u);
  EXPECT_EQ(a.live, 0u);
  maker m;
  EXPECT_EQ(rt.block_on(m.member(std::allocator_arg, arena_allocator<int>(a), 6)), 7);
  EXPECT_EQ(a.live, 0u);
  {
    auto dropped = in_arena(std::allocator_arg, arena_allocator<char>(a), 6);   // never awaited
  }
  EXPECT_EQ(a.live, 0u);
  auto refused = [](int n) -> task<int> {
    auto t = in_arena(std::allocator_arg, refusing(), n);   // kept: or its frame might be a part of this one (SKUA_AWAIT_ELIDABLE)
    co_return co_await std::move(t);
  };
  EXPECT_THROW(rt.block_on(refused, 1), std::bad_alloc);
}

// ---------------------------------------------------------------------------------------------- depth

#if SKUA_ASAN || SKUA_TSAN
constexpr long deep = 20'000;
#else
constexpr long deep = 1'000'000;
#endif

task<long> chain(long n) {
  if (n == 0) co_return 0;
  co_return 1 + co_await chain(n - 1);
}
task<long> chain_that_sleeps(long n) {
  if (n == 0) {
    co_await skua::sleep_for(1ms);
    co_return 0;
  }
  co_return 1 + co_await chain_that_sleeps(n - 1);
}
task<long> chain_that_fails(long n) {
  if (n == 0) throw std::runtime_error("the deepest");
  co_return 1 + co_await chain_that_fails(n - 1);
}
task<> loop(long n) {
  for (long i = 0; i < n; ++i) co_await value_of(1);
}

TEST_F(TaskDepth, chain_of_a_million_awaits_runs_on_a_small_stack) {
  small_stacks s;
  skua::runtime rt({.workers = 1, .backend = "virtual"});
  EXPECT_EQ(rt.block_on(chain(deep)), deep);
  EXPECT_EQ(rt.block_on(chain_that_sleeps(deep)), deep);
}
TEST_F(TaskDepth, million_awaits_one_after_the_other_run_on_a_small_stack) {
  small_stacks s;
  skua::runtime rt({.workers = 1, .backend = "virtual"});
  rt.block_on(loop(deep));
}
TEST_F(TaskDepth, exception_crosses_ten_thousand_awaits_on_a_small_stack) {
  small_stacks s;
  skua::runtime rt({.workers = 1, .backend = "virtual"});
  EXPECT_EQ(message_of([&] { rt.block_on(chain_that_fails(10'000)); }), "the deepest");
}

} // namespace
