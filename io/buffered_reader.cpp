// SPDX-License-Identifier: Apache-2.0
#include "skua/buffered_reader.hpp"
#include "skua/io_error.hpp"
#include "skua/this_task.hpp"
#include <algorithm>
#include <cstring>
#include <span>
#include <stdexcept>
#include <system_error>
#include <utility>

namespace skua {

namespace {

constexpr std::size_t first_capacity = 4096;

[[noreturn]] void too_long(char const* what) { throw std::system_error(std::make_error_code(std::errc::message_size), what); }

} // namespace

// Behind what is there: in what is free, or where what was read has been, or in a buffer of twice the size.
void buffered_reader::make_room() {
  if (begin_ == end_) begin_ = end_ = 0;
  if (end_ != capacity_) return;
  std::size_t const size = end_ - begin_;
  if (begin_ >= size && begin_ != 0) {   // so a byte is moved as often as the buffer is read, at most
    std::memcpy(buffer_.get(), buffer_.get() + begin_, size);
  } else {
    std::size_t const larger = std::max(first_capacity, 2 * capacity_);
    std::unique_ptr<char[]> fresh(new char[larger]);
    if (size != 0) std::memcpy(fresh.get(), buffer_.get() + begin_, size);
    buffer_ = std::move(fresh);
    capacity_ = larger;
  }
  begin_ = 0;
  end_ = size;
}

task<std::size_t> buffered_reader::receive() {
  make_room();
  std::size_t const n = co_await of_->read_some(stream_, std::as_writable_bytes(std::span(buffer_.get() + end_, capacity_ - end_)));
  end_ += n;
  co_return n;
}

std::string_view buffered_reader::take(std::size_t n) noexcept {
  std::string_view const v = buffered().substr(0, n);
  begin_ += v.size();
  return v;
}

// Does not take it.
std::size_t buffered_reader::copy_into(mutable_buffer to) const noexcept {
  std::size_t const n = std::min(to.size(), buffered().size());
  if (n != 0) std::memcpy(to.data(), buffered().data(), n);
  return n;
}

task<std::optional<std::string_view>> buffered_reader::read_line() {
  co_await this_task::checkpoint();   // S1: the line may be there
  for (std::size_t looked_at = 0;;) {
    auto const at = buffered().find('\n', looked_at);
    std::size_t const there = buffered().size();
    if (at < limit_) {
      std::string_view line = take(at + 1);
      line.remove_suffix(line.ends_with("\r\n") ? 2 : 1);
      co_return line;
    }
    if (there > limit_) too_long("skua: read_line");   // as long as the limit it may be the last one
    looked_at = there;
    if (co_await receive() != 0) continue;
    if (there == 0) co_return std::nullopt;
    co_return take(there);
  }
}

task<std::string_view> buffered_reader::read_until(std::string_view delimiter) {
  if (delimiter.empty()) throw std::invalid_argument("skua: read_until: the delimiter is empty");
  co_await this_task::checkpoint();
  for (std::size_t looked_at = 0;;) {
    auto const at = buffered().find(delimiter, looked_at);
    std::size_t const there = buffered().size();
    if (at != std::string_view::npos && at + delimiter.size() <= limit_) co_return take(at + delimiter.size());
    if (there >= limit_) too_long("skua: read_until");
    looked_at = there - std::min(there, delimiter.size() - 1);   // a part of it may be there
    if (co_await receive() == 0) throw transfer_error(errc::end_of_stream, "skua: read_until", there);
  }
}

task<std::string_view> buffered_reader::read_to_end() {
  do {
    if (buffered().size() > limit_) too_long("skua: read_to_end");
  } while (co_await receive() != 0);
  co_return take(buffered().size());
}

task<std::size_t> buffered_reader::read_some(mutable_buffer to) {
  if (begin_ == end_ && !to.empty()) co_return co_await of_->read_some(stream_, to);
  co_await this_task::checkpoint();
  co_return take(copy_into(to)).size();
}

task<> buffered_reader::read_exactly(mutable_buffer to) {
  co_await this_task::checkpoint();
  std::size_t const n = copy_into(to);   // and taken when nothing can fail any more, or with the report of what was read
  if (n != to.size()) {
    try {
      co_await of_->read_exactly(stream_, to.subspan(n));
    } catch (transfer_error const& e) {
      take(n);
      throw transfer_error(e.code(), "skua: read_exactly", n + e.transferred());
    }
  }
  take(n);
}

} // namespace skua
