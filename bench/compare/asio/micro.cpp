// SPDX-License-Identifier: Apache-2.0
// Micro-workloads on Boost.Asio C++20 coroutines, thread_pool(2).
// usage: micro WORKLOAD
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <boost/asio.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/experimental/concurrent_channel.hpp>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <latch>
#include <memory>
#include <string>
#include <vector>

namespace asio = boost::asio;
using asio::awaitable;
using asio::use_awaitable;
using boost::system::error_code;
using std::uint64_t;
using Clock = std::chrono::steady_clock;
using Pool = asio::thread_pool;
using Channel = asio::experimental::concurrent_channel<void(error_code, uint64_t)>;
using namespace std::chrono_literals;

static double cpu_s() {
  rusage u;
  getrusage(RUSAGE_SELF, &u);
  return double(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + double(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}
static long rss_kib() {
  rusage u;
  getrusage(RUSAGE_SELF, &u);
  return u.ru_maxrss;
}
static void require(bool ok) {
  if (!ok) std::abort();
}
static auto rethrow = [](std::exception_ptr e) {
  if (e) std::rethrow_exception(e);
};

// Runs `tasks` coroutines spawned from one coroutine on the pool, and waits for them all.
template <class F>
static void group(Pool& pool, std::size_t tasks, F f, bool strands = false) {
  std::latch done(std::ptrdiff_t(tasks) + 0);
  asio::co_spawn(
      pool,
      [&]() -> awaitable<void> {
        auto ex = co_await asio::this_coro::executor;
        auto fin = [&](std::exception_ptr e) {
          rethrow(e);
          done.count_down();
        };
        for (std::size_t i = 0; i < tasks; i++) {
          if (strands)
            asio::co_spawn(asio::make_strand(ex), f(i), fin);
          else
            asio::co_spawn(ex, f(i), fin);
        }
      },
      rethrow);
  done.wait();
}

static awaitable<uint64_t> trivial(uint64_t i) { co_return i; }

static void spawn_join(Pool& pool, uint64_t n) {
  std::vector<uint64_t> res(n);
  std::latch done(static_cast<std::ptrdiff_t>(n));
  asio::co_spawn(
      pool,
      [&]() -> awaitable<void> {
        auto ex = co_await asio::this_coro::executor;
        for (uint64_t i = 0; i < n; i++)
          asio::co_spawn(ex, trivial(i), [&, i](std::exception_ptr e, uint64_t v) {
            rethrow(e);
            res[i] = v;
            done.count_down();
          });
      },
      rethrow);
  done.wait();
  uint64_t sum = 0;
  for (auto v : res) sum += v;
  require(sum == n * (n - 1) / 2);
}

static void pingpong_chan(Pool& pool, uint64_t n) {
  Channel a(pool, 1), b(pool, 1);
  group(pool, 2, [&](std::size_t who) -> awaitable<void> {
    if (who == 0) {
      for (uint64_t i = 0; i < n; i++) {
        co_await a.async_send(error_code{}, i, use_awaitable);
        require(co_await b.async_receive(use_awaitable) == i + 1);
      }
    } else {
      for (uint64_t i = 0; i < n; i++) {
        uint64_t v = co_await a.async_receive(use_awaitable);
        co_await b.async_send(error_code{}, v + 1, use_awaitable);
      }
    }
  });
}

// Asio has no oneshot: a channel of capacity 1 is made for each reply.
static void rpc_oneshot(Pool& pool, uint64_t n) {
  using Reply = std::shared_ptr<Channel>;
  asio::experimental::concurrent_channel<void(error_code, uint64_t, Reply)> a(pool, 1);
  group(pool, 2, [&](std::size_t who) -> awaitable<void> {
    if (who == 0) {
      for (uint64_t i = 0; i < n; i++) {
        auto r = std::make_shared<Channel>(pool, 1);
        co_await a.async_send(error_code{}, i, r, use_awaitable);
        require(co_await r->async_receive(use_awaitable) == i + 1);
      }
    } else {
      for (uint64_t i = 0; i < n; i++) {
        auto [v, r] = co_await a.async_receive(use_awaitable);
        require(r->try_send(error_code{}, v + 1));
      }
    }
  });
}

static void mpsc(Pool& pool, uint64_t total) {
  Channel c(pool, 1024);
  uint64_t each = total / 8, sum = 0;
  group(pool, 9, [&](std::size_t who) -> awaitable<void> {
    if (who == 0) {
      for (uint64_t i = 0; i < each * 8; i++) sum += co_await c.async_receive(use_awaitable);
    } else {
      for (uint64_t i = 0; i < each; i++) co_await c.async_send(error_code{}, i, use_awaitable);
    }
  });
  require(sum == 8 * (each * (each - 1) / 2));
}

// Asio has no async mutex; its idiom is a strand: hop onto it, work, hop off.
static void mutex_strand(Pool& pool, std::size_t tasks, uint64_t n) {
  auto strand = asio::make_strand(pool);
  uint64_t x = 0;
  group(pool, tasks, [&](std::size_t) -> awaitable<void> {
    for (uint64_t i = 0; i < n; i++) {
      co_await asio::post(asio::bind_executor(strand, use_awaitable));
      x++;
      co_await asio::post(use_awaitable);
    }
  });
  require(x == tasks * n);
}

// The other idiom: a channel of capacity 1 that holds a token.
static void mutex_chan(Pool& pool, std::size_t tasks, uint64_t n, bool hold) {
  Channel m(pool, 1);
  require(m.try_send(error_code{}, uint64_t(0)));
  uint64_t x = 0;
  group(pool, tasks, [&](std::size_t) -> awaitable<void> {
    for (uint64_t i = 0; i < n; i++) {
      co_await m.async_receive(use_awaitable);
      x++;
      if (hold) co_await asio::post(use_awaitable);
      require(m.try_send(error_code{}, uint64_t(0)));
    }
  });
  require(x == tasks * n);
}

int main(int, char** argv) {
  std::string w = argv[1];
  Pool pool(2);
  auto t0 = Clock::now();
  double c0 = cpu_s();
  auto done = [&](uint64_t ops) {
    double wall = std::chrono::duration<double>(Clock::now() - t0).count(), c = cpu_s() - c0;
    std::printf("%s ns_per_op=%.1f wall_s=%.3f cpu_s=%.3f cpu_ns_per_op=%.1f rss_mib=%.1f\n", w.c_str(),
                wall * 1e9 / double(ops), wall, c, c * 1e9 / double(ops), double(rss_kib()) / 1024);
  };
  if (w == "spawn_join") {
    spawn_join(pool, 2'000'000);
    done(2'000'000);
  } else if (w == "spawn_join_batch") {
    for (int i = 0; i < 2000; i++) spawn_join(pool, 1000);
    done(2'000'000);
  } else if (w == "spawn_join_seq") {
    group(pool, 1, [&](std::size_t) -> awaitable<void> {
      auto ex = co_await asio::this_coro::executor;
      for (uint64_t i = 0; i < 1'000'000; i++) require(co_await asio::co_spawn(ex, trivial(i), use_awaitable) == i);
    });
    done(1'000'000);
  } else if (w == "yield") {
    group(pool, 1000, [](std::size_t) -> awaitable<void> {
      for (int i = 0; i < 1000; i++) co_await asio::post(use_awaitable);
    });
    done(1'000'000);
  } else if (w == "pingpong_chan") {
    pingpong_chan(pool, 1'000'000);
    done(1'000'000);
  } else if (w == "rpc_oneshot") {
    rpc_oneshot(pool, 1'000'000);
    done(1'000'000);
  } else if (w == "mpsc") {
    mpsc(pool, 10'000'000);
    done(10'000'000);
  } else if (w == "mutex") {
    mutex_strand(pool, 16, 200'000);
    done(3'200'000);
  } else if (w == "mutex_chan") {
    mutex_chan(pool, 16, 200'000, false);
    done(3'200'000);
  } else if (w == "mutex_hold") {
    mutex_chan(pool, 16, 50'000, true);
    done(800'000);
  } else if (w == "sleepers") {
    group(pool, 1'000'000, [](std::size_t) -> awaitable<void> {
      asio::steady_timer t(co_await asio::this_coro::executor, 10s);
      co_await t.async_wait(use_awaitable);
    });
    double wall = std::chrono::duration<double>(Clock::now() - t0).count();
    std::printf("sleepers over_10s=%.3f cpu_s=%.3f bytes_per_task=%.0f\n", wall - 10, cpu_s(),
                double(rss_kib()) * 1024 / 1e6);
  } else if (w == "churn") {  // one timer per operation, cancelled by hand
    group(pool, 100'000, [](std::size_t) -> awaitable<void> {
      auto ex = co_await asio::this_coro::executor;
      for (int i = 0; i < 20; i++) {
        asio::steady_timer t(ex, 1s);
        t.async_wait([](error_code e) { require(e == asio::error::operation_aborted); });
        co_await asio::post(use_awaitable);
        t.cancel();
      }
    });
    done(2'000'000);
  } else if (w == "churn_tuple") {  // op || timer, the cancelled wait reporting by value
    using namespace asio::experimental::awaitable_operators;
    static constexpr auto tuple = asio::as_tuple(use_awaitable);
    group(
        pool, 100'000,
        [](std::size_t) -> awaitable<void> {
          auto ex = co_await asio::this_coro::executor;
          for (int i = 0; i < 20; i++) {
            asio::steady_timer t(ex, 1s);
            auto r = co_await (asio::post(use_awaitable) || t.async_wait(tuple));
            require(r.index() == 0);
          }
        },
        true);
    done(2'000'000);
  } else if (w == "churn_ops") {  // the documented idiom: op || timer; the cancelled wait throws; fewer tasks
    using namespace asio::experimental::awaitable_operators;
    group(
        pool, 10'000,
        [](std::size_t) -> awaitable<void> {
          auto ex = co_await asio::this_coro::executor;
          for (int i = 0; i < 20; i++) {
            asio::steady_timer t(ex, 1s);
            auto r = co_await (asio::post(use_awaitable) || t.async_wait(use_awaitable));
            require(r.index() == 0);
          }
        },
        true);
    done(200'000);
  } else if (w == "accuracy") {
    std::vector<std::vector<double>> v(1000);
    group(pool, 1000, [&](std::size_t who) -> awaitable<void> {
      asio::steady_timer t(co_await asio::this_coro::executor);
      for (int i = 0; i < 100; i++) {
        auto s = Clock::now();
        t.expires_after(10ms);
        co_await t.async_wait(use_awaitable);
        v[who].push_back(std::chrono::duration<double, std::micro>(Clock::now() - s).count() - 10000);
      }
    });
    std::vector<double> all;
    for (auto& x : v) all.insert(all.end(), x.begin(), x.end());
    std::sort(all.begin(), all.end());
    auto q = [&](double p) { return all[std::size_t(double(all.size() - 1) * p)]; };
    std::printf("accuracy lateness_us min=%.0f p50=%.0f p99=%.0f max=%.0f cpu_s=%.3f\n", q(0), q(.5), q(.99), q(1),
                cpu_s());
  } else {
    return 2;
  }
  pool.join();
}
