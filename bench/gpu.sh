#!/bin/sh
# PaliGemma 2 3B on a CUDA GPU: parity with transformers and throughput against the roofline.
#
#   sh bench/gpu.sh            installs into .venv-gpu, prints one line a figure; exits 1 where one is short
#
# Needs a CUDA GPU of 40 GB or more, 40 GB of disk, and the package index. The weights are random: no hub, no key.
set -eu
cd "$(dirname "$0")/.."
VENV=.venv-gpu
[ -x "$VENV/bin/python" ] || "${PYTHON:-python3}" -m venv "$VENV"
"$VENV/bin/pip" install -q -e '.[paligemma]'
exec "$VENV/bin/python" -m bench.gpu "$@"
