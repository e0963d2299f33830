# SPDX-License-Identifier: MIT
# After a test program was linked: a scheduler's program is found beside it, under the name of its target. Run by what
# ktstr_add_test(... SCHEDULERS) adds, which sets KTSTR_PROGRAM and KTSTR_LINK, two absolute paths.
cmake_policy(VERSION 3.22)

# Built into the same folder.
if(KTSTR_LINK STREQUAL KTSTR_PROGRAM)
  return()
endif()
if(EXISTS "${KTSTR_LINK}" AND NOT IS_SYMLINK "${KTSTR_LINK}")
  message(FATAL_ERROR "ktstr: ${KTSTR_LINK} is in the way of the link to the scheduler ${KTSTR_PROGRAM}; what the build "
                      "no longer makes may be deleted, else give one of the two another folder or name")
endif()
# Two test programs that share a folder may do this side by side.
set(there "")
if(IS_SYMLINK "${KTSTR_LINK}")
  file(READ_SYMLINK "${KTSTR_LINK}" there)
endif()
if(NOT there STREQUAL KTSTR_PROGRAM)
  file(CREATE_LINK "${KTSTR_PROGRAM}" "${KTSTR_LINK}" RESULT failed SYMBOLIC)
  if(NOT failed STREQUAL "0")
    set(there "")
    if(IS_SYMLINK "${KTSTR_LINK}")
      file(READ_SYMLINK "${KTSTR_LINK}" there)
    endif()
    if(NOT there STREQUAL KTSTR_PROGRAM)
      message(FATAL_ERROR "ktstr: cannot link ${KTSTR_LINK} to the scheduler ${KTSTR_PROGRAM}: ${failed}")
    endif()
  endif()
endif()
