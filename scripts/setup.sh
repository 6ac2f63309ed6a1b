#!/usr/bin/env bash
# Brings a machine to the point where Lacuna builds: system packages, LibTorch and, when asked, a configured build
# folder. Every step runs once, says what it does, and is remembered in .setup/; with nothing to do it prints nothing.
#
#   scripts/setup.sh                        packages and LibTorch
#   scripts/setup.sh PRESET BUILD_FOLDER    the same, then configures BUILD_FOLDER with a preset of CMakePresets.json
#
#   LACUNA_TORCH=FOLDER       use the torch package in FOLDER (the one that holds include/ and lib/) instead of .venv
#   LACUNA_SKIP_PACKAGES=1    leave the system packages to you, for systems without apt
#   PYTHON=python3.12         the interpreter that .venv is made with (default python3)
#
# Exit code 0: ready. 1: a step failed. 2: something must be done by hand first; the message says what.
set -euo pipefail

torch_version=2.13.0
torch_folder=${LACUNA_TORCH:+$(realpath -m -- "$LACUNA_TORCH")}  # relative to the caller, so before cd
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf 'setup: %s\n' "$*" >&2; }

stop() {  # what to do by hand, one line each
  printf 'setup: %s\n' "$@" >&2
  exit 2
}

# Runs a command with its output in .setup/NAME.log; a failure shows the log's tail and the next step.
logged() {
  local name=$1 next_step=$2
  shift 2
  if ! "$@" >".setup/$name.log" 2>&1; then
    tail -n 25 ".setup/$name.log" | sed 's/^/  | /' >&2
    say "failed: $*" && say "the whole log is in .setup/$name.log" && say "next: $next_step"
    exit 1
  fi
}

holds() { [ -f "$1" ] && [ "$(<"$1")" = "$2" ]; }

is_torch_folder() { [ -f "$1/include/ATen/ATen.h" ] && [ -f "$1/lib/libtorch_cpu.so" ] && [ -f "$1/version.py" ]; }

on_path() {  # every one of the named programs
  local program
  for program in "$@"; do command -v "$program" >/dev/null || return 1; done
}

tools=(clang++ ld.lld cmake ninja ccache pkg-config git)

# ---- system packages

missing_packages() {
  local package
  for package in "$@"; do
    dpkg-query -W -f='${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q '^ii' || echo "$package"
  done
}

install_packages() {
  local as_root=() install=(apt-get install -y --no-install-recommends "$@")
  if [ "$(id -u)" -ne 0 ]; then
    sudo -n true 2>/dev/null || stop \
      "system packages are missing, and installing them needs root. Run this, then repeat:" \
      "  sudo apt-get update && sudo ${install[*]}"
    as_root=(sudo -n)
  fi
  say "installing $# system packages with apt: $*"
  local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300)
  # A broken third-party source makes `update` fail though ours are fine: the installation is what decides.
  "${apt[@]}" update >.setup/apt-update.log 2>&1 ||
    say "apt-get update reported errors (.setup/apt-update.log); going on"
  logged apt "mend apt, or install the packages yourself and repeat" "${apt[@]}" "${install[@]:1}"
}

ensure_packages() {
  [ "${LACUNA_SKIP_PACKAGES:-}" != 1 ] || return 0
  local wanted
  wanted=$(sed 's/#.*//' scripts/packages.txt | xargs)
  ! { holds .setup/packages "$wanted" && on_path "${tools[@]}"; } || return 0
  on_path apt-get dpkg-query || stop \
    "this system has no apt. Install what scripts/packages.txt lists (Debian's names) with your own package manager," \
    "then repeat with LACUNA_SKIP_PACKAGES=1."
  local missing
  # shellcheck disable=SC2086  # a list of words
  missing=$(missing_packages $wanted)
  # shellcheck disable=SC2086
  [ -z "$missing" ] || install_packages $missing
  on_path "${tools[@]}" || stop "the packages are installed, but one of these is not on PATH: ${tools[*]}"
  echo "$wanted" >.setup/packages
}

# ---- LibTorch

check_given_torch() {
  is_torch_folder "$torch_folder" || stop \
    "LACUNA_TORCH is '$torch_folder', but that is no torch package: include/ATen/ATen.h, lib/libtorch_cpu.so and" \
    "version.py were expected in it. This prints the right folder:" \
    "  python3 -c 'import os, torch; print(os.path.dirname(torch.__file__))'"
  ! holds .setup/given-torch "$torch_folder" || return 0
  local found
  found=$(sed -n "s/^__version__ = '\(.*\)'/\1/p" "$torch_folder/version.py")
  say "using LibTorch $found in $torch_folder"
  [[ $found == "$torch_version"* ]] ||
    say "note: Lacuna is built and tested with $torch_version; another version may not compile"
  echo "$torch_folder" >.setup/given-torch
}

make_venv() {
  local python=${PYTHON:-python3}
  on_path "$python" || stop "no '$python' on PATH; install Python 3.10 or newer, or name one with PYTHON=."
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    stop "$python is $("$python" -V 2>&1); torch $torch_version needs 3.10 or newer. Name another with PYTHON=."
  "$python" -c 'import ensurepip' 2>/dev/null ||
    stop "$python cannot make virtual environments: it has no ensurepip. On Debian: apt-get install python3-venv"
  logged venv "delete .venv and repeat" "$python" -m venv --clear .venv
}

ensure_torch() {
  if [ -n "$torch_folder" ]; then
    check_given_torch
    return
  fi
  local stamp
  stamp=$(cat .setup/wheel 2>/dev/null || true)
  if [[ $stamp == "$torch_version "* ]]; then
    torch_folder=$PWD/${stamp#"$torch_version "}
    ! { is_torch_folder "$torch_folder" && grep -q "'$torch_version" "$torch_folder/version.py"; } || return 0
  fi
  .venv/bin/python -m pip --version >/dev/null 2>&1 || make_venv
  say "installing torch==$torch_version into .venv (a download of 0.2 GB for CPU, some GB with CUDA)"
  logged pip "check the network and pip's configuration, or point LACUNA_TORCH at an installed torch package" \
    .venv/bin/python -m pip install --quiet --disable-pip-version-check "torch==$torch_version"
  local packages
  packages=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("platlib"))')
  torch_folder=$packages/torch
  is_torch_folder "$torch_folder" ||
    stop "pip reported success, but $torch_folder is not complete. Delete .venv and repeat."
  echo "$torch_version ${torch_folder#"$PWD/"}" >.setup/wheel
}

# ---- build folder

# Once configured, ninja itself re-runs cmake when a CMake file changes. Presets and LibTorch's place it does not see.
ensure_configured() {
  local preset=$1 folder=$2 key
  key="$preset $PWD $torch_folder $(cksum <CMakePresets.json)"
  ! { [ -f "$folder/build.ninja" ] && holds "$folder/.configured" "$key"; } || return 0
  say "configuring $folder (preset $preset)"
  logged configure "mend the cause and repeat; docs/dependencies.md lists what is needed" \
    cmake --fresh --preset "$preset" -B "$folder" "-DLACUNA_TORCH=$torch_folder"
  echo "$key" >"$folder/.configured"
}

[ $# -eq 0 ] || [ $# -eq 2 ] || stop "usage: scripts/setup.sh [PRESET BUILD_FOLDER]"
mkdir -p .setup
ensure_packages
ensure_torch
[ $# -eq 0 ] || ensure_configured "$1" "$2"
