#!/bin/sh
# Installs a build tree into a scratch prefix, builds the examples against it and runs each.  Usage: run.sh BUILD_FOLDER
set -eu
source=$(cd "$(dirname "$0")/../.." && pwd)
build=$(cd "$1" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cmake --install "$build" --prefix "$scratch/prefix" >"$scratch/install.log"
cmake -S "$source/tests/install" -B "$scratch/build" -G Ninja -DCMAKE_BUILD_TYPE=Dev -DCMAKE_CXX_FLAGS_DEV=-O0 \
  -DCMAKE_PREFIX_PATH="$scratch/prefix" -DCMAKE_CXX_COMPILER_LAUNCHER="$(command -v ccache || true)" >"$scratch/configure.log"
cmake --build "$scratch/build"
cd "$scratch"
toy="--recipe toy-2d --set train.batch=32 --steps 20"
# shellcheck disable=SC2086
build/custom_network train --data toy:two-moons --out network $toy --set model='{"network": "affine"}'
build/custom_network sample network --out network.npy -n 8
# shellcheck disable=SC2086
build/custom_dataset train --data ring --out ring $toy
build/custom_sampler sample ring --out ring.npy -n 8 --sampler drift-only
# shellcheck disable=SC2086
build/custom_process train --data toy:two-moons --out sde $toy --set schedule='{"name": "ornstein-uhlenbeck", "rate": 4}'
build/custom_process sample sde --out sde.npy -n 8
# shellcheck disable=SC2086
build/custom_process train --data toy:two-moons --out chain $toy --set schedule='{"name": "geometric", "steps": 50}'
build/custom_process sample chain --out chain.npy -n 8
for file in network.npy ring.npy sde.npy chain.npy; do
  [ "$(head -c 6 $file | tail -c 5)" = NUMPY ] || { echo "$file: expected a NumPy file of samples" >&2; exit 1; }
done
prefix/bin/tweedie describe ring >/dev/null

# The C API, from C and from Python: the same samples and the same numbers.
library=$(find prefix -name libtweedie.so)
exported=$(nm -D --defined-only "$library" | awk '{print $3}' | grep -v '^tweedie_' || true)
[ -z "$exported" ] || { echo "$library exports more than its API: $exported" >&2; exit 1; }
"${CC:-cc}" -std=c99 -Wall -Wextra -pedantic -Werror -Iprefix/include "$source/examples/c/score.c" "$library" -o score
LD_LIBRARY_PATH=$(dirname "$library")
export LD_LIBRARY_PATH
./score ring >c.txt
python3 "$source/examples/c/score.py" "$library" ring >python.txt
cmp c.txt python.txt
[ "$(wc -l <c.txt)" -eq 4 ] || { echo "score: expected 4 lines" >&2; exit 1; }
! ./score nowhere 2>error.txt || { echo "score: loaded a model that is not there" >&2; exit 1; }
grep -q 'score: nowhere: ' error.txt
echo "installed package: examples built and run"
