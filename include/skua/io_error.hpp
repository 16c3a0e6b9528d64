// SPDX-License-Identifier: Apache-2.0
// Errors of reading and writing that the operating system has no number for.
#pragma once
#include <cstddef>
#include <string>
#include <system_error>

namespace skua {

enum class errc {
  end_of_stream = 1   // the peer sent no more; read_exactly had not read all
};

// Name "skua".
std::error_category const& error_category() noexcept;
inline std::error_code make_error_code(errc e) noexcept { return {static_cast<int>(e), error_category()}; }

// Thrown by operations that transfer bytes: a std::system_error that knows how many were transferred before it failed.
//
//     try {
//       co_await stream.read_exactly(header);
//     } catch (skua::transfer_error const& e) {
//       if (e.code() == skua::errc::end_of_stream && e.transferred() == 0) co_return;   // closed between two messages
//       throw;
//     }
class transfer_error : public std::system_error {
public:
  transfer_error(std::error_code code, std::string const& what, std::size_t transferred)
      : std::system_error(code, what), transferred_(transferred) {}
  // Bytes.
  std::size_t transferred() const noexcept { return transferred_; }

private:
  std::size_t transferred_;
};

} // namespace skua

template <>
struct std::is_error_code_enum<skua::errc> : std::true_type {};
