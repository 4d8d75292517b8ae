"""Whether a service of the stack has been given a Redis; looks where `services.runtime.config` does."""

import os
import tomllib
from pathlib import Path


def has_redis(service: str) -> bool:
    """By its own variable, by that of all services, or by the configuration file."""
    if any(os.environ.get(f"CHIASM_{prefix}REDIS_URL") for prefix in (f"{service.upper()}_", "")):
        return True
    if not (file := os.environ.get("CHIASM_CONFIG_FILE")):
        return False
    try:
        settings = tomllib.loads(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # which the service tells of
        return False
    own = settings.get(service)
    return "redis_url" in settings or (isinstance(own, dict) and "redis_url" in own)
