// SPDX-License-Identifier: Apache-2.0
// A task group, as its header and the scheduler see it; group_core.hpp has the protocol, scheduler/task_group.cpp the code.
#pragma once
#include "errand.hpp"
#include "group_core.hpp"
#include "join.hpp"
#include "operation.hpp"
#include "single_join.hpp"
#include "spawn_block.hpp"
#include "spin_lock.hpp"
#include <atomic>
#include <cstddef>
#include <exception>
#include <utility>

namespace skua {

// What a group does when one of its tasks fails. When its body fails it stops the tasks in either case.
enum class on_error : unsigned char {
  stop_rest,   // stop the body and all tasks
  collect,     // let them run on, and throw all failures together at the end
  report       // let them run on; a failure that nobody awaits goes to the failure handler at once, as that of a task without a group does (S23)
};

} // namespace skua

namespace skua::detail {

class group_state;
using group_parties = group_core<real_sync>;

struct group_join : special_join {
  group_state* group = nullptr;
};

// Of one task of a group. Lies in the task's block, and outlives callable and arguments.
struct group_member : group_parties::member {
  group_state* group = nullptr;   // null: it has not joined
  task_header* task = nullptr;    // null: it has failed, and the group will not say so
};

// join() and room().
struct group_operation : operation, group_parties::sleeper {
  group_state& group;
  group_operation(operation_kind const& k, group_state& g) noexcept : operation(k), group(g) {}
};

class group_state {
public:
  group_state(on_error what, std::size_t limit) noexcept : errand_(run_errand), pass_errand_(run_pass), on_error_(what), limit_(limit) {}
  group_state(group_state const&) = delete;
  ~group_state();

  // A worker, when the group's body is about to start. Its record is there from the start, so that a stop finds the group. Throws bad_alloc, before any effect.
  void open(group_join& j, promise_base& body);

  // A party: the task is made, and nobody knows of it. Starts it, now or when there is room, or ends it at once as stopped (S13).
  void adopt(group_member& m, task_header& h) noexcept;
  // The task has ended, its callable and arguments are gone; its header and result are still there. `failure` null: none.
  void forget(group_member& m, std::exception_ptr failure) noexcept;
  // And now they are the handle's, or gone (S13).
  void leave() noexcept;
  void request_stop() noexcept;
  // A party that waited for room goes on.
  void came() noexcept;

  // Its failures; only when the group has ended.
  bool failed() const noexcept { return first_ != nullptr; }
  [[noreturn]] void throw_failures();

  special_join* join() const noexcept { return join_; }
  // The caller is on a worker of its runtime, and it is open: its tasks, and who waits for them, go on where the caller is. Throws usage_error.
  SKUA_INLINE void check_caller() const {
    if (tl.owner == nullptr || tl.owner != owner_) [[unlikely]] refuse_caller();
  }
  group_parties parties;

private:
  friend verdict group_decides(special_join&, bool) noexcept;
  friend void group_claimed(special_join&, stop_sink&) noexcept;
  struct failure_node;
  [[noreturn]] SKUA_COLD void refuse_caller() const;
  static void run_errand(errand& e) noexcept;
  static void run_pass(errand& e) noexcept;
  static bool body_arrived(special_join& j) noexcept;
  bool is_echo(std::exception_ptr const& e) noexcept;
  void add_failure(std::exception_ptr e, task_header const& of) noexcept;   // `of`: who had it
  void stop(stop_reason why, std::uintptr_t bits) noexcept;
  [[nodiscard]] bool tell(stop_reason why) noexcept;
  static void fulfil(group_parties::duties const& d) noexcept;

  group_join* join_ = nullptr;
  scheduler* owner_ = nullptr;   // null: it is not open yet
  errand errand_, pass_errand_;
  std::uintptr_t errand_bits_ = 0;   // written before it is queued
  spin_lock<> failures_lock_;
  std::atomic<bool> cut_short_{false};   // a stop from outside has stopped a task; relaxed: ordered by leave()
  std::exception_ptr first_;         // with the lock, until the group has ended; the others are in the list, newest first
  failure_node* others_ = nullptr;
  on_error on_error_;
  std::size_t limit_;
};

// ---------------------------------------------------------------------------------------------- the block of a task of a group

template <class T, class Call>
struct group_call {
  group_member member{};
  Call call;
  template <class F, class... A>
  explicit group_call(F&& f, A&&... a) : call(std::forward<F>(f), std::forward<A>(a)...) {}
  template <class G, class... A>
  auto operator()(G const& f, A&&... a) {
    return call(f, std::forward<A>(a)...);
  }
};

// As drop_call(); the group hears how the task has ended.
template <class T, class Call>
group_state* drop_child(task_header* h) noexcept {
  auto* b = static_cast<spawn_block<T, group_call<T, Call>>*>(h);
  b->call.call.~Call();
  group_member& m = b->call.member;
  group_state* const g = m.group;
  if (g == nullptr) return nullptr;   // it has not joined
  std::exception_ptr e;
  if (h->outcome == task_header::failed) e = b->error();
  g->forget(m, std::move(e));
  return g;
}

// As destroy_block(), but a failure is the group's to throw, unless it has left it to us.
template <class T, class Call>
void destroy_child(task_header* h) noexcept {
  auto* b = static_cast<spawn_block<T, Call>*>(h);
  if (h->outcome == task_header::failed) {
    if (b->call.member.task == nullptr && !h->taken) report_untaken(*h, b->error());
    b->error().~exception_ptr();
  } else if (h->outcome == task_header::value) {
    if constexpr (!std::is_void_v<T>) {
      using U = stored<T>;
      b->value().~U();
    }
  }
  free_task_block(h);
}
template <class T, class Call>
special_join* scope_of_child(task_header* h) noexcept {
  return static_cast<spawn_block<T, Call>*>(h)->call.member.group->join();
}
template <class T, class Call>
inline constexpr task_kind kind_of<T, group_call<T, Call>>{destroy_child<T, group_call<T, Call>>, drop_child<T, Call>,
                                                           scope_of_child<T, group_call<T, Call>>};

// A task that was made and will not run: its frame, callable and arguments are destroyed here. Its handle is the caller's.
void end_unstarted(task_header& h, stop_reason why) noexcept;

inline bool withdraw_from_group(operation& op) noexcept {
  auto& self = static_cast<group_operation&>(op);
  return self.group.parties.withdraw(self);
}
inline constexpr operation_kind group_join_kind{"group", withdraw_from_group}, group_room_kind{"group room", withdraw_from_group};

class [[nodiscard("nothing is awaited until it is awaited")]] group_wait : group_operation {
public:
  group_wait(group_state& g, bool room) noexcept : group_operation(room ? group_room_kind : group_join_kind, g), room_(room) {}
  bool await_ready() const noexcept { return false; }
  std::coroutine_handle<> await_suspend(own_coroutine h) {
    if (!begin(*this, h)) [[unlikely]] return unwind(h.address());
    group.check_caller();
    slept_ = true;   // before somebody may find it
    if (group.parties.sleep(*this, room_)) return suspend(*this);
    slept_ = false;
    return go_on_fairly(*this);
  }
  void await_resume() const noexcept {
    if (room_ && slept_) group.came();
  }

private:
  bool room_, slept_ = false;
};

} // namespace skua::detail
