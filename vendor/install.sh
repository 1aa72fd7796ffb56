#!/bin/sh
# install.sh [GROUP ...]: installs the packages of packages.txt that are missing; groups build (default), test,
# optional. Silent when nothing is missing. Exit status: 0 all there, 1 installing failed, 3 not a Debian: what is
# needed was listed.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
[ $# -gt 0 ] || set -- build

wanted=
for group in "$@"; do
  names=$(awk -v group="$group" '$1 !~ /^#/ && $2 == group { print $1 }' "$here/packages.txt")
  [ -n "$names" ] || { echo "install.sh: unknown group '$group' (build, test, optional)" >&2; exit 2; }
  wanted="$wanted $names"
done

if ! command -v dpkg-query >/dev/null 2>&1 || ! command -v apt-get >/dev/null 2>&1; then
  {
    echo "cnas needs the following (Debian's names; your distribution's own packages will do):"
    for group in "$@"; do
      awk -v group="$group" '$1 !~ /^#/ && $2 == group { n = $1; $1 = $2 = ""; printf "  %-22s%s\n", n, $0 }' \
        "$here/packages.txt"
    done
  } >&2
  exit 3
fi

missing=
for name in $wanted; do
  case $(dpkg-query -W -f '${Status}' "$name" 2>/dev/null) in
    *" installed") ;;
    *) # another package may provide it: gcc's or pkg-config's place can be taken
      case $name in
        gcc) command -v cc >/dev/null 2>&1 && continue ;;
        pkg-config) command -v pkg-config >/dev/null 2>&1 && continue ;;
      esac
      missing="$missing $name" ;;
  esac
done
[ -n "$missing" ] || exit 0

root=
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null 2>&1; then
    echo "install.sh: these packages are missing, and only root can install them:" >&2
    echo "  apt-get install$missing" >&2
    exit 1
  fi
  root=sudo
fi
echo "cnas: installing$missing" >&2
export DEBIAN_FRONTEND=noninteractive
install() { # shellcheck disable=SC2086 # the list is meant to be split
  $root apt-get -qq -y -o DPkg::Lock::Timeout=300 install --no-install-recommends $missing >&2
}
if install 2>/dev/null; then exit 0; fi
$root apt-get -qq update >&2 || echo "install.sh: apt-get update failed; trying with the lists that are here" >&2
install || { echo "install.sh: could not install$missing" >&2; exit 1; }
