# SPDX-License-Identifier: Apache-2.0
# How targets of this repository are compiled; nothing here reaches a consumer.

# skua_warnings(TARGET): the warnings of the house, as errors with SKUA_WERROR.
function(skua_warnings target)
  target_compile_options(${target} PRIVATE
    -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wcast-align -Wcast-qual -Wextra-semi -Wformat=2 -Wnon-virtual-dtor -Woverloaded-virtual
    -Wundef -Wunused-result -Wunused-value -Wvla
    $<$<BOOL:${SKUA_WERROR}>:-Werror>
    $<$<CXX_COMPILER_ID:Clang>:-Wimplicit-fallthrough -Wthread-safety>
    # The first one warns of every use, the other one of unions in coroutines whose member it cannot tell.
    $<$<CXX_COMPILER_ID:GNU>:-Wno-interference-size -Wno-maybe-uninitialized>)
endfunction()

# skua_sanitizers(TARGET): what SKUA_SANITIZE asks for. Whoever links the library has to link the same run-time, hence PUBLIC.
function(skua_sanitizers target)
  if(NOT SKUA_SANITIZE)
    return()
  endif()
  target_compile_options(${target} PUBLIC "-fsanitize=${SKUA_SANITIZE}" -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(${target} PUBLIC "-fsanitize=${SKUA_SANITIZE}")
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")   # or symmetric transfers overflow the stack
    if(SKUA_SANITIZE MATCHES "address")
      target_compile_options(${target} PUBLIC "SHELL:--param asan-stack=0")
    elseif(SKUA_SANITIZE MATCHES "thread")
      target_compile_options(${target} PUBLIC "SHELL:--param tsan-instrument-func-entry-exit=0")
    endif()
  endif()
endfunction()

# skua_program(TARGET SOURCE...): an executable of examples, benchmarks or tests. What it is linked with follows from what its sources
# include; missing says in the parent's scope which package is not there, and then there is no target.
function(skua_program target)
  set(missing "")
  set(libraries skua::skua)
  set(text "")
  foreach(source IN LISTS ARGN)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${source}")
    file(STRINGS "${source}" includes REGEX "^#include")
    string(APPEND text "${includes}\n")
  endforeach()
  if(text MATCHES "skua/arena\\.hpp|<tbb/|<oneapi/tbb")
    if(TARGET skua::tbb)
      list(APPEND libraries skua::tbb)
    else()
      list(APPEND missing libtbb-dev)
    endif()
  endif()
  if(text MATCHES "<benchmark/")
    find_package(benchmark QUIET)
    if(benchmark_FOUND)
      list(APPEND libraries benchmark::benchmark)
    else()
      list(APPEND missing libbenchmark-dev)
    endif()
  endif()
  foreach(row "<http_parser\\.h>:http_parser:libhttp-parser-dev" "<llhttp\\.h>:llhttp:libllhttp-dev" "<uv\\.h>:uv:libuv1-dev"
              "<liburing\\.h>:uring:liburing-dev")
    string(REPLACE ":" ";" row "${row}")
    list(GET row 0 header)
    list(GET row 1 library)
    list(GET row 2 package)
    if(text MATCHES "${header}")
      find_library(SKUA_LIB_${library} ${library})
      if(SKUA_LIB_${library})
        list(APPEND libraries "${SKUA_LIB_${library}}")
      else()
        list(APPEND missing ${package})
      endif()
    endif()
  endforeach()
  set(missing "${missing}" PARENT_SCOPE)
  if(missing)
    list(JOIN missing ", " names)
    message(STATUS "skua: ${target} is left out: install ${names}")
    return()
  endif()
  add_executable(${target} ${ARGN})
  target_include_directories(${target} PRIVATE "${PROJECT_SOURCE_DIR}")
  target_link_libraries(${target} PRIVATE ${libraries})
  skua_warnings(${target})
endfunction()
