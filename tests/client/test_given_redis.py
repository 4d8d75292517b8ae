from pathlib import Path

import pytest

from chiasm.command.given_redis import has_redis


@pytest.fixture(autouse=True)
def _nothing_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CHIASM_REDIS_URL", "CHIASM_GEMINI_PROXY_REDIS_URL", "CHIASM_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("variable", ["CHIASM_REDIS_URL", "CHIASM_GEMINI_PROXY_REDIS_URL"])
@pytest.mark.parametrize(("value", "found"), [("redis://there", True), ("", False)])
def test_a_variable_gives_one(monkeypatch: pytest.MonkeyPatch, variable: str, value: str, found: bool) -> None:
    monkeypatch.setenv(variable, value)
    assert has_redis("gemini_proxy") is found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('redis_url = "redis://there"', True),
        ('[gemini_proxy]\nredis_url = "redis://there"', True),
        ('[gateway]\nredis_url = "redis://there"', False),
        ("gemini_proxy = 1", False),
        ("[", False),
        ("", False),
    ],
)
def test_the_configuration_file_gives_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, found: bool
) -> None:
    file = tmp_path / "chiasm.toml"
    file.write_text(text)
    monkeypatch.setenv("CHIASM_CONFIG_FILE", str(file))
    assert has_redis("gemini_proxy") is found


def test_a_file_that_is_not_there_gives_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CHIASM_CONFIG_FILE", str(tmp_path / "none"))
    assert not has_redis("gemini_proxy")
