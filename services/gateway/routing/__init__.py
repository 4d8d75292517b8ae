"""Which model answers a request, at which server, and what that is expected to take."""
