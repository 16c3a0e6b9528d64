// SPDX-License-Identifier: Apache-2.0
// What a task group knows of its tasks, and every transition on it. skua/task_group.hpp explains; tests/model/group_model.cpp checks this code.
//
// A group is a join of one branch, its body, with any number of further parties (as the timer is one of a timeout): its tasks, which come and go, and
// errands (errand.hpp) that are under way. The body's branch is stopped by the scope's own protocol (stop_core.hpp). The tasks are no branches of the scope:
// records only come, and a group may see millions of tasks. They are told of a stop one by one, on a worker, by whoever tells (below).
//
// Everything is guarded by one lock; sections are short, and call nothing but what tell() is given.
//
//   parties    1 (the body) + tasks that have joined and not left + errands.  0: ended
//   live       tasks that have joined and not left
//   running    those of them that were started: at most `limit`
//   stopping   set once; from then on nobody joins, and what waits is started regardless of the limit (it was told, and goes to its first checkpoint)
//   untold     list of the tasks that have not heard of the stop          told: the others, once it is stopping
//   waiting    queue of the tasks that are not started yet; a task in it is in `untold` or `told` as well
//   want_end   operations that wait for all tasks to end (join)           want_room: for a place below the limit (room)
//   coming     of those that waited for room: taken out of the list, and not running yet      passing: an errand is under way that looks for room again
//
//   from                      to                                who
//   not stopping              +1 party, live; untold            join: a party
//   not stopping              stopping                          begin_stop: the walker that is inside the scope above, a party, or the owner of a handle of it
//   stopping                  untold -> told                    tell: a party; the task's header is touched under the lock only
//   any                       in no list                        forget: the task itself, before its header may go
//   any                       -1 party, live                    leave: its worker, when nothing of it is left, or only what its handle keeps
//   stopping                  +1 party                          add_errand: a party that has not told all, for the rest
//   any                       -1 party                          arrive: the body, an errand
//   coming                    -1; passing, +1 party             came: who waited for room goes on; there is room behind him, and others wait
//   passing                   not passing, -1 party             pass: that errand, when he has had the time to spawn: if he did not, the next one comes
//
// INV-GROUP-1  Exactly one party brings `parties` to 0, and it is the last to touch the group: it goes on with the parent.
// INV-GROUP-2  Every task that has joined hears of the stop exactly once, or is forgotten before: both happen under the lock that tell() holds, and nobody
//              joins once `stopping` is set.
// INV-GROUP-3  tell() touches no task that was forgotten.
// INV-GROUP-4  A sleeper is completed exactly once, by whoever takes it out of the list; or its stop takes it out (withdraw).
// INV-GROUP-5  An errand is counted before it is queued; begin_stop() from outside counts one only while somebody else is a party, so it cannot
//              revive a group that has ended.
// INV-GROUP-6  Whenever the lock is free and the group is not stopping: if there is room and somebody waits for it, somebody is coming or an errand is passing.
//              Who was woken need not spawn, so a place is not his: without that, those behind him would sleep until the next task leaves.
#pragma once
#include "spin_lock.hpp"
#include "sync.hpp"
#include <cstddef>
#include <cstdint>
#include <mutex>

namespace skua::detail {

template <class Sync>
class group_core {
public:
  template <class T>
  using var = typename Sync::template var<T>;

  struct links {
    var<links*> next{nullptr}, previous{nullptr};   // null: in no list
  };
  // One task, in its block.
  struct member : links {
    var<member*> behind{nullptr};   // in `waiting`
  };
  // An operation that waits; in the frame that awaits it.
  struct sleeper {
    var<sleeper*> behind{nullptr};
    var<bool> for_room{false}, listed{false};
  };

  // Before anybody else knows of the group.
  void open(std::size_t limit) noexcept {
    limit_ = limit;
    parties_ = 1;
    untold_.next = untold_.previous = &untold_;
    told_.next = told_.previous = &told_;
  }

  enum class joined : unsigned char { start, wait, refused };
  // A party, for a task that is not known to anybody. start: the caller starts it. wait: leave() of another one says when. refused: stopping.
  [[nodiscard]] joined join(member& m) noexcept {
    std::lock_guard const g(lock_);
    if (stopping_) return joined::refused;
    parties_ = parties_ + 1;
    live_ = live_ + 1;
    insert(untold_, m);
    if (running_ < limit_) {
      running_ = running_ + 1;
      return joined::start;
    }
    waiting_.push(m);
    return joined::wait;
  }

  struct duties {
    bool last;        // the caller goes on with the parent (INV-GROUP-1); if not, it does the rest, and touches the group no more
    member* start;    // to be started; null: none
    sleeper* wake;    // to be completed, linked by `behind`; null: none
  };
  // A task that was started has ended, and is to be told of nothing any more: it is in no list, but still a party.
  void forget(member& m) noexcept {
    std::lock_guard const g(lock_);
    erase(m);
  }
  // A task that was forgotten leaves: nothing is left of it but, if somebody keeps its handle, its header and result.
  [[nodiscard]] duties leave() noexcept {
    std::lock_guard const g(lock_);
    live_ = live_ - 1;
    running_ = running_ - 1;
    parties_ = parties_ - 1;
    member* const start = take_waiting();
    return {parties_ == 0, start, take_sleepers()};
  }
  // The body, or an errand, has ended. True: as duties::last.
  [[nodiscard]] bool arrive() noexcept {
    std::lock_guard const g(lock_);
    parties_ = parties_ - 1;
    return parties_ == 0;
  }

  enum class stopped : unsigned char { nothing, tell };
  // Nobody joins any more. tell: the caller, or the errand that is counted if `errand`, calls tell() until it says that there are no more.
  [[nodiscard]] stopped begin_stop(bool errand, unsigned char why = 1) noexcept {
    std::lock_guard const g(lock_);
    if (stopping_ || parties_ == 0) return stopped::nothing;
    stopping_ = true;
    why_ = why;
    if (errand) parties_ = parties_ + 1;   // INV-GROUP-5
    return stopped::tell;
  }
  // Calls f(member) for at most `most` of the tasks that have not heard of the stop. True: there are more.
  template <class F>
  [[nodiscard]] bool tell(unsigned most, F f) noexcept {
    std::lock_guard const g(lock_);
    while (most-- != 0) {
      links* const first = untold_.next;
      if (first == &untold_) return false;
      auto& m = *static_cast<member*>(first);
      erase(m);
      insert(told_, m);
      f(m);   // INV-GROUP-3: it is in the list
    }
    return untold_.next != &untold_;
  }
  // A party, which has told as many as one turn on a worker is worth: an errand goes on in its place, and arrives when all have been told.
  void add_errand() noexcept {
    std::lock_guard const g(lock_);
    parties_ = parties_ + 1;
  }
  // A party, when all have been told, until there is nothing more: tasks that wait are started all the same, who waits for room need wait no more.
  [[nodiscard]] duties after_stop() noexcept {
    std::lock_guard const g(lock_);
    member* const start = take_waiting();
    return {false, start, take_sleepers()};
  }

  // Who waited for room and was taken out of the list: when he goes on. True: an errand is counted (passing). The caller queues it, behind what runs now.
  [[nodiscard]] bool came() noexcept {
    std::lock_guard const g(lock_);
    coming_ = coming_ - 1;
    if (coming_ != 0 || passing_ || want_room_.first == nullptr || !has_room()) return false;
    passing_ = true;
    parties_ = parties_ + 1;
    return true;
  }
  [[nodiscard]] duties pass() noexcept {
    std::lock_guard const g(lock_);
    passing_ = false;
    parties_ = parties_ - 1;
    return {parties_ == 0, nullptr, take_sleepers()};
  }

  // The branch's thread, for an operation that it will arm then. False: what it waits for is so already, or never will be (stopping).
  [[nodiscard]] bool sleep(sleeper& s, bool for_room) noexcept {
    std::lock_guard const g(lock_);
    if (for_room ? has_room() : live_ == 0) return false;
    s.for_room = for_room;
    s.listed = true;
    (for_room ? want_room_ : want_end_).push(s);
    return true;
  }
  // A worker, for a stop. True: the operation is the caller's again.
  [[nodiscard]] bool withdraw(sleeper& s) noexcept {
    std::lock_guard const g(lock_);
    if (!s.listed) return false;
    (s.for_room ? want_room_ : want_end_).remove(s);
    s.listed = false;
    return true;
  }

  std::size_t live() noexcept {
    std::lock_guard const g(lock_);
    return live_;
  }
  // What begin_stop() was given; 0: it was not called.
  unsigned char stopping() noexcept {
    std::lock_guard const g(lock_);
    return why_;
  }

private:
  bool has_room() const noexcept { return stopping_ || (running_ < limit_ && waiting_.first == nullptr); }

  // First in, first out, by `behind`.
  template <class X>
  struct queue {
    var<X*> first{nullptr}, last{nullptr};
    void push(X& x) noexcept {
      x.behind = nullptr;
      if (first == nullptr)
        first = &x;
      else
        static_cast<X*>(last)->behind = &x;
      last = &x;
    }
    X* pop() noexcept {
      X* const x = first;
      if (x != nullptr) first = static_cast<X*>(x->behind);
      return x;
    }
    void remove(X& x) noexcept {
      X* before = nullptr;
      for (X* at = first; at != &x; at = at->behind) before = at;
      if (before == nullptr)
        first = static_cast<X*>(x.behind);
      else
        before->behind = static_cast<X*>(x.behind);
      if (last == &x) last = before;
    }
  };

  static void insert(links& list, links& m) noexcept {   // at the end
    links* const last = list.previous;
    m.previous = last;
    m.next = &list;
    last->next = &m;
    list.previous = &m;
  }
  static void erase(links& m) noexcept {
    links *const next = m.next, *const previous = m.previous;
    previous->next = next;
    next->previous = previous;
    m.next = m.previous = nullptr;
  }
  // The next task that may start now.
  member* take_waiting() noexcept {
    if (running_ >= limit_ && !stopping_) return nullptr;
    member* const m = waiting_.pop();
    if (m != nullptr) running_ = running_ + 1;
    return m;
  }
  // The operations whose time has come: all that wait for the end, and as many as there is room for, beside those that are coming.
  sleeper* take_sleepers() noexcept {
    sleeper* taken = nullptr;
    auto take = [&taken](queue<sleeper>& from) noexcept {
      sleeper* const s = from.pop();
      if (s == nullptr) return false;
      s->listed = false;   // INV-GROUP-4
      s->behind = taken;
      taken = s;
      return true;
    };
    if (live_ == 0)
      while (take(want_end_)) {}
    while (has_room() && (stopping_ || coming_ < limit_ - running_) && take(want_room_)) coming_ = coming_ + 1;
    return taken;
  }

  spin_lock<Sync> lock_;
  var<bool> stopping_{false}, passing_{false};
  var<unsigned char> why_{0};
  var<std::size_t> parties_{0}, live_{0}, running_{0}, coming_{0}, limit_{0};
  links untold_, told_;
  queue<member> waiting_;
  queue<sleeper> want_end_, want_room_;
};

} // namespace skua::detail
