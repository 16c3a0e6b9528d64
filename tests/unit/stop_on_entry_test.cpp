// SPDX-License-Identifier: Apache-2.0
// S1, operation by operation: what could complete at once looks for a stop first, and has no effect then. Each operation is begun twice: without a stop it
// goes through, with one that was requested just before its task ends there.
#include "skua/as_completed.hpp"
#include "skua/async_generator.hpp"
#include "skua/blocking.hpp"
#include "skua/branches.hpp"
#include "skua/callback.hpp"
#include "skua/file.hpp"
#include "skua/finally.hpp"
#include "skua/interval.hpp"
#include "skua/readiness.hpp"
#include "skua/resolve.hpp"
#include "skua/skua.hpp"
#include "tests/support/leak_check.hpp"
#include "tests/support/tcp_pair.hpp"
#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using skua::task;

task<> nothing() { co_return; }
task<int> number(int n) { co_return n; }

// The task that tries an operation, and the point from which on it is stopped.
struct tried {
  bool with_stop;
  std::optional<skua::join_handle<>> self;
  bool went_through = false;
  void stop_here() {
    if (with_stop) self->request_stop();
  }
};

struct operation {
  char const* name;
  task<> (*body)(tried&);   // what must be there before; stop_here(); the operation, and nothing behind it
};

#define OPERATION(name, ...) \
  operation { \
    name, [](tried& t) -> task<> { __VA_ARGS__ } \
  }

operation const times[] = {
    OPERATION("sleep_for(0)", t.stop_here(); (void)co_await skua::sleep_for(0s);),
    OPERATION("sleep_for(-1)", t.stop_here(); (void)co_await skua::sleep_for(-1s);),
    OPERATION("sleep_until the past", t.stop_here(); (void)co_await skua::sleep_until(skua::clock::time_point::min());),
    OPERATION("yield", t.stop_here(); (void)co_await skua::this_task::yield();),
    OPERATION("checkpoint", t.stop_here(); (void)co_await skua::this_task::checkpoint();),
    OPERATION("interval that is due", skua::interval i(1h); t.stop_here(); (void)co_await i.tick();),
};

operation const forks[] = {
    OPERATION("when_all", t.stop_here(); (void)co_await skua::when_all(nothing(), nothing());),
    OPERATION("when_all of an empty range", t.stop_here(); (void)co_await skua::when_all(std::vector<task<>>());),
    OPERATION("when_all of no handles", t.stop_here(); (void)co_await skua::when_all(std::vector<skua::join_handle<>>());),
    OPERATION("when_all_settled of an empty range", t.stop_here(); (void)co_await skua::when_all_settled(std::vector<task<>>());),
    OPERATION("branches, none", skua::branches<int, 2> b; t.stop_here(); (void)co_await b;),
    OPERATION("when_any", t.stop_here(); (void)co_await skua::when_any(number(1), number(2));),
    OPERATION("for_each_concurrent over nothing", t.stop_here();
              (void)co_await skua::for_each_concurrent(std::vector<int>(), 2, [](int) { return nothing(); });),
    OPERATION("as_completed of an empty range", t.stop_here(); (void)co_await skua::as_completed(std::vector<task<>>(), [](skua::outcome<>) {});),
    OPERATION("timeout", t.stop_here(); (void)co_await skua::timeout(1h, nothing());),
    OPERATION("with_deadline", t.stop_here(); (void)co_await skua::with_deadline(skua::clock::now() + 1h, nothing());),
    OPERATION("stop_on", std::stop_source s; t.stop_here(); (void)co_await skua::stop_on(s.get_token(), nothing());),
    OPERATION("finally", t.stop_here(); (void)co_await skua::finally(nothing(), nothing);),
    OPERATION("with_task_group", t.stop_here(); (void)co_await skua::with_task_group([](skua::task_group&) -> task<> { co_return; });),
    OPERATION("join() of a group without tasks", co_await skua::with_task_group([&t](skua::task_group& g) -> task<> {
                t.stop_here();
                co_await g.join();
                t.went_through = true;   // not seen where the group itself ends
              });),
    OPERATION("join of a task that has ended", auto h = skua::spawn(nothing()); while (!h.done()) co_await skua::this_task::yield();
              t.stop_here(); (void)co_await h;),
};

operation const locks[] = {
    OPERATION("mutex", skua::mutex m; t.stop_here(); (void)co_await m.lock();),
    OPERATION("shared_mutex", skua::shared_mutex m; t.stop_here(); (void)co_await m.lock();),
    OPERATION("shared_mutex, shared", skua::shared_mutex m; t.stop_here(); (void)co_await m.lock_shared();),
    OPERATION("semaphore", skua::counting_semaphore s(1); t.stop_here(); (void)co_await s.acquire();),
    OPERATION("semaphore, no permit", skua::counting_semaphore s(0); t.stop_here(); (void)co_await s.acquire(0);),
    OPERATION("event that is set", skua::event e; e.set(); t.stop_here(); (void)co_await e.wait();),
    OPERATION("auto_reset_event that is set", skua::auto_reset_event e; e.set(); t.stop_here(); (void)co_await e.wait();),
    OPERATION("latch at zero", skua::latch l(0); t.stop_here(); (void)co_await l.wait();),
    OPERATION("latch, the last one", skua::latch l(1); t.stop_here(); (void)co_await l.arrive_and_wait();),
    OPERATION("barrier for one", skua::barrier b(1); t.stop_here(); (void)co_await b.arrive_and_wait();),
    OPERATION("condition that holds", skua::mutex m; skua::condition_variable c(m); auto lock = co_await m.lock(); t.stop_here();
              co_await c.wait(lock, [] { return true; });),
    OPERATION("condition that holds, with a limit", skua::mutex m; skua::condition_variable c(m); auto lock = co_await m.lock(); t.stop_here();
              co_await c.wait_for(lock, 1h, [] { return true; });),
    OPERATION("once, first", skua::once o; t.stop_here(); (void)co_await o.call([] {});),
    OPERATION("once that is done", skua::once o; co_await o.call([] {}); t.stop_here(); (void)co_await o.call([] {});),
    OPERATION("lazy that is made", skua::lazy<int> l([] { return number(1); }); co_await l.get(); t.stop_here(); (void)co_await l.get();),
    OPERATION("strand", skua::strand s; t.stop_here(); (void)co_await s.run([] {});),
};

operation const channels[] = {
    OPERATION("send, with room", skua::channel<int> c(1); t.stop_here(); (void)co_await c.send(1);),
    OPERATION("send, closed", skua::channel<int> c(1); c.close(); t.stop_here(); (void)co_await c.send(1);),
    OPERATION("recv of a message", skua::channel<int> c(1); (void)co_await c.send(1); t.stop_here(); (void)co_await c.recv();),
    OPERATION("recv, closed", skua::channel<int> c(1); c.close(); t.stop_here(); (void)co_await c.recv();),
    OPERATION("recv, unbounded", skua::unbounded_channel<int> c; (void)c.send(1); t.stop_here(); (void)co_await c.recv();),
    OPERATION("recv of a oneshot", auto [s, r] = skua::oneshot<int>(); (void)s.send(1); t.stop_here(); (void)co_await r.recv();),
    OPERATION("recv of a oneshot without a sender", auto r = skua::oneshot<int>().second; t.stop_here(); (void)co_await r.recv();),
    OPERATION("send of a broadcast", skua::broadcast<int> b(1); t.stop_here(); (void)co_await b.send(1);),
    OPERATION("send of a broadcast, closed", skua::broadcast<int> b(1); b.close(); t.stop_here(); (void)co_await b.send(1);),
    OPERATION("recv of a broadcast", skua::broadcast<int> b(1); auto r = b.subscribe(); (void)co_await b.send(1); t.stop_here(); (void)co_await r.recv();),
    OPERATION("recv of a broadcast, closed", skua::broadcast<int> b(1); auto r = b.subscribe(); b.close(); t.stop_here(); (void)co_await r.recv();),
    OPERATION("changed()", skua::watch<int> w(1); auto r = w.subscribe(); w.set(2); t.stop_here(); (void)co_await r.changed();),
    OPERATION("wait_for() of a watch", skua::watch<int> w(1); auto r = w.subscribe(); t.stop_here(); (void)co_await r.wait_for([](int) { return true; });),
    OPERATION("select", skua::channel<int> c(1); (void)co_await c.send(1); t.stop_here();
              (void)co_await skua::select(skua::on(c.recv(), [](std::optional<int>) {}));),
};

task<> broken_promise() {
  skua::future<int> f = skua::promise<int>().get_future();
  try {
    co_await f;
  } catch (skua::broken_promise const&) {
  }
}

operation const threads[] = {
    OPERATION("future that is ready", skua::promise<int> p; auto f = p.get_future(); p.set_value(1); t.stop_here(); (void)co_await f;),
    OPERATION("future of a broken promise", t.stop_here(); co_await broken_promise();),
    OPERATION("callback that calls at once", t.stop_here(); (void)co_await skua::callback<void>([](skua::completion<void> c) { c.set_value(); });),
    OPERATION("spawn_blocking", t.stop_here(); (void)co_await skua::spawn_blocking([] {});),
    OPERATION("abandon", t.stop_here(); (void)co_await skua::abandon(skua::spawn_blocking([] {}));),
};

std::span<std::byte> const no_bytes;
std::span<std::byte const> const nothing_to_write;

operation const sockets[] = {
    OPERATION("read_some into nothing", auto p = co_await skua_test::connect_pair(); t.stop_here(); (void)co_await p.client.read_some(no_bytes);),
    OPERATION("read_some", auto p = co_await skua_test::connect_pair(); co_await p.server.write_all("x"); co_await skua_test::arrived(p.client, 1);
              std::array<std::byte, 1> b; t.stop_here(); (void)co_await p.client.read_some(b);),
    OPERATION("read_exactly of nothing", auto p = co_await skua_test::connect_pair(); t.stop_here(); (void)co_await p.client.read_exactly(no_bytes);),
    OPERATION("write_some of nothing", auto p = co_await skua_test::connect_pair(); t.stop_here(); (void)co_await p.client.write_some(nothing_to_write);),
    OPERATION("write_some", auto p = co_await skua_test::connect_pair(); t.stop_here(); (void)co_await p.client.write_some("x");),
    OPERATION("write_all of nothing", auto p = co_await skua_test::connect_pair(); t.stop_here(); (void)co_await p.client.write_all(nothing_to_write);),
    OPERATION("readv without buffers", auto p = co_await skua_test::connect_pair(); t.stop_here(); (void)co_await p.client.readv({});),
    OPERATION("writev without buffers", auto p = co_await skua_test::connect_pair(); t.stop_here(); (void)co_await p.client.writev({});),
    OPERATION("writev_all without buffers", auto p = co_await skua_test::connect_pair(); t.stop_here(); (void)co_await p.client.writev_all({});),
    OPERATION("as_result of write_all of nothing", auto p = co_await skua_test::connect_pair(); t.stop_here();
              (void)co_await skua::as_result(p.client.write_all(nothing_to_write));),
    OPERATION("a stream that is not open", skua::tcp_stream s; t.stop_here(); (void)co_await skua::as_result(s.read_some(no_bytes));),
    OPERATION("connect", auto l = skua::tcp_listener::bind(skua::endpoint::loopback(0)); t.stop_here();
              (void)co_await skua::tcp_stream::connect(l.local_endpoint());),
    OPERATION("accept of a connection that is there", auto l = skua::tcp_listener::bind(skua::endpoint::loopback(0));
              auto c = co_await skua::tcp_stream::connect(l.local_endpoint()); t.stop_here(); (void)co_await l.accept();),
    OPERATION("writable()", auto p = co_await skua_test::connect_pair(); t.stop_here(); (void)co_await skua::writable(p.client.native_handle());),
    OPERATION("resolve an address", t.stop_here(); (void)co_await skua::resolve("127.0.0.1", "80");),
};

// A file without a name, of three bytes.
skua::file three_bytes() {
  std::string path = "/tmp/skua-stop-on-entry-XXXXXX";
  int const fd = ::mkstemp(path.data());
  ::unlink(path.c_str());
  EXPECT_EQ(::write(fd, "abc", 3), 3);
  return skua::file::adopt(fd, path);
}

operation const files[] = {
    OPERATION("read_at into nothing", auto f = three_bytes(); t.stop_here(); (void)co_await f.read_at(0, no_bytes);),
    OPERATION("read_at behind the end", auto f = three_bytes(); std::array<std::byte, 1> b; t.stop_here(); (void)co_await f.read_at(3, b);),
    OPERATION("read_at", auto f = three_bytes(); std::array<std::byte, 1> b; t.stop_here(); (void)co_await f.read_at(0, b);),
    OPERATION("write_at of nothing", auto f = three_bytes(); t.stop_here(); (void)co_await f.write_at(0, nothing_to_write);),
    OPERATION("size", auto f = three_bytes(); t.stop_here(); (void)co_await f.size();),
    OPERATION("sync", auto f = three_bytes(); t.stop_here(); (void)co_await f.sync();),
    OPERATION("close", auto f = three_bytes(); t.stop_here(); (void)co_await f.close();),
    OPERATION("close that is left to an operation", auto f = three_bytes(); std::array<std::byte, 1> b; auto other = f.read_at(0, b);
              t.stop_here(); (void)co_await f.close();),
    OPERATION("open", t.stop_here(); (void)co_await skua::file::open("/dev/null");),
    OPERATION("read_file", t.stop_here(); (void)co_await skua::read_file("/dev/null");),
    OPERATION("write_file of nothing", t.stop_here(); (void)co_await skua::write_file("/dev/null", "");),
};

// What is no operation of its own does not look (S1): what it awaits does.
task<> ends_at_once() { co_return; }
skua::async_generator<int> no_numbers() { co_return; }
skua::task_local<int> const local;
operation const no_operations[] = {
    OPERATION("a child", t.stop_here(); (void)co_await ends_at_once();),
    OPERATION("shield", t.stop_here(); (void)co_await skua::shield(ends_at_once());),
    OPERATION("task_local", t.stop_here(); (void)co_await local.with(1, ends_at_once());),
    OPERATION("the end of a generator", auto g = no_numbers(); t.stop_here(); (void)co_await g.next();),
    OPERATION("a generator that has ended", auto g = no_numbers(); co_await g.next(); t.stop_here(); (void)co_await g.next();),
    OPERATION("settle, which says that it was stopped", t.stop_here(); (void)co_await skua::settle(ends_at_once());),
};

#undef OPERATION

class StopOnEntry : public skua_test::leak_check, public ::testing::WithParamInterface<unsigned> {
protected:
  // Did the operation go through?
  bool attempt(operation const& o, bool with_stop) {
    tried t{with_stop, std::nullopt};
    rt.block_on([&]() -> task<> {
      std::atomic<bool> told{false};
      t.self.emplace(skua::spawn([](operation const& op, tried& x, std::atomic<bool>& go) -> task<> {
        while (!go) co_await skua::this_task::yield();
        co_await op.body(x);
        x.went_through = true;
      }, std::ref(o), std::ref(t), std::ref(told)));
      told = true;
      auto const end = co_await skua::settle(*t.self);
      if (end.failed() != (with_stop && !t.went_through)) ADD_FAILURE() << o.name << ": neither went through nor was stopped";
      t.self.reset();
    });
    return t.went_through;
  }
  void all_look(std::span<operation const> table) {
    for (operation const& o : table) {
      EXPECT_TRUE(attempt(o, false)) << o.name << " does not complete";
      EXPECT_FALSE(attempt(o, true)) << o.name << " does not look for a stop";
    }
  }
  skua::runtime rt{skua::options{.workers = GetParam()}};
};
INSTANTIATE_TEST_SUITE_P(Workers, StopOnEntry, ::testing::Values(1u, 2u));

TEST_P(StopOnEntry, is_seen_by_clocks__S1) { all_look(times); }
TEST_P(StopOnEntry, is_seen_by_forks_and_joins_also_of_nothing__S1) { all_look(forks); }
TEST_P(StopOnEntry, is_seen_by_locks_that_are_free__S1) { all_look(locks); }
TEST_P(StopOnEntry, is_seen_by_channels_that_are_ready_or_closed__S1) { all_look(channels); }
TEST_P(StopOnEntry, is_seen_by_what_other_threads_have_set__S1) { all_look(threads); }
TEST_P(StopOnEntry, is_seen_by_sockets_also_with_empty_buffers__S1) { all_look(sockets); }
TEST_P(StopOnEntry, is_seen_by_files_also_with_empty_buffers__S1) { all_look(files); }
TEST_P(StopOnEntry, is_not_seen_by_what_is_no_operation__S1) {
  for (operation const& o : no_operations) {
    EXPECT_TRUE(attempt(o, false)) << o.name;
    EXPECT_TRUE(attempt(o, true)) << o.name;
  }
}

// What is there before is there afterwards.
TEST_P(StopOnEntry, has_no_effect__S1) {
  rt.block_on([]() -> task<> {
    skua::channel<int> c(1);
    skua::mutex m;
    std::optional<skua::watch<int>> w(std::in_place, 1);
    auto seen = w->subscribe();
    w->set(2);
    auto try_all = [](auto f) -> task<> {
      auto h = skua::spawn(f);
      h.request_stop();   // S12: it runs to its first operation
      EXPECT_THROW(co_await h, skua::task_stopped);
    };
    (void)c.try_send(1);
    co_await try_all([&]() -> task<> {
      while (!skua::this_task::stop_requested()) std::this_thread::yield();
      co_await c.recv();
    });
    EXPECT_EQ(c.try_recv(), std::optional(1));
    co_await try_all([&]() -> task<> {
      while (!skua::this_task::stop_requested()) std::this_thread::yield();
      (void)co_await c.send(2);
    });
    EXPECT_EQ(c.try_recv(), std::nullopt);
    co_await try_all([&]() -> task<> {
      while (!skua::this_task::stop_requested()) std::this_thread::yield();
      co_await seen.wait_for([](int) { return true; });
    });
    co_await try_all([&]() -> task<> {
      while (!skua::this_task::stop_requested()) std::this_thread::yield();
      auto const l = co_await m.lock();
    });
    w.reset();   // so that changed() comes back in any case
    EXPECT_TRUE(co_await seen.changed()) << "2 counts as seen";
    EXPECT_TRUE(m.try_lock()) << "owned by nobody";
  });
}

} // namespace
