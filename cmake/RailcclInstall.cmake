# Install rules: libraries with libnccl.so.2, headers, programs, the CMake package and the pkg-config file.
include(CMakePackageConfigHelpers)

install(TARGETS railccl_shared EXPORT RailCCLTargets LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}")
set_target_properties(railccl_shared PROPERTIES EXPORT_NAME railccl)
add_library(RailCCL::railccl ALIAS railccl_shared)
install(FILES "${CMAKE_LIBRARY_OUTPUT_DIRECTORY}/libnccl.so.2" DESTINATION "${CMAKE_INSTALL_LIBDIR}")
install(DIRECTORY include/railccl DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" FILES_MATCHING PATTERN "*.h")
install(EXPORT RailCCLTargets NAMESPACE RailCCL:: DESTINATION "${CMAKE_INSTALL_LIBDIR}/cmake/RailCCL")
file(WRITE "${PROJECT_BINARY_DIR}/RailCCLConfig.cmake"
     "include(\"\${CMAKE_CURRENT_LIST_DIR}/RailCCLTargets.cmake\")\n")
write_basic_package_version_file("${PROJECT_BINARY_DIR}/RailCCLConfigVersion.cmake"
                                 COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/RailCCLConfig.cmake"
              "${PROJECT_BINARY_DIR}/RailCCLConfigVersion.cmake"
        DESTINATION "${CMAKE_INSTALL_LIBDIR}/cmake/RailCCL")
file(RELATIVE_PATH RAILCCL_PREFIX_FROM_PKGCONFIG "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
configure_file(cmake/railccl.pc.in railccl.pc @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/railccl.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
