"""The gateway: the one address that callers know."""
