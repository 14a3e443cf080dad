#!/bin/sh
# Installs the Debian packages that building, testing and running tweedie needs.
# Silent and instant when nothing is missing.  `--list` prints the packages and installs nothing;
# `--checks` installs what .ci/run needs beside them, `--bench` the peers of `make bench`.
set -eu

packages="
  g++ cmake ninja-build ccache
  libtorch-dev libdnnl-dev libopenblas0-openmp
  nlohmann-json3-dev libcli11-dev libtomlplusplus-dev doctest-dev
  libpng-dev libjpeg62-turbo-dev zlib1g-dev libgif-dev
  libcairo2-dev libwebp-dev libjxl-dev liblzma-dev
  dataset-fashion-mnist python3
"

say() { printf 'install-dependencies: %s\n' "$*" >&2; }

case "${1:-}" in
  '') ;;
  --list)
    printf '%s\n' $packages
    exit 0
    ;;
  --checks) packages='clang-format libclang-rt-dev python3-venv' ;;
  --bench) packages='python3-torch python3-venv' ;;
  *)
    say "unknown argument '$1'; --list, --checks and --bench are known"
    exit 2
    ;;
esac

if ! command -v dpkg-query >/dev/null 2>&1 || ! command -v apt-get >/dev/null 2>&1; then
  say "this is not a Debian system (no dpkg-query or apt-get)."
  say "Install the equivalents of these packages yourself, then run 'make build':"
  printf '%s\n' $packages >&2
  exit 1
fi

installed=$(dpkg-query -W -f '${binary:Package} ${db:Status-Status}\n' $packages 2>/dev/null |
  sed -n 's/^\([^ :]*\)[^ ]* installed$/\1/p' || true)
missing=
for package in $packages; do
  case "
$installed
" in
    *"
$package
"*) ;;
    *) missing="$missing $package" ;;
  esac
done
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null 2>&1; then
    say "these packages are missing and only root can install them (there is no sudo):"
    say "  apt-get install --no-install-recommends$missing"
    exit 1
  fi
  if ! sudo -n true 2>/dev/null && ! [ -t 0 ]; then
    say "these packages are missing and sudo needs a password, but there is no terminal to ask at:"
    say "  sudo apt-get install --no-install-recommends$missing"
    exit 1
  fi
  as_root=sudo
fi

say "installing$missing"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
run_apt() {
  if ! $as_root env DEBIAN_FRONTEND=noninteractive apt-get -y -q -o DPkg::Lock::Timeout=300 "$@" >"$log" 2>&1 </dev/null; then
    tail -n 20 "$log" >&2
    say "'apt-get $1' failed (see above); check the network and the package sources, then run it again"
    exit 1
  fi
}
# shellcheck disable=SC2086
if ! LC_ALL=C apt-cache policy $missing 2>/dev/null | awk '/^[^ ]/ {n++} /Candidate: [0-9]/ {c++} END {exit !(n > 0 && n == c)}'; then
  run_apt update
fi
# shellcheck disable=SC2086
run_apt install --no-install-recommends $missing
say "done"
