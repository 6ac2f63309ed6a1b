#!/usr/bin/env bash
# Runs fuzz targets one after the other, each for the same time, from the seeds and what earlier runs found.
#
#   scripts/fuzz.sh BUILD_FOLDER SECONDS TARGET…
#
#   FUZZ_SEEDS="FOLDER…"   files that every target begins with, besides its own
#
# Corpora lie in BUILD_FOLDER/corpus/TARGET, inputs that broke something in BUILD_FOLDER/findings/TARGET-*, the whole
# output in BUILD_FOLDER/TARGET.log. Exit code 1 if there was a finding.
set -euo pipefail

build=$1 seconds=$2
shift 2
[ -w /dev/shm ] && export TMPDIR=/dev/shm  # targets that read files write them for every input
"$build/bin/fuzz_seeds" "$build/corpus"
mkdir -p "$build/findings"
status=0
for target in "$@"; do
  log=$build/$target.log
  mkdir -p "$build/corpus/$target"
  # shellcheck disable=SC2086  # a list of folders
  if "$build/bin/fuzz_$target" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=3000 -print_final_stats=1 \
    -artifact_prefix="$build/findings/$target-" "$build/corpus/$target" ${FUZZ_SEEDS:-} >"$log" 2>&1; then
    runs=$(awk '/stat::number_of_executed_units/ { print $2 }' "$log")
    printf '%-12s %s executions in %s s, %s edges covered, no finding\n' "$target" "$runs" "$seconds" \
      "$(grep -o 'cov: [0-9]*' "$log" | tail -n 1 | cut -d ' ' -f 2)"
  else
    printf '%-12s a finding; see %s\n' "$target" "$log"
    tail -n 30 "$log" | sed 's/^/  | /'
    status=1
  fi
done
exit $status
