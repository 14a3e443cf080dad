#!/bin/sh
# What other programs make of our files: diffusers loads an exported model and draws the same samples, TensorBoard
# reads the event file, ONNX Runtime runs an exported network, safetensors and torch.save are read by both sides.  Usage: run.sh BUILD_FOLDER
# PEER names a Python with current torch, diffusers, safetensors, onnx, onnxruntime and tensorboard; without it BUILD/peer-checks is made
# from the registry, and where that cannot be reached the check says that it was skipped and why.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "$1" && pwd)
log=$(mktemp)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch" "$log"' EXIT

python=${PEER:-$build/peer-checks/bin/python}
if [ -z "${PEER:-}" ] && ! cmp -s "$here/requirements.txt" "$build/peer-checks/complete"; then
  if { rm -rf "$build/peer-checks" && python3 -m venv "$build/peer-checks" &&
    "$build/peer-checks/bin/pip" install -q -r "$here/requirements.txt"; } >"$log" 2>&1; then
    cp "$here/requirements.txt" "$build/peer-checks/complete"
  else
    echo "peers: SKIPPED, not checked: $(grep -v '^\[notice\]' "$log" | tail -n 1)"
    rm -rf "$build/peer-checks"
    exit 0
  fi
fi
exec "$python" "$here/check.py" "$build/tweedie" "$scratch"
