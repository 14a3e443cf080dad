# tweedie_flags: what every target of the project compiles with.
add_library(tweedie_flags INTERFACE)
target_compile_options(tweedie_flags INTERFACE -Wall -Wextra -Wno-missing-field-initializers -fno-math-errno
  # GCC 12 sees overruns in std::string where there are none (gcc.gnu.org/PR105329, PR105651).
  $<$<CXX_COMPILER_ID:GNU>:-fpch-preprocess;-Wno-restrict;-Wno-array-bounds;-Wno-stringop-overflow> $<$<BOOL:${TWEEDIE_WERROR}>:-Werror>)
if(TWEEDIE_SANITIZE)
  target_compile_options(tweedie_flags INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=undefined
    -fno-omit-frame-pointer)
  target_link_options(tweedie_flags INTERFACE -fsanitize=address,undefined)
endif()
if(TWEEDIE_FUZZ)
  add_library(tweedie_coverage OBJECT ${PROJECT_SOURCE_DIR}/tests/fuzz/coverage.cpp)
  target_compile_options(tweedie_flags INTERFACE -fsanitize-coverage=trace-pc,trace-cmp)
  target_link_libraries(tweedie_flags INTERFACE $<TARGET_OBJECTS:tweedie_coverage>)
endif()

# tweedie_library(NAME SOURCES ... LINK ...): one layer of the library.  Layers with torch share its precompiled header.
function(tweedie_library name)
  cmake_parse_arguments(ARG "TORCH" "" "SOURCES;LINK" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  add_library(tweedie::${name} ALIAS ${name})
  target_compile_features(${name} PUBLIC cxx_std_20)
  target_include_directories(${name} PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>
    $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  target_link_libraries(${name} PUBLIC ${ARG_LINK} PRIVATE $<BUILD_INTERFACE:tweedie_flags>)
  if(ARG_TORCH)
    target_precompile_headers(${name} REUSE_FROM tweedie_pch)
  endif()
  set_property(GLOBAL APPEND PROPERTY TWEEDIE_LIBRARIES ${name})
endfunction()

# An executable would be compiled with -fPIE, which cannot use the libraries' precompiled header.
function(tweedie_share_pch name)
  set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
  target_compile_options(${name} PRIVATE -fPIC)
  target_precompile_headers(${name} REUSE_FROM tweedie_pch)
endfunction()

# tweedie_test(NAME SOURCES ... LINK ... [TORCH] [LABEL slow]): one doctest binary, one test of CTest: starting LibTorch takes longer
# than most cases do.  `NAME -ltc` lists the cases, `NAME -tc="..."` runs some.
function(tweedie_test name)
  cmake_parse_arguments(ARG "TORCH" "LABEL" "SOURCES;LINK" ${ARGN})
  if(NOT ARG_LABEL)
    set(ARG_LABEL unit)
  endif()
  add_executable(${name} $<TARGET_OBJECTS:tweedie_doctest> ${ARG_SOURCES})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE ${ARG_LINK} doctest::doctest tweedie_flags)
  target_compile_definitions(${name} PRIVATE TWEEDIE_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  if(ARG_TORCH)
    tweedie_share_pch(${name})
  endif()
  if(ARG_LABEL STREQUAL unit)
    add_dependencies(unit_tests ${name})
  endif()
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS ${ARG_LABEL})
  if(TWEEDIE_SANITIZE)
    set_tests_properties(${name} PROPERTIES
      ENVIRONMENT "LSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/lsan.supp:print_suppressions=0")
  endif()
endfunction()
