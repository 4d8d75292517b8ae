"""The README says what there is: every setting, and no command or option that is not there."""

import re
from pathlib import Path

import pytest
import typer

from chiasm.command.main import app
from services.embedder.config import EmbedderSettings
from services.gateway.config import GatewaySettings
from services.gateway.policy_file import load
from services.gemini_proxy.config import GeminiSettings
from services.paligemma.config import PaligemmaSettings
from services.runtime.config import ServiceSettings

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "settings", [ServiceSettings, GatewaySettings, PaligemmaSettings, GeminiSettings, EmbedderSettings]
)
def test_every_setting_is_in_its_table(settings: type[ServiceSettings]) -> None:
    heading = "every service" if settings is ServiceSettings else settings.service
    article = "the " if settings in (GatewaySettings, EmbedderSettings) else ""
    table = README.split(f"| setting of {article}{heading} |")[1].split("\n\n")[0]
    own = settings.model_fields.keys() - (set() if settings is ServiceSettings else ServiceSettings.model_fields.keys())
    named = {name.lower() for name in re.findall(r"`([A-Z0-9_]+)`", table)}
    assert own <= named


def test_every_command_and_its_options_are_there() -> None:
    commands = typer.main.get_command(app).commands
    shown = re.findall(r"(?:bin/|`)chiasm ([a-z]+)\b([^`\n]*)", README)
    assert {name for name, _ in shown} <= commands.keys()
    for name, arguments in shown:
        options = {option for parameter in commands[name].params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", arguments)) <= options, name


def test_every_make_target_is_there() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"`?make ([a-z]+)", README)) <= targets


def test_the_policy_that_is_shown_is_one(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(README.split("```yaml\n")[1].split("```")[0], encoding="utf-8")
    policy = load(file).policy
    assert policy.task("answer").candidates[0].min_confidence == 0.9
    assert [tenant.name for tenant in policy.tenants] == ["search"]
