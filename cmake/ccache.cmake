# Compile through ccache when it is installed.  The sloppiness is what ccache asks for with precompiled headers.
find_program(TWEEDIE_CCACHE ccache)
if(TWEEDIE_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env
      CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
      CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${TWEEDIE_CCACHE})
endif()
