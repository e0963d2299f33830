# SPDX-License-Identifier: MIT
# Asks a test program for its tests and writes them down for CTest. Run by the script that
# ktstr_discover_tests() generates, which sets:
#   KTSTR_EXECUTABLE KTSTR_TESTS_FILE KTSTR_WORKING_DIRECTORY KTSTR_PREFIX KTSTR_ARGS KTSTR_LABELS KTSTR_PROPERTIES

cmake_policy(PUSH)
cmake_policy(VERSION 3.22)

# Sets `out` to the objects of a JSON array as a CMake list, or to nothing if that cannot be done safely.
#
# string(JSON) parses the whole text at every call, so taking 1,000 tests out one by one takes 10 s. Here the text
# is cut where one object ends and the next begins. The pieces are believed only if there are as many as the array
# has elements and each is an object: strings may hold what looks like such a cut, or brackets, which confuse lists.
# A ';' can only stand inside a string, where \u003b means the same.
function(ktstr_detail_json_objects out text)
  string(JSON count LENGTH "${text}")
  string(REPLACE ";" "\\u003b" pieces "${text}")
  string(REGEX REPLACE "^[ \t\r\n]*\\[[ \t\r\n]*" "" pieces "${pieces}")
  string(REGEX REPLACE "[ \t\r\n]*\\][ \t\r\n]*$" "" pieces "${pieces}")
  string(REGEX REPLACE "}[ \t\r\n]*,[ \t\r\n]*{" "};{" pieces "${pieces}")
  list(LENGTH pieces found)
  if(NOT found EQUAL count)
    set(pieces "")
  endif()
  foreach(piece IN LISTS pieces)
    string(JSON type ERROR_VARIABLE error TYPE "${piece}")
    if(NOT type STREQUAL "OBJECT")
      set(pieces "")
      break()
    endif()
  endforeach()
  set(${out} "${pieces}" PARENT_SCOPE)
endfunction()

# The whole number in `object`'s member, rounded up; `fallback` where there is none.
function(ktstr_detail_json_number out object member fallback)
  string(JSON value ERROR_VARIABLE error GET "${object}" "${member}")
  if(value MATCHES "^([0-9]+)(\\.[0-9]+)?$")
    set(number "${CMAKE_MATCH_1}")
    if("${CMAKE_MATCH_2}" MATCHES "[1-9]")
      math(EXPR number "${number} + 1")
    endif()
    set(${out} "${number}" PARENT_SCOPE)
  else()
    set(${out} "${fallback}" PARENT_SCOPE)
  endif()
endfunction()

function(ktstr_detail_quoted out)
  set(text "")
  foreach(value IN LISTS ARGN)
    string(APPEND text " [===[${value}]===]")
  endforeach()
  set(${out} "${text}" PARENT_SCOPE)
endfunction()

# How many attempts at a test the program's own arguments make.
function(ktstr_detail_attempts out)
  set(repeat 1)
  set(retries 0)
  set(before "")
  foreach(word IN LISTS KTSTR_ARGS)
    if("${before} ${word}" MATCHES "(^|[ ])--(repeat|retries)[ =]([0-9]+)$")
      set(${CMAKE_MATCH_2} ${CMAKE_MATCH_3})
    endif()
    set(before "${word}")
  endforeach()
  math(EXPR attempts "${repeat} * (${retries} + 1)")
  set(${out} "${attempts}" PARENT_SCOPE)
endfunction()

function(ktstr_detail_register out object host_cpus)
  string(JSON name ERROR_VARIABLE error GET "${object}" name)
  if(error OR name STREQUAL "")
    message(FATAL_ERROR "ktstr: ${KTSTR_EXECUTABLE} --list --format json names a test without a name: ${object}")
  endif()

  # A test occupies the host CPUs its vCPUs are held to, else one for each vCPU, but never more than there are:
  # `ctest -j` then runs as many tests side by side as the host carries.
  ktstr_detail_json_number(processors "${object}" cpus 1)
  ktstr_detail_json_number(processors "${object}" cpu_budget ${processors})
  if(processors GREATER host_cpus)
    set(processors ${host_cpus})
  endif()
  if(processors LESS 1)
    set(processors 1)
  endif()

  # `limit_s` is what the program allows one attempt, an attach and all, in the guest's own pace. CTest's limit is there
  # for the day the program itself hangs. It must never come first: an emulated machine is up to 20 times slower than the
  # CPU, and it may boot three times: as a template, as its clone, and in their place.
  ktstr_detail_json_number(cpus "${object}" cpus 1)
  ktstr_detail_json_number(timeout "${object}" timeout_s 60)
  ktstr_detail_json_number(timeout "${object}" limit_s ${timeout})
  ktstr_detail_attempts(attempts)
  math(EXPR timeout "(${timeout} * 20 + 3 * (120 + 5 * ${cpus})) * ${attempts}")
  if("nested" IN_LIST KTSTR_ARGS)
    # Two machines boot, one emulated in the other, and each may take the limits of its kind.
    math(EXPR timeout "${timeout} + 3600")
  endif()

  set(labels "${KTSTR_LABELS}")
  string(JSON tag_count ERROR_VARIABLE error LENGTH "${object}" tags)
  if(tag_count GREATER 0)
    math(EXPR last "${tag_count} - 1")
    foreach(i RANGE ${last})
      string(JSON tag GET "${object}" tags ${i})
      list(APPEND labels "${tag}")
    endforeach()
  endif()

  set(properties PROCESSORS ${processors} TIMEOUT ${timeout} SKIP_RETURN_CODE 4)
  ktstr_detail_quoted(properties ${properties})
  string(APPEND properties " WORKING_DIRECTORY [===[${KTSTR_WORKING_DIRECTORY}]===]")
  if(NOT labels STREQUAL "")
    string(APPEND properties " LABELS [===[${labels}]===]")
  endif()
  string(JSON file ERROR_VARIABLE error GET "${object}" file)
  if(NOT error AND NOT file STREQUAL "")
    ktstr_detail_json_number(line "${object}" line 1)
    string(APPEND properties " DEF_SOURCE_LINE [===[${file}:${line}]===]")
  endif()
  ktstr_detail_quoted(own_properties ${KTSTR_PROPERTIES})
  ktstr_detail_quoted(args ${KTSTR_ARGS})

  set(${out}
      "add_test([===[${KTSTR_PREFIX}${name}]===] [===[${KTSTR_EXECUTABLE}]===] --filter [===[${name}]===]${args})
set_tests_properties([===[${KTSTR_PREFIX}${name}]===] PROPERTIES${properties}${own_properties})
"
      PARENT_SCOPE)
endfunction()

# `--topology` and `--kernel` among the program's own arguments decide which names its tests have, so they are asked for
# with them.
function(ktstr_detail_naming_arguments out)
  set(naming "")
  set(wants_value FALSE)
  foreach(word IN LISTS KTSTR_ARGS)
    if(wants_value OR word MATCHES "^--(topology|kernel)(=|$)")
      list(APPEND naming "${word}")
    endif()
    if(NOT wants_value AND word MATCHES "^--(topology|kernel)$")
      set(wants_value TRUE)
    else()
      set(wants_value FALSE)
    endif()
  endforeach()
  set(${out} "${naming}" PARENT_SCOPE)
endfunction()

function(ktstr_detail_discover)
  ktstr_detail_naming_arguments(naming)
  # 60 s: the program only prints what it holds, but a host may be busy.
  execute_process(
    COMMAND "${KTSTR_EXECUTABLE}" --list --format json ${naming}
    WORKING_DIRECTORY "${KTSTR_WORKING_DIRECTORY}"
    TIMEOUT 60
    OUTPUT_VARIABLE listing
    ERROR_VARIABLE complaint
    RESULT_VARIABLE status)
  if(NOT status STREQUAL "0")
    message(FATAL_ERROR "ktstr: ${KTSTR_EXECUTABLE} --list --format json failed (${status}), so its tests cannot "
                        "be registered:\n${listing}${complaint}")
  endif()
  string(JSON type ERROR_VARIABLE error TYPE "${listing}")
  if(NOT type STREQUAL "ARRAY")
    message(FATAL_ERROR "ktstr: ${KTSTR_EXECUTABLE} --list --format json printed no JSON array (${error}):\n"
                        "${listing}")
  endif()

  string(JSON count LENGTH "${listing}")
  set(script "# Written by KtstrDiscoverTests.cmake: ${count} tests.\n")
  if(count EQUAL 0)
    message(NOTICE "ktstr: ${KTSTR_EXECUTABLE} has no tests")
  else()
    cmake_host_system_information(RESULT host_cpus QUERY NUMBER_OF_LOGICAL_CORES)
    ktstr_detail_json_objects(objects "${listing}")
    foreach(object IN LISTS objects)
      ktstr_detail_register(one "${object}" ${host_cpus})
      string(APPEND script "${one}")
    endforeach()
    if("${objects}" STREQUAL "")
      math(EXPR last "${count} - 1")
      foreach(i RANGE ${last})
        string(JSON object GET "${listing}" ${i})
        ktstr_detail_register(one "${object}" ${host_cpus})
        string(APPEND script "${one}")
      endforeach()
    endif()
  endif()
  file(WRITE "${KTSTR_TESTS_FILE}" "${script}")
endfunction()

# Asked by ctest, an answer that is newer than the program and than the question still holds.
if(CMAKE_SCRIPT_MODE_FILE
   OR "${KTSTR_EXECUTABLE}" IS_NEWER_THAN "${KTSTR_TESTS_FILE}"
   OR "${CMAKE_PARENT_LIST_FILE}" IS_NEWER_THAN "${KTSTR_TESTS_FILE}")
  if(EXISTS "${KTSTR_EXECUTABLE}")
    ktstr_detail_discover()
  endif()
endif()

cmake_policy(POP)
