# SPDX-License-Identifier: MIT
# The libraries of a test program's one heavy translation unit. Shared by the build and the installed package,
# so that both look for the same things and say the same when one is missing.

# Looks for every library that is not a target yet. What stays missing is named in ktstr_missing_dependencies.
# With GLOBAL, what was found is visible in the whole project: without it, a project that takes ktstr in with
# add_subdirectory() would see ktstr::main but not the targets behind it.
macro(ktstr_find_dependencies)
  set(ktstr_missing_dependencies "")
  foreach(ktstr_dependency IN ITEMS "fmt;fmt::fmt;libfmt-dev"
                                    "nlohmann_json;nlohmann_json::nlohmann_json;nlohmann-json3-dev"
                                    "Threads;Threads::Threads;libc6-dev")
    list(GET ktstr_dependency 0 ktstr_package)
    list(GET ktstr_dependency 1 ktstr_target)
    list(GET ktstr_dependency 2 ktstr_debian_package)
    if(NOT TARGET ${ktstr_target})
      find_package(${ktstr_package} QUIET)
      if(NOT TARGET ${ktstr_target})
        string(APPEND ktstr_missing_dependencies " ${ktstr_package} (Debian package ${ktstr_debian_package})")
      elseif("${ARGV0}" STREQUAL "GLOBAL")
        set_target_properties(${ktstr_target} PROPERTIES IMPORTED_GLOBAL TRUE)
      endif()
    endif()
  endforeach()
  # xxHash comes without CMake files on Debian; only its header is used.
  find_path(KTSTR_XXHASH_INCLUDE_DIR xxhash.h DOC "the folder of xxhash.h")
  mark_as_advanced(KTSTR_XXHASH_INCLUDE_DIR)
  if(NOT KTSTR_XXHASH_INCLUDE_DIR)
    string(APPEND ktstr_missing_dependencies " xxhash.h (Debian package libxxhash-dev)")
  elseif(NOT TARGET ktstr::xxhash)
    add_library(ktstr::xxhash INTERFACE IMPORTED ${ARGV0})
    set_target_properties(ktstr::xxhash PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${KTSTR_XXHASH_INCLUDE_DIR}")
  endif()
endmacro()
