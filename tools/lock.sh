#!/bin/sh
# Updates the lock files, for Python 3.10 and later: lock.sh PYTHON
set -eu

venv=.venv-lock
trap 'rm -rf "$venv"' EXIT
"$1" -m venv "$venv"
"$venv/bin/python" -m pip --disable-pip-version-check -qq install uv
compile() {
    "$venv/bin/uv" pip compile "$@" --universal --python-version 3.10 --upgrade \
        --generate-hashes --no-emit-index-url --no-emit-find-links \
        --custom-compile-command "make lock" --quiet
}
compile pyproject.toml --extra spark --extra report --group dev -o requirements/dev.lock
compile requirements/oldest.in -o requirements/oldest.lock
compile requirements/client.in -o requirements/client.lock
compile requirements/tools.in -o requirements/tools.lock
