#!/bin/sh
# What `make bench` compares with: Debian's python3-torch, and a virtual environment BUILD/peers with the current
# PyTorch and diffusers (unless PEER names an interpreter that has them).  What cannot be had is left out, with the
# reason in BUILD/peers-failed, and never stops the bench.
set -u
build=${1:?usage: make-bench-peers.sh BUILD}

say() { printf 'make-bench-peers: %s\n' "$*" >&2; }

"$(dirname "$0")/install-dependencies.sh" --bench || say "python3-torch may be missing, see above"

[ -z "${PEER:-}" ] || exit 0
[ ! -e "$build/peers/complete" ] || exit 0
rm -f "$build/peers-failed"
say "making $build/peers (some 6 GB with PyTorch's GPU libraries)"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if { rm -rf "$build/peers" && python3 -m venv "$build/peers" &&
  "$build/peers/bin/pip" install -q torch diffusers scipy numpy; } >"$log" 2>&1; then
  : >"$build/peers/complete"
else
  grep -v '^\[notice\]' "$log" | tail -n 1 >"$build/peers-failed"
  rm -rf "$build/peers"
  say "no current PyTorch: $(cat "$build/peers-failed")"
fi
exit 0
