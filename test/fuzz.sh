#!/bin/bash
# Run every fuzz target of the tree for a while, as many side by side as there are
# processors; with arguments, only those in packages whose folder starts with one
# of them.
#
#	FUZZTIME=5s test/fuzz.sh boot kernel
set -euo pipefail
cd "$(dirname "$0")/.."
: "${GO:=.ci/go}" "${FUZZTIME:=10s}"
export GO FUZZTIME
logs=$(mktemp -d)
export logs
trap 'rm -rf "$logs"' EXIT

# Each target has one worker: the targets share the processors.
one() { # folder target
	local log=$logs/${1//\//.}.$2
	if "$GO" test -run '^$' -fuzz "^$2\$" -fuzztime "$FUZZTIME" -fuzzminimizetime 1s -parallel 1 "./$1" >"$log" 2>&1; then
		printf '== ./%s %s: %s\n' "$1" "$2" "$(grep '^fuzz: elapsed' "$log" | tail -1 | sed 's/^fuzz: //')"
		return
	fi
	printf '== ./%s %s\n%s\nfuzz: ./%s %s failed: see above; the input, if there is one, is in ./%s/testdata/fuzz/%s\n' "$1" "$2" "$(cat "$log")" "$1" "$2" "$1" "$2" >&2
	return 255 # xargs starts no more
}
export -f one

list=$logs/list
grep -rn --include='*_test.go' -o '^func Fuzz[A-Za-z0-9_]*(' . | sed 's|^\./||' | LC_ALL=C sort |
	while IFS=: read -r file _ func; do
		dir=$(dirname "$file")
		name=${func#func }
		if [ $# -gt 0 ]; then
			wanted=
			for p in "$@"; do [[ $dir/ == "$p"* ]] && wanted=1; done
			[ -n "$wanted" ] || continue
		fi
		echo "$dir ${name%%(*}"
	done >"$list"
n=$(wc -l <"$list")
[ "$n" -gt 0 ] || { echo "fuzz: no fuzz target in $*" >&2; exit 1; }
echo "$n fuzz targets, $FUZZTIME each, $(nproc) at a time"
xargs -P "$(nproc)" -L 1 bash -c 'one "$@"' one <"$list"
echo "$n fuzz targets are clean"
