# SPDX-License-Identifier: Apache-2.0
# Relacy models: a program each, which includes the shipping header. How long each searches is said in its file by a line
#     // runs: random 300000, bound2
# (default: random 100000, bound2); each entry is a test. The mutants of a model are one test: mutants.py.
file(GLOB models CONFIGURE_DEPENDS "${CMAKE_CURRENT_LIST_DIR}/*_model.cpp")
find_path(RELACY_INCLUDE relacy/relacy.hpp)
if(models AND NOT RELACY_INCLUDE)
  message(FATAL_ERROR "skua: Relacy is missing: install relacy-dev, or configure with -DSKUA_MODELS=OFF")
endif()

# Relacy's macros warn everywhere; the headers are compiled with all warnings elsewhere.
add_library(relacy_engine STATIC "${CMAKE_CURRENT_LIST_DIR}/relacy_engine.cpp")
target_compile_features(relacy_engine PUBLIC cxx_std_20)
target_include_directories(relacy_engine PUBLIC "${PROJECT_SOURCE_DIR}/include" "${PROJECT_SOURCE_DIR}" "${RELACY_INCLUDE}")
target_compile_options(relacy_engine PUBLIC -O2 -w -UNDEBUG)
foreach(source IN LISTS models)
  cmake_path(GET source STEM name)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${source}")
  add_executable(${name} "${source}")
  target_link_libraries(${name} PRIVATE relacy_engine)
  file(STRINGS "${source}" runs REGEX "^// runs: ")
  string(REGEX REPLACE "^// runs: *" "" runs "${runs}")
  if(NOT runs)
    set(runs "random 100000, bound2")
  endif()
  string(REGEX REPLACE " *, *" ";" runs "${runs}")
  foreach(run IN LISTS runs)
    separate_arguments(arguments UNIX_COMMAND "${run}")
    list(GET arguments 0 search)
    skua_test(NAME model.${name}.${search} LABEL model TIMEOUT 900 COMMAND ${name} ${arguments})
    if(search MATCHES "^bound")   # the longest: first
      set_tests_properties(model.${name}.${search} PROPERTIES COST 10)
    endif()
  endforeach()
endforeach()

# Every mutant must be noticed.
file(GLOB mutants CONFIGURE_DEPENDS "${CMAKE_CURRENT_LIST_DIR}/*.mutants")
foreach(file IN LISTS mutants)
  cmake_path(GET file STEM name)
  skua_test(NAME mutants.${name} LABEL model TIMEOUT 1800
            COMMAND "${Python3_EXECUTABLE}" "${CMAKE_CURRENT_LIST_DIR}/mutants.py" --jobs 1 --cxx "${CMAKE_CXX_COMPILER}"
                    --engine "$<TARGET_FILE:relacy_engine>" --work "${PROJECT_BINARY_DIR}/mutants" "${file}")
endforeach()

# The protocol between workers and I/O thread is a Promela model, with mutants of its own. (Without --quick: sizes beyond 3 million states.)
skua_test(NAME model.poller LABEL model TIMEOUT 900
          COMMAND "${Python3_EXECUTABLE}" "${CMAKE_CURRENT_LIST_DIR}/poller_check.py" --quick --work "${PROJECT_BINARY_DIR}/poller")
set_tests_properties(model.poller PROPERTIES COST 100)
