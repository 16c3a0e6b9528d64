// SPDX-License-Identifier: Apache-2.0
// Channels, select, generators, intervals, strands, callbacks: as users write them.
//@@ configs: O0 O1 O2 O3 asan tsan
#include "skua_probe.hpp"
#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <thread>
using namespace probe;
using skua::on;
using skua::select;

//@ channel_loops must while (auto m = co_await ch.recv()) with a suspension; send in an if with its own result
PROBE(channel_loops) {
  skua::channel<tracked> ch(2);
  auto producer = skua::spawn([ch]() mutable -> task<int> {
    int sent = 0;
    for (int i = 0; i < 10; ++i)
      if (auto r = co_await ch.send(tracked(i)); r) ++sent;
    ch.close();
    co_return sent;
  });
  int sum = 0;
  while (auto m = co_await ch.recv()) {
    if (m->value() % 3 == 0) co_await wait();
    sum += m->value();
  }
  CHECK(co_await producer == 10 && sum == 45);
}
//@ channel_halves must auto [tx, rx] = channel<T>(n).split(), moved into a lambda that is spawned
PROBE(channel_halves) {
  auto [tx, rx] = skua::channel<std::string>(1).split();
  auto worker = skua::spawn([](skua::receiver<std::string> from) -> task<std::size_t> {
    std::size_t n = 0;
    while (auto line = co_await from.recv()) n += line->size();
    co_return n;
  }, std::move(rx));
  for (auto text : {"one", "two", "a text that does not fit into a small string"}) (void)co_await tx.send(text);
  tx = {};
  CHECK(co_await worker == 50);
}
//@ message_comes_back must if (auto r = co_await ch.send(unique_ptr); !r) std::move(r).value()
PROBE(message_comes_back) {
  skua::channel<std::unique_ptr<tracked>> ch(1);
  ch.close();
  auto r = co_await ch.send(std::make_unique<tracked>(7));
  CHECK(!r);
  auto const mine = std::move(r).value();
  CHECK(mine->value() == 7);
}
//@ aggregate_messages must co_await ch.send({T, 1, T}), a channel of aggregates with a reply channel in them
struct request {
  tracked key;
  skua::oneshot_sender<int> reply;
};
static task<> answers(skua::receiver<request> from) {
  while (auto r = co_await from.recv()) {
    co_await wait();
    (void)r->reply.send(r->key.value() * 2);
  }
}
PROBE(aggregate_messages) {
  auto [tx, rx] = skua::channel<request>(1).split();
  auto server = skua::spawn(answers, std::move(rx));
  int sum = 0;
  for (int i = 0; i < 5; ++i) {
    auto [reply, answer] = skua::oneshot<int>();
    if (!co_await tx.send({tracked(i), std::move(reply)})) co_return;
    sum += (co_await answer.recv()).value_or(-1);
  }
  tx = {};
  co_await server;
  CHECK(sum == 20);
}
//@ stopped_recv must timeout around recv and send; nothing is lost
PROBE(stopped_recv) {
  skua::channel<tracked> ch(1);
  for (int i = 0; i < 3; ++i) {
    try {
      auto m = co_await skua::timeout(1ms, ch.recv());
      CHECK(!m);
    } catch (skua::timeout_error const&) {
    }
  }
  (void)co_await ch.send(tracked(1));
  try {
    auto sent = co_await skua::timeout(1ms, ch.send(tracked(2)));
    CHECK(!sent);
  } catch (skua::timeout_error const&) {
  }
  auto const m = co_await ch.recv();
  CHECK(m && m->value() == 1);
}
//@ other_channels must broadcast, watch, priority and unbounded channels in loops
PROBE(other_channels) {
  skua::broadcast<tracked> news(4);
  auto reader = skua::spawn([](skua::broadcast_receiver<tracked> from) -> task<int> {
    int n = 0;
    while (auto m = co_await from.recv()) n += m->value();
    co_return n;
  }, news.subscribe());
  for (int i = 0; i < 9; ++i) (void)co_await news.send(tracked(i));
  news.close();
  CHECK(co_await reader == 36);

  skua::watch<tracked> level(0);
  auto follower = skua::spawn([](skua::watch_receiver<tracked> at) -> task<int> {
    int last = 0;
    while (co_await at.changed()) last = at.get().value();
    co_return last;
  }, level.subscribe());
  level.set(tracked(4));
  co_await wait();
  level = skua::watch<tracked>(0);
  CHECK(co_await follower == 4);

  skua::priority_channel<std::string> jobs(4);
  (void)co_await jobs.send("sweep", 0);
  (void)co_await jobs.send("put out the fire", 10);
  auto first = co_await jobs.recv();
  skua::unbounded_channel<owned> many;
  for (int i = 0; i < 5; ++i) (void)many.send(owned(i));
  many.close();
  int sum = 0;
  while (auto m = co_await many.recv()) sum += m->value();
  CHECK(first->starts_with("put") && sum == 10);
}
//@ select_with_captures must int r = co_await select(on(recv, [x](..) {..}), on(send, ..), on(handle, ..), on(sleep, ..))
PROBE(select_with_captures) {
  skua::channel<tracked> in(1), out(1);
  (void)co_await in.send(tracked(1));
  (void)co_await out.send(tracked(0));
  auto worker = skua::spawn([]() -> task<int> {
    co_await skua::sleep_for(5ms);
    co_return 30;
  });
  tracked x(2);
  int sum = 0;
  for (int round = 0; round < 2; ++round) {
    sum += co_await select(
        on(in.recv(), [x](std::optional<tracked> m) { return m->value() + x.value(); }),
        on(out.send(tracked(5)), [](skua::send_result<tracked>) { return 1000; }),
        on(worker, [y = tracked(1)](int code) { return code + y.value(); }),
        on(skua::sleep_for(1h), [] { return -1; }));
  }
  sum += co_await select(on(in.recv(), [](std::optional<tracked>) { return 1000; }).only_if(sum == 0),
                         on(skua::sleep_for(20ms), [&x] { return 100 * x.value(); }));
  CHECK(sum == 3 + 31 + 200);
}
//@ select_forms must otherwise, only_if, a void select, a switch over its result, co_return co_await select
static task<int> selects(skua::channel<tracked> ch) {
  co_return co_await select(on(ch.recv(), [](std::optional<tracked> m) { return m ? m->value() : -1; }),
                            skua::otherwise([t = tracked(-2)] { return t.value(); }));
}
PROBE(select_forms) {
  skua::channel<tracked> ch(1);
  CHECK(co_await selects(ch) == -2);
  (void)co_await ch.send(tracked(3));
  switch (co_await selects(ch)) {
  case 3: break;
  default: CHECK(!"3");
  }
  int n = 0;
  co_await select(on(ch.recv(), [&](std::optional<tracked>) { n = 1; }), on(skua::sleep_for(1ms), [&n, t = tracked(2)] { n = t.value(); }));
  CHECK(n == 2);
}
//@ select_throws must a handler that throws, with captures in every branch
PROBE(select_throws) {
  skua::channel<tracked> ch(1);
  (void)co_await ch.send(tracked(3));
  int caught = 0;
  try {
    co_await select(on(ch.recv(), [t = tracked(4)](std::optional<tracked> m) { throw m->value() + t.value(); }), on(skua::sleep_for(1h), [u = tracked(5)] {}));
  } catch (int i) {
    caught = i;
  }
  CHECK(caught == 7);
}
//@ select_and_stop must on(stopping, ..) in a loop; a select that is stopped with captures in its branches
PROBE(select_and_stop) {
  skua::channel<tracked> ch(1);
  auto loop = skua::spawn([](skua::channel<tracked> from) -> task<int> {
    int n = 0;
    bool on_we_go = true;
    while (on_we_go)
      co_await select(on(from.recv(), [&n](std::optional<tracked> m) { n += m->value(); }), on(skua::stopping, [&on_we_go] { on_we_go = false; }));
    co_return n;
  }, ch);
  (void)co_await ch.send(tracked(5));
  co_await wait();
  loop.request_stop();
  CHECK(co_await loop == 5);   // it took the stop as an event, and came to its end
  try {
    co_await skua::timeout(1ms, select(on(ch.recv(), [t = tracked(1)](std::optional<tracked>) {}), on(skua::sleep_for(1h), [t = tracked(2)] {})));
    CHECK(!"nothing comes");
  } catch (skua::timeout_error const&) {
  }
}

//@ generator_loops must while (auto x = co_await g.next()), co_yield T(..), a local, an aggregate's member, after awaits
static skua::async_generator<tracked> counts(tracked from, int n) {
  for (int i = 0; i < n; ++i) {
    tracked local(from.value() + i);
    co_yield local;
    co_await wait();
    co_yield tracked(co_await value_of(local));
  }
}
PROBE(generator_loops) {
  int sum = 0;
  auto all = counts(1, 4);
  while (auto x = co_await all.next()) {
    if (x->value() == 2) continue;
    co_await wait();
    sum += x->value();
  }
  CHECK(sum == 2 * (1 + 3 + 4));
}
//@ generator_in_the_middle must destroyed while it stands at a co_yield, with temporaries and locals
PROBE(generator_in_the_middle) {
  for (int n = 0; n < 5; ++n) {
    auto all = counts(1, 100);
    for (int i = 0; i < n; ++i) CHECK(co_await all.next());
  }
}
//@ generator_of_pairs must auto [a, b] = *co_await g.next(), a generator of pairs, of unique_ptr, of strings
static skua::async_generator<std::pair<tracked, std::string>> pairs(int n) {
  for (int i = 0; i < n; ++i) co_yield {tracked(i), std::string(20, static_cast<char>('a' + i))};
}
static skua::async_generator<std::unique_ptr<tracked>> pointers(int n) {
  for (int i = 0; i < n; ++i) co_yield std::make_unique<tracked>(i);
}
PROBE(generator_of_pairs) {
  auto g = pairs(3);
  auto [a, b] = *co_await g.next();
  co_await wait();
  while (auto p = co_await g.next()) {
    auto& [c, d] = *p;
    co_await wait();
    CHECK(d.size() == 20 && d[0] == 'a' + c.value());
  }
  int sum = 0;
  auto h = pointers(4);
  while (auto p = co_await h.next()) sum += (*p)->value();
  CHECK(a.value() == 0 && b == std::string(20, 'a') && sum == 6);
}
//@ generator_throws_or_is_stopped must an exception out of next(), a timeout around it, a generator over a generator
static skua::async_generator<int> fails(int n) {
  tracked t(n);
  for (int i = 0; i < n; ++i) co_yield i;
  co_await throws(7, tracked(1));
}
static skua::async_generator<tracked> doubled(skua::async_generator<tracked> from) {
  while (auto x = co_await from.next()) co_yield tracked(2 * x->value());
}
static skua::async_generator<int> hangs() {
  co_yield 1;
  co_await for_ever(tracked(1));
}
PROBE(generator_throws_or_is_stopped) {
  int caught = 0, sum = 0;
  try {
    auto g = fails(3);
    while (auto i = co_await g.next()) sum += *i;
  } catch (int i) {
    caught = i;
  }
  auto d = doubled(counts(1, 2));
  while (auto x = co_await d.next()) sum += x->value();
  auto h = hangs();
  CHECK(*co_await h.next() == 1);
  try {
    co_await skua::timeout(1ms, [](skua::async_generator<int>& g) -> task<> { (void)co_await g.next(); }(h));
  } catch (skua::timeout_error const&) {
    ++caught;
  }
  CHECK(!h && caught == 8 && sum == 3 + 2 * (1 + 1 + 2 + 2));
}
//@ generator_lambdas must a generator made by a lambda without captures and by a member function
struct table {
  tracked t{3};
  skua::async_generator<int> rows(int n) {
    for (int i = 0; i < n; ++i) co_yield t.value() + i;
  }
};
PROBE(generator_lambdas) {
  auto make_them = [](tracked t, int n) -> skua::async_generator<int> {
    for (int i = 0; i < n; ++i) {
      co_await wait();
      co_yield t.value();
    }
  };
  table some;
  int sum = 0;
  auto g = make_them(tracked(5), 3);
  auto h = some.rows(3);
  while (auto i = co_await g.next()) sum += *i + *co_await h.next();
  CHECK(sum == 15 + 12);
}
//@ intervals must interval with a missed-tick policy in a loop; sleep_until; yield
PROBE(intervals) {
  skua::interval every(10ms, skua::missed_tick::skip);
  auto const start = skua::clock::now();
  for (int i = 0; i < 3; ++i) {
    co_await every.tick();
    co_await skua::this_task::yield();
  }
  co_await skua::sleep_until(start + 1s);
  CHECK(skua::clock::now() - start >= 1s);
}
//@ strand_with_captures must auto x = co_await strand.run([&, x] { .. }), a value, an exception, from many tasks
PROBE(strand_with_captures) {
  skua::strand s;
  int total = 0;
  std::vector<task<>> some;
  for (int i = 0; i < 50; ++i)
    some.push_back([](skua::strand& st, int& sum, tracked t) -> task<> {
      tracked const now = co_await st.run([&sum, t] { return tracked(sum += t.value()); });
      CHECK(now.value() > 0 || t.value() == 0);
    }(s, total, i));
  co_await skua::when_all(std::move(some));
  int caught = 0;
  try {
    co_await s.run([t = tracked(3)] { throw t.value(); });
  } catch (int i) {
    caught = i;
  }
  CHECK(total == 49 * 25 && caught == 3);
}
//@ callbacks must auto r = co_await callback<T>([&, x](completion<T> c) { .. }) from a foreign thread
PROBE(callbacks) {
  std::vector<std::thread> threads;
  tracked x(5);
  tracked const r = co_await skua::callback<tracked>([&threads, x](skua::completion<tracked> c) {
    threads.emplace_back([c, n = x.value()]() mutable { c.set_value(tracked(n + 1)); });
  });
  for (auto& t : threads) t.join();
  CHECK(r.value() == 6);
}
