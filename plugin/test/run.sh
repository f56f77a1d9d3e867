#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Runs test programs, by $RUN if it is set, prints their lines and the sum. A program that dies (a sanitizer's finding) is one failed test.
set -u
directory=$(mktemp -d) || exit 1
trap 'rm -rf "$directory"' EXIT
# setarch: the thread sanitizer of older compilers does not know the memory layout of kernels with more random bits.
setarch -R true 2>/dev/null && run='setarch -R' || run=
# The programs run side by side: they mostly wait.
for program; do
  one=$directory/$(basename "$program")
  { ASAN_OPTIONS=detect_leaks=1 $run ${RUN-} "$program" >"$one" 2>&1 || echo "not ok $program ended with status $?" >>"$one"; } &
done
wait
all=$directory/all
for program; do
  cat "$directory/$(basename "$program")"
done | tee "$all"
passed=$(grep -c '^ok ' "$all")
failed=$(grep -c '^not ok ' "$all")
[ "$passed" -gt 0 ] || failed=$((failed + 1))
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
