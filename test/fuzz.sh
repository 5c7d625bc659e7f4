#!/bin/bash
# Run every fuzz target of the tree for a while, one after the other.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${GO:=.ci/go}" "${FUZZTIME:=10s}"
n=0
while IFS=: read -r file _ func; do
	name=${func#func }; name=${name%%(*}
	echo "== ./$(dirname "$file") $name"
	"$GO" test -run '^$' -fuzz "^$name\$" -fuzztime "$FUZZTIME" "./$(dirname "$file")" | tail -2
	n=$((n + 1))
done < <(grep -rn --include='*_test.go' -o '^func Fuzz[A-Za-z0-9_]*(' . | sed 's|^\./||')
echo "$n fuzz targets, $FUZZTIME each"
[ "$n" -gt 0 ]
