// SPDX-License-Identifier: Apache-2.0
// Locks, events, futures: guards as locals of coroutines, lambdas as conditions.
//@@ configs: O0 O1 O2 O3 asan tsan
#include "skua_probe.hpp"
#include <memory>
#include <string>
#include <thread>
using namespace probe;

//@ guards must auto lock = co_await m.lock(), in an if, in a block, as a discarded temporary; contended
PROBE(guards) {
  skua::mutex m;
  int inside = 0, total = 0;
  std::vector<task<>> some;
  for (int i = 0; i < 20; ++i)
    some.push_back([](skua::mutex& mu, int& in, int& sum, tracked t) -> task<> {
      {
        auto lock = co_await mu.lock();
        CHECK(++in == 1);
        co_await wait();
        sum += t.value();
        --in;
      }
      if (auto lock = co_await mu.lock(); lock) sum += 1;
    }(m, inside, total, i));
  co_await skua::when_all(std::move(some));
  (void)co_await m.lock();
  CHECK(total == 190 + 20 && m.try_lock());
}
//@ guard_and_stop must a task that is stopped in a locked section, and one that waits for the lock
PROBE(guard_and_stop) {
  skua::mutex m;
  auto holds = [](skua::mutex& mu, tracked t) -> task<> {
    auto lock = co_await mu.lock();
    co_await for_ever(tracked(t.value()));
  };
  auto a = skua::spawn(holds, std::ref(m), tracked(1));
  co_await wait();
  auto b = skua::spawn(holds, std::ref(m), tracked(2));
  co_await wait();
  b.request_stop();
  try {
    co_await b;
    CHECK(!"stopped");
  } catch (skua::task_stopped const&) {
  }
  a.request_stop();
  try {
    co_await a;
    CHECK(!"stopped");
  } catch (skua::task_stopped const&) {
  }
  auto lock = co_await m.lock();
}
//@ conditions must co_await cv.wait(lock, [&] { .. }), wait_for, notified from another task
PROBE(conditions) {
  skua::mutex m;
  skua::condition_variable changed(m);
  std::vector<tracked> items;
  auto consumer = [&](tracked t) -> task<int> {
    auto lock = co_await m.lock();
    co_await changed.wait(lock, [&items, t] { return static_cast<int>(items.size()) >= t.value(); });
    co_return items.back().value();
  };
  auto producer = [&]() -> task<> {
    for (int i = 0; i < 3; ++i) {
      co_await wait();
      auto lock = co_await m.lock();
      items.emplace_back(i);
      lock.unlock();
      changed.notify_all();
    }
  };
  auto [a, b, none] = co_await skua::when_all(consumer(1), consumer(3), producer());
  (void)none;
  CHECK(a >= 0 && b == 2);
}
//@ shared_and_counted must shared_mutex, counting_semaphore: permits as locals, several at once, forgotten
PROBE(shared_and_counted) {
  skua::shared_mutex m;
  skua::counting_semaphore s(3);
  int readers = 0;
  std::vector<task<>> some;
  for (int i = 0; i < 12; ++i)
    some.push_back([](skua::shared_mutex& mu, skua::counting_semaphore& se, int& n, tracked t) -> task<> {
      auto const permit = co_await se.acquire(t.value() % 2 + 1);
      if (t.value() % 4 == 0) {
        auto lock = co_await mu.lock();
        ++n;
      } else {
        auto lock = co_await mu.lock_shared();
        co_await wait();
      }
    }(m, s, readers, i));
  co_await skua::when_all(std::move(some));
  (void)(co_await s.acquire()).forget();
  s.release();
  auto all = co_await s.acquire(3);
  all.release();
  CHECK(readers == 3);
}
//@ events must event, auto_reset_event, latch, barrier: waits in conditions and loops
PROBE(events) {
  skua::event ready;
  skua::auto_reset_event tick;
  skua::latch started(2);
  skua::barrier step(2);
  int last = 0;
  auto member = [&](tracked t) -> task<int> {
    started.count_down();
    co_await started.wait();
    for (int i = 0; i < 4; ++i)
      if (co_await step.arrive_and_wait()) ++last;
    co_await ready.wait();
    co_await tick.wait();
    tick.set();
    co_return t.value();
  };
  auto a = skua::spawn(member, 1), b = skua::spawn(member, 2);
  co_await wait();
  ready.set();
  tick.set();
  CHECK(co_await a + co_await b == 3 && last == 4);
}
//@ once_and_lazy must T& x = co_await lazy.get(), once.call with a function and a coroutine, one that throws
PROBE(once_and_lazy) {
  int made = 0;
  auto make_it = [&made, t = tracked(4)]() -> task<tracked> {
    co_await wait();
    if (++made == 1) throw 7;
    co_return t;
  };
  skua::lazy<tracked, decltype(make_it)> value(make_it);
  int caught = 0;
  try {
    co_await value.get();
  } catch (int i) {
    caught = i;
  }
  tracked& x = co_await value.get();
  tracked const y = co_await value.get();
  skua::once o;
  co_await o.call([&made, t = tracked(1)]() -> task<> {
    co_await wait();
    made += t.value();
  });
  co_await o.call([&made] { made = -1; });
  CHECK(caught == 7 && x.value() == 4 && y.value() == 4 && made == 3);
}
//@ futures must auto x = co_await promise.get_future(), from a thread, an exception, a broken promise
PROBE(futures) {
  skua::promise<tracked> p, q, r;
  auto f = p.get_future(), g = q.get_future(), h = r.get_future();
  std::thread t([&p, &q] {
    p.set_value(tracked(1));
    q.set_exception(std::make_exception_ptr(7));
  });
  tracked const x = co_await std::move(f);
  int caught = 0;
  try {
    (void)co_await std::move(g);
  } catch (int i) {
    caught = i;
  }
  t.join();
  { skua::promise<tracked> const dies = std::move(r); }
  try {
    (void)co_await std::move(h);
  } catch (std::exception const&) {
    ++caught;
  }
  CHECK(x.value() == 1 && caught == 8);
}
