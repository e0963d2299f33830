# SPDX-License-Identifier: MIT
# The functions a project uses: ktstr_add_test(), ktstr_discover_tests() for a program built otherwise, and
# ktstr_add_bpf_scheduler().

# ktstr_add_test(<target> SOURCES <file>... [LIBRARIES <target>...] [SCHEDULERS <target>...]
#                [DISCOVERY_MODE POST_BUILD|PRE_TEST|NONE] [PREFIX <text>] [ARGS <arg>...] [LABELS <label>...]
#                [PROPERTIES <property> <value>...] [COMPILED_MAIN] [NO_MAIN])
#
# A test program of these sources, and one CTest test for each KTSTR_TEST in it. LIBRARIES are linked to it. The
# rest is as for ktstr_discover_tests(); NONE registers nothing, for a program that is run by other means.
#
# SCHEDULERS are targets that make a scheduler's program: executables, or of ktstr_add_bpf_scheduler(). They are built
# with the test program, and `scheduler{.binary = "target"}` in it finds them, however it is started, because a link of
# the target's name is laid beside it where the scheduler is built elsewhere.
#
# COMPILED_MAIN takes the main that was compiled when ktstr was installed with -DKTSTR_INSTALL_MAIN=ON, instead of
# compiling it here; an error if there is none, or if it was compiled by another compiler or with other options.
#
# NO_MAIN leaves main() to SOURCES or LIBRARIES, see <ktstr/embed.hpp>. Nothing is registered then unless a DISCOVERY_MODE
# is given: the program is asked only where its author says that its main() answers `--list`, by ktstr::run().
#
# Test files belong in SOURCES, not in a static library: the linker would leave them out.
function(ktstr_add_test target)
  cmake_parse_arguments(PARSE_ARGV 1 arg "COMPILED_MAIN;NO_MAIN" "DISCOVERY_MODE;PREFIX"
                        "SOURCES;LIBRARIES;SCHEDULERS;ARGS;LABELS;PROPERTIES")
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "ktstr_add_test(${target}): unknown argument '${arg_UNPARSED_ARGUMENTS}'")
  endif()
  if(NOT arg_SOURCES)
    message(FATAL_ERROR "ktstr_add_test(${target}): SOURCES names no file")
  endif()

  add_executable(${target} ${arg_SOURCES})
  if(arg_COMPILED_MAIN)
    ktstr_detail_check_compiled_main(${target})
    # ktstr's main() is taken before one that a library has, and none of ktstr's where it is not wanted.
    if(NOT arg_NO_MAIN)
      target_link_libraries(${target} PRIVATE ktstr::compiled_entry)
    endif()
    target_link_libraries(${target} PRIVATE ${arg_LIBRARIES} ktstr::compiled_main)
  else()
    ktstr_detail_main_object(main_object ${arg_LIBRARIES})
    target_link_libraries(${target} PRIVATE ktstr::main_libraries ${arg_LIBRARIES})
    target_sources(${target} PRIVATE $<TARGET_OBJECTS:${main_object}>)
    if(NOT arg_NO_MAIN)
      target_link_libraries(${target} PRIVATE ktstr::entry)
    endif()
  endif()
  ktstr_detail_add_schedulers(${target} ${arg_SCHEDULERS})

  if(arg_NO_MAIN AND NOT DEFINED arg_DISCOVERY_MODE)
    set(arg_DISCOVERY_MODE NONE)
  endif()
  if("${arg_DISCOVERY_MODE}" STREQUAL "NONE")
    return()
  endif()
  set(forward "")
  foreach(option IN ITEMS DISCOVERY_MODE PREFIX)
    if(DEFINED arg_${option})
      list(APPEND forward ${option} "${arg_${option}}")
    endif()
  endforeach()
  ktstr_discover_tests(${target} ${forward} ARGS ${arg_ARGS} LABELS ${arg_LABELS} PROPERTIES ${arg_PROPERTIES})
endfunction()

# The links of all test programs are laid in every build, and not when a program is linked: that is not done again where a
# scheduler was taken from the list, or where another configuration has the same folder.
function(ktstr_detail_add_schedulers target)
  set(folder "${CMAKE_BINARY_DIR}/ktstr_schedulers")
  get_property(begun GLOBAL PROPERTY KTSTR_LINKS_BEGUN)
  if(NOT begun)
    # What was generated before may be of a test program that is no more.
    set_property(GLOBAL PROPERTY KTSTR_LINKS_BEGUN TRUE)
    file(REMOVE_RECURSE "${folder}/links")
  endif()
  if(NOT ARGN AND NOT EXISTS "${folder}")
    return()
  endif()

  set(calls "")
  foreach(scheduler IN LISTS ARGN)
    if(NOT TARGET "${scheduler}")
      message(FATAL_ERROR "ktstr_add_test(${target}): SCHEDULERS names '${scheduler}', which is no target at this place; "
                          "define it above, with add_executable() or ktstr_add_bpf_scheduler(). A program that this project "
                          "does not build goes without SCHEDULERS: by its path, by PATH, or by KTSTR_SCHEDULER_<NAME>")
    endif()
    get_target_property(program "${scheduler}" KTSTR_PROGRAM)
    get_target_property(type "${scheduler}" TYPE)
    if(NOT program)
      if(NOT type STREQUAL "EXECUTABLE")
        message(FATAL_ERROR "ktstr_add_test(${target}): SCHEDULERS names '${scheduler}', which is no program "
                            "(${type}); name an executable or a target of ktstr_add_bpf_scheduler()")
      endif()
      set(program "$<TARGET_FILE:${scheduler}>")
    endif()
    add_dependencies(${target} "${scheduler}")
    string(APPEND calls "ktstr_link([==[$<TARGET_FILE_DIR:${target}>/${scheduler}]==] [==[${program}]==])\n")
  endforeach()
  if(NOT TARGET ktstr_scheduler_links)
    add_custom_target(
      ktstr_scheduler_links
      COMMAND "${CMAKE_COMMAND}" "-DKTSTR_LINKS=${folder}/links/of_$<CONFIG>" "-DKTSTR_LAID=${folder}/laid_$<CONFIG>.cmake" -P
              "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/KtstrLinkScheduler.cmake"
      COMMENT "Laying the links to schedulers"
      VERBATIM)
  endif()
  add_dependencies(${target} ktstr_scheduler_links)
  if(ARGN)
    file(GENERATE OUTPUT "${folder}/links/of_$<CONFIG>/${target}.cmake" CONTENT "${calls}")
  endif()
endfunction()

# ktstr_add_bpf_scheduler(<target> SOURCES <x.bpf.c>... [LOADER <file>] [KERNEL <kernel>] [INCLUDES <folder>...]
#                         [DEFINITIONS <macro>...])
#
# A scheduler's program of its BPF sources, made by `ktstr bpf build`, which see; the property KTSTR_PROGRAM of the
# target is its path. Nothing is looked for before it is built: clang, bpftool, libbpf and the kernel are then.
#   LOADER       the program's user-space half, which finds the skeleton as <target>.skel.h; without, ktstr's own
#   KERNEL       whose types vmlinux.h has, as for --kernel: distro (default), host, a path, or a cached release
#   INCLUDES, DEFINITIONS  for both halves
# The ktstr command is that of the package or of add_subdirectory(); the variable KTSTR_TOOL names another.
function(ktstr_add_bpf_scheduler target)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "LOADER;KERNEL" "SOURCES;INCLUDES;DEFINITIONS")
  set(what "ktstr_add_bpf_scheduler(${target})")
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "${what}: unknown argument '${arg_UNPARSED_ARGUMENTS}'")
  endif()
  if(NOT arg_SOURCES)
    message(FATAL_ERROR "${what}: SOURCES names no file")
  endif()
  foreach(list IN ITEMS SOURCES LOADER INCLUDES)
    set(${list} "")
    foreach(path IN LISTS arg_${list})
      cmake_path(ABSOLUTE_PATH path BASE_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}" NORMALIZE)
      get_source_file_property(generated "${path}" GENERATED)
      if(NOT EXISTS "${path}" AND NOT generated)
        message(FATAL_ERROR "${what}: ${list} names ${path}, which does not exist")
      endif()
      list(APPEND ${list} "${path}")
    endforeach()
  endforeach()
  if(KTSTR_TOOL)
    set(tool "${KTSTR_TOOL}")
  elseif(TARGET ktstr::tool)
    set(tool "$<TARGET_FILE:ktstr::tool>")
  else()
    message(FATAL_ERROR "${what}: there is no ktstr command to build it with: this ktstr was installed or taken in "
                        "without; install it with -DKTSTR_BUILD_TOOL=ON (with add_subdirectory(), set that variable "
                        "before), or name a ktstr command in -DKTSTR_TOOL=PATH")
  endif()

  set(options --compiler "${CMAKE_CXX_COMPILER}")
  if(arg_LOADER)
    if(arg_LOADER MATCHES "\\.c$")
      set(options --compiler cc)
      if(CMAKE_C_COMPILER)
        set(options --compiler "${CMAKE_C_COMPILER}")
      endif()
    endif()
    list(APPEND options --loader "${LOADER}")
  endif()
  set(kernel_file "")
  if(arg_KERNEL)
    set(kernel "${arg_KERNEL}")
    if(kernel MATCHES "/")
      cmake_path(ABSOLUTE_PATH kernel BASE_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}" NORMALIZE)
      if(EXISTS "${kernel}" AND NOT IS_DIRECTORY "${kernel}")
        set(kernel_file "${kernel}")
      endif()
    endif()
    list(APPEND options --kernel "${kernel}")
  endif()
  foreach(folder IN LISTS INCLUDES)
    list(APPEND options -I "${folder}")
  endforeach()
  foreach(definition IN LISTS arg_DEFINITIONS)
    list(APPEND options -D "${definition}")
  endforeach()
  # In a folder of its own: a file may not be called as the target beside it.
  set(folder "${CMAKE_CURRENT_BINARY_DIR}/${target}_ktstr")
  file(MAKE_DIRECTORY "${folder}")
  add_custom_command(
    OUTPUT "${folder}/${target}"
    COMMAND "${tool}" bpf build ${SOURCES} --output "${folder}/${target}" --depfile "${folder}/${target}.d" ${options}
    DEPENDS ${SOURCES} ${LOADER} ${kernel_file} "${tool}"
    DEPFILE "${folder}/${target}.d"
    COMMENT "Building the BPF scheduler ${target}"
    VERBATIM)
  add_custom_target(${target} ALL DEPENDS "${folder}/${target}")
  set_target_properties(${target} PROPERTIES KTSTR_PROGRAM "${folder}/${target}")
endfunction()

# What the objects of a program have to agree on: the compiler, and those of the directory's options that change what
# code they are for. Optimization, debug information, warnings, folders and a project's own macros do not.
function(ktstr_detail_ways out_compiler out_options)
  string(TOUPPER "${CMAKE_BUILD_TYPE}" type)
  separate_arguments(options UNIX_COMMAND "${CMAKE_CXX_FLAGS} ${CMAKE_CXX_FLAGS_${type}}")
  get_property(of_directory DIRECTORY PROPERTY COMPILE_OPTIONS)
  get_property(definitions DIRECTORY PROPERTY COMPILE_DEFINITIONS)
  list(TRANSFORM definitions PREPEND "-D")
  list(APPEND options ${of_directory} ${definitions})
  set(kept "")
  foreach(option IN LISTS options)
    if(option MATCHES "^-D" AND NOT option MATCHES "^-D_?(_GLIBCXX|_LIBCPP|KTSTR)")
      continue()
    endif()
    if(option MATCHES "^-(f|m|D|std)" AND NOT option MATCHES "^-f(no-)?(diagnostics|color-diagnostics|omit-frame-pointer)")
      list(APPEND kept "${option}")
    endif()
  endforeach()
  list(SORT kept)
  list(REMOVE_DUPLICATES kept)
  list(JOIN kept " " kept)
  set(${out_compiler} "${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}" PARENT_SCOPE)
  set(${out_options} "${kept}" PARENT_SCOPE)
endfunction()

function(ktstr_detail_check_compiled_main target)
  if(NOT TARGET ktstr::compiled_main)
    message(FATAL_ERROR "ktstr_add_test(${target}): this ktstr was installed without a COMPILED_MAIN; install it with "
                        "-DKTSTR_INSTALL_MAIN=ON, or leave COMPILED_MAIN out")
  endif()
  ktstr_detail_ways(compiler options)
  get_target_property(its_compiler ktstr::compiled_main KTSTR_COMPILER)
  get_target_property(its_options ktstr::compiled_main KTSTR_OPTIONS)
  if(NOT "${compiler}" STREQUAL "${its_compiler}")
    message(FATAL_ERROR "ktstr_add_test(${target}): the COMPILED_MAIN is of ${its_compiler}, and this "
                        "project is compiled by ${compiler}; install ktstr with this compiler, or leave COMPILED_MAIN out")
  endif()
  if(NOT "${options}" STREQUAL "${its_options}")
    message(FATAL_ERROR "ktstr_add_test(${target}): the COMPILED_MAIN was compiled with '${its_options}', "
                        "and this directory with '${options}'; install ktstr with these options, or leave COMPILED_MAIN "
                        "out")
  endif()
endfunction()

# The heavy translation units are by far the dearest to compile, and they are the same for all programs that are compiled
# alike: they share one set of objects, whichever folder they are in.
function(ktstr_detail_main_object out)
  # ktstr's own parts are sources of the program, and the main is the same without them.
  list(FILTER ARGN EXCLUDE REGEX "^ktstr::")
  set(key "${ARGN}")
  foreach(property IN ITEMS COMPILE_OPTIONS COMPILE_DEFINITIONS INCLUDE_DIRECTORIES)
    get_property(value DIRECTORY PROPERTY ${property})
    string(APPEND key "|${value}")
  endforeach()
  foreach(variable IN ITEMS CMAKE_CXX_FLAGS CMAKE_BUILD_TYPE CMAKE_CXX_STANDARD CMAKE_CXX_EXTENSIONS
                            CMAKE_POSITION_INDEPENDENT_CODE CMAKE_INTERPROCEDURAL_OPTIMIZATION)
    string(APPEND key "|${${variable}}")
  endforeach()
  string(MD5 key "${key}")
  string(SUBSTRING "${key}" 0 8 key)
  set(object "ktstr_main_${key}")
  if(NOT TARGET ${object})
    add_library(${object} OBJECT)
    target_link_libraries(${object} PRIVATE ktstr::no_main)
    # It is compiled as the libraries ask of their users, but what they are made of is the program's alone: a source
    # that comes with one would be in it twice.
    add_library(${object}_uses INTERFACE)
    target_link_libraries(${object}_uses INTERFACE ${ARGN})
    target_compile_features(${object} PRIVATE $<TARGET_PROPERTY:${object}_uses,INTERFACE_COMPILE_FEATURES>)
    target_compile_options(${object} PRIVATE $<TARGET_PROPERTY:${object}_uses,INTERFACE_COMPILE_OPTIONS>)
    target_compile_definitions(${object} PRIVATE $<TARGET_PROPERTY:${object}_uses,INTERFACE_COMPILE_DEFINITIONS>)
    target_include_directories(${object} PRIVATE $<TARGET_PROPERTY:${object}_uses,INTERFACE_INCLUDE_DIRECTORIES>)
    # Half of what the host's side costs at -O2 is work of the optimizer's that nobody would notice: it waits for
    # machines. What runs in a machine is compiled as the project is.
    set(folder "${CMAKE_CURRENT_FUNCTION_LIST_DIR}")
    if(NOT EXISTS "${folder}/ktstr_main_host.cpp")
      set(folder "${ktstr_BINARY_DIR}")  # not installed
    endif()
    # Of -O1, g++ is spared what costs most and is for loops that these files do not have.
    set(spared -fno-tree-dominator-opts -fno-tree-pta -fno-tree-ter -fno-tree-loop-optimize -fno-forward-propagate
               -fno-guess-branch-probability -fno-ipa-modref -fno-if-conversion -fno-cprop-registers -fno-dse
               -Wno-maybe-uninitialized)  # which needs them
    set_source_files_properties(
      "${folder}/ktstr_main_host.cpp" "${folder}/ktstr_main_reports.cpp"
      PROPERTIES COMPILE_OPTIONS
                 "$<$<CONFIG:Release,RelWithDebInfo>:-O1;$<$<CXX_COMPILER_ID:GNU>:${spared}>>")
  endif()
  set(${out} "${object}" PARENT_SCOPE)
endfunction()

# ktstr_discover_tests(<target> [DISCOVERY_MODE POST_BUILD|PRE_TEST] [PREFIX <text>] [ARGS <arg>...]
#                      [LABELS <label>...] [PROPERTIES <property> <value>...])
#
# Asks the program for its tests (`--list --format json`, nothing else) and registers each by its name, with
# PROCESSORS, TIMEOUT, LABELS and SKIP_RETURN_CODE from what it says.
#   DISCOVERY_MODE  POST_BUILD (default) asks once after linking; PRE_TEST asks when ctest starts, for programs
#                   that cannot run where they are built
#   PREFIX          put before each name, for a project in which two programs have a test of the same name
#   ARGS            more arguments for every run, as `--accel tcg`
#   LABELS          more labels, beside the tests' own tags
#   PROPERTIES      CTest properties set last, so that they win
function(ktstr_discover_tests target)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "DISCOVERY_MODE;PREFIX" "ARGS;LABELS;PROPERTIES")
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "ktstr_discover_tests(${target}): unknown argument '${arg_UNPARSED_ARGUMENTS}'")
  endif()
  if(NOT DEFINED arg_DISCOVERY_MODE)
    set(arg_DISCOVERY_MODE POST_BUILD)
  endif()
  if(NOT arg_DISCOVERY_MODE MATCHES "^(POST_BUILD|PRE_TEST)$")
    message(FATAL_ERROR "ktstr_discover_tests(${target}): DISCOVERY_MODE is '${arg_DISCOVERY_MODE}', which is "
                        "neither POST_BUILD nor PRE_TEST")
  endif()

  # Everything the discovery needs to know stands in one generated script. `cmake -P` runs it after linking, or
  # ctest includes it.
  get_property(multi_config GLOBAL PROPERTY GENERATOR_IS_MULTI_CONFIG)
  set(base "${CMAKE_CURRENT_BINARY_DIR}/${target}_ktstr")
  set(config "")
  set(ctest_config "")
  if(multi_config)
    set(config "-$<CONFIG>")
    set(ctest_config "-\${CTEST_CONFIGURATION_TYPE}")
  endif()
  set(ask "${base}_ask${config}.cmake")
  set(tests "${base}_tests${config}.cmake")
  file(
    GENERATE
    OUTPUT "${ask}"
    CONTENT
      "set(KTSTR_EXECUTABLE [==[$<TARGET_FILE:${target}>]==])
set(KTSTR_TESTS_FILE [==[${tests}]==])
set(KTSTR_WORKING_DIRECTORY [==[${CMAKE_CURRENT_BINARY_DIR}]==])
set(KTSTR_PREFIX [==[${arg_PREFIX}]==])
set(KTSTR_ARGS [==[${arg_ARGS}]==])
set(KTSTR_LABELS [==[${arg_LABELS}]==])
set(KTSTR_PROPERTIES [==[${arg_PROPERTIES}]==])
include([==[${CMAKE_CURRENT_FUNCTION_LIST_DIR}/KtstrDiscoverTests.cmake]==])
")
  # Other arguments must reach ctest even where nothing else makes the program link again.
  set_property(TARGET ${target} APPEND PROPERTY LINK_DEPENDS "${ask}"
                                                "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/KtstrDiscoverTests.cmake")

  set(include_file "${base}_include.cmake")
  if(arg_DISCOVERY_MODE STREQUAL "POST_BUILD")
    add_custom_command(
      TARGET ${target} POST_BUILD
      BYPRODUCTS "${tests}"
      COMMAND "${CMAKE_COMMAND}" -P "${ask}"
      COMMENT "Finding the tests of ${target}"
      VERBATIM)
    set(refresh "")
  else()
    set(refresh "include(\"${base}_ask${ctest_config}.cmake\" OPTIONAL)\n")
  endif()
  file(
    WRITE "${include_file}"
    "${refresh}if(EXISTS \"${base}_tests${ctest_config}.cmake\")
  include(\"${base}_tests${ctest_config}.cmake\")
else()
  add_test(${target}_NOT_BUILT ${target}_NOT_BUILT)
endif()
")
  set_property(DIRECTORY APPEND PROPERTY TEST_INCLUDE_FILES "${include_file}")
endfunction()
