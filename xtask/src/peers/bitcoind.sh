#!/usr/bin/env bash
# Puts a real bitcoind into the folder of peers: bitcoind.sh FOLDER. It is then FOLDER/bitcoind.
#
# Bitcoin Knots as Debian unstable packs it, with the C library it is linked to, unpacked beside the system and never
# installed into it. It comes from the very site that this machine's own Debian sources name, by apt, which checks the
# signatures with Debian's keyring. Needs no root. BITCOIND=/path/to/bitcoind takes that one instead.
# `cargo xtask peers` and `sofie` run this same file.
set -euo pipefail
peers=${1:?usage: bitcoind.sh FOLDER}
mkdir -p "$peers/debian"
peers=$(cd "$peers" && pwd)

if [ -n "${BITCOIND:-}" ]; then
  [ -x "$BITCOIND" ] || { echo "BITCOIND=$BITCOIND is no program" >&2; exit 1; }
  ln -sfn "$BITCOIND" "$peers/bitcoind"
  exit 0
fi
for program in apt-get apt-cache dpkg dpkg-deb; do
  command -v "$program" >/dev/null || { echo "there is no $program: set BITCOIND to a bitcoind" >&2; exit 1; }
done
case $(dpkg --print-architecture) in
  amd64) triple=x86_64-linux-gnu loader=ld-linux-x86-64.so.2 ;;
  arm64) triple=aarch64-linux-gnu loader=ld-linux-aarch64.so.1 ;;
  *) echo "no bitcoind is known for this machine: set BITCOIND to one" >&2; exit 1 ;;
esac
keys=/usr/share/keyrings/debian-archive-keyring.gpg
release=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
site=$(apt-get indextargets --format '$(SITE)' "Codename: $release" 'Origin: Debian' 'Created-By: Packages' | sort -u | head -n 1)
[ -n "$site" ] && [ -r "$keys" ] || { echo "this machine names no Debian source: set BITCOIND to a bitcoind" >&2; exit 1; }

# In a folder of its own that is renamed at the end: two at once do not meet half an installation.
fresh=$(mktemp -d "$peers/debian/.new-XXXXXX")
trap 'rm -rf "$fresh"' EXIT
mkdir -p "$fresh"/apt/state/lists/partial "$fresh"/apt/cache/archives/partial "$fresh"/apt/etc "$fresh"/debs "$fresh"/root
: >"$fresh/apt/state/status"
echo "deb [signed-by=$keys] $site sid main" >"$fresh/apt/etc/sources.list"
options=(-qq -o "Dir::State=$fresh/apt/state" -o "Dir::State::status=$fresh/apt/state/status"
  -o "Dir::Cache=$fresh/apt/cache" -o "Dir::Etc::sourcelist=$fresh/apt/etc/sources.list"
  -o Dir::Etc::sourceparts=/dev/null -o APT::Sandbox::User="$(id -un)" -o Acquire::Retries=3)
apt-get "${options[@]}" update >&2
# What bitcoind is linked to, and what that is linked to in turn; no other dependency is needed to run it.
linked=(libzmq5 libevent-core-2.1-7t64 libevent-extra-2.1-7t64 libevent-pthreads-2.1-7t64 libsqlite3-0 libstdc++6)
needed=$(apt-cache "${options[@]}" depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks \
  --no-replaces --no-enhances "${linked[@]}" | grep -E '^(lib|zlib)' | sort -u)
# shellcheck disable=SC2086 # one word a package
(cd "$fresh/debs" && apt-get "${options[@]}" download bitcoin-knots $needed >&2)
for deb in "$fresh"/debs/*.deb; do dpkg-deb -x "$deb" "$fresh/root"; done
version=$(dpkg-deb -f "$fresh"/debs/bitcoin-knots_*.deb Version)

# Its own loader finds its own libraries, wherever the folder of peers stands.
cat >"$fresh/bitcoind" <<EOF
#!/bin/sh
here=\$(dirname "\$(readlink -f "\$0")")
exec "\$here/root/usr/lib/$triple/$loader" --library-path "\$here/root/usr/lib/$triple" "\$here/root/usr/bin/bitcoind" "\$@"
EOF
chmod 755 "$fresh" "$fresh/bitcoind"
"$fresh/bitcoind" -version | head -n 1 >&2
(cd "$fresh/debs" && sha256sum -- *.deb) >"$fresh/SHA256SUMS"
rm -rf "$fresh/apt" "$fresh/debs"
home="debian/bitcoin-knots-$version"
mv -T "$fresh" "$peers/$home" 2>/dev/null || [ -x "$peers/$home/bitcoind" ]
ln -sfn "$home/bitcoind" "$peers/bitcoind"
