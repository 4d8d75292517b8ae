import json
import re
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file

from chiasm.v1 import models_pb2
from services.paligemma.adapters import read_adapters
from services.paligemma.config import PaligemmaSettings
from services.paligemma.service import PaligemmaService
from services.paligemma.vllm_config import check_cpu
from services.runtime.config import BadSetting
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


@pytest.mark.parametrize("config", [{"rank_pattern": [1, 2]}, {"rank_pattern": {"q": "8"}}, {"r": None}])
def test_malformed_ranks_are_no_adapters(tmp_path: Path, config: dict[str, object]) -> None:
    with pytest.raises(BadSetting, match=r"adapter odd: .* holds no LoRA adapter") as caught:
        read_adapters({"odd": adapter_folder(tmp_path / "a", TEXT, **config)})
    assert caught.value.field == "adapters"


def test_an_adapter_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match=r"adapter empty: .* holds no weights"):
        read_adapters({"empty": adapter_folder(tmp_path / "a")})


@pytest.mark.parametrize(
    "prefix",
    [
        "model.language_model.layers.0.mlp.",
        "language_model.model.layers.0.mlp.",
        "model.vision_tower.vision_model.encoder.layers.0.self_attn.",
        "vision_tower.vision_model.encoder.layers.0.self_attn.",
    ],
)
def test_the_layers_of_every_naming_are_taken(tmp_path: Path, prefix: str) -> None:
    (adapter,) = read_adapters({"a": adapter_folder(tmp_path / "a", f"base_model.model.{prefix}q_proj.lora_A.weight")})
    assert adapter.sees == ("vision" in prefix)


@pytest.mark.parametrize(
    "other",
    [
        "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight",
        "base_model.model.model.multi_modal_projector.linear.lora_A.weight",
        "base_model.model.model.language_model.embed_tokens.lora_embedding_A",
        "model.language_model.layers.0.self_attn.q_proj.lora_A.weight",
    ],
)
def test_weights_that_would_be_passed_over_are_named(tmp_path: Path, other: str) -> None:
    folder = adapter_folder(tmp_path / "a", TEXT, other)
    with pytest.raises(BadSetting, match=re.escape(f"adapter a: {other!r} is for no layer of PaliGemma's; those are")):
        read_adapters({"a": folder})


def test_adapters_that_differ_in_their_scale_alone_are_told_apart(tmp_path: Path) -> None:
    folders = {f"a{alpha}": adapter_folder(tmp_path / f"a{alpha}", TEXT, lora_alpha=alpha) for alpha in (8, 16)}
    weak, strong = read_adapters(folders)
    assert weak.revision != strong.revision


def test_a_rank_beyond_vllms_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="rank is 513; vLLM takes 512"):
        read_adapters({"wide": adapter_folder(tmp_path / "a", TEXT, r=513)})


@pytest.mark.parametrize("value", ["a=/x, b=/y", '{"a": "/x", "b": "/y"}'])
def test_adapters_are_set_as_a_list_or_as_json(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("CHIASM_PALIGEMMA_ADAPTERS", value)
    assert PaligemmaSettings().adapters == {"a": Path("/x"), "b": Path("/y")}


@pytest.mark.parametrize("value", ["a", "=x", "a=", "a=/x,a=/y", "a:b=/x", "{bad", f"{'a' * 129}=/x"])
def test_other_adapters_are_bad_settings(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("CHIASM_PALIGEMMA_ADAPTERS", value)
    with pytest.raises(ValidationError, match="adapters"):
        PaligemmaSettings()


@pytest.mark.parametrize(
    ("variables", "bad"),
    [
        ({"MODEL_NAME": "my model"}, True),
        ({"MODEL_NAME": "a:b"}, True),
        ({"MODEL_NAME": "a" * 129}, True),
        ({"MODEL": "/models/my model"}, True),
        ({"MODEL": "."}, True),
        ({"MODEL": "/models/my model", "MODEL_NAME": "mine"}, False),
        ({"MODEL": "google/paligemma2-3b-mix-448"}, False),
    ],
)
def test_a_name_that_no_request_can_ask_for_is_a_bad_setting(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variables: dict[str, str], bad: bool
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"CHIASM_PALIGEMMA_{name}", value)
    if not bad:
        assert PaligemmaSettings.load().resource_name in ("models/mine", "models/paligemma2-3b-mix-448")
        return
    with pytest.raises(SystemExit):
        PaligemmaSettings.load()
    assert "CHIASM_PALIGEMMA_MODEL_NAME: " in capsys.readouterr().err


def test_int8_is_refused_with_what_to_do_instead() -> None:
    with pytest.raises(ValidationError, match="serve a checkpoint quantized ahead"):
        PaligemmaSettings(quantization="int8")


@pytest.mark.parametrize(("field", "value"), [("quantization", "fp8"), ("attention_backend", "triton_attn")])
def test_what_needs_a_gpu_is_a_bad_setting_of_its_name_on_a_cpu(field: str, value: str) -> None:
    with pytest.raises(BadSetting, match=value) as caught:
        check_cpu(PaligemmaSettings(**{field: value}))
    assert caught.value.field == field


async def test_an_adapter_that_is_not_served_is_not_found_and_those_served_are_named(tmp_path: Path) -> None:
    folder = adapter_folder(tmp_path / "a", TEXT)
    service = PaligemmaService(PaligemmaSettings(model="models/base", adapters={"receipts": folder}))
    with pytest.raises(NotFound, match=r"these are: models/base, models/base:receipts"):
        await service.GetModel(models_pb2.GetModelRequest(name="models/base:invoices"), None)
    with pytest.raises(Unavailable):  # a known one, still loading
        await service.GetModel(models_pb2.GetModelRequest(name="models/base:receipts"), None)
