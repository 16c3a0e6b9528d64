// SPDX-License-Identifier: Apache-2.0
// Memory runs out at every point of what waits: locks, channels, streams, groups and other scopes (allocation_stress.cpp says how, and does the same for tasks,
// joins and timeouts). What waits allocates nothing by itself; frames, records and queues of those around it do, and that must pass or end with bad_alloc.
//
// usage: waiting_allocation_stress [--seconds S] [--workers N]      --seconds is ignored: it ends when it has passed
#include "skua/detail/config.hpp"
#if SKUA_TSAN
#include <cstdio>
int main() {
  std::puts("skipped: operator new belongs to ThreadSanitizer");
  return 77;
}
#else
#include "skua/skua.hpp"
#include "tests/support/failing_memory.hpp"
#include <array>
#include <optional>
#include <stop_token>
#include <utility>

namespace {

// ---------------------------------------------------------------------------------------------- programs: two branches that wait for each other

task<> locks() {
  skua::mutex m;
  skua::condition_variable changed(m);
  bool ready = false;
  skua::shared_mutex rw;
  skua::counting_semaphore s(1);
  auto use = [&](bool first) -> task<> {
    for (int i = 0; i < 2; ++i) {
      auto const lock = co_await m.lock();
      co_await yields(1);
    }
    {
      auto const reading = co_await rw.lock_shared();
      co_await yields(1);
    }
    {
      auto const writing = co_await rw.lock();
      co_await yields(1);
    }
    {
      auto const permit = co_await s.acquire();
      co_await yields(1);
    }
    auto lock = co_await m.lock();
    if (first) {
      ready = true;
      changed.notify_all();
    } else {
      co_await changed.wait(lock, [&] { return ready; });
    }
  };
  co_await skua::when_all(use(true), use(false));
}

task<> events() {
  skua::event e;
  skua::auto_reset_event one;
  skua::latch l(2);
  skua::barrier b(2);
  skua::once done;
  int times = 0;
  skua::lazy<value> made([]() -> task<value> { co_return co_await value_after(1, 4); });
  auto use = [&](bool first) -> task<> {
    co_await done.call([&]() -> task<> {
      co_await yields(1);
      ++times;
    });
    STRESS_CHECK((co_await made.get()).n == 4);
    if (first)
      co_await l.arrive_and_wait();
    else
      l.count_down();
    co_await l.wait();
    (void)co_await b.arrive_and_wait();
    if (first) {
      e.set();
      one.set();
    } else {
      co_await e.wait();
      co_await one.wait();
    }
  };
  co_await skua::when_all(use(true), use(false));
  STRESS_CHECK(times == 1);
}

task<> channels() {
  skua::channel<value> buffered(1), in_person(0);
  skua::unbounded_channel<value> wide;
  skua::priority_channel<value> urgent(1);
  skua::broadcast<int> all(1);
  auto listener = all.subscribe();
  skua::watch<int> level(0);
  auto at = level.subscribe();
  auto reply = skua::oneshot<value>();
  auto produce = [&]() -> task<> {
    for (int i = 1; i <= 3; ++i) {
      (void)co_await buffered.send(value(i));
      (void)co_await in_person.send(value(i));
      for (int k = 0; k < 50; ++k) (void)wide.send(value(i));
      (void)co_await urgent.send(value(i), i);
      (void)co_await all.send(i);
      level.set(i);
    }
    (void)reply.first.send(value(9));
  };
  auto consume = [&]() -> task<> {
    for (int i = 1; i <= 3; ++i) {
      STRESS_CHECK((co_await buffered.recv())->n == i);
      STRESS_CHECK((co_await in_person.recv())->n == i);
      for (int k = 0; k < 50; ++k) STRESS_CHECK((co_await wide.recv())->n == i);
      STRESS_CHECK((co_await urgent.recv())->n == i);
      STRESS_CHECK(*co_await listener.recv() == i);
    }
    while (at.get() != 3) STRESS_CHECK(co_await at.changed());
    STRESS_CHECK((co_await reply.second.recv())->n == 9);
  };
  co_await skua::when_all(produce(), consume());
}

task<> selects() {
  skua::channel<value> a(0), b(0);
  int got = 0;
  auto take = [&]() -> task<> {
    for (int i = 0; i < 6; ++i)
      co_await skua::select(skua::on(a.recv(), [&](std::optional<value> m) { got += m->n; }), skua::on(b.recv(), [&](std::optional<value> m) { got += m->n; }),
                            skua::on(skua::sleep_for(1h), [] {}));
  };
  auto give = [](skua::channel<value>& to) -> task<> {
    for (int i = 0; i < 3; ++i) co_await skua::select(skua::on(to.send(value(1)), [] {}), skua::on(skua::sleep_for(1h), [] {}));
  };
  co_await skua::when_all(take(), give(a), give(b));
  STRESS_CHECK(got == 6);
}

task<> streams() {
  auto numbers = []() -> skua::async_generator<value> {
    for (int i = 0; i < 3; ++i) {
      co_await yields(1);
      co_yield value(i);
    }
  };
  int n = 0;
  {
    auto all = numbers();
    while (auto v = co_await all.next()) ++n;
  }
  STRESS_CHECK(n == 3);
  skua::interval every(1us);
  for (int i = 0; i < 3; ++i) co_await every.tick();
  skua::strand s;
  auto use = [&]() -> task<> {
    for (int i = 0; i < 3; ++i) co_await s.run([&n] { ++n; });
  };
  co_await skua::when_all(use(), use());
  STRESS_CHECK(n == 9);
}

task<> callbacks() {
  std::atomic<void*> asked{nullptr};   // the call that is to come; who takes it out decides
  auto wait = [&]() -> task<int> {
    co_return co_await skua::callback<int>([&](skua::completion<int> c) { asked = c.to_pointer(); },
                                           [&](skua::completion<int>) { return asked.exchange(nullptr) != nullptr; });
  };
  auto call = [&]() -> task<> {
    void* c;
    while ((c = asked.exchange(nullptr)) == nullptr) co_await skua::this_task::yield();
    skua::completion<int>::from_pointer(c).set_value(3);
  };
  auto [got, nothing] = co_await skua::when_all(wait(), call());
  (void)nothing;
  STRESS_CHECK(got == 3);
}

task<> groups() {
  co_await skua::with_task_group({.max_concurrency = 2}, [](skua::task_group& g) -> task<> {
    for (int i = 0; i < 4; ++i) {
      co_await g.room();
      g.spawn(value_after, 2, i);
    }
    co_await g.join();
    int const port = co_await g.start<int>([](skua::started<int> ready) -> task<> {
      co_await yields(1);
      ready(7);
      co_await yields(1);
    });
    STRESS_CHECK(port == 7);
    auto stopped = g.spawn(skua::named("a name that is too long for any small buffer"), never);
    stopped.request_stop();
  });
  co_await skua::with_task_group({.on_error = skua::on_error::collect}, [](skua::task_group& g) -> task<> {
    for (int i = 0; i < 3; ++i) g.spawn(value_after, i, i);
    co_return;
  });
}

task<> boundaries() {
  static constinit skua::task_local<int> number;
  auto const later = skua::clock::now() + 1h;
  STRESS_CHECK((co_await skua::shield(value_after(1, 1))).n == 1);
  {
    auto o = co_await skua::settle(value_after(1, 2));   // takes a failure for a value
    STRESS_CHECK(std::move(o).value().n == 2);
  }
  STRESS_CHECK((co_await skua::stopped_as_optional(value_after(1, 3)))->n == 3);
  STRESS_CHECK((co_await skua::with_deadline(later, value_after(1, 4))).n == 4);
  STRESS_CHECK((co_await number.with(1, value_after(1, 5))).n == 5);
  std::stop_source source;
  STRESS_CHECK((co_await skua::stop_on(source.get_token(), value_after(1, 6))).n == 6);
  STRESS_CHECK((co_await skua::with_stop_token([](std::stop_token) { return value_after(1, 7); })).n == 7);
}

task<> clean_ups() {
  int cleaned = 0;
  auto clean_up = [&]() -> task<> {
    ++cleaned;
    co_await yields(1);
  };
  auto once = [&](task<value> t) -> task<> {   // on every path: also if memory runs out in between
    int const before = cleaned;
    std::optional<task<value>> whole;
    whole.emplace(skua::finally(std::move(t), clean_up, 1h));
    std::exception_ptr failure;
    try {
      (void)co_await std::move(*whole);
    } catch (...) {
      failure = std::current_exception();
    }
    STRESS_CHECK(cleaned <= before + 1 && (failure || cleaned == before + 1));
    if (failure) std::rethrow_exception(failure);
  };
  co_await once(value_after(1, 1));
  co_await once(value_after(0, 2));
  bool late = false;
  try {
    co_await skua::timeout(10us, skua::finally(never(), clean_up));
  } catch (skua::timeout_error const&) {
    late = true;
  }
  STRESS_CHECK(late);
}

task<> ranges() {
  std::array const numbers{1, 2, 3, 4};
  std::atomic<int> n = 0;
  co_await skua::for_each_concurrent(numbers, 2, [&](int i) -> task<> {
    co_await yields(1);
    n += i;
  });
  STRESS_CHECK(n == 10);
  auto four = [] {
    std::vector<task<value>> v;
    for (int i = 0; i < 4; ++i) v.push_back(value_after(4 - i, i));
    return v;
  };
  co_await skua::as_completed(four(), [&](skua::outcome<value> o) { n += o.value().n; });
  STRESS_CHECK(n == 16);
  for (auto& o : co_await skua::when_all_settled(four())) n += o.value().n;
  STRESS_CHECK(n == 22);
}

constexpr program programs[] = {{"locks", locks}, {"events", events}, {"channels", channels}, {"selects", selects}, {"streams", streams},
    {"callbacks", callbacks}, {"groups", groups}, {"boundaries", boundaries}, {"clean_ups", clean_ups}, {"ranges", ranges}};

} // namespace

int main(int argc, char** argv) {
  stress_options const o(argc, argv);
  for (unsigned workers = 1; workers <= o.workers; ++workers) {
    skua::runtime rt(expecting_failures(workers));
    every_program(rt, programs);
  }
  return nothing_is_left();
}
#endif
