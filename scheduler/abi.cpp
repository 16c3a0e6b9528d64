// SPDX-License-Identifier: Apache-2.0
// Defines the symbols of detail/abi.hpp: what this library was built with.
#include <skua/detail/abi.hpp>

namespace skua::link_error {

namespace libskua_must_be_built_by_the_same_compiler_family_as_this_object {
char const SKUA_ABI_FAMILY = 1;
}
namespace libskua_must_be_built_with_the_same_sanitizer_as_this_object {
char const SKUA_ABI_FRAMES = 1;
}
namespace libskua_must_be_built_with_the_same_standard_library_as_this_object {
char const SKUA_ABI_LIBRARY = 1;
}
namespace libskua_must_be_built_with_the_same_SKUA_ACCOUNTING_as_this_object {
char const SKUA_ABI_ACCOUNTING = 1;
}

} // namespace skua::link_error
