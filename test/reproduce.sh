#!/bin/bash
# Build the committed tree twice and compare what hosts boot, byte for byte:
# as different users, in folders of different names and depths, with build
# caches and module caches of their own, for one fixed public key.
#
# As root the second build runs as "nobody"; else in a user namespace, where
# the same person has another user id.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${GO:=$PWD/.ci/go}"
root=$PWD
temp=$(mktemp -d /tmp/aios-reproduce.XXXXXX)
trap 'chmod -R u+w "$temp" 2>/dev/null; rm -rf "$temp"' EXIT
chmod 755 "$temp"

# Sources, toolchain and modules, readable by both users. The module proxy is
# the download cache of this user: nothing is fetched twice.
git diff --quiet HEAD -- || echo "reproduce: note: building the last commit, not your uncommitted changes"
git archive --format=tar HEAD >"$temp/source.tar"
goroot=$("$GO" env GOROOT)
echo "reproduce: commit $(git rev-parse --short=12 HEAD), $("$GO" env GOVERSION)"
"$GO" mod download
cp -r "$("$GO" env GOMODCACHE)/cache/download" "$temp/proxy"
if [ "$(stat -c %a "$(dirname "$goroot")")" != 755 ] && [ "$(id -u)" = 0 ] && ! setpriv --reuid 65534 --clear-groups test -x "$goroot/bin/go"; then
	cp -r "$goroot" "$temp/go"; goroot=$temp/go
fi
chmod -R a+rX "$temp"

cat >"$temp/build.sh" <<'B'
set -euo pipefail
place=$1 out=$2
mkdir -p "$place/tree" "$place/home" "$out"
tar -xf "$TEMP/source.tar" -C "$place/tree"
cd "$place/tree"
export HOME=$place/home TMPDIR=$place/home GOCACHE=$place/build-cache GOMODCACHE=$place/modules
export GOPROXY=file://$TEMP/proxy GONOSUMDB='*' GOFLAGS=-modcacherw GOTOOLCHAIN=local PATH=$GOROOT_USED/bin:/usr/bin:/bin
echo "reproduce: building as user $(id -u) in $place/tree"
go build -trimpath -o .build/mkmetal ./boot/cmd/mkmetal
make -s target GO=go KEYS=test/testdata/manifest.pub OUT="$out"
go run ./cmd/aios image manifest --target "$out" --manifest-version 1 >"$out/manifest"
B
run() { # user-switching command, place
	mkdir -p "$2"
	"${@:3}" env -i TEMP="$temp" GOROOT_USED="$goroot" bash "$temp/build.sh" "$2" "$2/out"
}
mkdir "$temp/a"
run - "$temp/a" env
other="$temp/a/second/and a deeper/place"
other=${other// /-}
mkdir -p "$other"
if [ "$(id -u)" = 0 ]; then
	chown 65534:65534 "$other"
	run - "$other" setpriv --reuid 65534 --regid 65534 --clear-groups
else
	run - "$other" unshare --user --map-root-user
fi

bad=0
for f in "$temp"/a/out/*; do
	n=$(basename "$f")
	if cmp "$f" "$other/out/$n"; then
		echo "same  $(sha256sum "$f" | cut -d' ' -f1)  $n ($(stat -c %s "$f") bytes)"
	else
		echo "DIFFERENT  $n"; bad=1
	fi
done
[ "$bad" = 0 ] && echo "reproduce: the two builds are byte-identical" || { echo "reproduce: the builds differ" >&2; exit 1; }
