// SPDX-License-Identifier: Apache-2.0
// What became of a message that was to be sent.
#pragma once

namespace skua {

enum class send_status : unsigned char {
  sent,
  full,     // try_send: no room, and nobody waits for a message
  closed    // it will never be sent
};

} // namespace skua
