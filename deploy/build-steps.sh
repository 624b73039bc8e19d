#!/bin/sh
# What the image's RUN does, and a test does without docker: build-steps.sh SOURCE VENV EXTRAS
# Installs the wheel of SOURCE with EXTRAS into a new environment VENV, from SOURCE's constraints, and loads what
# Dagster loads. Where packages are found is the environment's to say (PIP_INDEX_URL, UV_INDEX_URL, pip.conf).
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
