// SPDX-License-Identifier: Apache-2.0
// What waiting costs in memory, for every operation that waits: calls of operator new, blocks of the frame pool, task blocks.
//
// A task waits; while it does, its partner counts, and then lets it go on. An operation lives in the awaiting frame and so costs nothing. What is a coroutine
// itself (condition_variable::wait with a predicate, once::call ..) costs its frame; a scope costs the frames of what runs inside, and for each branch, when it
// suspends for the first time, a record of 64 bytes. docs/structured-concurrency.md has the table; here it is held to it.
#include "skua/skua.hpp"
#include "tests/support/allocation_count.hpp"
#include "tests/support/leak_check.hpp"
#include "tests/support/values.hpp"
#include <coroutine>
#include <functional>
#include <new>
#include <optional>
#include <ostream>
#include <source_location>
#include <thread>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::task;

struct memory {
  std::int64_t news = 0, frames = 0, tasks = 0;
  bool operator==(memory const&) const = default;
  static memory now() { return {static_cast<std::int64_t>(allocations()), skua::detail::live_frames(), skua::detail::live_task_blocks()}; }
  friend memory operator-(memory a, memory b) { return {a.news - b.news, a.frames - b.frames, a.tasks - b.tasks}; }
  friend std::ostream& operator<<(std::ostream& out, memory const& m) {
    return out << m.news << " calls of operator new, " << m.frames << " frames and records, " << m.tasks << " tasks";
  }
};
constexpr memory nothing{};
constexpr memory frames(int n) { return {0, n, 0}; }

// Says when the wait begins and when it is over.
class probe {
public:
  void begin() {
    waits_.set();
    sampled_ = false;
    before_ = memory::now();
  }
  void end() {
    after_ = memory::now();
    ended_ = true;
  }

private:
  friend class WaitingAllocation;
  skua::auto_reset_event waits_;
  memory before_, during_, after_;
  bool sampled_ = false, ended_ = false;
};

class WaitingAllocation : public leak_check {
protected:
  // wait(probe) calls begin(), waits, and calls end(); let_go() ends the wait. Several times: the pools are warm after the first.
  template <class Wait, class LetGo>
  void costs(memory wanted, Wait wait, LetGo let_go, std::source_location at = std::source_location::current()) {
    testing::ScopedTrace const trace(at.file_name(), static_cast<int>(at.line()), "");
    if (!allocations_are_counted) GTEST_SKIP() << "operator new belongs to the sanitizer";
    rt.block_on([](Wait& w, LetGo& l, memory want) -> task<> {
      probe p;
      auto partner = skua::spawn([&]() -> task<> {
        for (;;) {
          co_await p.waits_.wait();
          co_await yield_times(9);   // until everything inside has come to its suspension point
          p.during_ = memory::now();
          p.sampled_ = true;
          if constexpr (std::is_void_v<std::invoke_result_t<LetGo&>>)
            l();
          else
            co_await l();
        }
      });
      for (int round = 0; round < 4; ++round) {
        p.ended_ = false;
        co_await w(p);
        EXPECT_TRUE(p.sampled_ && p.ended_) << "it did not wait";
      }
      memory const used = {(p.after_ - p.before_).news, (p.during_ - p.before_).frames, (p.during_ - p.before_).tasks};
      EXPECT_EQ(used, want);
      partner.request_stop();
      (void)co_await skua::settle(partner);
    }(wait, let_go, wanted));
  }
  template <class Wait>
  void costs(memory wanted, Wait wait, std::source_location at = std::source_location::current()) {
    costs(wanted, std::move(wait), [] {}, at);
  }
  // A single operation, made anew by each call.
  template <class Make, class LetGo>
  void operation_costs_nothing(Make make, LetGo let_go, std::source_location at = std::source_location::current()) {
    costs(nothing, [make](probe& p) -> task<> {
      p.begin();
      (void)co_await make();
      p.end();
    }, let_go, at);
  }
  template <class Make>
  void operation_costs_nothing(Make make, std::source_location at = std::source_location::current()) {
    operation_costs_nothing(make, [] {}, at);
  }

  skua::runtime rt{skua::options{.workers = 1, .backend = "virtual"}};
  skua::event opened;   // for waits that end when it is set
  task<> until_opened() {
    co_await opened.wait();
    opened.reset();
  }
};

// ---------------------------------------------------------------- time, tasks, futures

TEST_F(WaitingAllocation, of_time) {
  operation_costs_nothing([] { return skua::sleep_for(1s); });
  operation_costs_nothing([] { return skua::sleep_until(skua::clock::now() + 1s); });
  costs(nothing, [](probe& p) -> task<> {
    skua::interval every(1s);
    co_await every.tick();
    p.begin();
    co_await every.tick();
    p.end();
  });
}

TEST_F(WaitingAllocation, of_joins_and_futures) {
  costs(nothing, [this](probe& p) -> task<> {
    auto h = skua::spawn([this] { return until_opened(); });
    co_await skua::this_task::yield();
    p.begin();
    co_await h;
    p.end();
  }, [this] { opened.set(); });
  std::optional<skua::promise<int>> given;
  costs(nothing, [&](probe& p) -> task<> {
    given.emplace();
    auto f = given->get_future();
    p.begin();
    co_await f;
    p.end();
  }, [&] { given->set_value(1); });
}

TEST_F(WaitingAllocation, of_callbacks_and_blocking_calls) {
  std::optional<skua::completion<int>> called;
  operation_costs_nothing([&] { return skua::callback<int>([&](skua::completion<int> c) { called.emplace(c); }); }, [&] { called->set_value(1); });
  std::atomic<bool> go_on = false;
  operation_costs_nothing([&] { return skua::spawn_blocking([&] {
                                  while (!go_on.exchange(false)) std::this_thread::yield();
                                }); }, [&] { go_on = true; });
}

// ---------------------------------------------------------------- locks and events

TEST_F(WaitingAllocation, of_locks) {
  skua::mutex m;
  std::optional<skua::scoped_lock> held;
  costs(nothing, [&](probe& p) -> task<> {
    held.emplace(co_await m.lock());
    p.begin();
    auto const mine = co_await m.lock();
    p.end();
  }, [&] { held.reset(); });

  skua::shared_mutex rw;
  std::optional<skua::scoped_exclusive_lock> written;
  costs(nothing, [&](probe& p) -> task<> {
    written.emplace(co_await rw.lock());
    p.begin();
    auto const mine = co_await rw.lock_shared();
    p.end();
  }, [&] { written.reset(); });
  costs(nothing, [&](probe& p) -> task<> {
    written.emplace(co_await rw.lock());
    p.begin();
    auto const mine = co_await rw.lock();
    p.end();
  }, [&] { written.reset(); });

  skua::counting_semaphore s(0);
  costs(nothing, [&](probe& p) -> task<> {
    p.begin();
    (void)(co_await s.acquire(2)).forget();
    p.end();
  }, [&] { s.release(2); });
}

TEST_F(WaitingAllocation, of_conditions) {
  skua::mutex m;
  skua::condition_variable changed(m);
  bool ready = false;
  auto let_go = [&] {
    ready = true;
    changed.notify_one();
  };
  costs(nothing, [&](probe& p) -> task<> {
    auto lock = co_await m.lock();
    p.begin();
    co_await changed.wait(lock);
    p.end();
  }, let_go);
  costs(frames(1), [&](probe& p) -> task<> {   // with a predicate: a coroutine
    ready = false;
    auto lock = co_await m.lock();
    p.begin();
    co_await changed.wait(lock, [&] { return ready; });
    p.end();
  }, let_go);
  costs(frames(3), [&](probe& p) -> task<> {   // and its own, and the timeout's branch
    ready = false;
    auto lock = co_await m.lock();
    p.begin();
    (void)co_await changed.wait_for(lock, 1h, [&] { return ready; });
    p.end();
  }, let_go);
}

TEST_F(WaitingAllocation, of_events_latches_and_barriers) {
  skua::event e;
  operation_costs_nothing([&] { return e.wait(); }, [&] {
    e.set();
    e.reset();
  });
  skua::auto_reset_event one;
  operation_costs_nothing([&] { return one.wait(); }, [&] { one.set(); });
  std::optional<skua::latch> l;
  operation_costs_nothing([&] { return l.emplace(1).wait(); }, [&] { l->count_down(); });
  operation_costs_nothing([&] { return l.emplace(2).arrive_and_wait(); }, [&] { l->count_down(); });
  costs(nothing, [&](probe& p) -> task<> {
    skua::barrier b(2);
    auto other = skua::spawn([&]() -> task<> {
      co_await until_opened();
      (void)co_await b.arrive_and_wait();
    });
    co_await skua::this_task::yield();
    p.begin();
    (void)co_await b.arrive_and_wait();
    p.end();
    co_await other;
  }, [this] { opened.set(); });
}

TEST_F(WaitingAllocation, of_once_and_lazy) {
  costs(frames(1), [&](probe& p) -> task<> {   // call() is a coroutine
    skua::once done;
    auto other = skua::spawn([&] { return done.call([this] { return until_opened(); }); });
    co_await skua::this_task::yield();
    p.begin();
    co_await done.call([] {});
    p.end();
    co_await other;
  }, [this] { opened.set(); });
  costs(frames(1), [&](probe& p) -> task<> {   // so is get()
    auto make = [this]() -> task<int> {
      co_await until_opened();
      co_return 1;
    };
    skua::lazy<int, decltype(make)> value(make);
    auto other = skua::spawn([&]() -> task<> { (void)co_await value.get(); });
    co_await skua::this_task::yield();
    p.begin();
    (void)co_await value.get();
    p.end();
    co_await other;
  }, [this] { opened.set(); });
}

// ---------------------------------------------------------------- channels and streams

TEST_F(WaitingAllocation, of_channels) {
  skua::channel<int> rendezvous(0), one(1);
  operation_costs_nothing([&] { return rendezvous.recv(); }, [&] { EXPECT_TRUE(rendezvous.try_send(1)); });
  operation_costs_nothing([&] { return rendezvous.send(1); }, [&] { EXPECT_TRUE(rendezvous.try_recv()); });
  operation_costs_nothing([&] { return one.recv(); }, [&] { EXPECT_TRUE(one.try_send(1)); });
  costs(nothing, [&](probe& p) -> task<> {
    (void)one.try_send(1);
    p.begin();
    (void)co_await one.send(2);
    p.end();
    (void)one.try_recv();
  }, [&] { EXPECT_TRUE(one.try_recv()); });
  skua::unbounded_channel<int> wide;
  operation_costs_nothing([&] { return wide.recv(); }, [&] { EXPECT_TRUE(wide.send(1)); });
  skua::priority_channel<int> urgent(1);
  operation_costs_nothing([&] { return urgent.recv(); }, [&] { EXPECT_TRUE(urgent.try_send(1, 1)); });
  costs(nothing, [&](probe& p) -> task<> {
    (void)urgent.try_send(1, 1);
    p.begin();
    (void)co_await urgent.send(2, 2);
    p.end();
    (void)urgent.try_recv();
  }, [&] { EXPECT_TRUE(urgent.try_recv()); });
  std::optional<skua::oneshot_sender<int>> reply;
  costs(nothing, [&](probe& p) -> task<> {
    auto [to, from] = skua::oneshot<int>();
    reply.emplace(std::move(to));
    p.begin();
    (void)co_await from.recv();
    p.end();
  }, [&] { EXPECT_TRUE(reply->send(1)); });
}

TEST_F(WaitingAllocation, of_broadcasts_and_watches) {
  skua::broadcast<int> all(1, skua::slow_receiver::wait);
  auto listener = all.subscribe();
  operation_costs_nothing([&] { return listener.recv(); }, [&] { EXPECT_EQ(all.try_send(1), skua::send_status::sent); });
  costs(nothing, [&](probe& p) -> task<> {
    (void)all.try_send(1);
    p.begin();
    (void)co_await all.send(2);
    p.end();
    EXPECT_EQ(*co_await listener.recv(), 2);
  }, [&]() -> task<> { EXPECT_EQ(*co_await listener.recv(), 1); });
  skua::watch<int> level(0);
  auto at = level.subscribe();
  int n = 0;
  operation_costs_nothing([&] { return at.changed(); }, [&] { level.set(++n); });
  costs(frames(1), [&](probe& p) -> task<> {   // wait_for() is a coroutine
    int const wanted = n + 1;
    p.begin();
    auto waits = at.wait_for([wanted](int v) { return v == wanted; });   // kept: or its frame might be a part of this one (SKUA_AWAIT_ELIDABLE)
    (void)co_await std::move(waits);
    p.end();
  }, [&] { level.set(++n); });
}

TEST_F(WaitingAllocation, of_generators_and_selects) {
  costs(nothing, [this](probe& p) -> task<> {
    auto numbers = [](skua::event& e) -> skua::async_generator<int> {
      co_yield 1;
      co_await e.wait();
      e.reset();
      co_yield 2;
    }(opened);
    EXPECT_EQ(co_await numbers.next(), 1);
    p.begin();
    EXPECT_EQ(co_await numbers.next(), 2);
    p.end();
  }, [this] { opened.set(); });
  skua::channel<int> a(0), never_sent(0), full(0);
  costs(nothing, [&](probe& p) -> task<> {
    auto h = skua::spawn(never);
    co_await skua::this_task::yield();   // it waits
    p.begin();
    co_await skua::select(skua::on(a.recv(), [](std::optional<int>) {}), skua::on(never_sent.recv(), [](std::optional<int>) {}),
                          skua::on(full.send(1), [] {}), skua::on(h, [] {}), skua::on(skua::sleep_for(1h), [] {}), skua::on(skua::stopping, [] {}));
    p.end();
  }, [&] { EXPECT_TRUE(a.try_send(1)); });
}

TEST_F(WaitingAllocation, of_selects_over_locks_events_and_streams) {
  skua::mutex m;
  skua::shared_mutex rw;
  skua::counting_semaphore s(0);
  skua::auto_reset_event e;
  skua::broadcast<int> all(1);
  auto listener = all.subscribe();
  skua::watch<int> level(0);
  auto at = level.subscribe();
  costs(nothing, [&](probe& p) -> task<> {
    auto const held = co_await m.lock();
    auto const written = co_await rw.lock();
    auto ignored = [](auto&&...) {};
    p.begin();
    co_await skua::select(skua::on(m.lock(), ignored), skua::on(rw.lock_shared(), ignored), skua::on(s.acquire(), ignored), skua::on(listener.recv(), ignored),
                          skua::on(at.changed(), ignored), skua::on(e.wait(), ignored));
    p.end();
  }, [&] { e.set(); });
}

// ---------------------------------------------------------------- scopes: the frames of what runs inside, and a record for each branch that suspends

TEST_F(WaitingAllocation, of_joins_of_branches) {
  auto let_go = [this] { opened.set(); };
  auto wait = [this]() -> task<> { co_await opened.wait(); };
  auto closing = [this](auto make) {
    return [this, make](probe& p) -> task<> {
      opened.reset();
      p.begin();
      (void)co_await make();
      p.end();
    };
  };
  costs(frames(4), closing([&] { return skua::when_all(wait(), wait()); }), let_go);
  costs(frames(4), closing([&] { return skua::when_any(wait(), wait()); }), let_go);
  costs(frames(8), closing([&] { return skua::when_all_settled(wait(), wait()); }), let_go);   // each is a scope inside a branch
  costs(frames(2), closing([&] { return skua::timeout(1h, wait()); }), let_go);
  costs(frames(2), [this](probe& p) -> task<> {   // an operation gets a frame
    opened.reset();
    p.begin();
    co_await skua::timeout_at(skua::clock::now() + 1h, opened.wait());
    p.end();
  }, let_go);
  costs(frames(2), closing([&] { return skua::with_deadline(skua::clock::now() + 1h, wait()); }), let_go);
  costs(frames(2), closing([&] { return skua::shield(wait()); }), let_go);
  costs(frames(2), closing([&] { return skua::settle(wait()); }), let_go);
  costs(frames(2), closing([&] { return skua::stopped_as_optional(wait()); }), let_go);
  std::stop_source source;
  costs(frames(2), closing([&] { return skua::stop_on(source.get_token(), wait()); }), let_go);
  static constinit skua::task_local<int> number;
  costs(frames(2), closing([&] { return number.with(1, wait()); }), let_go);
}

TEST_F(WaitingAllocation, of_clean_up) {
  auto let_go = [this] { opened.set(); };
  auto wait = [this] { return until_opened(); };
  costs(frames(4), [&](probe& p) -> task<> {   // finally's own, the clean-up's, what it belongs to, a record
    p.begin();
    co_await skua::finally(wait(), [] { return skua::this_task::yield(); });
    p.end();
  }, let_go);
  costs(frames(4), [&](probe& p) -> task<> {   // finally's own, the clean-up's and what it awaits, a record
    auto ready = []() -> task<> { co_return; };
    p.begin();
    co_await skua::finally(ready(), wait);
    p.end();
  }, let_go);
}

// Needs a frame of more than the pool has.
struct vast {
  char place[1 << 20];
  bool await_ready() const noexcept {
    bool ready = true;
    asm volatile("" : "+r"(ready) : "r"(place) : "memory");   // nobody can know that it never suspends
    return ready;
  }
  void await_suspend(std::coroutine_handle<>) const noexcept {}
  void await_resume() const noexcept { asm volatile("" : : "r"(place) : "memory"); }
};

TEST_F(WaitingAllocation, a_clean_up_has_its_frame_before_there_is_something_to_be_cleaned_up) {
  SKIP_UNLESS_ALLOCATIONS_ARE_COUNTED();
  bool refused = false, began = false, cleaned = false;
  rt.block_on([&]() -> task<> {
    auto cleanup = [&] { return cleaned = true, vast(); };
    auto begin = [](bool& b) -> task<> {
      b = true;
      co_return;
    };
    auto both = skua::finally(begin(began), cleanup);
    without_memory const w;
    try {
      co_await std::move(both);
    } catch (std::bad_alloc const&) {
      refused = true;
    }
  });
  EXPECT_TRUE(refused);
  EXPECT_FALSE(began);
  EXPECT_FALSE(cleaned);
}

TEST_F(WaitingAllocation, of_groups) {
  auto let_go = [this] { opened.set(); };
  costs(nothing, [this](probe& p) -> task<> {   // join(): until no task is left
    co_await skua::with_task_group([&](skua::task_group& g) -> task<> {
      g.spawn([this] { return until_opened(); });
      co_await skua::this_task::yield();
      p.begin();
      co_await g.join();
      p.end();
    });
  }, let_go);
  costs(nothing, [this](probe& p) -> task<> {   // room(): with max_concurrency
    co_await skua::with_task_group({.max_concurrency = 1}, [&](skua::task_group& g) -> task<> {
      g.spawn([this] { return until_opened(); });
      co_await skua::this_task::yield();
      p.begin();
      co_await g.room();
      p.end();
    });
  }, let_go);
  costs(memory{0, 2, 1}, [this](probe& p) -> task<> {   // start(): its frame and the promise through which it says that it is ready, from the pool; the task
    co_await skua::with_task_group([&](skua::task_group& g) -> task<> {
      co_await skua::this_task::yield();   // and its record is there
      p.begin();
      co_await g.start([this](skua::started<> ready) -> task<> {
        co_await opened.wait();
        opened.reset();
        ready();
      });
      p.end();
    });
  }, let_go);
  costs(memory{0, 1, 1}, [this](probe& p) -> task<> {   // the end of a group: the record of the body, which has ended, and a task
    p.begin();
    co_await skua::with_task_group([&](skua::task_group& g) -> task<> {
      g.spawn([this] { return until_opened(); });
      co_await skua::this_task::yield();
    });
    p.end();
  }, let_go);
}

TEST_F(WaitingAllocation, of_ranges_are_their_vectors_frames_and_records) {
  auto let_go = [this] { opened.set(); };
  std::vector<int> const numbers{1, 2, 3, 4};
  auto visit = [this](int) -> task<> { co_await opened.wait(); };
  auto closing = [this](auto make) {
    return [this, make](probe& p) -> task<> {
      opened.reset();
      p.begin();
      co_await make();
      p.end();
    };
  };
  // Its own frame, and for each of the two branches: the branch's, the element's, a record.
  costs(memory{3, 7, 0}, closing([&] { return skua::for_each_concurrent(numbers, 2, visit); }), let_go);
  costs(memory{3, 7, 2}, closing([&] {
    std::vector<task<>> all;
    for (int i = 0; i < 2; ++i) all.push_back(visit(i));
    return skua::as_completed(std::move(all), [](skua::outcome<>) {});
  }), let_go);
}

} // namespace
