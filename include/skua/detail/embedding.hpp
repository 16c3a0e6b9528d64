// SPDX-License-Identifier: Apache-2.0
// Blocks of tasks, and the place in them for the first frame; spawn_block.hpp explains.
#pragma once
#include "task_header.hpp"
#include <cstddef>
#include <cstdint>
#include <utility>

namespace skua::detail {

// A block of at least `size` bytes, aligned to 32, type-stable (frame_pool.hpp). Throws bad_alloc.
void* allocate_task_block(std::size_t size);
// INV-TASK-1: the header's state is `done`. Waits for a stray frame in it, if there is one (INV-EMBED-2).
void free_task_block(task_header* h) noexcept;

// Everything but the promise; `state` last (release): from then on an enumerator takes the block for a task.
// Takes over the reference of `label`.
void init_header(task_header& h, std::uint32_t size, task_kind const& kind, task_label label, std::uint16_t owner) noexcept;

// Where a task is made for, and what is known of it.
struct task_origin {
  std::uint16_t owner;
  task_label label;
};

// Frees a block whose task was never made.
class unborn_block {
public:
  explicit unborn_block(task_header& h) noexcept : h_(&h) {}
  ~unborn_block() {
    if (h_ != nullptr) discard();
  }
  unborn_block(unborn_block const&) = delete;
  void dismiss() noexcept { h_ = nullptr; }

private:
  SKUA_COLD void discard() noexcept;
  task_header* h_;
};

// Offers the place to the next frame that this thread allocates, for as long as the object lives. Inside a callable that is being offered one (it
// spawns a task before it returns its own) nothing is offered: the outer one must learn whose frame lies in its place.
class embedding {
public:
  embedding(task_header& h, void* place, std::size_t room) noexcept : header_(h) {
    if (tl.embed_at != nullptr || tl.embed_stray != nullptr) [[unlikely]] {
      nested_ = true;
      outer_at_ = std::exchange(tl.embed_at, nullptr);
      return;
    }
    tl.embed_at = place;
    tl.embed_size = room;
    tl.embed_used = 0;
    tl.embed_stray = nullptr;
  }
  ~embedding() {
    if (!settled_) [[unlikely]] settle(nullptr);
  }
  embedding(embedding const&) = delete;
  // The callable returned this frame. Returns the size of the first frame that was allocated.
  SKUA_INLINE std::uint32_t settle(void* frame) noexcept {
    settled_ = true;
    if (nested_) [[unlikely]] {
      tl.embed_at = outer_at_;
      return 0;
    }
    tl.embed_at = nullptr;
    if (tl.embed_stray != nullptr && tl.embed_stray != frame) [[unlikely]] keep_stray(header_, tl.embed_stray);
    tl.embed_stray = nullptr;
    return tl.embed_used;
  }

private:
  SKUA_COLD static void keep_stray(task_header& h, void* frame) noexcept;
  task_header& header_;
  bool settled_ = false, nested_ = false;
  void* outer_at_ = nullptr;
};

} // namespace skua::detail
