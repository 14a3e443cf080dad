#!/bin/sh
# Compiles the kernels for CUDA and their test where nvcc is found, and runs the test where a GPU answers.
# TWEEDIE_CUDA_TORCH=FOLDER, a LibTorch with CUDA: compiles also what joins the kernels to it.  The last line says what was done.
set -eu
cd "$(dirname "$0")/.."
if ! command -v nvcc >/dev/null; then
  echo 'check-cuda: nvcc is missing: the code for CUDA was neither compiled nor run'
  exit 0
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

for source in plain images_plain normals_plain images conv_plan dense; do  # what the test compares with
  c++ -std=c++20 -O1 -Wno-psabi -I. -c "tweedie/kernels/$source.cpp" -o "$scratch/$source.o"
done
nvcc -std=c++17 -arch=sm_80 -O2 -Xcompiler -Wall,-Wextra,-Wno-missing-field-initializers,-Werror -I. \
  -o "$scratch/kernels_cuda_test" tweedie/kernels/cuda.cu tests/kernels/cuda.cpp "$scratch"/*.o
did='the kernels compiled'

if [ -n "${TWEEDIE_CUDA_TORCH:-}" ]; then
  include=$TWEEDIE_CUDA_TORCH/include
  cat >"$scratch/torch.cpp" <<END
#include "tweedie/tensor/cuda.cpp"
#include "tweedie/nets/cuda_norm.cpp"
#include "tweedie/nets/unet_blocks.cpp"
END
  c++ -std=c++20 -fsyntax-only -Wall -Wextra -Wno-missing-field-initializers -I. -isystem "$include" \
    -isystem "$include/torch/csrc/api/include" -isystem "$(dirname "$(command -v nvcc)")/../include" "$scratch/torch.cpp"
  did="$did, what joins them to LibTorch compiled"
else
  did="$did, what joins them to LibTorch not (TWEEDIE_CUDA_TORCH is not set)"
fi

status=0
"$scratch/kernels_cuda_test" >"$scratch/output" || status=$?
case $status in
  0) echo "check-cuda: $did; run on a GPU: $(tail -n 1 "$scratch/output")" ;;
  77) echo "check-cuda: $did; $(cat "$scratch/output")" ;;
  *)
    cat "$scratch/output"
    echo "check-cuda: $did; run on a GPU: FAILED"
    exit 1
    ;;
esac
