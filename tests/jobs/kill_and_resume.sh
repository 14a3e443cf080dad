#!/bin/bash
# Kills training with SIGKILL at random times and resumes it, until it is done: the last checkpoint must equal, byte for byte,
# that of a run which nothing disturbed.  Every resume must succeed.  The run has as many times STEPS as take it four seconds, so that
# kills hit more than its start.  Usage: kill_and_resume.sh TWEEDIE KILLS STEPS [train options...]
set -euo pipefail
tweedie=$1 kills=$2 steps=$3
shift 3
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
seed=${SEED:-$$}
RANDOM=$seed
fail() { echo "seed $seed: $*" >&2; exit 1; }

started=$(date +%s%N)
"$tweedie" train --out "$scratch/start" --steps 1 "$@" 2>"$scratch/start.log" >"$scratch/out" || { cat "$scratch/start.log" >&2; fail "a run of one step"; }
begins=$((($(date +%s%N) - started) / 1000000))  # milliseconds until there is a step, on this machine now

while :; do
  started=$(date +%s%N)
  "$tweedie" train --out "$scratch/whole" --steps "$steps" "$@" 2>"$scratch/whole.log" >"$scratch/out" || { cat "$scratch/whole.log" >&2; fail "the undisturbed run"; }
  milliseconds=$((($(date +%s%N) - started) / 1000000))
  [ "$milliseconds" -lt 4000 ] || break
  steps=$((steps * 3))
  rm -rf "$scratch/whole"
done
last=$(ls "$scratch/whole/checkpoints" | tail -n 1)

compare() {
  [ "$(ls "$scratch/cut/checkpoints")" = "$(ls "$scratch/whole/checkpoints")" ] || fail "other checkpoints: $(ls "$scratch/cut/checkpoints")"
  cmp "$scratch/whole/checkpoints/$last" "$scratch/cut/checkpoints/$last" || fail "another end"
  cmp <(cut -d, -f1 "$scratch/whole/metrics.jsonl") <(cut -d, -f1 "$scratch/cut/metrics.jsonl") || fail "other steps in metrics.jsonl"
  [ -z "$(find "$scratch/cut" -name '*.partial')" ] || fail "half-written: $(find "$scratch/cut" -name '*.partial')"
}

killed=0 runs=0 resumed=0
while :; do
  runs=$((runs + 1))
  [ "$runs" -le $((kills * 20)) ] || fail "no progress in $runs runs"
  "$tweedie" train --out "$scratch/cut" --resume --steps "$steps" "$@" 2>"$scratch/cut.log" >"$scratch/out" &
  child=$!
  if [ "$killed" -lt "$kills" ]; then
    # From before the first step to about a quarter of the whole run: every part of a run is hit.
    pause=$((RANDOM % (begins + milliseconds / 4)))
    sleep "$(printf '%d.%03d' $((pause / 1000)) $((pause % 1000)))"
    kill -9 "$child" 2>/dev/null || :
  fi
  status=0
  wait "$child" 2>/dev/null || status=$?
  grep -q '^.*continuing .* from step [1-9]' "$scratch/cut.log" && resumed=$((resumed + 1))
  if [ "$status" -eq 137 ]; then killed=$((killed + 1)); continue; fi
  [ "$status" -eq 0 ] || { cat "$scratch/cut.log" >&2; fail "resuming ended with status $status"; }
  compare
  [ "$killed" -ge "$kills" ] && break
  rm -rf "$scratch/cut"  # done before it was killed often enough: once more from the start
done
[ "$resumed" -ge $((kills / 4)) ] || fail "only $resumed of $runs runs went on from a step: the kills came too early"
echo "seed $seed: killed $killed times in $runs runs, $resumed of which went on from a checkpoint; $last is the same byte for byte"
