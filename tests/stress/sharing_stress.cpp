// SPDX-License-Identifier: Apache-2.0
// Stress: what tasks share, shared by two runtimes and by a thread of neither. Each user of a primitive runs until it is stopped, goes on from where it was,
// and is stopped again; the thread from outside sends, sets, tries and requests stops meanwhile.
//
// Invariants: a strand has executed as often as its callers were told, one at a time; a mutex and a condition variable guard a bounded buffer; permits are
// bounded and all back; a broadcast loses nothing for a subscriber, or says how much; a watch never goes back; a oneshot's answer belongs to its question,
// or nobody answered; a callback that was made is delivered; stop_on ends by its token. In the end nothing is left, and no stop is counted as under way.
#include "skua/async_generator.hpp"
#include "skua/broadcast.hpp"
#include "skua/callback.hpp"
#include "skua/condition_variable.hpp"
#include "skua/event.hpp"
#include "skua/mutex.hpp"
#include "skua/oneshot.hpp"
#include "skua/runtime.hpp"
#include "skua/select.hpp"
#include "skua/semaphore.hpp"
#include "skua/shared_mutex.hpp"
#include "skua/stop_token.hpp"
#include "skua/strand.hpp"
#include "skua/time.hpp"
#include "skua/watch.hpp"
#include "tests/support/stress_rounds.hpp"
#include "tests/support/values.hpp"
#include <atomic>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <stop_token>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::on;
using skua::slow_receiver;
using skua::task;

// A library that calls back, from a thread of its own.
class c_library {
public:
  c_library() : thread_([this] { serve(); }) {}
  ~c_library() {
    {
      std::lock_guard const g(mutex_);
      over_ = true;
    }
    changed_.notify_one();
    thread_.join();
  }
  void request(int n, void* user) {
    {
      std::lock_guard const g(mutex_);
      open_[user] = n;
    }
    changed_.notify_one();
  }
  bool cancel(void* user) {
    std::lock_guard const g(mutex_);
    return open_.erase(user) == 1;
  }

private:
  void serve() {
    std::unique_lock g(mutex_);
    for (;;) {
      changed_.wait(g, [this] { return over_ || !open_.empty(); });
      if (open_.empty()) return;
      auto const [user, n] = *open_.begin();
      open_.erase(open_.begin());
      g.unlock();
      skua::completion<int>::from_pointer(user).set_value(n);
      g.lock();
    }
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<void*, int> open_;
  bool over_ = false;
  std::thread thread_;
};

struct numbered {
  long number;
  std::unique_ptr<char> on_heap = std::make_unique<char>('x');   // for AddressSanitizer
  explicit numbered(long n) : number(n) {}
  numbered(numbered&&) noexcept = default;
  numbered(numbered const& o) : number(o.number) {}
};
struct question {
  int number;
  skua::oneshot_sender<owned> reply;
};

std::atomic<std::uint64_t> total_stops{0};

struct world {
  c_library& library;
  explicit world(c_library& l) : library(l) {}

  skua::strand strand;
  bool executing = false;   // in the strand
  long executed = 0;        // in the strand
  std::atomic<long> told{0};

  skua::mutex m;
  skua::condition_variable changed{m};
  std::deque<int> buffer;   // under m, at most 2
  long put = 0, got = 0;    // under m

  static constexpr int permits = 2;
  skua::counting_semaphore semaphore{permits};
  std::atomic<int> out{0};
  skua::shared_mutex shared;
  std::atomic<int> readers{0}, writers{0};
  skua::auto_reset_event baton{true};
  std::atomic<int> holders{0};

  skua::broadcast<numbered> patient{2};
  skua::broadcast<long> hasty{4, slow_receiver::drop_oldest}, strict{4, slow_receiver::disconnect};
  skua::watch<long> level{0};
  skua::channel<question> questions{1};

  std::mutex sources_lock;
  std::vector<std::stop_source> sources;   // the thread from outside requests a stop of each, some time
};

// What a user keeps from one stop to the next. `number` is the user's own.
struct user_state {
  world& w;
  rng r;
  long number = 0;
  skua::broadcast_receiver<numbered> patient;
  skua::broadcast_receiver<long> hasty;
  skua::watch_receiver<long> level;
};

struct scope_count {   // also when a stop destroys the frame
  std::atomic<int>& n;
  explicit scope_count(std::atomic<int>& c) : n(c) { ++n; }
  ~scope_count() { --n; }
};
task<> now_and_then(rng& r) {
  if (r.one_in(3)) co_await skua::this_task::yield();
  if (r.one_in(50)) co_await skua::sleep_for(std::chrono::microseconds(r.below(50)));
}

// ---------------------------------------------------------------------------------------------- users; each until it is stopped

task<> use_strand(user_state& u) {
  for (;;) {
    co_await u.w.strand.run([&w = u.w] {
      STRESS_CHECK(!std::exchange(w.executing, true));
      ++w.executed;
      w.executing = false;
    });
    ++u.w.told;
    co_await now_and_then(u.r);
  }
}
task<> use_buffer(user_state& u) {
  world& w = u.w;
  for (;;) {
    auto lock = co_await w.m.lock();
    bool const puts = u.r.one_in(2);
    co_await w.changed.wait(lock, [&] { return puts ? w.buffer.size() < 2 : !w.buffer.empty(); });
    STRESS_CHECK(lock);
    if (puts) {
      w.buffer.push_back(1);
      ++w.put;
    } else {
      STRESS_CHECK(!w.buffer.empty());
      w.buffer.pop_front();
      ++w.got;
    }
    if (u.r.one_in(2)) lock.unlock();
    u.r.one_in(2) ? w.changed.notify_all() : w.changed.notify_one();
    if (lock) co_await now_and_then(u.r);
  }
}
task<> use_locks(user_state& u) {
  world& w = u.w;
  for (;;) {
    switch (u.r.below(4)) {
    case 0: {
      auto const n = 1 + u.r.below(world::permits);
      auto const permit = co_await w.semaphore.acquire(n);
      scope_count const one(w.out);
      STRESS_CHECK(w.out <= world::permits);
      co_await now_and_then(u.r);
      break;
    }
    case 1: {
      auto const lock = co_await w.shared.lock();
      scope_count const one(w.writers);
      STRESS_CHECK(w.writers == 1 && w.readers == 0);
      co_await now_and_then(u.r);
      break;
    }
    case 2: {
      auto const lock = co_await w.shared.lock_shared();
      scope_count const one(w.readers);
      STRESS_CHECK(w.writers == 0);
      co_await now_and_then(u.r);
      break;
    }
    case 3: {
      co_await w.baton.wait();
      STRESS_CHECK(++w.holders == 1);
      struct hand_on {
        world& at;
        ~hand_on() {
          --at.holders;
          at.baton.set();
        }
      } const h{w};
      co_await now_and_then(u.r);
      break;
    }
    }
  }
}
task<> send_patiently(user_state& u) {
  for (;;) {
    STRESS_CHECK(co_await u.w.patient.send(numbered(u.number)));
    ++u.number;
    co_await now_and_then(u.r);
  }
}
task<> receive_patiently(user_state& u) {
  for (;;) {
    auto m = co_await u.patient.recv();
    STRESS_CHECK(m && m.missed() == 0 && (u.number == 0 || m->number == u.number));
    u.number = m->number + 1;
    co_await now_and_then(u.r);
  }
}
task<> receive_hastily(user_state& u) {
  for (;;) {
    auto m = co_await u.hasty.recv();
    u.number += static_cast<long>(m.missed());
    STRESS_CHECK(m && *m == u.number++);
    co_await now_and_then(u.r);
  }
}
// Comes and goes, wherever it is stopped.
task<> visit(user_state& u) {
  for (;;) {
    auto patient = u.w.patient.subscribe();
    auto strict = u.w.strict.subscribe();
    long last = -1;
    for (unsigned n = u.r.below(5); n != 0; --n) {
      if (u.r.one_in(2)) {
        auto m = co_await patient.recv();
        STRESS_CHECK(m && (last == -1 || m->number == last + 1));
        last = m->number;
      } else {
        auto m = co_await strict.recv();
        if (m.disconnected()) break;
        STRESS_CHECK(m && m.missed() == 0);
      }
    }
    co_await skua::this_task::yield();
  }
}
task<> follow_level(user_state& u) {
  for (;;) {
    STRESS_CHECK(co_await u.level.changed());
    long const now = u.level.get();
    STRESS_CHECK(now >= u.number);
    u.number = now;
    co_await now_and_then(u.r);
  }
}
task<> ask(user_state& u) {
  for (int n = 0;; ++n) {
    auto [reply, answer] = skua::oneshot<owned>();
    STRESS_CHECK(co_await u.w.questions.send({n, std::move(reply)}));
    auto take = [&](std::optional<owned> a) {
      if (a) STRESS_CHECK(a->value() == n);
    };
    if (u.r.one_in(2))
      take(co_await answer.recv());
    else
      co_await select(on(answer.recv(), take), on(skua::sleep_for(std::chrono::microseconds(u.r.below(60))), [] {}));
  }
}
task<> answer(user_state& u) {
  for (;;) {
    auto q = co_await u.w.questions.recv();
    STRESS_CHECK(q);
    co_await now_and_then(u.r);   // stopped here: it is dropped, and nobody answers
    if (!u.r.one_in(10)) (void)q->reply.send(owned(q->number));
  }
}
task<> call_back(user_state& u) {
  for (int n = 0;; ++n) {
    int const r = co_await skua::callback<int>([&](skua::completion<int> c) { u.w.library.request(n, c.to_pointer()); },
                                               [&](skua::completion<int> c) { return u.w.library.cancel(c.to_pointer()); });
    STRESS_CHECK(r == n);
  }
}
task<> work_for_a_while(rng r) {
  for (unsigned n = r.below(20); n != 0; --n) co_await now_and_then(r);
}
task<> obey_tokens(user_state& u) {
  for (;;) {
    std::stop_source source;
    {
      std::lock_guard const g(u.w.sources_lock);
      u.w.sources.push_back(source);
    }
    try {
      co_await skua::stop_on(source.get_token(), work_for_a_while(rng{u.r.next()}));
    } catch (skua::task_stopped const& e) {
      STRESS_CHECK(source.stop_requested() && e.reason() == skua::stop_reason::requested);
    }
  }
}
skua::async_generator<long> squares(world& w, rng r) {
  for (long n = 0;; ++n) {
    if (r.one_in(4)) {
      auto const permit = co_await w.semaphore.acquire();
      scope_count const one(w.out);
      STRESS_CHECK(w.out <= world::permits);
    }
    co_await now_and_then(r);
    co_yield n* n;
  }
}
task<> generate(user_state& u) {
  for (;;) {
    auto all = squares(u.w, rng{u.r.next()});
    for (long n = 0, most = u.r.below(10); n < most; ++n) STRESS_CHECK(co_await all.next() == n * n);
  }
}
task<> join_or_not(user_state& u) {
  for (;;) {
    auto h = skua::spawn(work_for_a_while, rng{u.r.next()});
    skua::promise<int> p;
    auto f = p.get_future();
    auto setter = skua::spawn([](skua::promise<int> to, rng r) -> task<> {
      co_await now_and_then(r);
      to.set_value(3);
    }, std::move(p), rng{u.r.next()});
    co_await select(on(h, [] {}), on(f, [](int n) { STRESS_CHECK(n == 3); }), on(skua::sleep_for(std::chrono::microseconds(u.r.below(40))), [] {}));
    if (u.r.one_in(2)) co_await setter;
  }
}

// ---------------------------------------------------------------------------------------------- a round

using user = task<> (*)(user_state&);

// Starts it, lets it run for a while, stops it, and again.
task<> again_and_again(user what, std::unique_ptr<user_state> u, rng r) {
  for (unsigned n = 3 + r.below(20); n != 0; --n) {
    auto h = skua::spawn(what, std::ref(*u));
    for (unsigned i = r.below(30); i != 0; --i) co_await skua::this_task::yield();
    if (r.one_in(2)) co_await skua::sleep_for(std::chrono::microseconds(r.below(100)));
    h.request_stop();
    try {
      co_await h;
      STRESS_CHECK(false);
    } catch (skua::task_stopped const&) {
      ++total_stops;
    }
  }
}

// Neither runtime's: no worker.
void meddle(world& w, rng& r, long& hasty, long& strict, long& level) {
  switch (r.below(8)) {
  case 0: STRESS_CHECK(w.hasty.try_send(hasty++) == skua::send_status::sent); break;
  case 1: STRESS_CHECK(w.strict.try_send(strict++) == skua::send_status::sent); break;
  case 2: w.level.set(++level); break;
  case 3:
    if (auto const lock = w.m.try_lock()) w.changed.notify_one();
    break;
  case 4: w.changed.notify_all(); break;
  case 5:
    if (auto const permit = w.semaphore.try_acquire()) {
      scope_count const one(w.out);
      STRESS_CHECK(w.out <= world::permits);
    }
    break;
  case 6: {
    std::vector<std::stop_source> all;
    {
      std::lock_guard const g(w.sources_lock);
      all.swap(w.sources);
    }
    for (auto& s : all) s.request_stop();
    break;
  }
  case 7:
    if (auto q = w.questions.try_recv()) (void)q->reply.send(owned(q->number));
    break;
  }
}

void one_round(skua::runtime* runtimes, c_library& library, std::uint64_t seed) {
  rng r{seed};
  auto const whole = std::make_unique<world>(library);
  world& w = *whole;
  std::vector<skua::join_handle<>> all;
  // The one that sends in order is one task.
  bool sender = true;
  constexpr user users[] = {send_patiently, use_strand, use_buffer, use_locks, receive_patiently, receive_hastily, visit, follow_level,
                            ask, answer, call_back, obey_tokens, generate, join_or_not};
  for (int runtime = 0; runtime != 2; ++runtime)
    for (user u : users) {
      if (u == send_patiently && !std::exchange(sender, false)) continue;
      for (unsigned n = u == send_patiently ? 1 : r.below(3); n != 0; --n) {
        std::unique_ptr<user_state> state(new user_state{w, rng{r.next()}, 0, {}, {}, {}});
        if (u == receive_patiently) state->patient = w.patient.subscribe();   // nobody else: it would hold the sender up
        if (u == receive_hastily) state->hasty = w.hasty.subscribe();
        if (u == follow_level) state->level = w.level.subscribe();
        all.push_back(runtimes[runtime].spawn(again_and_again, u, std::move(state), rng{r.next()}));
      }
    }
  long hasty = 0, strict = 0, level = 0;
  for (bool done = false; !done;) {
    meddle(w, r, hasty, strict, level);
    done = true;
    for (auto const& h : all) done = done && h.done();
    if (r.one_in(4)) std::this_thread::yield();
  }
  for (auto& h : all) runtimes[0].block_on([](auto handle) -> task<> { co_await handle; }, std::move(h));
  STRESS_CHECK(w.executed == w.told);
  STRESS_CHECK(w.put == w.got + static_cast<long>(w.buffer.size()));
  STRESS_CHECK(w.m.try_lock() && w.shared.try_lock());
  STRESS_CHECK(w.semaphore.available() == world::permits && w.out == 0);
  STRESS_CHECK(w.holders == 0 && w.baton.try_wait() && !w.baton.try_wait());
  STRESS_CHECK(w.patient.subscribers() + w.hasty.subscribers() + w.strict.subscribers() == 0);
}

} // namespace

int main(int argc, char** argv) {
  stress_options const o(argc, argv);
  rng seeds{o.seed};
  std::uint64_t rounds = 0;
  {
    c_library library;
    skua::runtime runtimes[] = {skua::runtime({.workers = o.workers, .backend = o.backend}), skua::runtime({.workers = 1, .backend = o.backend})};
    for (; o.go_on(rounds); ++rounds) {
      seed_of_round = seeds.state;
      one_round(runtimes, library, seeds.next());
      STRESS_CHECK(owned::alive == 0);
    }
  }
  check_nothing_is_left();
  std::printf("ok: %llu rounds, %llu stops\n", static_cast<unsigned long long>(rounds), static_cast<unsigned long long>(total_stops.load()));
  return 0;
}
