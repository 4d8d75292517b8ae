import subprocess
import sys

PASSES = 10
WORK = f"""
import resource, sys
from services.embedder.models.freed_memory import keep_freed_memory

def work():
    return [b"x" * (24 * 2**20) for _ in range(4)]

if sys.argv[1] == "kept":
    keep_freed_memory()
for _ in range(3):
    work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range({PASSES}):
    work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    """Pages that the system had to give anew."""
    done = subprocess.run([sys.executable, "-c", WORK, how], capture_output=True, check=True, timeout=60)
    return int(done.stdout)


def test_memory_that_was_freed_is_not_asked_for_again() -> None:
    given_back, kept = faults("given back"), faults("kept")
    assert given_back > 10 * PASSES
    assert kept < PASSES
