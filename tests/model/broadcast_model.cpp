// SPDX-License-Identifier: Apache-2.0
// runs: random 500000
// Three tasks, some of which receive until the end, and the others send two messages each; room for one message or two; any of the three policies. The first
// task may be stopped while it waits, the last one be a select with a rival. A fourth, which does not wait, has a sender's handle, and may clone it, try to
// send, subscribe for a while, and close early. Whoever drops the last handle frees everything, while others may still be on their way out.
// Checked against the order in which messages were let in: INV-BCAST-1 to 4. A subscriber gets all from its subscription on, without a gap or with one that it
// is told of (drop_oldest), up to the end or until it was `capacity` behind (disconnect); a stopped receive has read nothing, and a stopped send has sent
// nothing; senders that wait are let in first come, first served (who sends while nobody has subscribed reaches nobody, and passes them by); no message is
// destroyed with the lock, or kept when everybody has read it (but by a disconnect); INV-HANDLE-1 and 2; and what waiting_tasks.hpp says.
// One lock guards the whole core, so this searches who comes first, not memory orders.
#include "waiting_tasks.hpp"
#include "skua/detail/broadcast_core.hpp"
#include "skua/detail/handle_counts.hpp"

namespace {

using skua::send_status, skua::slow_receiver;

constexpr unsigned nobody = ~0u;
unsigned holder = nobody;   // of the lock
int messages = 0;           // that there are, copies and all

struct watched_lock : skua::detail::spin_lock<relacy_sync> {
  void lock() {
    spin_lock::lock();
    holder = relacy_detail::thread_index();
  }
  void unlock() {
    holder = nobody;
    spin_lock::unlock();
  }
};
struct waiting : model_waiting {
  using lock = watched_lock;
};
struct cell {
  relacy_sync::var<int> n;   // the message; 0: none, or moved from
  explicit cell(int i) : n(i) { messages += i != 0; }
  cell(cell const& o) : cell(static_cast<int>(o.n)) {}
  cell(cell&& o) : n(static_cast<int>(o.n)) { o.n = 0; }
  ~cell() {
    if (n == 0) return;
    RL_ASSERT(holder != relacy_detail::thread_index());   // its end may do anything
    --messages;
  }
  void fill(int i) {
    n = i;
    ++messages;
  }
};
using receiving = skua::detail::broadcast_received<relacy_sync, cell>;
struct ends {
  receiving in{nullptr};
  skua::detail::broadcast_sent<cell> out{cell(0)};
};

struct model : waiting_tasks<model, ends, 3, 5> {
  struct ends_of {
    static receiving& receiver(links& w) { return static_cast<frame_t&>(w).in; }
    static auto& sender(links& w) { return static_cast<frame_t&>(w).out; }
  };
  using core_t = skua::detail::broadcast_core<waiting, cell, ends_of>;
  struct state_t {
    core_t core;
    skua::detail::handle_counts<relacy_sync> handles;
    state_t(std::size_t capacity, slow_receiver how) : core(capacity, how) {}
  };
  struct subscriber {
    mortal<core_t::subscription> cursor;
    int from = 0, to = 0;   // the place that comes next for it is one of these, known when it has got something
  };
  static constexpr int others = 7;   // message of the fourth; those of task i are 2 i + 1 and 2 i + 2
  mortal<state_t> state;
  subscriber subscribers[tasks + 1];
  int capacity = 1;
  slow_receiver how = slow_receiver::wait;
  bool sends[tasks] = {}, stop_comes = false, rival_comes = false, clones = false, tries = false, subscribes = false, closes = false;
  int sending[tasks] = {};               // what a sender is at
  int place[others + 1] = {}, sent = 0;  // of a message that was let in, from 1; how many were
  bool for_nobody[others + 1] = {};
  unsigned closer = nobody;
  bool closing = false, closed = false, freed = false;

  void before() {
    holder = nobody;
    messages = 0;
    bool const selects = rl::rand(2);
    make_tasks(selects);
    capacity = 1 + static_cast<int>(rl::rand(2));
    how = static_cast<slow_receiver>(rl::rand(3));
    unsigned const senders = 1 + rl::rand(6);   // neither none nor all
    stop_comes = rl::rand(2);
    rival_comes = selects && rl::rand(2);
    clones = one_in(4);
    tries = one_in(2);
    subscribes = one_in(2);
    closes = one_in(4);
    state.make(static_cast<std::size_t>(capacity), how);
    state->handles.add_sender();   // the fourth's
    for (int i = 0; i < tasks; ++i) {
      sends[i] = (senders >> i & 1) != 0;
      line[i] = sends[i] ? 0 : i + 1;   // receivers do not get in each other's way
      sending[i] = 2 * i + 1;
      if (sends[i])
        state->handles.add_sender();
      else
        subscribe(subscribers[i]);
    }
  }

  // ---- handles
  void subscribe(subscriber& s) {
    s.from = sent;
    state->handles.add();
    state->core.subscribe(s.cursor.make());
    s.to = sent;
  }
  void unsubscribe(subscriber& s) {
    state->core.unsubscribe(s.cursor.get(), [this](ring&& woken) { wake(static_cast<ring&&>(woken)); });
    s.cursor.destroy();
    drop();
  }
  void drop() {
    if (!state->handles.drop()) return;
    RL_ASSERT(!freed && (messages == 0 || how == slow_receiver::disconnect));
    cell late(others);
    std::optional<cell> dropped;
    ring woken;
    RL_ASSERT(state->core.send_locked(late, dropped, woken) == send_status::closed);   // a race, if what the others did is not seen
    freed = true;
    state.destroy();
  }
  void close() {
    ring woken;
    closing = true;
    closer = relacy_detail::thread_index();
    state->core.close(woken);
    closer = nobody;
    closed = true;
    wake(static_cast<ring&&>(woken));
  }
  void drop_sender() {
    if (state->handles.drop_sender()) close();
    drop();
  }

  // ---- what was let in, and what arrived. `admit`: under the lock.
  void admit(int message) {
    RL_ASSERT(!closed && place[message] == 0);
    place[message] = ++sent;
  }
  void pass_by(int message) {   // those who wait
    for (int i = 0; i < tasks; ++i)
      if (sends[i] && queue[i] != 0) for_nobody[message] = true;
  }
  void granted(int i) {
    if (sends[i] && holder != closer) admit(sending[i]);
  }
  void took(int i) {
    if (sends[i] && frame[i]->out.status == send_status::sent) pass_by(sending[i]);
  }
  // False: it was the end.
  bool arrived(subscriber& s, receiving& in) {
    RL_ASSERT(!s.cursor->waits);
    int const missed = static_cast<int>(in.missed);
    if (!in.message) {
      RL_ASSERT(missed == 0);
      if (in.disconnected)
        RL_ASSERT(how == slow_receiver::disconnect && sent > s.from + capacity);
      else
        RL_ASSERT(closing && s.from <= sent && sent <= s.to);
      return false;
    }
    int const m = in.message->n;
    RL_ASSERT(m != 0 && place[m] != 0 && !for_nobody[m] && !in.disconnected);
    int const next = place[m] - 1 - missed;
    RL_ASSERT(s.from <= next && next <= s.to);
    RL_ASSERT(missed == 0 || (how == slow_receiver::drop_oldest && sent >= place[m] - 1 + capacity));
    s.from = s.to = place[m];
    return true;
  }
  void read_without_waiting(subscriber& s, int most) {
    for (bool more = true; more && most != 0; --most) {
      receiving in{&s.cursor.get()};
      ring woken;
      {
        skua::detail::locked_scope const g(state->core.lock());
        more = state->core.receive_locked(in, woken);
      }
      wake(static_cast<ring&&>(woken));
      more = more && arrived(s, in);
    }
  }
  send_status send_now(cell& m, std::optional<cell>& dropped, ring& woken) {   // with the lock
    int const number = m.n;
    send_status const s = state->core.send_locked(m, dropped, woken);
    RL_ASSERT(s != send_status::full || how == slow_receiver::wait);
    RL_ASSERT(s != send_status::closed || closing);
    if (s == send_status::sent) admit(number);
    return s;
  }

  // ---- the tasks
  void wait(int i) { return sends[i] ? send(i) : receive(i); }
  void receive(int i) {
    if (!begin(i)) return;
    receiving& in = frame[i]->in;
    in.by = &subscribers[i].cursor.get();
    struct into {
      core_t& core;
      receiving& in;
      void push_back(links& w) {
        core.enlist_receiver_locked(w);
        RL_ASSERT(in.by->waits);
      }
    } list{state->core, in};
    ring woken;
    if (!take_or_wait(i, state->core.lock(), list, [&] { return state->core.receive_locked(in, woken); })) return suspend(i);
    wake(static_cast<ring&&>(woken));
    went_through(i);
  }
  void send(int i) {
    if (!begin(i)) return;
    auto& out = frame[i]->out;
    out.message.fill(sending[i]);
    struct into {
      core_t& core;
      void push_back(links& w) { core.enlist_sender_locked(w); }
    } list{state->core};
    bool done;
    {
      std::optional<cell> dropped;
      ring woken;
      done = take_or_wait(i, state->core.lock(), list, [&] { return (out.status = send_now(out.message, dropped, woken)) != send_status::full; });
      wake(static_cast<ring&&>(woken));
    }
    return done ? went_through(i) : suspend(i);
  }
  void got(int i) {
    bool more;
    if (sends[i]) {
      bool const in = frame[i]->out.status == send_status::sent;
      RL_ASSERT(in == (place[sending[i]] != 0) && (in || (closing && frame[i]->out.message.n == sending[i])));
      more = in && sending[i] % 2 != 0;
      leave(i);
      if (more) ++sending[i];
    } else {
      more = arrived(subscribers[i], frame[i]->in);
      leave(i);
    }
    if (more) {
      --through[i];
      make_frame(i);
      return wait(i);
    }
    sends[i] ? drop_sender() : unsubscribe(subscribers[i]);
    left();
  }
  void gave_up(int i) {
    if (sends[i]) {
      RL_ASSERT(place[sending[i]] == 0);
      return drop_sender();
    }
    RL_ASSERT(!subscribers[i].cursor->waits);
    read_without_waiting(subscribers[i], 2);
    unsubscribe(subscribers[i]);
  }
  bool withdraw(int i) {
    queue[i] = 0;
    return sends[i] ? state->core.withdraw_sender(frame[i].get()) : state->core.withdraw_receiver(frame[i].get());
  }

  // ---- the fourth
  void try_to_send() {
    cell m(others);
    std::optional<cell> dropped;
    ring woken;
    {
      skua::detail::locked_scope const g(state->core.lock());
      if (send_now(m, dropped, woken) == send_status::sent) pass_by(others);
    }
    wake(static_cast<ring&&>(woken));
  }
  void come_and_go() {
    subscriber& mine = subscribers[tasks];
    if (clones) {
      state->handles.add_sender();
      drop_sender();
    }
    if (subscribes) subscribe(mine);
    if (tries) try_to_send();
    if (subscribes) {
      read_without_waiting(mine, static_cast<int>(rl::rand(2)));
      unsubscribe(mine);
    }
    if (closes) close();
    drop_sender();
  }

  void thread(unsigned t) {
    if (t < tasks) return wait(static_cast<int>(t));
    if (t == tasks) return come_and_go();
    if (stop_comes) stop_first();
    if (rival_comes) come_as_rival();
  }
  void after() {
    end_tasks();
    RL_ASSERT(freed && messages == 0);
  }
};

} // namespace

int main(int argc, char** argv) { return simulate<model>(argc, argv); }
