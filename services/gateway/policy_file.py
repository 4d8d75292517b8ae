"""The policy's YAML file: read with the lines of its faults, and read again when it changes."""

import asyncio
import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path

from opentelemetry import metrics
from pydantic import ValidationError

from services.gateway.policy import Policy
from services.gateway.yaml_lines import Document, YamlFault, path_name, read

logger = logging.getLogger(__name__)

MAX_BYTES = 2**20
POLL_S = 1.0
"""Seconds between two looks at the file."""
DEFAULT_REVISION = "default"

_loads = metrics.get_meter("chiasm.gateway").create_counter(
    "chiasm.gateway.policy.loads", unit="{load}", description="Readings of a changed policy file, by outcome."
)


class BadPolicy(ValueError):
    """The file is no policy. `problems` are `FILE:LINE: path.to.field: what is wrong`."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class LoadedPolicy:
    """A policy that holds, and which it is."""

    policy: Policy
    revision: str
    """`sha256-` and 16 digits of the file's hash; `default` without a file."""


def load(path: Path) -> LoadedPolicy:
    """Blocks. Raises OSError, and BadPolicy naming everything that is wrong."""
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise BadPolicy((f"{path}:1: more than {MAX_BYTES:,} bytes",))
    try:
        document = read(data)
    except YamlFault as fault:
        raise BadPolicy((f"{path}:{fault.line}: {fault}",)) from None
    try:
        policy = Policy.model_validate({} if document.content is None else document.content)
    except ValidationError as error:
        raise BadPolicy(_problems(path, document, error)) from None
    return LoadedPolicy(policy, f"sha256-{hashlib.sha256(data).hexdigest()[:16]}")


NO_FILE = LoadedPolicy(Policy(), DEFAULT_REVISION)
"""What holds without a file."""


class PolicyFile:
    """The policy in force. Without a file it is the default for ever."""

    def __init__(self, path: Path | None, *, poll_s: float = POLL_S) -> None:
        """Reads the file: blocks. Raises OSError and BadPolicy."""
        self._path = path
        self._poll_s = poll_s
        self._seen = path and _stamp(path)
        self.loaded = load(path) if path else NO_FILE
        """What holds now. A call takes it once, and keeps to it."""

    @property
    def current(self) -> Policy:
        """The policy that holds now."""
        return self.loaded.policy

    async def watch(self) -> None:
        """Reads the file whenever it changes, for ever; a file that cannot be read or is bad changes nothing."""
        while self._path is not None:
            await asyncio.sleep(self._poll_s)
            await asyncio.to_thread(self._look)
        await asyncio.Event().wait()

    def _look(self) -> None:
        try:
            stamp = _stamp(self._path)
        except OSError:
            stamp = None
        if stamp == self._seen:
            return
        self._seen = stamp  # as it was before the reading: what is written meanwhile is seen next time
        try:
            loaded = load(self._path)
            if loaded.revision != self.loaded.revision:
                self._check(loaded.policy)
        except (OSError, BadPolicy) as error:
            logger.error("the policy stays as it was: %s", error, extra={"revision": self.loaded.revision})
            _loads.add(1, {"outcome": "refused"})
            return
        if loaded.revision != self.loaded.revision:
            self.loaded = loaded
            logger.info("the policy has changed", extra={"revision": loaded.revision})
            _loads.add(1, {"outcome": "changed"})

    def _check(self, policy: Policy) -> None:
        """Raises BadPolicy where the file is what a writer that broke off leaves: it would open the gateway."""
        if not policy.model_fields_set:
            raise BadPolicy((f"{self._path}:1: the file is empty; restart the gateway to go back to the default",))
        if self.current.tenants and not policy.tenants:
            raise BadPolicy((f"{self._path}:1: tenants: none are left; restart the gateway to open it to everybody",))


def _stamp(path: Path) -> tuple[int, int, int]:
    """Differs after a write, and after a swap of the file or of a link to it."""
    status = path.stat()
    return status.st_mtime_ns, status.st_ino, status.st_size


def _problems(path: Path, document: Document, error: ValidationError) -> tuple[str, ...]:
    problems = []
    for fault in error.errors(include_url=False, include_context=False, include_input=False):
        place = tuple(step for step in fault["loc"] if step != "[key]")
        message = fault["msg"].removeprefix("Value error, ")
        name = path_name(place)
        problems.append((document.line(place), f"{name}: {message}" if name else message))
    return tuple(f"{path}:{line}: {problem}" for line, problem in sorted(problems))
