"""`chiasm key`: a new API key, and what the gateway's policy has to hold of it."""

import hashlib
import json as json_text
import secrets

from chiasm.command.options import Json

# As services/gateway/tenants/keys.py reads it.
PREFIX = "chk_"
RANDOM_BYTES = 32


def key(json: Json = False) -> None:
    """Make an API key. It is shown once: keep it, and give its digest to the gateway's policy."""
    made = PREFIX + secrets.token_urlsafe(RANDOM_BYTES)
    digest = f"sha256:{hashlib.sha256(made.encode()).hexdigest()}"
    if json:
        print(json_text.dumps({"key": made, "digest": digest}), flush=True)
    else:
        print(f"key     {made}\ndigest  {digest}", flush=True)
