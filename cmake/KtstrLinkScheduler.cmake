# SPDX-License-Identifier: MIT
# In every build, before the test programs: each finds its schedulers beside it, under the names of their targets, and
# none that it no longer names. Run by what ktstr_add_test(... SCHEDULERS) adds. KTSTR_LINKS is the folder with a file for
# each test program of this configuration, of calls of ktstr_link(); KTSTR_LAID is the record of the build before.
cmake_policy(VERSION 3.22)
set(count 0)  # a list would not do: a path may have a semicolon in it

function(ktstr_link link program)
  # Built into the same folder.
  if(NOT link STREQUAL program)
    math(EXPR next "${count} + 1")
    set(link_${count} "${link}" PARENT_SCOPE)
    set(program_${count} "${program}" PARENT_SCOPE)
    set("wanted_${link}" TRUE PARENT_SCOPE)
    set(count ${next} PARENT_SCOPE)
  endif()
endfunction()

# What somebody else made of a link since is not thrown away.
function(ktstr_laid link program)
  if(NOT DEFINED "wanted_${link}" AND IS_SYMLINK "${link}")
    file(READ_SYMLINK "${link}" there)
    if(there STREQUAL program)
      file(REMOVE "${link}")
    endif()
  endif()
endfunction()

file(GLOB lists "${KTSTR_LINKS}/*.cmake")
foreach(list IN LISTS lists)
  include("${list}")
endforeach()
include("${KTSTR_LAID}" OPTIONAL)

# The record first: what could not be laid is still not lost sight of.
set(record "")
set(i 0)
while(i LESS count)
  string(APPEND record "ktstr_laid([==[${link_${i}}]==] [==[${program_${i}}]==])\n")
  math(EXPR i "${i} + 1")
endwhile()
file(WRITE "${KTSTR_LAID}" "${record}")

set(i 0)
while(i LESS count)
  set(link "${link_${i}}")
  set(program "${program_${i}}")
  if(EXISTS "${link}" AND NOT IS_SYMLINK "${link}")
    message(FATAL_ERROR "ktstr: ${link} is in the way of the link to the scheduler ${program}; what the build "
                        "no longer makes may be deleted, else give one of the two another folder or name")
  endif()
  set(there "")
  if(IS_SYMLINK "${link}")
    file(READ_SYMLINK "${link}" there)
  endif()
  if(NOT there STREQUAL program)
    cmake_path(GET link PARENT_PATH folder)
    file(MAKE_DIRECTORY "${folder}")
    file(CREATE_LINK "${program}" "${link}" RESULT failed SYMBOLIC)
    if(NOT failed STREQUAL "0")
      message(FATAL_ERROR "ktstr: cannot link ${link} to the scheduler ${program}: ${failed}")
    endif()
  endif()
  math(EXPR i "${i} + 1")
endwhile()
