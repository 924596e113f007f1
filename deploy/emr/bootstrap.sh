#!/bin/bash
# EMR bootstrap action for Amazon Linux 2023. After it, TRACKMLLIB_AUTOLOG=1 records every search.
# The first argument, or else TRACKMLLIB_PACKAGE, is what pip installs; it may be a wheel on S3. The others are the
# packages that jobs need; the default is what pyspark.ml 3.5 needs.
set -euo pipefail

package=${1:-${TRACKMLLIB_PACKAGE:-trackmllib[report]}}
if [[ $package == s3://* ]]; then
    package=${package%\[report\]}
    wheel=/tmp/${package##*/}
    aws s3 cp "$package" "$wheel"
    package="${wheel}[report]"
fi
others=("${@:2}")
[[ ${#others[@]} -gt 0 ]] || others=('numpy<2' 'pandas<2.3')
# The default Python is 3.9, which is too old.
sudo dnf install -y python3.11 python3.11-pip
sudo python3.11 -m pip install "$package" "${others[@]}"
sudo python3.11 -m trackmllib install-hook
