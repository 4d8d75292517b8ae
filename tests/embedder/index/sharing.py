"""Replicas that write to one place at once, and are killed: what is there afterwards."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from services.embedder.index.collection import Collection
from services.embedder.index.entries import Query
from tests.embedder.index import replica
from tests.embedder.index.making import SPEC, catalogue, document


@dataclass(frozen=True)
class Shared:
    """What two replicas wrote, of which one was killed in its midst and began again, and what a third one found."""

    acknowledged: int
    """Documents that were said to be stored."""
    lost: int
    """Of those, the ones that were not there, whole and searchable."""
    torn: int
    """Documents with parts of several versions, or with too few or too many."""


async def share(place: str, documents: int, kill_after: int, environment: Mapping[str, str]) -> Shared:
    """Two replicas write `documents` each; the second is killed with SIGKILL once it has said that `kill_after` lines
    are stored, checked at once, and started again. They have the S3 server from the environment, the third one from
    its settings."""
    async with catalogue(place, **_settings(environment)) as third:
        collection = await third.create(replica.TENANT, SPEC)
        one, killed = await asyncio.gather(
            *(replica.start(place, name, documents, environment) for name in ("one", "two"))
        )
        said = [await killed.stdout.readline() for _ in range(kill_after)]
        killed.kill()
        said += (await killed.communicate())[0].splitlines()
        early = _own(said)
        lost = await _missing(collection, early)
        again = await replica.start(place, "two", documents, environment)
        outputs = [(await process.communicate())[0].splitlines() for process in (one, again)]
        assert (one.returncode, again.returncode) == (0, 0)
        acknowledged = early | _own(line for output in outputs for line in output)
        lost |= await _missing(collection, acknowledged)
        return Shared(len(acknowledged), len(lost), await _torn(collection))


def _settings(environment: Mapping[str, str]) -> dict[str, str]:
    names = {
        "index_s3_endpoint": "AWS_ENDPOINT_URL",
        "index_s3_region": "AWS_REGION",
        "index_s3_access_key_id": "AWS_ACCESS_KEY_ID",
        "index_s3_secret_access_key": "AWS_SECRET_ACCESS_KEY",
    }
    return {setting: environment[name] for setting, name in names.items() if name in environment}


def _own(lines: Iterable[bytes]) -> frozenset[tuple[str, int, str]]:
    """The documents that no other replica writes: id, parts and digest."""
    told = (line.decode().split() for line in lines if line.strip())
    return frozenset((id, int(parts), digest) for id, parts, digest in told if not id.startswith("shared"))


async def _missing(collection: Collection, documents: frozenset[tuple[str, int, str]]) -> frozenset[str]:
    there = await collection.digests([id for id, _, _ in documents])
    missing = {id for id, parts, digest in documents if there.get(id) != (digest, parts)}
    for id, parts, digest in documents:
        last = document(id, parts, digest)[-1]
        hits = await collection.search(Query(last.vectors, None, 1))
        if (hits[0].document_id, hits[0].part) != (id, parts - 1):
            missing.add(id)
    return frozenset(missing)


async def _torn(collection: Collection) -> int:
    rows = await collection.table.query().where("digest IS NOT NULL").select(["document_id", "part"]).to_list()
    ids = {row["document_id"] for row in rows}
    whole = await collection.digests(sorted(ids))
    return len(ids - whole.keys()) + len(rows) - len({(row["document_id"], row["part"]) for row in rows})
