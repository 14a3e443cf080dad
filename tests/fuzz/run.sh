#!/bin/sh
# Lets every fuzz target of a build folder run for some seconds from its seeds, as many at a time as there are cores.  What it finds beyond them
# is kept in BUILD/corpus.  Usage: [RUNS=10000000] run.sh BUILD_FOLDER SECONDS [READER...]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "$1" && pwd)
seconds=$2
shift 2
[ $# -gt 0 ] || set -- cifar family idx image index npy npz safetensors table tar torch_file
mkdir -p "$build/corpus"
# A leak is looked for at the end; a target may use 2 GB, and one input 10 seconds.
printf '%s\n' "$@" | xargs -P "$(nproc)" -I{} sh -c '
  build=$1 here=$2 seconds=$3 reader=$4
  mkdir -p "$build/corpus/$reader"
  cd "$build"
  if "./fuzz_$reader" "corpus/$reader" "$here/seeds/$reader" -max_total_time="$seconds" -runs="${RUNS:--1}" -max_len=65536 -timeout=10 -rss_limit_mb=2048 \
    -print_final_stats=1 -artifact_prefix="crash-$reader-" >"fuzz-$reader.log" 2>&1; then
    executed=$(sed -n "s/^stat::number_of_executed_units: *//p" "fuzz-$reader.log")
    echo "$reader: $executed executions in $seconds s, $(ls "corpus/$reader" | wc -l) inputs kept"
  else
    tail -n 30 "fuzz-$reader.log"
    echo "$reader: FAILED, see $build/fuzz-$reader.log" >&2
    exit 255
  fi' sh "$build" "$here" "$seconds" {}
