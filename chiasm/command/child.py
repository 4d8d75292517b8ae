"""Becomes `python -m MODULE`, and ends when the process that started it does.

Run as a file: `python child.py PARENT_PID MODULE`. A start of its own rather than `preexec_fn`, which is not safe where
threads run, as gRPC's do. https://docs.python.org/3/library/subprocess.html#subprocess.Popen
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # prctl(2); survives execve


def main() -> None:
    """Asks Linux for SIGTERM at the parent's death, then runs the module."""
    parent, module = int(sys.argv[1]), sys.argv[2]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died before the call above
            sys.exit(1)
    os.execv(sys.executable, [sys.executable, "-m", module])  # noqa: S606


if __name__ == "__main__":
    main()
