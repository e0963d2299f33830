# SPDX-License-Identifier: MIT
# The libraries of a test program's one heavy translation unit. Shared by the build and the installed package,
# so that both look for the same things and say the same when one is missing.

# Looks for libraries, each a "package|target|Debian package", that are no targets yet. What stays missing is added to
# ktstr_missing_dependencies. With GLOBAL, what was found is visible in the whole project: without it, a project that
# takes ktstr in with add_subdirectory() would see ktstr::main but not the targets behind it.
macro(ktstr_find_libraries scope)
  foreach(ktstr_dependency IN ITEMS ${ARGN})
    string(REPLACE "|" ";" ktstr_dependency "${ktstr_dependency}")
    list(GET ktstr_dependency 0 ktstr_package)
    list(GET ktstr_dependency 1 ktstr_target)
    list(GET ktstr_dependency 2 ktstr_debian_package)
    if(NOT TARGET ${ktstr_target})
      find_package(${ktstr_package} QUIET)
      if(NOT TARGET ${ktstr_target})
        string(APPEND ktstr_missing_dependencies " ${ktstr_package} (Debian package ${ktstr_debian_package})")
      elseif("${scope}" STREQUAL "GLOBAL")
        set_target_properties(${ktstr_target} PROPERTIES IMPORTED_GLOBAL TRUE)
      endif()
    endif()
  endforeach()
endmacro()

# Looks for all that a test program needs.
macro(ktstr_find_dependencies)
  set(ktstr_missing_dependencies "")
  ktstr_find_libraries("${ARGV0}" "Threads|Threads::Threads|libc6-dev")
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

# Looks for what ktstr::bpf is made of, which a program without it does not need: libbpf, as KTSTR_LIBBPF_ROOT, pkg-config's
# paths or the system have it, and the two libraries below it. The static one, so that it does not have to travel into
# machines as a file of its own.
macro(ktstr_find_libbpf)
  set(KTSTR_LIBBPF_ROOT "" CACHE PATH "Root of an installed or unpacked libbpf-dev, at least 1.4")
  if(NOT TARGET ktstr::libbpf)
    find_package(PkgConfig QUIET)
    if(PkgConfig_FOUND)
      pkg_check_modules(KTSTR_PC_LIBBPF QUIET libbpf)
    endif()
    find_path(KTSTR_LIBBPF_INCLUDE_DIR bpf/libbpf.h HINTS "${KTSTR_LIBBPF_ROOT}/usr/include" ${KTSTR_PC_LIBBPF_INCLUDEDIR}
              DOC "the folder with bpf/libbpf.h")
    find_library(KTSTR_LIBBPF_LIBRARY NAMES libbpf.a bpf HINTS "${KTSTR_LIBBPF_ROOT}/usr/lib/${CMAKE_LIBRARY_ARCHITECTURE}"
                 "${KTSTR_LIBBPF_ROOT}/usr/lib" ${KTSTR_PC_LIBBPF_LIBDIR} DOC "libbpf, at least 1.4")
    mark_as_advanced(KTSTR_LIBBPF_INCLUDE_DIR KTSTR_LIBBPF_LIBRARY)
    if(KTSTR_LIBBPF_INCLUDE_DIR AND KTSTR_LIBBPF_LIBRARY)
      add_library(ktstr::libbpf INTERFACE IMPORTED ${ARGV0})
      set_target_properties(
        ktstr::libbpf PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${KTSTR_LIBBPF_INCLUDE_DIR}" INTERFACE_LINK_LIBRARIES
                                                                                          "${KTSTR_LIBBPF_LIBRARY};elf;z")
    endif()
  endif()
endmacro()
