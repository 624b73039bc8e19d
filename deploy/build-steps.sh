#!/bin/sh
# Usage: build-steps.sh SOURCE VENV EXTRAS. The build of the image runs it, and a test runs it without docker.
# Builds the wheel of SOURCE, installs it with EXTRAS and SOURCE's constraints into a new environment VENV, and loads
# the definitions. The package index comes from the environment (PIP_INDEX_URL, UV_INDEX_URL, pip.conf).
set -eu
source=$1 venv=$2 extras=$3
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
python3 -m venv "$tools"
"$tools/bin/pip" install --quiet uv==0.13.9
"$tools/bin/uv" venv --quiet "$venv"
"$tools/bin/uv" build --quiet --wheel --out-dir "$tools/wheels" "$source"
wheel=$(echo "$tools"/wheels/landmark_dag-*.whl)
"$tools/bin/uv" pip install --quiet --python "$venv/bin/python" --constraints "$source/constraints.txt" "$wheel[$extras]"
cd /
LANDMARK_EXECUTOR=k8s LANDMARK_HOME=$tools "$venv/bin/python" -c "
from landmark_dag.definitions import defs
print(len(list(defs().resolve_all_asset_specs())), 'assets load')"
