"""A replica that joins, as a process of its own: it searches what another has stored.

python -m tests.shows.joined_replica PLACE COLLECTION ROUNDS

Queries and questions come from its standard input, and of each round the answers go to its standard output, as JSON.
"""

import asyncio
import json
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import uvloop

from services.embedder.index.collection import Collection
from services.embedder.index.entries import Query
from services.embedder.index.filters import Comparison, Condition
from services.embedder.models.model import Vectors
from tests.embedder.index.making import catalogue

TENANT, HITS, WARM_UP = "show", 10, 10


@dataclass(frozen=True)
class Question:
    """The same queries with one filter."""

    field: str | None
    """None without a filter."""
    below: float
    best: Sequence[Sequence[int]]
    """Of each query the ids of the nearest that fit."""


@dataclass(frozen=True)
class Answered:
    recall: float
    took_ms: Sequence[float]
    """Of each query but the first ones."""


async def answer(collection: Collection, queries: Sequence[Vectors], question: Question) -> Answered:
    """One query after the other."""
    filter = question.field and ((Condition(question.field, Comparison.LESS, (question.below,)),),)
    took_ms, found = [], []
    for query, best in zip(queries, question.best, strict=True):
        began = time.perf_counter()
        hits = await collection.search(Query(query, None, HITS, filter=filter))
        took_ms.append((time.perf_counter() - began) * 1e3)
        found.append(len({int(hit.document_id) for hit in hits} & set(best)) / HITS)
    return Answered(float(np.mean(found)), took_ms[WARM_UP:])


async def joined(
    folder: Path, collection: str, queries: Vectors, questions: Mapping[str, Question], rounds: int
) -> list[dict[str, Answered]]:
    """What such a process answers in each round."""
    asked = {"queries": queries.tolist(), "questions": {name: asdict(each) for name, each in questions.items()}}
    command = [sys.executable, "-m", "tests.shows.joined_replica", str(folder), collection, str(rounds)]
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
    told, _ = await process.communicate(json.dumps(asked).encode())
    assert process.returncode == 0
    return [{name: Answered(**each) for name, each in answers.items()} for answers in json.loads(told)]


async def _main(place: str, collection: str, rounds: int) -> None:
    asked = json.loads(await asyncio.to_thread(sys.stdin.read))
    queries = np.array(asked["queries"], np.float32)
    questions = {name: Question(**question) for name, question in asked["questions"].items()}
    told = []
    async with catalogue(place) as replica:
        there = await replica.get(TENANT, collection)
        for number in range(rounds):
            answers = {name: await answer(there, queries, question) for name, question in questions.items()}
            medians = ", ".join(f"{name} {np.median(each.took_ms):.1f}" for name, each in answers.items())
            print(f"  round {number + 1} of {rounds}, p50 in ms: {medians}", file=sys.stderr, flush=True)
            told.append({name: asdict(each) for name, each in answers.items()})
    print(json.dumps(told))


if __name__ == "__main__":
    uvloop.run(_main(sys.argv[1], sys.argv[2], int(sys.argv[3])))  # as services do
