// SPDX-License-Identifier: Apache-2.0
// runs: random 300000, bound2
// A reader that reads a connection to its end, or two bytes of it, a thread that harvests events for it, another task that writes once, a task that closes
// it, one that shuts it for reading, and a stop request, with the operation's own protocol around it. Whoever wakes the reader runs it. When the number is
// released, another descriptor moves in, and somebody waits for it; late events of the first one must not reach it.
// Checked: INV-DESC-1 to 4: the reader ends exactly once; it sees every byte and the end, unless it was closed or stopped: no edge is lost; the
// number is released once, and not used afterwards; an old event, or shutting, changes nothing. Shut, it ends in any case.
#include "relacy_sync.hpp"
#include "io/descriptor_core.hpp"

namespace {

using core = skua::detail::stop_core<relacy_sync>;
using descriptor = skua::detail::descriptor_core<relacy_sync>;
using skua::detail::direction;
constexpr direction reading = direction::read, writing = direction::write;

struct frame_t : core::operation {
  relacy_sync::var<int> local{0};
};

struct model : rl::test_suite<model, 4> {
  static constexpr int first_number = 7, next_number = 8;

  descriptor d;
  mortal<frame_t> frame, next_frame;
  mortal<core::record> home;
  relacy_sync::var<int> number{0};
  static constexpr int fin = 16;
  relacy_sync::atomic<int> socket{0};   // the kernel's: bytes to be read, and whether the peer has sent its end

  bool two_bytes = false, two_events = false, stops = false, shuts = false;
  enum { nobody, writer, third } closer = nobody;
  int received = 0;   // by the reader, whoever runs it
  int ended = 0, cancelled = 0, unwound = 0, released = 0;

  void before() {
    number = first_number;
    d.renew();
    frame.make();
    next_frame.make();
    home.make();
    socket.store(0);
    two_bytes = rl::rand(2) != 0;
    two_events = rl::rand(2) != 0;
    unsigned const who = rl::rand(6);
    stops = who == 0;
    closer = who == 1 || who == 4 ? writer : who == 2 ? third : nobody;
    shuts = who >= 4;
  }

  // ------------------------------------------------------------------------------------------------ the number

  void release_number() {
    RL_ASSERT(++released == 1);
    RL_ASSERT(static_cast<int>(number) == first_number);
    number = next_number;   // a race with whoever still uses the old one
    d.renew();
    descriptor::word seen;
    RL_ASSERT(d.claim(reading, 2, seen) == descriptor::claimed::yes);
    RL_ASSERT(d.wait(reading, seen, next_frame.get()) == descriptor::waiting::published);
  }
  void give_up(direction dir, descriptor::word seen, descriptor::transfer last) {
    if (d.finish(dir, seen, last) == descriptor::duty::release) release_number();
  }

  // ------------------------------------------------------------------------------------------------ the reader

  enum class outcome { some, end, would_block };
  outcome receive() {
    RL_ASSERT(static_cast<int>(number) == first_number);
    int const had = socket.fetch_and(fin);
    if (had & ~fin) return received += had & ~fin, outcome::some;
    return had & fin ? outcome::end : outcome::would_block;
  }

  // INV-DESC-1. `seen`, `claimed`: the state of the read that is under way.
  descriptor::word seen = 0;
  void end(int& how, descriptor::transfer last) {
    frame->local = frame->local + 1;
    give_up(reading, seen, last);
    frame->home = nullptr;
    frame.destroy();
    RL_ASSERT(++how == 1 && ended + cancelled + unwound == 1);
  }
  void read_on(bool claimed, bool woken) {
    frame->local = 1;
    for (;;) {
      if (woken) {
        seen = d.look();
        if (seen & descriptor::closed) return end(cancelled, descriptor::transfer::full);
      } else if (!claimed && d.claim(reading, 1, seen) != descriptor::claimed::yes) {
        frame.destroy();   // closed before it began
        RL_ASSERT(++cancelled == 1 && ended + unwound == 0);
        return;
      }
      claimed = true;
      woken = false;
      outcome o = descriptor::worth_trying(seen, reading) ? receive() : outcome::would_block;
      if (o == outcome::end || (o == outcome::would_block && (seen & descriptor::shut))) return end(ended, descriptor::transfer::full);
      if (o == outcome::some) {   // a short read: one operation has ended, the next begins
        if (two_bytes && received == 2) return end(ended, descriptor::transfer::partial);
        give_up(reading, seen, descriptor::transfer::partial);
        claimed = false;
        continue;
      }
      frame->home = &home.get();
      switch (d.wait(reading, seen, frame.get())) {
      case descriptor::waiting::closed: return end(cancelled, descriptor::transfer::blocked);
      case descriptor::waiting::again: woken = true; continue;
      case descriptor::waiting::published: break;
      }
      switch (core::arm(frame.get())) {
      case core::armed::suspended: return;
      case core::armed::completed: woken = true; continue;
      case core::armed::stopped:
        if (d.withdraw(reading)) return end(unwound, descriptor::transfer::full);
        if (core::give_way_arming(frame.get()) == core::armed::suspended) return;
        woken = true;
      }
    }
  }

  // ------------------------------------------------------------------------------------------------ the others

  void complete(descriptor::operation* o) {
    if (o == nullptr) return;
    RL_ASSERT(o == &frame.get());   // INV-DESC-4
    if (core::complete(*o)) read_on(true, true);
  }
  void event(descriptor::word bits) {
    auto const t = d.event(1, bits);
    RL_ASSERT(t.writer == nullptr);
    complete(t.reader);
  }
  void harvest() {
    constexpr descriptor::word readable = descriptor::ready(reading), at_end = readable | descriptor::end(reading);
    socket.fetch_add(1);
    if (two_events) event(readable);
    if (two_bytes)
      socket.fetch_add(1);
    else
      socket.fetch_or(fin);
    event(two_bytes ? readable : at_end);
  }
  void write() {
    descriptor::word s;
    if (d.claim(writing, 1, s) != descriptor::claimed::yes) return;
    RL_ASSERT(static_cast<int>(number) == first_number);
    give_up(writing, s, descriptor::transfer::full);
  }
  void close() {
    auto const t = d.close();
    if (t.then == descriptor::duty::release) return release_number();
    complete(t.reader);
  }
  struct sink {
    model& m;
    void stopping(core::operation& o) {   // the requester's thread plays the worker as well
      switch (core::dispatch_stopping(o, [this] { return m.d.withdraw(reading); })) {
      case core::armed::completed: return m.read_on(true, true);
      case core::armed::stopped: return m.end(m.unwound, descriptor::transfer::full);
      case core::armed::suspended: return;
      }
    }
    void ended(core::scope&) { RL_ASSERT(false); }
    void more(core::record&) { RL_ASSERT(false); }
  };

  void thread(unsigned t) {
    if (t == 0) return read_on(false, false);
    if (t == 1) return harvest();
    if (t == 2) {
      write();
      if (closer == writer) close();
      return;
    }
    if (closer == third) return close();
    if (shuts) return event(descriptor::ready(reading) | descriptor::end(reading) | descriptor::shut);
    if (!stops) return;
    sink s{*this};
    core::request(home.get(), s);
  }

  void after() {
    RL_ASSERT(ended + cancelled + unwound == 1);   // INV-DESC-2: it does not wait for ever
    RL_ASSERT(closer != nobody || cancelled == 0);
    RL_ASSERT(stops || unwound == 0);
    RL_ASSERT(released == (closer != nobody ? 1 : 0));   // INV-DESC-3
    if (ended != 0 && !shuts) RL_ASSERT(received == (two_bytes ? 2 : 1));
    if (released != 0) {
      RL_ASSERT(d.withdraw(reading));   // INV-DESC-4: nobody has woken the next one
      RL_ASSERT(d.generation() == 2 && !(d.look() & descriptor::shut));
    }
    next_frame.destroy();
    home.destroy();
  }
};

} // namespace

int main(int argc, char** argv) { return simulate<model>(argc, argv); }
