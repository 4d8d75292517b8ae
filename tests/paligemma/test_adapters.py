import json
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file

from chiasm.v1 import models_pb2
from services.paligemma.adapters import read_adapters
from services.paligemma.config import PaligemmaSettings
from services.paligemma.service import PaligemmaService
from services.runtime.errors import NotFound, Unavailable

TEXT = "base_model.model.model.language_model.layers.0.self_attn.q_proj.lora_A.weight"
TOWER = "base_model.model.model.vision_tower.encoder.layers.0.self_attn.q_proj.lora_A.weight"


def adapter_folder(folder: Path, *names: str, **config: object) -> Path:
    folder.mkdir()
    save_file({name: torch.zeros(1) for name in names}, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({"r": 8, **config}))
    return folder


def test_adapters_are_numbered_and_known_by_their_weights(tmp_path: Path) -> None:
    text, both = (
        adapter_folder(tmp_path / "a", TEXT),
        adapter_folder(tmp_path / "b", TEXT, TOWER, rank_pattern={"q": 32}),
    )
    first, second = read_adapters({"first": text, "second": both})
    assert (first.name, first.id, first.rank, first.sees) == ("first", 1, 8, False)
    assert (second.name, second.id, second.rank, second.sees) == ("second", 2, 32, True)
    assert first.revision != second.revision


def test_a_folder_that_holds_no_adapter_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"adapter fine: .* holds no LoRA adapter"):
        read_adapters({"fine": tmp_path})


def test_a_rank_beyond_vllms_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="rank is 513; vLLM takes 512"):
        read_adapters({"wide": adapter_folder(tmp_path / "a", TEXT, r=513)})


@pytest.mark.parametrize("value", ["a=/x, b=/y", '{"a": "/x", "b": "/y"}'])
def test_adapters_are_set_as_a_list_or_as_json(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("CHIASM_PALIGEMMA_ADAPTERS", value)
    assert PaligemmaSettings().adapters == {"a": Path("/x"), "b": Path("/y")}


@pytest.mark.parametrize("value", ["a", "=x", "a=", "a=/x,a=/y", "a:b=/x", "{bad"])
def test_other_adapters_are_bad_settings(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("CHIASM_PALIGEMMA_ADAPTERS", value)
    with pytest.raises(ValidationError, match="adapters"):
        PaligemmaSettings()


def test_int8_is_refused_with_what_to_do_instead() -> None:
    with pytest.raises(ValidationError, match="serve a checkpoint quantized ahead"):
        PaligemmaSettings(quantization="int8")


async def test_an_adapter_that_is_not_served_is_not_found_and_those_served_are_named(tmp_path: Path) -> None:
    folder = adapter_folder(tmp_path / "a", TEXT)
    service = PaligemmaService(PaligemmaSettings(model="models/base", adapters={"receipts": folder}))
    with pytest.raises(NotFound, match=r"these are: models/base, models/base:receipts"):
        await service.GetModel(models_pb2.GetModelRequest(name="models/base:invoices"), None)
    with pytest.raises(Unavailable):  # a known one, still loading
        await service.GetModel(models_pb2.GetModelRequest(name="models/base:receipts"), None)
