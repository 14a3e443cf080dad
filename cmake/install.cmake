# find_package(tweedie) for an installed copy.
include(CMakePackageConfigHelpers)
get_property(libraries GLOBAL PROPERTY TWEEDIE_LIBRARIES)
install(TARGETS ${libraries} EXPORT tweedie-targets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT tweedie-targets NAMESPACE tweedie:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/tweedie)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/tweedie DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
configure_package_config_file(cmake/tweedie-config.cmake.in ${CMAKE_BINARY_DIR}/tweedie-config.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/tweedie)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/tweedie-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/tweedie-config.cmake ${CMAKE_BINARY_DIR}/tweedie-config-version.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/tweedie)
if(TWEEDIE_TORCH)
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/recipes DESTINATION ${CMAKE_INSTALL_DATADIR}/tweedie)
endif()
