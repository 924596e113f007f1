#!/bin/bash
# Databricks init script. After it, TRACKMLLIB_AUTOLOG=1 in the cluster's environment records every search.
set -euo pipefail

python=/databricks/python/bin/python
"$python" -m pip install "${TRACKMLLIB_PACKAGE:-trackmllib[report]}"
"$python" -m trackmllib install-hook
