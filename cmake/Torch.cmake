# LibTorch from the Python wheel, imported by hand.
#
# find_package(Torch) of a CUDA wheel enables the CUDA language and demands a matching toolkit; nothing here needs one.
# The same lines serve a CPU and a CUDA wheel: the CUDA libraries are linked when the wheel ships them, so that the
# program finds the GPU at run time (the linker would drop them otherwise, since no symbol of theirs is named).

# The folder comes from -DLACUNA_TORCH, else the environment's LACUNA_TORCH, else the project's own .venv.
if(LACUNA_TORCH)
  set(LACUNA_TORCH_FOUND ${LACUNA_TORCH})
elseif(DEFINED ENV{LACUNA_TORCH} AND NOT "$ENV{LACUNA_TORCH}" STREQUAL "")
  set(LACUNA_TORCH_FOUND $ENV{LACUNA_TORCH})
else()
  file(GLOB LACUNA_TORCH_FOUND ${CMAKE_SOURCE_DIR}/.venv/lib/python3*/site-packages/torch)
endif()
set(LACUNA_TORCH "${LACUNA_TORCH_FOUND}" CACHE PATH "Folder of the torch package" FORCE)
if(NOT EXISTS ${LACUNA_TORCH_FOUND}/include/ATen/ATen.h)
  message(FATAL_ERROR "LibTorch not found: expected include/ATen/ATen.h under '${LACUNA_TORCH_FOUND}'.\n"
                      "Run 'make setup', or pass LACUNA_TORCH=<folder of the torch package>.")
endif()
file(READ ${LACUNA_TORCH_FOUND}/version.py TORCH_VERSION_PY)
string(REGEX MATCH "__version__ = '([^']+)'" _ "${TORCH_VERSION_PY}")
message(STATUS "LibTorch ${CMAKE_MATCH_1} in ${LACUNA_TORCH_FOUND}")

add_library(torch_wheel INTERFACE)
add_library(torch::torch ALIAS torch_wheel)
target_include_directories(torch_wheel SYSTEM INTERFACE ${LACUNA_TORCH_FOUND}/include
                                                        ${LACUNA_TORCH_FOUND}/include/torch/csrc/api/include)
target_compile_definitions(torch_wheel INTERFACE _GLIBCXX_USE_CXX11_ABI=1)
set(TORCH_LIBRARIES c10 torch_cpu torch)
foreach(CUDA_LIBRARY c10_cuda torch_cuda)
  if(EXISTS ${LACUNA_TORCH_FOUND}/lib/lib${CUDA_LIBRARY}.so)
    list(APPEND TORCH_LIBRARIES ${CUDA_LIBRARY})
  endif()
endforeach()
foreach(LIBRARY ${TORCH_LIBRARIES})
  add_library(torch_${LIBRARY}_so SHARED IMPORTED)
  set_target_properties(torch_${LIBRARY}_so PROPERTIES IMPORTED_LOCATION ${LACUNA_TORCH_FOUND}/lib/lib${LIBRARY}.so)
  target_link_libraries(torch_wheel INTERFACE torch_${LIBRARY}_so)
endforeach()
target_link_options(torch_wheel INTERFACE LINKER:--no-as-needed LINKER:--allow-shlib-undefined)
set(CMAKE_BUILD_RPATH ${LACUNA_TORCH_FOUND}/lib)
set(CMAKE_INSTALL_RPATH ${LACUNA_TORCH_FOUND}/lib)
