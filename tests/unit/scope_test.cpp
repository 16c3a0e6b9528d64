// SPDX-License-Identifier: Apache-2.0
// shield, settle, stopped_as_optional, finally (S14, S15), stop reasons, and combinators over any awaitable. Virtual time.
#include "skua/blocking.hpp"
#include "skua/deadline.hpp"
#include "skua/finally.hpp"
#include "skua/future.hpp"
#include "skua/result.hpp"
#include "skua/runtime.hpp"
#include "skua/shield.hpp"
#include "skua/time.hpp"
#include "skua/when_all.hpp"
#include "skua/when_any.hpp"
#include "tests/support/several_workers.hpp"
#include "tests/support/timed_values.hpp"
#include "tests/support/values.hpp"
#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::stop_reason;
using skua::task;

class Scope : public several_workers {};
INSTANTIATE_TEST_SUITE_P(, Scope, testing::Values(1u, 2u), by_workers);

// ---------------------------------------------------------------------------------------------- shield

TEST_P(Scope, shield_keeps_a_stop_out_and_the_next_suspension_point_sees_it) {
  std::atomic<int> shielded = 0, behind = 0, saw_stop = 0;
  auto body = [&]() -> task<> {
    auto h = skua::spawn([&]() -> task<> {
      int const n = co_await skua::shield([](std::atomic<int>& seen) -> task<int> {
        co_await skua::sleep_for(2s);
        seen += skua::this_task::stop_requested();
        co_await skua::sleep_for(2s);
        co_return 4;
      }(saw_stop));
      shielded = n;
      co_await skua::sleep_for(1s);
      behind = 1;
    });
    co_await skua::sleep_for(1s);
    h.request_stop();
    EXPECT_THROW(co_await h, skua::task_stopped);
  };
  rt.block_on(body);
  EXPECT_EQ(shielded, 4);
  EXPECT_EQ(saw_stop, 0);
  EXPECT_EQ(behind, 0);
}

TEST_P(Scope, shield_begins_even_if_the_stop_came_before) {
  std::atomic<int> done = 0;
  auto body = [&]() -> task<> {
    auto g = skua::spawn([&]() -> task<> {
      while (!skua::this_task::stop_requested()) std::this_thread::yield();
      co_await skua::shield(skua::sleep_for(1s));
      done = 2;
      co_await skua::this_task::checkpoint();
      done = 3;
    });
    g.request_stop();
    EXPECT_THROW(co_await g, skua::task_stopped);
  };
  rt.block_on(body);
  EXPECT_EQ(done, 2);
}

TEST_P(Scope, shield_lets_values_references_and_failures_through) {
  auto body = [&]() -> task<> {
    EXPECT_EQ(co_await skua::shield(after(1s, 3)), 3);
    EXPECT_EQ((co_await skua::shield([]() -> task<owned> { co_return owned(5); }())).value(), 5);
    int n = 0;
    EXPECT_EQ(&co_await skua::shield([](int& r) -> task<int&> { co_return r; }(n)), &n);
    EXPECT_THROW(co_await skua::shield(fail_in(1s, "inside")), std::runtime_error);
    EXPECT_THROW(co_await skua::shield(skua::timeout(1s, never())), skua::timeout_error);   // a limit inside applies
  };
  rt.block_on(body);
  EXPECT_EQ(owned::alive, 0);
}

TEST_P(Scope, a_timeout_around_a_shield_returns_late_with_the_value__S10) {
  auto body = [&]() -> task<> {
    auto const begin = skua::clock::now();
    EXPECT_EQ(co_await skua::timeout(1s, [](int n) -> task<int> { co_return co_await skua::shield(after(3s, n)); }(7)), 7);
    EXPECT_EQ(skua::clock::now() - begin, 3s);
    EXPECT_EQ(co_await skua::timeout(1s, skua::shield(after(3s, 8))), 8);   // awaited where it is
  };
  rt.block_on(body);
}

// ---------------------------------------------------------------------------------------------- settle, stopped_as_optional

TEST_P(Scope, settle_says_how_it_ended) {
  auto body = [&]() -> task<> {
    auto v = co_await skua::settle(after(1s, 3));
    EXPECT_TRUE(v.has_value() && *v == 3 && v);
    auto f = co_await skua::settle(fail_in(1s, "no"));
    EXPECT_TRUE(f.failed());
    EXPECT_THROW(f.value(), std::runtime_error);
    EXPECT_THROW(std::rethrow_exception(f.error()), std::runtime_error);
    auto o = co_await skua::settle([]() -> task<owned> { co_return owned(5); }());
    EXPECT_EQ(o->value(), 5);
    int n = 0;
    auto r = co_await skua::settle([](int& x) -> task<int&> { co_return x; }(n));
    EXPECT_EQ(&r->get(), &n);
  };
  rt.block_on(body);
  EXPECT_EQ(owned::alive, 0);
}

TEST_P(Scope, settle_and_stopped_as_optional_turn_a_stop_into_a_value_and_the_next_suspension_point_ends_the_task) {
  std::atomic<int> said = 0, behind = 0, gone = 0;
  auto body = [&]() -> task<> {
    auto settles = skua::spawn([&]() -> task<> {
      auto o = co_await skua::settle(sleep_with(1h, gone));
      said += o.stopped();
      co_await skua::this_task::checkpoint();
      behind = 1;
    });
    auto optional = skua::spawn([&]() -> task<> {
      auto o = co_await skua::stopped_as_optional(sleep_with(1h, gone));
      said += !o.has_value();
      co_await skua::sleep_for(0s);
      behind = 1;
    });
    co_await skua::sleep_for(1s);
    settles.request_stop();
    optional.request_stop();
    EXPECT_THROW(co_await settles, skua::task_stopped);
    EXPECT_THROW(co_await optional, skua::task_stopped);
  };
  rt.block_on(body);
  EXPECT_EQ(said, 2);
  EXPECT_EQ(behind, 0);
  EXPECT_EQ(gone, 2);
}

TEST_P(Scope, what_was_stopped_before_does_not_begin) {
  std::atomic<int> began = 0, said = 0;
  auto body = [&]() -> task<> {
    auto h = skua::spawn([&]() -> task<> {
      while (!skua::this_task::stop_requested()) std::this_thread::yield();
      auto begins = [](std::atomic<int>& n) -> task<int> {
        ++n;
        co_return 1;
      };
      said += (co_await skua::settle(begins(began))).stopped();
      said += !(co_await skua::stopped_as_optional(begins(began))).has_value();
    });
    h.request_stop();
    co_await h;   // it came to its end without a suspension point
  };
  rt.block_on(body);
  EXPECT_EQ(began, 0);
  EXPECT_EQ(said, 2);
}

// How a clean-up begins under its limit: also when that has passed before the clean-up could begin (S14).
TEST_P(Scope, S14_a_clean_up_that_was_stopped_before_begins_all_the_same) {
  bool began = false, beyond = false, stopped = false;
  auto body = [&]() -> task<> {
    auto h = skua::spawn([&]() -> task<> {
      while (!skua::this_task::stop_requested()) std::this_thread::yield();
      auto cleanup = [&]() -> task<> {
        began = true;
        co_await skua::this_task::yield();
        beyond = true;
      };
      stopped = (co_await skua::detail::settled_cleanup(skua::detail::run_cleanup(cleanup))).stopped();
    });
    h.request_stop();
    co_await h;
  };
  rt.block_on(body);
  EXPECT_TRUE(began);
  EXPECT_FALSE(beyond);
  EXPECT_TRUE(stopped);
}

TEST_P(Scope, stopped_as_optional_of_a_value_a_failure_and_a_handle) {
  auto body = [&]() -> task<> {
    std::optional<int> v = co_await skua::stopped_as_optional(after(1s, 3));
    EXPECT_EQ(v, 3);
    EXPECT_THROW(co_await skua::stopped_as_optional(fail_in(1s, "no")), std::runtime_error);
    auto h = skua::spawn(after, 1h, 4);
    h.request_stop();
    EXPECT_FALSE((co_await skua::stopped_as_optional(h)).has_value());
    auto g = skua::spawn(after, 1s, 5);
    EXPECT_EQ(co_await skua::stopped_as_optional(g), 5);
    auto f = skua::spawn(fail_in, 1s, std::string("no"));
    EXPECT_THROW(co_await skua::stopped_as_optional(f), std::runtime_error);
  };
  rt.block_on(body);
}

// ---------------------------------------------------------------------------------------------- finally

TEST_P(Scope, S14_cleanup_runs_once_after_a_value_a_failure_and_a_stop) {
  std::atomic<int> cleaned = 0, stopped = 0;
  auto body = [&]() -> task<> {
    auto cleanup = [&]() -> task<> {
      co_await skua::sleep_for(1s);   // it may await
      EXPECT_FALSE(skua::this_task::stop_requested());
      ++cleaned;
    };
    EXPECT_EQ(co_await skua::finally(after(1s, 3), cleanup), 3);
    EXPECT_EQ(cleaned, 1);
    EXPECT_THROW(co_await skua::finally(fail_in(1s, "no"), cleanup), std::runtime_error);
    EXPECT_EQ(cleaned, 2);
    auto h = skua::spawn([&]() -> task<> {
      witness w(stopped);
      co_await skua::finally(skua::sleep_for(1h), cleanup);
      ADD_FAILURE() << "went on";
    });
    co_await skua::sleep_for(1s);
    h.request_stop();
    EXPECT_THROW(co_await h, skua::task_stopped);
    EXPECT_EQ(cleaned, 3);
    EXPECT_EQ(stopped, 1);
    EXPECT_THROW(co_await skua::timeout(1s, skua::finally(never(), cleanup)), skua::timeout_error);
    EXPECT_EQ(cleaned, 4);
  };
  rt.block_on(body);
}

TEST_P(Scope, S14_a_stop_before_it_began_skips_what_is_awaited_and_cleans_up) {
  std::atomic<int> began = 0, cleaned = 0;
  auto body = [&]() -> task<> {
    auto h = skua::spawn([&]() -> task<> {
      while (!skua::this_task::stop_requested()) std::this_thread::yield();
      co_await skua::finally([](std::atomic<int>& n) -> task<> {
        ++n;
        co_return;
      }(began),
                             [&]() -> task<> {
                               co_await skua::sleep_for(1s);
                               ++cleaned;
                             });
      ADD_FAILURE() << "went on";
    });
    h.request_stop();
    EXPECT_THROW(co_await h, skua::task_stopped);
  };
  rt.block_on(body);
  EXPECT_EQ(began, 0);
  EXPECT_EQ(cleaned, 1);
}

task<> stopped_while_cleaning_fails(std::atomic<int>& caught) {
  try {
    co_await skua::finally(skua::sleep_for(1h), [] { return fail_in(1s, "cleanup"); });
  } catch (std::runtime_error const&) {
    ++caught;   // a failure before a stop
  }
  co_await skua::this_task::checkpoint();
  ADD_FAILURE() << "went on";
}

TEST_P(Scope, S14_a_failure_of_the_cleanup_replaces_a_value_or_a_stop_and_nests_a_failure) {
  std::atomic<int> caught = 0;
  auto body = [&]() -> task<> {
    auto fails = [] { return fail_in(1s, "cleanup"); };
    EXPECT_THROW(co_await skua::finally(skua::sleep_for(1s), fails), std::runtime_error);
    EXPECT_THROW(co_await skua::finally(after(1s, 1), []() -> task<> { throw std::out_of_range("when called"); }), std::out_of_range);
    auto h = skua::spawn(stopped_while_cleaning_fails, std::ref(caught));
    co_await skua::sleep_for(1s);
    h.request_stop();
    EXPECT_THROW(co_await h, skua::task_stopped);
    EXPECT_EQ(caught, 1);
    try {
      co_await skua::finally(fail_in(1s, "before"), fails);
      ADD_FAILURE() << "must throw";
    } catch (skua::cleanup_failed const& e) {
      EXPECT_EQ(message_of([&] { std::rethrow_exception(e.cleanup_error()); }), "cleanup");
      EXPECT_EQ(message_of([&] { std::rethrow_if_nested(e); }), "before");
    }
  };
  rt.block_on(body);
}

TEST_P(Scope, S14_a_limit_that_expires_stops_the_cleanup_and_says_so) {
  std::atomic<int> gone = 0;
  auto body = [&]() -> task<> {
    auto const begin = skua::clock::now();
    auto slow = [&] { return sleep_with(1h, gone); };
    EXPECT_THROW(co_await skua::finally(after(1s, 1), slow, 2s), skua::cleanup_timeout);
    EXPECT_EQ(skua::clock::now() - begin, 3s);
    EXPECT_EQ(gone, 1);
    EXPECT_EQ(co_await skua::finally(after(1s, 2), [] { return skua::sleep_for(1s); }, 2s), 2);
    // A timeout_error of the clean-up's own is no expired limit.
    try {
      co_await skua::finally(after(1s, 1), [] { return skua::timeout(1s, never()); }, 1h);
      ADD_FAILURE() << "must throw";
    } catch (skua::cleanup_timeout const&) {
      ADD_FAILURE() << "not the limit";
    } catch (skua::timeout_error const&) {
    }
  };
  rt.block_on(body);
}

TEST_P(Scope, S14_a_limit_of_ages_never_expires) {
  auto body = []() -> task<> {
    EXPECT_EQ(co_await skua::finally(after(1s, 1), [] { return skua::sleep_for(1h); }, std::chrono::hours::max()), 1);
    EXPECT_EQ(co_await skua::finally(after(1s, 2), [] { return skua::sleep_for(1h); }, std::chrono::seconds::max()), 2);
  };
  rt.block_on(body);
}

TEST_P(Scope, S15_inside_shield_and_finally_an_outer_deadline_is_masked) {
  auto body = [&]() -> task<> {
    using skua::this_task::deadline;
    auto const begin = skua::clock::now();
    EXPECT_FALSE(deadline());
    bool cleaned = false;
    auto inner = [&]() -> task<> {
      EXPECT_EQ(deadline(), begin + 1s);
      co_await skua::shield([&]() -> task<> {
        EXPECT_FALSE(deadline());
        co_await skua::timeout(5s, [&]() -> task<> {
          EXPECT_EQ(deadline(), begin + 5s);
          co_await skua::sleep_for(2s);
        }());
      }());
      EXPECT_EQ(deadline(), begin + 1s);
      co_await skua::finally(skua::sleep_for(1h), [&]() -> task<> {
        EXPECT_FALSE(deadline());
        co_await skua::sleep_for(2s);
        cleaned = true;
      });
    };
    EXPECT_THROW(co_await skua::timeout(1s, inner()), skua::timeout_error);
    EXPECT_TRUE(cleaned);
    EXPECT_EQ(skua::clock::now() - begin, 4s);
  };
  rt.block_on(body);
}

// ---------------------------------------------------------------------------------------------- stop reasons

TEST_P(Scope, a_stop_has_a_reason_with_a_text_and_task_stopped_carries_it) {
  auto body = [&]() -> task<> {
    stop_reason why{};
    auto h = skua::spawn(asks, std::ref(why));
    co_await skua::sleep_for(1s);
    h.request_stop();
    try {
      co_await h;
      ADD_FAILURE() << "must throw";
    } catch (skua::task_stopped const& e) {
      EXPECT_EQ(e.reason(), stop_reason::requested);
      EXPECT_NE(std::string(e.what()).find(skua::to_string(e.reason())), std::string::npos);
    }
    EXPECT_EQ(why, stop_reason::requested);
    // What lies outside of a shield is not the cause of what happens inside.
    stop_reason inside{};
    auto g = skua::spawn([&]() -> task<> {
      co_await skua::shield([&]() -> task<> { EXPECT_THROW(co_await skua::timeout(2s, asks(inside)), skua::timeout_error); }());
    });
    co_await skua::sleep_for(1s);
    g.request_stop();
    co_await g;
    EXPECT_EQ(inside, stop_reason::timed_out);
  };
  rt.block_on(body);
}

// ---------------------------------------------------------------------------------------------- any awaitable

TEST_P(Scope, combinators_take_any_awaitable) {
  auto body = [&]() -> task<> {
    auto h = skua::spawn(after, 2s, 1);
    EXPECT_THROW(co_await skua::timeout(1s, h), skua::timeout_error);   // no longer awaited; it runs on
    EXPECT_EQ(co_await skua::timeout(2s, h), 1);
    EXPECT_THROW(co_await skua::timeout(1s, skua::spawn(after, 1h, 1)), skua::timeout_error);   // moved in, dropped, stopped
    co_await skua::timeout(2s, skua::sleep_for(1s));

    skua::promise<int> p;
    auto f = p.get_future();
    EXPECT_THROW(co_await skua::timeout(1s, f), skua::timeout_error);
    p.set_value(2);
    EXPECT_EQ(co_await skua::timeout(1s, std::move(f)), 2);
    EXPECT_EQ(co_await skua::shield(skua::spawn_blocking([] { return 3; })), 3);

    auto [a, b, c] = co_await skua::when_all(after(1s, 1), skua::spawn(after, 2s, 2), skua::sleep_for(3s));
    EXPECT_EQ(a + b, 3);
    auto w = co_await skua::when_any(skua::sleep_for(2s), after(1s, 9));
    EXPECT_EQ(std::get<1>(w), 9);
    (void)c;

    std::vector<skua::join_handle<int>> handles;
    for (int i = 0; i < 5; ++i) handles.push_back(skua::spawn(after, std::chrono::seconds(5 - i), i));
    auto [index, value] = co_await skua::when_any(handles);
    EXPECT_EQ(index, 4u);
    EXPECT_EQ(value, 4);
    handles.pop_back();
    EXPECT_EQ(co_await skua::when_all(std::move(handles)), (std::vector{0, 1, 2, 3}));

    auto fails = []() -> task<int> {
      throw std::system_error(std::make_error_code(std::errc::timed_out));
      co_return 0;
    };
    auto r = co_await skua::as_result(skua::spawn(fails));
    EXPECT_EQ(r.error(), std::errc::timed_out);
    EXPECT_EQ(*co_await skua::as_result(skua::spawn(after, 1s, 4)), 4);
  };
  rt.block_on(body);
}

} // namespace
