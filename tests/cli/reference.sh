#!/bin/sh
# tweedie-reference refuses what it cannot check: status 2, and words that say why.
set -eu
reference=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# WORDS INDEX ARGUMENT...: with this index.json in the folder
refuse() {
  words=$1
  printf '%s' "$2" >"$folder/index.json"
  shift 2
  status=0
  "$reference" "$@" >"$folder/said" 2>&1 || status=$?
  [ "$status" -eq 2 ] && grep -q "$words" "$folder/said" && return
  echo "expected status 2 and '$words', got status $status and:" >&2
  cat "$folder/said" >&2
  exit 1
}

unknown='"id": "a", "group": "Z", "peer": "p", "file": "f"'
refuse 'PACK_FOLDER is required' ''
refuse 'not the index' '[]' "$folder"
refuse 'no case was compared' "{\"format\": 1, \"cases\": [{$unknown}]}" "$folder"
refuse 'no case was compared' '{"format": 1, "cases": []}' "$folder"
refuse "'config' that is no table: 5" "{\"format\": 1, \"cases\": [{$unknown, \"config\": 5}]}" "$folder"
