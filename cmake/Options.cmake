# Flags of our own code, and the function that declares a layer.

add_library(lacuna_options INTERFACE)
target_compile_options(lacuna_options INTERFACE -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion
                                                -Wnon-virtual-dtor -Woverloaded-virtual -ffp-contract=off)
if(LACUNA_WARNINGS_AS_ERRORS)
  target_compile_options(lacuna_options INTERFACE -Werror)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # GCC 12 reports these in the bodies of std::string and std::optional once they are inlined, and designated
  # initialisers that leave a member to its default.
  target_compile_options(lacuna_options INTERFACE -Wno-missing-field-initializers -Wno-restrict -Wno-array-bounds
                                                  -Wno-stringop-overflow -Wno-stringop-overread
                                                  -Wno-maybe-uninitialized)
endif()
if(LACUNA_SANITIZE)
  # UBSan would only print and go on; a test must fail.
  target_compile_options(lacuna_options INTERFACE -fsanitize=${LACUNA_SANITIZE} -fno-sanitize-recover=all
                                                  -fno-omit-frame-pointer -g)
  target_link_options(lacuna_options INTERFACE -fsanitize=${LACUNA_SANITIZE})
endif()
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  find_program(LACUNA_LLD ld.lld)
  if(LACUNA_LLD)
    target_link_options(lacuna_options INTERFACE -fuse-ld=lld)
  endif()
endif()

find_program(LACUNA_CCACHE ccache)
if(LACUNA_CCACHE)
  # A precompiled header is part of what ccache must compare; sloppiness lets it look at its content, not its time.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${LACUNA_CCACHE})
  if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    add_compile_options("SHELL:-Xclang -fno-pch-timestamp")
  endif()
endif()

# lacuna_layer(NAME [TORCH] [FOLDER folder] LINK ...): one static library from the .cpp files under src/<folder>.
# TORCH layers share one precompiled header, the one umbrella include of LibTorch (src/nn/torch.h).
function(lacuna_layer NAME)
  cmake_parse_arguments(ARG "TORCH" "FOLDER" "LINK" ${ARGN})
  if(NOT ARG_FOLDER)
    set(ARG_FOLDER ${NAME})
  endif()
  file(GLOB_RECURSE SOURCES CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${ARG_FOLDER}/*.cpp)
  list(FILTER SOURCES EXCLUDE REGEX "/main\\.cpp$")
  add_library(lacuna_${NAME} STATIC ${SOURCES})
  set_target_properties(lacuna_${NAME} PROPERTIES LINKER_LANGUAGE CXX)
  target_include_directories(lacuna_${NAME} PUBLIC ${CMAKE_SOURCE_DIR}/src)
  target_link_libraries(lacuna_${NAME} ${ARG_LINK} PRIVATE lacuna_options)
  if(ARG_TORCH)
    lacuna_use_torch(lacuna_${NAME})
  endif()
endfunction()

# Compiles TARGET with the shared precompiled header. It must have the flags of lacuna_options.
function(lacuna_use_torch TARGET)
  target_link_libraries(${TARGET} PUBLIC torch::torch)
  if(NOT TARGET lacuna_pch)
    file(WRITE ${CMAKE_BINARY_DIR}/pch.cpp.in "")
    configure_file(${CMAKE_BINARY_DIR}/pch.cpp.in ${CMAKE_BINARY_DIR}/pch.cpp COPYONLY)
    add_library(lacuna_pch STATIC ${CMAKE_BINARY_DIR}/pch.cpp)
    target_include_directories(lacuna_pch PUBLIC ${CMAKE_SOURCE_DIR}/src)
    target_link_libraries(lacuna_pch PUBLIC torch::torch PRIVATE lacuna_options)
    target_precompile_headers(lacuna_pch PRIVATE ${CMAKE_SOURCE_DIR}/src/nn/torch.h)
  endif()
  target_precompile_headers(${TARGET} REUSE_FROM lacuna_pch)
endfunction()

# lacuna_embed(NAME DIR): the .toml files of DIR become part of the layer's library (cmake/Embed.cmake).
function(lacuna_embed NAME DIR)
  file(GLOB FILES CONFIGURE_DEPENDS ${DIR}/*.toml)
  set(OUT ${CMAKE_BINARY_DIR}/embedded_${NAME}.cpp)
  add_custom_command(
    OUTPUT ${OUT}
    COMMAND ${CMAKE_COMMAND} -DDIR=${DIR} -DOUT=${OUT} -P ${CMAKE_SOURCE_DIR}/cmake/Embed.cmake
    DEPENDS ${FILES} ${CMAKE_SOURCE_DIR}/cmake/Embed.cmake)
  target_sources(lacuna_${NAME} PRIVATE ${OUT})
endfunction()
