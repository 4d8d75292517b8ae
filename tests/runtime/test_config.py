from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from services.runtime.config import RedisUrl
from tests.runtime.echo import EchoSettings


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "chiasm.toml"
    monkeypatch.setenv("CHIASM_CONFIG_FILE", str(path))
    return path


def test_the_nearest_source_wins(file, monkeypatch):
    file.write_text(
        "port = 1\nmax_concurrent_calls = 1\nkeepalive_s = 11\nhost = 'top'\n[echo]\nport = 2\nkeepalive_s = 12\n"
    )
    assert EchoSettings.load().port == 2
    monkeypatch.setenv("CHIASM_PORT", "3")
    assert EchoSettings.load().port == 3
    monkeypatch.setenv("CHIASM_ECHO_PORT", "4")
    settings = EchoSettings.load()
    assert (settings.port, settings.max_concurrent_calls, settings.keepalive_s, settings.host) == (4, 1, 12, "top")
    assert settings.drain_timeout_s == 30


def test_an_empty_variable_counts_as_unset(monkeypatch):
    monkeypatch.setenv("CHIASM_OTLP_ENDPOINT", "")
    assert EchoSettings.load().otlp_endpoint is None


def test_another_services_table_is_left_alone(file):
    file.write_text("[gateway]\ntargets = []\n")
    EchoSettings.load()


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"CHIASM_ECHO_PORT": "many"}, "CHIASM_ECHO_PORT: Input should be a valid integer"),
        ({"CHIASM_PORT": "70000"}, "CHIASM_PORT: Input should be less than or equal to 65535"),
        ({"CHIASM_OTLP_ENDPOINT": "nowhere"}, "CHIASM_OTLP_ENDPOINT: String should match"),
        ({"CHIASM_TLS_KEY_FILE": "key.pem"}, "tls_certificate_file and tls_key_file must be given together"),
        ({"CHIASM_TLS_CLIENT_CA_FILE": "ca.pem"}, "tls_client_ca_file needs tls_certificate_file"),
        ({"CHIASM_CONFIG_FILE": "/no/such/file"}, "CHIASM_CONFIG_FILE: "),
    ],
)
def test_a_bad_value_names_its_variable(monkeypatch, capsys, variables, told):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as caught:
        EchoSettings.load()
    assert caught.value.code == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[echo]\nprot = 1\nhots = 2\n", "[echo] has unknown keys: hots, prot"),
        ("echo = 1\n", "echo must be a table"),
        ("[echo\n", "CHIASM_CONFIG_FILE: "),
        ("[echo]\nport = 'many'\n", "port (CHIASM_ECHO_PORT or "),
    ],
)
def test_a_bad_file_says_what_is_wrong(file, capsys, text, told):
    file.write_text(text)
    with pytest.raises(SystemExit):
        EchoSettings.load()
    assert told in capsys.readouterr().err


def test_secrets_are_never_shown(monkeypatch, capsys):
    monkeypatch.setenv("CHIASM_ECHO_API_KEY", "hunter2")
    assert EchoSettings.load().api_key.get_secret_value() == "hunter2"
    assert "hunter2" not in f"{EchoSettings.load()!r} {EchoSettings.load()}"
    monkeypatch.setenv("CHIASM_TLS_KEY_FILE", "key.pem")
    with pytest.raises(SystemExit):
        EchoSettings.load()
    assert "hunter2" not in capsys.readouterr().err


def test_settings_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        EchoSettings().port = 1


@pytest.mark.parametrize("url", ["redis://:hunter2#x@h:6379", "http://h", "redis://h:hunter2"])
def test_a_bad_redis_url_is_told_without_itself(url: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(RedisUrl).validate_python(url)
    assert "give redis://" in caught.value.errors()[0]["msg"]
    assert "hunter2" not in caught.value.errors()[0]["msg"]


@pytest.mark.parametrize("url", ["redis://h", "rediss://:p%23@h:6380/1", "unix:///tmp/valkey.sock"])
def test_a_redis_url_is_kept_secret(url: str) -> None:
    kept = TypeAdapter(RedisUrl).validate_python(url)
    assert kept.get_secret_value() == url
    assert url not in repr(kept)
