"""A replica that leads a flight and never comes to its end, to be killed: `python -m ... PORT GENERATION`."""

import asyncio
import sys

from tests.gateway.flights.answering import Answering, ask
from tests.gateway.flights.replicas import Replicas


async def lead(port: int, generation: str) -> None:
    async with Replicas(port, generation) as replicas:
        async for event in replicas.make(Answering()).events(ask()):
            if event.HasField("delta"):
                print("said", flush=True)


if __name__ == "__main__":
    asyncio.run(lead(int(sys.argv[1]), sys.argv[2]))
