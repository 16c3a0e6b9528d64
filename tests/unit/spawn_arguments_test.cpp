// SPDX-License-Identifier: Apache-2.0
// What a spawned task keeps of its callable and arguments, and for how long (D1).
#include "skua/runtime.hpp"
#include "skua/spawn.hpp"
#include "skua/task_group.hpp"
#include "tests/support/leak_check.hpp"
#include "tests/support/values.hpp"
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace skua_test;
using skua::task;

class SpawnArguments : public leak_check {
protected:
  skua::runtime rt{skua::options{.workers = 1, .backend = "virtual"}};
};

TEST_F(SpawnArguments, keeps_the_callable_its_captures_and_the_arguments_until_the_task_has_ended__D1) {
  auto const witness = std::make_shared<int>(1);
  auto body = [&]() -> task<> {
    skua::join_handle<long> h;
    {
      std::string const text(100, 'x');
      h = skua::spawn([w = witness, text](std::shared_ptr<int> const& second, std::string const& more) -> task<long> {
        co_await skua::this_task::yield();
        co_return static_cast<long>(text.size() + more.size()) + w.use_count() + second.use_count();
      },
                      witness, std::string(50, 'y'));
    }
    EXPECT_EQ(witness.use_count(), 3);
    EXPECT_EQ(co_await h, 100 + 50 + 3 + 3);
    EXPECT_EQ(witness.use_count(), 1);   // gone with the task's end, not with the handle
  };
  rt.block_on(body);
}

// Of an argument that a parameter takes over there is no second one beside it; what a parameter refers to is kept.
task<int> count_owned(owned, int const& also) {
  co_await skua::this_task::yield();
  co_return owned::alive + also;
}
task<int> count_owned_by_reference(owned const&, owned) {
  co_await skua::this_task::yield();
  co_return owned::alive;
}
task<int> count_owned_alone(owned, unsigned long, int& sum) {
  co_await skua::this_task::yield();
  sum += owned::alive;
  co_return owned::alive;
}
// Which arguments are kept: a table of callables.
template <class F, class... A>
constexpr bool keeps = skua::detail::bound_call<std::decay_t<F>, A...>::keeps_arguments;
struct overloaded {
  task<> operator()(int) { co_return; }
  task<> operator()(owned) { co_return; }
};
struct with_member {
  task<> f(owned) { co_return; }
};
constexpr auto by_value = [](owned) -> task<> { co_return; };
constexpr auto no_throw = [](owned) noexcept -> task<> { co_return; };
constexpr auto changes = [](owned) mutable -> task<> { co_return; };
constexpr auto generic = [](auto) -> task<> { co_return; };
constexpr auto wrapped = [](std::reference_wrapper<int>, int&, int const&) -> task<> { co_return; };
static_assert(!keeps<task<>(int, owned), char, owned> && !keeps<task<> (&)(int, owned) noexcept, long, owned>);
static_assert(!keeps<decltype(by_value), owned> && !keeps<decltype(no_throw), owned> && !keeps<decltype(changes), owned>);
static_assert(!keeps<decltype(wrapped), std::reference_wrapper<int>, std::reference_wrapper<int>, std::reference_wrapper<int>>);
static_assert(keeps<decltype(wrapped), std::reference_wrapper<int>, std::reference_wrapper<int>, int>);
static_assert(keeps<decltype(generic), owned> && keeps<overloaded, int>);
static_assert(keeps<decltype(&with_member::f), with_member, owned> && keeps<task<> (*)(int, ...), int, int>);
static_assert(keeps<std::function<task<>(int)>, int> && keeps<decltype(count_owned), owned, int>);
#if __cplusplus > 202002L && defined(__cpp_static_call_operator)   // clang has it in C++20, and warns
struct without_object {
  static task<> operator()(owned) { co_return; }
};
static_assert(!keeps<without_object, owned>);
#endif

// Copied here, as is any lvalue, and moved from then: by its parameters too.
struct copied_explicitly {
  copied_explicitly() = default;
  explicit copied_explicitly(copied_explicitly const&) = default;
  copied_explicitly(copied_explicitly&&) = default;
};
TEST_F(SpawnArguments, may_have_a_copy_constructor_that_is_explicit) {
  copied_explicitly const x;
  rt.block_on([](copied_explicitly) -> task<> { co_return; }, x);
  rt.block_on([](copied_explicitly, int const&) -> task<> { co_return; }, x, 1);
}

TEST_F(SpawnArguments, keeps_an_argument_once_if_a_parameter_takes_it_over) {
  auto body = []() -> task<> {   // each handle by itself: the spawner's own temporaries are gone then
    int sum = 0;
    auto plain = skua::spawn(count_owned_alone, owned(1), 2, std::ref(sum));
    EXPECT_EQ(co_await plain, 1);
    auto named = skua::spawn(skua::named("named"), count_owned_alone, owned(1), 2, std::ref(sum));
    EXPECT_EQ(co_await named, 1);
    EXPECT_EQ(sum, 2);
    auto lambda = skua::spawn([more = owned(0)](owned, unsigned long) -> task<int> {
      co_await skua::this_task::yield();
      co_return owned::alive;
    },
                              owned(1), 2);
    EXPECT_EQ(co_await lambda, 2);   // with the capture
    int const in_group = co_await skua::with_task_group([](skua::task_group& g) -> task<int> {
      int ignored = 0;
      auto child = g.spawn(count_owned_alone, owned(1), 2, std::ref(ignored));
      co_return co_await child;
    });
    EXPECT_EQ(in_group, 1);
  };
  rt.block_on(body);
  EXPECT_EQ(owned::alive, 0);
}
TEST_F(SpawnArguments, keeps_what_a_parameter_refers_to__D1) {
  auto body = []() -> task<> {
    auto one = skua::spawn(count_owned, owned(1), 40);
    EXPECT_EQ(co_await one, 2 + 40);   // one reference among the parameters: all are kept
    auto two = skua::spawn(count_owned_by_reference, owned(1), owned(2));
    EXPECT_EQ(co_await two, 3);
    auto copy = [](std::string_view text) -> task<std::string> {
      co_await skua::this_task::yield();
      co_return std::string(text);
    };
    std::string const text(100, 'x');
    EXPECT_EQ(co_await skua::spawn(copy, text), text);
    auto temporary = skua::spawn(copy, std::string(200, 'y'));
    EXPECT_EQ(co_await temporary, std::string(200, 'y'));
  };
  rt.block_on(body);
  EXPECT_EQ(owned::alive, 0);
}

// Copies of arguments that are handed over are made in the call of the function: by then there is a block, with room for the frame from the second spawn on.
struct breaks_in_copy {
  static inline int alive = 0, copies_left = 0;
  breaks_in_copy() { ++alive; }
  breaks_in_copy(breaks_in_copy const&) {
    if (copies_left-- == 0) throw std::runtime_error("broke in the copy");
    ++alive;
  }
  breaks_in_copy(breaks_in_copy&&) noexcept { ++alive; }
  ~breaks_in_copy() { --alive; }
};
task<int> count_copies(owned, breaks_in_copy, breaks_in_copy) { co_return breaks_in_copy::alive; }
TEST_F(SpawnArguments, whose_copy_throws_leave_nothing_behind) {
  auto attempts = [](auto spawn) -> task<int> {
    int broken = 0;
    breaks_in_copy const x, y;
    for (int round = 0; round < 3; ++round)
      for (int copies : {0, 1, 2}) {   // the third time it is spawned
        try {
          breaks_in_copy::copies_left = copies;
          auto h = spawn(x, y);
          EXPECT_EQ(co_await h, 4);   // x and y here, and in the frame
          EXPECT_EQ(copies, 2);
        } catch (std::runtime_error const&) {
          ++broken;
          EXPECT_EQ(breaks_in_copy::alive, 2);
        }
      }
    co_return broken;
  };
  auto body = [&]() -> task<> {
    EXPECT_EQ(co_await attempts([](auto&... a) { return skua::spawn(count_copies, owned(1), a...); }), 6);
    EXPECT_EQ(co_await attempts([](auto&... a) { return skua::spawn(skua::named("copies"), count_copies, owned(1), a...); }), 6);
    EXPECT_EQ(co_await attempts([&](auto&... a) { return rt.spawn(count_copies, owned(1), a...); }), 6);
    co_await skua::with_task_group([&](skua::task_group& g) -> task<> {
      EXPECT_EQ(co_await attempts([&](auto&... a) { return g.spawn(count_copies, owned(1), a...); }), 6);
    });
  };
  rt.block_on(body);
  EXPECT_EQ(owned::alive, 0);
  EXPECT_EQ(breaks_in_copy::alive, 0);
}

// The first frame is that of a task which the copy makes: it may live longer than the spawned one, or end before.
struct makes_tasks_in_copy {
  std::vector<task<int>>* kept = nullptr;
  std::vector<skua::join_handle<int>>* spawned = nullptr;
  makes_tasks_in_copy() = default;
  makes_tasks_in_copy(makes_tasks_in_copy const& o) : kept(o.kept), spawned(o.spawned) {
    if (kept != nullptr) kept->push_back(value_of(3));
    if (spawned != nullptr) spawned->push_back(skua::spawn(value_of, 4));
  }
};
TEST_F(SpawnArguments, whose_copy_makes_and_spawns_tasks__INV_EMBED_1) {
  auto body = []() -> task<> {
    auto f = [](makes_tasks_in_copy) -> task<int> { co_return 5; };
    for (int round = 0; round < 3; ++round) {
      std::vector<task<int>> kept;
      std::vector<skua::join_handle<int>> spawned;
      makes_tasks_in_copy x;
      x.kept = &kept;
      if (round != 1) x.spawned = &spawned;
      {
        auto h = skua::spawn(f, x);
        EXPECT_EQ(co_await h, 5);
      }
      EXPECT_FALSE(kept.empty());
      for (auto& t : kept) EXPECT_EQ(co_await std::move(t), 3);
      for (auto& h : spawned) EXPECT_EQ(co_await h, 4);
    }
  };
  rt.block_on(body);
}

TEST_F(SpawnArguments, takes_arguments_that_only_move_and_passes_references_by_wrapper) {
  auto body = []() -> task<> {
    int n = 1;
    auto h = skua::spawn([](std::unique_ptr<int> p, std::reference_wrapper<int> r) -> task<int> {
      r.get() = 5;
      co_return *p;
    },
                         std::make_unique<int>(7), std::ref(n));
    EXPECT_EQ(co_await h, 7);
    EXPECT_EQ(n, 5);
  };
  rt.block_on(body);
}

struct adder {
  int base;
  task<int> add(int n) const { co_return base + n; }
};
task<int> sum_of(int a, int b, int c, int d, int e, int f) { co_return a + b + c + d + e + f; }
TEST_F(SpawnArguments, takes_members_functions_of_many_arguments_and_tasks) {
  auto body = []() -> task<> {
    EXPECT_EQ(co_await skua::spawn(&adder::add, adder{3}, 4), 7);
    EXPECT_EQ(co_await skua::spawn(sum_of, 1, 2, 3, 4, 5, 6), 21);
    EXPECT_EQ(co_await skua::spawn(value_of(9)), 9);
    auto t = value_of(10);
    EXPECT_EQ(co_await skua::spawn(std::move(t)), 10);
    EXPECT_FALSE(static_cast<bool>(t));
  };
  rt.block_on(body);
}

} // namespace
