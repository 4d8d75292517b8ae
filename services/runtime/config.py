"""Settings of a service, from the environment and a file.

The first source that has a value wins: `CHIASM_<SERVICE>_<FIELD>`, `CHIASM_<FIELD>`, the TOML file that
`CHIASM_CONFIG_FILE` names (its table `[<service>]`, then its top-level keys), the default.
"""

import json
import os
import sys
import tomllib
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NoReturn, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

CONFIG_FILE_VARIABLE = "CHIASM_CONFIG_FILE"


def _split(value: object) -> object:
    if not isinstance(value, str):
        return value
    if value.startswith("["):
        return json.loads(value)
    return tuple(item.strip() for item in value.split(",") if item.strip())


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
"""Strings separated by commas, or as a JSON list."""


def _check_redis_url(value: SecretStr) -> SecretStr:
    try:
        parts = urlsplit(value.get_secret_value())
        usable = parts.scheme == "unix" or (parts.scheme in ("redis", "rediss") and (parts.port or True))
    except ValueError:  # whose text may hold a part of the password
        usable = False
    if not usable:
        raise ValueError("give redis://, rediss:// or unix://, with special characters of the password as %XX")
    return value


RedisUrl = Annotated[SecretStr, AfterValidator(_check_redis_url)]
"""Where a Redis is; it may hold a password."""


class ServiceSettings(BaseSettings):
    """What every service can be told. A subclass names its `service` and adds its own fields."""

    model_config = SettingsConfigDict(frozen=True, hide_input_in_errors=True, env_ignore_empty=True)

    service: ClassVar[str] = "service"

    host: str = "127.0.0.1"
    """The address to listen on; `0.0.0.0` for all of IPv4, `::` for all."""
    port: int = Field(0, ge=0, le=65_535)
    """The port to listen on; 0 for a free one."""
    ready_file: Path | None = None
    """Where to write the address listened on, `host:port`, once it is bound."""

    max_message_bytes: int = Field(32 * 2**20, ge=1024, le=2**31 - 1)
    """Most bytes of one message, either way."""
    max_concurrent_calls: int = Field(256, ge=1)
    """Calls handled at once; one more is refused with RESOURCE_EXHAUSTED."""
    default_timeout_s: float = Field(60.0, gt=0)
    """Deadline in seconds of a call whose caller gave none."""
    max_timeout_s: float = Field(600.0, gt=0)
    """Longest deadline in seconds that is honoured."""
    keepalive_s: float = Field(60.0, ge=10)
    """Seconds of silence on a connection before it is pinged."""
    max_connection_age_s: float = Field(600.0, gt=0)
    """Seconds after which clients are asked to reconnect, so that they find new replicas."""
    max_connection_age_grace_s: float = Field(600.0, gt=0)
    """Seconds that calls on such an old connection may go on."""

    drain_propagation_s: float = Field(0.0, ge=0)
    """Seconds between not being ready and refusing calls: what the orchestrator needs to hear of it."""
    drain_timeout_s: float = Field(30.0, ge=0)
    """Seconds that calls in flight may go on once the server stops; then they are cut."""

    tls_certificate_file: Path | None = None
    """The server's certificate chain, in PEM; plaintext when None."""
    tls_key_file: Path | None = None
    """The certificate's private key, in PEM."""
    tls_client_ca_file: Path | None = None
    """When set, clients must show a certificate that descends from one of these, in PEM."""

    allowed_callers: Names = ()
    """Subject alternative names of the client certificates whose holders are answered, separated by commas or as a JSON
    list; everybody is when empty. Needs `tls_client_ca_file`. Behind a gateway: the gateway's own."""

    otlp_endpoint: str | None = Field(None, pattern="^https?://")
    """Where traces and metrics go over OTLP/gRPC: `http://` for plaintext; off when None."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """The least severity that is logged."""
    log_format: Literal["json", "text"] = "json"
    """`json` for machines, `text` for people."""

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        if (self.tls_certificate_file is None) != (self.tls_key_file is None):
            raise ValueError("tls_certificate_file and tls_key_file must be given together")
        if self.tls_client_ca_file is not None and self.tls_certificate_file is None:
            raise ValueError("tls_client_ca_file needs tls_certificate_file and tls_key_file")
        if self.allowed_callers and self.tls_client_ca_file is None:
            raise ValueError("allowed_callers needs tls_client_ca_file, which proves who a caller is")
        return self

    @classmethod
    def load(cls) -> Self:
        """The settings.

        Raises:
            SystemExit: with 2, after telling on stderr which variable is wrong and why; never its value.
        """
        try:
            return cls()
        except ValidationError as error:
            problems = [f"{_origin(cls, problem['loc'])}: {problem['msg']}" for problem in error.errors()]
        except (SettingsError, ConfigFileError) as error:
            problems = [str(error)]
        cls._refuse(problems)

    @classmethod
    def refuse(cls, error: "BadSetting") -> NoReturn:
        """Tells of a setting that showed itself bad after `load`, in its way. Raises SystemExit with 2."""
        cls._refuse([f"{_origin(cls, (error.field,))}: {error}"])

    @classmethod
    def _refuse(cls, problems: list[str]) -> NoReturn:
        print(f"chiasm {cls.service}: bad settings", *problems, sep="\n  ", file=sys.stderr)
        raise SystemExit(2)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        **_others: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        own, shared = (EnvSettingsSource(settings_cls, env_prefix=prefix) for prefix in _prefixes(cls))
        return init_settings, own, shared, _TomlSource(settings_cls)


class BadSetting(ValueError):
    """A setting that only shows itself bad when the service starts, on this machine or by a file's content.

    Args:
        field: the setting's name in its `ServiceSettings`.
        message: what is wrong, for the operator.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class ConfigFileError(Exception):
    """The configuration file cannot be read, is not TOML or has keys that mean nothing."""


class _TomlSource(PydanticBaseSettingsSource):
    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        raise NotImplementedError  # `__call__` reads all fields at once

    def __call__(self) -> dict[str, Any]:
        path = os.environ.get(CONFIG_FILE_VARIABLE)
        if not path:
            return {}
        try:
            content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigFileError(f"{CONFIG_FILE_VARIABLE}: {error}") from None
        service = self.settings_cls.service
        own = content.get(service, {})
        if not isinstance(own, dict):
            raise ConfigFileError(f"{path}: {service} must be a table")
        fields = self.settings_cls.model_fields
        if unknown := sorted(own.keys() - fields.keys()):
            raise ConfigFileError(f"{path}: [{service}] has unknown keys: {', '.join(unknown)}")
        return {name: value for name, value in content.items() if name in fields and name != service} | own


def _prefixes(settings_cls: type[ServiceSettings]) -> tuple[str, str]:
    return f"CHIASM_{settings_cls.service.upper()}_", "CHIASM_"


def _origin(settings_cls: type[ServiceSettings], location: tuple[int | str, ...]) -> str:
    """Where the value of a field came from, as its owner knows it."""
    if not location:
        return settings_cls.service
    field = str(location[0])
    variables = [prefix + field.upper() for prefix in _prefixes(settings_cls)]
    given = [variable for variable in variables if os.environ.get(variable)]
    if not given and os.environ.get(CONFIG_FILE_VARIABLE):
        return f"{field} ({variables[0]} or {os.environ[CONFIG_FILE_VARIABLE]})"
    return (given or variables)[0]
