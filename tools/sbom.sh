#!/bin/sh
# Lists what an installation of the wheel in dist/ contains, in CycloneDX's format: sbom.sh TOOLS
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$1/bin/python" -m venv "$folder"
wheel=$(ls dist/*.whl)
"$folder/bin/python" -m pip --disable-pip-version-check -qq install "$wheel"
"$folder/bin/python" -m pip --disable-pip-version-check -qq uninstall -y pip setuptools
# pip notes there where the wheel was, and the list would name that folder.
rm "$folder"/lib/python*/site-packages/trackmllib-*.dist-info/direct_url.json
"$1/bin/cyclonedx-py" environment "$folder" --output-reproducible -o "${wheel%-py3-none-any.whl}.cdx.json"
