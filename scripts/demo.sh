#!/bin/sh
# From a fresh clone to a trained model, its samples, its likelihood and a page that shows them.
#   BUDGET=5m RECIPE=fashion-mnist DEMO=demo scripts/demo.sh
set -eu
cd "$(dirname "$0")/.."

budget=${BUDGET:-5m}
recipe=${RECIPE:-fashion-mnist}
demo=${DEMO:-demo}
started=$(date +%s)

stage() { printf '\n== %s\n' "$*"; }

resume=
if [ -f "$demo/finished" ]; then
  printf 'make demo: %s/ holds an earlier demo; it is moved to %s/previous/' "$demo" "$demo"
  [ -d "$demo/previous" ] && printf ' (and the one before it removed)'
  printf '\n'
  rm -rf "$demo/previous"
  mkdir -p "$demo/.moving"
  for item in "$demo"/*; do mv "$item" "$demo/.moving/"; done
  mv "$demo/.moving" "$demo/previous"
elif ls "$demo"/run/checkpoints/*.safetensors >/dev/null 2>&1; then
  printf 'make demo: %s/run is an unfinished run; it is continued (remove %s/ to begin anew)\n' "$demo" "$demo"
  resume=--resume
elif [ -d "$demo/run" ]; then
  printf 'make demo: %s/run was stopped before its first checkpoint; it is begun anew\n' "$demo"
  rm -rf "$demo/run"
fi

stage 'Building (the first build takes some minutes)'
${MAKE:-make} --no-print-directory program
tweedie=build/tweedie
mkdir -p "$demo"

stage "Training on recipe $recipe for $budget"
if [ "$recipe" = fashion-mnist ]; then
  printf '15%% of its objective is the variational bound (likelihood), the rest what pictures need; the recipe fashion-mnist-likelihood is the bound alone\n'
fi
"$tweedie" train --recipe "$recipe" --budget "$budget" --out "$demo/run" $resume

stage 'Sampling 64 images'
"$tweedie" sample "$demo/run" -n 64 --seed 0 --out "$demo/samples.png" \
  --trajectory "$demo/reverse.png" --trajectory "$demo/reverse.gif"

stage 'Destroying real images: the forward process'
"$tweedie" diffuse --model "$demo/run" --out "$demo/forward.png"

stage 'How probable are held-out images? The variational bound on 1000 test images'
"$tweedie" evaluate "$demo/run" --split test --limit 1000 --terms 32 --json "$demo/evaluation.json"

set --
if grep -q '"bits_per_dim"' "$demo/evaluation.json"; then
  stage 'What other compressors and models need for the same images'
  "$tweedie" baselines --model "$demo/run" --split test --limit 1000 --json "$demo/baselines.json"
  set -- --baselines "$demo/baselines.json"
fi

stage 'The page'
"$tweedie" report "$demo/run" --samples "$demo/samples.png" --reverse "$demo/reverse.png" \
  --reverse "$demo/reverse.gif" --forward "$demo/forward.png" --evaluation "$demo/evaluation.json" \
  "$@" --out "$demo/index.html"
touch "$demo/finished"

seconds=$(($(date +%s) - started))
printf '\nmake demo took %d min %02d s in all.\n' $((seconds / 60)) $((seconds % 60))
printf 'The page is  %s/index.html\n' "$(cd "$demo" && pwd)"
printf '
What to try next:
  %s sample %s/run --out more.png -n 100 --seed 1 --steps 100
  %s train --out %s/run --resume --budget 30m     the same run, trained for longer
  %s list samplers                                   what else there is
  BUDGET=30m make demo                               a better model
' "$tweedie" "$demo" "$tweedie" "$demo" "$tweedie"
