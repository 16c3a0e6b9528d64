# SPDX-License-Identifier: Apache-2.0
# find_package(skua [COMPONENTS tbb tls]) and pkg-config (skua, skua-tbb, skua-tls) for consumers of an installed skua.
include(CMakePackageConfigHelpers)
set(skua_package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/skua")

install(TARGETS skua EXPORT skuaTargets ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}")
install(DIRECTORY include/skua DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" FILES_MATCHING PATTERN "*.hpp")
install(EXPORT skuaTargets NAMESPACE skua:: DESTINATION "${skua_package_dir}")
if(TARGET skua_tls)
  install(TARGETS skua_tls EXPORT skuaTlsTargets ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}")
  install(EXPORT skuaTlsTargets NAMESPACE skua:: DESTINATION "${skua_package_dir}")
endif()
install(FILES LICENSE DESTINATION "${CMAKE_INSTALL_DATAROOTDIR}/doc/skua")   # CMAKE_INSTALL_DOCDIR is of the project around us, if there is one

configure_package_config_file(cmake/skuaConfig.cmake.in "${PROJECT_BINARY_DIR}/skuaConfig.cmake" INSTALL_DESTINATION "${skua_package_dir}")
# Until 1.0 a minor version may break source compatibility.
write_basic_package_version_file("${PROJECT_BINARY_DIR}/skuaConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/skuaConfig.cmake" "${PROJECT_BINARY_DIR}/skuaConfigVersion.cmake" DESTINATION "${skua_package_dir}")

# The .pc files find themselves, so that an installed tree can be moved.
file(RELATIVE_PATH skua_pc_prefix "${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig" "${CMAKE_INSTALL_PREFIX}")
foreach(folder INCLUDEDIR LIBDIR)
  string(TOLOWER "skua_pc_${folder}" name)
  set(${name} "\${prefix}/${CMAKE_INSTALL_${folder}}")
  if(IS_ABSOLUTE "${CMAKE_INSTALL_${folder}}")   # somebody wants them elsewhere
    set(${name} "${CMAKE_INSTALL_${folder}}")
  endif()
endforeach()
set(skua_pc_flags "")
if(SKUA_USER_FLAGS)
  string(APPEND skua_pc_flags " ${SKUA_USER_FLAGS}")
endif()
if(SKUA_ACCOUNTING)
  string(APPEND skua_pc_flags " -DSKUA_ACCOUNTING=1")
endif()
if(SKUA_SANITIZE)
  set(skua_pc_sanitize " -fsanitize=${SKUA_SANITIZE}")
endif()
set(skua_pc_names skua skua-tbb)
if(TARGET skua_tls)
  list(APPEND skua_pc_names skua-tls)
endif()
foreach(name IN LISTS skua_pc_names)
  configure_file(cmake/${name}.pc.in "${PROJECT_BINARY_DIR}/${name}.pc" @ONLY)
  install(FILES "${PROJECT_BINARY_DIR}/${name}.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
endforeach()
