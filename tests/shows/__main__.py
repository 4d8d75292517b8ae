"""`make shows ONLY=service`: the demonstrations of a service, or of all; exits 1 where a figure is short."""

import argparse
import asyncio
import importlib
import sys
import time

SERVICES = ("stack", "gateway", "paligemma", "gemini_proxy", "embedder")


def main() -> None:
    parser = argparse.ArgumentParser(prog="make shows", description=__doc__)
    parser.add_argument("only", nargs="?", choices=SERVICES, help="the service; all when left out")
    only = parser.parse_args().only
    figures = []
    for service in [only] if only else SERVICES:
        for show in importlib.import_module(f"tests.shows.{service}").SHOWS:
            print(f"{service}: {show.__doc__}", file=sys.stderr, flush=True)
            began = time.monotonic()
            figures += asyncio.run(show())
            print(f"  {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    print(*figures, sep="\n")
    sys.exit(any(not figure.ok for figure in figures))


if __name__ == "__main__":
    main()
