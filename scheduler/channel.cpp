// SPDX-License-Identifier: Apache-2.0
// The cold half of channels: closing, dead branches of selects, the ends' counts. detail/channel_state.hpp has the protocol.
#include "skua/async_generator.hpp"
#include "skua/channel.hpp"
#include "skua/error.hpp"

namespace skua::detail {

bool withdraw_receiving(operation& op) noexcept {
  auto& w = static_cast<channel_waiter&>(static_cast<waiter&>(static_cast<waiter_links&>(op)));
  return w.channel->withdraw(w.channel->receivers_, w);
}
bool withdraw_sending(operation& op) noexcept {
  auto& w = static_cast<channel_waiter&>(static_cast<waiter&>(static_cast<waiter_links&>(op)));
  return w.channel->withdraw(w.channel->senders_, w);
}
void generator_misused() { throw usage_error("skua: this generator is being awaited by another task"); }
void channel_misused() { throw usage_error("skua: this handle is on no channel: it was moved from, or default-constructed"); }

// INV-CHAN-3.
channel_waiter* channel_base::take_one(wait_list& list) noexcept {
  while (waiter_links* const links = list.take()) {
    auto& w = static_cast<channel_waiter&>(static_cast<waiter&>(*links));
    if (w.select == nullptr || claim_select(*w.select, w.branch)) return &w;
  }
  return nullptr;
}

void channel_base::close() noexcept {
  constexpr unsigned at_once = 32;   // so that nobody waits long for the lock; a guess
  references_.fetch_add(1, std::memory_order_relaxed);   // who is woken may drop the last handle
  for (bool more = true; more;) {
    channel_waiter* taken[at_once];
    unsigned n = 0;
    {
      locked_scope const g(lock_);
      closed_ = true;   // from here on nobody queues
      for (wait_list* list : {&receivers_, &senders_})
        while (n != at_once) {
          channel_waiter* const w = take_locked(*list);
          if (w == nullptr) break;
          taken[n++] = w;
        }
      more = n == at_once;
    }
    for (unsigned i = 0; i != n; ++i) {
      taken_waiter one;
      one.set(*taken[i]);
      one.wake();
    }
  }
  release();
}

void channel_base::drop_sender() noexcept {
  // acq_rel, here and below: what was done through other handles happens before the channel closes, or is freed.
  if (sender_count_.fetch_sub(1, std::memory_order_acq_rel) == 1) close();
  release();
}

void channel_base::drop_receiver() noexcept {
  if (receiver_count_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
    close();
    discard();   // nobody can receive it, and it may hold what somebody waits for
  }
  release();
}

void channel_base::release() noexcept {
  if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
}

} // namespace skua::detail
