# SPDX-License-Identifier: Apache-2.0
# Every public header compiles alone, twice in a row, with all warnings: build the target skua_headers (not part of `all`); the test does.
file(GLOB_RECURSE headers CONFIGURE_DEPENDS RELATIVE "${PROJECT_SOURCE_DIR}/include" "${PROJECT_SOURCE_DIR}/include/*.hpp")
set(units "")
foreach(header IN LISTS headers)
  if(header STREQUAL "skua/arena.hpp" AND NOT TARGET skua::tbb)
    continue()
  endif()
  string(MAKE_C_IDENTIFIER "${header}" name)
  set(unit "${CMAKE_CURRENT_BINARY_DIR}/headers/${name}.cpp")
  file(CONFIGURE OUTPUT "${unit}" CONTENT "#include <${header}>\n#include <${header}>\n")
  list(APPEND units "${unit}")
endforeach()
if(units)
  add_library(skua_headers OBJECT EXCLUDE_FROM_ALL ${units})
  target_link_libraries(skua_headers PRIVATE skua::skua $<TARGET_NAME_IF_EXISTS:skua::tbb>)
  target_compile_options(skua_headers PRIVATE -O0)
  skua_warnings(skua_headers)
  skua_test(NAME headers.self_contained LABEL headers TIMEOUT 600
            COMMAND "${CMAKE_COMMAND}" --build "${PROJECT_BINARY_DIR}" --target skua_headers)
endif()
skua_test(NAME headers.refused_compilers LABEL headers
          COMMAND bash "${CMAKE_CURRENT_LIST_DIR}/refused_compilers" "${PROJECT_SOURCE_DIR}/include")
skua_test(NAME headers.diagnostics LABEL headers TIMEOUT 600   # it compiles 38 programs, one after the other
          COMMAND bash "${CMAKE_CURRENT_LIST_DIR}/diagnostics" "${PROJECT_SOURCE_DIR}/include" "${CMAKE_CXX_COMPILER}")
