// SPDX-License-Identifier: Apache-2.0
// select: a branch that is disabled is not looked at, whatever it waits for: what has ended and was taken, what is closed, what never was.
#include "skua/broadcast.hpp"
#include "skua/event.hpp"
#include "skua/mutex.hpp"
#include "skua/runtime.hpp"
#include "skua/select_io.hpp"
#include "skua/semaphore.hpp"
#include "skua/watch.hpp"
#include "tests/support/leak_check.hpp"
#include "tests/support/values.hpp"

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::on;
using skua::select;
using skua::task;

class SelectDisabled : public leak_check {
protected:
  skua::runtime rt{skua::options{.workers = 2}};
};
constexpr auto nothing = [] {};

TEST_F(SelectDisabled, a_loop_over_joins_leaves_out_what_it_has_joined) {
  rt.block_on([]() -> task<> {
    auto a = skua::spawn(value_after, 3, 1);
    auto b = skua::spawn(value_after, 30, 10);
    int sum = 0;
    bool first = true, second = true;
    while (first || second)
      co_await select(on(a, [&](int n) { sum += n, first = false; }).only_if(first), on(b, [&](int n) { sum += n, second = false; }).only_if(second));
    EXPECT_EQ(sum, 11);
    EXPECT_THROW(co_await select(on(a, nothing), on(skua::sleep_for(1h), nothing)), skua::usage_error);
  });
}

TEST_F(SelectDisabled, empty_handles_futures_and_oneshots_count_only_where_they_are_enabled) {
  rt.block_on([]() -> task<> {
    skua::join_handle<int> h;
    skua::future<int> f;
    skua::oneshot_receiver<int> rx;
    for (int round = 0; round < 3; ++round) {
      co_await select(on(h, nothing).only_if(false), on(f, nothing).only_if(false), on(rx.recv(), nothing).only_if(false),
                      on(skua::sleep_for(0s), nothing));
    }
    EXPECT_THROW(co_await select(on(h, nothing), on(skua::sleep_for(1h), nothing)), skua::usage_error);
    EXPECT_THROW(co_await select(on(f, nothing), on(skua::sleep_for(1h), nothing)), skua::usage_error);
    EXPECT_THROW(co_await select(on(rx.recv(), nothing), on(skua::sleep_for(1h), nothing)), skua::usage_error);
  });
}

TEST_F(SelectDisabled, nothing_is_taken_from_what_could_be_taken) {
  rt.block_on([]() -> task<> {
    skua::mutex m;
    skua::counting_semaphore permits(1);
    skua::auto_reset_event signal(true);
    skua::tcp_listener closed;
    auto done = skua::spawn(value_after, 0, 1);
    while (!done.done()) co_await skua::this_task::yield();
    int const got = co_await select(on(m.lock(), [] { return 1; }).only_if(false), on(permits.acquire(), [] { return 2; }).only_if(false),
                                    on(signal.wait(), [] { return 3; }).only_if(false), on(closed, [] { return 4; }).only_if(false),
                                    on(skua::readable(-1), [] { return 5; }).only_if(false), on(done, [] { return 6; }).only_if(false),
                                    on(skua::stopping, [] { return 7; }).only_if(false), on(skua::sleep_for(0s), [] { return 8; }));
    EXPECT_EQ(got, 8);
    EXPECT_TRUE(m.try_lock());
    EXPECT_TRUE(permits.try_acquire());
    EXPECT_TRUE(signal.try_wait());
    EXPECT_EQ(co_await done, 1);
  });
}

} // namespace
