#!/usr/bin/env bash
# Python environments of the peers that compare.py runs beside Lacuna, below the folder $1. A peer that cannot be
# installed is named and left out; the comparison then lists it as not run.
set -uo pipefail
root=$1
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}
mkdir -p "$root"

# environment NAME ARGUMENTS...: packages that pip installs into an environment of their own
environment() {
  local name=$1 log="$root/$1.log"
  shift
  [ -e "$root/$name/complete" ] && return
  echo "peers: $name"
  if "$python" -m venv --clear "$root/$name" >"$log" 2>&1 &&
    timeout 900 "$root/$name/bin/python" -m pip install --quiet --disable-pip-version-check "$@" >>"$log" 2>&1; then
    touch "$root/$name/complete"
    return 0
  fi
  echo "peers: $name cannot be installed and is left out ($log)" >&2
  rm -rf "${root:?}/$name"
  return 1
}

environment main -r "$here/requirements.txt" &&
  "$root/main/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps torchvision==0.28.0
environment dali numpy nvidia-dali-cuda120
# Pillow-SIMD replaces Pillow, so it cannot share an environment with it; built from source, it takes libjpeg's and
# zlib's headers.
environment simd numpy pillow-simd
exit 0
