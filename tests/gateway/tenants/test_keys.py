import json

import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from chiasm.command import key as command
from services.gateway.policy import TenantPolicy
from services.gateway.tenants import keys
from services.gateway.tenants.keys import ApiKeys, digest


def made() -> dict[str, str]:
    app = command_app()
    outcome = CliRunner().invoke(app, ["--json"])
    assert outcome.exit_code == 0, outcome.output
    return json.loads(outcome.stdout)


def command_app() -> object:
    app = typer.Typer()
    app.command()(command.key)
    return app


def test_a_key_that_the_command_makes_is_its_tenants() -> None:
    first, second = made(), made()
    assert first["key"] != second["key"]
    assert first["key"].startswith(keys.PREFIX)
    assert len(first["key"]) == len(keys.PREFIX) + 43  # 32 bytes
    tenants = [TenantPolicy(name=name, api_keys=(pair["digest"],)) for name, pair in (("a", first), ("b", second))]
    assert [ApiKeys(tenants).owner(pair["key"]) for pair in (first, second)] == tenants


def test_the_command_says_it_in_words_too() -> None:
    lines = CliRunner().invoke(command_app(), []).stdout.splitlines()
    made, shown = (line.split()[1] for line in lines)
    assert digest(made) == shown


@given(st.text(max_size=200), st.text(min_size=1, max_size=50))
def test_no_other_text_is_a_key(shown: str, key: str) -> None:
    tenant = TenantPolicy(name="a", api_keys=(digest(key),))
    owner = ApiKeys([tenant]).owner(shown)
    assert owner == (tenant if shown == key else None)
