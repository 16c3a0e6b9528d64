# SPDX-License-Identifier: Apache-2.0
# How targets of this repository are compiled; nothing here reaches a consumer.

# skua_warnings(TARGET): the warnings of the house, as errors with SKUA_WERROR.
function(skua_warnings target)
  target_compile_options(${target} PRIVATE
    -Wall -Wextra -Wpedantic -Wconversion -Wcast-align -Wcast-qual -Wextra-semi -Wformat=2 -Wnon-virtual-dtor -Woverloaded-virtual
    -Wundef -Wunused-result -Wunused-value -Wvla
    $<$<BOOL:${SKUA_WERROR}>:-Werror>
    $<$<CXX_COMPILER_ID:Clang>:-Wimplicit-fallthrough -Wshadow -Wthread-safety>
    # GCC's -Wshadow warns of names that a lambda cannot even see. The first one here warns of every use, the other one of unions in coroutines whose member it
    # cannot tell.
    $<$<CXX_COMPILER_ID:GNU>:-Wno-interference-size -Wno-maybe-uninitialized>)
endfunction()

# skua_flags_for_users(TARGET): what a compiler needs for coroutines to be sound, handed on to everybody who uses the library; nothing else is. tests/compilers
# shows that it is enough, tests/consumer/check that it is all. SKUA_USER_FLAGS has it for pkg-config.
#   GCC overflows the stack in symmetric transfers unless it makes tail calls. From -O2 on that is its default, and the flag changes nothing.
#   With AddressSanitizer its frames keep it from making them, with ThreadSanitizer the calls at the entry and the exit of every function. Who adds skua to a
#   project of their own asks for these with that project's flags, not with SKUA_SANITIZE.
function(skua_flags_for_users target)
  set(flags "")
  get_directory_property(options COMPILE_OPTIONS)   # add_compile_options() around us
  string(TOUPPER "CMAKE_CXX_FLAGS_${CMAKE_BUILD_TYPE}" of_type)
  string(REGEX MATCHALL "-fsanitize=[a-z,-]+" sanitizers "-fsanitize=${SKUA_SANITIZE} ${CMAKE_CXX_FLAGS} ${${of_type}} ${options}")
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    list(APPEND flags -foptimize-sibling-calls)
    if(sanitizers MATCHES "address")
      list(APPEND flags --param=asan-stack=0)
    elseif(sanitizers MATCHES "thread")
      list(APPEND flags --param=tsan-instrument-func-entry-exit=0)
    endif()
  endif()
  foreach(flag IN LISTS flags)
    target_compile_options(${target} PUBLIC "$<$<COMPILE_LANGUAGE:CXX>:${flag}>")
  endforeach()
  list(JOIN flags " " text)
  set(SKUA_USER_FLAGS "${text}" PARENT_SCOPE)
endfunction()

# skua_sanitizers(TARGET): what SKUA_SANITIZE asks for. Whoever links the library has to link the same run-time, hence PUBLIC.
function(skua_sanitizers target)
  if(SKUA_SANITIZE)
    target_compile_options(${target} PUBLIC "-fsanitize=${SKUA_SANITIZE}" -fno-sanitize-recover=all -fno-omit-frame-pointer)
    if(SKUA_SANITIZE MATCHES undefined)
      # It asks the kernel through a pipe whether memory can be read: without a free descriptor, which tests bring about, every object is invalid.
      target_compile_options(${target} PUBLIC -fno-sanitize=vptr)
    endif()
    target_link_options(${target} PUBLIC "-fsanitize=${SKUA_SANITIZE}")
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
  foreach(row "skua/arena\\.hpp|<tbb/|<oneapi/tbb:tbb:libtbb-dev" "skua/tls\\.hpp:tls:libssl-dev")
    string(REPLACE ":" ";" row "${row}")
    list(GET row 0 header)
    list(GET row 1 library)
    list(GET row 2 package)
    if(NOT text MATCHES "${header}")
      continue()
    endif()
    if(TARGET skua::${library})
      list(APPEND libraries skua::${library})
    else()
      list(APPEND missing ${package})
    endif()
  endforeach()
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
  if(text MATCHES "<openssl/" AND TARGET skua::tls)   # who makes certificates, say
    list(APPEND libraries OpenSSL::SSL)
  endif()
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
