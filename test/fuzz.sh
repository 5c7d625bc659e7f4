#!/bin/bash
# Run every fuzz target of the tree for a while, one after the other; with
# arguments, only those in packages whose folder starts with one of them.
#
#	FUZZTIME=5s test/fuzz.sh boot kernel
set -euo pipefail
cd "$(dirname "$0")/.."
: "${GO:=.ci/go}" "${FUZZTIME:=10s}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
n=0
while IFS=: read -r file _ func; do
	dir=$(dirname "$file")
	name=${func#func }; name=${name%%(*}
	if [ $# -gt 0 ]; then
		wanted=
		for p in "$@"; do [[ $dir/ == "$p"* ]] && wanted=1; done
		[ -n "$wanted" ] || continue
	fi
	echo "== ./$dir $name"
	if ! "$GO" test -run '^$' -fuzz "^$name\$" -fuzztime "$FUZZTIME" -fuzzminimizetime 1s "./$dir" >"$log" 2>&1; then
		cat "$log"
		echo "fuzz: ./$dir $name failed: see above; the input is in ./$dir/testdata/fuzz/$name" >&2
		exit 1
	fi
	tail -2 "$log"
	n=$((n + 1))
done < <(grep -rn --include='*_test.go' -o '^func Fuzz[A-Za-z0-9_]*(' . | sed 's|^\./||' | LC_ALL=C sort)
echo "$n fuzz targets, $FUZZTIME each"
[ "$n" -gt 0 ]
