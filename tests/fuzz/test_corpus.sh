#!/bin/sh
# Every harness takes every file of its corpus; no fuzzer is needed for this.
set -eu
EMULATOR=${EMULATOR-} # of another machine, see scripts/cross
corpus=${srcdir:-.}/tests/fuzz/corpus
for folder in "$corpus"/*/; do
	name=$(basename "$folder")
	echo "$name:"
	$EMULATOR tests/fuzz/replay_"$name" "$folder"
done
