"""Generate chiasm/v1 from protos/; with --check, only say whether it is up to date."""

import argparse
import filecmp
import sys
import tempfile
from pathlib import Path

import grpc_tools
from grpc_tools import protoc

ROOT = Path(__file__).parent.parent
PROTOS = ROOT / "protos"
GENERATED = Path("chiasm/v1")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 where the code has drifted")
    if not parser.parse_args().check:
        generate(ROOT)
        return
    with tempfile.TemporaryDirectory() as fresh:
        generate(Path(fresh))
        if drifted := drift(ROOT / GENERATED, Path(fresh) / GENERATED):
            sys.exit(f"{GENERATED} is not what protos/ says: {', '.join(drifted)}. Run `make protos` and commit.")


def generate(out: Path) -> None:
    """Write the Python modules and their .pyi files below `out`."""
    protos = sorted(str(path) for path in PROTOS.rglob("*.proto"))
    well_known = Path(grpc_tools.__file__).parent / "_proto"
    arguments = [
        f"-I{PROTOS}",
        f"-I{well_known}",
        f"--python_out={out}",
        f"--pyi_out={out}",
        f"--grpc_python_out={out}",
    ]
    if protoc.main(["protoc", *arguments, *protos]) != 0:
        sys.exit("protoc failed")


def drift(committed: Path, fresh: Path) -> list[str]:
    """Names of generated files that differ, are missing or are left over."""
    ours = {path.name for path in committed.glob("*_pb2*")}
    theirs = {path.name for path in fresh.glob("*_pb2*")}
    same = {name for name in ours & theirs if filecmp.cmp(committed / name, fresh / name, shallow=False)}
    return sorted((ours | theirs) - same)


if __name__ == "__main__":
    main()
