// SPDX-License-Identifier: Apache-2.0
#include "io/descriptor.hpp"
#include "io/epoll_driver.hpp"
#include "skua/detail/fork_guard.hpp"
#include "skua/detail/io_operation.hpp"
#include "skua/error.hpp"
#include <cerrno>
#include <memory>
#include <mutex>
#include <new>
#include <sys/epoll.h>
#include <unistd.h>

namespace skua::detail {

namespace {

// All descriptors of the process, in chunks that are never freed. free_, chunks_ and count_ under lock_; a chunk's address is read by anybody (release /
// acquire). Locked for a few instructions a connection.
class descriptor_table {
public:
  static constexpr std::uint32_t chunk = 256, most_chunks = 16384;   // 4 million: more than the kernel's default limit of numbers

  descriptor& at(std::uint32_t index) noexcept {
    return chunks_[index / chunk].load(std::memory_order_acquire)[index % chunk];   // pairs with grow_locked()
  }
  descriptor& take() {
    for (;;) {
      if (descriptor* const d = pop()) return *d;
      grow();
    }
  }
  void give_back(descriptor& d) noexcept {
    std::lock_guard const guard(lock_);
    d.next_free = free_;
    free_ = &d;
  }

private:
  descriptor* pop() noexcept {
    std::lock_guard const guard(lock_);
    descriptor* const d = free_;
    if (d != nullptr) free_ = d->next_free;
    return d;
  }
  // Two threads may both find the list empty: then there is a chunk more.
  void grow() {
    auto more = std::make_unique<descriptor[]>(chunk);
    std::lock_guard const guard(lock_);
    if (count_ == most_chunks) throw std::bad_alloc{};
    descriptor* const d = more.release();
    for (std::uint32_t i = chunk; i-- != 0;) {
      d[i].index = count_ * chunk + i;
      d[i].next_free = free_;
      free_ = &d[i];
    }
    chunks_[count_++].store(d, std::memory_order_release);
  }

  spin_lock<> lock_;
  descriptor* free_ = nullptr;
  std::uint32_t count_ = 0;
  std::atomic<descriptor*> chunks_[most_chunks]{};
};
constinit descriptor_table table{};
constinit std::atomic<std::uint64_t> open_count{0};

constexpr std::uint64_t direction_bit(direction d) noexcept { return std::uint64_t{1} << static_cast<unsigned>(d); }

// The registration, if it is in this driver's set; 0 otherwise.
std::uint64_t directions_in(std::uint64_t registered, epoll_driver const& driver) noexcept {
  return registered >> 2 == driver.serial() ? registered & 3 : 0;
}

void forget(descriptor& d) noexcept {
  d.registered.store(0, std::memory_order_relaxed);
  table.give_back(d);
  open_count.fetch_sub(1, std::memory_order_relaxed);
}

// It finds the descriptor closed, or shut.
void wake_reader_or_writer(descriptor::operation* o) noexcept {
  if (o == nullptr) return;
  auto& op = static_cast<io_operation&>(static_cast<operation&>(*o));
  complete_and_schedule(*op.owner, op);
}

void complete_into(ready_list& out, descriptor::operation* o, epoll_driver const& by) noexcept {
  if (o == nullptr) return;
  auto& op = static_cast<io_operation&>(static_cast<operation&>(*o));
  scheduler& owner = *op.owner;
  bool const ours = op.waits_in == &by;
  if (!complete(op)) return;
  if (ours) [[likely]]
    out.add(item_of(op, kind::woken));
  else
    schedule(owner, item_of(op, kind::woken));
}

} // namespace

descriptor& adopt_descriptor(int number, short_transfer s) {
  descriptor& d = table.take();
  d.number = number;   // both are published by renew()
  d.short_one = s;
  open_count.fetch_add(1, std::memory_order_relaxed);
  d.renew();
  return d;
}

descriptor& open_descriptor(int number, short_transfer s) {
  try {
    return adopt_descriptor(number, s);
  } catch (...) {
    ::close(number);
    throw;
  }
}

void close_descriptor(descriptor& d) noexcept {
  auto const t = d.close();
  if (t.then == descriptor::duty::release) return close_number(d);
  wake_reader_or_writer(t.reader);
  wake_reader_or_writer(t.writer);
}

void shut_for_reading(descriptor& d, std::uint32_t generation) noexcept {
  constexpr direction read = direction::read;
  wake_reader_or_writer(d.event(generation, descriptor::ready(read) | descriptor::end(read) | descriptor::shut).reader);
}

void close_number(descriptor& d) noexcept {
  ::close(d.number);   // Linux releases the number whatever it returns; this takes it out of the epoll set as well
  forget(d);
}

bool is_shut_for_reading(descriptor const& d, std::uint32_t generation) noexcept {
  descriptor::word const w = d.look();
  return descriptor::generation_of(w) == generation && (w & descriptor::shut);
}

int release_descriptor(descriptor& d) noexcept {
  if (!d.close_if_unused()) return -1;
  int const number = d.number;
  // In the set of another runtime it stays: its events are dropped by their generation. So it does in a forked child: the set is its parent's, which may wait.
  if (epoll_driver* const driver = tl.owner != nullptr && !is_forked() ? descriptors_of(*tl.owner) : nullptr;
      driver != nullptr && directions_in(d.registered.load(std::memory_order_relaxed), *driver) != 0)
    driver->forget(number);
  forget(d);
  return number;
}

int release_number(descriptor& d) {
  int const n = release_descriptor(d);
  if (n < 0) throw usage_error("skua: release() of a descriptor that a task is reading from, writing to or waiting for");
  return n;
}

int number_of(descriptor const& d) noexcept { return d.number; }
std::uint32_t generation_of(descriptor const& d) noexcept { return d.generation(); }

int register_descriptor(epoll_driver& by, descriptor& d, direction dir) noexcept {
  if (directions_in(d.registered.load(std::memory_order_seq_cst), by) & direction_bit(dir)) [[likely]] return 0;

  std::lock_guard const guard(d.lock);
  std::uint64_t const before = d.registered.load(std::memory_order_relaxed);
  std::uint64_t directions = directions_in(before, by) | direction_bit(dir);
  // Another runtime has come in between, so what this set is told replaces what it was told before; and the other direction may wait in it.
  if (before != 0 && before >> 2 != by.serial() && d.is_held(other(dir))) directions |= direction_bit(other(dir));
  std::uint32_t events = EPOLLET;
  if (directions & direction_bit(direction::read)) events |= EPOLLIN | EPOLLPRI | EPOLLRDHUP;
  if (directions & direction_bit(direction::write)) events |= EPOLLOUT;
  // It reports at once what is there already: nothing that came before is lost.
  if (int const error = by.control(d.number, events, d.epoll_data())) return error;
  d.registered.store(by.serial() << 2 | directions, std::memory_order_seq_cst);
  return 0;
}

void deliver_event(epoll_driver const& by, std::uint64_t epoll_data, std::uint32_t events, ready_list& out) noexcept {
  using word = descriptor::word;
  constexpr word end_read = descriptor::end(direction::read), end_both = end_read | descriptor::end(direction::write);
  word bits = 0;
  if (events & EPOLLIN) bits |= descriptor::ready(direction::read);
  if (events & EPOLLOUT) bits |= descriptor::ready(direction::write);
  if (events & (EPOLLRDHUP | EPOLLPRI)) bits |= end_read;   // urgent data: a read stops in front of it, which is not the end of what is there
  if (events & (EPOLLHUP | EPOLLERR)) bits |= end_both;
  auto const t = table.at(static_cast<std::uint32_t>(epoll_data >> 32)).event(static_cast<std::uint32_t>(epoll_data), bits);
  complete_into(out, t.reader, by);
  complete_into(out, t.writer, by);
}

std::uint64_t open_descriptors() noexcept { return open_count.load(std::memory_order_relaxed); }

} // namespace skua::detail
