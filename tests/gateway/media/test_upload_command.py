"""`chiasm upload` as a real process."""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

from tests.client.conftest import run_command
from tests.gateway.media.test_through_the_gateway import seen, stack
from tests.gateway.media.web import PNG

NAME = f"media/sha256-{hashlib.sha256(PNG).hexdigest()}"


async def test_the_name_is_printed_and_takes_a_pictures_place(tmp_path: Path) -> None:
    file = tmp_path / "picture.png"
    file.write_bytes(PNG)
    async with stack(tmp_path) as (server, client):
        uploaded = await run_command("upload", str(file), "--address", client.address)
        assert (uploaded.code, uploaded.out) == (0, f"{NAME}\n")
        assert f"image/png, {len(PNG):,} bytes, kept until" in uploaded.err
        asked = await run_command("ask", NAME, "how many?", "--address", client.address)
        assert (asked.code, asked.out) == (0, "two circles\n")
        assert seen(server) == [PNG]
        other = await run_command("ask", f"media/sha256-{'0' * 64}", "how many?", "--address", client.address)
        assert other.code == 2
        assert "upload the file" in other.err
        assert "chiasm models" not in other.err
        drawn = await run_command(
            "detect", NAME, "circle", "--out", str(tmp_path / "x.png"), "--address", client.address
        )
        assert drawn.code == 2
        assert "draws on a picture's file alone" in drawn.err


async def test_as_json(tmp_path: Path) -> None:
    file = tmp_path / "picture.png"
    file.write_bytes(PNG)
    async with stack(tmp_path) as (_, client):
        ended = await run_command("upload", str(file), "--json", "--address", client.address)
    stored = json.loads(ended.out)
    assert (stored["name"], stored["size_bytes"], stored["mime_type"]) == (NAME, len(PNG), "image/png")
    assert datetime.fromisoformat(stored["expires"]) > datetime.now(UTC)


async def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    ended = await run_command("upload", str(tmp_path / "absent.png"), "--address", "127.0.0.1:1")
    assert ended.code == 2
    assert "cannot read" in ended.err
    assert "(field: file)" in ended.err
