// SPDX-License-Identifier: Apache-2.0
// Selects over everything that can be a branch, under random stops: channels, locks, permits, a signal, an event, a latch, a joined task, a oneshot, a
// broadcast, a watch, a timer, the stop itself. Which branches are enabled is drawn at random, many tasks do it to the same things, hold what they have won
// over suspensions, are stopped at a random point by a task or a foreign thread; another task sends, sets, opens and closes. Checked all the time and at
// the end of a round, when everything is destroyed at once by the task that joined the last of the users:
//     message      said "sent": received once, or still in its channel. Came back, or its sender was stopped: nobody received it (S4, S9)
//     lock         one owner, or readers and no writer; free in the end
//     permits      no more are out than there are; all are back
//     signal       a baton: one task has it, or it is set
//     join         each task is joined once, and its value is what it gave
//     broadcast    a message is the next one after the last one and those that were reported as missed
// No task, frame or message is left, and no stop request is counted as under way.
//
// usage: select_stress [--seconds S] [--seed N] [--workers N] [--backend NAME] [--rounds N]
#include "skua/select.hpp"
#include "skua/broadcast.hpp"
#include "skua/detail/frame_pool.hpp"
#include "skua/event.hpp"
#include "skua/latch.hpp"
#include "skua/mutex.hpp"
#include "skua/runtime.hpp"
#include "skua/semaphore.hpp"
#include "skua/shared_mutex.hpp"
#include "skua/time.hpp"
#include "skua/watch.hpp"
#include "tests/support/stress_rounds.hpp"
#include <array>
#include <condition_variable>
#include <deque>
#include <iostream>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::on;
using skua::task;

struct totals {
  std::atomic<std::uint64_t> selects{0}, won{0}, stopped{0}, finished{0}, sent{0}, locked{0}, joined{0};
} total;

// ---------------------------------------------------------------------------------------------- messages

constexpr std::size_t most_messages = 8192;
struct fate {
  std::atomic<int> received{0}, returned{0}, sent{0}, destroyed{0};   // destroyed: without having been received or returned
  std::atomic<bool> may_vanish{false};                                // a oneshot's, whose receiver may be dropped
};
struct ledger {
  std::vector<fate> of{most_messages};
  std::atomic<std::size_t> made{0};
};
class message {
public:
  explicit message(ledger& l) : ledger_(&l), number_(l.made.fetch_add(1)) { STRESS_CHECK(number_ < most_messages); }
  message(message&& o) noexcept : ledger_(std::exchange(o.ledger_, nullptr)), number_(o.number_) {}
  message& operator=(message&&) = delete;
  ~message() {
    if (ledger_ != nullptr) ++ledger_->of[number_].destroyed;
  }
  std::size_t number() const { return number_; }
  void received() && { ++std::exchange(ledger_, nullptr)->of[number_].received; }
  void returned() && { ++std::exchange(ledger_, nullptr)->of[number_].returned; }

private:
  ledger* ledger_;
  std::size_t number_;
};

// ---------------------------------------------------------------------------------------------- stops

struct control {
  int countdown = 0;
  bool by_thread = false;
  std::atomic<skua::join_handle<> const*> target{nullptr};
  std::atomic<bool> asked{false};
};

class requester {   // requests stops from outside the runtime
public:
  requester() : thread_([this] { run(); }) {}
  ~requester() {
    ask(nullptr);
    thread_.join();
  }
  void ask(control* c) {
    {
      std::lock_guard const g(lock_);
      if (c != nullptr) c->asked = true;
      todo_.push_back(c);
    }
    changed_.notify_one();
  }

private:
  void run() {
    for (;;) {
      std::unique_lock g(lock_);
      changed_.wait(g, [this] { return !todo_.empty(); });
      control* const c = todo_.front();
      todo_.pop_front();
      g.unlock();
      if (c == nullptr) return;
      c->target.load()->request_stop();
      c->asked = false;
    }
  }
  std::mutex lock_;
  std::condition_variable changed_;
  std::deque<control*> todo_;
  std::thread thread_;
};
requester* outside;

// A suspension point is near.
void point(control& c) {
  if (--c.countdown != 0) return;
  c.by_thread ? outside->ask(&c) : c.target.load()->request_stop();
}

// ---------------------------------------------------------------------------------------------- what a round shares

struct round_t {
  ledger book;
  skua::channel<message> rendezvous{0}, bounded{2};
  skua::unbounded_channel<message> unbounded;
  skua::mutex m;
  int inside = 0;                        // under m
  skua::shared_mutex shared;
  long a = 0, b = 0;                     // equal, unless a writer is inside
  static constexpr int permits = 3;
  skua::counting_semaphore semaphore{permits};
  std::atomic<int> out{0};
  skua::auto_reset_event signal{true};   // the baton
  std::atomic<int> batons{0};
  skua::event gate;
  skua::latch latch{1};
  skua::broadcast<long> news{4, skua::slow_receiver::drop_oldest};
  skua::watch<long> latest{0};
  std::atomic<int> children{0};
  std::atomic<bool> over{false};
};

// Holds what a select has won, and checks that nobody else has it; also when a stop destroys it.
struct in_mutex {
  round_t& r;
  skua::scoped_lock l;
  in_mutex(round_t& all, skua::scoped_lock&& won) : r(all), l(std::move(won)) { STRESS_CHECK(++r.inside == 1), ++total.locked; }
  in_mutex(in_mutex const&) = delete;
  ~in_mutex() { STRESS_CHECK(--r.inside == 0); }
};
struct writing {
  round_t& r;
  skua::scoped_exclusive_lock l;
  writing(round_t& all, skua::scoped_exclusive_lock&& won) : r(all), l(std::move(won)) { STRESS_CHECK(r.a++ == r.b); }
  writing(writing const&) = delete;
  ~writing() { STRESS_CHECK(++r.b == r.a); }
};
struct reading {
  round_t& r;
  skua::scoped_shared_lock l;
  reading(round_t& all, skua::scoped_shared_lock&& won) : r(all), l(std::move(won)) { STRESS_CHECK(r.a == r.b); }
  reading(reading const&) = delete;
  ~reading() { STRESS_CHECK(r.a == r.b); }
};
struct permitted {
  round_t& r;
  skua::semaphore_permit p;
  int n;
  permitted(round_t& all, skua::semaphore_permit&& won) : r(all), p(std::move(won)), n(static_cast<int>(p.count())) {
    STRESS_CHECK(r.out.fetch_add(n) + n <= round_t::permits);
  }
  permitted(permitted const&) = delete;
  ~permitted() { r.out -= n; }
};
struct baton {
  round_t& r;
  explicit baton(round_t& all) : r(all) { STRESS_CHECK(r.batons.fetch_add(1) == 0); }
  baton(baton const&) = delete;
  ~baton() {
    --r.batons;
    r.signal.set();
  }
};

// ---------------------------------------------------------------------------------------------- a user

std::chrono::microseconds a_while(rng& g) { return std::chrono::microseconds(g.below(30)); }

struct child_life {   // an argument: it goes with the task
  std::atomic<int>* n;
  explicit child_life(std::atomic<int>& children) : n(&children) { ++*n; }
  child_life(child_life&& o) noexcept : n(std::exchange(o.n, nullptr)) {}
  ~child_life() {
    if (n != nullptr) --*n;
  }
};
task<int> child(skua::oneshot_sender<message> to, ledger& book, std::uint64_t seed, child_life) {
  rng g{seed};
  for (unsigned n = g.below(4); n != 0; --n) co_await skua::this_task::yield();
  message m(book);
  std::size_t const number = m.number();
  book.of[number].may_vanish = true;
  if (auto back = to.send(std::move(m)); !back) std::move(back).value().returned();
  if (g.one_in(3)) co_await skua::sleep_for(a_while(g));
  co_return static_cast<int>(seed % 1000);
}

class user {
public:
  user(round_t& all, control& c, std::uint64_t seed) : r(all), at(c), g{seed} {}
  task<> run() {
    for (unsigned n = 20 + g.below(100); n != 0; --n) {
      if (!joins_ && !reply_ && g.one_in(4)) begin_child();
      co_await one_select();
      if (g.one_in(8)) co_await skua::this_task::yield();
    }
  }

private:
  void begin_child() {
    auto [tx, rx] = skua::oneshot<message>();
    expected_ = g.next();
    child_ = skua::spawn(child, std::move(tx), std::ref(r.book), expected_, child_life(r.children));
    reply_ = std::move(rx);
    joins_ = true;
  }
  void take(std::optional<message> m) {
    if (m) std::move(*m).received();
  }
  auto note(std::size_t number) {
    return [this, number](skua::send_result<message> s) {
      if (s)
        ++r.book.of[number].sent, ++total.sent;
      else
        std::move(s).value().returned();
    };
  }
  void hear(skua::broadcast_message<long> n) {
    STRESS_CHECK(!n.disconnected());
    if (!n) return void(silent_ = true);
    if (heard_ != 0) STRESS_CHECK(*n == heard_ + static_cast<long>(n.missed()) + 1);
    heard_ = *n;
  }

  task<> one_select() {
    std::optional<in_mutex> lock;
    std::optional<writing> writer;
    std::optional<reading> reader;
    std::optional<permitted> permit;
    std::optional<baton> has_it;
    message first(r.book), second(r.book);
    std::size_t const one = first.number(), two = second.number();
    auto some = [this](unsigned n = 3) { return g.one_in(n); };
    point(at);
    ++total.selects;
    bool won = true;
    co_await skua::select(
        on(r.rendezvous.recv(), [this](std::optional<message> m) { take(std::move(m)); }).only_if(some()),
        on(r.bounded.recv(), [this](std::optional<message> m) { take(std::move(m)); }).only_if(some()),
        on(r.unbounded.recv(), [this](std::optional<message> m) { take(std::move(m)); }).only_if(some()),
        on(r.rendezvous.send(std::move(first)), note(one)).only_if(some()), on(r.bounded.send(std::move(second)), note(two)).only_if(some()),
        on(r.m.lock(), [&](skua::scoped_lock l) { lock.emplace(r, std::move(l)); }).only_if(some()),
        on(r.shared.lock(), [&](skua::scoped_exclusive_lock l) { writer.emplace(r, std::move(l)); }).only_if(some(6)),
        on(r.shared.lock_shared(), [&](skua::scoped_shared_lock l) { reader.emplace(r, std::move(l)); }).only_if(some()),
        on(r.semaphore.acquire(1 + g.below(round_t::permits)), [&](skua::semaphore_permit p) { permit.emplace(r, std::move(p)); }).only_if(some()),
        on(r.signal.wait(), [&] { has_it.emplace(r); }).only_if(some()), on(r.gate.wait(), [] {}).only_if(some(6)),
        on(r.latch.wait(), [] {}).only_if(some(12)),
        on(child_, [this](int n) {
          STRESS_CHECK(n == static_cast<int>(expected_ % 1000));
          joins_ = false;
          ++total.joined;
        }).only_if(joins_),
        on(reply_.recv(), [this](std::optional<message> m) { take(std::move(m)); }).only_if(static_cast<bool>(reply_)),
        on(news_.recv(), [this](skua::broadcast_message<long> n) { hear(std::move(n)); }).only_if(!silent_ && some()),
        on(latest_.changed(), [this](bool) {
          long const now = latest_.get();
          STRESS_CHECK(now >= seen_);
          seen_ = now;
        }).only_if(some(6)),
        on(skua::stopping, [] {}).only_if(some(12)), on(skua::sleep_for(a_while(g)), [&] { won = false; }));
    total.won += won;
    point(at);
    if (lock || writer || reader || permit || has_it) {
      if (some(2))
        co_await skua::this_task::yield();
      else if (some(2))
        co_await skua::sleep_for(a_while(g));
      point(at);
    }
  }

  round_t& r;
  control& at;
  rng g;
  skua::join_handle<int> child_;
  bool joins_ = false, silent_ = false;
  std::uint64_t expected_ = 0;
  skua::oneshot_receiver<message> reply_;
  skua::broadcast_receiver<long> news_ = r.news.subscribe();
  skua::watch_receiver<long> latest_ = r.latest.subscribe();
  long heard_ = 0, seen_ = 0;
};

// Makes things happen until the round is over; is not stopped.
task<> feeder(round_t& r, std::uint64_t seed) {
  rng g{seed};
  long news = 0, latest = 0;
  bool closes = g.one_in(3);
  for (unsigned n = 0; !r.over; ++n) {
    switch (g.below(8)) {
    case 0:
      if (!co_await r.news.send(++news)) --news;
      break;
    case 1: r.latest.set(++latest); break;
    case 2: g.one_in(2) ? r.gate.set() : r.gate.reset(); break;
    case 3: {
      if (r.book.made > most_messages / 2) break;
      message m(r.book);
      std::size_t const number = m.number();
      if (auto back = r.unbounded.send(std::move(m)))
        ++r.book.of[number].sent;
      else
        std::move(back).value().returned();
      break;
    }
    case 4:
      if (closes && g.one_in(40)) r.rendezvous.close();
      if (closes && g.one_in(40)) r.bounded.close();
      if (closes && g.one_in(40)) r.unbounded.close();
      break;
    case 5: co_await skua::sleep_for(a_while(g)); break;
    default: co_await skua::this_task::yield();
    }
    if (n == 200) r.latch.count_down();
  }
  if (!r.latch.try_wait()) r.latch.count_down();
}

// ---------------------------------------------------------------------------------------------- rounds

constexpr std::size_t most_users = 8;

void check_end(round_t& r) {
  STRESS_CHECK(r.inside == 0 && static_cast<bool>(r.m.try_lock()));
  STRESS_CHECK(r.a == r.b && static_cast<bool>(r.shared.try_lock()));
  STRESS_CHECK(r.out == 0 && r.semaphore.available() == round_t::permits);
  STRESS_CHECK(r.batons == 0 && r.signal.try_wait());
  for (auto* ch : {&r.rendezvous, &r.bounded})
    while (auto m = ch->try_recv()) std::move(*m).received();
  while (auto m = r.unbounded.try_recv()) std::move(*m).received();
  for (std::size_t i = 0, n = r.book.made; i != n; ++i) {
    fate const& f = r.book.of[i];
    STRESS_CHECK(f.received + f.returned + f.destroyed == 1);
    STRESS_CHECK(f.may_vanish || f.sent == f.received);
  }
}

task<> play(control* controls, skua::join_handle<>* handles, std::uint64_t seed) {
  rng g{seed};
  auto r = std::make_unique<round_t>();
  std::size_t const users = 2 + g.below(most_users - 1);
  bool const stops = !g.one_in(4);
  skua::event start;
  for (std::size_t i = 0; i != users; ++i) {
    controls[i].countdown = stops ? 1 + static_cast<int>(g.below(200)) : 1 << 30;
    controls[i].by_thread = g.one_in(2);
    handles[i] = skua::spawn([](round_t& all, skua::event& go, control& c, std::uint64_t s) -> task<> {
      co_await go.wait();
      user u(all, c, s);
      co_await u.run();
    }, std::ref(*r), std::ref(start), std::ref(controls[i]), g.next());
    controls[i].target = &handles[i];
  }
  auto feeds = skua::spawn(feeder, std::ref(*r), g.next());
  start.set();
  for (std::size_t i = 0; i != users; ++i) {
    try {
      co_await handles[i];
      ++total.finished;
    } catch (skua::task_stopped const&) {
      ++total.stopped;
    }
    while (controls[i].asked) co_await skua::this_task::yield();
  }
  r->over = true;
  co_await feeds;
  while (r->children != 0) co_await skua::this_task::yield();   // those that nobody has joined
  check_end(*r);
  r.reset();
}

} // namespace

int main(int argc, char** argv) {
  stress_options const o(argc, argv);
  std::uint64_t rounds = 0;
  {
    requester q;
    outside = &q;
    skua::runtime rt({.workers = o.workers, .backend = o.backend});
    for (; o.go_on(rounds); ++rounds) {
      std::uint64_t const seed = o.seed + rounds;
      seed_of_round = seed;
      std::array<control, most_users> controls;
      std::array<skua::join_handle<>, most_users> handles;
      auto h = rt.spawn(play, controls.data(), handles.data(), seed);
      await_round(rt, std::move(h));
    }
  }
  check_nothing_is_left();
  auto const n = [](std::atomic<std::uint64_t> const& a) { return static_cast<unsigned long long>(a.load()); };
  std::printf("ok: %llu rounds: %llu selects, %llu won by something else than the timer; %llu messages, %llu locks, %llu joins; "
              "%llu tasks stopped, %llu finished\n",
              static_cast<unsigned long long>(rounds), n(total.selects), n(total.won), n(total.sent), n(total.locked), n(total.joined), n(total.stopped),
              n(total.finished));
  return 0;
}
