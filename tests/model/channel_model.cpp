// SPDX-License-Identifier: Apache-2.0
// runs: random 500000
// Three tasks, some of which receive until the end, and the others send two messages each; room for none, one or two. The first task may be stopped while it
// waits, the last one be a select with a rival. A fourth, which does not wait, has a handle that can do both, and may clone it, try to send, try to receive,
// and close early. Whoever drops the last handle frees the channel, while others may still be on their way out.
// Checked: INV-CHAN-1 (each message is received once, or is its sender's again, or was discarded when the last receiver had gone), INV-CHAN-2 (messages leave
// in the order in which their sends began to wait or ended; nobody is overtaken), INV-CHAN-3 and 4, no message is destroyed with the lock, and what
// waiting_tasks.hpp says. close() wakes one at a time. The buffer is the one that ships; what guards its fields is the channel's lock.
#include "waiting_tasks.hpp"
#include "skua/detail/channel_buffer.hpp"
#include "skua/detail/channel_core.hpp"

namespace {

using skua::send_status;

constexpr unsigned nobody = ~0u;
unsigned holder = nobody;   // of the lock
int messages = 0;           // that there are

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
struct cell {
  relacy_sync::var<int> n;   // the message; 0: none, or moved from
  explicit cell(int i) : n(i) { messages += i != 0; }
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
using receiving = skua::detail::receiving<cell>;
using sending = skua::detail::sending<cell>;
struct ends {
  receiving in;
  sending out{cell(0)};
};

struct model : waiting_tasks<model, ends, 3, 5> {
  struct waiting : model_waiting {
    using lock = watched_lock;
    static constexpr unsigned closes_at_once = 1;
    static frame_t& of(links& w) { return static_cast<frame_t&>(w); }
    static model& in(links& w) { return static_cast<model&>(*of(w).of); }
    static void* slot(links& w) {
      return in(w).sends[of(w).index] ? static_cast<void*>(&of(w).out) : &of(w).in;
    }
    static void wake(links& w) { in(w).waiting_tasks::wake(w); }
    static void free(skua::detail::channel_base_of<waiting>& c) { the_model->free(c); }
  };
  using core_t = skua::detail::channel_core<waiting, skua::detail::ring_buffer<cell>>;
  static inline model* the_model;
  static constexpr int others = 7;   // message of the fourth; those of task i are 2 i + 1 and 2 i + 2
  mortal<core_t> channel;
  bool sends[tasks] = {}, stop_comes = false, rival_comes = false, clones = false, tries_to_send = false, tries_to_receive = false, closes = false;
  bool whole = false;                        // the fourth's operations are whole ones: nobody knows when they were
  int sending_now[tasks] = {};               // what a sender is at
  int place[others + 1] = {}, places = 0;    // of a message: in the order in which sends began to wait or ended; 0: it was not sent
  int last_to_leave = 0;
  bool was_sent[others + 1] = {}, was_received[others + 1] = {};
  int senders = 0, receivers = 0;            // handles that nobody has begun to drop
  int receiving_ends = 0;                    // those of receivers that are not gone
  bool handed_over = false, an_end = false, closing = false, freed = false;

  void before() {
    the_model = this;
    holder = nobody;
    messages = 0;
    bool const selects = rl::rand(2);
    make_tasks(selects);
    unsigned const who_sends = 1 + rl::rand(6);   // neither none nor all
    stop_comes = rl::rand(2);
    rival_comes = selects && rl::rand(2);
    clones = one_in(4);
    tries_to_send = one_in(2);
    tries_to_receive = one_in(2);
    closes = one_in(4);
    whole = one_in(2);
    channel.make(std::size_t{rl::rand(3)});
    add(true, true);   // the fourth's
    for (int i = 0; i < tasks; ++i) {
      sends[i] = (who_sends >> i & 1) != 0;
      line[i] = sends[i];
      sending_now[i] = 2 * i + 1;
      add(sends[i], !sends[i]);
    }
  }

  // ---- handles
  void add(bool sender, bool receiver) {
    senders += sender;
    receivers += receiver;
    if (sender) channel->add_sender();
    if (!receiver) return;
    ++receiving_ends;
    channel->add_receiver();
  }
  void drop(bool sender, bool receiver) {
    closing = closing || (sender && senders == 1) || (receiver && receivers == 1);
    senders -= sender;
    receivers -= receiver;
    if (receiver) {
      channel->drop_receiver();
      --receiving_ends;
    }
    if (sender && receiving_ends == 0) {   // so it still has a handle
      skua::detail::locked_scope const g(channel->lock_);
      RL_ASSERT(channel->buffer_.empty());
    }
    if (sender) channel->drop_sender();
  }
  void free(skua::detail::channel_base_of<waiting>& c) {
    RL_ASSERT(!freed && &c == &channel.get() && messages == 0);
    RL_ASSERT(c.closed_);   // a race, if what the others did is not seen
    freed = true;
    channel.destroy();
  }

  // ---- with the lock: who is given what
  void took(int i) {
    bool const something = sends[i] ? frame[i]->out.status == send_status::sent : frame[i]->in.message.has_value();
    if (something) waiting_tasks::took(i);   // those who wait may not have been told of a close yet
  }
  void granted(int i) { handed_over = handed_over || !sends[i]; }
  void leaves(int message) {
    RL_ASSERT(whole || place[message] > last_to_leave);
    last_to_leave = place[message];
  }
  send_status send_locked(cell& m, skua::detail::basic_taken_waiter<waiting>& taken) {
    int const number = m.n;
    handed_over = false;
    send_status const s = channel->send_locked(m, taken);
    if (s == send_status::sent || (s == send_status::full && number != others)) place[number] = ++places;   // it has ended, or will wait
    if (s == send_status::sent) was_sent[number] = true;
    if (s == send_status::sent && handed_over) leaves(number);
    return s;
  }
  bool receive_locked(std::optional<cell>& m, skua::detail::basic_taken_waiter<waiting>& taken) {
    bool const done = channel->receive_locked(m, taken);
    if (m) leaves(m->n);
    return done;
  }
  // False: it was the end.
  bool received(std::optional<cell>& m) {
    if (!m) {
      RL_ASSERT(closing);
      an_end = true;
      return false;
    }
    int const number = m->n;
    RL_ASSERT(number != 0 && !was_received[number]);
    was_received[number] = true;
    return true;
  }

  // ---- the tasks
  void wait(int i) { return sends[i] ? send(i) : receive(i); }
  void receive(int i) {
    if (!begin(i)) return;
    skua::detail::basic_taken_waiter<waiting> taken;
    if (!take_or_wait(i, channel->lock_, channel->receivers_, [&] { return receive_locked(frame[i]->in.message, taken); })) return suspend(i);
    taken.wake();
    went_through(i);
  }
  void send(int i) {
    if (!begin(i)) return;
    sending& out = frame[i]->out;
    out.message.fill(sending_now[i]);
    skua::detail::basic_taken_waiter<waiting> taken;
    bool const done = take_or_wait(i, channel->lock_, channel->senders_, [&] {
      send_status const s = send_locked(out.message, taken);
      if (s != send_status::full) out.status = s;
      return s != send_status::full;
    });
    if (!done) return suspend(i);
    taken.wake();
    went_through(i);
  }
  void got(int i) {
    bool more;
    if (sends[i]) {
      int const number = sending_now[i];
      more = frame[i]->out.status == send_status::sent;
      RL_ASSERT(more ? frame[i]->out.message.n == 0 : closing && frame[i]->out.message.n == number && !was_sent[number]);
      was_sent[number] = more;
      more = more && number % 2 != 0;
      leave(i);
      if (more) ++sending_now[i];
    } else {
      more = received(frame[i]->in.message);
      leave(i);
    }
    if (more) {
      --through[i];
      make_frame(i);
      return wait(i);
    }
    drop(sends[i], !sends[i]);
    left();
  }
  void gave_up(int i) {
    RL_ASSERT(!sends[i] || !was_sent[sending_now[i]]);
    drop(sends[i], !sends[i]);
  }
  bool withdraw(int i) {
    queue[i] = 0;
    return channel->withdraw(sends[i] ? channel->senders_ : channel->receivers_, frame[i].get());
  }

  // ---- the fourth
  void try_to_send() {
    cell m(others);
    if (whole) {
      was_sent[others] = channel->try_send(m) == send_status::sent;
      return;
    }
    skua::detail::basic_taken_waiter<waiting> taken;
    {
      skua::detail::locked_scope const g(channel->lock_);
      (void)send_locked(m, taken);
    }
    taken.wake();
  }
  void try_to_receive() {
    std::optional<cell> m;
    if (whole) {
      if (channel->try_receive(m)) (void)received(m);
      return;
    }
    skua::detail::basic_taken_waiter<waiting> taken;
    bool done;
    {
      skua::detail::locked_scope const g(channel->lock_);
      done = receive_locked(m, taken);
    }
    taken.wake();
    if (done) (void)received(m);
  }
  void come_and_go() {
    if (clones) {
      add(true, true);
      drop(true, true);
    }
    if (tries_to_send) try_to_send();
    if (tries_to_receive) try_to_receive();
    if (closes) {
      closing = true;
      channel->close();
    }
    drop(true, true);
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
    for (int m = 1; m <= others; ++m) {
      RL_ASSERT(!was_received[m] || was_sent[m]);
      RL_ASSERT(was_received[m] || !was_sent[m] || !an_end);   // the end comes behind everything
    }
  }
};

} // namespace

int main(int argc, char** argv) { return simulate<model>(argc, argv); }
