#!/usr/bin/env bash
# Makes .venv-clients, where the programs live that weights come from and go to (tests/clients/requirements.txt): timm,
# transformers, OpenCLIP. Runs once, remembers what it installed in .setup/clients; with nothing to do it prints nothing.
# For `make test-clients` alone; Lacuna itself needs none of it.
#
# The torch that Lacuna is built with (LACUNA_TORCH, else .venv) is lent to the environment, not installed again, where
# this interpreter can import it in the version asked for.
#
# Exit code 0: ready. 1: a step failed. 2: something must be done by hand first; the message says what.
set -euo pipefail

torch_folder=${LACUNA_TORCH:+$(realpath -m -- "$LACUNA_TORCH")}  # relative to the caller, so before cd
cd "$(dirname "${BASH_SOURCE[0]}")/.."

environment=.venv-clients
requirements=tests/clients/requirements.txt
python=${PYTHON:-python3}

say() { printf 'setup: %s\n' "$*" >&2; }

stop() {
  printf 'setup: %s\n' "$@" >&2
  exit 2
}

# Runs a command with its output in .setup/clients.log; a failure shows the log's tail and the next step.
logged() {
  if ! "$@" >.setup/clients.log 2>&1; then
    tail -n 25 .setup/clients.log | sed 's/^/  | /' >&2
    say "failed: $*" && say "the whole log is in .setup/clients.log"
    say "next: check the network and pip's configuration, or delete $environment, and repeat"
    exit 1
  fi
}

if [ -z "$torch_folder" ] && [ -f .setup/wheel ]; then torch_folder=$PWD/$(cut -d ' ' -f 2 .setup/wheel); fi
key="$(cksum <"$requirements") $python $torch_folder"
! { [ -x "$environment/bin/python" ] && [ -f .setup/clients ] && [ "$(<.setup/clients)" = "$key" ]; } || exit 0

mkdir -p .setup
command -v "$python" >/dev/null || stop "no '$python' on PATH; install Python 3.10 or newer, or name one with PYTHON=."
"$python" -c 'import ensurepip' 2>/dev/null ||
  stop "$python cannot make virtual environments: it has no ensurepip. On Debian: apt-get install python3-venv"
say "installing timm, transformers and OpenCLIP into $environment, once (log: .setup/clients.log)"
rm -f .setup/clients
logged "$python" -m venv --clear "$environment"

# A .pth file puts the other folder behind the environment's own, so what is installed here comes first.
wanted=$(sed -n 's/^torch==//p' "$requirements")
packages=$("$environment/bin/python" -c 'import sysconfig; print(sysconfig.get_path("platlib"))')
if [ -n "$torch_folder" ]; then
  dirname -- "$torch_folder" >"$packages/lacuna_torch.pth"
  "$environment/bin/python" -c "import sys, torch; sys.exit(torch.__version__.split('+')[0] != '$wanted')" 2>/dev/null || {
    rm "$packages/lacuna_torch.pth"
    say "the torch in $torch_folder is not $wanted for $python; installing that, too"
  }
fi
logged "$environment/bin/python" -m pip install --disable-pip-version-check -r "$requirements"
echo "$key" >.setup/clients
