"""`make bench`: run every benchmark and keep what it prints in bench/results."""

import subprocess
import sys
from pathlib import Path

BENCHMARKS = ("loop", "books", "metering", "vectors")
RESULTS = Path(__file__).parent / "results"


def main() -> None:
    for name in BENCHMARKS:
        printed = subprocess.run([sys.executable, "-m", f"bench.{name}"], check=True, stdout=subprocess.PIPE).stdout
        sys.stdout.buffer.write(printed)
        (RESULTS / f"{name}.txt").write_bytes(printed)


if __name__ == "__main__":
    main()
