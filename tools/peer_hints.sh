#!/bin/sh
# Sets up Dynamo's runtime and the argument parsers of SGLang and its router in an environment of their own, $1, on top of vLLM's for CPUs, $2
# (tools/peer_vllm.sh): SGLang's own requirements ask for CUDA, which its parser does not need.
set -eu
venv=$1
below=$(cd "$2" && pwd)
python=${PEER_PYTHON:-python3.11}
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
install() { "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile --no-deps "$@"; }
install ai-dynamo-runtime==1.6.1 sglang==0.5.23 sglang-router==0.3.2 orjson==3.13.0 ipython==9.18.1 traitlets==5.16.1
packages=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
"$below/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > "$packages/below.pth"
"$venv/bin/python" -c 'import dynamo._core; from sglang.srt.server_args import ServerArgs'
