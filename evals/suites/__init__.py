"""The suites by name."""

from pathlib import Path

from chiasm import InvalidArgument
from evals.suite import Suite
from evals.suites import tiny, tiny_mixed, tiny_search
from evals.suites.public import SETS

TINY = {**tiny.SUITES, **tiny_search.SUITES}
"""What the tiny models are measured with."""
OWN = {**TINY, **tiny_mixed.SUITES}
"""Those that need no data set."""


def build(name: str, data: Path | None = None) -> Suite:
    """The suite called `name`; `data` is the folder of a public data set.

    Raises InvalidArgument when there is none such, or the folder is missing or not as published.
    """
    if name in OWN:
        return OWN[name]()
    if name not in SETS:
        known = ", ".join((*OWN, *SETS))
        raise InvalidArgument(f"no suite is called {name}: {known}", reason="FIELD_INVALID", field="suite")
    if data is None:
        raise InvalidArgument(
            f"{name} needs --data, a folder with {SETS[name].layout}", reason="FIELD_REQUIRED", field="data"
        )
    return SETS[name].suite(name, data)


def described() -> list[tuple[str, str, str]]:
    """Name, what it is about, and what its data folder holds; empty where it needs none."""
    own = [(name, build().about, "") for name, build in OWN.items()]
    return own + [(name, public.about, public.layout) for name, public in SETS.items()]
