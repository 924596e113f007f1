#!/bin/sh
# Creates a virtual environment from a lock file: venv.sh PYTHON FOLDER LOCK
set -eu

python=$1
venv=$2
lock=$3
tools=$(dirname "$0")

if ! command -v "$python" >/dev/null; then
    echo "There is no $python on PATH. Name a Python 3.10 or newer: make venv PYTHON=python3.11" >&2
    exit 1
fi
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
    echo "trackmllib needs Python 3.10 or newer, and $python is $("$python" -V 2>&1)." >&2
    echo "Name a newer one: make venv PYTHON=python3.11" >&2
    exit 1
fi
# Debian has a separate package for venv.
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    version=$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
    echo "$python cannot make virtual environments: its venv package is missing." >&2
    sh "$tools/package.sh" python "$version-venv" python3-venv
fi

# Recreate an environment of another Python; update one of this Python.
if [ "$("$venv/bin/python" -V 2>&1 || true)" = "$("$python" -V 2>&1)" ]; then
    echo "Bringing $venv up to date with $lock."
else
    rm -rf "$venv"
    echo "Installing $lock into $venv. This takes a few minutes."
fi
"$python" -m venv "$venv"
pip() { "$venv/bin/python" -m pip --disable-pip-version-check -qq "$@"; }
# Compiling what is never imported takes as long as the rest.
pip install --no-compile --require-hashes -r "$lock"
pip install --no-deps --no-build-isolation -e .
touch "$venv/.done"
