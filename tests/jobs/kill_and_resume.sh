#!/bin/bash
# Kills training with SIGKILL at random times and resumes it, until it is done: the last checkpoint must equal, byte for byte,
# that of a run which nothing disturbed.  Usage: kill_and_resume.sh TWEEDIE KILLS [train options...]
set -euo pipefail
tweedie=$1 kills=$2
shift 2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
RANDOM=${SEED:-$$}
echo "seed $RANDOM"

started=$(date +%s%N)
"$tweedie" train --out "$scratch/whole" "$@" 2>"$scratch/whole.log" || { cat "$scratch/whole.log"; exit 1; }
milliseconds=$((($(date +%s%N) - started) / 1000000))

killed=0 runs=0
while :; do
  runs=$((runs + 1))
  [ "$runs" -le $((kills * 20)) ] || { echo "no progress in $runs runs" >&2; exit 1; }
  setsid "$tweedie" train --out "$scratch/cut" --resume "$@" 2>"$scratch/cut.log" &
  child=$!
  if [ "$killed" -lt "$kills" ]; then
    # From before the first step to about a fifth of the whole run: every part of a run is hit.
    pause=$((RANDOM % (milliseconds / 5 + 200)))
    sleep "$(printf '%d.%03d' $((pause / 1000)) $((pause % 1000)))"
    if kill -9 "$child" 2>/dev/null; then
      wait "$child" 2>/dev/null || status=$?
      if [ "${status:-0}" -eq 137 ]; then killed=$((killed + 1)); continue; fi
    fi
  fi
  wait "$child" 2>/dev/null && status=0 || status=$?
  [ "$status" -eq 0 ] || { echo "resuming ended with status $status:" >&2; cat "$scratch/cut.log" >&2; exit 1; }
  [ "$killed" -ge "$kills" ] && break
  rm -rf "$scratch/cut"  # done before it was killed often enough: once more from the start
done

last=$(ls "$scratch/whole/checkpoints" | tail -n 1)
cmp "$scratch/whole/checkpoints/$last" "$scratch/cut/checkpoints/$last"
[ "$(ls "$scratch/cut/checkpoints" | grep -c .)" -eq "$(ls "$scratch/whole/checkpoints" | grep -c .)" ]
echo "killed $killed times in $runs runs; $last is the same byte for byte"
