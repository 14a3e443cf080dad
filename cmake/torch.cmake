# LibTorch.  TWEEDIE_HAS_CUDA: it has CUDA, and there is nvcc.
option(TWEEDIE_CUDA "Kernels for CUDA, where LibTorch has it and nvcc is found" ON)
set(TWEEDIE_HAS_CUDA OFF)
if(NOT DEFINED TORCH_CUDA_ARCH_LIST AND NOT DEFINED ENV{TORCH_CUDA_ARCH_LIST})
  set(TORCH_CUDA_ARCH_LIST "8.0+PTX")  # else LibTorch asks the GPU of this machine; the first with bf16
endif()
find_package(Torch REQUIRED)
if(TWEEDIE_CUDA AND TARGET torch_cuda)
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    set(CMAKE_CUDA_RUNTIME_LIBRARY Shared)  # as LibTorch
    enable_language(CUDA)
    find_package(CUDAToolkit REQUIRED)
    set(TWEEDIE_HAS_CUDA ON)
  endif()
endif()
