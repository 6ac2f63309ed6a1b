#!/bin/bash
# What ctest's log says of single tests: how many ran, and which were skipped for which reason. ctest itself counts suites.
set -euo pipefail
log=$1
passed=$(grep -c '^\[       OK \]' "$log" || true)
echo "$passed tests passed"
# A reason stands on the line before the mark of a skipped test, or after "Skipped".
grep -A1 ': Skipped$' "$log" | grep -v -e ': Skipped$' -e '^--$' | sed '/^$/d' | sort | uniq -c | sed 's/^/skipped:/' || true
