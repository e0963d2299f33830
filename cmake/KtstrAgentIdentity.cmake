# SPDX-License-Identifier: MIT
# Writes the heavy source files of a test program, the parts of its main, with the identity of the guest's agent in it: a hash of all headers
# but those of the host's side and of optional parts. Configures again when one of them changes. meson.build computes the same.
function(ktstr_configure_main out)
  set(root "${PROJECT_SOURCE_DIR}/include/ktstr")
  file(GLOB_RECURSE headers CONFIGURE_DEPENDS RELATIVE "${root}" "${root}/*.hpp")
  list(FILTER headers EXCLUDE REGEX "^(host|adapters|parts)/|^bpf[.]hpp$")
  list(SORT headers)
  set(contents "")
  foreach(header IN LISTS headers)
    file(SHA256 "${root}/${header}" content)
    string(APPEND contents "${content}  ${header}\n")
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${root}/${header}")
  endforeach()
  string(SHA256 agent_identity "${contents}")
  set(sources "")
  foreach(part IN ITEMS host guest reports entry)  # the dearest first; main() itself last
    set(source "${CMAKE_CURRENT_BINARY_DIR}/ktstr_main_${part}.cpp")
    configure_file("${PROJECT_SOURCE_DIR}/cmake/ktstr_main.cpp.in" "${source}" @ONLY)
    list(APPEND sources "${source}")
  endforeach()
  set(${out} "${sources}" PARENT_SCOPE)
endfunction()
