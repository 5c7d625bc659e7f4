#!/bin/bash
# Boot one host N times (50), each to an affirming verdict; the first boot that
# does not reach it ends the run, with what it said.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${N:=50}"
export AIOS_STATE=$PWD/.build/soak
log=$(mktemp); trap 'rm -f "$log"' EXIT
begun=$(date +%s)
for i in $(seq "$N"); do
	if ! bin/aios up --once --json --target "${TARGET:-bin/target}" >"$log" 2>&1; then
		cat "$log"; echo "soak: boot $i of $N failed; its console is $AIOS_STATE/host/console.log" >&2; exit 1
	fi
	echo "boot $i of $N: $(sed -nE 's/.*"event":"summary".*"status":"([a-z]+)".*"total_ms":([0-9]+).*/\1 after \2 ms/p' "$log")"
done
echo "soak: $N boots in a row, $N affirming verdicts, $(($(date +%s) - begun)) s"
