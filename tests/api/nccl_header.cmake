# Conformance of the public headers: included by CMakeLists.txt of this folder.
set(header_sources nccl_header_test.cc nccl_header_dump.cc nccl_header_c.c)
set(toolkit_header "")
if(CUDAToolkit_FOUND)
  find_file(RAILCCL_TOOLKIT_NCCL_H nccl.h PATHS ${CUDAToolkit_INCLUDE_DIRS} NO_DEFAULT_PATH)
  if(RAILCCL_TOOLKIT_NCCL_H)
    set(toolkit_header "${RAILCCL_TOOLKIT_NCCL_H}")
  endif()
endif()
railccl_test(nccl_header_test SOURCES ${header_sources} LABELS api)
# One of its sources is C.
set_target_properties(nccl_header_test PROPERTIES DISABLE_PRECOMPILE_HEADERS ON)
target_include_directories(nccl_header_test PRIVATE "${PROJECT_SOURCE_DIR}/include")
target_compile_definitions(
  nccl_header_test PRIVATE RAILCCL_GOLDEN_FILE="${CMAKE_CURRENT_SOURCE_DIR}/nccl_header_golden.txt")
if(toolkit_header)
  add_library(nccl_header_toolkit OBJECT nccl_header_dump.cc)
  railccl_configure(nccl_header_toolkit)
  target_compile_definitions(nccl_header_toolkit PRIVATE RAILCCL_DUMP_TOOLKIT_HEADER)
  target_include_directories(nccl_header_toolkit SYSTEM PRIVATE ${CUDAToolkit_INCLUDE_DIRS})
  target_link_libraries(nccl_header_test PRIVATE nccl_header_toolkit)
  target_compile_definitions(nccl_header_test PRIVATE RAILCCL_HAVE_TOOLKIT_HEADER)
endif()

find_package(Python3 QUIET COMPONENTS Interpreter)
if(Python3_FOUND)
  set(exports_command ${Python3_EXECUTABLE} "${CMAKE_CURRENT_SOURCE_DIR}/nccl_header_exports.py"
                      --ours "${PROJECT_SOURCE_DIR}/include/railccl")
  if(toolkit_header)
    list(APPEND exports_command --theirs "${toolkit_header}")
  endif()
  add_test(NAME nccl_header_declarations COMMAND ${exports_command})
  if(TARGET railccl_shared)
    add_test(NAME nccl_header_exports
             COMMAND ${exports_command} --railccl "${PROJECT_SOURCE_DIR}/include/railccl/railccl.h"
                     --library $<TARGET_FILE:railccl_shared>)
  endif()
endif()
