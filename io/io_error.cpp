// SPDX-License-Identifier: Apache-2.0
#include "skua/io_error.hpp"
#include "skua/detail/io_operation.hpp"
#include "skua/error.hpp"
#include <cerrno>
#include <string>

namespace skua {

namespace {

class category final : public std::error_category {
public:
  char const* name() const noexcept override { return "skua"; }
  std::string message(int value) const override {
    return static_cast<errc>(value) == errc::end_of_stream ? "end of stream" : "unknown error " + std::to_string(value);
  }
};

} // namespace

std::error_category const& error_category() noexcept {
  static category const one;
  return one;
}

namespace detail {

std::error_code code_of(io_operation const& op) {
  switch (op.error) {
  case io_occupied:
    throw usage_error(std::string("skua: ") + op.kind->what + ": another task is in the middle of " +
                      (op.io().direction == 0 ? "reading from" : "writing to") + " this descriptor; one at a time");
  case io_no_descriptors: throw usage_error(std::string("skua: ") + op.kind->what + ": the runtime's back end has no sockets (virtual time)");
  case io_regular_file:
    throw usage_error(std::string("skua: ") + op.kind->what + ": regular files and directories are always ready; skua::file reads and writes them");
  case io_end_of_stream: return errc::end_of_stream;
  default: return {op.error, std::system_category()};
  }
}

void throw_io_error(io_operation const& op) { throw std::system_error(code_of(op), std::string("skua: ") + op.kind->what); }
void throw_transfer_error(io_operation const& op) {
  throw transfer_error(code_of(op), std::string("skua: ") + op.kind->what, op.transferred);
}

} // namespace detail

} // namespace skua
