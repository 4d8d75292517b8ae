"""SigLIP by transformers alone, in a process of its own: what a batch takes, and pictures one by one."""

import asyncio
import io
import json
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import torch
from PIL import Image
from torch.nn import functional as F
from transformers import AutoProcessor, SiglipModel

from tests.shows.large_siglip import SIDE
from tests.stacks import ROOT


class BareSiglip:
    """Its process does one thing after the other, and nothing while it is not asked."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    @asynccontextmanager
    async def started(cls, folder: Path) -> AsyncIterator["BareSiglip"]:
        """With the checkpoint in `folder`, and with as many threads as the machine has cores, as the embedder has."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.shows.bare_siglip", str(folder)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            cwd=ROOT,
            limit=2**20,
        )
        try:
            yield cls(process)
        finally:
            process.kill()
            await process.wait()

    async def forward_s(self, pictures: int, batch: int) -> float:
        """Seconds of so many pictures in full batches, of forward passes alone, over tensors that are ready."""
        return sum([await self._ask("forward", batch) for _ in range(pictures // batch)])

    async def one_by_one_s(self, files: Sequence[Path]) -> float:
        """Seconds of decoding and embedding, a picture after the other."""
        return await self._ask("one_by_one", [str(file) for file in files])

    async def vector(self, file: Path) -> list[float]:
        """Of length 1."""
        return await self._ask("vector", str(file))

    async def _ask(self, work: str, what: object) -> object:
        self._process.stdin.write(json.dumps([work, what]).encode() + b"\n")
        return json.loads(await self._process.stdout.readline())


class _Model:
    def __init__(self, folder: str) -> None:
        self._model = SiglipModel.from_pretrained(folder).eval()
        self._processor = AutoProcessor.from_pretrained(folder)

    def forward(self, pictures: int) -> float:
        pixels = torch.rand(pictures, 3, SIDE, SIDE)
        begun = time.perf_counter()
        self._model.get_image_features(pixels)
        return time.perf_counter() - begun

    def one_by_one(self, files: Sequence[str]) -> float:
        begun = time.perf_counter()
        for file in files:
            self.vector(file)
        return time.perf_counter() - begun

    def vector(self, file: str) -> list[float]:
        image = Image.open(io.BytesIO(Path(file).read_bytes())).convert("RGB")
        features = self._model.get_image_features(**self._processor(images=[image], return_tensors="pt"))
        return F.normalize(features.pooler_output, dim=-1)[0].tolist()


@torch.inference_mode()
def main() -> None:
    """Answers a line of JSON by a line of JSON, until there is none."""
    model = _Model(sys.argv[1])
    for line in sys.stdin:
        work, what = json.loads(line)
        print(json.dumps(getattr(model, work)(what)), flush=True)


if __name__ == "__main__":
    main()
