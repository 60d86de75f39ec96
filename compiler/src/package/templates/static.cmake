# find_package(@NAME@ CONFIG) gives the target slm::@NAME@ and, in @NAME@_BUNDLE, the folder to open.
get_filename_component(_slm_prefix "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)
if(NOT TARGET slm::@NAME@)
  add_library(slm::@NAME@ STATIC IMPORTED)
  set_target_properties(slm::@NAME@ PROPERTIES
    IMPORTED_LOCATION "${_slm_prefix}/lib/@LIBRARY@"@CMAKE_FRAMEWORKS@
    INTERFACE_INCLUDE_DIRECTORIES "${_slm_prefix}/include")
endif()
set(@NAME@_BUNDLE "${_slm_prefix}/share/slm/@NAME@.slm")
unset(_slm_prefix)
