#!/bin/sh
# Installs a system package, or prints the command for it: package.sh BREW-NAME APT-NAME...
#
# Uses the first of the apt names that this system has.
set -eu

brew_name=$1
shift

if [ "$(uname)" = Darwin ]; then
    echo "Install it with: brew install $brew_name" >&2
    exit 1
fi
if ! command -v apt-get >/dev/null; then
    echo "Install $1 with the package manager of this system." >&2
    exit 1
fi
if [ "$(id -u)" != 0 ]; then
    # Without root, the package lists may be outdated.
    name=$1
    for other in "$@"; do
        if apt-cache show "$other" >/dev/null 2>&1; then
            name=$other
            break
        fi
    done
    echo "Install it with: sudo apt-get update && sudo apt-get install -y --no-install-recommends $name" >&2
    exit 1
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive
apt-get update >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
for name in "$@"; do
    if apt-cache show "$name" >/dev/null 2>&1; then
        echo "Installing $name with apt-get."
        apt-get install -y --no-install-recommends "$name" >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
        exit 0
    fi
done
echo "apt-get knows none of: $*" >&2
exit 1
