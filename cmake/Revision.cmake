# Writes base/revision.h at build time: version, git revision (with "-dirty" when the tree differs) and build type.
add_custom_target(lacuna_revision
  COMMAND ${CMAKE_COMMAND} -DSOURCE=${CMAKE_SOURCE_DIR} -DOUT=${CMAKE_BINARY_DIR}/generated/revision.h
          -DVERSION=${PROJECT_VERSION} -DBUILD=${CMAKE_BUILD_TYPE} -P ${CMAKE_SOURCE_DIR}/cmake/write_revision.cmake
  BYPRODUCTS ${CMAKE_BINARY_DIR}/generated/revision.h COMMENT "" VERBATIM)
