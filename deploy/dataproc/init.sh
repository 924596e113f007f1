#!/bin/bash
# Dataproc initialization action. After it, TRACKMLLIB_AUTOLOG=1 records every search.
# The metadata key TRACKMLLIB_PACKAGE is what pip installs; it may be a wheel on Cloud Storage.
set -euo pipefail

package=$(/usr/share/google/get_metadata_value attributes/TRACKMLLIB_PACKAGE || true)
package=${package:-trackmllib[report]}
if [[ $package == gs://* ]]; then
    package=${package%\[report\]}
    wheel=/tmp/${package##*/}
    gsutil cp "$package" "$wheel"
    package="${wheel}[report]"
fi
python=/opt/conda/default/bin/python
"$python" -m pip install "$package"
"$python" -m trackmllib install-hook
