// SPDX-License-Identifier: Apache-2.0
// What several receivers get of one value: a small one that can be copied without an exception is copied under the lock; others are kept in a
// std::shared_ptr, and copied by their reader.
#pragma once
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

namespace skua::detail {

template <class T>
inline constexpr bool copied_in_place = std::is_nothrow_copy_constructible_v<T> && std::is_nothrow_move_constructible_v<T> && sizeof(T) <= 64;
template <class T>
using shared_cell = std::conditional_t<copied_in_place<T>, T, std::shared_ptr<T const>>;
template <class T>
shared_cell<T> to_shared_cell(T&& v) {
  if constexpr (copied_in_place<T>)
    return std::move(v);
  else
    return std::make_shared<T const>(std::move(v));
}
// Cells need not be assignable.
template <class Cell>
void move_cell(std::optional<Cell>& from, std::optional<Cell>& to) noexcept {
  if (!from) return;
  to.emplace(std::move(*from));
  from.reset();
}
template <class T>
T out_of_shared_cell(shared_cell<T>&& c) {
  if constexpr (copied_in_place<T>)
    return std::move(c);
  else
    return *c;
}

} // namespace skua::detail
