// SPDX-License-Identifier: Apache-2.0
// What ends on other threads: futures set by foreign threads, blocking calls, abandoned ones, and files, under random stops and timeouts, with
// few blocking threads that come and go. Every value is delivered or destroyed once, every task ends, files are old or new as a whole, and nothing
// is in flight afterwards (the runtime checks that).
//
// usage: outside_stress [--seconds S] [--seed N] [--workers N]
#include "skua/blocking.hpp"
#include "skua/detail/config.hpp"
#include "skua/file.hpp"
#include "skua/future.hpp"
#include "skua/runtime.hpp"
#include "skua/spawn.hpp"
#include "skua/time.hpp"
#include "skua/timeout.hpp"
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using skua::task;

std::atomic<int> failures{0};
void expect(bool good, char const* what) {
  if (!good && failures.fetch_add(1) < 20) std::printf("%s\n", what);
}

// A value that is counted.
struct counted {
  static inline std::atomic<std::int64_t> alive{0};
  int value;
  explicit counted(int v) noexcept : value(v) { alive.fetch_add(1); }
  counted(counted&& o) noexcept : value(o.value) { alive.fetch_add(1); }
  ~counted() { alive.fetch_sub(1); }
};
struct totals {
  std::atomic<std::uint64_t> delivered{0}, stopped{0}, timed_out{0}, broken{0};
};
totals total;

// Foreign threads that set promises.
class setters {
public:
  explicit setters(unsigned n) {
    for (unsigned i = 0; i < n; ++i) threads_.emplace_back([this, i] { run(i); });
  }
  ~setters() {
    {
      std::lock_guard const lock(mutex_);
      ended_ = true;
    }
    changed_.notify_all();
    for (auto& t : threads_) t.join();
  }
  void give(skua::promise<counted> p, int value) {
    {
      std::lock_guard const lock(mutex_);
      queue_.emplace_back(std::move(p), value);
    }
    changed_.notify_one();
  }

private:
  void run(unsigned seed) {
    std::mt19937 random(seed);
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [this] { return ended_ || !queue_.empty(); });
      if (queue_.empty()) return;
      auto [p, value] = std::move(queue_.back());
      queue_.pop_back();
      lock.unlock();
      for (auto i = random() % 2'000; i != 0; --i) skua::detail::cpu_pause();
      switch (random() % 8) {
      case 0: break;   // broken
      case 1: p.set_exception(std::make_exception_ptr(value)); break;
      default: p.set_value(counted(value));
      }
      {
        auto const gone = std::move(p);
      }
      lock.lock();
    }
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::pair<skua::promise<counted>, int>> queue_;
  bool ended_ = false;
  std::vector<std::thread> threads_;
};

struct context {
  setters* foreign;
  std::string directory;
};

task<int> by_future(context* c, int value) {
  skua::promise<counted> p;
  auto f = p.get_future();
  c->foreign->give(std::move(p), value);
  counted const got = co_await f;
  co_return got.value;
}
counted slow(int value, unsigned pauses) {
  for (; pauses != 0; --pauses) skua::detail::cpu_pause();
  return counted(value);
}
task<int> by_blocking(int value, unsigned pauses) {
  counted const got = co_await skua::spawn_blocking(slow, value, pauses);
  co_return got.value;
}
task<int> by_abandoning(int value, unsigned pauses) {
  counted const got = co_await skua::abandon(skua::spawn_blocking(slow, value, pauses));
  co_return got.value;
}
task<int> by_file(context* c, int value, unsigned size) {
  std::string const path = c->directory + "/f" + std::to_string(value % 16);
  co_await skua::write_file(path, std::string(1 + size, static_cast<char>('a' + value % 26)), skua::write_mode::replace);
  std::string const text = co_await skua::read_text_file(path);
  expect(!text.empty() && text.find_first_not_of(text[0]) == std::string::npos, "a file was seen half replaced");
  co_return value;
}
task<int> one_of_them(context* c, int value, unsigned random) {
  unsigned const amount = (random >> 8) % 4'000;
  switch (random % 4) {
  case 0: return by_future(c, value);
  case 1: return by_blocking(value, amount);
  case 2: return by_abandoning(value, amount);
  default: return by_file(c, value, amount * 40);
  }
}

task<> one(context* c, int value, unsigned random) {
  auto work = one_of_them(c, value, random);
  try {
    auto const limit = std::chrono::microseconds(random % 3 == 0 ? (random >> 4) % 400 : 10'000'000);
    expect(co_await skua::timeout(limit, std::move(work)) == value, "somebody else's value was delivered");
    total.delivered.fetch_add(1);
  } catch (skua::timeout_error const&) {
    total.timed_out.fetch_add(1);
  } catch (skua::broken_promise const&) {
    total.broken.fetch_add(1);
  } catch (int thrown) {
    expect(thrown == value, "somebody else's exception was delivered");
  }
}

task<> round_of(context* c, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<skua::join_handle<>> tasks;
  for (int i = 0; i < 64; ++i) {
    tasks.push_back(skua::spawn(one, c, i, static_cast<unsigned>(random())));
    if (random() % 4 == 0) tasks[random() % tasks.size()].request_stop();
    if (random() % 8 == 0) co_await skua::sleep_for(std::chrono::microseconds(random() % 50));
  }
  for (auto& t : tasks) {
    try {
      co_await t;
    } catch (skua::task_stopped const&) {
      total.stopped.fetch_add(1);
    }
  }
}

struct arguments {
  double seconds = 5;
  unsigned seed = 1, workers = 2;
};
arguments parse(int argc, char** argv) {
  arguments a;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (std::strcmp(argv[i], "--seconds") == 0) a.seconds = std::atof(argv[i + 1]);
    if (std::strcmp(argv[i], "--seed") == 0) a.seed = static_cast<unsigned>(std::strtoul(argv[i + 1], nullptr, 10));
    if (std::strcmp(argv[i], "--workers") == 0) a.workers = static_cast<unsigned>(std::atoi(argv[i + 1]));
  }
  return a;
}

} // namespace

int main(int argc, char** argv) {
  arguments const a = parse(argc, argv);
  std::printf("outside_stress --seconds %g --seed %u --workers %u\n", a.seconds, a.seed, a.workers);
  std::string directory = (std::filesystem::temp_directory_path() / "skua-stress-XXXXXX").string();
  if (mkdtemp(directory.data()) == nullptr) return std::perror("mkdtemp"), 1;
  auto const until = std::chrono::steady_clock::now() + std::chrono::duration<double>(a.seconds);
  unsigned rounds = 0;
  {
    setters foreign(2);
    context c{&foreign, directory};
    while (std::chrono::steady_clock::now() < until) {
      skua::runtime rt({.workers = a.workers, .files = rounds / 8 % 2 == 0 ? "auto" : "threads", .max_blocking_threads = 3,
                        .blocking_keep_alive = 1ms});
      for (int i = 0; i < 8; ++i) rt.block_on(round_of, &c, a.seed + rounds++);
    }
  }
  expect(counted::alive == 0, "values were lost, or destroyed twice");
  for (auto const& e : std::filesystem::directory_iterator(directory))
    expect(!e.path().string().ends_with(".tmp"), "a temporary file was left behind");
  std::filesystem::remove_all(directory);
  std::printf("%u rounds: %llu delivered, %llu stopped, %llu timed out, %llu broken\n", rounds, static_cast<unsigned long long>(total.delivered),
              static_cast<unsigned long long>(total.stopped), static_cast<unsigned long long>(total.timed_out),
              static_cast<unsigned long long>(total.broken));
  return failures != 0;
}
