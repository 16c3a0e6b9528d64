// SPDX-License-Identifier: Apache-2.0
// The cold half of channels: closing, dead branches of selects, the ends' counts. detail/channel_core.hpp has the protocol.
#include "skua/async_generator.hpp"
#include "skua/channel.hpp"
#include "skua/error.hpp"

namespace skua::detail {

bool withdraw_receiving(operation& op) noexcept {
  auto& w = channel_waiting::of(static_cast<waiter_links&>(op));
  return w.channel->withdraw(w.channel->receivers_, w);
}
bool withdraw_sending(operation& op) noexcept {
  auto& w = channel_waiting::of(static_cast<waiter_links&>(op));
  return w.channel->withdraw(w.channel->senders_, w);
}
void generator_misused() { throw usage_error("skua: this generator is being awaited by another task"); }
void channel_misused() { throw usage_error("skua: this handle is on no channel: it was moved from, or default-constructed"); }
void message_has_left() { throw usage_error("skua: this send() has sent its message, or given it back: it has nothing to send"); }

template class channel_base_of<channel_waiting>;

} // namespace skua::detail
