# One CMake target per room. Every room compiles with the same rules: C++20, warnings are errors, hidden
# visibility, position independent (all rooms end in one shared library).

set(RAILCCL_WARNINGS -Wall -Wextra -Wpedantic -Werror -Wshadow -Wnon-virtual-dtor
                     -Woverloaded-virtual -Wno-missing-field-initializers)

# GoogleTest's templates take most of a build; what is tested is optimised all the same.
set(RAILCCL_TEST_OPTIMISATION -O1)
if(RAILCCL_SANITIZE)
  set(RAILCCL_TEST_OPTIMISATION -O0)
endif()

function(railccl_configure target)
  target_compile_features(${target} PUBLIC cxx_std_20)
  set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF CXX_VISIBILITY_PRESET hidden
                        VISIBILITY_INLINES_HIDDEN ON POSITION_INDEPENDENT_CODE ON)
  target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:${RAILCCL_WARNINGS}>)
  # Lines for stack traces, no variables: a quarter less to compile (CMAKE_BUILD_TYPE=Debug has them).
  target_compile_options(${target} PRIVATE $<$<CONFIG:RelWithDebInfo>:-g1>)
  target_include_directories(${target} PRIVATE "${PROJECT_SOURCE_DIR}" INTERFACE "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>")
  if(RAILCCL_SANITIZE)
    # gcc's warnings about the flow of values mistake instrumented code; they are errors in every other build.
    target_compile_options(${target} PRIVATE -Wno-error)
    # What is found ends the test. Not looked for: numbers that no enumerator has; a C caller may pass any, and the API
    # checks them. Nor what the address sanitizer sees as well: null pointers and objects of another type, which take
    # a third of the compilation.
    target_compile_options(${target} PUBLIC -fsanitize=${RAILCCL_SANITIZE} -fno-sanitize=enum,null,vptr
                           -fno-sanitize-recover=all -fno-omit-frame-pointer)
    target_link_options(${target} PUBLIC -fsanitize=${RAILCCL_SANITIZE})
  endif()
endfunction()

# railccl_room(base SOURCES a.cc b.cc DEPENDS railccl_x): the static library railccl_base.
function(railccl_room name)
  cmake_parse_arguments(ROOM "" "" "SOURCES;DEPENDS" ${ARGN})
  add_library(railccl_${name} STATIC ${ROOM_SOURCES})
  railccl_configure(railccl_${name})
  set_target_properties(railccl_${name} PROPERTIES UNITY_BUILD ${RAILCCL_FROM_SCRATCH} UNITY_BUILD_BATCH_SIZE 16)
  target_link_libraries(railccl_${name} PUBLIC ${ROOM_DEPENDS})
endfunction()

# How test programs, their shared parts and the precompiled header of both are compiled: alike, or it is of no use.
function(railccl_configure_test target)
  railccl_configure(${target})
  target_compile_options(${target} PRIVATE $<$<CONFIG:RelWithDebInfo>:${RAILCCL_TEST_OPTIMISATION}>)
  target_link_libraries(${target} PRIVATE GTest::gmock)
endfunction()

# What most test programs include, compiled once, as a program's part like them.
function(railccl_precompile_tests)
  file(WRITE "${PROJECT_BINARY_DIR}/precompiled.cc" "int main() {}\n")
  add_executable(railccl_precompiled EXCLUDE_FROM_ALL "${PROJECT_BINARY_DIR}/precompiled.cc")
  railccl_configure_test(railccl_precompiled)
  target_precompile_headers(railccl_precompiled PRIVATE <gmock/gmock.h> <gtest/gtest.h> <algorithm>
                            <array> <atomic> <chrono> <cstring> <filesystem> <fstream> <functional> <map> <memory>
                            <numeric> <optional> <random> <span> <string> <thread> <vector>)
endfunction()

function(railccl_use_precompiled target)
  if(NOT RAILCCL_FROM_SCRATCH)
    return()
  endif()
  if(NOT TARGET railccl_precompiled)
    railccl_precompile_tests()
  endif()
  target_precompile_headers(${target} REUSE_FROM railccl_precompiled)
endfunction()

# railccl_test_part(name SOURCES a.cc DEPENDS railccl_x): what several test programs name in their DEPENDS, compiled once.
function(railccl_test_part name)
  cmake_parse_arguments(PART "" "" "SOURCES;DEPENDS" ${ARGN})
  add_library(${name} OBJECT EXCLUDE_FROM_ALL ${PART_SOURCES})
  railccl_configure_test(${name})
  railccl_use_precompiled(${name})
  # As a program's part, like the precompiled header.
  set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
  target_compile_options(${name} PRIVATE -fPIE)
  target_link_libraries(${name} PUBLIC ${PART_DEPENDS})
endfunction()

# railccl_test(name SOURCES a_test.cc DEPENDS railccl_x [LABELS fast] [TIMEOUT s]): one GoogleTest program, one ctest entry.
function(railccl_test name)
  cmake_parse_arguments(TEST "" "TIMEOUT" "SOURCES;DEPENDS;LABELS" ${ARGN})
  add_executable(${name} ${TEST_SOURCES})
  railccl_configure_test(${name})
  railccl_use_precompiled(${name})
  target_link_libraries(${name} PRIVATE ${TEST_DEPENDS} GTest::gtest_main)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")
  add_test(NAME ${name} COMMAND ${name})
  if(NOT TEST_TIMEOUT)
    set(TEST_TIMEOUT 120)
  endif()
  set_tests_properties(${name} PROPERTIES TIMEOUT ${TEST_TIMEOUT} LABELS "${TEST_LABELS}")
endfunction()

# railccl_benchmark(name SOURCES ... DEPENDS ...): a Google Benchmark program in bin/bench, not a test.
function(railccl_benchmark name)
  cmake_parse_arguments(BENCH "" "" "SOURCES;DEPENDS" ${ARGN})
  add_executable(${name} ${BENCH_SOURCES})
  railccl_configure(${name})
  target_link_libraries(${name} PRIVATE ${BENCH_DEPENDS} benchmark::benchmark benchmark::benchmark_main)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bench")
endfunction()
