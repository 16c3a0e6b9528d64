// SPDX-License-Identifier: Apache-2.0
// Durations of any type, in nanoseconds. The conversions of <chrono> overflow silently: hours::max() as nanoseconds is less than 0.
#pragma once
#include "compiler.hpp"
#include <chrono>
#include <concepts>
#include <cstdint>
#include <ratio>
#include <utility>

namespace skua::detail {

inline constexpr std::int64_t most_ns = std::int64_t{1} << 62;   // 146 years; stands for everything that is longer

// Rounded up. What does not fit between -most_ns and most_ns is cut off there.
template <class Rep, class Period>
constexpr std::int64_t ns_at_most(std::chrono::duration<Rep, Period> d) noexcept {
  if constexpr (std::integral<Rep> && std::ratio_divide<Period, std::nano>::den == 1) {   // a whole number of ns
    using wide = std::chrono::duration<std::int64_t, Period>;   // the limit may not fit into Rep
    using ns = std::chrono::duration<std::int64_t, std::nano>;
    constexpr std::int64_t limit = std::chrono::duration_cast<wide>(ns(most_ns)).count();
    if (std::cmp_greater_equal(d.count(), limit)) return most_ns;
    if (std::cmp_less_equal(d.count(), -limit)) return -most_ns;
    return std::chrono::ceil<ns>(wide(static_cast<std::int64_t>(d.count()))).count();
  } else {
    auto const x = std::chrono::duration<long double, std::nano>(d).count();
    if (!(x < static_cast<long double>(most_ns))) return most_ns;   // also what is no number
    if (x <= -static_cast<long double>(most_ns)) return -most_ns;
    auto const whole = static_cast<std::int64_t>(x);
    return static_cast<long double>(whole) < x ? whole + 1 : whole;
  }
}

} // namespace skua::detail
